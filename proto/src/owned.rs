//! A request that came as text: it owns its storage or borrows the text, and is lent to the engine
//! for one call.

use crate::tree::Tree;
use std::borrow::Cow;
use tollgate_engine::{Amount, Attribute, Entity, Part, Request, Reserve, Value};

/// A request and the storage of its attributes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OwnedRequest<'t> {
    pub tenant: Cow<'t, str>,
    pub subject: OwnedEntity<'t>,
    pub resource: OwnedEntity<'t>,
    pub action: Cow<'t, str>,
    pub attributes: Vec<(Part, Cow<'t, str>, Tree<'t>)>,
    /// Why is asked for, too; then nothing is taken.
    pub explain: bool,
    /// `None`: nothing was said about amounts.
    pub amounts: Option<Vec<(Cow<'t, str>, u64)>>,
    /// What is taken is held until it is settled.
    pub reserve: Option<Box<OwnedReserve<'t>>>,
}

/// How long a reservation holds, and what of it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedReserve<'t> {
    pub ttl_ms: u64,
    pub known: Vec<(Cow<'t, str>, u64)>,
}

/// An entity's type and id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnedEntity<'t> {
    pub kind: Cow<'t, str>,
    pub id: Cow<'t, str>,
}

impl<'t> OwnedRequest<'t> {
    /// Adds the leaves of an object as attributes of `part`.
    ///
    /// # Errors
    /// As `Tree::flatten`.
    pub fn add_attributes(&mut self, part: Part, object: Tree<'t>) -> Result<(), String> {
        let leaves = object.flatten()?;
        self.attributes.extend(leaves.into_iter().map(|(path, leaf)| (part, path, leaf)));
        Ok(())
    }

    /// Sets subject or resource from its id, or from an object with `id`, `type` and attributes.
    ///
    /// # Errors
    /// The object has no `id`, or its attributes are out of bounds.
    pub fn set_entity(&mut self, part: Part, tree: Tree<'t>) -> Result<(), String> {
        let mut entity = OwnedEntity::default();
        let members = match tree {
            Tree::Str(id) => {
                entity.id = id;
                Vec::new()
            }
            Tree::Object(members) => members,
            _ => return Err("expected an id or an object with an id".to_owned()),
        };
        let mut rest = Vec::new();
        for (name, member) in members {
            match (name.as_ref(), member) {
                ("id", Tree::Str(id)) => entity.id = id,
                ("type", Tree::Str(kind)) => entity.kind = kind,
                ("id" | "type", _) => return Err(format!("`{name}` must be a string")),
                (_, member) => rest.push((name, member)),
            }
        }
        if entity.id.is_empty() {
            return Err("the object has no `id`".to_owned());
        }
        match part {
            Part::Subject => self.subject = entity,
            _ => self.resource = entity,
        }
        self.add_attributes(part, Tree::Object(rest))
    }

    /// Lends the request to `ask`.
    pub fn with<T>(&self, ask: impl FnOnce(&Request<'_>) -> T) -> T {
        let lists: Vec<Vec<Value<'_>>> = (self.attributes.iter())
            .map(|(_, _, leaf)| match leaf {
                Tree::List(items) => items.iter().filter_map(Tree::scalar).collect(),
                _ => Vec::new(),
            })
            .collect();
        let attributes: Vec<Attribute<'_>> = (self.attributes.iter().zip(&lists))
            .map(|((part, path, leaf), list)| Attribute {
                part: *part,
                path,
                value: leaf.scalar().unwrap_or(Value::List(list)),
            })
            .collect();
        let amounts = self.amounts.as_deref().map(lend);
        let known = self.reserve.as_ref().map(|reserve| lend(&reserve.known)).unwrap_or_default();
        let reserve = self.reserve.as_ref();
        let reserve = reserve.map(|reserve| Reserve { ttl_ms: reserve.ttl_ms, known: &known });
        ask(&Request {
            tenant: &self.tenant,
            subject: Entity { kind: &self.subject.kind, id: &self.subject.id },
            resource: Entity { kind: &self.resource.kind, id: &self.resource.id },
            action: &self.action,
            attributes: &attributes,
            amounts: amounts.as_deref(),
            reserve: reserve.as_ref(),
        })
    }
}

/// Amounts as the engine reads them.
pub fn lend<'a>(amounts: &'a [(Cow<'_, str>, u64)]) -> Vec<Amount<'a>> {
    amounts.iter().map(|(meter, amount)| Amount { meter, amount: *amount }).collect()
}
