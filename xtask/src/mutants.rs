//! `cargo xtask mutants`: bugs that are planted one by one into a copy of HEAD; the tests must find each.
//!
//! Planted are comparison operators, the combination of effects, three-valued logic and tenant checks. To plant another:
//! a row in `PLANTED` whose text stands once in its file.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Cases of each generator: enough for every bug below, little enough for a minute.
const CASES: &str = "6000";
const TESTED: &[&str] = &["tollgate-engine", "tollgate-proto", "tollgate-oracle"];

/// A file, a text that stands in it once, and what stands there instead.
struct Planted {
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

const fn bug(file: &'static str, from: &'static str, to: &'static str) -> Planted {
    Planted { file, from, to }
}

const STRICT: &str = "engine/src/expr/eval_strict.rs";
const CASBIN: &str = "engine/src/expr/eval_casbin.rs";
const GO: &str = "engine/src/expr/eval_go.rs";
const CHANGED_LINKS: &str = "engine/src/policy/roles/changed.rs";
const EVALUATE: &str = "engine/src/policy/evaluate.rs";
const LAYOUT: &str = "engine/src/policy/evaluate/by_layout.rs";
const TENANTS: &str = "engine/src/policy/tenants.rs";
const ROLES: &str = "engine/src/policy/roles.rs";

const PLANTED: &[Planted] = &[
    // Comparison operators.
    bug(
        STRICT,
        "Operator::Equal => left.equals(&right)?",
        "Operator::Equal => !left.equals(&right)?",
    ),
    bug(
        STRICT,
        "Operator::NotEqual => !left.equals(&right)?",
        "Operator::NotEqual => left.equals(&right)?",
    ),
    bug(
        STRICT,
        "Operator::Less => left.order(&right)? == Ordering::Less",
        "Operator::Less => left.order(&right)? != Ordering::Greater",
    ),
    bug(
        STRICT,
        "Operator::LessEqual => left.order(&right)? != Ordering::Greater",
        "Operator::LessEqual => left.order(&right)? == Ordering::Less",
    ),
    bug(
        STRICT,
        "Operator::Greater => left.order(&right)? == Ordering::Greater",
        "Operator::Greater => left.order(&right)? != Ordering::Less",
    ),
    bug(
        STRICT,
        "Operator::GreaterEqual => left.order(&right)? != Ordering::Less",
        "Operator::GreaterEqual => left.order(&right)? == Ordering::Greater",
    ),
    bug(
        CASBIN,
        "Operator::NotEqual => !same(left, right)",
        "Operator::NotEqual => same(left, right)",
    ),
    bug(
        CASBIN,
        "Operator::Less => order == Some(Ordering::Less)",
        "Operator::Less => order != Some(Ordering::Greater)",
    ),
    bug(
        CASBIN,
        "Operator::Greater => order == Some(Ordering::Greater)",
        "Operator::Greater => order != Some(Ordering::Less)",
    ),
    bug(GO, "Operator::LessEqual => order.is_le()", "Operator::LessEqual => order.is_lt()"),
    bug(GO, "Operator::Greater => order.is_gt()", "Operator::Greater => order.is_ge()"),
    // Three-valued logic.
    bug(
        STRICT,
        "left => match (left, self.truth(right, row)) {\n                    (_, Some(false)) => Value::Bool(false)",
        "left => match (left, self.truth(right, row)) {\n                    (_, Some(false)) => Value::Missing",
    ),
    bug(
        STRICT,
        "(Some(true), Some(true)) => Value::Bool(true)",
        "(_, Some(true)) => Value::Bool(true)",
    ),
    bug(
        STRICT,
        "left => match (left, self.truth(right, row)) {\n                    (_, Some(true)) => Value::Bool(true)",
        "left => match (left, self.truth(right, row)) {\n                    (_, Some(true)) => Value::Missing",
    ),
    bug(
        STRICT,
        "(Some(false), Some(false)) => Value::Bool(false)",
        "(_, Some(false)) => Value::Bool(false)",
    ),
    bug(STRICT, "map(|truth| !truth)", "map(|truth| truth)"),
    bug(
        STRICT,
        "truth.map_or(Value::Missing, Value::Bool)",
        "truth.map_or(Value::Bool(false), Value::Bool)",
    ),
    bug(STRICT, "None => answer = None,", "None => {}"),
    bug(
        EVALUATE,
        "(Effect::Deny, None) => Some(&mut self.unknown_deny),",
        "(Effect::Deny, None) => None,",
    ),
    bug(EVALUATE, "None => guarded = None,", "None => {}"),
    bug(
        LAYOUT,
        "None => truth = None,\n            }\n        }\n        first.see",
        "None => {}\n            }\n        }\n        first.see",
    ),
    // The combination of effects.
    bug(EVALUATE, "earlier.min(row)", "earlier.max(row)"),
    bug(
        EVALUATE,
        "EffectRule::AllowOverride => allow.unwrap_or(Verdict::NoRule)",
        "EffectRule::AllowOverride => allow.or(deny).unwrap_or(Verdict::NoRule)",
    ),
    bug(
        EVALUATE,
        "deny.or(unknown).unwrap_or(Verdict::Allow { rule: first.allow })",
        "deny.unwrap_or(Verdict::Allow { rule: first.allow })",
    ),
    bug(
        EVALUATE,
        "EffectRule::AllowAndDeny => deny.or(unknown).or(allow)",
        "EffectRule::AllowAndDeny => allow.or(deny).or(unknown)",
    ),
    bug(
        EVALUATE,
        ".min_by_key(rank).unwrap_or(Verdict::NoRule)",
        ".max_by_key(rank).unwrap_or(Verdict::NoRule)",
    ),
    bug(EVALUATE, "(_, Effect::Deny) => return Verdict::Deny { rule },", "(_, Effect::Deny) => {}"),
    bug(
        "engine/src/decide.rs",
        "Verdict::Error { .. } => Reason::PolicyError",
        "Verdict::Error { .. } => Reason::Allow",
    ),
    bug(
        "engine/src/policy/order.rs",
        "std::cmp::Reverse(heights.depth(row, model.dialect))",
        "heights.depth(row, model.dialect)",
    ),
    // Tenant checks.
    bug(TENANTS, "\"*\" => of_all.push(row),", ""),
    bug(TENANTS, "columns.all(|column| column == Some(first)).then_some(first)", "Some(first)"),
    bug(TENANTS, "row.cells.splice(column..=column, [*tenant]);", ""),
    bug(
        TENANTS,
        "theirs.retain(|(own, _)| tenant.is_none_or(|tenant| holds_in(role, tenant, own)));",
        "",
    ),
    bug(
        ROLES,
        "None => (definition, domain.unwrap_or(NO_DOMAIN)),",
        "None => (definition, NO_DOMAIN),",
    ),
    bug(
        "engine/src/policy/rows.rs",
        "role.arity == 3 && row.cells.get(2)",
        "role.arity == 2 && row.cells.get(2)",
    ),
    bug(
        "engine/src/policy/roles/patterned.rs",
        "let matching = self.domains.iter().filter(|written| written.matcher.matches(text));",
        "let matching = self.domains.iter();",
    ),
    bug(
        "engine/src/policy/tenants.rs",
        "role.domain_pattern.is_some_and(by_pattern)",
        "role.domain_pattern.is_some()",
    ),
    bug(
        "engine/src/policy/link_time.rs",
        "self.after < now && now < self.before",
        "self.after < now || now < self.before",
    ),
    bug(
        "proto/src/bundle.rs",
        "*cell != tenant && *cell != \"*\"",
        "*cell == tenant && *cell != \"*\"",
    ),
    // Rows that came and went.
    bug(
        EVALUATE,
        "if changes.is_some_and(|changes| changes.is_removed(row as usize)) {",
        "if false {",
    ),
    bug("engine/src/policy/change.rs", "None => (row, u32::MAX),", "None => (row, 0),"),
    bug(
        "engine/src/policy/change.rs",
        "line.saturating_sub(self.before).saturating_add(self.after)",
        "line",
    ),
    bug(CHANGED_LINKS, "(!self.removed.contains(&link)).then(", "true.then("),
    bug(CHANGED_LINKS, "places.extend(theirs);", "drop(theirs);"),
];

/// Plants each bug; false if one is not found.
pub(crate) fn run(root: &Path) -> bool {
    let copy = std::env::temp_dir().join(format!("tollgate-mutants-{}", std::process::id()));
    let cloned =
        Command::new("git").args(["clone", "--quiet", "."]).arg(&copy).current_dir(root).status();
    if !cloned.is_ok_and(|status| status.success()) {
        println!("mutants: the repository cannot be copied");
        return false;
    }
    let copy = Copy(copy);
    if !copy.passes() {
        println!("mutants: the tests fail without a bug");
        return false;
    }
    let mut survived = 0;
    for planted in PLANTED {
        let outcome = copy.plant(planted);
        println!(
            "mutants: {outcome:<9} {}: {}",
            planted.file,
            planted.to.lines().last().unwrap_or("").trim()
        );
        survived += usize::from(outcome != "killed");
    }
    println!("mutants: {} planted, {survived} not killed", PLANTED.len());
    survived == 0
}

/// The copy, gone at the end.
struct Copy(PathBuf);

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Copy {
    fn passes(&self) -> bool {
        let mut command = Command::new("cargo");
        command.arg("test").arg("--quiet").current_dir(&self.0).env("CASES", CASES);
        TESTED.iter().for_each(|name| {
            command.args(["--package", name]);
        });
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or(self.0.join("target"), PathBuf::from);
        command.env("CARGO_TARGET_DIR", target.join("mutants"));
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        quiet.status().is_ok_and(|status| status.success())
    }

    fn plant(&self, planted: &Planted) -> &'static str {
        let path = self.0.join(planted.file);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if text.matches(planted.from).count() != 1 {
            return "misplaced";
        }
        let outcome = match std::fs::write(&path, text.replace(planted.from, planted.to)) {
            Ok(()) if self.passes() => "survived",
            Ok(()) => "killed",
            Err(_) => "misplaced",
        };
        let _ = std::fs::write(&path, text);
        outcome
    }
}
