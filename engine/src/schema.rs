//! What attributes a request may carry, and where each comes from: a tenant's `schema.json`, compiled.
//!
//! A policy is held against it when it loads (`policy`): what it reads must be there, and what it compares must be
//! comparable. By choice each request is, too: one that does not fit is `bad-request`.

mod policy;

pub use policy::violations;

use crate::bind::Part;
use crate::request::{Attribute, Request};
use crate::value::Value;
use std::cmp::Ordering;

/// A kind of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    String,
    Integer,
    /// Integers, too.
    Number,
    Boolean,
    Null,
    List,
}

impl Kind {
    /// The words of JSON Schema.
    pub const NAMES: &'static [(&'static str, Kind)] = &[
        ("string", Kind::String),
        ("integer", Kind::Integer),
        ("number", Kind::Number),
        ("boolean", Kind::Boolean),
        ("null", Kind::Null),
        ("array", Kind::List),
    ];

    /// The word of this kind.
    pub fn name(self) -> &'static str {
        Kind::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Whether a value is of this kind.
    pub fn holds(self, value: &Value<'_>) -> bool {
        match value {
            Value::Missing => false,
            Value::Null => self == Kind::Null,
            Value::Bool(_) => self == Kind::Boolean,
            Value::Int(_) => matches!(self, Kind::Integer | Kind::Number),
            Value::Dec { .. } => self == Kind::Number,
            Value::Str(_) => self == Kind::String,
            Value::List(_) => self == Kind::List,
        }
    }
}

/// Who vouches for an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    #[default]
    Gateway,
    Claims,
    Directory,
}

impl Origin {
    /// The words of `x-source`.
    pub const NAMES: &'static [(&'static str, Origin)] = &[
        ("gateway", Origin::Gateway),
        ("claims", Origin::Claims),
        ("directory", Origin::Directory),
    ];

    /// The word of this origin.
    pub fn name(self) -> &'static str {
        Origin::NAMES.iter().find(|(_, origin)| *origin == self).map_or("", |(name, _)| name)
    }
}

/// A value that owns its text.
#[derive(Debug, Clone, PartialEq)]
pub enum Constant {
    Text(String),
    Other(Value<'static>),
}

impl Constant {
    fn value(&self) -> Value<'_> {
        match self {
            Constant::Text(text) => Value::Str(text),
            Constant::Other(value) => *value,
        }
    }
}

/// What one attribute may be.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// Empty: any kind.
    pub kinds: Vec<Kind>,
    /// Of a list's elements; empty: any.
    pub items: Vec<Kind>,
    /// Empty: any value.
    pub choices: Vec<Constant>,
    pub least: Option<Value<'static>>,
    pub most: Option<Value<'static>>,
    pub is_required: bool,
    pub origin: Origin,
}

/// The attributes of a tenant's requests.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    /// Sorted by part and dotted path.
    pub attributes: Vec<((Part, String), Rule)>,
    /// Parts that have no other attributes.
    pub closed: Vec<Part>,
    /// Requests are held against it, too.
    pub checks_requests: bool,
}

impl Schema {
    /// What an attribute may be.
    pub fn rule(&self, part: Part, path: &str) -> Option<&Rule> {
        let at = self
            .attributes
            .binary_search_by(|((of, known), _)| (*of, known.as_str()).cmp(&(part, path)));
        self.attributes.get(at.ok()?).map(|(_, rule)| rule)
    }

    /// Whether an attribute may be there at all.
    pub fn knows(&self, part: Part, path: &str) -> bool {
        self.rule(part, path).is_some() || !self.closed.contains(&part)
    }

    /// Where the value of an attribute comes from.
    pub fn origin(&self, part: Part, path: &str) -> Origin {
        self.rule(part, path).map_or(Origin::Gateway, |rule| rule.origin)
    }

    /// Whether a request's attributes are as they should be.
    pub(crate) fn admits(&self, request: &Request<'_>) -> bool {
        let fits = |attribute: &Attribute<'_>| match self.rule(attribute.part, attribute.path) {
            Some(rule) => rule.admits(&attribute.value),
            None => !self.closed.contains(&attribute.part) || is_said_to_us(attribute),
        };
        let is_given = |part: Part, path: &str| {
            request.attributes.iter().any(|given| given.part == part && given.path == path)
        };
        let required = self.attributes.iter().filter(|(_, rule)| rule.is_required);
        request.attributes.iter().all(fits)
            && required.into_iter().all(|((part, path), _)| is_given(*part, path))
    }
}

/// What a request says to the engine, no attribute of anybody.
fn is_said_to_us(attribute: &Attribute<'_>) -> bool {
    attribute.part == Part::Context && attribute.path == crate::decide::ENFORCE_CONTEXT
}

impl Rule {
    /// Whether a value may stand here.
    pub fn admits(&self, value: &Value<'_>) -> bool {
        let is_of_kind = self.kinds.is_empty() || self.kinds.iter().any(|kind| kind.holds(value));
        let is_chosen = self.choices.is_empty()
            || self.choices.iter().any(|choice| choice.value().equals(value) == Some(true));
        let is_elements = match value {
            Value::List(items) if !self.items.is_empty() => {
                items.iter().all(|item| self.items.iter().any(|kind| kind.holds(item)))
            }
            _ => true,
        };
        let is_number = matches!(value, Value::Int(_) | Value::Dec { .. });
        let within = |bound: Option<Value<'static>>, wrong: Ordering| {
            !is_number || bound.is_none_or(|bound| value.order(&bound) != Some(wrong))
        };
        is_of_kind
            && is_chosen
            && is_elements
            && within(self.least, Ordering::Less)
            && within(self.most, Ordering::Greater)
    }
}
