//! The control plane: its configuration, its first key, the program.

use super::ground::Ground;
use super::postgres::{DATABASE, PROVISIONER, hex};
use super::{Failed, LOOK_INTERVAL, READY_TIMEOUT, admin};
use crate::exit::Exit;
use std::net::TcpListener;
use std::time::Instant;

/// Metrics and health of the control plane listen so far above the API.
const OPS_ABOVE: u16 = 1_000;
/// A platform of this name may have the tenant `demo`.
const PLATFORM_ID: &str = "development";

pub(crate) fn ops_port(ground: &Ground) -> u16 {
    ground.port.saturating_add(OPS_ABOVE)
}

pub(crate) fn start(ground: &Ground) -> Result<(), Failed> {
    if ground.is_running("control") {
        return Ok(());
    }
    for port in [ground.port, ops_port(ground)] {
        TcpListener::bind(("127.0.0.1", port)).map_err(|error| {
            let message =
                format!("port {port}: {error}; end what listens there, or choose another --port");
            Failed(Exit::Unreachable, message)
        })?;
    }
    let config = configure(ground)?;
    let key = ground.keys().join("admin.key");
    if !key.exists() {
        let mut command = ground.command(&ground.program("tollgate-control"));
        command.arg("--config").arg(&config).args(["bootstrap", "--out"]).arg(&key);
        let output = command.output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let message = format!("tollgate-control bootstrap: {}", said.trim());
            return Err(Failed(Exit::Unreachable, message));
        }
    }
    let mut command = ground.command(&ground.program("tollgate-control"));
    command.arg("--config").arg(&config).arg("serve");
    let mut child = ground.spawn("control", command)?;
    let began = Instant::now();
    while !admin::is_ready(ground) {
        let ended = child.try_wait()?;
        if ended.is_some() || began.elapsed() > READY_TIMEOUT {
            let message =
                format!("the control plane did not start: {}", ground.last_word("control"));
            return Err(Failed(Exit::Unreachable, message));
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    Ok(())
}

/// Writes `control.toml`; it holds a password, so only the children may read it.
fn configure(ground: &Ground) -> Result<std::path::PathBuf, Failed> {
    ground.secret("master.key", base64)?;
    let password = ground.secret("provisioner.password", hex)?;
    let host = ground.places.run().display().to_string().replace('%', "%25").replace('/', "%2F");
    let quoted = |path: std::path::PathBuf| format!("{:?}", path.display().to_string());
    let text = format!(
        "# Written by `tollgate up`, anew each time.\n\
         [platform]\nid = \"{PLATFORM_ID}\"\npublic_url = \"{}\"\n\n\
         [api]\nlisten = \"127.0.0.1:{}\"\n\n[ops]\nlisten = \"127.0.0.1:{}\"\n\n\
         [database]\nurl = \"postgres://{PROVISIONER}:{password}@{host}/{DATABASE}\"\n\n\
         [secrets]\nmaster_key_file = {}\n\n[publish]\ndir = {}\n",
        ground.api(),
        ground.port,
        ops_port(ground),
        quoted(ground.keys().join("master.key")),
        quoted(ground.policies()),
    );
    let path = ground.keys().join("control.toml");
    ground.write_private(&path, &text)?;
    Ok(path)
}

/// 32 bytes as `secrets.master_key_file` wants them (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
