//! One folder's rows, split into tenants: a tenant's compiled state holds nobody else's rows.
//!
//! A model without a tenant token is one tenant, named after the folder. With one, every constant
//! in the tenant column of the `p` rows is a tenant; rows of `*` belong to each. `casbin-rs` never
//! splits. A tenant that appears only in `g` rows is none.

use crate::bind::{Binding, Part};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Source};
use crate::dialect::Dialect;
use crate::model::{Model, RoleDefinition};
use crate::policy::alternatives::{Test, alternatives};
use crate::policy::order::order;
use crate::policy::roles::patterned;
use crate::policy::rows::{Row, Rows};
use std::collections::BTreeMap;

/// Splits `rows` by tenant. Without a tenant token there is one entry under `name`.
///
/// # Errors
/// `domain-not-implied` if the matcher does not demand that row and request are of one tenant.
pub fn split<'a>(
    model: &Model,
    binding: &Binding,
    rows: Rows<'a>,
    name: &str,
    source: Source<'_>,
) -> Result<BTreeMap<String, Rows<'a>>, Diagnostics> {
    if binding.tenant_token().is_none() || model.dialect != Dialect::Strict {
        return Ok(BTreeMap::from([(name.to_owned(), rows)]));
    }
    let mut tenants: BTreeMap<&'a str, Rows<'a>> = BTreeMap::new();
    let of_model = column_of(model, &binding.parts, source)?;
    share(rows.rules, of_model, None, model, &mut tenants);
    let contexts = model.contexts.iter().zip(&binding.contexts);
    for (index, ((context, parts), rules)) in contexts.zip(rows.contexts).enumerate() {
        let column = column_of(&context.model, parts, source)?;
        share(rules, column, Some(index), model, &mut tenants);
    }
    for (position, (links, role)) in rows.links.into_iter().zip(&model.roles).enumerate() {
        for link in links {
            let tenant = link.cells.get(2).copied().filter(|_| role.arity == 3);
            let is_pattern = |tenant: &str| {
                role.domain_pattern.is_some_and(|function| patterned::is_pattern(function, tenant))
            };
            let mut theirs: Vec<(&&'a str, &mut Rows<'a>)> = match tenant {
                // Most links are of one tenant: it is looked up.
                Some(tenant) if !is_pattern(tenant) => {
                    tenants.range_mut::<&str, _>(tenant..=tenant).collect()
                }
                _ => tenants.iter_mut().collect(),
            };
            theirs.retain(|(own, _)| tenant.is_none_or(|tenant| holds_in(role, tenant, own)));
            for (name, own) in theirs {
                let mut link = link.clone();
                link.cells.iter_mut().skip(2).take(role.arity - 2).for_each(|cell| *cell = name);
                if let Some(list) = own.links.get_mut(position) {
                    list.push(link);
                }
            }
        }
    }
    for own in tenants.values_mut() {
        order(&mut own.rules, &own.links, model, model.effect);
        for (rules, context) in own.contexts.iter_mut().zip(&model.contexts) {
            order(rules, &own.links, &context.model, context.model.effect);
        }
    }
    Ok(tenants.into_iter().map(|(tenant, own)| (tenant.to_owned(), own)).collect())
}

/// Those of a few rows that are a tenant's; `None` if the matcher does not tell tenants apart. Each alternative asks
/// for the tenant of a rule, as `split` has seen to.
pub fn of_tenant<'a>(
    model: &Model,
    binding: &Binding,
    rows: &Rows<'a>,
    tenant: &'a str,
) -> Option<Rows<'a>> {
    let Some(token) = binding.tenant_token() else { return Some(rows.clone()) };
    let column = implied_column(model, token)?;
    let mut own = Rows::none(model);
    for row in &rows.rules {
        let mut row = row.clone();
        let cell = row.cells.get_mut(column)?;
        match *cell {
            "*" => *cell = tenant,
            cell if cell != tenant => continue,
            _ => {}
        }
        own.rules.push(row);
    }
    for ((links, role), theirs) in rows.links.iter().zip(&model.roles).zip(&mut own.links) {
        let tenant_of = |row: &Row<'a>| row.cells.get(2).copied().filter(|_| role.arity == 3);
        let holds = |row: &&Row<'a>| tenant_of(row).is_none_or(|cell| holds_in(role, cell, tenant));
        theirs.extend(links.iter().filter(holds).cloned());
    }
    Some(own)
}

/// Whether a link of the tenant, or of the pattern of tenants, `written` holds in `tenant`.
pub fn holds_in(role: &RoleDefinition, written: &str, tenant: &str) -> bool {
    let by_pattern = |function| patterned::holds_in(function, written, tenant);
    written == tenant || role.domain_pattern.is_some_and(by_pattern)
}

/// The column of the tenant in the rules of a model or context.
fn column_of(model: &Model, parts: &[Part], source: Source<'_>) -> Result<usize, Diagnostics> {
    let token = parts.iter().position(|part| *part == Part::Tenant);
    if let Some(column) = token.and_then(|token| implied_column(model, token)) {
        return Ok(column);
    }
    let mut found = Diagnostics::default();
    let message = "the matcher does not demand that rule and request have one tenant".to_owned();
    let token = token.and_then(|token| model.request.get(token)).map_or("dom", String::as_str);
    let (r, p) = &model.prefixes;
    found.push(
        Diagnostic::error(source, model.matcher_span, Code::DomainNotImplied, message)
            .help(format!("add `&& {r}.{token} == {p}.{token}` to every alternative")),
    );
    Err(found)
}

/// Gives each tenant the rules that are its own, and those of `*`.
fn share<'a>(
    rules: Vec<Row<'a>>,
    column: usize,
    context: Option<usize>,
    model: &Model,
    tenants: &mut BTreeMap<&'a str, Rows<'a>>,
) {
    let mut of_all = Vec::new();
    for row in rules {
        match row.cells.get(column).copied().unwrap_or("") {
            "*" => of_all.push(row),
            tenant => {
                let own = tenants.entry(tenant).or_insert_with(|| Rows::none(model));
                own.rules_of(context).push(row);
            }
        }
    }
    for (tenant, own) in tenants {
        let rules = own.rules_of(context);
        for mut row in of_all.iter().cloned() {
            // `*` becomes the tenant itself: the matcher's equality then holds for the row.
            row.cells.splice(column..=column, [*tenant]);
            rules.push(row);
        }
        rules.sort_by_key(|row| row.line);
    }
}

impl<'a> Rows<'a> {
    fn rules_of(&mut self, context: Option<usize>) -> &mut Vec<Row<'a>> {
        match context.and_then(|index| self.contexts.get_mut(index)) {
            Some(rules) => rules,
            None => &mut self.rules,
        }
    }
}

/// The column that every alternative of the matcher compares with the tenant token.
pub fn implied_column(model: &Model, token: usize) -> Option<usize> {
    let mut columns = alternatives(&model.matcher)?.into_iter().map(|conjuncts| {
        conjuncts.iter().find_map(|conjunct| match conjunct.test {
            Test::Equal { token: t, path: "", column }
            | Test::EqualOrAny { token: t, path: "", column }
                if t == token =>
            {
                Some(column)
            }
            _ => None,
        })
    });
    let first = columns.next()??;
    columns.all(|column| column == Some(first)).then_some(first)
}
