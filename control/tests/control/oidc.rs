//! A real identity provider (oidc-provider for Node.js), and a browser that keeps cookies and follows links by hand.

use crate::service::{Answer, READY, free_port, send};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

pub(crate) const CLIENT_SECRET: &str = "canary-of-the-client-secret";

pub(crate) struct Oidc {
    pub(crate) port: u16,
    public_url: String,
    child: Child,
}

impl Drop for Oidc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Oidc {
    /// One that knows a service by its address.
    pub(crate) fn start(public_url: &str) -> Oidc {
        let port = free_port();
        Oidc { port, public_url: public_url.to_owned(), child: spawn(port, public_url) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts it again with another key: it has forgotten everybody.
    pub(crate) fn rotate(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.child = spawn(self.port, &self.public_url);
    }

    /// Ends a person's sessions and tells the service so.
    pub(crate) fn sign_out(&self, subject: &str) {
        let told = send(self.port, "GET", &format!("/sign-out?as={subject}"), "", "");
        assert_eq!(told.text, "told", "{}", told.head);
    }
}

fn spawn(port: u16, public_url: &str) -> Child {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("a home")).join(".cache");
    let folder = cache.unwrap_or_else(home).join("tollgate/tools/oidc");
    assert!(
        folder.join("node_modules/oidc-provider").exists(),
        "{} lacks it: make setup-test",
        folder.display()
    );
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/control/oidc/provider.mjs");
    let mut command = Command::new("node");
    command.arg(program).arg(folder).arg(port.to_string()).args([public_url, CLIENT_SECRET]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let began = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < READY);
    }
    child
}

/// Cookies of each port (a host of its own, as far as these tests go).
#[derive(Default, Clone)]
pub(crate) struct Browser(pub(crate) BTreeMap<(u16, String), String>);

impl Browser {
    fn cookies(&self, port: u16) -> String {
        let own = self.0.iter().filter(|((of, _), _)| *of == port);
        let pairs: Vec<String> = own.map(|((_, name), value)| format!("{name}={value}")).collect();
        match pairs.is_empty() {
            true => String::new(),
            false => format!("cookie: {}\r\n", pairs.join("; ")),
        }
    }

    pub(crate) fn send(
        &mut self,
        port: u16,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> Answer {
        let headers = format!("{}{headers}", self.cookies(port));
        let answer = send(port, method, path, &headers, body);
        for line in answer.head.lines() {
            let Some((name, cookie)) = line.split_once(": ") else { continue };
            if !name.eq_ignore_ascii_case("set-cookie") {
                continue;
            }
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            match cookie.contains("Max-Age=0;") || value.is_empty() {
                true => drop(self.0.remove(&(port, name.to_owned()))),
                false => drop(self.0.insert((port, name.to_owned()), value.to_owned())),
            }
        }
        answer
    }

    /// Follows where an address leads, until it is answered, or is one that is to be stopped at.
    pub(crate) fn follow(&mut self, address: &str, stop: &str) -> (String, Option<Answer>) {
        let mut address = address.to_owned();
        for _ in 0..10 {
            if address.contains(stop) {
                return (address, None);
            }
            let rest =
                address.strip_prefix("http://127.0.0.1:").unwrap_or_else(|| panic!("{address}"));
            let (port, path) = rest.split_at(rest.find('/').unwrap());
            let port: u16 = port.parse().unwrap();
            let answer = self.send(port, "GET", path, "", "");
            let Some(next) = answer.header("location") else { return (address, Some(answer)) };
            address = match next.starts_with('/') {
                true => format!("http://127.0.0.1:{port}{next}"),
                false => next.to_owned(),
            };
        }
        panic!("round and round: {address}");
    }
}
