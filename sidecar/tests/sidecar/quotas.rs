//! Counters for people: those of the newest decisions, one by its key, and giving back, which leaves a line in the audit.

use crate::common::*;
use std::io::Write;
use std::time::Instant;
use tollgate_engine::Reason;
use tollgate_proto::frame::{kind, put_frame};
use tollgate_proto::quota::{CounterBody, QuotaAsked, QuotaBody};

const LIMITS: &str = r#"
[[limit]]
id = "calls"
meter = "requests"
budget = { amount = 3, window = "year" }
dimensions = ["subject"]

[[limit]]
id = "rate"
meter = "requests"
bucket = { rate = "1/d", burst = 9 }

[[limit]]
id = "never"
meter = "requests"
bucket = { rate = "1/d", burst = 9 }
when = 'r.obj == "/v1/other"'
"#;

fn start() -> Sidecar {
    let folder = folder();
    write(&folder, "acme/limits.toml", LIMITS);
    Sidecar::start(folder, &[])
}

pub(crate) fn ask(sidecar: &Sidecar, asked: &QuotaAsked) -> QuotaBody {
    let mut frame = Vec::new();
    put_frame(&mut frame, kind::QUOTA, 3, &serde_json::to_vec(asked).unwrap());
    let mut stream = sidecar.connect();
    stream.write_all(&frame).unwrap();
    let (kind, id, body) = read_frame(&mut stream).unwrap();
    assert_eq!((kind, id), (kind::COUNTERS, 3));
    serde_json::from_slice(&body).unwrap()
}

fn show(limit: &str, key: &[&str]) -> QuotaAsked {
    let key = key.iter().map(|value| (*value).to_owned()).collect();
    QuotaAsked::Show { tenant: "acme".to_owned(), limit: limit.to_owned(), key }
}

fn give_back(limit: &str, key: &[&str], amount: Option<u64>) -> QuotaAsked {
    let QuotaAsked::Show { tenant, limit, key } = show(limit, key) else { unreachable!() };
    QuotaAsked::GiveBack { tenant, limit, key, amount, reason: "a bug of ours".to_owned() }
}

pub(crate) fn standing(body: &QuotaBody) -> (u64, u64) {
    let [CounterBody { used, remaining, .. }] = body.counters.as_slice() else {
        panic!("{body:?}")
    };
    (*used, *remaining)
}

#[test]
fn counters_are_shown_and_given_back() {
    let sidecar = start();
    for reason in [Reason::Allow, Reason::Allow, Reason::Allow, Reason::QuotaExceeded] {
        assert_eq!(sidecar.ask("acme", "alice"), reason);
    }
    assert_eq!(standing(&ask(&sidecar, &show("calls", &["alice"]))), (3, 0));
    assert_eq!(standing(&ask(&sidecar, &show("calls", &["bob"]))), (0, 3));
    assert_eq!(standing(&ask(&sidecar, &show("rate", &[]))), (3, 6));
    for (asked, error) in [
        (show("calls", &[]), "counts by subject; name a value of each, got 0"),
        (show("rate", &["alice"]), "counts by tenant; name a value of each, got 1"),
        (show("no-such", &[]), "has no limit `no-such`"),
        (
            QuotaAsked::Show { tenant: "nobody".to_owned(), limit: String::new(), key: Vec::new() },
            "no tenant",
        ),
        (give_back("calls", &[], Some(1)), "counts by subject"),
    ] {
        let answer = ask(&sidecar, &asked);
        assert!(answer.counters.is_empty() && answer.error.contains(error), "{answer:?}");
    }
    // Those that a kept decision counts by: noted off its path, so a moment later.
    let began = Instant::now();
    let top = loop {
        let top = ask(&sidecar, &QuotaAsked::Top { tenant: Some("acme".to_owned()) }).counters;
        if !top.is_empty() {
            break top;
        }
        assert!(began.elapsed() < READY);
    };
    let shown = |one: &CounterBody| (one.limit.clone(), one.key.join(","), one.used, one.of);
    let shown: Vec<_> = top.iter().map(shown).collect();
    let calls = ("calls".to_owned(), "alice".to_owned(), 3, 3);
    assert_eq!(shown, [calls, ("rate".to_owned(), String::new(), 3, 9)]);
    assert!(top[0].resets.as_deref().is_some_and(|at| at.starts_with("1 Jan")), "{top:?}");
    assert_eq!(top[1].resets, None);
    let all = ask(&sidecar, &QuotaAsked::Top { tenant: None });
    let [acme] = all.tenants.as_slice() else { panic!("{all:?}") };
    assert_eq!((acme.tenant.as_str(), acme.version.as_str()), ("acme", "1.1"));
    assert_eq!((acme.allowed, acme.denied), (3, 1));
    // Within a second of the refusal: it may be over on a slow machine.
    for denied in &all.denied {
        let found = (denied.reason.as_str(), denied.count, denied.most.as_str());
        assert_eq!(found, ("quota-exceeded", 1, "calls"));
    }
    assert!(
        ask(&sidecar, &QuotaAsked::Top { tenant: Some("beta".to_owned()) }).counters.is_empty()
    );
    // At most what was used, and the next decision sees it.
    assert_eq!(standing(&ask(&sidecar, &give_back("calls", &["alice"], Some(1)))), (2, 1));
    assert_eq!(sidecar.ask("acme", "alice"), Reason::Allow);
    assert_eq!(sidecar.ask("acme", "alice"), Reason::QuotaExceeded);
    assert_eq!(standing(&ask(&sidecar, &give_back("calls", &["alice"], None))), (0, 3));
    assert_eq!(standing(&ask(&sidecar, &give_back("rate", &[], Some(1_000)))), (0, 9));
    assert_eq!(standing(&ask(&sidecar, &give_back("calls", &["bob"], None))), (0, 3));
    let audit = std::fs::read_to_string(sidecar.folder.join("data/quota-audit.ndjson")).unwrap();
    let lines: Vec<serde_json::Value> =
        audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let amounts: Vec<u64> = lines.iter().map(|line| line["amount"].as_u64().unwrap()).collect();
    assert_eq!(amounts, [1, 3, 4, 0]);
    assert_eq!(
        (&lines[0]["used_before"], &lines[0]["reason"]),
        (&3.into(), &"a bug of ours".into())
    );
    assert_eq!(lines[0]["uid"], nix::unistd::getuid().as_raw());
}

