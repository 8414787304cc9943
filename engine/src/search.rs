//! Who may do this, on what, and how: the names of one part of a request with which it is allowed.
//!
//! Asked are the names that the policy knows, each by the decision itself, so that what is found is what `decide`
//! allows. Whether that is everybody is known where the policy only compares that part with names, and does not allow
//! somebody whom it does not name.

use crate::bind::Part;
use crate::decide::{Scratch, TenantState};
use crate::now::Now;
use crate::request::{Entity, Request};
use crate::universe::{Choice, Universe};

/// Names that one search asks for at most; the rest is for the next page.
pub const SEARCHED_NAMES_MAX: usize = 10_000;

/// The part of a request that is sought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sought {
    Subject,
    Resource,
    Action,
}

/// Names of a part of a request that a tenant's policy knows, sorted.
#[derive(Debug, Clone)]
pub struct Names {
    sought: Sought,
    names: Vec<String>,
    unnamed: String,
    /// Whether the policy only compares this part with names.
    is_whole: bool,
}

/// One page of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub names: Vec<String>,
    /// Where the next page begins: behind this name; empty for the first. `None`: this is the last.
    pub next: Option<String>,
    /// With the pages before and behind: nobody else may.
    pub is_exact: bool,
}

impl Names {
    /// The names that the policy of a tenant knows.
    pub fn of(state: &TenantState, sought: Sought) -> Names {
        let universe = Universe::of(state);
        let place = (sought.part(), String::new());
        let text = |choice: &Choice| match choice {
            Choice::Text(text) if !text.is_empty() && text != "*" => Some(text.clone()),
            _ => None,
        };
        // A role is nobody.
        let is_meant = |name: &String| sought != Sought::Subject || !universe.roles.contains(name);
        let named = universe.places.get(&place).into_iter().flatten().filter_map(text);
        Names {
            sought,
            names: named.filter(is_meant).collect(),
            unnamed: universe.unnamed(sought.part()),
            is_whole: !universe.partial.contains(&place),
        }
    }

    /// Whether the policy only compares this part with names.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The names behind `after`.
    pub fn behind(&self, after: Option<&str>) -> impl Iterator<Item = &str> {
        let first = self.first_behind(after);
        self.names.get(first..).unwrap_or(&[]).iter().map(String::as_str)
    }

    fn first_behind(&self, after: Option<&str>) -> usize {
        after.map_or(0, |after| self.names.partition_point(|name| name.as_str() <= after))
    }

    /// The names behind `after` with which `request` is allowed, at most `most` of them. What the request says itself
    /// in the place of the name does not count.
    pub fn search(
        &self,
        state: &TenantState,
        request: &Request<'_>,
        (after, most): (Option<&str>, usize),
        now: Now,
        scratch: &mut Scratch,
    ) -> Found {
        let first = self.first_behind(after);
        let mut ask = |name: &str| {
            let asked = self.sought.put(request, name);
            state.decide_policy(&asked, now, scratch).is_allow()
        };
        let is_exact = self.is_whole && !ask(&self.unnamed);
        let mut found = Found { names: Vec::new(), next: None, is_exact };
        let behind = self.names.get(first..).unwrap_or(&[]);
        for (tried, name) in behind.iter().enumerate() {
            if found.names.len() >= most || tried >= SEARCHED_NAMES_MAX {
                let last = (first + tried).checked_sub(1).and_then(|at| self.names.get(at));
                found.next = Some(last.cloned().unwrap_or_default());
                break;
            }
            if ask(name) {
                found.names.push(name.clone());
            }
        }
        found
    }
}

impl Sought {
    fn part(self) -> Part {
        match self {
            Sought::Subject => Part::Subject,
            Sought::Resource => Part::Resource,
            Sought::Action => Part::Action,
        }
    }

    fn put<'a>(self, request: &Request<'a>, name: &'a str) -> Request<'a> {
        let mut asked = *request;
        match self {
            Sought::Subject => asked.subject = Entity { id: name, ..request.subject },
            Sought::Resource => asked.resource = Entity { id: name, ..request.resource },
            Sought::Action => asked.action = name,
        }
        asked
    }
}
