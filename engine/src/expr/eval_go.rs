//! The `casbin-go` evaluator: two truth values, left to right, short circuits, faults.
//!
//! It answers as govaluate does under Casbin for Go: every number is a `float64`, values of two types are unequal but
//! have no order, an attribute that is not there is an error. A fault is what that engine reports as an error or
//! recovers from; the decision is then `policy-error`.

use crate::bounds::CUSTOM_ARGUMENTS_MAX;
use crate::builtin::{ip::go_ip_match, key_get::key_get, key_match::key_match};
use crate::expr::ast::Operator;
use crate::expr::code::{Node, NodeId};
use crate::expr::eval_casbin::Fault;
use crate::expr::eval_strict::Machine;
use crate::policy::roles::Asked;
use crate::value::Value;
use std::io::Write;

/// A value as Go has it.
#[derive(Debug, Clone, Copy)]
enum Go<'m> {
    Null,
    Bool(bool),
    Number(f64),
    Str(&'m str),
    List(&'m [Value<'m>]),
    /// An object: it equals no value of another type, and whether it equals another object is not known here.
    Object,
}

impl<'m> Machine<'m> {
    /// Whether the matcher holds for a row: a boolean, or a number other than 0.
    pub(crate) fn go_truth(&mut self, node: NodeId, row: usize) -> Result<bool, Fault> {
        match self.go_value(node, row)? {
            Go::Bool(truth) => Ok(truth),
            Go::Number(number) => Ok(number != 0.0),
            _ => Err(Fault),
        }
    }

    /// The same where no row is asked: Casbin takes a boolean only.
    pub(crate) fn go_truth_without_row(&mut self, node: NodeId) -> Result<bool, Fault> {
        self.go_bool(node, 0)
    }

