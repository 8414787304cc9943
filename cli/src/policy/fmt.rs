//! `tollgate policy fmt DIR`: the columns of policy.csv in line. Comments, quotes and order stay; only blanks beside
//! commas change, and those before one only where the folder's dialect does not read them.

use crate::exit::{Exit, fail};
use crate::folder::policy_folders;
use std::io;
use std::path::{Path, PathBuf};
use tollgate_engine::{Dialect, Rows, Source, parse_model, parse_rows};
use tollgate_proto::tenant_file::read_tenant;

/// A longer cell does not push the others out.
const ALIGNED_CHARS_MAX: usize = 48;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A policy folder, or a folder of them
    dir: PathBuf,
    /// Write nothing; exit 1 if something would change
    #[arg(long)]
    check: bool,
    /// The same, and print the lines
    #[arg(long)]
    diff: bool,
    /// Print one JSON object per folder
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let folders = match policy_folders(&arguments.dir) {
        Ok(folders) => folders,
        Err((exit, message)) => return fail(exit, message),
    };
    let mut changed = 0;
    for folder in folders {
        match one(&folder, arguments) {
            Ok(lines) => changed += lines,
            Err(message) => return fail(Exit::DoesNotLoad, message),
        }
    }
    let is_look = arguments.check || arguments.diff;
    if is_look && changed > 0 { Exit::No } else { Exit::Yes }
}

/// Formats one folder; answers how many lines changed or would.
fn one(folder: &Path, arguments: &Arguments) -> Result<usize, String> {
    let path = folder.join("policy.csv");
    let said = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(&path).map_err(|error| said(&error))?;
    let tenant_file = std::fs::read_to_string(folder.join("tenant.toml")).unwrap_or_default();
    let source = Source { file: "tenant.toml", text: &tenant_file };
    let dialect = read_tenant(source).map(|file| file.dialect).unwrap_or_default();
    let formatted = formatted(&text, dialect);
    let model = std::fs::read_to_string(folder.join("model.conf")).unwrap_or_default();
    if !means_the_same(&model, &text, &formatted, dialect) {
        return Err(said(&"formatting would change a rule; this is a defect of tollgate"));
    }
    let changes: Vec<(usize, &str, &str)> = changes(&text, &formatted);
    let count = changes.len().max(usize::from(text != formatted));
    if count > 0 && !arguments.check && !arguments.diff {
        replace(&path, &formatted).map_err(|error| said(&error))?;
    }
    if arguments.json {
        println!("{}", serde_json::json!({"file": path, "changed_lines": count}));
    } else if arguments.diff {
        for (line, old, new) in changes {
            println!("{}:{line}\n-{old}\n+{new}", path.display());
        }
    } else if count > 0 {
        println!("{}", path.display());
    }
    Ok(count)
}

/// Lines that differ, counted from 1.
fn changes<'t>(text: &'t str, formatted: &'t str) -> Vec<(usize, &'t str, &'t str)> {
    let pairs = text.lines().zip(formatted.lines()).enumerate();
    pairs.map(|(at, (old, new))| (at + 1, old, new)).filter(|(_, old, new)| old != new).collect()
}

/// In the folder's dialect and those that do not read blanks, what loaded loads to the same rows.
fn means_the_same(model: &str, before: &str, after: &str, own: Dialect) -> bool {
    [Dialect::Strict, Dialect::CasbinRs, own].into_iter().all(|dialect| {
        let Ok(model) = parse_model(Source { file: "model.conf", text: model }, dialect) else {
            return true;
        };
        let rows = |text| parse_rows(Source { file: "policy.csv", text }, &model).ok();
        match (rows(before), rows(after)) {
            (None, None) => true,
            (Some(before), Some(after)) => are_same(&before, &after),
            _ => false,
        }
    })
}

fn are_same(one: &Rows<'_>, other: &Rows<'_>) -> bool {
    one.rules == other.rules && one.links == other.links
}

/// Written beside and renamed, with the rights of what was there.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = std::fs::canonicalize(path)?;
    let beside = path.with_extension("csv.new");
    std::fs::write(&beside, text)?;
    std::fs::set_permissions(&beside, std::fs::metadata(&path)?.permissions())?;
    std::fs::rename(&beside, &path)
}

/// The text with its columns in line; no blank lines at the end.
fn formatted(text: &str, dialect: Dialect) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let rows: Vec<Option<Vec<&str>>> = lines.iter().map(|line| cells(line, dialect)).collect();
    let mut out = String::new();
    let mut at = 0;
    while let Some(row) = rows.get(at) {
        let Some(first) = row else {
            out.push_str(lines.get(at).copied().unwrap_or(""));
            out.push('\n');
            at += 1;
            continue;
        };
        let is_alike = |other: &&Option<Vec<&str>>| {
            other
                .as_ref()
                .is_some_and(|row| row.len() == first.len() && row.first() == first.first())
        };
        let block: Vec<&Vec<&str>> =
            rows.iter().skip(at).take_while(is_alike).filter_map(Option::as_ref).collect();
        at += block.len();
        put(&mut out, &block);
    }
    out.truncate(out.trim_end().len());
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

