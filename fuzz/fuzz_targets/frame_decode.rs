//! No bytes panic the frame decoder, and what it reads it writes back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_proto::frame;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some(cut)) = frame::next_frame(bytes) {
        let _ = frame::batch(cut.body, |_| ());
        let _ = frame::read_decision(cut.body);
        let _ = frame::read_decisions(cut.body);
        let _ = frame::read_error(cut.body);
        let _ = frame::read_reserved(cut.body);
        let _ = frame::read_settled(cut.body);
        if let Ok(settle) = frame::read_settle(cut.body) {
            let mut again = Vec::new();
            frame::put_settle(&mut again, cut.id, &settle);
            assert_eq!(&again[12..], cut.body);
        }
        let _ = frame::reserve(cut.body, |_| ());
        let _ = frame::check(cut.body, |request| {
            let mut again = Vec::new();
            frame::put_check(&mut again, cut.id, request);
            assert_eq!(&again[12..], cut.body);
        });
    }
});
