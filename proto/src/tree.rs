//! A value that came as text: what JSON and YAML have in common, numbers exact.
//!
//! Objects never reach the engine: `flatten` turns them into dotted paths.

use std::borrow::Cow;
use tollgate_engine::Value;
use tollgate_engine::bounds::{ATTRIBUTE_DEPTH_MAX, ATTRIBUTES_MAX, LIST_LENGTH_MAX};

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree<'t> {
    Null,
    Bool(bool),
    /// `Value::Int` or `Value::Dec`.
    Number(Value<'static>),
    Str(Cow<'t, str>),
    List(Vec<Tree<'t>>),
    Object(Vec<(Cow<'t, str>, Tree<'t>)>),
}

impl<'t> Tree<'t> {
    /// The value as the engine sees it; `None` for objects and lists, which need storage.
    pub fn scalar(&self) -> Option<Value<'_>> {
        match self {
            Tree::Null => Some(Value::Null),
            Tree::Bool(bool) => Some(Value::Bool(*bool)),
            Tree::Number(number) => Some(*number),
            Tree::Str(text) => Some(Value::Str(text)),
            Tree::List(_) | Tree::Object(_) => None,
        }
    }

    /// What a person calls this kind of value.
    pub fn kind(&self) -> &'static str {
        match self {
            Tree::List(_) => "a list",
            Tree::Object(_) => "an object",
            scalar => scalar.scalar().unwrap_or_default().kind(),
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Tree::Str(text) => Some(text),
            _ => None,
        }
    }

    /// Every leaf below this object by its dotted path, lists whole.
    ///
    /// # Errors
    /// A sentence: too deep, too many, a list that is too long or holds lists, a path met twice.
    pub fn flatten(self) -> Result<Vec<(Cow<'t, str>, Tree<'t>)>, String> {
        let mut leaves = Vec::new();
        flatten_into(&mut leaves, Cow::Borrowed(""), self, 0)?;
        leaves.sort_by(|(a, _), (b, _)| a.cmp(b));
        for pair in leaves.windows(2) {
            if let [(a, _), (b, _)] = pair
                && a == b
            {
                return Err(format!("the attribute `{a}` is given twice"));
            }
        }
        Ok(leaves)
    }
}

fn flatten_into<'t>(
    leaves: &mut Vec<(Cow<'t, str>, Tree<'t>)>,
    path: Cow<'t, str>,
    tree: Tree<'t>,
    depth: usize,
) -> Result<(), String> {
    if depth > ATTRIBUTE_DEPTH_MAX {
        return Err(format!("`{path}` lies deeper than {ATTRIBUTE_DEPTH_MAX} levels"));
    }
    match tree {
        Tree::Object(members) => {
            for (name, member) in members {
                let path = if path.is_empty() { name } else { format!("{path}.{name}").into() };
                flatten_into(leaves, path, member, depth + 1)?;
            }
            return Ok(());
        }
        Tree::List(ref items) => {
            if items.len() > LIST_LENGTH_MAX {
                return Err(format!("`{path}` has more than {LIST_LENGTH_MAX} elements"));
            }
            if items.iter().any(|item| item.scalar().is_none()) {
                return Err(format!("`{path}` is a list of lists or objects"));
            }
        }
        _ => {}
    }
    if leaves.len() >= ATTRIBUTES_MAX {
        return Err(format!("more than {ATTRIBUTES_MAX} attributes"));
    }
    leaves.push((path, tree));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object<'t>(members: &[(&'t str, Tree<'t>)]) -> Tree<'t> {
        Tree::Object(members.iter().map(|(n, t)| ((*n).into(), t.clone())).collect())
    }

    #[test]
    fn objects_become_paths_within_their_bounds() {
        let one = Tree::Number(Value::Int(1));
        let tree = object(&[("b", one.clone()), ("a", object(&[("x", one.clone())]))]);
        let paths: Vec<_> = tree.flatten().unwrap().into_iter().map(|(p, _)| p).collect();
        assert_eq!(paths, ["a.x", "b"]);
        let twice = object(&[("a.x", one.clone()), ("a", object(&[("x", one.clone())]))]);
        assert!(twice.flatten().is_err());
        let nested = |levels| (0..levels).fold(one.clone(), |tree, _| object(&[("a", tree)]));
        assert!(nested(ATTRIBUTE_DEPTH_MAX).flatten().is_ok());
        assert!(nested(ATTRIBUTE_DEPTH_MAX + 1).flatten().is_err());
        let list = |n| object(&[("l", Tree::List(vec![one.clone(); n]))]);
        assert!(list(LIST_LENGTH_MAX).flatten().is_ok());
        assert!(list(LIST_LENGTH_MAX + 1).flatten().is_err());
        let many =
            |n: usize| Tree::Object((0..n).map(|i| (i.to_string().into(), one.clone())).collect());
        assert!(many(ATTRIBUTES_MAX).flatten().is_ok());
        assert!(many(ATTRIBUTES_MAX + 1).flatten().is_err());
    }
}
