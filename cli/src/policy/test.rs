//! `tollgate policy test DIR`: rows on our engine, each held against casbin.
//!
//! A suite that has no rows, does not parse or has an unknown key is a failure, not a success.

use super::junit::{self, Case};
use super::oracles::{Agreement, Oracles, no_cells};

use crate::draw;
use crate::exit::{Exit, fail};
use crate::folder::{FolderFiles, policy_folders};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;
use tollgate_engine::lint::DIFFERENCES_OF_GO;
use tollgate_engine::{
    Binding, Code, Decision, Diagnostics, Model, Now, Reason, Request, Rows, Scratch, Source,
    TenantState, Version, bind, parse_model, parse_rows, split,
};
use tollgate_proto::bundle::{self, File, Options};
use tollgate_proto::findings::findings;
use tollgate_proto::lint::lint_files;
use tollgate_proto::tests_file::{Suite, TestRow};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A policy folder, or a folder of them
    dir: PathBuf,
    /// Run only rows whose text (`line tenant subject resource action`) contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Exit 1 if fewer rules are covered than this, in whole per cent, rounded down
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(..=100))]
    coverage_min: Option<u8>,
    /// Print one JSON object per folder
    #[arg(long)]
    json: bool,
    /// Also write a JUnit report
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// What happened to the rows of one folder.
#[derive(Debug, Default)]
struct Report {
    passed: usize,
    cases: Vec<Case>,
    failures: Vec<Failure>,
    skipped: usize,
    agreed: usize,
    not_comparable: usize,
    differing: usize,
    /// Ids of the differences of dialects that lint tells of in this folder.
    dialect_ids: Vec<String>,
    rules: usize,
    uncovered: Vec<(u32, String)>,
    elapsed_ms: u128,
}

#[derive(Debug)]
struct Failure {
    row: TestRow,
    tenant: String,
    got: &'static str,
    reason: Reason,
    /// What is wrong: the answer, the rule, or an oracle.
    what: String,
    rule: Option<(u32, String)>,
    role_path: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let folders = match policy_folders(&arguments.dir) {
        Ok(folders) => folders,
        Err((exit, message)) => return fail(exit, message),
    };
    let mut worst = Exit::Yes;
    let mut suites = Vec::new();
    for folder in folders {
        let files = match FolderFiles::read(&folder) {
            Ok(files) => files,
            Err(error) => return fail(Exit::Usage, format!("{}: {error}", folder.display())),
        };
        let shown = folder.display().to_string();
        let exit = match test_folder(&files, arguments) {
            Ok(report) => {
                let exit = report.show(&shown, arguments);
                let error = (report.passed == 0).then(|| "no test row passed".to_owned());
                suites.push(junit::Suite { folder: shown, cases: report.cases, error });
                exit
            }
            Err(found) => {
                let error = Some(draw::count_line(&found));
                suites.push(junit::Suite { folder: shown.clone(), cases: Vec::new(), error });
                if arguments.json {
                    println!(
                        "{}",
                        serde_json::json!({"folder": shown, "diagnostics": findings(&found)})
                    );
                } else {
                    draw::show(&found, &|path| files.text(path));
                    eprintln!("{}", draw::count_line(&found));
                }
                Exit::DoesNotLoad
            }
        };
        if exit as u8 > worst as u8 {
            worst = exit;
        }
    }
    if let Some(path) = &arguments.junit
        && let Err(error) = std::fs::write(path, junit::document(&suites))
    {
        return fail(Exit::Usage, format!("{}: {error}", path.display()));
    }
    worst
}

