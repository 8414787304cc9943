//! The `strict` evaluator: three truth values, nothing fails, nothing allocates.
//!
//! `Value::Missing` is *unknown*: a missing attribute, types that do not compare, a failing
//! function, an overflow. `&&`, `||` and `!` are Kleene's, so their order does not matter.

use crate::bounds::CUSTOM_ARGUMENTS_MAX;
use crate::builtin::pattern::Pattern;
use crate::builtin::{ip::ip_match, key_get::key_get, key_match::key_match};
use crate::expr::ast::Operator;
use crate::expr::code::{Code, Node, NodeId, Site};
use crate::now::Now;
use crate::policy::facts::Facts;
use crate::policy::roles::Asked;
use crate::value::{Value, rescale};
use std::cmp::Ordering;

/// What an evaluation reads, and how many steps it may still take.
pub(crate) struct Machine<'m> {
    pub(crate) code: &'m Code,
    pub(crate) facts: &'m Facts,
    pub(crate) slots: &'m [Value<'m>],
    pub(crate) fuel: u64,
    /// When, for role links that hold for a time.
    pub(crate) now: Now,
}

impl<'m> Machine<'m> {
    /// The truth of a node for a row; `None` is unknown.
    pub(crate) fn truth(&mut self, node: NodeId, row: usize) -> Option<bool> {
        match self.value(node, row) {
            Value::Bool(truth) => Some(truth),
            _ => None,
        }
    }

