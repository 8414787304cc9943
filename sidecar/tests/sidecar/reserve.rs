//! Reservations at the doors: how one is asked for, every answer of a settle, and what its end leaves.

use crate::common::*;
use serde_json::{Value as Json, json};
use std::io::Write;
use tollgate_engine::{Amount, Reserve};
use tollgate_proto::authzen::Settle;
use tollgate_proto::frame::{self, kind};
use tollgate_proto::quota::{QuotaAsked, QuotaBody};

const LIMITS: &str = r#"
[[limit]]
id = "tokens-per-day"
meter = "tokens"
budget = { amount = 1_000, window = "day" }
default_amount = 1
dimensions = ["subject"]
overdraft = 50

[[limit]]
id = "in-flight"
meter = "concurrency"
budget = { amount = 2 }
dimensions = ["subject"]
when = 'r.obj == "/v1/slow"'
"#;

fn start() -> Sidecar {
    let folder = folder();
    write(&folder, "acme/limits.toml", LIMITS);
    // What is settled is answered once the journal has it: then its place is another's.
    let variables = [("TOLLGATE_RESERVATIONS__COUNT", "4"), ("TOLLGATE_JOURNAL_SYNC", "disk")];
    Sidecar::start(folder, &variables)
}

fn evaluate(sidecar: &Sidecar, resource: &str, context: &Json) -> Json {
    let mut body = json!({
        "subject": {"type": "user", "id": "alice"},
        "action": {"name": "read"},
        "resource": {"type": "path", "id": resource},
        "context": {"tenant": "acme"},
    });
    body["context"].as_object_mut().unwrap().extend(context.as_object().unwrap().clone());
    let (status, answer) = sidecar.evaluate("/access/v1/evaluation", &body.to_string());
    assert_eq!(status, 200, "{answer}");
    answer["context"].clone()
}

fn left(sidecar: &Sidecar) -> u64 {
    evaluate(sidecar, "/v1/x", &json!({"quota": {}}))["limits"][0]["remaining"].as_u64().unwrap()
}

/// What open reservations hold of alice's tokens.
fn held(sidecar: &Sidecar) -> u64 {
    let (tenant, limit) = ("acme".to_owned(), "tokens-per-day".to_owned());
    let asked = QuotaAsked::Show { tenant, limit, key: vec!["alice".to_owned()] };
    let mut out = Vec::new();
    frame::put_frame(&mut out, kind::QUOTA, 3, &serde_json::to_vec(&asked).unwrap());
    let mut stream = sidecar.connect();
    stream.write_all(&out).unwrap();
    let (_, _, body) = read_frame(&mut stream).unwrap();
    serde_json::from_slice::<QuotaBody>(&body).unwrap().counters[0].held
}

fn settle(sidecar: &Sidecar, body: &Json) -> (u16, Json) {
    sidecar.evaluate("/v1/settle", &body.to_string())
}

#[test]
fn an_estimate_is_settled_over_http() {
    let sidecar = start();
    // Nothing to settle: nothing was said of tokens, or it is known to be true.
    for context in [
        json!({}),
        json!({"quota": {"requests": 1}}),
        json!({"quota": {"tokens": 1}, "reserve": false}),
    ] {
        let answer = evaluate(&sidecar, "/v1/x", &context);
        assert_eq!((&answer["reason"], &answer["reservation"]), (&"allow".into(), &Json::Null));
    }
    assert_eq!(left(&sidecar), 997);
    let answer = evaluate(&sidecar, "/v1/x", &json!({"quota": {"tokens": 400}}));
    let first = answer["reservation"].as_str().unwrap().to_owned();
    assert_eq!(left(&sidecar), 597);
    let amounts = |tokens: u64| json!({"reservation": first, "amounts": {"tokens": tokens}});
    let settled =
        json!({"settled": true, "reason": "settled", "reason_code": 3000, "uncharged": 0});
    assert_eq!(settle(&sidecar, &json!({"reservation": first, "amounts": {"cost": 1}})).0, 400);
    assert_eq!(settle(&sidecar, &amounts(100)), (200, settled));
    assert_eq!(left(&sidecar), 897);
    let (status, again) = settle(&sidecar, &amounts(5));
    assert_eq!(
        (status, &again["reason"], &again["settled"]),
        (200, &"already-settled".into(), &true.into())
    );
    assert_eq!(left(&sidecar), 897);
    // The default amount of a meter can be reserved, too, and a refusal has no reservation.
    let answer = evaluate(&sidecar, "/v1/x", &json!({"reserve": true}));
    let second = json!({"reservation": answer["reservation"], "amounts": {"tokens": 897 + 50 + 1}});
    let (status, over) = settle(&sidecar, &second);
    assert_eq!(
        (status, &over["reason"], &over["uncharged"]),
        (200, &"overdraft-exceeded".into(), &1.into())
    );
    let answer = evaluate(&sidecar, "/v1/x", &json!({"reserve": true}));
    assert_eq!(
        (&answer["reason"], &answer["reservation"]),
        (&"quota-exceeded".into(), &Json::Null)
    );
}

