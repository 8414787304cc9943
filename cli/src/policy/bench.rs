//! `tollgate policy bench DIR`: how long the requests of tests.yaml take to decide, on this machine, beside casbin.

use super::oracles::{Oracles, no_cells};
use crate::draw;
use crate::exit::{Exit, fail};
use crate::folder::FolderFiles;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tollgate_engine::{
    Diagnostics, Now, Scratch, Source, TenantState, Version, bind, parse_model, parse_rows, split,
};
use tollgate_proto::bundle::{self, Options};
use tollgate_proto::tests_file::TestRow;

/// What one request is timed for, by each engine.
const PER_REQUEST: Duration = Duration::from_millis(20);
/// Decisions between two looks at the clock: one look costs as much as a tenth of a decision.
const AT_ONCE: u32 = 64;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The policy folder
    dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Nanoseconds of each request, sorted.
struct Times(Vec<f64>);

impl Times {
    fn percentile(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a position in a list of test rows"
        )]
        let at = (last as f64 * share).round() as usize;
        self.0.get(at).copied().unwrap_or(f64::NAN)
    }
}

struct Measured {
    rules: usize,
    ours: Times,
    casbin: Times,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let shown = arguments.dir.display();
    let files = match FolderFiles::read(&arguments.dir) {
        Ok(files) => files,
        Err(error) => return fail(Exit::Usage, format!("{shown}: {error}")),
    };
    let measured = match measure(&files) {
        Ok(measured) => measured,
        Err(found) => {
            draw::show(&found, &|path| files.text(path));
            eprintln!("{}", draw::count_line(&found));
            return Exit::DoesNotLoad;
        }
    };
    if measured.ours.0.is_empty() {
        return fail(Exit::No, format!("{shown}: no tests.yaml with a row to time"));
    }
    let Measured { rules, ours, casbin } = &measured;
    let (p50, p99) = (ours.percentile(0.5), ours.percentile(0.99));
    let theirs = (!casbin.0.is_empty()).then(|| casbin.percentile(0.5));
    if arguments.json {
        let json = serde_json::json!({
            "folder": arguments.dir, "rules": rules, "requests": ours.0.len(),
            "tollgate": {"p50_ns": p50.round(), "p99_ns": p99.round()},
            "casbin": theirs.map(|p50| serde_json::json!({"p50_ns": p50.round()})),
            "casbin_over_tollgate": theirs.map(|theirs| (theirs / p50).round()),
        });
        println!("{json}");
        return Exit::Yes;
    }
    println!("{shown}: {} requests, {rules} rules", ours.0.len());
    println!(
        "  tollgate  p50 {p50:.0} ns   p99 {p99:.0} ns   {:.1} M decisions/s on one thread",
        1e3 / p50
    );
    if let Some(theirs) = theirs {
        println!("  casbin    p50 {theirs:.0} ns   {:.0} times ours", theirs / p50);
    }
    Exit::Yes
}

fn measure(folder: &FolderFiles) -> Result<Measured, Diagnostics> {
    let files = folder.files();
    let policy: Vec<_> =
        files.iter().filter(|f| !f.path.ends_with("limits.toml")).copied().collect();
    let compiled = bundle::from_files(&folder.name, &policy, Options::new(1, Version::default()))?;
    let suite = bundle::suite(&files)?.unwrap_or_default();
    let source = |name| folder.text_of(name).map(|(file, text)| Source { file, text });
    let (Some(model_source), Some(rows_source)) = (source("model.conf"), source("policy.csv"))
    else {
        return Err(Diagnostics::default());
    };
    let model = parse_model(model_source, compiled.tenant_file.dialect)?;
    let rows = parse_rows(rows_source, &model)?;
    let binding = bind(&model, &compiled.tenant_file.bind, model_source)?;
    let name = compiled.tenant_file.tenant.as_deref().unwrap_or(&folder.name);
    let parts = split(&model, &binding, rows, name, model_source)?;
    let (mut ours, mut casbin) = (Vec::new(), Vec::new());
    for state in &compiled.tenants {
        let theirs = parts
            .get(state.name())
            .map(|rows| Oracles::load(model_source.text, rows, &model, &binding));
        for row in &suite.tests {
            let is_its = row.request.tenant == state.name()
                || (row.request.tenant.is_empty() && compiled.tenants.len() == 1);
            if is_its {
                ours.push(time_ours(state, row));
                let asked = theirs.as_ref().and_then(|oracles| oracles.as_ref().ok());
                casbin.extend(asked.and_then(|oracles| {
                    row.request.with(|request| oracles.time_casbin(request, PER_REQUEST))
                }));
            }
        }
    }
    let sorted = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        Times(times)
    };
    let rules = compiled.tenants.iter().map(|state| state.policy().rule_count()).sum();
    Ok(Measured { rules, ours: sorted(ours), casbin: sorted(casbin) })
}

/// Nanoseconds of one decision: the least of many averages, which noise only adds to.
fn time_ours(state: &TenantState, row: &TestRow) -> f64 {
    let mut scratch = Scratch::default();
    let cells = no_cells();
    row.request.with(|request| {
        let (began, mut least) = (Instant::now(), f64::INFINITY);
        while began.elapsed() < PER_REQUEST {
            let start = Instant::now();
            for _ in 0..AT_ONCE {
                std::hint::black_box(state.decide(&cells, request, Now(1), &mut scratch));
            }
            least = least.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(AT_ONCE));
        }
        least
    })
}
