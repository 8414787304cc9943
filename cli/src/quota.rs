//! `tollgate quota`: how the limits of the running sidecar stand, which of them would bind a request, and giving back.

use crate::check::Question;
use crate::client;
use crate::exit::{Exit, fail};
use crate::explain;
use crate::places::Places;
use crate::status;
use serde_json::Value as Json;
use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Duration;
use tollgate_proto::frame::{kind, put_frame};
use tollgate_proto::quota::{CounterBody, QuotaAsked, QuotaBody, RegionBody};

/// Between two looks of `top`.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Clears a terminal and goes to its corner.
const CLEAR: &str = "\x1b[2J\x1b[H";

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Follow the counters of the newest decisions, the fullest first
    Top(Top),
    /// Show how one counter stands
    Show(Show),
    /// Change one counter: give back what it used, or a part of it
    Set(Set),
    /// Show every limit that would bind a request, and each that would not with its condition; takes nothing
    Explain(Explain),
    /// Look at every counter and reservation of the running sidecar's region; exit 1 if something is wrong
    Doctor(Doctor),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Top {
    /// Counters of this tenant alone
    #[arg(short, long)]
    tenant: Option<String>,
    /// Those alone whose limit or key holds this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    #[arg(long, value_enum, default_value = "left")]
    sort: Sort,
    /// Print them once and end; also where the output is no terminal
    #[arg(long)]
    once: bool,
    /// Print one JSON object a counter
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Sort {
    /// The smallest part left first
    Left,
    /// The most used first
    Used,
    /// By limit and key
    Name,
}

/// One counter.
#[derive(Debug, clap::Args)]
pub(crate) struct One {
    /// Whose limit it is; may be left out if only one tenant is served
    #[arg(short, long)]
    tenant: Option<String>,
    /// The limit's id
    limit: String,
    /// A value for each of the limit's dimensions
    key: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    #[command(flatten)]
    one: One,
    /// Print it as a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Set {
    #[command(flatten)]
    one: One,
    /// Give back all that it used
    #[arg(long, conflicts_with = "give_back", required_unless_present = "give_back")]
    reset: bool,
    /// Give back so many units, at most what it used
    #[arg(long, value_name = "N")]
    give_back: Option<u64>,
    /// Why; it stands in the audit
    #[arg(long)]
    reason: String,
    /// Print how it stands then as a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    question: Question,
    /// Print the explanation as a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// Put right what is wrong; it stands in the audit
    #[arg(long)]
    repair: bool,
    /// Print it as a JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(places: &Places, command: &Command) -> Exit {
    let done = match command {
        Command::Top(arguments) => top(places, arguments),
        Command::Show(Show { one, json }) => show(places, one, *json),
        Command::Set(arguments) => set(places, arguments),
        Command::Explain(Explain { question, json }) => {
            return explain::of_limits(places, question, *json);
        }
        Command::Doctor(arguments) => match doctor(places, arguments) {
            Ok(region) if region.wrong() > 0 && !region.repaired => return Exit::No,
            done => done.map(drop),
        },
    };
    match done {
        Ok(()) => Exit::Yes,
        Err((exit, message)) => fail(exit, message),
    }
}

fn show(places: &Places, one: &One, json: bool) -> Result<(), (Exit, String)> {
    let (tenant, limit, key) = (one.tenant(places)?, one.limit.clone(), one.key.clone());
    print_one(&ask(places, &QuotaAsked::Show { tenant, limit, key })?, json);
    Ok(())
}

fn set(places: &Places, arguments: &Set) -> Result<(), (Exit, String)> {
    let Set { one, give_back, reason, json, .. } = arguments;
    let (tenant, limit, key) = (one.tenant(places)?, one.limit.clone(), one.key.clone());
    let (amount, reason) = (*give_back, reason.clone());
    let asked = QuotaAsked::GiveBack { tenant, limit, key, amount, reason };
    print_one(&ask(places, &asked)?, *json);
    Ok(())
}

impl One {
    fn tenant(&self, places: &Places) -> Result<String, (Exit, String)> {
        match &self.tenant {
            Some(tenant) => Ok(tenant.clone()),
            None => status::only_tenant(places),
        }
    }
}

fn doctor(places: &Places, arguments: &Doctor) -> Result<RegionBody, (Exit, String)> {
    let body = answer(places, &QuotaAsked::Doctor { repair: arguments.repair })?;
    let region = body.region.ok_or_else(unreadable)?;
    match arguments.json {
        true => println!("{}", serde_json::to_value(&region).unwrap_or_default()),
        false => print!("{}", regions(&region)),
    }
    Ok(region)
}

/// A region as people read it.
fn regions(region: &RegionBody) -> String {
    let mut out = format!(
        "{}  {} of {} cells, {} of {} reservations held, {} not in the journal yet, {} attached\n",
        region.path,
        grouped(region.occupied),
        grouped(region.cells),
        grouped(region.held),
        grouped(region.reservations),
        grouped(region.unkept),
        region.members
    );
    let done = if region.repaired { "put right" } else { "--repair puts it right" };
    for (count, what) in [
        (region.half_evicted, "cells that somebody died taking away from their key"),
        (region.doubled, "cells of a key that has another"),
        (region.misplaced, "cells where nobody looks for them"),
        (region.abandoned, "reservations that somebody died working on"),
    ] {
        if count > 0 {
            let _ = writeln!(out, "x {} {what}: {done}", grouped(count));
        }
    }
    if region.wrong() == 0 {
        out.push_str("nothing is wrong\n");
    }
    out
}

fn unreadable() -> (Exit, String) {
    let message = "the sidecar's counters cannot be read; upgrade both";
    (Exit::Unreachable, message.to_owned())
}

fn ask(places: &Places, asked: &QuotaAsked) -> Result<Vec<CounterBody>, (Exit, String)> {
    answer(places, asked).map(|body| body.counters)
}

fn answer(places: &Places, asked: &QuotaAsked) -> Result<QuotaBody, (Exit, String)> {
    let body = serde_json::to_vec(asked).unwrap_or_default();
    let mut frame = Vec::new();
    put_frame(&mut frame, kind::QUOTA, 1, &body);
    let reply = client::exchange(&places.socket(), &frame)?;
    let body = (reply.kind == kind::COUNTERS).then_some(reply.body.as_slice());
    let body = body.and_then(|body| serde_json::from_slice::<QuotaBody>(body).ok());
    match body {
        Some(body) if body.error.is_empty() => Ok(body),
        Some(body) => Err((Exit::Usage, body.error)),
        None => Err(unreadable()),
    }
}

fn print_one(counters: &[CounterBody], json: bool) {
    for counter in counters {
        match json {
            true => println!("{}", as_json(counter)),
            false => print!("{}", table(&[(counter.clone(), None)])),
        }
    }
}

fn as_json(counter: &CounterBody) -> Json {
    serde_json::to_value(counter).unwrap_or_default()
}

/// A counter, and how much it grew in a minute if two looks say so.
type Row = (CounterBody, Option<u64>);

fn top(places: &Places, arguments: &Top) -> Result<(), (Exit, String)> {
    let is_once = arguments.once || !std::io::stdout().is_terminal();
    let asked = QuotaAsked::Top { tenant: arguments.tenant.clone() };
    let mut before: Vec<CounterBody> = Vec::new();
    loop {
        let counters = ask(places, &asked)?;
        let rows = arranged(arguments, &counters, &before);
        match arguments.json {
            true => rows.iter().for_each(|(counter, _)| println!("{}", as_json(counter))),
            false if is_once => print!("{}", table(&rows)),
            false => print!("{CLEAR}{}", table(&rows)),
        }
        if is_once {
            return Ok(());
        }
        before = counters;
        std::thread::sleep(LOOK_INTERVAL);
    }
}

fn arranged(arguments: &Top, counters: &[CounterBody], before: &[CounterBody]) -> Vec<Row> {
    let is_same = |one: &CounterBody, other: &CounterBody| {
        (&one.tenant, &one.limit, &one.key) == (&other.tenant, &other.limit, &other.key)
    };
    let grown = |counter: &CounterBody| {
        let known = before.iter().find(|known| is_same(known, counter))?;
        Some(counter.used.saturating_sub(known.used) * 60 / LOOK_INTERVAL.as_secs())
    };
    let holds = |counter: &&CounterBody| {
        let filter = arguments.filter.as_deref().unwrap_or("");
        counter.limit.contains(filter) || counter.key.iter().any(|value| value.contains(filter))
    };
    let mut rows: Vec<Row> =
        counters.iter().filter(holds).map(|one| (one.clone(), grown(one))).collect();
    rows.sort_by(|(one, _), (other, _)| {
        let part = |left: u64, of: u64| u128::from(left) * u128::from(of);
        let order = match arguments.sort {
            Sort::Left => part(one.remaining, other.of).cmp(&part(other.remaining, one.of)),
            Sort::Used => other.used.cmp(&one.used),
            Sort::Name => std::cmp::Ordering::Equal,
        };
        let name = |row: &CounterBody| (row.tenant.clone(), row.limit.clone(), row.key.clone());
        order.then_with(|| name(one).cmp(&name(other)))
    });
    rows
}

/// `!` under 5 %, `x` empty, `~` shadow.
fn table(rows: &[Row]) -> String {
    let head =
        ["", "TENANT", "LIMIT", "KEY", "USED", "OF", "LEFT", "PER MIN", "RUNS OUT", "RESETS"];
    let mut lines: Vec<Vec<String>> = vec![head.iter().map(|&word| word.to_owned()).collect()];
    for (counter, per_minute) in rows {
        let CounterBody { used, of, remaining, .. } = counter;
        let mark = match (counter.mode.as_str(), remaining) {
            ("shadow", _) => "~",
            (_, 0) => "x",
            _ if u128::from(*remaining) * 20 < u128::from(*of) => "!",
            _ => "",
        };
        let none = || "–".to_owned();
        let runs_out = match (remaining, per_minute) {
            (0, _) => "now".to_owned(),
            (_, Some(grows @ 1..)) => duration(remaining.saturating_mul(60_000) / grows),
            _ => none(),
        };
        lines.push(vec![
            mark.to_owned(),
            counter.tenant.clone(),
            counter.limit.clone(),
            if counter.key.is_empty() { none() } else { counter.key.join(",") },
            grouped(*used),
            grouped(*of),
            grouped(*remaining),
            per_minute.map_or_else(none, |grows| format!("+{}", grouped(grows))),
            runs_out,
            counter.reset_ms.map_or_else(none, duration),
        ]);
    }
    let width = |at: usize| {
        lines.iter().filter_map(|line| line.get(at)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..head.len()).map(|at| width(at).unwrap_or(0)).collect();
    let mut out = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(at, (cell, width))| match at {
            4..=7 => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        let _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    out
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// A time in its two largest units.
fn duration(ms: u64) -> String {
    match ms.div_ceil(1_000) {
        0 => "now".to_owned(),
        seconds @ 1..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        seconds => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_read_at_a_glance() {
        for (number, expected) in
            [(0, "0"), (999, "999"), (1_000, "1 000"), (1_234_567, "1 234 567")]
        {
            assert_eq!(grouped(number), expected);
        }
        for (ms, expected) in [
            (0, "now"),
            (1, "1 s"),
            (59_001, "1 min"),
            (9_720_000, "2 h 42 min"),
            (86_400_000, "1 d 0 h"),
        ] {
            assert_eq!(duration(ms), expected);
        }
    }

    #[test]
    fn a_region_says_what_is_wrong_with_it() {
        let well = RegionBody {
            path: "/run/cells.region".to_owned(),
            members: 2,
            cells: 65_536,
            occupied: 1_200,
            reservations: 16_384,
            held: 3,
            unkept: 0,
            half_evicted: 0,
            doubled: 0,
            misplaced: 0,
            abandoned: 0,
            repaired: false,
        };
        let head = "/run/cells.region  1 200 of 65 536 cells, 3 of 16 384 reservations held, \
                    0 not in the journal yet, 2 attached\n";
        assert_eq!(regions(&well), format!("{head}nothing is wrong\n"));
        let ill = RegionBody { doubled: 2, abandoned: 1, ..well };
        let found = |done: &str| {
            format!(
                "{head}x 2 cells of a key that has another: {done}\n\
                 x 1 reservations that somebody died working on: {done}\n"
            )
        };
        assert_eq!(regions(&ill), found("--repair puts it right"));
        assert_eq!(regions(&RegionBody { repaired: true, ..ill }), found("put right"));
    }

    #[test]
    fn the_fullest_stands_first_and_says_when_it_runs_out() {
        let counter = |limit: &str, used: u64, of: u64, mode: &str| CounterBody {
            tenant: "acme".to_owned(),
            limit: limit.to_owned(),
            meter: "requests".to_owned(),
            mode: mode.to_owned(),
            key: vec!["alice".to_owned()],
            used,
            of,
            remaining: of - used,
            reset_ms: Some(60_000),
        };
        let arguments =
            Top { tenant: None, filter: None, sort: Sort::Left, once: true, json: false };
        let before = [counter("tokens", 900, 1_000, "hard")];
        let now = [
            counter("calls", 1, 10, "shadow"),
            counter("tokens", 960, 1_000, "hard"),
            counter("empty", 5, 5, "hard"),
        ];
        let shown = table(&arranged(&arguments, &now, &before));
        let expected = "   TENANT  LIMIT   KEY    USED     OF  LEFT  PER MIN  RUNS OUT  RESETS\n\
                        x  acme    empty   alice     5      5     0        –  now       1 min\n\
                        !  acme    tokens  alice   960  1 000    40   +3 600  1 s       1 min\n\
                        ~  acme    calls   alice     1     10     9        –  –         1 min\n";
        assert_eq!(shown, expected);
        let named = Top { filter: Some("tok".to_owned()), ..arguments };
        assert_eq!(arranged(&named, &now, &before).len(), 1);
    }
}