#[test]
fn a_region_is_looked_at_and_put_right_while_it_is_used() {
    use std::os::unix::fs::FileExt;
    let sidecar = start();
    assert_eq!(sidecar.ask("acme", "alice"), Reason::Allow);
    let look = |repair| ask(&sidecar, &QuotaAsked::Doctor { repair }).region.unwrap();
    let well = look(false);
    assert_eq!((well.wrong(), well.members, well.cells, well.occupied), (0, 1, 65_536, 2));
    // The first cell is taken from its key by somebody who died.
    let path = sidecar.folder.join("run/cells.region");
    let region = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut word = [0; 8];
    let mut at = 4096;
    while u64::from_ne_bytes(word) == 0 {
        region.read_exact_at(&mut word, at).unwrap();
        at += 64;
    }
    region.write_all_at(&[0xff; 8], at - 64 + 16).unwrap();
    let ill = look(false);
    assert_eq!((ill.half_evicted, ill.wrong(), ill.repaired), (1, 1, false));
    let mended = look(true);
    assert_eq!((mended.half_evicted, mended.repaired), (1, true));
    assert_eq!((look(false).wrong(), look(false).occupied), (0, 1));
    let audit = std::fs::read_to_string(sidecar.folder.join("data/quota-audit.ndjson")).unwrap();
    assert!(audit.starts_with("{\"at_ms\":") && audit.contains("\"region-repaired\""), "{audit}");
    std::fs::remove_file(sidecar.folder.join("data/quota-audit.ndjson")).unwrap();
    std::fs::create_dir(sidecar.folder.join("data/quota-audit.ndjson")).unwrap();
    let refused = ask(&sidecar, &QuotaAsked::Doctor { repair: true });
    assert!(refused.region.is_none() && refused.error.starts_with("not changed"), "{refused:?}");
}

#[test]
fn what_cannot_be_audited_is_not_changed() {
    let sidecar = start();
    assert_eq!(sidecar.ask("acme", "alice"), Reason::Allow);
    std::fs::create_dir(sidecar.folder.join("data/quota-audit.ndjson")).unwrap();
    let answer = ask(&sidecar, &give_back("calls", &["alice"], None));
    assert!(answer.error.starts_with("not changed: "), "{answer:?}");
    assert_eq!(standing(&ask(&sidecar, &show("calls", &["alice"]))), (1, 2));
}
