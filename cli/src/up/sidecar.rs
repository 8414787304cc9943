//! The sidecar that decides for the demo tenant.

use super::ground::Ground;
use super::{Failed, LOOK_INTERVAL, READY_TIMEOUT};
use crate::exit::Exit;
use crate::ops;
use std::time::Instant;

pub(crate) fn start(ground: &Ground) -> Result<(), Failed> {
    if ground.is_running("sidecar") {
        return Ok(());
    }
    let places = &ground.places;
    let mut command = ground.command(&ground.program("tollgate-sidecar"));
    command.arg("--policies").arg(ground.policies());
    command.arg("--run").arg(places.run()).arg("--data").arg(places.data().join("sidecar"));
    // What an old policy leaves free is kept for the next: giving it back stalls whoever decides meanwhile.
    command.env("MIMALLOC_PURGE_DELAY", "-1");
    let mut child = ground.spawn("sidecar", command)?;
    let began = Instant::now();
    while ops::get(&places.http_socket(), "/v1/status").is_err() {
        let ended = child.try_wait()?;
        if ended.is_some() || began.elapsed() > READY_TIMEOUT {
            let message = format!("the sidecar did not start: {}", ground.last_word("sidecar"));
            return Err(Failed(Exit::Unreachable, message));
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    // Another sidecar may have answered while ours was refused the socket.
    match child.try_wait()? {
        None => Ok(()),
        Some(status) => {
            let message = format!("the sidecar ended ({status}): {}", ground.last_word("sidecar"));
            Err(Failed(Exit::Unreachable, message))
        }
    }
}
