//! The audit log as a chain: numbered soon, whole, and whatever is done to it behind the service's back is found.

use crate::cluster::cluster;
use crate::service::Control;
use fastrand::Rng;
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

const VERIFY: &str = "/v1/tenants/acme/audit-events/verify";

fn verified(control: &Control, key: &str) -> Json {
    let answer = control.ask(key, "POST", VERIFY, None);
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

/// Changes a setting of the tenant so often.
fn change(control: &Control, key: &str, times: usize) {
    for at in 0..times {
        let path = "/v1/tenants/acme/settings/sign_on.required_acr";
        let body = Some(json!({"value": format!("level-{at}")}));
        let answer = control.ask_with(key, "PUT", path, "if-match: *\r\n", body);
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
}

/// Waits until nothing more comes to the tenant's log, what is copied from the platform's within some seconds among it,
/// and no event is without a number.
fn until_numbered(control: &Control, key: &str) -> Json {
    let (began, mut since, mut last) = (Instant::now(), Instant::now(), Json::Null);
    loop {
        let found = verified(control, key);
        if found != last || found["waiting"] != 0 {
            (since, last) = (Instant::now(), found);
        } else if since.elapsed() > Duration::from_secs(3) {
            assert_eq!(last["sequenced"], last["head"]["seq"]);
            return last;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{last}: {}", control.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn events_are_numbered_soon_without_a_gap_whoever_writes_at_once() {
    let control = Control::start();
    control.tenant("acme");
    let key = control.key("acme", &["tenant-admin"], &[]);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| change(&control, &key, 15));
        }
    });
    let began = Instant::now();
    while verified(&control, &key)["sequenced"].as_i64() < Some(90) {
        assert!(began.elapsed() < Duration::from_secs(2), "{}", control.log());
    }
    let found = until_numbered(&control, &key);
    assert_eq!((&found["whole"], &found["findings"]), (&json!(true), &json!([])), "{found}");
    assert!(found["sequenced"].as_i64() >= Some(90), "{found}");
    assert_eq!(found["head"]["seq"], found["sequenced"]);
    let events = control.ask(&key, "GET", "/v1/tenants/acme/audit-events?limit=200", None).json();
    let mut seqs: Vec<i64> = events["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["seq"].as_i64().unwrap())
        .collect();
    seqs.sort_unstable();
    assert!(seqs.iter().zip(1..).all(|(seq, at)| *seq == at), "{seqs:?}");
    // The platform's own log, too; nobody else's role changes a row of either.
    let own = control.ask(&control.admin, "POST", "/v1/audit-events/verify", None).json();
    assert_eq!(own["whole"], true, "{own}");
    let (database, _) = control.placement("acme");
    for (database, role) in
        [(&database, "tollgate_tenant"), (&control.database, "tollgate_platform")]
    {
        for statement in ["UPDATE audit_events SET action = 'x'", "DELETE FROM audit_events"] {
            let refused = cluster().psql(database, &format!("SET ROLE {role}; {statement}"));
            assert!(refused.unwrap_err().contains("permission denied"), "{statement}");
        }
    }
}

/// One tampering: what it is, in SQL, and the kind and number that must be among the findings.
fn tampering(random: &mut Rng, last: i64) -> (String, &'static str, i64) {
    let seq = random.i64(1..last);
    let other = if seq < last - 1 { last - 1 } else { 1 };
    match random.u8(..5) {
        0 => (format!("DELETE FROM audit_events WHERE seq = {seq}"), "removed", seq),
        1 => {
            let changes = [
                "actor_id = actor_id || 'x'",
                "action = 'tenant.resumed '",
                "at = at + interval '1 microsecond'",
                "outcome = CASE outcome WHEN 'ok' THEN 'denied' ELSE 'ok' END",
                "count = count + 1",
                "changed = changed || ARRAY['x']",
                "changed = ARRAY[array_to_string(changed, ',') || ',']",
                "resource_id = resource_id || '1'",
                "on_behalf_of = coalesce(on_behalf_of, '') || '-'",
                "before_digest = sha256(coalesce(before_digest, ''))",
                "after_digest = sha256(coalesce(after_digest, ''))",
                "hash = sha256(hash)",
            ];
            let change = changes[random.usize(..changes.len())];
            (format!("UPDATE audit_events SET {change} WHERE seq = {seq}"), "altered", seq)
        }
        2 => {
            // Two rows change places, hashes and all.
            let swap = format!(
                "UPDATE audit_events SET seq = -seq WHERE seq IN ({seq}, {other}); \
                 UPDATE audit_events SET seq = CASE seq WHEN -{seq} THEN {other} ELSE {seq} END WHERE seq < 0"
            );
            (swap, "altered", seq)
        }
        3 => (format!("DELETE FROM audit_events WHERE seq >= {seq}"), "truncated", seq),
        _ => {
            // Whoever knows the function makes the whole chain anew.
            let again = format!(
                "UPDATE audit_events SET actor_id = 'nobody' WHERE seq = {seq}; \
                 DO $$ DECLARE one audit_events; before bytea := ''; BEGIN \
                 FOR one IN SELECT * FROM audit_events WHERE seq IS NOT NULL ORDER BY seq LOOP \
                 before := sha256(before || int8send(one.seq) || audit_leaf(one)); \
                 UPDATE audit_events SET hash = before WHERE id = one.id; END LOOP; END $$"
            );
            (again, "rewritten", last)
        }
    }
}

#[test]
fn each_planted_tampering_is_found_and_its_row_named() {
    let control = Control::start();
    control.tenant("acme");
    let key = control.key("acme", &["tenant-admin"], &[]);
    change(&control, &key, 20);
    let found = until_numbered(&control, &key);
    let last = found["sequenced"].as_i64().unwrap();
    let (database, _) = control.placement("acme");
    let keep = "CREATE SCHEMA kept; CREATE TABLE kept.events AS TABLE audit_events";
    cluster().psql(&database, keep).unwrap();
    let restore = "TRUNCATE audit_events; INSERT INTO audit_events SELECT * FROM kept.events";
    let planted = std::env::var("TAMPERINGS").ok().and_then(|count| count.parse().ok());
    let mut random = Rng::with_seed(7);
    for at in 0..planted.unwrap_or(100) {
        let (statement, kind, seq) = tampering(&mut random, last);
        cluster().psql(&database, &format!("{restore}; {statement}")).unwrap();
        let found = verified(&control, &key);
        let is_named = |one: &Json| one["kind"] == kind && one["seq"] == seq;
        let is_found = found["findings"].as_array().unwrap().iter().any(is_named);
        assert!(is_found && found["whole"] == false, "{at}: {statement}: {found}");
    }
    cluster().psql(&database, restore).unwrap();
    assert_eq!(verified(&control, &key)["whole"], true);
}

/// What was cut off is not covered up by what is written next.
#[test]
fn nothing_is_numbered_behind_a_chain_that_is_broken() {
    let control = Control::start();
    control.tenant("acme");
    let key = control.key("acme", &["tenant-admin"], &[]);
    change(&control, &key, 5);
    let before = until_numbered(&control, &key);
    let last = before["sequenced"].as_i64().unwrap();
    let (database, _) = control.placement("acme");
    let cut = format!("DELETE FROM audit_events WHERE seq > {}", last - 3);
    cluster().psql(&database, &cut).unwrap();
    change(&control, &key, 3);
    std::thread::sleep(Duration::from_secs(2));
    let found = verified(&control, &key);
    assert_eq!((&found["waiting"], &found["tampered"]), (&json!(3), &json!(3)), "{found}");
    assert_eq!(found["findings"][0], json!({"kind": "truncated", "seq": last - 2, "id": null}));
    assert_eq!(found["head"], before["head"]);
    assert!(control.log().contains("the audit chain is broken"), "{}", control.log());
}

#[test]
fn the_beginning_of_a_log_goes_when_its_time_is_over_and_the_chain_holds() {
    let mut control = Control::start();
    control.tenant("acme");
    let key = control.key("acme", &["tenant-admin"], &[]);
    until_numbered(&control, &key);
    control.kill();
    // A log that is old: five events of 401 days ago, three of 100, then what comes now.
    let (database, _) = control.placement("acme");
    let old = |first: i32, last: i32, days: i32| {
        format!(
            "INSERT INTO audit_events (id, at, actor_type, actor_id, action, resource_type, resource_id, outcome, salt) \
             SELECT 'ev_' || at, now() - interval '{days} days', 'system', 'x', 'x.done', 'x', 'x', 'ok', '' \
             FROM generate_series({first}, {last}) at"
        )
    };
    for statement in ["DELETE FROM audit_events".to_owned(), old(1, 5, 401), old(6, 8, 100)] {
        cluster().psql(&database, &statement).unwrap();
    }
    control.psql("DELETE FROM audit_heads WHERE tenant_id = 'acme'").unwrap();
    control.again();
    // Every start looks at all logs; what had no number by then waits for the next look.
    until_numbered_behind(&control, &key);
    control.kill();
    control.again();
    let rows = |what: &str| {
        cluster()
            .psql(&database, &format!("SELECT count(*) FROM audit_events WHERE {what}"))
            .unwrap()
    };
    let until = |count: &str| {
        let began = Instant::now();
        while rows("action = 'x.done'") != count {
            assert!(began.elapsed() < Duration::from_secs(20), "{count} are to be left");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    until("3");
    change(&control, &key, 3);
    let found = until_numbered_behind(&control, &key);
    assert_eq!((&found["whole"], &found["tampered"]), (&json!(true), &json!(0)), "{found}");
    let pruned = "/v1/tenants/acme/audit-events?action=audit_log.pruned";
    let event = control.ask(&key, "GET", pruned, None).json()["data"][0].clone();
    assert_eq!(
        (&event["resource"]["id"], &event["actor"]["id"]),
        (&json!("1-5"), &json!("retention"))
    );
    // A tenant may keep less, down to 90 days; the function removes nothing younger, whoever asks.
    let path = "/v1/tenants/acme/settings/audit.retention_days";
    for (days, status) in [(89, 422), (90, 200)] {
        let put =
            control.ask_with(&key, "PUT", path, "if-match: *\r\n", Some(json!({"value": days})));
        assert_eq!(put.status, status, "{}", put.text);
    }
    control.kill();
    control.again();
    until("0");
    let asked = cluster().psql(&database, "SET ROLE tollgate_tenant; SELECT prune_audit(1000000)");
    assert!(asked.unwrap().ends_with('0'));
    let found = until_numbered_behind(&control, &key);
    assert_eq!((&found["whole"], &found["tampered"]), (&json!(true), &json!(0)), "{found}");
    // What somebody else removes shows as before.
    cluster()
        .psql(&database, "DELETE FROM audit_events WHERE seq = (SELECT min(seq) FROM audit_events)")
        .unwrap();
    assert_eq!(verified(&control, &key)["findings"][0]["kind"], "removed");
}

/// The same for a log whose beginning is gone.
fn until_numbered_behind(control: &Control, key: &str) -> Json {
    let began = Instant::now();
    loop {
        let found = verified(control, key);
        if found["waiting"] == 0 {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{found}: {}", control.log());
        std::thread::sleep(Duration::from_millis(100));
    }
}