#[test]
fn a_settle_that_is_none_says_what_is_wrong() {
    let sidecar = start();
    let answer = evaluate(&sidecar, "/v1/x", &json!({"quota": {"tokens": 400}}));
    let id = answer["reservation"].as_str().unwrap();
    for (body, status, code, pointer) in [
        (json!([]), 400, "invalid", ""),
        (json!({"amounts": {"tokens": 1}}), 400, "invalid", "/reservation"),
        (json!({"reservation": id}), 400, "invalid", "/amounts"),
        (json!({"reservation": id, "amounts": {"tokens": -1}}), 400, "invalid", "/amounts/tokens"),
        (json!({"reservation": id, "amounts": {"tokens": 1.5}}), 400, "invalid", "/amounts/tokens"),
        (json!({"reservation": id, "amounts": {}, "release": true}), 400, "invalid", "/release"),
        (json!({"reservation": id, "release": "yes"}), 400, "invalid", "/release"),
        (json!({"reservation": "x", "release": true}), 404, "unknown-reservation", ""),
        (
            json!({"reservation": "0-1-0000000000000000", "release": true}),
            404,
            "unknown-reservation",
            "",
        ),
        (json!({"reservation": id, "amounts": {"cost": 1}}), 400, "unknown-meter", ""),
    ] {
        let (got, answer) = settle(&sidecar, &body);
        assert_eq!(
            (got, answer["error"]["code"].as_str()),
            (status, Some(code)),
            "{body}: {answer}"
        );
        if !pointer.is_empty() {
            assert_eq!(answer["error"]["details"]["fields"][0]["pointer"], pointer, "{body}");
        }
    }
    assert_eq!(left(&sidecar), 600);
    for (reserve, pointer) in [
        (json!(7), "/context/reserve"),
        (json!({"ttl_ms": 0}), "/context/reserve/ttl_ms"),
        (json!({"ttl_ms": 86_400_001}), "/context/reserve/ttl_ms"),
        (json!({"known": {"tokens": "1"}}), "/context/reserve/known/tokens"),
    ] {
        let body = json!({
            "subject": {"type": "user", "id": "alice"}, "action": {"name": "read"},
            "resource": {"type": "path", "id": "/v1/x"}, "context": {"tenant": "acme", "reserve": reserve},
        });
        let (status, answer) = sidecar.evaluate("/access/v1/evaluation", &body.to_string());
        assert_eq!(
            (status, &answer["error"]["details"]["fields"][0]["pointer"]),
            (400, &pointer.into())
        );
    }
    assert_eq!(held(&sidecar), 400);
    assert_eq!(settle(&sidecar, &json!({"reservation": id, "release": true})).0, 200);
    assert_eq!((left(&sidecar), held(&sidecar)), (1_000, 0));
}