fn test_folder(folder: &FolderFiles, arguments: &Arguments) -> Result<Report, Diagnostics> {
    let started = Instant::now();
    let files = folder.files();
    let options = Options::new(u64::from(std::process::id()), Version::default());
    let compiled = bundle::from_files(&folder.name, &files, options)?;
    if !arguments.json {
        draw::show(&compiled.warnings, &|path| folder.text(path));
    }
    let suite = bundle::suite(&files)?.unwrap_or_default();
    // Limits are checked above and play no part in tests.
    let without_limits: Vec<_> =
        files.iter().filter(|file| !file.path.ends_with("limits.toml")).copied().collect();
    let compiled = bundle::from_files(&folder.name, &without_limits, options)?;
    let source = |name| folder.text_of(name).map(|(file, text)| Source { file, text });
    let (Some(model_source), Some(rows_source)) = (source("model.conf"), source("policy.csv"))
    else {
        return Ok(Report::default());
    };
    let dialect = compiled.tenant_file.dialect;
    let model = parse_model(model_source, dialect)?;
    let rows = parse_rows(rows_source, &model)?;
    let binding = bind(&model, &compiled.tenant_file.bind, model_source)?;
    let name = compiled.tenant_file.tenant.as_deref().unwrap_or(&folder.name);
    let parts = split(&model, &binding, rows.clone(), name, model_source)?;
    let tester = Tester {
        rows: &rows,
        tenants: &compiled.tenants,
        oracles: load_oracles(model_source.text, &parts, &model, &binding),
        default_tenant: name,
        dialect_ids: dialect_ids(&folder.name, &files),
    };
    let mut report = tester.run(&suite, arguments.filter.as_deref());
    report.rules = rows.rules.len() + rows.contexts.iter().map(Vec::len).sum::<usize>();
    report.elapsed_ms = started.elapsed().as_millis();
    Ok(report)
}

/// The ids of `dialect-difference` that lint tells of the `casbin` crate, each once.
fn dialect_ids(name: &str, files: &[File<'_>]) -> Vec<String> {
    let found = lint_files(name, files).unwrap_or_default();
    let differences = found.iter().filter(|one| one.code == Code::DialectDifference);
    let ids = differences.filter_map(|one| Some(one.message.split_once(':')?.0.to_owned()));
    let of_go = |id: &String| DIFFERENCES_OF_GO.iter().any(|(known, _)| known == id);
    ids.filter(|id| !of_go(id)).collect::<BTreeSet<String>>().into_iter().collect()
}

fn load_oracles(
    model_text: &str,
    parts: &BTreeMap<String, Rows<'_>>,
    model: &Model,
    binding: &Binding,
) -> BTreeMap<String, Result<Oracles, String>> {
    let load = |(tenant, rows): (&String, &Rows<'_>)| {
        (tenant.clone(), Oracles::load(model_text, rows, model, binding))
    };
    parts.iter().map(load).collect()
}

struct Tester<'a> {
    rows: &'a Rows<'a>,
    tenants: &'a [TenantState],
    oracles: BTreeMap<String, Result<Oracles, String>>,
    default_tenant: &'a str,
    dialect_ids: Vec<String>,
}

