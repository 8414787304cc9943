//! `tollgate policy enforce`: the raw Casbin tuple, in the shape of Casbin's own tools.

use crate::draw;
use crate::exit::{Exit, fail};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use tollgate_engine::{
    Binding, Code, Diagnostic, Diagnostics, Dialect, Model, Now, Part, PolicySet, Row, Source,
    Value, Verdict, parse_model, parse_rows, split,
};
use tollgate_proto::json;
use tollgate_proto::tree::Tree;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The model.conf
    #[arg(short = 'm', long)]
    model: PathBuf,
    /// The policy.csv; without it the policy is empty
    #[arg(short = 'p', long)]
    policy: Option<PathBuf>,
    /// Whose answers: strict, casbin-rs or casbin-go
    #[arg(long, default_value = "strict", value_parser = dialect)]
    dialect: Dialect,
    /// Ask the model's context of this number: 2 for the matcher m2
    #[arg(long, value_name = "NUMBER")]
    context: Option<String>,
    /// Ask as if it were this time (RFC 3339); only role links that hold for a time look at it
    #[arg(long, value_name = "TIME")]
    at: Option<jiff::Timestamp>,
    /// Read one JSON array a line from FILE, or from stdin if it is `-`
    #[arg(long, value_name = "FILE", conflicts_with = "arguments")]
    requests: Option<PathBuf>,
    /// The request tuple; an argument that begins with `{` is a JSON object
    #[arg(value_name = "ARG", allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn dialect(name: &str) -> Result<Dialect, String> {
    Dialect::from_name(name).ok_or_else(|| format!("one of {}", Dialect::NAMES.join(", ")))
}

/// What a line could not be answered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineError {
    MalformedJson,
    ArgumentCount,
    Invalid,
}

