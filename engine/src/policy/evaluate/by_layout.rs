//! The answer by the layout: what a decision runs.

use crate::builtin::key_match::path_matches;
use crate::expr::eval_strict::Machine;
use crate::now::Now;
use crate::policy::PolicySet;
use crate::policy::evaluate::{Sees, domain_text, guarded};
use crate::policy::index::{Alternative, Domain, Member, NONE, Second};
use crate::policy::layout::block::{ANY_SECOND, Block, LaidRow};
use crate::policy::layout::{Layout, Reads};
use crate::policy::roles::Asked as Membership;
use crate::text::Texts;
use crate::value::Value;

/// What rows of one alternative are compared with.
struct Asked<'m, 's> {
    alternative: &'m Alternative,
    /// The truth of what all rows have in common.
    guarded: Option<bool>,
    second: Seconds<'s>,
    path: Option<&'m [u8]>,
}

/// The second keys of a request.
#[derive(Clone, Copy)]
enum Seconds<'s> {
    None,
    One(u32, &'s [u8]),
    /// Everything that a value reaches, itself included.
    Roles(&'s [u32], &'s Texts),
}

impl<'s> Seconds<'s> {
    fn of(layout: &Layout, text: &'s str, ids: &'s [u32], texts: &'s Texts) -> Seconds<'s> {
        match ids {
            // Nobody links it to anything: it is only itself. A text that no row has matches none.
            [] => Seconds::One(layout.second_hash(text), text.as_bytes()),
            ids => Seconds::Roles(ids, texts),
        }
    }
}

impl PolicySet {
    /// The second keys of a value that is asked for its roles; `None` if its domain is no text.
    fn seconds<'m>(
        &'m self,
        layout: &Layout,
        text: &'m str,
        (graph, domain): (u16, Option<Domain>),
        machine: &mut Machine<'m>,
    ) -> Option<Seconds<'m>> {
        let texts = &self.facts.texts;
        let domain = match domain.map(|domain| domain_text(domain, machine)) {
            Some(None) => return None,
            Some(Some(text)) => Some(texts.find(text).unwrap_or(NONE)),
            None => None,
        };
        let closure = texts.find(text).map(|id| self.facts.roles.closure(graph, domain, id));
        Some(Seconds::of(layout, text, closure.unwrap_or(&[]), texts))
    }

    /// `probe` where what the second key reaches is known by patterns: apart, for the room that the walk takes.
    #[cold]
    #[inline(never)]
    fn probe_by_patterns<'m>(
        &'m self,
        alternative: &'m Alternative,
        (slot, graph, domain): (u16, u16, Option<Domain>),
        guarded: Option<bool>,
        machine: &mut Machine<'m>,
        first: &mut impl Sees,
        reads: &mut impl Reads,
    ) -> bool {
        let text = machine.slots.get(usize::from(slot)).and_then(Value::as_str);
        let domain = match domain.map(|domain| domain_text(domain, machine)) {
            Some(None) => return false,
            Some(domain) => domain,
            None => None,
        };
        let Some(member) = text else { return false };
        let asked = Membership { definition: graph, domain, member, role: "", now: machine.now };
        let Some(seen) = self.facts.roles.walk(&self.facts.texts, asked, None) else {
            return false;
        };
        let second = Seconds::of(&alternative.layout, member, seen.all(), &self.facts.texts);
        self.see_all(alternative, (guarded, second), machine, first, reads)
    }

    /// Rules that a request's subject has by one alternative, whatever else it asks, at most `most`: for explanations.
    pub(crate) fn rules_of_member(
        &self,
        alternative: &Alternative,
        tuple: &[Value<'_>],
        now: Now,
        most: usize,
    ) -> Vec<u32> {
        let mut machine = self.machine(tuple, now);
        let text_of = |slot: u16| tuple.get(usize::from(slot)).and_then(Value::as_str);
        let layout = &alternative.layout;
        let mut places: Vec<u32> = layout.any.into_iter().collect();
        match alternative.member {
            None => {}
            Some(Member::Equal { slot, .. }) => {
                let named = text_of(slot).map(|text| layout.places(text, &mut ()));
                places.extend(named.into_iter().flatten());
            }
            Some(Member::Elements { slot }) => {
                let list = tuple.get(usize::from(slot)).copied().unwrap_or_default();
                let Value::List(items) = list else { return Vec::new() };
                for text in items.iter().filter_map(Value::as_str) {
                    places.extend(layout.places(text, &mut ()));
                }
            }
            Some(Member::Roles { slot, domain, .. }) => {
                let Some(text) = text_of(slot) else { return Vec::new() };
                let theirs = match domain.map(|domain| domain_text(domain, &mut machine)) {
                    Some(None) => return Vec::new(),
                    Some(Some(domain)) => {
                        layout.places_in(&self.facts.texts, domain, text, &mut ())
                    }
                    None => layout.places(text, &mut ()),
                };
                places.extend(theirs);
            }
        }
        let rows = places.into_iter().flat_map(|place| {
            let block = layout.block(place);
            (0..block.len()).filter_map(move |at| block.row(at))
        });
        rows.map(|row| row.ordinal()).take(most).collect()
    }

    /// Sees every row that may match by one alternative; false if the layout cannot say.
    pub(super) fn probe<'m>(
        &'m self,
        alternative: &'m Alternative,
        machine: &mut Machine<'m>,
        first: &mut impl Sees,
        reads: &mut impl Reads,
    ) -> bool {
        let guarded = guarded(alternative, machine);
        if guarded == Some(false) {
            return true;
        }
        let slots = machine.slots;
        let text_of = |slot: u16| slots.get(usize::from(slot)).and_then(Value::as_str);
        let second = match alternative.second {
            None => Seconds::None,
            Some(Second { slot, roles: Some((graph, domain)), .. })
                if self.facts.roles.is_patterned(graph) =>
            {
                let roles = (slot, graph, domain);
                return self.probe_by_patterns(alternative, roles, guarded, machine, first, reads);
            }
            Some(second) => match (text_of(second.slot), second.roles) {
                (None, _) => return false,
                (Some(text), None) => {
                    Seconds::One(alternative.layout.second_hash(text), text.as_bytes())
                }
                (Some(text), Some(roles)) => {
                    match self.seconds(&alternative.layout, text, roles, machine) {
                        Some(seconds) => seconds,
                        None => return false,
                    }
                }
            },
        };
        self.see_all(alternative, (guarded, second), machine, first, reads)
    }

    /// Sees every row that one of the first keys and of the second ones finds; false if the layout cannot say.
    #[inline]
    fn see_all<'m>(
        &'m self,
        alternative: &'m Alternative,
        (guarded, second): (Option<bool>, Seconds<'_>),
        machine: &mut Machine<'m>,
        first: &mut impl Sees,
        reads: &mut impl Reads,
    ) -> bool {
        let slots = machine.slots;
        let text_of = |slot: u16| slots.get(usize::from(slot)).and_then(Value::as_str);
        let layout = &alternative.layout;
        let path = alternative.path.and_then(text_of).map(str::as_bytes);
        let asked = Asked { alternative, guarded, second, path };
        match alternative.member {
            None => {}
            Some(Member::Equal { slot, .. }) => {
                let Some(text) = text_of(slot) else { return false };
                asked.see(layout.places(text, reads), machine, first, reads);
            }
            Some(Member::Elements { slot }) => {
                let Some(Value::List(items)) = slots.get(usize::from(slot)).copied() else {
                    return false;
                };
                if items.iter().any(|item| item.as_str().is_none()) {
                    return false;
                }
                for text in items.iter().filter_map(Value::as_str) {
                    asked.see(layout.places(text, reads), machine, first, reads);
                }
            }
            Some(Member::Roles { slot, domain, .. }) => {
                let Some(text) = text_of(slot) else { return false };
                let places = match domain.map(|domain| domain_text(domain, machine)) {
                    Some(None) => return false,
                    Some(Some(domain)) => layout.places_in(&self.facts.texts, domain, text, reads),
                    None => layout.places(text, reads),
                };
                asked.see(places, machine, first, reads);
            }
        }
        asked.see(layout.any.as_slice(), machine, first, reads);
        true
    }
}