    /// The text of a node for a row.
    pub(crate) fn text(&mut self, node: NodeId, row: usize) -> Option<&'m str> {
        self.value(node, row).as_str()
    }

    pub(crate) fn value(&mut self, id: NodeId, row: usize) -> Value<'m> {
        self.fuel = self.fuel.saturating_sub(1);
        let Some(node) = self.code.nodes.get(id as usize).copied() else { return Value::Missing };
        if self.fuel == 0 {
            return Value::Missing;
        }
        match node {
            Node::Constant(index) => {
                self.code.constants.get(index as usize).map_or(Value::Missing, |c| c.value())
            }
            Node::Slot(slot) => self.slots.get(usize::from(slot)).copied().unwrap_or_default(),
            Node::Column(column) => Value::Str(self.facts.cell_text(row, column)),
            Node::Not(inner) => known(self.truth(inner, row).map(|truth| !truth)),
            Node::Negate(inner) => negate(self.value(inner, row)),
            Node::And(left, right) => match self.truth(left, row) {
                Some(false) => Value::Bool(false),
                left => match (left, self.truth(right, row)) {
                    (_, Some(false)) => Value::Bool(false),
                    (Some(true), Some(true)) => Value::Bool(true),
                    _ => Value::Missing,
                },
            },
            Node::Or(left, right) => match self.truth(left, row) {
                Some(true) => Value::Bool(true),
                left => match (left, self.truth(right, row)) {
                    (_, Some(true)) => Value::Bool(true),
                    (Some(false), Some(false)) => Value::Bool(false),
                    _ => Value::Missing,
                },
            },
            Node::Compare(operator, left, right) => {
                known(compare(operator, self.value(left, row), self.value(right, row)))
            }
            Node::Arithmetic(operator, left, right) => {
                arithmetic(operator, self.value(left, row), self.value(right, row))
                    .unwrap_or_default()
            }
            Node::In(needle, list) => {
                let needle = self.value(needle, row);
                match self.value(list, row) {
                    Value::List(items) => known(contains(needle, items.iter().copied())),
                    _ => Value::Missing,
                }
            }
            Node::InItems { needle, first, len } => {
                let needle = self.value(needle, row);
                let (code, range) = (self.code, first as usize..(first + len) as usize);
                let items = code.items.get(range).unwrap_or(&[]);
                known(contains(needle, items.iter().map(|item| self.value(*item, row))))
            }
            Node::Role { graph, member, role, domain } => {
                self.role(graph, (member, role, domain), row)
            }
            Node::KeyMatch(text, pattern) => {
                known(self.texts(text, pattern, row).map(|(t, p)| key_match(t, p)))
            }
            Node::IpMatch(address, network) => {
                known(self.texts(address, network, row).and_then(|(a, n)| ip_match(a, n)))
            }
            Node::Pattern { text, site } => {
                let (pattern, text) = (self.pattern(site, row), self.value(text, row).as_str());
                known(pattern.zip(text).and_then(|(pattern, text)| pattern.matches(text)))
            }
            Node::KeyGet(text, pattern) => {
                let both = self.texts(text, pattern, row);
                both.map_or(Value::Missing, |(text, pattern)| Value::Str(key_get(text, pattern)))
            }
            Node::Get { text, site, name } => {
                let (pattern, both) = (self.pattern(site, row), self.texts(text, name, row));
                let found = pattern.zip(both).and_then(|(p, (text, name))| p.get(text, name));
                found.map_or(Value::Missing, Value::Str)
            }
            Node::Custom { function, first, len } => {
                let mut given = [Value::Missing; CUSTOM_ARGUMENTS_MAX];
                let (code, range) = (self.code, first as usize..(first + len) as usize);
                let nodes = code.items.get(range).unwrap_or(&[]);
                for (place, node) in given.iter_mut().zip(nodes) {
                    *place = self.value(*node, row);
                }
                let given = given.get(..nodes.len()).unwrap_or(&[]);
                let function = code.functions.get(usize::from(function));
                function.map_or(Value::Missing, |function| (function.call)(given))
            }
            Node::Eval(eval) => match self.facts.eval(row, eval) {
                Some(root) => self.value(root, row),
                None => Value::Missing,
            },
        }
    }

    /// The pattern at a site, for a row.
    pub(crate) fn pattern(&self, site: Site, row: usize) -> Option<&'m Pattern> {
        match site {
            Site::Row(site) => self.facts.pattern(row, site),
            Site::Fixed(index) => self.facts.fixed.get(usize::from(index)),
        }
    }

    fn role(
        &mut self,
        graph: u16,
        (member, role, domain): (NodeId, NodeId, Option<NodeId>),
        row: usize,
    ) -> Value<'m> {
        let (member, role) = (self.value(member, row).as_str(), self.value(role, row).as_str());
        let domain = match domain.map(|node| self.value(node, row).as_str()) {
            Some(None) => return Value::Missing,
            Some(Some(text)) => Some(text),
            None => None,
        };
        let (Some(member), Some(role)) = (member, role) else { return Value::Missing };
        let asked = Asked { definition: graph, domain, member, role, now: self.now };
        known(self.facts.roles.has(&self.facts.texts, asked))
    }

    fn texts(&mut self, left: NodeId, right: NodeId, row: usize) -> Option<(&'m str, &'m str)> {
        let left = self.value(left, row).as_str();
        left.zip(self.value(right, row).as_str())
    }
}

fn known(truth: Option<bool>) -> Value<'static> {
    truth.map_or(Value::Missing, Value::Bool)
}

/// A comparison; `None` where the two do not compare.
pub(crate) fn compare(operator: Operator, left: Value<'_>, right: Value<'_>) -> Option<bool> {
    Some(match operator {
        Operator::Equal => left.equals(&right)?,
        Operator::NotEqual => !left.equals(&right)?,
        Operator::Less => left.order(&right)? == Ordering::Less,
        Operator::LessEqual => left.order(&right)? != Ordering::Greater,
        Operator::Greater => left.order(&right)? == Ordering::Greater,
        Operator::GreaterEqual => left.order(&right)? != Ordering::Less,
        _ => return None,
    })
}

/// Membership: true if one equals, unknown if none equals and one does not compare.
pub(crate) fn contains<'v>(
    needle: Value<'v>,
    items: impl Iterator<Item = Value<'v>>,
) -> Option<bool> {
    let mut answer = Some(false);
    for item in items {
        match needle.equals(&item) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => answer = None,
        }
    }
    match needle {
        Value::Missing => None,
        _ => answer,
    }
}

