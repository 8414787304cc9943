//! The `casbin-rs` evaluator: two truth values, left to right, short circuits, faults.
//!
//! It answers as the expression engine under the `casbin` crate does: integers are 32 bits wide,
//! mixed types are unequal, a missing attribute of an object is nothing. A fault is what that
//! engine reports as an error or dies of; the decision is then `policy-error`.

use crate::bounds::CUSTOM_ARGUMENTS_MAX;
use crate::builtin::{ip::casbin_ip_match, key_get::key_get, key_match::key_match};
use crate::expr::ast::Operator;
use crate::expr::code::{Node, NodeId};
use crate::expr::eval_strict::Machine;
use crate::policy::roles::Asked;
use crate::value::Value;
use std::cmp::Ordering;

/// The expression cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault;

type Answer<'m> = Result<Value<'m>, Fault>;

impl<'m> Machine<'m> {
    /// Whether the matcher holds for a row.
    pub(crate) fn casbin_truth(&mut self, node: NodeId, row: usize) -> Result<bool, Fault> {
        match self.casbin_value(node, row)? {
            Value::Bool(truth) => Ok(truth),
            _ => Err(Fault),
        }
    }

    fn casbin_value(&mut self, id: NodeId, row: usize) -> Answer<'m> {
        self.fuel = self.fuel.saturating_sub(1);
        let node = self.code.nodes.get(id as usize).copied().ok_or(Fault)?;
        if self.fuel == 0 {
            return Err(Fault);
        }
        match node {
            Node::Constant(index) => {
                self.code.constants.get(index as usize).map(|c| c.value()).ok_or(Fault)
            }
            Node::Slot(slot) => self.slot(slot),
            Node::Column(column) => Ok(Value::Str(self.facts.cell_text(row, column))),
            Node::Not(inner) => Ok(Value::Bool(!self.casbin_truth(inner, row)?)),
            Node::Negate(inner) => match self.casbin_value(inner, row)? {
                Value::Int(int) => narrow(int.checked_neg()),
                _ => Err(Fault),
            },
            Node::And(left, right) => {
                let both = self.casbin_truth(left, row)? && self.casbin_truth(right, row)?;
                Ok(Value::Bool(both))
            }
            Node::Or(left, right) => {
                let either = self.casbin_truth(left, row)? || self.casbin_truth(right, row)?;
                Ok(Value::Bool(either))
            }
            Node::Compare(operator, left, right) => {
                let (left, right) = (self.casbin_value(left, row)?, self.casbin_value(right, row)?);
                compare(operator, left, right).map(Value::Bool)
            }
            Node::Arithmetic(operator, left, right) => {
                let (left, right) = (self.casbin_value(left, row)?, self.casbin_value(right, row)?);
                arithmetic(operator, left, right)
            }
            Node::In(needle, list) => {
                let needle = self.casbin_value(needle, row)?;
                match (needle, self.casbin_value(list, row)?) {
                    (needle, Value::List(items)) => {
                        Ok(Value::Bool(items.iter().any(|item| same(needle, *item))))
                    }
                    (Value::Str(part), Value::Str(whole)) => Ok(Value::Bool(whole.contains(part))),
                    _ => Err(Fault),
                }
            }
            Node::InItems { needle, first, len } => {
                let needle = self.casbin_value(needle, row)?;
                let range = first as usize..(first + len) as usize;
                let mut found = false;
                for item in self.code.items.get(range).unwrap_or(&[]) {
                    found |= same(needle, self.casbin_value(*item, row)?);
                }
                Ok(Value::Bool(found))
            }
            Node::Role { graph, member, role, domain } => {
                let member = self.casbin_text(member, row)?;
                let role = self.casbin_text(role, row)?;
                let domain = domain.map(|node| self.casbin_text(node, row)).transpose()?;
                let (roles, texts) = (&self.facts.roles, &self.facts.texts);
                let asked = Asked { definition: graph, domain, member, role, now: self.now };
                roles.has(texts, asked).map(Value::Bool).ok_or(Fault)
            }
            Node::KeyMatch(text, pattern) => {
                let (text, pattern) =
                    (self.casbin_text(text, row)?, self.casbin_text(pattern, row)?);
                casbin_key_match(text, pattern).map(Value::Bool)
            }
            Node::IpMatch(address, network) => {
                let (address, network) =
                    (self.casbin_text(address, row)?, self.casbin_text(network, row)?);
                casbin_ip_match(address, network).map(Value::Bool).ok_or(Fault)
            }
            Node::Pattern { text, site } => {
                let text = self.casbin_text(text, row)?;
                let pattern = self.pattern(site, row);
                pattern.and_then(|pattern| pattern.matches(text)).map(Value::Bool).ok_or(Fault)
            }
            Node::KeyGet(text, pattern) => {
                let (text, pattern) =
                    (self.casbin_text(text, row)?, self.casbin_text(pattern, row)?);
                whole_characters(text, pattern)?;
                Ok(Value::Str(key_get(text, pattern)))
            }
            Node::Get { text, site, name } => {
                let (text, name) = (self.casbin_text(text, row)?, self.casbin_text(name, row)?);
                let found = self.pattern(site, row).and_then(|pattern| pattern.get(text, name));
                found.map(Value::Str).ok_or(Fault)
            }
            Node::Custom { function, first, len } => {
                let mut given = [Value::Missing; CUSTOM_ARGUMENTS_MAX];
                let (code, range) = (self.code, first as usize..(first + len) as usize);
                let nodes = code.items.get(range).unwrap_or(&[]);
                for (place, node) in given.iter_mut().zip(nodes) {
                    *place = self.casbin_value(*node, row)?;
                }
                let function = code.functions.get(usize::from(function)).ok_or(Fault)?;
                match (function.call)(given.get(..nodes.len()).unwrap_or(&[])) {
                    Value::Missing => Err(Fault),
                    value => Ok(value),
                }
            }
            Node::Eval(eval) => {
                let root = self.facts.eval(row, eval).ok_or(Fault)?;
                self.casbin_value(root, row)
            }
        }
    }

    /// A request value. An attribute of something that is no object is a fault, and so is a
    /// number that the engine cannot hold.
    fn slot(&self, slot: u16) -> Answer<'m> {
        let value = self.slots.get(usize::from(slot)).copied().unwrap_or_default();
        match value {
            Value::Dec { .. } => Err(Fault),
            Value::Int(int) => narrow(Some(int)),
            Value::Missing => {
                let slot = self.code.slots.get(usize::from(slot)).ok_or(Fault)?;
                let bare = |other: &&crate::expr::code::Slot| {
                    other.token == slot.token && other.path.is_empty()
                };
                let index = self.code.slots.iter().position(|other| bare(&other));
                let base = index.and_then(|index| self.slots.get(index));
                match (slot.path.contains('.'), base) {
                    (true, _) => Err(Fault),
                    (false, Some(Value::Missing)) => Ok(Value::Null),
                    (false, _) => Err(Fault),
                }
            }
            _ => Ok(value),
        }
    }

    fn casbin_text(&mut self, node: NodeId, row: usize) -> Result<&'m str, Fault> {
        self.casbin_value(node, row)?.as_str().ok_or(Fault)
    }
}

