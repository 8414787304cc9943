//! Replays the fuzzers' corpora: what once was found, or is known to be nasty, stays harmless.

use std::path::PathBuf;
use tollgate_engine::{Dialect, Now, PolicySet, Source, Value, parse_model};
use tollgate_proto::frame;

const NOW: Now = Now(0);

const DIALECTS: [Dialect; 3] = [Dialect::Strict, Dialect::CasbinRs, Dialect::CasbinGo];

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = format!("{}/../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = entries.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    assert!(files.len() >= 4, "{target}: {} files", files.len());
    files
}

#[test]
fn frames() {
    for (path, bytes) in corpus("frame_decode") {
        // Every cut of it too: a stream ends anywhere.
        for length in 0..=bytes.len() {
            let Ok(Some(cut)) = frame::next_frame(&bytes[..length]) else { continue };
            let _ = (frame::read_decision(cut.body), frame::read_error(cut.body));
            let _ = frame::batch(cut.body, |_| ());
            let _ = frame::check(cut.body, |request| {
                let mut again = Vec::new();
                frame::put_check(&mut again, cut.id, request);
                assert_eq!(&again[12..], cut.body, "{}", path.display());
            });
        }
    }
}

#[test]
fn models() {
    for (_, bytes) in corpus("model_parse") {
        let text = String::from_utf8_lossy(&bytes);
        for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
            for dialect in DIALECTS {
                let _ = parse_model(Source { file: "model.conf", text: &text[..end] }, dialect);
            }
        }
    }
}

fn ask_both_ways(model: &str, rows: &str) {
    let word = rows.split([',', '\n', ' ']).find(|word| word.len() > 1).unwrap_or("x");
    for dialect in DIALECTS {
        let model = Source { file: "model.conf", text: model };
        let rows = Source { file: "policy.csv", text: rows };
        let Ok(set) = PolicySet::from_texts(model, rows, dialect, 1) else { continue };
        for value in [Value::Str(word), Value::Int(1), Value::Missing, Value::Null] {
            let tuple: Vec<Value<'_>> = set.slots().iter().map(|_| value).collect();
            assert_eq!(
                set.evaluate(&tuple, NOW),
                set.evaluate_by_scan(&tuple, NOW),
                "{model:?} {rows:?}"
            );
            assert_eq!(
                set.evaluate(&tuple, NOW),
                set.evaluate_by_index(&tuple, NOW),
                "{model:?} {rows:?}"
            );
        }
    }
}

#[test]
fn policies() {
    let model = include_str!("../../policies/break-glass/model.conf");
    for (_, bytes) in corpus("policy_parse") {
        let text = String::from_utf8_lossy(&bytes);
        for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
            ask_both_ways(model, &text[..end]);
        }
    }
}

#[test]
fn expressions() {
    for (_, bytes) in corpus("expr_compile") {
        let text = String::from_utf8_lossy(&bytes);
        for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
            let model = format!(
                "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = sub, obj, act\n\
                 [role_definition]\ng = _, _\n[policy_effect]\ne = some(where (p.eft == allow))\n\
                 [matchers]\nm = {}\n",
                &text[..end]
            );
            ask_both_ways(&model, "p, a, /b, c\np, 1, *, d\ng, a, b\n");
        }
    }
}

/// `y_` is read, `n_` is refused; and every cut of either is one or the other.
#[test]
fn http_bodies() {
    use tollgate_proto::authzen::{TenantHeader, evaluation, evaluations};
    for (path, bytes) in corpus("http_json") {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let read = evaluation(&bytes, TenantHeader::Missing);
        assert_eq!(read.is_ok(), name.starts_with("y_"), "{name}: {read:?}");
        assert_eq!(evaluations(&bytes, TenantHeader::Missing).is_ok(), read.is_ok(), "{name}");
        for length in 0..bytes.len() {
            let _ = evaluation(&bytes[..length], TenantHeader::Missing);
            let _ = evaluations(&bytes[..length], TenantHeader::Named("acme"));
        }
    }
}

#[test]
fn bundles() {
    use tollgate_proto::bundle::{SigningSecret, TrustSet, open, peek};
    let trust = TrustSet::new(vec![SigningSecret::from_bytes(&[1; 32]).public()]).unwrap();
    for (path, bytes) in corpus("bundle_decode") {
        assert!(peek(&bytes).is_ok(), "{}", path.display());
        for length in 0..bytes.len() {
            assert!(open(&bytes[..length], &trust).is_err(), "{length}");
        }
    }
}
