//! `tollgate import casbin`: a Casbin model and policy to a case folder, with a report of what differs.

use crate::draw;
use crate::exit::Exit;
use crate::import::read;
use crate::policy::enforce::dialect;
use crate::policy::oracles::{Agreement, Oracles};
use std::fmt::Write;
use std::path::PathBuf;
use tollgate_engine::universe::{Choice, Universe};
use tollgate_engine::{
    Binding, Code, Diagnostics, Dialect, ENFORCE_CONTEXT, Entity, Model, Now, Part, Request, Rows,
    Scratch, Source, TenantState, Version, bind, parse_model, parse_rows, split,
};
use tollgate_proto::bundle::{self, File, Folder, Options};
use tollgate_proto::lint::lint_files;

/// Rows of tests.yaml that are written of each answer.
const TESTS_OF_AN_ANSWER: usize = 12;
/// Requests that are tried to find them.
const TRIED_MAX: usize = 5_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Casbin's model.conf
    #[arg(short = 'm', long, value_name = "FILE")]
    model: PathBuf,
    /// Casbin's policy.csv
    #[arg(short = 'p', long, value_name = "FILE")]
    policy: PathBuf,
    /// Whose answers the folder shall give: strict, casbin-rs or casbin-go. The first that loads if not said
    #[arg(long, value_name = "DIALECT", value_parser = dialect)]
    dialect: Option<Dialect>,
    /// The folder to make
    dir: PathBuf,
}

/// What is written.
struct Case {
    name: String,
    model: String,
    policy: String,
    dialect: Dialect,
    bind: Vec<(String, Part)>,
}

pub(super) fn import(arguments: &Arguments) -> Result<String, (Exit, String)> {
    let shown = arguments.dir.display();
    let is_empty = std::fs::read_dir(&arguments.dir).map_or(true, |mut dir| dir.next().is_none());
    if !is_empty {
        return Err((Exit::Usage, format!("{shown} is not empty; name a new folder")));
    }
    let (model, policy) = (read(&arguments.model)?, read(&arguments.policy)?);
    let name = arguments.dir.file_name().map_or("imported".into(), |name| name.to_string_lossy());
    let (case, folder) = load(&name, &model, &policy, arguments.dialect)?;
    let report = report(&case, arguments.dialect);
    let tests = case.tests(&folder);
    let files = [
        ("model.conf", case.model.clone()),
        ("policy.csv", case.policy.clone()),
        ("tenant.toml", case.tenant_file()),
        ("tests.yaml", tests.clone()),
        ("README.md", format!("# {}\n\n{}", case.name, report)),
    ];
    let written: Vec<_> = files.iter().filter(|(_, text)| !text.is_empty()).collect();
    let outcome = std::fs::create_dir_all(&arguments.dir).and_then(|()| {
        written.iter().try_for_each(|(name, text)| std::fs::write(arguments.dir.join(name), text))
    });
    outcome.map_err(|error| (Exit::Usage, format!("{shown}: {error}")))?;
    let next = if tests.is_empty() { "lint" } else { "test" };
    Ok(format!(
        "{report}\n{shown}: {} files\nNext: tollgate policy {next} {shown}\n",
        written.len()
    ))
}

/// In the dialect that is asked for, or the first in which it loads.
fn load(
    name: &str,
    model: &str,
    policy: &str,
    asked: Option<Dialect>,
) -> Result<(Case, Folder), (Exit, String)> {
    let mut refused = None;
    let all = [Dialect::Strict, Dialect::CasbinRs, Dialect::CasbinGo];
    for dialect in all.into_iter().filter(|one| asked.is_none_or(|asked| asked == *one)) {
        let bind = guessed(model, dialect);
        let case = Case {
            name: name.to_owned(),
            model: model.to_owned(),
            policy: policy.to_owned(),
            dialect,
            bind,
        };
        match case.compile() {
            Ok(folder) => return Ok((case, folder)),
            Err(found) => {
                refused.get_or_insert(found);
            }
        }
    }
    let found = refused.unwrap_or_default();
    draw::show(&found, &|path| {
        let text = if path.ends_with("model.conf") { model } else { policy };
        Some(text.to_owned())
    });
    Err((Exit::DoesNotLoad, draw::count_line(&found)))
}

/// Parts for tokens whose names say nothing: Casbin binds by position, and most ask (who, what, how).
fn guessed(model: &str, dialect: Dialect) -> Vec<(String, Part)> {
    let source = Source { file: "model.conf", text: model };
    let Ok(model) = parse_model(source, dialect) else { return Vec::new() };
    let mut bound = Vec::new();
    for tokens in
        std::iter::once(&model.request).chain(model.contexts.iter().map(|c| &c.model.request))
    {
        let mut free: Vec<Part> =
            [Part::Subject, Part::Resource, Part::Action, Part::Context].into();
        free.retain(|part| !tokens.iter().any(|token| Part::from_name(token) == Some(*part)));
        let mut free = free.into_iter();
        for token in tokens.iter().filter(|token| Part::from_name(token).is_none()) {
            if let Some(part) =
                free.next().filter(|_| !bound.iter().any(|(known, _)| known == token))
            {
                bound.push((token.clone(), part));
            }
        }
    }
    bound
}

impl Case {
    fn tenant_file(&self) -> String {
        let mut text = String::new();
        if self.dialect != Dialect::Strict {
            let _ = writeln!(text, "dialect = \"{}\"", self.dialect.name());
        }
        if !self.bind.is_empty() {
            text.push_str("[bind]\n");
            for (token, part) in &self.bind {
                let _ = writeln!(text, "{token} = \"{}\"", part.name());
            }
        }
        text
    }