fn narrow(int: Option<i64>) -> Answer<'static> {
    let fits = int.filter(|int| i32::try_from(*int).is_ok());
    fits.map(Value::Int).ok_or(Fault)
}

fn casbin_key_match(text: &str, pattern: &str) -> Result<bool, Fault> {
    whole_characters(text, pattern)?;
    Ok(key_match(text, pattern))
}

/// keyMatch and keyGet slice bytes: a cut inside a character is where casbin-rs panics.
fn whole_characters(text: &str, pattern: &str) -> Result<(), Fault> {
    match pattern.find('*') {
        Some(cut) if text.len() > cut && !text.is_char_boundary(cut) => Err(Fault),
        _ => Ok(()),
    }
}

fn same(left: Value<'_>, right: Value<'_>) -> bool {
    left.equals(&right).unwrap_or(false)
}

fn compare(operator: Operator, left: Value<'_>, right: Value<'_>) -> Result<bool, Fault> {
    if matches!((left, right), (Value::List(_), Value::List(_))) {
        return Err(Fault);
    }
    let order = match (left, right) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(&b)),
        _ => left.order(&right),
    };
    Ok(match operator {
        Operator::Equal => same(left, right),
        Operator::NotEqual => !same(left, right),
        Operator::Less => order == Some(Ordering::Less),
        Operator::LessEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Operator::Greater => order == Some(Ordering::Greater),
        _ => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    })
}

fn arithmetic(operator: Operator, left: Value<'_>, right: Value<'_>) -> Answer<'static> {
    let (Value::Int(a), Value::Int(b)) = (left, right) else { return Err(Fault) };
    narrow(match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide => a.checked_div(b),
        Operator::Remainder => a.checked_rem(b),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operator_at_each_side_of_equality() {
        use Operator::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        let operators = [Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual];
        for (a, b, expected) in [
            (Value::Int(1), Value::Int(2), "nyyynn"),
            (Value::Int(2), Value::Int(2), "ynnyny"),
            (Value::Int(3), Value::Int(2), "nynnyy"),
            (Value::Str("a"), Value::Str("b"), "nyyynn"),
            (Value::Bool(false), Value::Bool(true), "nyyynn"),
            (Value::Int(1), Value::Str("1"), "nynnnn"),
            (Value::List(&[]), Value::List(&[]), "??????"),
        ] {
            let shown = |operator| match compare(operator, a, b) {
                Ok(true) => 'y',
                Ok(false) => 'n',
                Err(Fault) => '?',
            };
            let found: String = operators.into_iter().map(shown).collect();
            assert_eq!(found, expected, "{a:?} {b:?}");
        }
    }
}