impl<'m> Asked<'m, '_> {
    fn see(
        &self,
        places: &[u32],
        machine: &mut Machine<'m>,
        first: &mut impl Sees,
        reads: &mut impl Reads,
    ) {
        let layout = &self.alternative.layout;
        layout.fetch(places, reads);
        let any = self.alternative.second.is_none_or(|second| second.any);
        for place in places {
            let block = layout.block(*place);
            let anybody = if any { block.run(ANY_SECOND, reads) } else { 0..0 };
            for row in anybody.filter_map(|at| block.row(at)) {
                self.see_row(row, None, machine, first, reads);
            }
            match self.second {
                Seconds::None => {}
                Seconds::One(hash, text) => {
                    self.see_run(block, (hash, text), machine, first, reads)
                }
                Seconds::Roles(ids, texts) => {
                    for id in ids {
                        let text = texts.get(*id);
                        let second = (layout.second_hash(text), text.as_bytes());
                        self.see_run(block, second, machine, first, reads);
                    }
                }
            }
        }
    }

    /// Sees the rows of a block with a second key.
    fn see_run(
        &self,
        block: Block<'m>,
        (hash, text): (u32, &[u8]),
        machine: &mut Machine<'m>,
        first: &mut impl Sees,
        reads: &mut impl Reads,
    ) {
        let theirs = block.run(hash, reads);
        for row in theirs.filter_map(|at| block.row(at)) {
            self.see_row(row, Some(text), machine, first, reads);
        }
    }

    fn see_row(
        &self,
        row: LaidRow<'_>,
        second: Option<&[u8]>,
        machine: &mut Machine<'m>,
        first: &mut impl Sees,
        reads: &mut impl Reads,
    ) {
        if self.path.is_some_and(|path| !row.may_match(path, reads)) {
            return;
        }
        let has_patterns = self.alternative.layout.has_patterns;
        let mut truth = self.guarded;
        if has_patterns || second.is_some() {
            let (own, steps) = row.texts(reads);
            if second.is_some_and(|second| second != own) {
                return;
            }
            match self.path {
                Some(path) if has_patterns && !path_matches(steps, path) => return,
                None if has_patterns => truth = None,
                _ => {}
            }
        }
        for test in &self.alternative.unlaid {
            match machine.truth(*test, row.ordinal() as usize) {
                Some(true) => {}
                Some(false) => return,
                None => truth = None,
            }
        }
        first.see(row.ordinal(), row.effect(), truth);
    }
}