#[test]
fn what_nobody_settles_ends() {
    let sidecar = start();
    let reserve =
        json!({"quota": {"tokens": 400}, "reserve": {"ttl_ms": 300, "known": {"tokens": 30}}});
    let answer = evaluate(&sidecar, "/v1/x", &reserve);
    assert_eq!(left(&sidecar), 600);
    // In flight without being asked for, and room for two.
    let slow = json!({"reserve": {"ttl_ms": 300}});
    for reason in ["allow", "allow", "quota-exceeded"] {
        let answer = evaluate(&sidecar, "/v1/slow", &slow);
        assert_eq!(answer["reason"], reason);
    }
    let began = std::time::Instant::now();
    while left(&sidecar) != 1_000 - 30 - 2 {
        assert!(began.elapsed() < READY, "{}", left(&sidecar));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let answer_late = json!({"reservation": answer["reservation"], "amounts": {"tokens": 100}});
    let (status, late) = settle(&sidecar, &answer_late);
    assert_eq!((status, &late["reason"]), (200, &"settled-late".into()));
    assert_eq!(left(&sidecar), 898);
    let answer = evaluate(&sidecar, "/v1/slow", &json!({"quota": {"tokens": 0}}));
    assert_eq!(answer["limits"][1]["remaining"], 1, "{answer}");
    assert!(answer["reservation"].is_string(), "{answer}");
    let metrics = sidecar.http("GET /metrics", "", "").2;
    assert!(metrics.contains("tollgate_sidecar_reservations_expired_total 3"), "{metrics}");
    assert!(
        metrics.contains("tollgate_sidecar_settles_total{code=\"settled-late\"} 1"),
        "{metrics}"
    );
}

#[test]
fn frames_reserve_and_settle() {
    let sidecar = start();
    let mut stream = sidecar.connect();
    let mut ask = |out: &[u8]| {
        stream.write_all(out).unwrap();
        read_frame(&mut stream).unwrap()
    };
    let amounts = [Amount { meter: "tokens", amount: 400 }];
    let reserve = Reserve { ttl_ms: 60_000, known: &amounts };
    let mut asked = request("acme", "alice", "/v1/x");
    asked.amounts = Some(&amounts);
    asked.reserve = Some(&reserve);
    let mut out = Vec::new();
    frame::put_reserve(&mut out, 5, &asked);
    let (kind, id, body) = ask(&out);
    assert_eq!((kind, id), (kind::RESERVED, 5));
    let (reservation, reply) = frame::read_reserved(&body).unwrap();
    assert_eq!((reply.reason, reply.limits[0].remaining), (tollgate_engine::Reason::Allow, 600));
    for (number, amount) in [(3021, "cost"), (3000, "tokens"), (3010, "tokens")] {
        let amounts = Some(vec![(amount.into(), 150)]);
        let mut out = Vec::new();
        frame::put_settle(&mut out, 6, &Settle { reservation: reservation.into(), amounts });
        let (kind, id, body) = ask(&out);
        assert_eq!((kind, id), (kind::SETTLED, 6));
        assert_eq!(frame::read_settled(&body), Ok((number, 0)));
    }
    assert_eq!(left(&sidecar), 850);
    // Refused: no reservation. No room: an answer, and nothing is taken.
    let far = [Amount { meter: "tokens", amount: 10_000 }];
    let reasons: Vec<(bool, u16)> = [&far, &[Amount { meter: "tokens", amount: 1 }]]
        .into_iter()
        .cycle()
        .take(11)
        .map(|amounts| {
            asked.amounts = Some(amounts);
            let mut out = Vec::new();
            frame::put_reserve(&mut out, 7, &asked);
            let (_, _, body) = ask(&out);
            let (reservation, reply) = frame::read_reserved(&body).unwrap();
            (reservation.is_empty(), reply.reason.number())
        })
        .collect();
    let (refused, held, full) = ((true, 2060), (false, 0), (true, 2061));
    let expected =
        [refused, held, refused, held, refused, held, refused, held, refused, full, refused];
    assert_eq!(reasons, expected);
    assert_eq!(left(&sidecar), 846);
}