    fn go_value(&mut self, id: NodeId, row: usize) -> Result<Go<'m>, Fault> {
        self.fuel = self.fuel.saturating_sub(1);
        let node = self.code.nodes.get(id as usize).copied().ok_or(Fault)?;
        if self.fuel == 0 {
            return Err(Fault);
        }
        Ok(match node {
            Node::Constant(index) => {
                of(self.code.constants.get(index as usize).ok_or(Fault)?.value())
            }
            Node::Slot(slot) => self.go_slot(slot)?,
            Node::Column(column) => Go::Str(self.facts.cell_text(row, column)),
            Node::Not(inner) => Go::Bool(!self.go_bool(inner, row)?),
            Node::Negate(inner) => Go::Number(-self.go_number(inner, row)?),
            Node::And(left, right) => {
                Go::Bool(self.go_bool(left, row)? && self.go_bool(right, row)?)
            }
            Node::Or(left, right) => {
                Go::Bool(self.go_bool(left, row)? || self.go_bool(right, row)?)
            }
            Node::Compare(operator, left, right) => {
                let (left, right) = (self.go_value(left, row)?, self.go_value(right, row)?);
                Go::Bool(compare(operator, left, right)?)
            }
            Node::Arithmetic(operator, left, right) => {
                let (left, right) = (self.go_number(left, row)?, self.go_number(right, row)?);
                Go::Number(arithmetic(operator, left, right))
            }
            Node::In(needle, list) => {
                let needle = self.go_value(needle, row)?;
                let Go::List(items) = self.go_value(list, row)? else { return Err(Fault) };
                Go::Bool(is_among(needle, items)?)
            }
            Node::InItems { needle, first, len } => Go::Bool(self.go_in(needle, first, len, row)?),
            Node::Role { graph, member, role, domain } => {
                let (member, role) = (self.go_text(member, row)?, self.go_text(role, row)?);
                let domain = domain.map(|node| self.go_text(node, row)).transpose()?;
                let asked = Asked { definition: graph, domain, member, role, now: self.now };
                Go::Bool(self.facts.roles.has(&self.facts.texts, asked).ok_or(Fault)?)
            }
            Node::KeyMatch(text, pattern) => {
                Go::Bool(key_match(self.go_text(text, row)?, self.go_text(pattern, row)?))
            }
            Node::IpMatch(address, network) => {
                let (address, network) = (self.go_text(address, row)?, self.go_text(network, row)?);
                Go::Bool(go_ip_match(address, network).ok_or(Fault)?)
            }
            Node::Pattern { text, site } => {
                let text = self.go_text(text, row)?;
                let pattern = self.pattern(site, row).ok_or(Fault)?;
                Go::Bool(pattern.matches(text).ok_or(Fault)?)
            }
            Node::KeyGet(text, pattern) => {
                Go::Str(key_get(self.go_text(text, row)?, self.go_text(pattern, row)?))
            }
            Node::Get { text, site, name } => {
                let (text, name) = (self.go_text(text, row)?, self.go_text(name, row)?);
                let pattern = self.pattern(site, row).ok_or(Fault)?;
                Go::Str(pattern.get(text, name).ok_or(Fault)?)
            }
            Node::Custom { function, first, len } => self.go_custom(function, first, len, row)?,
            Node::Eval(eval) => {
                let root = self.facts.eval(row, eval).ok_or(Fault)?;
                self.go_value(root, row)?
            }
        })
    }

    /// A request value. What is not there is an object if it is a token, and no attribute.
    fn go_slot(&self, slot: u16) -> Result<Go<'m>, Fault> {
        let value = self.slots.get(usize::from(slot)).copied().unwrap_or_default();
        let is_token = || self.code.slots.get(usize::from(slot)).is_some_and(|s| s.path.is_empty());
        match value {
            Value::Missing if !is_token() => Err(Fault),
            value => Ok(of(value)),
        }
    }

    fn go_bool(&mut self, node: NodeId, row: usize) -> Result<bool, Fault> {
        match self.go_value(node, row)? {
            Go::Bool(truth) => Ok(truth),
            _ => Err(Fault),
        }
    }

    fn go_number(&mut self, node: NodeId, row: usize) -> Result<f64, Fault> {
        match self.go_value(node, row)? {
            Go::Number(number) => Ok(number),
            _ => Err(Fault),
        }
    }

    fn go_text(&mut self, node: NodeId, row: usize) -> Result<&'m str, Fault> {
        match self.go_value(node, row)? {
            Go::Str(text) => Ok(text),
            _ => Err(Fault),
        }
    }

    /// Every item is evaluated; a list at the front is its items.
    fn go_in(&mut self, needle: NodeId, first: u32, len: u32, row: usize) -> Result<bool, Fault> {
        let needle = self.go_value(needle, row)?;
        let (code, range) = (self.code, first as usize..(first + len) as usize);
        let mut found = Ok(false);
        for (at, node) in code.items.get(range).unwrap_or(&[]).iter().enumerate() {
            let is_equal = match self.go_value(*node, row)? {
                Go::List(items) if at == 0 && len > 1 => is_among(needle, items),
                item => is_identical(needle, item),
            };
            found = found.and_then(|found| Ok(found || is_equal?));
        }
        found
    }

    fn go_custom(
        &mut self,
        function: u16,
        first: u32,
        len: u32,
        row: usize,
    ) -> Result<Go<'m>, Fault> {
        let mut given = [Value::Missing; CUSTOM_ARGUMENTS_MAX];
        let (code, range) = (self.code, first as usize..(first + len) as usize);
        let nodes = code.items.get(range).unwrap_or(&[]);
        for (place, node) in given.iter_mut().zip(nodes) {
            *place = match self.go_value(*node, row)? {
                Go::Null => Value::Null,
                Go::Bool(truth) => Value::Bool(truth),
                Go::Str(text) => Value::Str(text),
                Go::List(items) => Value::List(items),
                Go::Number(number) => Value::parse_number(&number.to_string()).ok_or(Fault)?,
                Go::Object => Value::Missing,
            };
        }
        let function = code.functions.get(usize::from(function)).ok_or(Fault)?;
        match (function.call)(given.get(..nodes.len()).unwrap_or(&[])) {
            Value::Missing => Err(Fault),
            value => Ok(of(value)),
        }
    }
}

