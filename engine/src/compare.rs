//! What changes between two configurations of a tenant: which requests gain, lose, or are refused for another reason.
//!
//! Asked are the requests of the universe that both tell apart. Where that universe is whole and small enough to be walked,
//! the comparison is exact; otherwise it is a sample, and says so.

use crate::bind::Part;
use crate::decide::{Scratch, TenantState};
use crate::now::Now;
use crate::reason::Reason;
use crate::request::{Attribute, Entity, Request};
use crate::universe::{Choice, Place, Universe};
use crate::value::Value;

/// Requests that one comparison asks at most.
pub const COMPARED_REQUESTS_MAX: u64 = 1_000_000;
/// Examples of each kind that a comparison keeps.
pub const EXAMPLES_MAX: usize = 10;

/// How many requests gain, lose and change, with examples.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    pub gain: Changed,
    pub lose: Changed,
    /// The same answer for another reason.
    pub change: Changed,
    pub asked: u64,
    /// Nothing else can differ.
    pub is_exact: bool,
}

/// Requests that differ in one way.
#[derive(Debug, Clone, Default)]
pub struct Changed {
    pub count: u64,
    pub examples: Vec<Example>,
}

/// One request with both answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    pub subject: String,
    pub resource: String,
    pub action: String,
    /// Other values, such as `context.enforce_context = "2"`.
    pub others: Vec<String>,
    pub before: Answer,
    pub after: Answer,
}

/// Why, and by which line of policy.csv.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    pub reason: Reason,
    pub line: Option<u32>,
}

/// Compares two configurations of the tenant `name`; one that does not exist refuses everything.
pub fn compare(
    name: &str,
    before: Option<&TenantState>,
    after: Option<&TenantState>,
    now: Now,
) -> Comparison {
    let universes = [before, after].into_iter().flatten().map(Universe::of);
    let universe = universes.reduce(Universe::and).unwrap_or_default();
    let axes = Axes::of(&universe);
    let whole = axes.count();
    let mut comparison = Comparison {
        is_exact: universe.is_whole() && whole.is_some_and(|count| count <= COMPARED_REQUESTS_MAX),
        ..Comparison::default()
    };
    let count = whole.map_or(COMPARED_REQUESTS_MAX, |count| count.min(COMPARED_REQUESTS_MAX));
    let is_walk = whole == Some(count);
    let mut random = Stride::new();
    let mut asker = Asker { name, now, scratch: Scratch::default() };
    for at in 0..count {
        let chosen = axes.pick(|radix| if is_walk { None } else { Some(random.below(radix)) }, at);
        let both = [before, after].map(|state| asker.ask(state, &chosen));
        comparison.asked += 1;
        comparison.note(&chosen, both);
    }
    comparison
}

impl Comparison {
    /// Whether any request of those asked is answered otherwise.
    pub fn differs(&self) -> bool {
        self.gain.count + self.lose.count + self.change.count > 0
    }

    fn note(&mut self, chosen: &[(&Place, &Choice)], [before, after]: [Answer; 2]) {
        let allows = |answer: Answer| answer.reason.allows();
        let kind = match (allows(before), allows(after)) {
            (false, true) => &mut self.gain,
            (true, false) => &mut self.lose,
            (true, true) => return,
            (false, false) if before.reason == after.reason => return,
            (false, false) => &mut self.change,
        };
        kind.count += 1;
        if kind.examples.len() < EXAMPLES_MAX {
            kind.examples.push(Example::of(chosen, before, after));
        }
    }
}

impl Example {
    fn of(chosen: &[(&Place, &Choice)], before: Answer, after: Answer) -> Example {
        let of = |part: Part| text_at(chosen, part).to_owned();
        let is_other = |place: &Place| !place.1.is_empty();
        let others =
            chosen.iter().filter(|(place, choice)| is_other(place) && **choice != Choice::Missing);
        let shown = others
            .map(|((part, path), choice)| format!("{}.{path} = {}", part.name(), show(choice)));
        Example {
            subject: of(Part::Subject),
            resource: of(Part::Resource),
            action: of(Part::Action),
            others: shown.collect(),
            before,
            after,
        }
    }
}

fn show(choice: &Choice) -> String {
    match choice {
        Choice::Missing => "missing".to_owned(),
        Choice::Bool(bool) => bool.to_string(),
        Choice::Int(int) => int.to_string(),
        Choice::Text(text) => format!("{text:?}"),
        Choice::List(items) => format!("{items:?}"),
    }
}

