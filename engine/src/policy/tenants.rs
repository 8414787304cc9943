//! One folder's rows, split into tenants: a tenant's compiled state holds nobody else's rows.
//!
//! A model without a tenant token is one tenant, named after the folder. With one, every constant
//! in the tenant column of the `p` rows is a tenant; rows of `*` belong to each. `casbin-rs` never
//! splits. A tenant that appears only in `g` rows is none.

use crate::bind::Binding;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Source};
use crate::dialect::Dialect;
use crate::model::Model;
use crate::policy::alternatives::{Test, alternatives};
use crate::policy::rows::Rows;
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
    let token = match (binding.tenant_token(), model.dialect) {
        (Some(token), Dialect::Strict) => token,
        _ => return Ok(BTreeMap::from([(name.to_owned(), rows)])),
    };
    let Some(column) = implied_column(model, token) else {
        let mut found = Diagnostics::default();
        let message =
            "the matcher does not demand that rule and request have one tenant".to_owned();
        let token = model.request.get(token).map_or("dom", String::as_str);
        found.push(
            Diagnostic::error(source, model.matcher_span, Code::DomainNotImplied, message)
                .help(format!("add `&& r.{token} == p.{token}` to every alternative")),
        );
        return Err(found);
    };
    let mut tenants: BTreeMap<&'a str, Rows<'a>> = BTreeMap::new();
    let none = || Rows { rules: Vec::new(), links: vec![Vec::new(); model.roles.len()] };
    let mut of_all = Vec::new();
    for row in rows.rules {
        match row.cells.get(column).copied().unwrap_or("") {
            "*" => of_all.push(row),
            tenant => tenants.entry(tenant).or_insert_with(none).rules.push(row),
        }
    }
    for (tenant, own) in &mut tenants {
        for mut row in of_all.iter().cloned() {
            // `*` becomes the tenant itself: the matcher's equality then holds for the row.
            row.cells.splice(column..=column, [*tenant]);
            own.rules.push(row);
        }
        own.rules.sort_by_key(|row| row.line);
    }
    for (position, (links, (_, arity))) in rows.links.into_iter().zip(&model.roles).enumerate() {
        for link in links {
            let tenant = link.cells.get(2).filter(|_| *arity == 3);
            let theirs: Vec<&mut Rows<'a>> = match tenant {
                Some(tenant) => tenants.get_mut(tenant).into_iter().collect(),
                None => tenants.values_mut().collect(),
            };
            for own in theirs {
                own.links.get_mut(position).into_iter().for_each(|list| list.push(link.clone()));
            }
        }
    }
    Ok(tenants.into_iter().map(|(tenant, own)| (tenant.to_owned(), own)).collect())
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
