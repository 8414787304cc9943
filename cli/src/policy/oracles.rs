//! What casbin says about a test row, and our own engine in casbin's dialect.

use serde_json::{Map, Value as Json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tollgate_engine::cell::TableSecret;
use tollgate_engine::{
    Binding, CellHost, Cells, Dialect, Model, Now, Part, PolicySet, Quotas, Request, Rows, Scratch,
    Source, TenantState, Value, Version,
};
use tollgate_oracle::{Answer, CasbinRs};

/// Both oracles for one tenant's rows.
pub(crate) struct Oracles {
    casbin: CasbinRs,
    ours: TenantState,
    binding: Binding,
}

/// How the three answers to one row compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Agreement {
    Agrees,
    /// casbin errs or lacks the feature, or cannot be asked this request.
    NotComparable(String),
    /// casbin and our casbin-rs dialect part: a defect of ours.
    OurDefect {
        casbin: bool,
        ours: bool,
    },
    /// Only the dialects part.
    DialectsDiffer {
        casbin: bool,
    },
}

impl Oracles {
    /// Loads a tenant's rows into both; a sentence if either refuses them.
    pub(crate) fn load(
        model_text: &str,
        rows: &Rows<'_>,
        model: &Model,
        binding: &Binding,
    ) -> Result<Oracles, String> {
        if model.dialect == Dialect::CasbinGo {
            return Err("it answers as Casbin for Go, which only `make parity-go` asks".to_owned());
        }
        let policy = render(rows, model);
        let casbin = CasbinRs::load(model_text, &policy)?;
        let model_source = Source { file: "model.conf", text: model_text };
        let rows_source = Source { file: "policy.csv", text: &policy };
        let ours = PolicySet::from_texts(model_source, rows_source, Dialect::CasbinRs, 1).map_err(
            |found| {
                let first = found.iter().next();
                first.map_or(String::new(), |finding| finding.message.clone())
            },
        )?;
        let ours = Arc::new(ours);
        let ours = TenantState::link("", Version::default(), ours, binding, Quotas::none());
        Ok(Oracles { casbin, ours, binding: binding.clone() })
    }

    /// Nanoseconds that casbin takes for a request, the least of those within a time; `None` if it cannot be asked.
    pub(crate) fn time_casbin(&self, request: &Request<'_>, within: Duration) -> Option<f64> {
        let tuple = self.tuple(request).ok()?;
        let (began, mut least) = (Instant::now(), f64::INFINITY);
        while began.elapsed() < within {
            let start = Instant::now();
            if let Answer::Failed(_) = self.casbin.ask(&tuple) {
                return None;
            }
            least = least.min(start.elapsed().as_secs_f64() * 1e9);
        }
        Some(least)
    }

    /// Compares our strict answer with theirs.
    pub(crate) fn compare(&self, request: &Request<'_>, strict: bool) -> Agreement {
        let tuple = match self.tuple(request) {
            Ok(tuple) => tuple,
            Err(why) => return Agreement::NotComparable(why),
        };
        let casbin = match self.casbin.ask(&tuple) {
            Answer::Allow => true,
            Answer::Deny => false,
            Answer::Failed(why) => return Agreement::NotComparable(why),
        };
        let decision = self.ours.decide(&no_cells(), request, Now(0), &mut Scratch::default());
        let ours = decision.is_allow();
        match (casbin == ours, casbin == strict) {
            (false, _) => Agreement::OurDefect { casbin, ours },
            (true, true) => Agreement::Agrees,
            (true, false) => Agreement::DialectsDiffer { casbin },
        }
    }

    /// The request as casbin takes it: a string where the model reads the token itself, an object
    /// where it reads attributes. A token read both ways cannot be asked.
    fn tuple(&self, request: &Request<'_>) -> Result<Vec<Json>, String> {
        let slots = self.ours.policy().slots();
        let token = |(index, part): (usize, &Part)| {
            let used = |bare: bool| {
                slots
                    .iter()
                    .any(|slot| slot.token == index && !slot.probe && slot.path.is_empty() == bare)
            };
            match (used(true), used(false)) {
                (true, true) => Err("one token is read as a name and as an object".to_owned()),
                (false, true) => object(request, *part),
                _ => Ok(Json::from(bare(request, *part))),
            }
        };
        self.binding.parts.iter().enumerate().map(token).collect()
    }
}

fn bare<'a>(request: &Request<'a>, part: Part) -> &'a str {
    match part {
        Part::Subject => request.subject.id,
        Part::Resource => request.resource.id,
        Part::Action => request.action,
        Part::Tenant => request.tenant,
        Part::Context => "",
    }
}

fn object(request: &Request<'_>, part: Part) -> Result<Json, String> {
    let mut members = Map::new();
    let entity = match part {
        Part::Subject => Some(request.subject),
        Part::Resource => Some(request.resource),
        _ => None,
    };
    if let Some(entity) = entity {
        members.insert("id".to_owned(), Json::from(entity.id));
        members.insert("type".to_owned(), Json::from(entity.kind));
    }
    for attribute in request.attributes.iter().filter(|attribute| attribute.part == part) {
        let mut place = &mut members;
        let mut names = attribute.path.split('.').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                place.insert(name.to_owned(), value(&attribute.value)?);
                break;
            }
            let below = place.entry(name).or_insert_with(|| Json::Object(Map::new()));
            let Some(object) = below.as_object_mut() else { break };
            place = object;
        }
    }
    Ok(Json::Object(members))
}

fn value(value: &Value<'_>) -> Result<Json, String> {
    Ok(match value {
        Value::Missing | Value::Null => Json::Null,
        Value::Bool(bool) => Json::from(*bool),
        Value::Int(int) => Json::from(*int),
        Value::Dec { .. } => return Err("casbin has no decimals".to_owned()),
        Value::Str(text) => Json::from(*text),
        Value::List(items) => items.iter().map(self::value).collect::<Result<_, _>>()?,
    })
}

/// Rows as casbin reads them: every cell that needs it in quotes.
fn render(rows: &Rows<'_>, model: &Model) -> String {
    let cell = |cell: &&str| match cell.contains([',', ' ']) || cell.is_empty() {
        true => format!("\"{cell}\""),
        false => (*cell).to_owned(),
    };
    let mut text = String::new();
    let mut line = |ptype: &str, cells: &[&str]| {
        let cells: Vec<String> = cells.iter().map(cell).collect();
        text.push_str(&format!("{ptype}, {}\n", cells.join(", ")));
    };
    rows.rules.iter().for_each(|row| line("p", &row.cells));
    for (links, role) in rows.links.iter().zip(&model.roles) {
        links.iter().for_each(|row| line(&role.name, &row.cells));
    }
    for (rules, context) in rows.contexts.iter().zip(&model.contexts) {
        rules.iter().for_each(|row| line(&context.model.prefixes.1, &row.cells));
    }
    text
}

struct NoLocks;

impl CellHost for NoLocks {
    fn locked(&self, _stripe: usize, work: &mut dyn FnMut()) {
        work();
    }
}

/// A table without cells: policy tests ask no limits.
pub(crate) fn no_cells() -> Cells<'static> {
    static SECRET: TableSecret = TableSecret::new([0, 0]);
    Cells::new(&[], &SECRET, &NoLocks)
}
