//! What a door asks: one request, borrowed from the door's buffer.
//!
//! `SlotMap` turns it into the tuple that compiled expressions read; attributes that nothing reads
//! are not looked at.

use crate::bind::Part;
use crate::bounds::SLOTS_MAX;
use crate::expr::code::Slot;
use crate::value::Value;

/// A subject or resource: its identity is the pair.
#[derive(Debug, Clone, Copy, Default)]
pub struct Entity<'a> {
    pub kind: &'a str,
    pub id: &'a str,
}

/// One attribute by its dotted path below subject, resource or context.
#[derive(Debug, Clone, Copy)]
pub struct Attribute<'a> {
    pub part: Part,
    pub path: &'a str,
    pub value: Value<'a>,
}

/// How much of a meter a request uses.
#[derive(Debug, Clone, Copy)]
pub struct Amount<'a> {
    pub meter: &'a str,
    pub amount: u64,
}

/// One request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    pub tenant: &'a str,
    pub subject: Entity<'a>,
    pub resource: Entity<'a>,
    pub action: &'a str,
    pub attributes: &'a [Attribute<'a>],
    /// `None`: one request, default amounts. `Some(&[])`: look at the limits, take nothing.
    pub amounts: Option<&'a [Amount<'a>]>,
    /// What is taken is held until it is settled; `None`: it is charged.
    pub reserve: Option<&'a Reserve<'a>>,
}

/// How long a reservation holds, and what is charged if nobody settles it.
#[derive(Debug, Clone, Copy)]
pub struct Reserve<'a> {
    pub ttl_ms: u64,
    /// By meter; of a meter that is not named all that was taken.
    pub known: &'a [Amount<'a>],
}

/// Most policies read no more values than this: their tuple is a quarter of the largest.
const SLOTS_FEW: usize = 8;

/// As many as there are members: more only if a policy names one twice, as `r.sub` and `r.sub.id`.
const FIRST_MEMBERS: usize = 6;

/// Where each slot of compiled expressions gets its value.
#[derive(Debug, Clone, Default)]
pub(crate) struct SlotMap {
    /// The first members in place, `None` behind the last; the rest beyond.
    first: [Option<(u8, Member)>; FIRST_MEMBERS],
    members: Vec<(u8, Member)>,
    /// Sorted by part and path.
    attributes: Vec<(Part, Box<str>, usize)>,
    count: usize,
}

#[derive(Debug, Clone, Copy)]
enum Member {
    Tenant,
    SubjectId,
    SubjectKind,
    ResourceId,
    ResourceKind,
    Action,
}

impl SlotMap {
    /// Maps slots whose tokens are bound to `parts`.
    pub(crate) fn new(slots: &[Slot], parts: &[Part]) -> SlotMap {
        SlotMap::taking(slots, parts, |_, _| true)
    }

    /// The same, but for attributes that `is_ours` does not take from a request: they stay missing.
    pub(crate) fn taking(
        slots: &[Slot],
        parts: &[Part],
        is_ours: impl Fn(Part, &str) -> bool,
    ) -> SlotMap {
        let mut map = SlotMap { count: slots.len(), ..SlotMap::default() };
        for (index, slot) in slots.iter().enumerate() {
            let Some(part) = parts.get(slot.token).copied() else { continue };
            let member = match (part, slot.path.as_str()) {
                (Part::Subject, "" | "id") => Member::SubjectId,
                (Part::Subject, "type") => Member::SubjectKind,
                (Part::Resource, "" | "id") => Member::ResourceId,
                (Part::Resource, "type") => Member::ResourceKind,
                (Part::Action, "" | "name") => Member::Action,
                (Part::Tenant, "" | "id") => Member::Tenant,
                (part, path) if !is_ours(part, path) => continue,
                (_, path) => {
                    map.attributes.push((part, path.into(), index));
                    continue;
                }
            };
            if let (false, Ok(index)) = (slot.probe, u8::try_from(index)) {
                match map.first.iter_mut().find(|place| place.is_none()) {
                    Some(place) => *place = Some((index, member)),
                    None => map.members.push((index, member)),
                }
            }
        }
        map.attributes.sort();
        map
    }

    /// Lends the tuple of a request to `ask`; what the request does not say is missing.
    pub(crate) fn with<T>(&self, request: &Request<'_>, ask: impl FnOnce(&[Value<'_>]) -> T) -> T {
        match self.count <= SLOTS_FEW {
            true => ask(self.fill(request, &mut [Value::Missing; SLOTS_FEW])),
            false => ask(self.fill(request, &mut [Value::Missing; SLOTS_MAX])),
        }
    }

    fn fill<'t, 'a>(&self, request: &Request<'a>, tuple: &'t mut [Value<'a>]) -> &'t [Value<'a>] {
        let mut set = |slot: usize, value| {
            if let Some(place) = tuple.get_mut(slot) {
                *place = value;
            }
        };
        for (slot, member) in self.first.iter().map_while(Option::as_ref).chain(&self.members) {
            set(
                usize::from(*slot),
                Value::Str(match member {
                    Member::Tenant => request.tenant,
                    Member::SubjectId => request.subject.id,
                    Member::SubjectKind => request.subject.kind,
                    Member::ResourceId => request.resource.id,
                    Member::ResourceKind => request.resource.kind,
                    Member::Action => request.action,
                }),
            );
        }
        if !self.attributes.is_empty() {
            for attribute in request.attributes {
                let wanted = (attribute.part, attribute.path);
                let found = self
                    .attributes
                    .binary_search_by(|(part, path, _)| (*part, path.as_ref()).cmp(&wanted));
                if let Some((_, _, slot)) = found.ok().and_then(|at| self.attributes.get(at)) {
                    set(*slot, attribute.value);
                }
            }
        }
        tuple.get(..self.count).unwrap_or(&[])
    }
}
