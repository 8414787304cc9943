//! Attaching, making, making anew, and every refusal.

use crate::common::{Path, START, ask, left, limit, spec, tenant};
use std::os::unix::fs::PermissionsExt;
use tollgate_cells::{Region, RegionError, RegionSpec};
use tollgate_engine::cell::TableSecret;
use tollgate_engine::quota::window::Period;

fn refused(path: &Path, spec: &RegionSpec) -> &'static str {
    match Region::open(&path.0, spec, START, &mut |_| {}) {
        Ok(region) => panic!("{region:?}"),
        Err(error) => {
            assert!(!error.to_string().contains("1515"), "{error}");
            error.name()
        }
    }
}

#[test]
fn what_was_counted_is_there_for_whoever_attaches() {
    let (path, state) = (Path::new(), tenant(&[limit("calls", 9, Period::Day, true)]));
    let first = path.open(&spec(64, 4));
    assert!(first.is_new());
    assert_eq!((first.capacity(), first.members()), (64, 1));
    let mode = std::fs::metadata(&path.0).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(ask((&state, &first), "alice", None, START).is_allow());
    // Another secret and life of what is made do not matter: it is there.
    let other = RegionSpec { secret: TableSecret::new([9, 9]), run: 9, ..spec(64, 4) };
    let second = path.open(&other);
    assert_eq!((second.is_new(), second.secret().words()), (false, &[7, 8]));
    assert_eq!((second.members(), left((&state, &second), "alice", START)), (2, 8));
    assert!(ask((&state, &second), "alice", None, START).is_allow());
    assert_eq!(left((&state, &first), "alice", START), 7);
    drop((first, second));
    let third = path.open(&spec(64, 4));
    assert_eq!((third.members(), left((&state, &third), "alice", START)), (1, 7));
}

#[test]
fn another_size_is_made_anew_with_what_was_counted_unless_others_are_attached() {
    let (path, state) = (Path::new(), tenant(&[limit("calls", 9, Period::Day, true)]));
    let region = path.open(&spec(64, 4));
    assert!(ask((&state, &region), "alice", None, START).is_allow());
    for other in [spec(128, 4), spec(64, 5), spec(16, 4)] {
        assert_eq!(refused(&path, &other), "region-in-use");
    }
    drop(region);
    for other in [spec(128, 4), spec(64, 5), spec(16, 4)] {
        let region = path.open(&other);
        assert!(!region.is_new());
        assert_eq!(left((&state, &region), "alice", START), 8);
    }
    // Another life of the machine counts anew.
    let region = path.open(&RegionSpec { boot: [2, 2], ..spec(16, 4) });
    assert!(region.is_new());
    assert_eq!(left((&state, &region), "alice", START), 9);
}

#[test]
fn what_is_no_region_is_refused_and_left_alone() {
    let path = Path::new();
    for (content, expected) in [
        (vec![1; 100], "region-foreign"),
        (vec![1; 8192], "region-foreign"),
        (b"TGREGION".to_vec(), "region-foreign"),
    ] {
        std::fs::write(&path.0, &content).unwrap();
        assert_eq!(refused(&path, &spec(16, 1)), expected);
        assert_eq!(std::fs::read(&path.0).unwrap(), content);
    }
    std::fs::remove_file(&path.0).unwrap();
    drop(path.open(&spec(16, 1)));
    let whole = std::fs::read(&path.0).unwrap();
    for (at, value, expected) in [(0, b'X', Some("region-foreign")), (8, 9, Some("region-foreign"))]
        .into_iter()
        .chain([(16, 0, None)])
    {
        let mut changed = whole.clone();
        changed[at] = value;
        std::fs::write(&path.0, &changed).unwrap();
        match expected {
            Some(expected) => assert_eq!(refused(&path, &spec(16, 1)), expected, "byte {at}"),
            // Who made it died before it was whole.
            None => assert!(path.open(&spec(16, 1)).is_new()),
        }
    }
    // Cut off, it is none.
    std::fs::write(&path.0, &whole[..whole.len() - 8]).unwrap();
    assert_eq!(refused(&path, &spec(16, 1)), "region-foreign");
    std::fs::remove_file(&path.0).unwrap();
    std::fs::create_dir(&path.0).unwrap();
    assert_eq!(refused(&path, &spec(16, 1)), "region-unavailable");
    std::fs::remove_dir(&path.0).unwrap();
    std::os::unix::fs::symlink("/dev/null", &path.0).unwrap();
    assert_eq!(refused(&path, &spec(16, 1)), "region-unavailable");
    std::fs::remove_file(&path.0).unwrap();
    assert_eq!(refused(&path, &spec(1 << 50, 1)), "region-unavailable");
    assert_eq!(refused(&Path(path.0.join("nowhere")), &spec(16, 1)), "region-unavailable");
}

#[test]
fn a_new_region_is_filled_before_anybody_else_attaches() {
    let (path, state) = (Path::new(), tenant(&[limit("calls", 9, Period::Day, true)]));
    let mut kept = Vec::new();
    let region = path.open(&spec(64, 4));
    assert!(ask((&state, &region), "alice", None, START).is_allow());
    region.cells().every(&mut |words| kept.push(words));
    drop(region);
    std::fs::remove_file(&path.0).unwrap();
    let (filling, begun) = std::sync::mpsc::sync_channel(1);
    std::thread::scope(|scope| {
        let path = &path;
        let other = scope.spawn(move || {
            begun.recv().unwrap();
            path.open(&spec(64, 4))
        });
        let own = Region::open(&path.0, &spec(64, 4), START, &mut |cells| {
            filling.send(()).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(100));
            assert!(!other.is_finished());
            for words in &kept {
                assert!(cells.restore(*words, START.0));
            }
        });
        let (own, other) = (own.unwrap(), other.join().unwrap());
        assert_eq!((own.is_new(), other.is_new(), own.run() == other.run()), (true, false, true));
        assert_eq!(left((&state, &other), "alice", START), 8);
    });
}

#[test]
fn as_many_attach_as_there_are_numbers() {
    let path = Path::new();
    let mut members: Vec<Region> = (0..64).map(|_| path.open(&spec(16, 1))).collect();
    assert_eq!(members[0].members(), 64);
    let error = Region::open(&path.0, &spec(16, 1), START, &mut |_| {}).unwrap_err();
    assert!(matches!(error, RegionError::InUse(_)), "{error}");
    members.remove(7);
    path.open(&spec(16, 1));
}