fn negate(value: Value<'_>) -> Value<'static> {
    value.exact().and_then(|(mantissa, scale)| Value::number(-mantissa, scale)).unwrap_or_default()
}

/// Exact arithmetic; what has no exact answer within 18 decimals is unknown.
pub(crate) fn arithmetic(
    operator: Operator,
    left: Value<'_>,
    right: Value<'_>,
) -> Option<Value<'static>> {
    let ((a, a_scale), (b, b_scale)) = (left.exact()?, right.exact()?);
    let scale = a_scale.max(b_scale);
    let (x, y) = (rescale(a, a_scale, scale)?, rescale(b, b_scale, scale)?);
    match operator {
        Operator::Add => Value::number(x.checked_add(y)?, scale),
        Operator::Subtract => Value::number(x.checked_sub(y)?, scale),
        Operator::Multiply => Value::number(a.checked_mul(b)?, a_scale.checked_add(b_scale)?),
        Operator::Remainder => Value::number(x.checked_rem(y)?, scale),
        Operator::Divide if y != 0 => {
            let (mut numerator, mut quotient_scale) = (x, 0u8);
            while numerator % y != 0 {
                numerator = numerator.checked_mul(10)?;
                quotient_scale += 1;
                if quotient_scale > crate::value::SCALE_MAX {
                    return None;
                }
            }
            Value::number(numerator / y, quotient_scale)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_is_exact_or_unknown() {
        let dec = |mantissa, scale| Value::Dec { mantissa, scale };
        for (operator, a, b, expected) in [
            (Operator::Add, dec(1, 1), dec(2, 1), Some(dec(3, 1))),
            (Operator::Multiply, dec(15, 1), Value::Int(2), Some(Value::Int(3))),
            (Operator::Divide, Value::Int(1), Value::Int(4), Some(dec(25, 2))),
            (Operator::Divide, Value::Int(1), Value::Int(3), None),
            (Operator::Divide, Value::Int(1), Value::Int(0), None),
            (Operator::Remainder, Value::Int(7), Value::Int(3), Some(Value::Int(1))),
            (Operator::Remainder, Value::Int(7), Value::Int(0), None),
            (Operator::Add, Value::Int(i64::MAX), Value::Int(1), None),
            (Operator::Add, Value::Str("a"), Value::Str("b"), None),
        ] {
            assert_eq!(arithmetic(operator, a, b), expected, "{operator:?} {a:?} {b:?}");
        }
    }

    #[test]
    fn each_operator_at_each_side_of_equality() {
        use Operator::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        let operators = [Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual];
        for (a, b, expected) in [
            (Value::Int(1), Value::Int(2), "nyyynn"),
            (Value::Int(2), Value::Int(2), "ynnyny"),
            (Value::Int(3), Value::Int(2), "nynnyy"),
            (Value::Str("a"), Value::Str("b"), "nyyynn"),
            (Value::Int(2), Value::Dec { mantissa: 25, scale: 1 }, "nyyynn"),
            (Value::Bool(true), Value::Bool(true), "yn????"),
            (Value::Int(1), Value::Str("1"), "??????"),
            (Value::Missing, Value::Missing, "??????"),
        ] {
            let shown = |operator| match compare(operator, a, b) {
                Some(true) => 'y',
                Some(false) => 'n',
                None => '?',
            };
            let found: String = operators.into_iter().map(shown).collect();
            assert_eq!(found, expected, "{a:?} {b:?}");
        }
    }

    #[test]
    fn membership_is_unknown_only_when_it_could_have_been() {
        let items = [Value::Str("a"), Value::Int(1)];
        let ask = |needle| contains(needle, items.iter().copied());
        assert_eq!(ask(Value::Str("a")), Some(true));
        assert_eq!(ask(Value::Str("b")), None);
        assert_eq!(contains(Value::Str("b"), items.iter().copied().take(1)), Some(false));
        assert_eq!(contains(Value::Missing, std::iter::empty()), None);
        assert_eq!(contains(Value::Str("b"), std::iter::empty()), Some(false));
    }
}
