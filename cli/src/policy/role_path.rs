//! How a subject came to a role: the shortest chain of role links, each with its line.

use std::collections::{BTreeMap, VecDeque};
use tollgate_engine::ast::{ExprKind, Function};
use tollgate_engine::{Model, Request, Row, Rows};

/// `alice → role:search (policy.csv:22) → role:staff (policy.csv:20)` for the first role function
/// of the matcher, from the request's value to the rule's cell; `None` without a role to reach.
pub(super) fn role_path(
    model: &Model,
    rows: &Rows<'_>,
    request: &Request<'_>,
    rule_line: u32,
) -> Option<String> {
    let rule = rows.rules.iter().find(|row| row.line == rule_line)?;
    let mut wanted = None;
    model.matcher.walk(&mut |expr| {
        if let (ExprKind::Call(Function::Role(graph), arguments), None) = (&expr.kind, wanted)
            && let [member, role, ..] = arguments.as_slice()
            && let (ExprKind::Request { path, .. }, ExprKind::Policy { column }) =
                (&member.kind, &role.kind)
            && path.is_empty()
        {
            wanted = Some((*graph, *column));
        }
    });
    let (graph, column) = wanted?;
    let role = rule.cells.get(column)?;
    let start = request.subject.id;
    if start == *role {
        return None;
    }
    let steps = shortest(rows.links.get(graph)?, request.tenant, start, role)?;
    let mut text = start.to_owned();
    for (name, line) in steps {
        text.push_str(&format!(" → {name} (policy.csv:{line})"));
    }
    Some(text)
}

fn shortest<'r>(
    links: &'r [Row<'_>],
    tenant: &str,
    start: &'r str,
    role: &str,
) -> Option<Vec<(&'r str, u32)>> {
    let mut came_from: BTreeMap<&str, (&str, u32)> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(name) = queue.pop_front() {
        if name == role {
            break;
        }
        for link in links.iter().filter(|link| link.cells.first() == Some(&name)) {
            let theirs = link.cells.get(2).is_none_or(|domain| *domain == tenant);
            if let (true, Some(next)) = (theirs, link.cells.get(1))
                && *next != start
                && !came_from.contains_key(next)
            {
                came_from.insert(next, (name, link.line));
                queue.push_back(next);
            }
        }
    }
    let mut steps = Vec::new();
    let mut name = came_from.get_key_value(role).map(|(name, _)| *name)?;
    while name != start {
        let (earlier, line) = came_from.get(name)?;
        steps.push((name, *line));
        name = earlier;
    }
    steps.reverse();
    Some(steps)
}
