//! Bundles: what comes out is what went in, and nothing that was changed on the way is believed.

use tollgate_engine::{Now, Request, Scratch, TenantState, Version};
use tollgate_proto::bundle::{
    self, BundleError, File, Folder, Manifest, Options, SectionKind, Sections, SigningSecret,
    TRUST_MAX, TrustSet, check_floor, compile, from_files, open, peek, seal, sections,
};

const VERSION: Version = Version { epoch: 1, seq: 7 };

fn key(number: u8) -> SigningSecret {
    SigningSecret::from_bytes(&[number; 32])
}

fn trust(numbers: &[u8]) -> TrustSet {
    TrustSet::new(numbers.iter().map(|number| key(*number).public()).collect()).unwrap()
}

fn manifest(tenant: &str, version: Version) -> Manifest {
    Manifest {
        tenant: tenant.to_owned(),
        epoch: version.epoch,
        seq: version.seq,
        parent: [3; 32],
        key_id: Default::default(),
        sections: Vec::new(),
    }
}

fn sealed(tenant: &str, sections: &Sections) -> Vec<u8> {
    seal(manifest(tenant, VERSION), sections, &key(1)).unwrap().1
}

fn small() -> Vec<u8> {
    let sections =
        vec![(SectionKind::Policy, b"policy".to_vec()), (SectionKind::Limits, b"limits".to_vec())];
    sealed("acme", &sections)
}

type Files = Vec<(String, Vec<u8>)>;

/// The folders of `policies/`, read.
fn cases() -> Vec<(String, Files)> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies");
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if !path.join("model.conf").exists() {
            continue;
        }
        let read = |name: &&str| {
            std::fs::read(path.join(name)).ok().map(|bytes| ((*name).to_owned(), bytes))
        };
        let files = bundle::FILES.iter().filter_map(read).collect();
        cases.push((path.file_name().unwrap().to_string_lossy().into_owned(), files));
    }
    assert!(cases.len() >= 6);
    cases
}

fn load<'f>(name: &str, files: &'f [(String, Vec<u8>)]) -> (Folder, Vec<File<'f>>) {
    let files: Vec<File<'_>> = files.iter().map(|(path, bytes)| File { path, bytes }).collect();
    (from_files(name, &files, Options::new(1, VERSION)).unwrap(), files)
}

#[test]
fn a_tenant_from_its_bundle_decides_as_from_its_folder() {
    let mut asked = 0;
    for (name, files) in cases() {
        let (folder, borrowed) = load(&name, &files);
        let all = sections(&folder, &borrowed);
        let suite = bundle::suite(&borrowed).unwrap().unwrap();
        for (state, sections) in folder.tenants.iter().zip(&all) {
            let bytes = sealed(state.name(), sections);
            let opened = open(&bytes, &trust(&[1])).unwrap();
            let again = compile(&opened, 2).unwrap();
            assert_eq!((again.name(), again.version()), (state.name(), VERSION));
            assert_eq!(again.schema().is_some(), name == "documents");
            for row in &suite.tests {
                row.request.with(|request| {
                    let expected = lines(state, request);
                    asked += expected.len();
                    assert_eq!(lines(&again, request), expected, "{name} {request:?}");
                });
            }
        }
    }
    assert!(asked > 100, "{asked}");
}

/// The lines of all rules that match: a bundle keeps the lines of its file.
fn lines(state: &TenantState, request: &Request<'_>) -> Vec<u32> {
    let matching = state.matching_rules(request, Now(0), &mut Scratch::default());
    matching.iter().map(|rule| state.policy().rule_line(*rule)).collect()
}

#[test]
fn a_bundle_holds_no_other_tenants_rows() {
    let (name, files) = cases().into_iter().find(|(name, _)| name == "saas").unwrap();
    let (folder, borrowed) = load(&name, &files);
    let all = sections(&folder, &borrowed);
    assert!(folder.tenants.len() > 1);
    for (state, sections) in folder.tenants.iter().zip(&all) {
        let bytes = sealed(state.name(), sections);
        let text = String::from_utf8_lossy(&bytes);
        let others = folder.tenants.iter().filter(|other| other.name() != state.name());
        for other in others {
            let cell = format!(", {},", other.name());
            assert!(!text.contains(&cell), "{} holds rows of {}", state.name(), other.name());
        }
    }
}

#[test]
fn every_changed_bit_and_every_cut_is_refused() {
    let bytes = small();
    let trusted = trust(&[1]);
    assert!(open(&bytes, &trusted).is_ok());
    let mut seen = std::collections::BTreeSet::new();
    for position in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[position / 8] ^= 1 << (position % 8);
        seen.insert(open(&changed, &trusted).expect_err(&position.to_string()).number());
    }
    // Malformed, format, key, signature, damaged: each has its own error.
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [1201, 1202, 1203, 1204, 1205]);
    for cut in 0..bytes.len() {
        assert!(open(&bytes[..cut], &trusted).is_err(), "{cut}");
    }
    let longer = [&bytes[..], b"x"].concat();
    assert!(matches!(open(&longer, &trusted), Err(BundleError::Malformed(_))));
}

