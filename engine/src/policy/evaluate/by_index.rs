//! The answer by hash tables: the layout's twin, which no decision runs.

use crate::expr::eval_strict::Machine;
use crate::policy::PolicySet;
use crate::policy::evaluate::{Sees, domain_text, guarded};
use crate::policy::index::{ANY, Alternative, Candidate, Member, NONE};
use crate::policy::roles::Asked;
use crate::value::Value;

impl PolicySet {
    /// Sees every row that may match by one alternative; false if they cannot say.
    pub(super) fn look_up<'m>(
        &'m self,
        alternative: &Alternative,
        machine: &mut Machine<'m>,
        first: &mut impl Sees,
    ) -> bool {
        let guarded = guarded(alternative, machine);
        if guarded == Some(false) {
            return true;
        }
        let id_of = |slot: u16| machine.slots.get(usize::from(slot)).and_then(Value::as_str);
        let mut seconds = vec![NONE];
        if let Some(second) = alternative.second {
            let Some(text) = id_of(second.slot) else { return false };
            // `NONE` is no row's key once there is a second key.
            let id = self.facts.texts.find(text).unwrap_or(NONE);
            seconds = if second.any { vec![id, ANY] } else { vec![id] };
            if let Some((graph, domain)) = second.roles {
                let domain = match domain.map(|domain| domain_text(domain, machine)) {
                    Some(None) => return false,
                    Some(domain) => domain,
                    None => None,
                };
                let (roles, texts) = (&self.facts.roles, &self.facts.texts);
                let closure = if roles.is_patterned(graph) {
                    let now = machine.now;
                    let asked = Asked { definition: graph, domain, member: text, role: "", now };
                    let Some(walked) = roles.walk(texts, asked, None) else { return false };
                    walked.all().to_vec()
                } else {
                    let domain = domain.map(|text| texts.find(text).unwrap_or(NONE));
                    roles.closure(graph, domain, id).to_vec()
                };
                seconds = if closure.is_empty() { vec![id] } else { closure };
            }
        }
        let mut see = |machine: &mut Machine<'m>, member: u32| {
            for second in &seconds {
                let candidates = alternative.twin.candidates(member, *second);
                self.see_candidates(candidates, alternative, guarded, machine, first);
            }
        };
        match alternative.member {
            None => see(machine, NONE),
            Some(Member::Equal { slot, any }) => {
                let Some(text) = id_of(slot) else { return false };
                if let Some(id) = self.facts.texts.find(text) {
                    see(machine, id);
                }
                if any {
                    see(machine, ANY);
                }
            }
            Some(Member::Elements { slot }) => {
                let Some(Value::List(items)) = machine.slots.get(usize::from(slot)).copied() else {
                    return false;
                };
                if items.iter().any(|item| item.as_str().is_none()) {
                    return false;
                }
                for item in items {
                    if let Some(id) = item.as_str().and_then(|text| self.facts.texts.find(text)) {
                        see(machine, id);
                    }
                }
            }
            Some(Member::Roles { graph, slot, domain }) => {
                let Some(text) = id_of(slot) else { return false };
                let domain = match domain.map(|domain| domain_text(domain, machine)) {
                    Some(None) => return false,
                    // A tenant without links: everybody is only themselves.
                    Some(Some(text)) => Some(self.facts.texts.find(text).unwrap_or(NONE)),
                    None => None,
                };
                let Some(id) = self.facts.texts.find(text) else { return true };
                let closure = self.facts.roles.closure(graph, domain, id);
                if closure.is_empty() {
                    see(machine, id);
                }
                for role in closure {
                    see(machine, *role);
                }
            }
        }
        true
    }

    fn see_candidates(
        &self,
        candidates: &[Candidate],
        alternative: &Alternative,
        guarded: Option<bool>,
        machine: &mut Machine<'_>,
        first: &mut impl Sees,
    ) {
        let path = alternative.path.and_then(|slot| machine.slots.get(usize::from(slot)));
        let path = path.and_then(Value::as_str);
        for candidate in candidates {
            if path.is_some_and(|path| !candidate.may_match(path.as_bytes())) {
                continue;
            }
            let row = candidate.row;
            let mut truth = guarded;
            for test in &alternative.twin.rest {
                match machine.truth(*test, row as usize) {
                    Some(true) => {}
                    Some(false) => {
                        truth = Some(false);
                        break;
                    }
                    None => truth = None,
                }
            }
            first.see(row, self.facts.effect(row as usize), truth);
        }
    }
}
