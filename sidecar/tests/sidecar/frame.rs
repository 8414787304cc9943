//! The frame door and the process: real socket, real files, bad peers.

use crate::common::*;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tollgate_engine::Reason;
use tollgate_proto::authzen::Settle;
use tollgate_proto::frame::{self, kind};

#[test]
fn bad_frames_get_one_error_and_the_connection_ends() {
    let sidecar = Sidecar::start(folder(), &[]);
    let mut good = Vec::new();
    frame::put_check(&mut good, 1, &request("acme", "alice", "/v1/x"));
    let mut bad_utf8 = good.clone();
    let alice = good.windows(5).position(|window| window == b"alice").unwrap();
    bad_utf8[alice] = 0xff;
    let mut long_name = good.clone();
    long_name[12] = 0xff;
    let mut unknown_kind = good.clone();
    unknown_kind[5] = 99;
    let rows: &[(&str, Vec<u8>, u16, &str)] = &[
        ("http", b"GET / HTTP/1.1\r\n\r\n".to_vec(), 4002, "frame-too-large"),
        ("version", vec![8, 0, 0, 0, 9, 1, 0, 0, 0, 0, 0, 0], 4001, "malformed-frame"),
        ("short", vec![3, 0, 0, 0, 1, 1, 0], 4001, "malformed-frame"),
        ("oversized", vec![1, 0, 1, 0], 4002, "frame-too-large"),
        ("utf-8", bad_utf8, 4001, "malformed-frame"),
        ("length", long_name, 4001, "malformed-frame"),
        ("kind", unknown_kind, 4001, "malformed-frame"),
    ];
    for (what, bytes, number, name) in rows {
        let mut stream = sidecar.connect();
        stream.write_all(bytes).unwrap();
        assert_eq!(error_of(&mut stream), (*number, (*name).to_owned()), "{what}");
        assert_eq!(read_frame(&mut stream), None, "{what}: the connection is closed");
    }
    sidecar.still_answers();
}

#[test]
fn a_frame_must_end_in_time_and_an_idle_connection_may_wait() {
    let sidecar = Sidecar::start(folder(), &[]);
    let mut idle = sidecar.connect();
    let mut slow = sidecar.connect();
    let began = Instant::now();
    // A byte now and then does not renew the deadline.
    let mut out = Vec::new();
    frame::put_check(&mut out, 1, &request("acme", "alice", "/v1/x"));
    for byte in out.iter().take(20) {
        if slow.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(error_of(&mut slow), (4003, "frame-timeout".to_owned()));
    assert!(began.elapsed() >= Duration::from_millis(100));
    assert_eq!(check(&mut idle, "acme", "alice", "/v1/x").reason, Reason::Allow);
}

#[test]
fn a_truncated_frame_is_nothing_and_pipelined_frames_are_answered_in_order() {
    let sidecar = Sidecar::start(folder(), &[]);
    let mut cut = sidecar.connect();
    cut.write_all(&[40, 0, 0, 0, 1, 1]).unwrap();
    drop(cut);
    let mut stream = sidecar.connect();
    let mut out = Vec::new();
    for id in 0..500 {
        let subject = if id % 3 == 0 { "bob" } else { "alice" };
        frame::put_check(&mut out, id, &request("acme", subject, "/v1/x"));
    }
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&out).unwrap());
    for id in 0..500 {
        let (_, got, body) = read_frame(&mut stream).unwrap();
        let expected = if id % 3 == 0 { Reason::NoRule } else { Reason::Allow };
        assert_eq!((got, frame::read_decision(&body).unwrap().reason), (id, expected));
    }
    writing.join().unwrap();
    sidecar.still_answers();
}