#[test]
fn each_refusal_has_its_own_error() {
    let bytes = small();
    assert!(matches!(open(&bytes, &trust(&[2])), Err(BundleError::UnknownKey(_))));
    assert!(open(&bytes, &trust(&[2, 3, 1])).is_ok());
    // Another key under the id of a trusted one is still another key.
    let theirs = seal(manifest("acme", VERSION), &[], &key(9)).unwrap().1;
    let mut forged = theirs.clone();
    let (from, to) = (key(9).public().id(), key(1).public().id());
    let at = forged.windows(8).position(|window| window == from).unwrap();
    forged[at..at + 8].copy_from_slice(&to);
    assert_eq!(open(&forged, &trust(&[1])), Err(BundleError::WrongSignature));
    let later = Version { epoch: 1, seq: 8 };
    let next_epoch = Version { epoch: 2, seq: 1 };
    for (floor, got, expected) in [
        (None, VERSION, true),
        (Some(VERSION), later, true),
        (Some(VERSION), next_epoch, true),
        (Some(VERSION), VERSION, false),
        (Some(later), VERSION, false),
        (Some(next_epoch), later, false),
    ] {
        assert_eq!(check_floor(floor, got).is_ok(), expected, "{floor:?} {got:?}");
    }
    let opened = open(&bytes, &trust(&[1])).unwrap();
    assert!(matches!(compile(&opened, 1), Err(BundleError::Content(_))));
    let strange = sealed("acme", &vec![(SectionKind::Flags, vec![])]);
    let error = compile(&open(&strange, &trust(&[1])).unwrap(), 1).unwrap_err();
    assert!(error.to_string().contains("`flags`"), "{error}");
    assert_eq!(peek(&bytes).unwrap().version(), VERSION);
}

#[test]
fn a_trust_set_has_one_to_four_different_keys() {
    let keys = |numbers: &[u8]| numbers.iter().map(|n| key(*n).public()).collect::<Vec<_>>();
    assert!(TrustSet::new(keys(&[])).is_err());
    assert!(TrustSet::new(keys(&[1, 1])).is_err());
    assert!(TrustSet::new(keys(&[1, 2, 3, 4])).is_ok());
    assert!(TrustSet::new(keys(&[1, 2, 3, 4, 5])).is_err());
    assert_eq!(TRUST_MAX, 4);
    let pem = String::from_utf8(key(1).to_pem().unwrap().as_ref().to_vec()).unwrap();
    assert_eq!(SigningSecret::from_pem(&pem).unwrap().public(), key(1).public());
    let error = SigningSecret::from_pem("nothing").err().unwrap();
    assert!(!error.contains("nothing"), "{error}");
    let public = key(1).public().to_pem().unwrap();
    assert_eq!(bundle::PublicKey::from_pem(&public), Ok(key(1).public()));
}

#[test]
fn a_folder_of_one_tenant_holds_no_row_of_another() {
    use tollgate_engine::Code;
    let plain = "[request_definition]\nr = sub, dom, act\nr2 = sub, dom\n[policy_definition]\np = sub, dom, act\n\
        p2 = sub, dom\n[role_definition]\ng = _, _, _\n[policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\n\
        m = g(r.sub, p.sub, r.dom) && r.dom == p.dom && r.act == p.act\nm2 = r2.sub == p2.sub && r2.dom == p2.dom\n";
    let patterns = format!("{plain}[domain_patterns]\ng = keyMatch\n");
    for (model, rows, line) in [
        (plain, "p, a, acme, read\np, b, *, read\np2, a, acme\ng, a, b, acme\n", None),
        (plain, "p, a, acme, read\np, a, beta, read\n", Some(2)),
        (plain, "p, a, acme, read\ng, a, b, beta\n", Some(2)),
        (plain, "p, a, acme, read\np2, a, beta\n", Some(2)),
        (&patterns, "p, a, acme, read\ng, a, b, *\ng, a, c, ac*\n", None),
        (&patterns, "p, a, acme, read\ng, a, b, be*\n", Some(2)),
    ] {
        let files = [
            File { path: "model.conf", bytes: model.as_bytes() },
            File { path: "policy.csv", bytes: rows.as_bytes() },
            File { path: "tenant.toml", bytes: b"tenant = \"acme\"\n" },
        ];
        let loaded = from_files("folder", &files, Options::new(1, VERSION));
        let found =
            loaded.err().and_then(|found| found.iter().next().map(|one| (one.code, one.span.line)));
        assert_eq!(found, line.map(|line| (Code::ForeignDomain, line)), "{rows}");
    }
}