    fn with_files<T>(&self, ask: impl FnOnce(&[File<'_>]) -> T) -> T {
        let tenant = self.tenant_file();
        ask(&[
            File { path: "model.conf", bytes: self.model.as_bytes() },
            File { path: "policy.csv", bytes: self.policy.as_bytes() },
            File { path: "tenant.toml", bytes: tenant.as_bytes() },
        ])
    }

    fn compile(&self) -> Result<Folder, Diagnostics> {
        let options = Options::new(u64::from(std::process::id()), Version::default());
        self.with_files(|files| bundle::from_files(&self.name, files, options))
    }

    /// Requests that casbin and the folder answer alike, as tests.yaml.
    fn tests(&self, folder: &Folder) -> String {
        let source = Source { file: "model.conf", text: &self.model };
        let rows_source = Source { file: "policy.csv", text: &self.policy };
        let parts = parse_model(source, self.dialect).and_then(|model| {
            let rows = parse_rows(rows_source, &model)?;
            let binding = bind(&model, &self.bind, source)?;
            let parts = split(&model, &binding, rows, &self.name, source)?;
            Ok((model, binding, parts))
        });
        let Ok((model, binding, parts)) = parts else { return String::new() };
        let mut lines = Vec::new();
        for state in &folder.tenants {
            if let Some(rows) = parts.get(state.name()) {
                lines.extend(self.tests_of(state, rows, &model, &binding));
            }
        }
        match lines.is_empty() {
            true => String::new(),
            false => format!("# What casbin answers, too.\ntests:\n{}", lines.concat()),
        }
    }

    fn tests_of(
        &self,
        state: &TenantState,
        rows: &Rows<'_>,
        model: &Model,
        binding: &Binding,
    ) -> Vec<String> {
        let Ok(oracles) = Oracles::load(&self.model, rows, model, binding) else {
            return Vec::new();
        };
        let universe = Universe::of(state);
        let is_attribute = |path: &str| !path.is_empty() && path != ENFORCE_CONTEXT;
        if universe.places.keys().any(|(_, path)| is_attribute(path)) {
            return Vec::new();
        }
        let names = |part: Part| -> Vec<String> {
            let place = universe.places.get(&(part, String::new()));
            let text = |choice: &Choice| match choice {
                Choice::Text(text) if !text.is_empty() && text != "*" => Some(text.clone()),
                _ => None,
            };
            let mut names: Vec<String> = place.into_iter().flatten().filter_map(text).collect();
            names.sort_by_key(|name| universe.roles.contains(name));
            if names.is_empty() { vec!["any".to_owned()] } else { names }
        };
        let (subjects, resources, actions) =
            (names(Part::Subject), names(Part::Resource), names(Part::Action));
        let has_tenants = binding.tenant_token().is_some() && self.dialect == Dialect::Strict;
        let (mut allowed, mut denied) = (Vec::new(), Vec::new());
        let (resources, actions) = (&resources, &actions);
        let of = |subject| {
            resources.iter().flat_map(move |resource| {
                actions.iter().map(move |action| (subject, resource, action))
            })
        };
        let all = subjects.iter().flat_map(of);
        for (subject, resource, action) in all.take(TRIED_MAX) {
            let entity = |id| Entity { id, kind: "" };
            let (subject_entity, resource_entity) =
                (entity(subject.as_str()), entity(resource.as_str()));
            let request = Request {
                tenant: state.name(),
                subject: subject_entity,
                resource: resource_entity,
                action,
                attributes: &[],
                amounts: None,
                reserve: None,
            };
            let is_allow =
                state.decide_policy(&request, Now(0), &mut Scratch::default()).is_allow();
            let list = if is_allow { &mut allowed } else { &mut denied };
            if list.len() >= TESTS_OF_AN_ANSWER
                || oracles.compare(&request, is_allow) != Agreement::Agrees
            {
                continue;
            }
            let json = |text: &str| serde_json::Value::from(text).to_string();
            let tenant = if has_tenants {
                format!("tenant: {}, ", json(state.name()))
            } else {
                String::new()
            };
            list.push(format!(
                "  - {{{tenant}subject: {}, resource: {}, action: {}, expect: {}}}\n",
                json(subject),
                json(resource),
                json(action),
                if is_allow { "allow" } else { "deny" }
            ));
        }
        allowed.extend(denied);
        allowed
    }
}

/// What somebody who comes from Casbin should know about this policy.
fn report(case: &Case, asked: Option<Dialect>) -> String {
    let mut out = format!("Imported from Casbin, in the dialect `{}`.\n", case.dialect.name());
    if case.dialect.is_casbin() && asked.is_none() {
        out.push_str("It does not load in `strict`; the differences below say why.\n");
    }
    for (token, part) in &case.bind {
        let _ = writeln!(
            out,
            "`{token}` is taken for the {}: change it in tenant.toml if it is not.",
            part.name()
        );
    }
    let found = case.with_files(|files| lint_files(&case.name, files)).unwrap_or_default();
    let (differences, others): (Vec<_>, Vec<_>) =
        found.iter().partition(|one| one.code == Code::DialectDifference);
    match differences.is_empty() {
        true => out.push_str("All dialects answer alike here.\n"),
        false => out.push_str("Where the dialects may answer differently:\n"),
    }
    for one in differences {
        let _ = writeln!(out, "- {}:{}: {}", one.file, one.span.line, one.message);
    }
    if !others.is_empty() {
        let _ = writeln!(out, "{} more findings: tollgate policy lint", others.len());
    }
    out
}