#[test]
fn an_unknown_reservation_keeps_the_connection_and_a_batch_is_answered_whole() {
    let sidecar = Sidecar::start(folder(), &[]);
    let mut stream = sidecar.connect();
    let mut out = Vec::new();
    frame::put_settle(&mut out, 1, &Settle { reservation: "1-1-ab".into(), amounts: None });
    stream.write_all(&out).unwrap();
    let (kind, id, body) = read_frame(&mut stream).unwrap();
    assert_eq!((kind, id), (kind::SETTLED, 1));
    assert_eq!(frame::read_settled(&body), Ok((3020, 0)));
    let mut out = Vec::new();
    frame::put_explain(&mut out, 3, &request("acme", "bob", "/v1/x"));
    stream.write_all(&out).unwrap();
    let (kind, id, body) = read_frame(&mut stream).unwrap();
    assert_eq!((kind, id), (kind::EXPLANATION, 3));
    let explanation: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(explanation["decision"], false);
    assert_eq!(explanation["rules"][0]["rule"], "policy.csv:1", "{explanation}");
    let mut out = Vec::new();
    let batch = ["alice", "bob", "alice"].map(|subject| request("acme", subject, "/v1/x"));
    frame::put_batch(&mut out, 9, &batch);
    stream.write_all(&out).unwrap();
    let (kind, id, body) = read_frame(&mut stream).unwrap();
    assert_eq!((kind, id), (kind::DECISIONS, 9));
    let reasons: Vec<Reason> =
        frame::read_decisions(&body).unwrap().into_iter().map(|reply| reply.reason).collect();
    assert_eq!(reasons, [Reason::Allow, Reason::NoRule, Reason::Allow]);
}

