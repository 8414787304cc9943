//! One graph of role links, and how far it reaches: breadth first in `strict` and Go, as casbin walks in `casbin-rs`.

use crate::bounds::{ROLE_DEPTH_MAX, ROLES_PER_SUBJECT_MAX};
use std::collections::{HashMap, VecDeque};

/// Levels that casbin-rs walks.
const CASBIN_LEVELS: usize = 10;

/// What a name reaches within `ROLE_DEPTH_MAX` hops, and whether that is all.
pub(super) fn breadth_first<Roles: IntoIterator<Item = u32>>(
    name: u32,
    roles_of: impl Fn(u32) -> Roles,
) -> Result<(Vec<u32>, bool), String> {
    let mut reached = vec![name];
    let mut level = vec![name];
    for depth in 0..=ROLE_DEPTH_MAX {
        let mut next = Vec::new();
        for member in &level {
            for role in roles_of(*member) {
                if !reached.contains(&role) {
                    reached.push(role);
                    next.push(role);
                }
            }
        }
        if next.is_empty() {
            break;
        }
        if depth == ROLE_DEPTH_MAX {
            reached.truncate(reached.len() - next.len());
            return Ok((reached, false));
        }
        level = next;
    }
    match reached.len() > ROLES_PER_SUBJECT_MAX {
        true => Err(format!("reaches more than {ROLES_PER_SUBJECT_MAX} roles")),
        false => Ok((reached, true)),
    }
}

/// Links of one graph in the order of their rows.
#[derive(Default)]
pub(super) struct Graph {
    pub(super) links: HashMap<u32, Vec<u32>>,
    pub(super) first_line: HashMap<u32, u32>,
}

impl Graph {
    pub(super) fn add(&mut self, member: u32, role: u32, line: u32) {
        let roles = self.links.entry(member).or_default();
        if member != role && !roles.contains(&role) {
            roles.push(role);
        }
        self.first_line.entry(member).or_insert(line);
    }

    fn roles_of(&self, name: u32) -> &[u32] {
        self.links.get(&name).map_or(&[], Vec::as_slice)
    }

    /// Breadth first up to `ROLE_DEPTH_MAX` hops; a longer chain is refused, never cut.
    pub(super) fn reach(&self, name: u32) -> Result<Vec<u32>, String> {
        match breadth_first(name, |member| self.roles_of(member).iter().copied())? {
            (reached, true) => Ok(reached),
            (_, false) => Err(format!("reaches a role over more than {ROLE_DEPTH_MAX} hops")),
        }
    }

    /// The same, a longer chain cut: as Casbin for Go walks.
    pub(super) fn reach_at_most(&self, name: u32) -> Result<Vec<u32>, String> {
        let reached = breadth_first(name, |member| self.roles_of(member).iter().copied());
        reached.map(|(reached, _)| reached)
    }

    /// As casbin-rs walks: newest link first, and a level ends only when the queue runs empty.
    pub(super) fn casbin_reach(&self, name: u32) -> Vec<u32> {
        let mut discovered = vec![name];
        let mut queue = VecDeque::from([name]);
        let mut reached = Vec::new();
        let mut level = 0;
        while level < CASBIN_LEVELS {
            let Some(member) = queue.pop_front() else { break };
            if queue.is_empty() {
                level += 1;
            }
            for role in self.roles_of(member).iter().rev() {
                if !discovered.contains(role) {
                    discovered.push(*role);
                    queue.push_back(*role);
                }
            }
            reached.push(member);
        }
        reached
    }
}
