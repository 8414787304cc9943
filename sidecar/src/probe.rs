//! `tollgate-sidecar probe`: readiness for those who cannot dial a Unix socket, such as a kubelet.

use crate::config::Arguments;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const READY: u8 = 0;
const NOT_READY: u8 = 1;
const USAGE: u8 = 2;
const UNREACHABLE: u8 = 3;
const TIMEOUT: Duration = Duration::from_secs(2);

/// Asks the sidecar of the run folder and says what it said.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let variable = || std::env::var_os("TOLLGATE_RUN").filter(|run| !run.is_empty());
    let Some(run) = arguments.run.clone().or_else(|| variable().map(PathBuf::from)) else {
        eprintln!("error: expected --run DIR or TOLLGATE_RUN");
        return ExitCode::from(USAGE);
    };
    let socket = run.join("tollgate-http.sock");
    match ask(&socket) {
        Ok((status, body)) => {
            println!("{body}");
            ExitCode::from(if status == 200 { READY } else { NOT_READY })
        }
        Err(error) => {
            eprintln!("error: {}: {error}", socket.display());
            ExitCode::from(UNREACHABLE)
        }
    }
}

fn ask(socket: &Path) -> std::io::Result<(u16, String)> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: sidecar\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.get(9..12).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.trim_end().to_owned());
    status.zip(body).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}