#[test]
fn an_edit_is_served_or_refused_as_a_whole() {
    let sidecar = Sidecar::start(folder(), &[]);
    assert_eq!(sidecar.ask("acme", "bob"), Reason::NoRule);
    assert_eq!(sidecar.ask("beta", "bob"), Reason::UnknownTenant);
    write(&sidecar.folder, "acme/policy.csv", "p, bob, /v1/:x, read\n");
    println!("an edit was served after {:?}", sidecar.until("acme", "bob", Reason::Allow));
    assert_eq!(sidecar.ask("acme", "alice"), Reason::NoRule);
    let broken = "# 1\n# 2\n# 3\n# 4\n# 5\n# 6\np, carol, /v1/:x\n";
    write(&sidecar.folder, "acme/policy.csv", broken);
    let began = Instant::now();
    while !sidecar.log().contains("field-count") {
        assert!(began.elapsed() < READY, "{}", sidecar.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("an error was reported after {:?}", began.elapsed());
    let log = sidecar.log();
    let finding = log.lines().find(|line| line.contains("field-count")).unwrap();
    for field in ["\"number\":1102", "\"line\":7", "policy.csv", "\"severity\":\"error\""] {
        assert!(finding.contains(field), "{field} in {finding}");
    }
    assert_eq!(sidecar.ask("acme", "bob"), Reason::Allow, "the old policy stays");
    let (_, _, status) = sidecar.http("GET /v1/status", "", "");
    assert!(status.contains("last-known-good") && status.contains("\"1.2\""), "{status}");
    write(&sidecar.folder, "acme/policy.csv", "p, carol, /v1/:x, read\n");
    sidecar.until("acme", "carol", Reason::Allow);
    write(&sidecar.folder, "acme/tenant.toml", "state = \"killed\"\n");
    sidecar.until("acme", "carol", Reason::Killed);
    write(&sidecar.folder, "acme/tenant.toml", "state = \"suspended\"\n");
    sidecar.until("acme", "carol", Reason::TenantSuspended);
    write(&sidecar.folder, "acme/tenant.toml", "state = \"suspendet\"\n");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(
        sidecar.ask("acme", "carol"),
        Reason::TenantSuspended,
        "a typing error resumes nobody"
    );
    write(&sidecar.folder, "acme/tenant.toml", "state = \"active\"\n");
    sidecar.until("acme", "carol", Reason::Allow);
    // Beside rows that do not load, what silences a tenant is heard, and what ends that.
    write(&sidecar.folder, "acme/policy.csv", "p, carol\n");
    for (state, reason) in [
        ("suspended", Reason::TenantSuspended),
        ("killed", Reason::Killed),
        ("active", Reason::Allow),
    ] {
        write(&sidecar.folder, "acme/tenant.toml", &format!("state = \"{state}\"\n"));
        sidecar.until("acme", "carol", reason);
        let (_, _, status) = sidecar.http("GET /v1/status", "", "");
        let shown = if state == "active" { "last-known-good" } else { state };
        assert!(status.contains(&format!("\"state\":\"{shown}\"")), "{status}");
    }
    write(&sidecar.folder, "acme/policy.csv", "p, carol, /v1/:x, read\n");
    sidecar.until("acme", "carol", Reason::Allow);
    std::fs::remove_dir_all(sidecar.folder.join("policies/acme")).unwrap();
    sidecar.until("acme", "carol", Reason::UnknownTenant);
}

/// A large policy of which one row changes serves it before it is compiled whole, under the version that it then has.
#[test]
fn a_row_of_a_large_policy_is_served_before_the_policy_is_compiled() {
    let folder = folder();
    let rows = |subject: &str| {
        let mut rows: Vec<String> =
            (0..8_000).map(|number| format!("p, user{number}, /v1/{number}, read\n")).collect();
        rows[4_000] = format!("p, {subject}, /v1/:x, read\n");
        rows.concat()
    };
    write(&folder, "acme/policy.csv", &rows("alice"));
    let sidecar = Sidecar::start(folder, &[]);
    let version = || {
        let (_, _, status) = sidecar.http("GET /v1/status", "", "");
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let acme = status["tenants"].as_array().unwrap().iter().find(|t| t["id"] == "acme");
        acme.unwrap()["version"].as_str().unwrap().to_owned()
    };
    assert_eq!((sidecar.ask("acme", "alice"), version()), (Reason::Allow, "1.1".to_owned()));
    let loads = || sidecar.log().matches("policy folder loaded").count();
    for (subject, other, expected) in
        [("bob", "alice", "1.2"), ("carol", "bob", "1.3"), ("alice", "carol", "1.4")]
    {
        let before = loads();
        write(&sidecar.folder, "acme/policy.csv", &rows(subject));
        sidecar.until("acme", subject, Reason::Allow);
        assert_eq!(sidecar.ask("acme", other), Reason::NoRule);
        let began = Instant::now();
        while loads() == before {
            assert!(began.elapsed() < READY, "{}", sidecar.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(version(), expected);
        assert_eq!(sidecar.ask("acme", subject), Reason::Allow);
        assert_eq!(sidecar.ask("acme", other), Reason::NoRule);
    }
    let early = sidecar.log().matches("served before they are compiled").count();
    assert_eq!(early, 3, "{}", sidecar.log());
    // So is what silences a tenant; what ends that is compiled first.
    for (state, reason, expected) in
        [("killed", Reason::Killed, "1.5"), ("active", Reason::Allow, "1.6")]
    {
        let before = loads();
        write(&sidecar.folder, "acme/tenant.toml", &format!("state = \"{state}\"\n"));
        sidecar.until("acme", "alice", reason);
        let began = Instant::now();
        while loads() == before {
            assert!(began.elapsed() < READY, "{}", sidecar.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!((sidecar.ask("acme", "alice"), version().as_str()), (reason, expected));
    }
    let early = sidecar.log().matches("silenced before the folder is compiled").count();
    assert_eq!(early, 1, "{}", sidecar.log());
    // What compiling would refuse is not served for a moment either.
    let twice = rows("alice").replacen("user0, /v1/0", "user1, /v1/1", 1);
    write(&sidecar.folder, "acme/policy.csv", &twice);
    let began = Instant::now();
    while !sidecar.log().contains("duplicate-row") {
        assert!(began.elapsed() < READY, "{}", sidecar.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!((sidecar.ask("acme", "alice"), version()), (Reason::Allow, "1.6".to_owned()));
    assert_eq!(sidecar.log().matches("served before they are compiled").count(), 3);
}

#[test]
fn a_folder_that_never_loaded_has_no_bundle_and_two_of_one_name_serve_nobody() {
    let folder = folder();
    write(&folder, "broken/model.conf", "[matchers]\n");
    write(&folder, "broken/policy.csv", "");
    let sidecar = Sidecar::start(folder, &[]);
    assert_eq!(sidecar.ask("broken", "alice"), Reason::NoBundle);
    write(&sidecar.folder, "copy/policy.csv", "p, alice, /v1/:x, read\n");
    write(&sidecar.folder, "copy/tenant.toml", "tenant = \"acme\"\n");
    write(&sidecar.folder, "copy/model.conf", MODEL);
    sidecar.until("acme", "alice", Reason::NoBundle);
    assert!(sidecar.log().contains("duplicate-tenant"), "{}", sidecar.log());
    std::fs::remove_dir_all(sidecar.folder.join("policies/copy")).unwrap();
    sidecar.until("acme", "alice", Reason::Allow);
}

#[test]
fn a_socket_in_use_is_left_alone_and_a_stale_one_replaced() {
    let sidecar = Sidecar::start(folder(), &[]);
    let second = output(command(&sidecar.folder));
    assert_eq!(second.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&second.stderr).contains("is in use by another sidecar"));
    sidecar.still_answers();
    let mut stale = sidecar;
    stale.child.kill().unwrap();
    stale.child.wait().unwrap();
    assert!(stale.socket().exists());
    stale.child = command(&stale.folder).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while UnixStream::connect(stale.socket()).is_err() {
        assert!(began.elapsed() < READY);
        std::thread::sleep(Duration::from_millis(5));
    }
    stale.still_answers();
}

#[test]
fn ten_thousand_connections_are_shed_with_an_answer() {
    // Both sides of each connection are descriptors: ours are bounded by this process.
    let sidecar = Sidecar::start(folder(), &[("TOLLGATE_DOOR__CONNECTIONS_MAX", "200")]);
    let mut held = Vec::new();
    let (mut served, mut shed) = (0, 0);
    for round in 0..10_000 {
        let mut stream = sidecar.connect();
        if held.len() < 200 {
            let mut out = Vec::new();
            frame::put_check(&mut out, 5, &request("acme", "alice", "/v1/x"));
            stream.write_all(&out).unwrap();
            assert_eq!(read_frame(&mut stream).unwrap().0, kind::DECISION, "round {round}");
            served += 1;
            held.push(stream);
        } else {
            assert_eq!(error_of(&mut stream), (4005, "overloaded".to_owned()), "round {round}");
            shed += 1;
        }
    }
    assert_eq!((served, shed), (200, 9_800));
    // Those that were served still are, and room that is freed is used.
    for stream in &mut held {
        assert_eq!(check(stream, "acme", "alice", "/v1/x").reason, Reason::Allow);
    }
    held.clear();
    let began = Instant::now();
    loop {
        let mut stream = sidecar.connect();
        let mut out = Vec::new();
        frame::put_check(&mut out, 5, &request("acme", "alice", "/v1/x"));
        let _ = stream.write_all(&out);
        if read_frame(&mut stream).is_some_and(|(kind, _, _)| kind == kind::DECISION) {
            break;
        }
        assert!(began.elapsed() < READY);
    }
}

#[test]
fn shutdown_drains() {
    let mut sidecar = Sidecar::start(folder(), &[]);
    let mut idle = sidecar.connect();
    assert_eq!(check(&mut idle, "acme", "alice", "/v1/x").reason, Reason::Allow);
    let pid = sidecar.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(error_of(&mut idle), (4006, "draining".to_owned()));
    assert_eq!(sidecar.child.wait().unwrap().code(), Some(0));
    assert!(!sidecar.socket().exists());
    assert!(sidecar.log().contains("stopped"));
}

#[test]
fn settings_say_where_they_come_from() {
    let folder = folder();
    let file = folder.join("sidecar.toml");
    std::fs::write(&file, "[door]\nframe_timeout_ms = 50\nidle_timeout_ms = 700\n").unwrap();
    let check = |variables: &[(&str, &str)]| {
        let mut command = command(&folder);
        command.arg("--config").arg(&file).arg("--check").envs(variables.iter().copied());
        let output = output(command);
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let variables = [
        ("TOLLGATE_DOOR__IDLE_TIMEOUT_MS", "900"),
        ("TOLLGATE_CELLS__COUNT", ""),
        ("TOLLGATE_RUN", "/elsewhere"),
    ];
    let (code, out, _) = check(&variables);
    assert_eq!(code, Some(0));
    let line = |key: &str| out.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    for (key, words) in [
        ("door.frame_timeout_ms", &["50", "ms", "file line 2"][..]),
        ("door.idle_timeout_ms", &["900", "environment TOLLGATE_DOOR__IDLE_TIMEOUT_MS"]),
        ("door.drain_timeout_ms", &["5000", "ms", "default"]),
        ("cells.count", &["65536", "default"]),
        ("run", &["flag --run"]),
        ("FRAME_BYTES_MAX", &["65536", "bytes", "bound"]),
    ] {
        for word in words {
            assert!(line(key).contains(word), "{word} in {}", line(key));
        }
    }
    let (code, _, err) = check(&[("TOLLGATE_CELLS__COUNT", "3")]);
    assert_eq!(code, Some(2));
    assert!(err.contains("TOLLGATE_CELLS__COUNT") && err.contains("16 to"), "{err}");
    std::fs::write(&file, "[door]\nframe_timeout = 50\n").unwrap();
    let (code, _, err) = check(&[]);
    assert_eq!(code, Some(4));
    assert!(err.contains("unknown-key 1141") && err.contains("`frame_timeout_ms`"), "{err}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_unknown_variable_warns() {
    let sidecar = Sidecar::start(folder(), &[("TOLLGATE_CELLS__COUNTS", "5")]);
    let log = sidecar.log();
    assert!(log.contains("unknown-variable") && log.contains("TOLLGATE_CELLS__COUNT`?"), "{log}");
}