fn of(value: Value<'_>) -> Go<'_> {
    match value {
        Value::Missing => Go::Object,
        Value::Null => Go::Null,
        Value::Bool(truth) => Go::Bool(truth),
        Value::Int(_) | Value::Dec { .. } => Go::Number(float(value)),
        Value::Str(text) => Go::Str(text),
        Value::List(items) => Go::List(items),
    }
}

/// The `float64` that Go reads for a number: the nearest one.
fn float(value: Value<'_>) -> f64 {
    let (mantissa, scale) = value.exact().unwrap_or((0, 0));
    let mut text = [0u8; 48];
    let mut rest = text.as_mut_slice();
    let written = write!(rest, "{mantissa}e-{scale}");
    let left = rest.len();
    let length = text.len() - left;
    let text = text.get(..length).and_then(|text| std::str::from_utf8(text).ok());
    written.ok().and(text).and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}

/// `reflect.DeepEqual`.
fn is_equal(left: Go<'_>, right: Go<'_>) -> Result<bool, Fault> {
    match (left, right) {
        (Go::Object, Go::Object) => Err(Fault),
        (Go::Null, Go::Null) => Ok(true),
        (Go::Bool(a), Go::Bool(b)) => Ok(a == b),
        (Go::Number(a), Go::Number(b)) => Ok(a == b),
        (Go::Str(a), Go::Str(b)) => Ok(a == b),
        (Go::List(a), Go::List(b)) if a.len() == b.len() => {
            for (a, b) in a.iter().zip(b) {
                if !is_equal(of(*a), of(*b))? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Go's `==` of two interfaces, which panics over two lists and over two objects.
fn is_identical(left: Go<'_>, right: Go<'_>) -> Result<bool, Fault> {
    match (left, right) {
        (Go::List(_), Go::List(_)) => Err(Fault),
        _ => is_equal(left, right),
    }
}

fn is_among(needle: Go<'_>, items: &[Value<'_>]) -> Result<bool, Fault> {
    for item in items {
        if is_identical(needle, of(*item))? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn compare(operator: Operator, left: Go<'_>, right: Go<'_>) -> Result<bool, Fault> {
    let order = match (operator, left, right) {
        (Operator::Equal, ..) => return is_equal(left, right),
        (Operator::NotEqual, ..) => return is_equal(left, right).map(|equal| !equal),
        (_, Go::Number(a), Go::Number(b)) => a.partial_cmp(&b),
        (_, Go::Str(a), Go::Str(b)) => Some(a.cmp(b)),
        _ => return Err(Fault),
    };
    Ok(order.is_some_and(|order| match operator {
        Operator::Less => order.is_lt(),
        Operator::LessEqual => order.is_le(),
        Operator::Greater => order.is_gt(),
        _ => order.is_ge(),
    }))
}

fn arithmetic(operator: Operator, left: f64, right: f64) -> f64 {
    match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide => left / right,
        _ => left % right,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operator_at_each_side_of_equality() {
        use Operator::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        let operators = [Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual];
        let list = [Value::Int(1)];
        for (a, b, expected) in [
            (Go::Number(1.0), Go::Number(2.0), "nyyynn"),
            (Go::Number(2.0), Go::Number(2.0), "ynnyny"),
            (Go::Number(3.0), Go::Number(2.0), "nynnyy"),
            (Go::Number(f64::NAN), Go::Number(f64::NAN), "nynnnn"),
            (Go::Str("a"), Go::Str("b"), "nyyynn"),
            (Go::Str("b"), Go::Str("b"), "ynnyny"),
            (Go::Bool(false), Go::Bool(true), "ny????"),
            (Go::Null, Go::Null, "yn????"),
            (Go::Number(1.0), Go::Str("1"), "ny????"),
            (Go::List(&list), Go::List(&list), "yn????"),
            (Go::List(&list), Go::List(&[]), "ny????"),
            (Go::Object, Go::Str("a"), "ny????"),
            (Go::Object, Go::Object, "??????"),
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

    #[test]
    fn a_number_is_the_nearest_float() {
        for text in ["0.1", "1.7976931348623157", "9007199254740993", "-2.5", "0"] {
            let value = Value::parse_number(text).unwrap();
            assert_eq!(float(value), text.parse::<f64>().unwrap(), "{text}");
        }
    }

    #[test]
    fn arithmetic_is_of_floats() {
        for (operator, expected) in [
            (Operator::Add, 9.5),
            (Operator::Subtract, 5.5),
            (Operator::Multiply, 15.0),
            (Operator::Divide, 3.75),
            (Operator::Remainder, 1.5),
        ] {
            assert!((arithmetic(operator, 7.5, 2.0) - expected).abs() < 1e-12, "{operator:?}");
        }
    }
}