fn text_at<'c>(chosen: &[(&Place, &'c Choice)], part: Part) -> &'c str {
    let found = chosen.iter().find(|((of, path), _)| *of == part && path.is_empty());
    match found {
        Some((_, Choice::Text(text))) => text,
        _ => "any",
    }
}

/// The places of a universe, each with its choices and the value that nobody names.
struct Axes<'d> {
    axes: Vec<(&'d Place, Vec<Choice>)>,
}

impl<'d> Axes<'d> {
    fn of(universe: &'d Universe) -> Axes<'d> {
        let axis = |(place, choices): (&'d Place, &std::collections::BTreeSet<Choice>)| {
            // An empty name is no request, and a tenant asks its own policy.
            let asked = choices
                .iter()
                .filter(|choice| **choice != Choice::Text(String::new()) || !place.1.is_empty());
            let mut all: Vec<Choice> = asked.cloned().collect();
            // People are better examples than roles.
            all.sort_by_key(
                |choice| matches!(choice, Choice::Text(name) if universe.roles.contains(name)),
            );
            let is_context = place.1 == crate::decide::ENFORCE_CONTEXT && place.0 == Part::Context;
            if !is_context {
                all.push(Choice::Text(universe.unnamed(place.0)));
            }
            (place, all)
        };
        let is_asked =
            |(place, _): &(&Place, &std::collections::BTreeSet<Choice>)| place.0 != Part::Tenant;
        Axes { axes: universe.places.iter().filter(is_asked).map(axis).collect() }
    }

    /// How many requests there are; `None` beyond what can be counted.
    fn count(&self) -> Option<u64> {
        self.axes.iter().try_fold(1_u64, |product, (_, choices)| {
            product.checked_mul(u64::try_from(choices.len()).ok()?)
        })
    }

    /// The request of a number, or with each place as `random` says.
    fn pick(
        &self,
        mut random: impl FnMut(usize) -> Option<usize>,
        mut number: u64,
    ) -> Vec<(&'d Place, &Choice)> {
        let chosen = self.axes.iter().map(|(place, choices)| {
            let len = choices.len().max(1);
            let wide = u64::try_from(len).unwrap_or(1);
            let counted = usize::try_from(number % wide).unwrap_or(0);
            number /= wide;
            let at = random(len).unwrap_or(counted);
            (*place, choices.get(at).unwrap_or(&Choice::Missing))
        });
        chosen.collect()
    }
}

/// Numbers without a pattern, the same each time (splitmix64).
struct Stride(u64);

impl Stride {
    fn new() -> Stride {
        Stride(0x9e37_79b9_7f4a_7c15)
    }

    fn below(&mut self, radix: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(radix.max(1)).unwrap_or(1)).unwrap_or(0)
    }
}

struct Asker<'a> {
    name: &'a str,
    now: Now,
    scratch: Scratch,
}

impl Asker<'_> {
    fn ask(&mut self, state: Option<&TenantState>, chosen: &[(&Place, &Choice)]) -> Answer {
        let Some(state) = state else {
            return Answer { reason: Reason::UnknownTenant, line: None };
        };
        let texts: Vec<Vec<Value<'_>>> = chosen.iter().map(|(_, choice)| list(choice)).collect();
        let mut attributes = Vec::new();
        for ((place, choice), list) in chosen.iter().zip(&texts) {
            let (part, path) = place;
            if path.is_empty() || path == "type" {
                continue;
            }
            let value = match choice {
                Choice::Missing => continue,
                Choice::Bool(bool) => Value::Bool(*bool),
                Choice::Int(int) => Value::Int(*int),
                Choice::Text(text) => Value::Str(text),
                Choice::List(_) => Value::List(list),
            };
            attributes.push(Attribute { part: *part, path, value });
        }
        let kind = |part: Part| {
            let found = chosen.iter().find(|((of, path), _)| *of == part && path == "type");
            match found {
                Some((_, Choice::Text(text))) => text.as_str(),
                _ => "",
            }
        };
        let entity = |part: Part| Entity { id: text_at(chosen, part), kind: kind(part) };
        let request = Request {
            tenant: self.name,
            subject: entity(Part::Subject),
            resource: entity(Part::Resource),
            action: text_at(chosen, Part::Action),
            attributes: &attributes,
            amounts: None,
            reserve: None,
        };
        let decision = state.decide_policy(&request, self.now, &mut self.scratch);
        let line = decision.rule.map(|rule| state.policy().rule_line(rule));
        Answer { reason: decision.reason, line }
    }
}

fn list(choice: &Choice) -> Vec<Value<'_>> {
    match choice {
        Choice::List(items) => items.iter().map(|item| Value::Str(item)).collect(),
        _ => Vec::new(),
    }
}