impl Tester<'_> {
    fn run(&self, suite: &Suite, filter: Option<&str>) -> Report {
        let mut report = Report { dialect_ids: self.dialect_ids.clone(), ..Report::default() };
        let mut covered = BTreeSet::new();
        for row in &suite.tests {
            let mut row = row.clone();
            if row.request.tenant.is_empty() {
                row.request.tenant = self.default_tenant.to_owned().into();
            }
            if filter.is_some_and(|text| !describe(&row).contains(text)) {
                report.skipped += 1;
                continue;
            }
            let request = row.request.clone();
            request.with(|request| self.ask(row, request, &mut report, &mut covered));
        }
        if filter.is_none() {
            let rules = self.rows.rules.iter().chain(self.rows.contexts.iter().flatten());
            let uncovered = rules.filter(|rule| !covered.contains(&rule.line));
            report.uncovered =
                uncovered.map(|rule| (rule.line, show_rule(rule.cells.iter()))).collect();
        }
        report
    }

    fn ask(
        &self,
        row: TestRow,
        request: &Request<'_>,
        report: &mut Report,
        covered: &mut BTreeSet<u32>,
    ) {
        let mut scratch = Scratch::default();
        let tenant = self.tenants.iter().find(|tenant| tenant.name() == request.tenant);
        let now = row.at.map_or(0, |at| u64::try_from(at.as_nanosecond()).unwrap_or(0));
        let decision = match tenant {
            Some(tenant) => tenant.decide(&no_cells(), request, Now(now), &mut scratch),
            None => Decision::refuse(Reason::UnknownTenant, Version::default()),
        };
        let line_of = |rule| tenant.map_or(0, |tenant| tenant.policy().rule_line(rule));
        let rule_line = decision.rule.map(line_of);
        if let Some(tenant) = tenant {
            let matching = tenant.matching_rules(request, Now(now), &mut scratch);
            covered.extend(matching.into_iter().map(line_of));
        }
        let agreement = self.agreement(request, decision.is_allow(), report);
        let expected = if row.expect_allow { "allow" } else { "deny" };
        let got = if decision.is_allow() { "allow" } else { "deny" };
        let what = if expected != got {
            format!("expected {expected}, got {got}")
        } else if row.rule_line.is_some() && row.rule_line != rule_line {
            let by = rule_line.map_or("no rule".to_owned(), |line| format!("policy.csv:{line}"));
            let wanted = row.rule_line.unwrap_or(0);
            format!("expected policy.csv:{wanted} to decide, {by} did")
        } else if let Some(what) = agreement {
            what
        } else {
            report.passed += 1;
            report.cases.push(Case { name: describe(&row), failure: None });
            return;
        };
        report.cases.push(Case { name: describe(&row), failure: Some(what.clone()) });
        let rule = decision
            .rule
            .zip(rule_line)
            .zip(tenant)
            .map(|((rule, line), tenant)| (line, show_rule(tenant.policy().rule_cells(rule))));
        let role_path = tenant.and_then(|tenant| {
            let explanation = tenant.explain(&no_cells(), request, Now(now), &mut scratch);
            let decided = explanation.rules.first().filter(|_| decision.rule.is_some())?;
            shown_path(request.subject.id, &decided.role_path)
        });
        let tenant = request.tenant.to_owned();
        let reason = decision.reason;
        report.failures.push(Failure { row, tenant, got, reason, what, rule, role_path });
    }

    /// Counts what the oracles say; a sentence if that alone fails the row.
    fn agreement(&self, request: &Request<'_>, allow: bool, report: &mut Report) -> Option<String> {
        let compared = match self.oracles.get(request.tenant) {
            Some(Ok(oracles)) => oracles.compare(request, allow),
            Some(Err(why)) => Agreement::NotComparable(why.clone()),
            None => Agreement::NotComparable("no such tenant".to_owned()),
        };
        match compared {
            Agreement::Agrees => report.agreed += 1,
            Agreement::NotComparable(_) => report.not_comparable += 1,
            Agreement::OurDefect { casbin, ours } => {
                return Some(format!(
                    "casbin says allow={casbin}, our casbin-rs dialect allow={ours}"
                ));
            }
            Agreement::DialectsDiffer { casbin } => {
                report.differing += 1;
                if self.dialect_ids.is_empty() {
                    return Some(format!(
                        "casbin says allow={casbin}, and lint tells of no difference of dialects"
                    ));
                }
            }
        }
        None
    }
}

/// `alice → role:search (policy.csv:22) → role:staff (policy.csv:20)`; `None` without a link.
fn shown_path(subject: &str, steps: &[(String, u32)]) -> Option<String> {
    let steps = steps.iter().map(|(role, line)| format!(" → {role} (policy.csv:{line})"));
    let steps: String = steps.collect();
    (!steps.is_empty()).then(|| format!("{subject}{steps}"))
}

fn describe(row: &TestRow) -> String {
    let request = &row.request;
    let (subject, resource) = (&request.subject.id, &request.resource.id);
    format!(
        "tests.yaml:{}   {}  {subject}  {resource}  {}",
        row.line, request.tenant, request.action
    )
}

fn show_rule(cells: impl Iterator<Item = impl AsRef<str>>) -> String {
    let mut text = String::from("p");
    for cell in cells {
        text.push_str(", ");
        text.push_str(cell.as_ref());
    }
    text
}

