//! Do clients notice thousands of peers that begin requests and never end them?

use super::client::{Bytes, Client};
use super::server::Folder;
use super::{HTTP_SOCKET, reply_bytes, request_http};
use crate::report::Report;
use crate::timing::percentile;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SLOW_CONNECTIONS: usize = 5_000;
/// Those that the door ended are opened again at this pace.
const REOPENED_PER_SECOND: usize = 100;
const ROUNDS: usize = 5;
const SECONDS: f64 = 2.0;

pub(crate) fn measure(report: &mut Report, folder: &Folder) {
    let (mut idle, mut slow, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    folder.sidecar(HTTP_SOCKET, false).with(|socket| {
        let request = request_http();
        let length = reply_bytes(socket, &request);
        for _ in 0..ROUNDS {
            // Normal load is connected before they come, as a gateway is.
            let mut client = Bytes::connect(socket, &request, length);
            let alone = p99(&mut client);
            let stop = AtomicBool::new(false);
            let beside = std::thread::scope(|scope| {
                let (opened, all_open) = std::sync::mpsc::channel();
                scope.spawn({
                    let stop = &stop;
                    move || hold_slow(socket, stop, &opened)
                });
                let _ = all_open.recv();
                let beside = p99(&mut client);
                stop.store(true, Ordering::Relaxed);
                beside
            });
            idle.push(alone);
            slow.push(beside);
            ratios.push(beside / alone);
        }
    });
    report.put("door.http.idle.p99_us", percentile(&mut idle, 0.5));
    report.put("door.http.slow_5000.p99_us", percentile(&mut slow, 0.5));
    report.put("door.http.slow_5000.p99_over_idle", percentile(&mut ratios, 0.5));
    report.note(format!(
        "Slow peers: {SLOW_CONNECTIONS} connections that each sent half a head; {REOPENED_PER_SECOND} a second come back after \
         the door ended them. Medians of {ROUNDS} rounds."
    ));
}

fn p99(client: &mut Bytes) -> f64 {
    let (began, mut samples) = (Instant::now(), Vec::new());
    while began.elapsed().as_secs_f64() < SECONDS {
        let start = Instant::now();
        client.ask(1);
        samples.push(start.elapsed().as_nanos() as f64 / 1_000.0);
    }
    percentile(&mut samples, 0.99)
}

fn hold_slow(socket: &Path, stop: &AtomicBool, opened: &std::sync::mpsc::Sender<()>) {
    let open = || {
        let mut stream = UnixStream::connect(socket).ok()?;
        let _ = stream.write_all(b"POST /access/v1/evaluation HTTP/1.1\r\nhos");
        Some(stream)
    };
    let mut held: Vec<Option<UnixStream>> = (0..SLOW_CONNECTIONS).map(|_| open()).collect();
    let _ = opened.send(());
    let pause = Duration::from_secs(1) / u32::try_from(REOPENED_PER_SECOND).expect("a pace");
    for at in (0..SLOW_CONNECTIONS).cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        held[at] = open();
        std::thread::sleep(pause);
    }
}