impl LineError {
    fn code(self) -> &'static str {
        match self {
            LineError::MalformedJson => "malformed-json",
            LineError::ArgumentCount => "argument-count",
            LineError::Invalid => "invalid",
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let policies = match load(arguments) {
        Ok(policies) => policies,
        Err(exit) => return exit,
    };
    if let Some(requests) = &arguments.requests {
        return answer_lines(&policies, requests);
    }
    let mut tuple = Vec::new();
    for argument in &arguments.arguments {
        tuple.push(match argument.starts_with('{') {
            false => Tree::Str(argument.as_str().into()),
            true => match json::parse(argument.as_bytes()) {
                Ok(tree) => tree,
                Err(error) => return fail(Exit::Usage, format!("`{argument}`: {error}")),
            },
        });
    }
    match policies.ask(tuple) {
        Ok(answer) => {
            println!("{}", answer.json());
            if answer.verdict.is_allow() { Exit::Yes } else { Exit::No }
        }
        Err(LineError::ArgumentCount) => {
            let expected = policies.tokens().join(", ");
            let given = arguments.arguments.len();
            fail(Exit::Usage, format!("the request is ({expected}), {given} arguments are given"))
        }
        Err(error) => fail(Exit::Usage, error.code()),
    }
}

fn answer_lines(policies: &Policies, requests: &Path) -> Exit {
    let reader: Box<dyn BufRead> = match requests.to_str() {
        Some("-") => Box::new(std::io::stdin().lock()),
        _ => match std::fs::File::open(requests) {
            Ok(file) => Box::new(std::io::BufReader::new(file)),
            Err(error) => return fail(Exit::Usage, format!("{}: {error}", requests.display())),
        },
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in reader.split(b'\n') {
        let line = match line {
            Ok(line) => line,
            Err(error) => return fail(Exit::Usage, error),
        };
        if line.trim_ascii().is_empty() {
            continue;
        }
        let answer = match json::parse(&line) {
            Ok(Tree::List(tuple)) => policies.ask(tuple),
            Ok(_) => Err(LineError::Invalid),
            Err(_) => Err(LineError::MalformedJson),
        };
        let object = match answer {
            Ok(answer) => answer.json(),
            Err(error) => object(false, &[], Some(error.code())),
        };
        if std::io::Write::write_fmt(&mut out, format_args!("{object}\n")).is_err() {
            return Exit::No;
        }
    }
    match std::io::Write::flush(&mut out) {
        Ok(()) => Exit::Yes,
        Err(error) => fail(Exit::No, error),
    }
}

/// The compiled policies of one model, by tenant where the model has tenants.
struct Policies {
    model: Model,
    /// Position of the context that is asked.
    context: Option<usize>,
    now: Now,
    tenant_token: Option<usize>,
    sets: BTreeMap<String, PolicySet>,
    /// Rows as written, by line: a row of `*` is compiled under each tenant's own name.
    written: BTreeMap<u32, Vec<String>>,
}

struct Answer {
    verdict: Verdict,
    /// Cells of the deciding row.
    explain: Vec<String>,
}

impl Answer {
    fn json(&self) -> String {
        match self.verdict {
            Verdict::Error { .. } => object(false, &[], Some("policy-error")),
            verdict => object(verdict.is_allow(), &self.explain, None),
        }
    }
}

/// `{"allow":…,"explain":[…],"error":…}` in this order, the error only where there is one.
fn object(allow: bool, explain: &[String], error: Option<&str>) -> String {
    let explain = serde_json::Value::from(explain);
    let error = error.map_or(String::new(), |code| format!(",\"error\":\"{code}\""));
    format!("{{\"allow\":{allow},\"explain\":{explain}{error}}}")
}

fn load(arguments: &Arguments) -> Result<Policies, Exit> {
    let read = |path: &Path| {
        std::fs::read(path)
            .map_err(|error| fail(Exit::Usage, format!("{}: {error}", path.display())))
    };
    let model_path = arguments.model.display().to_string();
    let policy_path = arguments
        .policy
        .as_ref()
        .map_or("policy.csv".to_owned(), |path| path.display().to_string());
    let model_bytes = read(&arguments.model)?;
    let policy_bytes = arguments.policy.as_deref().map_or(Ok(Vec::new()), read)?;
    let texts = |path: &str| {
        let bytes = if path == model_path { &model_bytes } else { &policy_bytes };
        Some(String::from_utf8_lossy(bytes).into_owned())
    };
    let model = text(&model_path, &model_bytes);
    let policy = text(&policy_path, &policy_bytes);
    let sources = match (model, policy) {
        (Ok(model), Ok(policy)) => Ok((model, policy)),
        (Err(found), _) | (_, Err(found)) => Err(found),
    };
    sources.and_then(|(model, policy)| compile(model, policy, arguments)).map_err(|found| {
        draw::show(&found, &texts);
        eprintln!("{}", draw::count_line(&found));
        Exit::DoesNotLoad
    })
}

fn text<'a>(file: &'a str, bytes: &'a [u8]) -> Result<Source<'a>, Diagnostics> {
    std::str::from_utf8(bytes).map(|text| Source { file, text }).map_err(|_| {
        let source = Source { file, text: "" };
        let mut found = Diagnostics::default();
        let message = "the file is not UTF-8".to_owned();
        found.push(Diagnostic::error(source, source.span(0, 0), Code::NotUtf8, message));
        found
    })
}

fn compile(
    model_source: Source<'_>,
    rows_source: Source<'_>,
    arguments: &Arguments,
) -> Result<Policies, Diagnostics> {
    let model: Model = parse_model(model_source, arguments.dialect)?;
    let rows = parse_rows(rows_source, &model)?;
    let part = |token: &String| Part::from_name(token).unwrap_or(Part::Context);
    let parts = |model: &Model| model.request.iter().map(part).collect::<Vec<_>>();
    let contexts = model.contexts.iter().map(|context| parts(&context.model)).collect();
    let binding = Binding { parts: parts(&model), contexts };
    let context = match &arguments.context {
        Some(name) => Some(context_of(&model, name, model_source)?),
        None => None,
    };
    let asked = context.and_then(|at| binding.contexts.get(at)).unwrap_or(&binding.parts);
    let tenant_token = (asked.iter().position(|part| *part == Part::Tenant))
        .filter(|_| arguments.dialect == Dialect::Strict);
    let cells = |row: &Row<'_>| row.cells.iter().map(|cell| (*cell).to_owned()).collect();
    let rules = rows.rules.iter().chain(rows.contexts.iter().flatten());
    let written = rules.map(|row| (row.line, cells(row))).collect();
    let mut sets = BTreeMap::new();
    for (tenant, rows) in split(&model, &binding, rows, "", model_source)? {
        let seed = u64::from(std::process::id());
        sets.insert(tenant, PolicySet::compile(&model, &rows, (model_source, rows_source), seed)?);
    }
    let at = arguments.at.unwrap_or_else(jiff::Timestamp::now);
    let now = Now(u64::try_from(at.as_nanosecond()).unwrap_or(0));
    Ok(Policies { model, context, now, tenant_token, sets, written })
}

fn context_of(model: &Model, name: &str, source: Source<'_>) -> Result<usize, Diagnostics> {
    let position = model.contexts.iter().position(|context| context.name == name);
    position.ok_or_else(|| {
        let mut found = Diagnostics::default();
        let message = format!("the model has no context `{name}`: no matcher `m{name}`");
        let span = source.span(0, 0);
        found.push(Diagnostic::error(source, span, Code::MissingSection, message));
        found
    })
}

impl Policies {
    /// The tokens of the request that is asked.
    fn tokens(&self) -> &[String] {
        let context = self.context.and_then(|at| self.model.contexts.get(at));
        context.map_or(&self.model.request, |context| &context.model.request)
    }

    fn ask(&self, tuple: Vec<Tree<'_>>) -> Result<Answer, LineError> {
        if tuple.len() != self.tokens().len() {
            return Err(LineError::ArgumentCount);
        }
        let tenant = self.tenant_token.and_then(|token| tuple.get(token)).and_then(Tree::as_str);
        let tenant = tenant.unwrap_or("").to_owned();
        let mut leaves: Vec<Vec<(Cow<'_, str>, Tree<'_>)>> = Vec::new();
        for argument in tuple {
            leaves.push(argument.flatten().map_err(|_| LineError::Invalid)?);
        }
        let whole = self.sets.get(&tenant);
        let set = match self.context {
            Some(context) => whole.and_then(|set| Some(set.context_at(context)?.0)),
            None => whole,
        };
        let Some(set) = set else {
            return Ok(Answer { verdict: Verdict::NoRule, explain: Vec::new() });
        };
        let leaf = |slot: &tollgate_engine::Slot| {
            let leaves = leaves.get(slot.token)?;
            leaves.iter().find(|(path, _)| *path == slot.path).map(|(_, leaf)| leaf)
        };
        let lists: Vec<Vec<Value<'_>>> = (set.slots().iter())
            .map(|slot| match leaf(slot) {
                Some(Tree::List(items)) => items.iter().filter_map(Tree::scalar).collect(),
                _ => Vec::new(),
            })
            .collect();
        let values: Vec<Value<'_>> = (set.slots().iter().zip(&lists))
            .map(|(slot, list)| match leaf(slot) {
                None => Value::Missing,
                Some(leaf) => leaf.scalar().unwrap_or(Value::List(list)),
            })
            .collect();
        let verdict = set.evaluate(&values, self.now);
        let explain = verdict
            .rule()
            .and_then(|rule| self.written.get(&set.rule_line(rule)).cloned())
            .unwrap_or_default();
        Ok(Answer { verdict, explain })
    }
}
