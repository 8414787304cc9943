//! A folder of which a few rows changed: its tenants with these rows, the rest shared with what served before.
//!
//! The answers are those of the folder compiled whole, which is to follow. What is not as plain as that is left to it.

use crate::bundle::{File, check_domains, find};
use crate::tenant_file::read_tenant;
use std::sync::Arc;
use tollgate_engine::bounds::FILE_BYTES_MAX;
use tollgate_engine::policy::change::{Change, Moved};
use tollgate_engine::policy::tenants;
use tollgate_engine::{
    Binding, Diagnostics, Dialect, Model, Part, Rows, Source, TenantState, bind, parse_model,
    parse_rows,
};

/// The tenants of a folder whose files were `before` and are `after`, in their order: a new state where rows or their
/// lines changed. `None` if more changed than a few rows of its tenants, or they do not load as they are.
pub fn changed<'f>(
    name: &str,
    before: &[File<'f>],
    after: &[File<'f>],
    tenants: &[Arc<TenantState>],
) -> Option<Vec<Option<TenantState>>> {
    let (old, new) = rows_alone_differ(before, after)?;
    let mut found = Diagnostics::default();
    let model_source = find(after, "model.conf", &mut found)?;
    let tenant_file = match find(after, "tenant.toml", &mut found) {
        Some(source) => read_tenant(source).ok()?,
        None => Default::default(),
    };
    if tenant_file.dialect != Dialect::Strict {
        return None;
    }
    let hunk = Hunk::between(old.bytes, new.bytes)?;
    let source = |text| Source { file: new.path, text };
    let model = parse_model(model_source, tenant_file.dialect).ok()?;
    let binding = bind(&model, &tenant_file.bind, model_source).ok()?;
    let rows = |text| rows_of(source(text), &model, hunk.moved.first);
    let (removed, added) = (rows(hunk.before)?, rows(hunk.after)?);
    if let Some(tenant) = &tenant_file.tenant {
        check_domains(&model, &binding, &added, tenant, source(hunk.after), &mut found);
    }
    let own_name = tenant_file.tenant.as_deref().unwrap_or(name);
    let is_known = binding.tenant_token().is_some() || tenants.iter().all(|t| t.name() == own_name);
    if found.has_errors() || !is_known || !have_tenants(&model, &binding, &added, tenants) {
        return None;
    }
    let one = |state: &Arc<TenantState>| {
        let own = |rows| tenants::of_tenant(&model, &binding, rows, state.name());
        let (removed, added) = (own(&removed)?, own(&added)?);
        let is_touched = removed.all().chain(added.all()).next().is_some();
        if !is_touched && hunk.moved.before == hunk.moved.after {
            return Some(None);
        }
        let change = Change { removed, added, moved: hunk.moved };
        let policy = state.policy().changed(&model, &change)?;
        Some(Some(state.with_policy(Arc::new(policy))))
    };
    tenants.iter().map(one).collect()
}

/// Both files of rows, if the others are the same.
fn rows_alone_differ<'f>(before: &[File<'f>], after: &[File<'f>]) -> Option<(File<'f>, File<'f>)> {
    let is_rows = |file: &&File<'f>| file.path.ends_with("policy.csv");
    let others = |files: &[File<'f>]| -> Vec<(&'f str, &'f [u8])> {
        files.iter().filter(|file| !is_rows(file)).map(|file| (file.path, file.bytes)).collect()
    };
    let (old, new) = (before.iter().find(is_rows)?, after.iter().find(is_rows)?);
    let is_bounded = new.bytes.len() <= FILE_BYTES_MAX;
    (is_bounded && others(before) == others(after)).then_some((*old, *new))
}

/// The rows of a part of the file, with their lines.
fn rows_of<'t>(source: Source<'t>, model: &Model, first_line: u32) -> Option<Rows<'t>> {
    let mut rows = parse_rows(source, model).ok()?;
    rows.all_mut().for_each(|row| row.line += first_line - 1);
    Some(rows)
}

/// Whether every new rule is of a tenant that there is.
fn have_tenants(
    model: &Model,
    binding: &Binding,
    added: &Rows<'_>,
    tenants: &[Arc<TenantState>],
) -> bool {
    let Some(token) = binding.parts.iter().position(|part| *part == Part::Tenant) else {
        return true;
    };
    let Some(column) = tenants::implied_column(model, token) else { return false };
    let is_there = |cell: &str| cell == "*" || tenants.iter().any(|state| state.name() == cell);
    added.rules.iter().all(|row| row.cells.get(column).is_some_and(|cell| is_there(cell)))
}

/// The lines in which two files differ.
#[derive(Debug, PartialEq, Eq)]
struct Hunk<'t> {
    before: &'t str,
    after: &'t str,
    moved: Moved,
}

/// Bytes that are compared at once, and whose lines are counted while they are near.
const BLOCK_BYTES: usize = 4 * 1024;

