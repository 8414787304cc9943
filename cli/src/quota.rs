//! `tollgate quota`: how the limits of the running sidecar stand, which of them would bind a request, and giving back.

mod keys;
mod screen;
mod top;

use crate::check::Question;
use crate::client;
use crate::exit::{Exit, fail};
use crate::explain;
use crate::places::Places;
use crate::status;
use serde_json::Value as Json;
use std::fmt::Write;
use tollgate_proto::frame::{kind, put_frame};
use tollgate_proto::quota::{CounterBody, QuotaAsked, QuotaBody, RegionBody};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Follow the counters of the newest decisions, the fullest first
    Top(top::Top),
    /// Show how one counter stands
    Show(Show),
    /// Change one counter: give back what it used, or a part of it
    Set(Set),
    /// Show every limit that would bind a request, and each that would not with its condition; takes nothing
    Explain(Explain),
    /// Look at every counter and reservation of the running sidecar's region; exit 1 if something is wrong
    Doctor(Doctor),
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
    #[command(flatten)]
    change: Change,
    /// How long an override holds, such as 90s, 15min, 6h or 30d
    #[arg(long = "for", value_name = "TIME", value_parser = time_ms, requires = "amount")]
    for_ms: Option<u64>,
    /// Why; it stands in the audit
    #[arg(long)]
    reason: String,
    /// Print how it stands then as a JSON object
    #[arg(long)]
    json: bool,
}

/// What is changed; one of these.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Change {
    /// Give back all that it used
    #[arg(long)]
    reset: bool,
    /// Give back so many units, at most what it used
    #[arg(long, value_name = "N")]
    give_back: Option<u64>,
    /// Grant a budget so many units more in its present window
    #[arg(long, value_name = "N")]
    top_up: Option<u64>,
    /// Give a budget this amount instead of its limit's, for the time that --for says
    #[arg(long = "override", value_name = "AMOUNT", id = "amount", requires = "for_ms")]
    amount: Option<u64>,
    /// End its override
    #[arg(long)]
    end_override: bool,
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
        Command::Top(arguments) => top::run(places, arguments),
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
    let Set { one, change, for_ms, reason, json } = arguments;
    let (tenant, limit, key) = (one.tenant(places)?, one.limit.clone(), one.key.clone());
    let reason = reason.clone();
    let asked = match *change {
        Change { top_up: Some(amount), .. } => {
            QuotaAsked::TopUp { tenant, limit, key, amount, reason }
        }
        Change { amount: Some(amount), .. } => {
            let for_ms = for_ms.unwrap_or_default();
            QuotaAsked::Override { tenant, limit, key, amount, for_ms, reason }
        }
        Change { end_override: true, .. } => QuotaAsked::EndOverride { tenant, limit, key, reason },
        Change { give_back: amount, .. } => {
            QuotaAsked::GiveBack { tenant, limit, key, amount, reason }
        }
    };
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
            false => print!("{}", screen::table(&[(counter, None)])),
        }
    }
}

fn as_json(counter: &CounterBody) -> Json {
    serde_json::to_value(counter).unwrap_or_default()
}

/// Milliseconds of a time with its unit.
fn time_ms(text: &str) -> Result<u64, String> {
    let said = || format!("expected a time such as 90s, 15min, 6h or 30d, got `{text}`");
    let units = [("min", 60_000), ("s", 1_000), ("h", 3_600_000), ("d", 86_400_000)];
    let unit = units.into_iter().find_map(|(unit, ms)| Some((text.strip_suffix(unit)?, ms)));
    let (count, ms) = unit.ok_or_else(said)?;
    let ms = count.parse::<u64>().ok().and_then(|count| count.checked_mul(ms));
    ms.filter(|ms| *ms > 0).ok_or_else(said)
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
        1..10 if ms < 10_000 => format!("{}.{} s", ms.div_ceil(100) / 10, ms.div_ceil(100) % 10),
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
    fn a_time_has_a_unit() {
        for (text, expected) in
            [("90s", 90_000), ("15min", 900_000), ("6h", 21_600_000), ("1d", 86_400_000)]
        {
            assert_eq!(time_ms(text), Ok(expected));
        }
        for text in ["", "5", "s", "0s", "-1s", "1.5h", "5m", "99999999999999999999d"] {
            assert!(time_ms(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_and_times_are_read_at_a_glance() {
        for (number, expected) in
            [(0, "0"), (999, "999"), (1_000, "1 000"), (1_234_567, "1 234 567")]
        {
            assert_eq!(grouped(number), expected);
        }
        for (ms, expected) in [
            (0, "now"),
            (1, "0.1 s"),
            (8_901, "9.0 s"),
            (9_901, "10 s"),
            (1_000, "1.0 s"),
            (10_000, "10 s"),
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
}