fn put(out: &mut String, block: &[&Vec<&str>]) {
    let chars = |cell: &str| cell.chars().count();
    let columns = block.first().map_or(0, |row| row.len());
    let widest = |column: usize| {
        let cells = block.iter().filter_map(|row| row.get(column)).map(|cell| chars(cell));
        cells.filter(|width| *width <= ALIGNED_CHARS_MAX).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(widest).collect();
    for row in block {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            line.push_str(cell);
            if at + 1 < columns {
                line.push_str(", ");
                line.extend(std::iter::repeat_n(' ', width.saturating_sub(chars(cell))));
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

/// The cells of a row with their quotes; `None` for what is no row, and stays as it is.
fn cells(line: &str, dialect: Dialect) -> Option<Vec<&str>> {
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let mut cells = Vec::new();
    let mut rest = line;
    loop {
        let start = rest.trim_start();
        let end = match start.strip_prefix('"') {
            Some(quoted) => quoted.find('"')? + 2,
            None => start.find(',').unwrap_or(start.len()),
        };
        let (cell, tail) = start.split_at_checked(end)?;
        if !start.starts_with('"') && cell.contains('"') {
            return None;
        }
        cells.push(if dialect == Dialect::CasbinGo { cell } else { cell.trim_end() });
        match tail.strip_prefix(',') {
            Some(next) => rest = next,
            None if tail.is_empty() => return Some(cells),
            None => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_in_line_and_the_rest_stays() {
        let text = "# rules\np,staff,  acme, /v1/*,read ,allow  \r\np, role:lead, a, \"r.x == 'a, b'\", delete, deny\n\n\
            g, alice, staff, acme\n  # links\ng, bob, role:lead, a\nodd \"quote, x\n\n\n";
        let expected = "# rules\np, staff,     acme, /v1/*,           read,   allow\n\
            p, role:lead, a,    \"r.x == 'a, b'\", delete, deny\n\ng, alice, staff, acme\n# links\n\
            g, bob, role:lead, a\nodd \"quote, x\n";
        let formatted = |text: &str| formatted(text, Dialect::Strict);
        assert_eq!(formatted(text), expected);
        assert_eq!(formatted(""), "");
        assert_eq!(formatted("\n\n"), "");
        assert_eq!(formatted("p, a,\np, abc, x"), "p, a,\np, abc, x\n");
        let long = "x".repeat(ALIGNED_CHARS_MAX + 1);
        let formatted = formatted(&format!("p, {long}, a\np, b, c"));
        assert_eq!(formatted, format!("p, {long}, a\np, b, c\n"));
    }

    #[test]
    fn it_is_idempotent_and_changes_no_row() {
        let model = "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = sub, obj, act, eft\n\
            [role_definition]\ng = _, _\n[policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\n\
            m = g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act\n";
        let mut random = fastrand::Rng::with_seed(7);
        let pieces = ["a", "role:b", " ", "  ", ",", ", ", "\"", "\"x, y\"", "é", "#", "", "allow"];
        let mut loaded = 0;
        for round in 0..20_000 {
            let dialect = [Dialect::Strict, Dialect::CasbinRs, Dialect::CasbinGo][round % 3];
            let mut text = String::new();
            for _ in 0..random.usize(..6) {
                match random.u8(..4) {
                    0 => {
                        for _ in 0..random.usize(..9) {
                            text.push_str(pieces[random.usize(..pieces.len())]);
                        }
                    }
                    1 => text.push_str(&format!("g,{}, r{}", random.u8(..9), random.u8(..9))),
                    _ => {
                        let blanks = " ".repeat(random.usize(..3));
                        let number = random.u16(..);
                        text.push_str(&format!(
                            "p,{blanks}s{number}, \"/x, {number}\",{blanks}read , allow"
                        ));
                    }
                }
                text.push('\n');
            }
            let once = formatted(&text, dialect);
            assert_eq!(formatted(&once, dialect), once, "{text:?}");
            assert!(means_the_same(model, &text, &once, dialect), "{text:?}");
            let strict = parse_model(Source { file: "m", text: model }, Dialect::Strict).unwrap();
            loaded += usize::from(parse_rows(Source { file: "p", text: &text }, &strict).is_ok());
        }
        assert!(loaded > 4_000, "{loaded}");
    }
}