impl Report {
    fn failed(&self) -> bool {
        !self.failures.is_empty() || self.passed == 0
    }

    fn show(&self, folder: &str, arguments: &Arguments) -> Exit {
        match arguments.json {
            true => println!("{}", self.json(folder)),
            false => self.print(folder),
        }
        let least = arguments.coverage_min.map_or(0, usize::from);
        let is_covered = self.skipped > 0 || self.coverage_percent() >= least;
        if !is_covered && !arguments.json {
            println!(
                "{folder}: {} % of rules covered, {least} % demanded",
                self.coverage_percent()
            );
        }
        if self.failed() || !is_covered { Exit::No } else { Exit::Yes }
    }

    /// Rounded down: all rules are covered at 100 and only then.
    fn coverage_percent(&self) -> usize {
        let covered = self.rules - self.uncovered.len();
        (covered * 100).checked_div(self.rules).unwrap_or(100)
    }

    fn print(&self, folder: &str) {
        for failure in &self.failures {
            println!("FAIL  {}      {}", describe(&failure.row), failure.what);
            if let Some((line, rule)) = &failure.rule {
                let verb = if failure.got == "allow" { "allowed by" } else { "denied by" };
                println!("      {verb:<12} policy.csv:{line}    {rule}");
            } else {
                println!("      {:<12} {}", "reason", failure.reason.name());
            }
            if let Some(path) = &failure.role_path {
                println!("      {:<12} {path}", "as");
            }
        }
        for (line, rule) in &self.uncovered {
            println!("not covered        policy.csv:{line}   {rule}");
        }
        let asked = self.passed + self.failures.len();
        if asked == 0 {
            println!("{folder}: no test row ran");
        }
        let comparable = asked - self.not_comparable;
        let mut line = format!(
            "{folder}: {} passed, {} failed, {} skipped · casbin agrees on {}/{comparable}",
            self.passed,
            self.failures.len(),
            self.skipped,
            self.agreed,
        );
        if self.not_comparable > 0 {
            line.push_str(&format!(" ({} not comparable)", self.not_comparable));
        }
        if self.differing > 0 {
            let ids = self.dialect_ids.join(", ");
            line.push_str(&format!(" · {} differ by dialect ({ids})", self.differing));
        }
        if self.skipped == 0 {
            let covered = self.rules - self.uncovered.len();
            line.push_str(&format!(" · {covered} of {} rules covered", self.rules));
        }
        println!("{line} · {} ms", self.elapsed_ms);
    }

    fn json(&self, folder: &str) -> serde_json::Value {
        let failure = |failure: &Failure| {
            serde_json::json!({
                "line": failure.row.line,
                "tenant": failure.tenant,
                "subject": failure.row.request.subject.id,
                "resource": failure.row.request.resource.id,
                "action": failure.row.request.action,
                "expected": if failure.row.expect_allow { "allow" } else { "deny" },
                "got": failure.got,
                "reason": failure.reason.name(),
                "what": failure.what,
                "rule": failure.rule.as_ref().map(|(line, _)| format!("policy.csv:{line}")),
                "role_path": failure.role_path,
            })
        };
        let uncovered =
            |(line, text): &(u32, String)| serde_json::json!({"line": line, "rule": text});
        serde_json::json!({
            "folder": folder,
            "passed": self.passed,
            "failed": self.failures.len(),
            "skipped": self.skipped,
            "failures": self.failures.iter().map(failure).collect::<Vec<_>>(),
            "casbin": {
                "agreed": self.agreed,
                "differing": self.differing,
                "differences": if self.differing > 0 { self.dialect_ids.as_slice() } else { &[] },
                "not_comparable": self.not_comparable,
            },
            "rules": self.rules,
            "coverage_percent": self.coverage_percent(),
            "uncovered": self.uncovered.iter().map(uncovered).collect::<Vec<_>>(),
            "elapsed_ms": self.elapsed_ms,
        })
    }
}
