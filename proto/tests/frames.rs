//! The wire format, byte by byte: golden frames, and what is refused.
//!
//! `UPDATE_GOLDEN=1` rewrites the hex files; a change there is a change of the protocol.

use tollgate_engine::bounds::{
    ATTRIBUTES_MAX, FRAME_BYTES_MAX, LIST_LENGTH_MAX, RESERVATION_TTL_MS, RESERVATION_TTL_MS_MAX,
};
use tollgate_engine::{
    Amount, Attribute, Decision, Entity, Part, Reason, Request, Reserve, SettleCode, Settlement,
    Value, Version,
};
use tollgate_proto::authzen::{DecisionId, Settle};
use tollgate_proto::frame::{self, BATCH_MAX, FrameError, kind};

const ID: DecisionId = DecisionId { prefix: 0xab, number: 7 };

fn small<'a>() -> Request<'a> {
    Request {
        tenant: "acme",
        subject: Entity { kind: "user", id: "alice" },
        resource: Entity { kind: "path", id: "/v1/x" },
        action: "read",
        ..Request::default()
    }
}

/// Every member, every kind of value.
fn with_full<T>(ask: impl FnOnce(&Request<'_>) -> T) -> T {
    let tags = [Value::Str("a"), Value::Int(-1), Value::Bool(true), Value::Null];
    let attribute = |part, path, value| Attribute { part, path, value };
    let attributes = [
        attribute(Part::Subject, "age", Value::Int(30)),
        attribute(Part::Subject, "score", Value::Dec { mantissa: 15, scale: 1 }),
        attribute(Part::Resource, "owner", Value::Str("zoë")),
        attribute(Part::Context, "inside", Value::Bool(false)),
        attribute(Part::Context, "tags", Value::List(&tags)),
        attribute(Part::Action, "note", Value::Null),
    ];
    let amounts = [Amount { meter: "tokens", amount: 1200 }];
    ask(&Request { attributes: &attributes, amounts: Some(&amounts), ..small() })
}

fn golden(name: &str, bytes: &[u8]) {
    let path = format!("{}/tests/golden/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let lines: Vec<String> = bytes
        .chunks(16)
        .map(|chunk| chunk.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "))
        .collect();
    let text = format!("{}\n", lines.join("\n"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), text, "{name}");
}

#[test]
fn golden_frames_do_not_change() {
    let mut out = Vec::new();
    frame::put_check(&mut out, 7, &small());
    golden("check-small", &out);
    out.clear();
    with_full(|request| frame::put_check(&mut out, 8, request));
    golden("check-full", &out);
    out.clear();
    frame::put_batch(&mut out, 9, &[small(), small()]);
    golden("batch", &out);
    out.clear();
    let start = frame::begin_frame(&mut out, kind::DECISION, 7);
    let version = Version { epoch: 1, seq: 42 };
    frame::put_decision(&mut out, None, &Decision::refuse(Reason::NoRule, version), ID);
    frame::end_frame(&mut out, start);
    golden("decision-no-rule", &out);
    out.clear();
    frame::put_error(&mut out, 7, FrameError::Malformed, "expected version 1");
    golden("error", &out);
    out.clear();
    let known = [Amount { meter: "tokens", amount: 200 }];
    let reserve = Reserve { ttl_ms: 60_000, known: &known };
    with_full(|request| {
        frame::put_reserve(&mut out, 10, &Request { reserve: Some(&reserve), ..*request });
    });
    golden("reserve", &out);
    out.clear();
    frame::put_settle(&mut out, 11, &settle_of("tokens"));
    golden("settle", &out);
    out.clear();
    frame::put_settled(&mut out, 11, Settlement { code: SettleCode::Settled, uncharged: 0 });
    golden("settled", &out);
}

fn settle_of(meter: &str) -> Settle<'_> {
    let amounts = Some(vec![(meter.into(), 812), ("cost".into(), 9)]);
    Settle { reservation: "1f-2-00000000000000ab".into(), amounts }
}

#[test]
fn reservations_are_read_back_or_refused() {
    let known = [Amount { meter: "tokens", amount: 200 }];
    for (ttl_ms, read) in [
        (0, Some(RESERVATION_TTL_MS)),
        (1, Some(1)),
        (RESERVATION_TTL_MS_MAX, Some(RESERVATION_TTL_MS_MAX)),
        (RESERVATION_TTL_MS_MAX + 1, None),
    ] {
        let (mut out, reserve) = (Vec::new(), Reserve { ttl_ms, known: &known });
        frame::put_reserve(&mut out, 1, &Request { reserve: Some(&reserve), ..small() });
        let cut = frame::next_frame(&out).unwrap().unwrap();
        let found = frame::reserve(cut.body, |request| {
            let reserve = request.reserve.unwrap();
            assert_eq!((request.subject.id, reserve.known[0].amount), ("alice", 200));
            reserve.ttl_ms
        });
        assert_eq!(found.ok(), read, "{ttl_ms}");
        for end in 0..cut.body.len() {
            assert!(frame::reserve(&cut.body[..end], |_| ()).is_err(), "{end}");
        }
    }
    for (settle, is_read) in [
        (settle_of("tokens"), true),
        (Settle { amounts: None, ..settle_of("") }, true),
        (Settle { amounts: Some(Vec::new()), ..settle_of("") }, true),
        // The same meter twice.
        (settle_of("cost"), false),
    ] {
        let mut out = Vec::new();
        frame::put_settle(&mut out, 1, &settle);
        let body = frame::next_frame(&out).unwrap().unwrap().body;
        let found = frame::read_settle(body);
        assert_eq!(found, if is_read { Ok(settle) } else { Err(FrameError::Malformed) });
        for end in 0..body.len() {
            assert!(frame::read_settle(&body[..end]).is_err(), "{end}");
        }
        assert!(frame::read_settle(&[body, &[0]].concat()).is_err());
    }
}

#[test]
fn what_is_written_is_read_back() {
    let mut out = Vec::new();
    with_full(|request| {
        frame::put_check(&mut out, 8, request);
        let cut = frame::next_frame(&out).unwrap().unwrap();
        assert_eq!((cut.kind, cut.id, cut.taken), (kind::CHECK, 8, out.len()));
        let shown = frame::check(cut.body, |read| format!("{read:?}")).unwrap();
        assert_eq!(shown, format!("{request:?}"));
    });
}

#[test]
fn a_truncated_frame_is_awaited_and_a_truncated_body_refused() {
    let mut out = Vec::new();
    with_full(|request| frame::put_check(&mut out, 8, request));
    for length in 0..out.len() {
        assert_eq!(frame::next_frame(&out[..length]), Ok(None), "{length}");
    }
    let body = frame::next_frame(&out).unwrap().unwrap().body;
    for length in 0..body.len() {
        let read = frame::check(&body[..length], |_| ());
        assert_eq!(read, Err(FrameError::Malformed), "{length}");
    }
    let longer = [body, &[0]].concat();
    let mut asked = 0;
    assert_eq!(frame::check(&longer, |_| asked += 1), Err(FrameError::Malformed));
    let mut batch = Vec::new();
    frame::put_batch(&mut batch, 1, &[small(), small()]);
    let cut_short = &batch[12..batch.len() - 1];
    assert_eq!(frame::batch(cut_short, |_| asked += 1), Err(FrameError::Malformed));
    assert_eq!(asked, 0, "what is malformed takes nothing");
}

#[test]
fn headers_are_checked() {
    let frame_of = |length: u32, head: [u8; 8]| {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(head);
        bytes
    };
    for (length, head, expected) in [
        (8, [1, 1, 0, 0, 0, 0, 0, 0], None),
        (7, [1, 1, 0, 0, 0, 0, 0, 0], Some(FrameError::Malformed)),
        (8, [2, 1, 0, 0, 0, 0, 0, 0], Some(FrameError::Malformed)),
        (8, [1, 1, 1, 0, 0, 0, 0, 0], Some(FrameError::Malformed)),
        (FRAME_BYTES_MAX as u32, [2, 1, 0, 0, 0, 0, 0, 0], Some(FrameError::Malformed)),
        (FRAME_BYTES_MAX as u32, [1, 1, 0, 0, 0, 0, 0, 0], None),
        (FRAME_BYTES_MAX as u32 + 1, [1, 1, 0, 0, 0, 0, 0, 0], Some(FrameError::TooLarge)),
        (u32::MAX, [1, 1, 0, 0, 0, 0, 0, 0], Some(FrameError::TooLarge)),
    ] {
        assert_eq!(frame::next_frame(&frame_of(length, head)).err(), expected, "{length} {head:?}");
    }
}

#[test]
fn bounds_hold_at_n_and_break_at_n_plus_one() {
    let paths: Vec<String> = (0..=ATTRIBUTES_MAX).map(|n| format!("a{n}")).collect();
    let attributes: Vec<Attribute<'_>> = (paths.iter())
        .map(|path| Attribute { part: Part::Context, path, value: Value::Null })
        .collect();
    let read = |request: &Request<'_>| {
        let mut out = Vec::new();
        frame::put_check(&mut out, 1, request);
        frame::check(&out[12..], |_| ()).is_ok()
    };
    assert!(read(&Request { attributes: &attributes[..ATTRIBUTES_MAX], ..small() }));
    assert!(!read(&Request { attributes: &attributes, ..small() }));
    let items = vec![Value::Null; LIST_LENGTH_MAX + 1];
    let list = |items| {
        let value = Value::List(items);
        read(&Request {
            attributes: &[Attribute { part: Part::Context, path: "l", value }],
            ..small()
        })
    };
    assert!(list(&items[..LIST_LENGTH_MAX]));
    assert!(!list(&items));
    let twice = [attributes[0], attributes[0]];
    assert!(!read(&Request { attributes: &twice, ..small() }));
    let batch = |n: usize| {
        let mut out = Vec::new();
        frame::put_batch(&mut out, 1, &vec![small(); n]);
        frame::batch(&out[12..], |_| ()).is_ok()
    };
    assert!(batch(BATCH_MAX));
    assert!(!batch(BATCH_MAX + 1));
}

#[test]
fn text_must_be_utf8_and_tags_known() {
    let mut out = Vec::new();
    with_full(|request| frame::put_check(&mut out, 8, request));
    let body = out[12..].to_vec();
    let alice = body.windows(5).position(|window| window == b"alice").unwrap();
    let mut bad = body.clone();
    bad[alice] = 0xff;
    assert_eq!(frame::check(&bad, |_| ()), Err(FrameError::Malformed));
    let age = body.windows(3).position(|window| window == b"age").unwrap();
    let mut bad = body;
    bad[age + 3] = 99;
    assert_eq!(frame::check(&bad, |_| ()), Err(FrameError::Malformed));
}

#[test]
fn a_reply_that_contradicts_itself_is_refused() {
    let mut body = Vec::new();
    frame::put_decision(&mut body, None, &Decision::refuse(Reason::NoRule, Version::default()), ID);
    assert_eq!(frame::read_decision(&body).unwrap().reason, Reason::NoRule);
    body[0] = 1;
    assert_eq!(frame::read_decision(&body), Err(FrameError::Malformed));
}
