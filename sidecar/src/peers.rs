//! Who may connect: our own user id, root, members of the socket's group, and those configured.
//!
//! Also how many connections each user id holds.

use nix::unistd::{Gid, Group, Uid, User};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Decides about peers of one door.
#[derive(Debug)]
pub(crate) struct Peers {
    own_uid: u32,
    group: u32,
    more_uids: Vec<u32>,
    per_uid_max: usize,
    open: Mutex<HashMap<u32, usize>>,
}

/// A place in the count of its user id, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    peers: Arc<Peers>,
    uid: u32,
}

impl Peers {
    pub(crate) fn new(more_uids: Vec<u32>, per_uid_max: usize) -> Peers {
        Peers {
            own_uid: Uid::effective().as_raw(),
            group: Gid::effective().as_raw(),
            more_uids,
            per_uid_max,
            open: Mutex::default(),
        }
    }

    /// Whether this peer may ask at all.
    pub(crate) fn may_connect(&self, uid: u32, gid: u32) -> bool {
        uid == 0
            || uid == self.own_uid
            || gid == self.group
            || self.more_uids.contains(&uid)
            || is_member(uid, self.group)
    }

    /// Whether this peer may see rules and values.
    pub(crate) fn may_explain(&self, uid: u32) -> bool {
        uid == 0 || uid == self.own_uid
    }

    /// A place for one more connection of this user id, if it has one left.
    pub(crate) fn enter(self: &Arc<Self>, uid: u32) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(uid).or_default();
        if *count >= self.per_uid_max {
            return None;
        }
        *count += 1;
        Some(Place { peers: Arc::clone(self), uid })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.peers.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.uid);
            }
        }
    }
}

/// Whether the group database names the user in the group.
fn is_member(uid: u32, gid: u32) -> bool {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    user.zip(group).is_some_and(|(user, group)| group.mem.contains(&user.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_per_user_and_given_back() {
        let peers = Arc::new(Peers::new(vec![4_000_000], 2));
        let first = peers.enter(1);
        let second = peers.enter(1);
        assert!(first.is_some() && second.is_some());
        assert!(peers.enter(1).is_none());
        assert!(peers.enter(2).is_some());
        drop(first);
        assert!(peers.enter(1).is_some());
    }

    #[test]
    fn strangers_are_refused() {
        let peers = Peers::new(vec![4_000_000], 2);
        for (uid, gid, expected) in [
            (0, 4_000_001, true),
            (Uid::effective().as_raw(), 4_000_001, true),
            (4_000_000, 4_000_001, true),
            (4_000_001, Gid::effective().as_raw(), true),
            (4_000_001, 4_000_001, false),
        ] {
            assert_eq!(peers.may_connect(uid, gid), expected, "{uid} {gid}");
        }
    }
}
