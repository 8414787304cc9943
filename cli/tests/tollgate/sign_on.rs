//! `tollgate login` by a browser: a real identity provider, curl as the browser.

use crate::up::{Up, free_port};
use crate::{Folder, PROGRAM, ROOT, text};
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

struct Provider(Child);

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn provider(port: u16, public_url: &str) -> Provider {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("a home")).join(".cache");
    let folder = cache.unwrap_or_else(home).join("tollgate/tools/oidc");
    assert!(folder.exists(), "{} is missing: make setup-test", folder.display());
    let mut command = Command::new("node");
    command.arg(format!("{ROOT}/control/tests/control/oidc/provider.mjs")).arg(folder);
    command.args([&port.to_string(), public_url, "secret"]).stderr(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    Provider(child)
}

#[test]
fn whoever_signs_in_with_a_browser_works_from_the_shell() {
    let up = Up::start(Folder::new());
    let (url, port) = (format!("http://127.0.0.1:{}", up.port), free_port());
    let issuer = format!("http://127.0.0.1:{port}");
    let _provider = provider(port, &url);
    let shell = |line: &str| {
        let line = line.replace("tollgate ", &format!("{PROGRAM} --data data --run run "));
        let mut command = Command::new("sh");
        command.args(["-c", &line]).current_dir(&up.folder.0);
        command.env("XDG_CONFIG_HOME", up.folder.0.join("config")).env("PATH", "/usr/bin:/bin");
        command
    };
    let run = |line: &str| {
        let output = shell(line).output().unwrap();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{line}: {out}{err}");
        out
    };
    run(&format!(
        "TOLLGATE_CLIENT_SECRET=secret tollgate idp create {issuer} --kind keycloak --audience api --role admin=tenant-admin --client-id tollgate"
    ));
    run(&format!("tollgate idp link {issuer} acme-org demo"));
    let login = format!("exec tollgate login --url {url} --organisation acme-org --profile alice");
    let mut login = shell(&login).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(login.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let place = line.trim().strip_prefix("Sign in at ").unwrap_or_else(|| panic!("{line}"));
    // The browser: to the provider's page, then as alice back to the waiting program.
    let browse = "curl -sS -L -c jar -b jar --max-time 20";
    let page = run(&format!("{browse} -o page -w '%{{url_effective}}' '{place}'"));
    assert!(page.starts_with(&format!("{issuer}/interaction/")), "{page}");
    let claims =
        "%7B%22organization%22%3A%7B%22acme-org%22%3A%7B%22roles%22%3A%5B%22admin%22%5D%7D%7D%7D";
    let seen = run(&format!("{browse} '{page}?as=alice&claims={claims}'"));
    assert!(seen.starts_with("You are signed in"), "{seen}");
    let mut said = String::new();
    login.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(login.wait().unwrap().code(), Some(0), "{said}");
    assert!(said.contains("as member, tenant-admin of demo"), "{said}");
    // From then on as alice, changes too.
    assert!(run("tollgate me --profile alice --json").contains("\"type\":\"user\""));
    assert!(run("tollgate group create Search --tenant demo --profile alice").contains("Search"));
    let kept = std::fs::metadata(up.folder.0.join("config/tollgate/profiles.json")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&kept.permissions()) & 0o777, 0o600);
    // Signed out, it is over with the next call.
    run(
        "tollgate user disable $(tollgate user list --tenant demo --json | grep -o 'usr_[0-9A-Z]*' | head -n1) --tenant demo",
    );
    let ended = shell("tollgate me --profile alice").output().unwrap();
    assert_eq!(ended.status.code(), Some(5), "{}", text(&ended.stderr));
}