impl<'t> Hunk<'t> {
    /// `None` if what differs is no text.
    fn between(before: &'t [u8], after: &'t [u8]) -> Option<Hunk<'t>> {
        let (start, lines_above) = lines_alike(before, after);
        let (old, new) = (before.get(start..)?, after.get(start..)?);
        let tail = alike_at_end(old, new);
        // The rest that both have begins with a line.
        let begins =
            |text: &[u8]| text.len() == tail || text.get(text.len() - tail - 1) == Some(&b'\n');
        let skipped = match begins(old) && begins(new) {
            true => 0,
            false => {
                let mut rest = old.get(old.len() - tail..)?.iter();
                rest.position(|byte| *byte == b'\n').map_or(tail, |at| at + 1)
            }
        };
        let changed =
            |text: &'t [u8]| std::str::from_utf8(text.get(..text.len() - (tail - skipped))?).ok();
        let (before, after) = (changed(old)?, changed(new)?);
        let count = |text: &str| u32::try_from(text.lines().count()).ok();
        let first = u32::try_from(lines_above).ok()?.checked_add(1)?;
        let moved = Moved { first, before: count(before)?, after: count(after)? };
        Some(Hunk { before, after, moved })
    }
}

/// Where the first line begins that two files do not have in common, and how many stand above it.
fn lines_alike(one: &[u8], other: &[u8]) -> (usize, usize) {
    let mut lines = 0;
    let blocks = one.chunks_exact(BLOCK_BYTES).zip(other.chunks_exact(BLOCK_BYTES));
    let mut whole = 0;
    for (block, _) in blocks.take_while(|(one, other)| one == other) {
        lines += ends(block);
        whole += BLOCK_BYTES;
    }
    let rest = one.iter().skip(whole).zip(other.iter().skip(whole));
    let alike = whole + rest.take_while(|(one, other)| one == other).count();
    let head = one.get(..alike).unwrap_or(one);
    let start = head.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    // Where it begins in a block that was counted, no line ends behind it.
    (start, lines + one.get(whole..start).map_or(0, ends))
}

/// How many bytes two texts have in common at their ends.
fn alike_at_end(one: &[u8], other: &[u8]) -> usize {
    let blocks = one.rchunks_exact(BLOCK_BYTES).zip(other.rchunks_exact(BLOCK_BYTES));
    let whole = BLOCK_BYTES * blocks.take_while(|(one, other)| one == other).count();
    let rest = one.iter().rev().skip(whole).zip(other.iter().rev().skip(whole));
    whole + rest.take_while(|(one, other)| one == other).count()
}

/// How many lines end in a text.
fn ends(text: &[u8]) -> usize {
    let few = |few: &[u8]| few.iter().map(|byte| u8::from(*byte == b'\n')).sum::<u8>();
    text.chunks(usize::from(u8::MAX)).map(|bytes| usize::from(few(bytes))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hunk_is_whole_lines() {
        let long = "p, a, b, c\n".repeat(1_000);
        let text = |head: &str, middle: &str, tail: &str| format!("{head}{middle}{tail}");
        for (before, after, first, old, new) in [
            (text(&long, "x\n", &long), text(&long, "y\n", &long), 1_001, "x\n", "y\n"),
            (text(&long, "", &long), text(&long, "y\nz\n", &long), 1_001, "", "y\nz\n"),
            (text(&long, "xé\n", &long), text(&long, "xè\n", &long), 1_001, "xé\n", "xè\n"),
            ("a\nb".into(), "a\nb\nc".into(), 2, "b", "b\nc"),
            ("a\nb\n".into(), "a\n".into(), 2, "b\n", ""),
            (String::new(), "a\n".into(), 1, "", "a\n"),
            ("ab\ncb\n".into(), "ab\nb\n".into(), 2, "cb\n", "b\n"),
        ] {
            let hunk = Hunk::between(before.as_bytes(), after.as_bytes()).unwrap();
            assert_eq!((hunk.moved.first, hunk.before, hunk.after), (first, old, new), "{after}");
            let counts = [hunk.moved.before, hunk.moved.after].map(|count| count as usize);
            assert_eq!(counts, [old.lines().count(), new.lines().count()]);
        }
        let same = Hunk::between(long.as_bytes(), long.as_bytes()).unwrap();
        assert_eq!((same.before, same.after), ("", ""));
    }

    #[test]
    fn random_texts_are_put_together_again() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut text = || {
            let count = random.usize(..12);
            (0..count)
                .map(|_| ["a", "b", "\n", "é\n", "p, x\n"][random.usize(..5)])
                .collect::<String>()
        };
        for _ in 0..20_000 {
            let (head, tail) = (text(), text());
            let (before, after) =
                (format!("{head}{}{tail}", text()), format!("{head}{}{tail}", text()));
            let hunk = Hunk::between(before.as_bytes(), after.as_bytes()).unwrap();
            let first = hunk.moved.first as usize - 1;
            let start: usize = before.split_inclusive('\n').take(first).map(str::len).sum();
            let end = start + hunk.before.len();
            let again = format!("{}{}{}", &before[..start], hunk.after, &before[end..]);
            assert_eq!(again, after, "{before:?}");
            assert!(
                end == before.len() || before[..end].ends_with('\n') || end == start,
                "{before:?}"
            );
        }
    }
}
