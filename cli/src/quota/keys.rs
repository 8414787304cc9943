//! Keys of `top`: a terminal that hands each on at once, and what each does.

use super::screen::{Sort, View};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use std::io::{Stdin, stdin};
use std::os::fd::AsFd;
use std::time::Duration;
use tollgate_proto::quota::QuotaBody;

const INTERRUPT: u8 = 3;
const END: u8 = 4;
const BACKSPACES: [u8; 2] = [8, 127];
const ESCAPE: u8 = 27;

/// A terminal that hands on each key at once; as it was again when this is dropped.
pub(super) struct Keys {
    stdin: Stdin,
    before: Termios,
}

impl Keys {
    /// `None` where there is no terminal to press keys at.
    pub(super) fn of_terminal() -> Option<Keys> {
        let stdin = stdin();
        let before = tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        raw.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG);
        tcsetattr(&stdin, SetArg::TCSANOW, &raw).ok()?;
        Some(Keys { stdin, before })
    }

    /// The next key, if one is pressed in so long.
    pub(super) fn next(&self, within: Duration) -> Option<u8> {
        let timeout = PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX);
        let mut waiting = [PollFd::new(self.stdin.as_fd(), PollFlags::POLLIN)];
        let mut key = [0];
        match poll(&mut waiting, timeout) {
            // Past the library's buffer: what is not read yet is still waited for.
            Ok(1..) => match nix::unistd::read(&self.stdin, &mut key) {
                Ok(1) => Some(key[0]),
                _ => Some(END),
            },
            _ => None,
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.stdin, SetArg::TCSANOW, &self.before);
    }
}

/// What a key does to a view; false if it ends `top`.
pub(super) fn press(view: &mut View, key: u8, now: &QuotaBody) -> bool {
    if view.is_typing {
        match key {
            INTERRUPT | END => return false,
            b'\r' | b'\n' => view.is_typing = false,
            ESCAPE => (view.is_typing, view.filter) = (false, String::new()),
            key if BACKSPACES.contains(&key) => {
                view.filter.pop();
            }
            key if key.is_ascii_graphic() || key == b' ' => view.filter.push(char::from(key)),
            _ => {}
        }
        return true;
    }
    match key {
        b'q' | INTERRUPT | END => return false,
        b't' => {
            let tenants = now.tenants.iter().map(|tenant| tenant.tenant.as_str());
            view.tenant = next_of(tenants.collect(), view.tenant.as_deref());
            view.limit = None;
        }
        b'l' => {
            let own = now
                .counters
                .iter()
                .filter(|one| view.tenant.as_ref().is_none_or(|own| *own == one.tenant));
            view.limit =
                next_of(own.map(|one| one.limit.as_str()).collect(), view.limit.as_deref());
        }
        b's' => {
            view.sort = match view.sort {
                Sort::Left => Sort::Used,
                Sort::Used => Sort::Name,
                Sort::Name => Sort::Left,
            };
        }
        b'/' => (view.is_typing, view.filter) = (true, String::new()),
        _ => {}
    }
    true
}

/// The name behind this one, in order; behind the last come all.
fn next_of(mut names: Vec<&str>, present: Option<&str>) -> Option<String> {
    names.sort_unstable();
    names.dedup();
    let next = match present {
        None => names.first(),
        Some(present) => names.iter().find(|name| **name > present),
    };
    next.map(|name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_proto::quota::{CounterBody, TenantBody};

    #[test]
    fn each_key_does_one_thing() {
        let tenant = |name: &str| TenantBody {
            tenant: name.to_owned(),
            version: "1.1".to_owned(),
            allowed: 0,
            denied: 0,
        };
        let counter = |limit: &str| CounterBody {
            tenant: "acme".to_owned(),
            limit: limit.to_owned(),
            meter: "requests".to_owned(),
            mode: "hard".to_owned(),
            key: Vec::new(),
            used: 0,
            of: 1,
            remaining: 1,
            held: 0,
            reset_ms: None,
            resets: None,
            override_until_ms: None,
        };
        let now = QuotaBody {
            tenants: vec![tenant("beta"), tenant("acme")],
            counters: vec![counter("tokens"), counter("calls"), counter("calls")],
            ..QuotaBody::default()
        };
        let mut view = View {
            tenant: None,
            limit: None,
            filter: String::new(),
            sort: Sort::Left,
            is_typing: false,
        };
        for (keys, tenant, limit, filter, sort, is_typing) in [
            ("t", Some("acme"), None, "", Sort::Left, false),
            ("l", Some("acme"), Some("calls"), "", Sort::Left, false),
            ("l", Some("acme"), Some("tokens"), "", Sort::Left, false),
            ("l", Some("acme"), None, "", Sort::Left, false),
            ("lt", Some("beta"), None, "", Sort::Left, false),
            ("l", Some("beta"), None, "", Sort::Left, false),
            ("t", None, None, "", Sort::Left, false),
            ("s", None, None, "", Sort::Used, false),
            ("ss", None, None, "", Sort::Left, false),
            ("/tq", None, None, "tq", Sort::Left, true),
            ("\u{7f}", None, None, "t", Sort::Left, true),
            ("\r", None, None, "t", Sort::Left, false),
            ("x", None, None, "t", Sort::Left, false),
            ("/ab\u{1b}", None, None, "", Sort::Left, false),
        ] {
            assert!(keys.bytes().all(|key| press(&mut view, key, &now)), "{keys:?}");
            let found = (view.tenant.as_deref(), view.limit.as_deref(), view.filter.as_str());
            assert_eq!(
                (found, view.sort, view.is_typing),
                ((tenant, limit, filter), sort, is_typing),
                "{keys:?}"
            );
        }
        for key in [b'q', INTERRUPT, END] {
            assert!(!press(&mut view, key, &now));
        }
        assert!(press(&mut view, b'/', &now) && press(&mut view, b'q', &now));
        assert!(!press(&mut view, INTERRUPT, &now));
    }
}
