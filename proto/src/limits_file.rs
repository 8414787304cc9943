//! limits.toml: limits as data, read into the engine's `Limit`.

mod doubt;

use crate::toml_reader::{At, Table, read};
use doubt::{read_estimate, read_failure_mode};
use tollgate_engine::bounds::DIMENSIONS_MAX;
use tollgate_engine::quota::limit::{Condition, condition_tokens, parse_condition};
use tollgate_engine::quota::window::{Period, WINDOW_SECONDS_MAX, Weekday, Windows};
use tollgate_engine::{
    Binding, Bucket, Budget, Capacity, Code, Diagnostic, Diagnostics, Dimension, Limit, Mode,
    Model, Part, Source, Span, Stage,
};

const KEYS: &[&str] = &[
    "id",
    "meter",
    "bucket",
    "budget",
    "default_amount",
    "dimensions",
    "when",
    "mode",
    "stage",
    "warn_at",
    "overdraft",
    "failure_mode",
    "estimate",
    "description",
];
const UNITS: &[(&str, u64)] = &[("s", 1), ("min", 60), ("h", 3_600), ("d", 86_400)];
const SECOND_NS: u64 = 1_000_000_000;
/// First words of a dimension.
const DIMENSION_PARTS: &[(&str, Part)] = &[
    ("subject", Part::Subject),
    ("resource", Part::Resource),
    ("action", Part::Action),
    ("context", Part::Context),
];

/// Reads limits.toml for a model whose tokens conditions may name.
///
/// # Errors
/// Every mistake in the file.
pub fn read_limits(
    source: Source<'_>,
    model: &Model,
    binding: &Binding,
) -> Result<Vec<Limit>, Diagnostics> {
    let tokens = condition_tokens(model, binding);
    let (limits, _) = read(source, |root| {
        root.known(&["limit"]);
        let mut limits: Vec<Limit> = Vec::new();
        for table in root.tables("limit") {
            let Some(limit) = read_limit(&table, &tokens) else { continue };
            if limits.iter().any(|earlier| earlier.id == limit.id) {
                let message = format!("the limit `{}` is defined twice", limit.id);
                table.report(table.span(), Code::DuplicateLimit, message);
            }
            limits.push(limit);
        }
        Some(limits)
    })?;
    Ok(limits)
}

fn read_limit(table: &Table<'_>, tokens: &[String]) -> Option<Limit> {
    table.known(KEYS);
    let id = name(table, "id");
    let meter = name(table, "meter");
    let is_in_flight = meter.as_deref() == Some("concurrency");
    let capacity = match is_in_flight {
        true => read_in_flight(table),
        false => read_capacity(table),
    };
    let mode = choice(
        table,
        "mode",
        &[("hard", Mode::Hard), ("soft", Mode::Soft), ("shadow", Mode::Shadow)],
    );
    let stage = choice(
        table,
        "stage",
        &[("after-policy", Stage::AfterPolicy), ("before-policy", Stage::BeforePolicy)],
    );
    let default_amount = table.integer("default_amount");
    let overdraft = table.integer("overdraft");
    let warn_at = table.integers("warn_at").unwrap_or_default();
    let percent = |at: &At<u64>| u8::try_from(at.value).unwrap_or(u8::MAX);
    let warn_at = warn_at.iter().map(percent).collect();
    let _ = table.str("description");
    let dimensions = read_dimensions(table, "dimensions");
    let (estimate, failure_mode) = (read_estimate(table), read_failure_mode(table));
    let when = table.str("when").and_then(|when| read_condition(table, &when, tokens));
    let (id, meter, capacity) = (id?, meter?, capacity?);
    let mode = mode.unwrap_or_default();
    let is_counted = meter == "requests" || is_in_flight;
    if !is_counted && default_amount.is_none() && mode == Mode::Hard {
        table.missing("default_amount");
        return None;
    }
    // A hard limit that no request fits is refused; a soft one warns of each.
    let too_much = |amount: &&At<u64>| mode == Mode::Hard && amount.value > capacity.most();
    if let Some(amount) = default_amount.as_ref().filter(too_much) {
        let most = capacity.most();
        let message = format!("an amount of {} never fits: at most {most} is left", amount.value);
        table.report(amount.span, Code::OutOfRange, message);
        return None;
    }
    let (stage, default_amount) = (stage.unwrap_or_default(), default_amount.map(|a| a.value));
    let overdraft_amount = overdraft.as_ref().map_or(0, |overdraft| overdraft.value);
    let limit = Limit {
        id,
        meter,
        capacity,
        dimensions,
        when,
        mode,
        stage,
        default_amount,
        overdraft: overdraft_amount,
        warn_at,
        failure_mode,
        estimate,
    };
    let span = table.has("estimate");
    let refusals = limit.estimate_refusal().map(|refusal| (refusal, span)).or_else(|| {
        let span = table.has("warn_at").or(table.has("overdraft"));
        limit.refusal().map(|refusal| (refusal, span))
    });
    if let Some((refusal, span)) = refusals {
        let span = span.unwrap_or(table.span());
        table.report(span, Code::OutOfRange, refusal);
        return None;
    }
    Some(limit)
}

/// How many requests may be in flight: a budget without a window.
fn read_in_flight(table: &Table<'_>) -> Option<Capacity> {
    if let Some(span) = table.has("bucket") {
        let message = "what is in flight has no rate: `budget = { amount = 5 }`";
        table.report(span, Code::OutOfRange, message.to_owned());
        return None;
    }
    let Some(budget) = table.table("budget") else {
        table.missing("budget");
        return None;
    };
    budget.known(&["amount"]);
    let Some(amount) = budget.integer("amount") else {
        budget.missing("amount");
        return None;
    };
    let windows = Windows::new(Period::Open, "UTC")?;
    let in_flight = Budget { amount: amount.value, windows };
    match in_flight.refusal() {
        Some(refusal) => {
            table.report(amount.span, Code::OutOfRange, refusal);
            None
        }
        None => Some(Capacity::Budget(in_flight)),
    }
}

/// A bucket or a budget: one of the two.
fn read_capacity(table: &Table<'_>) -> Option<Capacity> {
    match (table.has("bucket"), table.has("budget")) {
        (Some(_), None) => read_bucket(&table.table("bucket")?).map(Capacity::Bucket),
        (None, Some(_)) => read_budget(&table.table("budget")?).map(Capacity::Budget),
        (Some(span), Some(_)) => {
            let message = "a limit has a bucket or a budget, not both".to_owned();
            table.report(span, Code::OutOfRange, message);
            None
        }
        (None, None) => {
            table.missing("bucket");
            None
        }
    }
}

fn name(table: &Table<'_>, key: &str) -> Option<String> {
    let Some(found) = table.str(key) else {
        if table.has(key).is_none() {
            table.missing(key);
        }
        return None;
    };
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if found.value.is_empty() || found.value.len() > 64 || !found.value.chars().all(letters) {
        let message = format!("`{}`: use 1 to 64 of a-z, 0-9, - and _", found.value);
        table.report(found.span, Code::BadName, message);
        return None;
    }
    Some(found.value)
}

fn choice<T: Copy>(table: &Table<'_>, key: &str, choices: &[(&str, T)]) -> Option<T> {
    let found = table.str(key)?;
    let chosen = choices.iter().find(|(name, _)| *name == found.value).map(|(_, value)| *value);
    if chosen.is_none() {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let message = format!("`{}` is no {key}", found.value);
        let error = Diagnostic::error(table.source(), found.span, Code::OutOfRange, message)
            .did_you_mean(&found.value, names.iter().copied())
            .help(format!("one of {}", names.join(", ")));
        table.push(error);
    }
    chosen
}

fn narrow(table: &Table<'_>, number: &At<u64>) -> Option<u32> {
    let narrow = u32::try_from(number.value).ok();
    if narrow.is_none() {
        let message = format!("expected at most {}, got {}", u32::MAX, number.value);
        table.report(number.span, Code::OutOfRange, message);
    }
    narrow
}

fn read_bucket(table: &Table<'_>) -> Option<Bucket> {
    table.known(&["rate", "burst"]);
    let Some(rate) = table.str("rate") else {
        if table.has("rate").is_none() {
            table.missing("rate");
        }
        return None;
    };
    let Some((count, period_ns)) = parse_rate(&rate.value) else {
        let message = format!("`{}` is no rate", rate.value);
        let found = Diagnostic::error(table.source(), rate.span, Code::BadRate, message);
        table.push(found.help("write a count and a unit: 10/s, 600/min, 1_000/h or 5/d"));
        return None;
    };
    let burst = match table.integer("burst") {
        Some(burst) => narrow(table, &burst)?,
        None if table.has("burst").is_some() => return None,
        None => count,
    };
    let bucket = Bucket { count, period_ns, burst };
    if let Some(refusal) = bucket.refusal() {
        table.report(rate.span, Code::BadRate, refusal);
        return None;
    }
    Some(bucket)
}

const WINDOWS: &[&str] = &["day", "week", "month", "year"];
const DAYS: &[(&str, Weekday)] = &[
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

fn read_budget(table: &Table<'_>) -> Option<Budget> {
    table.known(&["amount", "window", "anchor_day", "start_day", "zone"]);
    for key in ["amount", "window"].into_iter().filter(|key| table.has(key).is_none()) {
        table.missing(key);
    }
    let (amount, window) = (table.integer("amount")?, table.str("window")?);
    let start_day = choice(table, "start_day", DAYS);
    let anchor_day = table.integer("anchor_day");
    let period = match window.value.as_str() {
        "day" => Some(Period::Day),
        "week" => Some(Period::Week(start_day.unwrap_or(Weekday::Monday))),
        "month" => {
            let day = anchor_day.as_ref().map_or(1, |day| day.value);
            Some(Period::Month(i8::try_from(day).unwrap_or(0)))
        }
        "year" => Some(Period::Year),
        fixed => parse_seconds(fixed).map(Period::Seconds),
    };
    let Some(period) = period else {
        let message = format!("`{}` is no window", window.value);
        let found = Diagnostic::error(table.source(), window.span, Code::OutOfRange, message);
        let help =
            format!("one of {}, or a count and a unit: 90s, 15min, 6h, 30d", WINDOWS.join(", "));
        table.push(found.did_you_mean(&window.value, WINDOWS.iter().copied()).help(help));
        return None;
    };
    for (key, of) in [("anchor_day", "month"), ("start_day", "week")] {
        if let Some(span) = table.has(key).filter(|_| window.value != of) {
            table.report(span, Code::OutOfRange, format!("`{key}` is of a {of}'s window"));
            return None;
        }
    }
    let zone = table.str("zone");
    let name = zone.as_ref().map_or("UTC", |zone| zone.value.as_str());
    let Some(windows) = Windows::new(period, name) else {
        let (span, message) = match (period, &anchor_day, &zone) {
            (Period::Month(day), Some(at), _) if !(1..=31).contains(&day) => {
                (at.span, format!("expected a day of 1 to 31, got {}", at.value))
            }
            (Period::Seconds(_), ..) if Windows::new(period, "UTC").is_none() => (
                window.span,
                format!("expected 1 second to {WINDOW_SECONDS_MAX}, got `{}`", window.value),
            ),
            _ => {
                let span = zone.as_ref().map_or(table.span(), |zone| zone.span);
                (span, format!("there is no zone `{name}`: an IANA name such as Europe/Berlin"))
            }
        };
        table.report(span, Code::OutOfRange, message);
        return None;
    };
    let budget = Budget { amount: amount.value, windows };
    if let Some(refusal) = budget.refusal() {
        table.report(amount.span, Code::OutOfRange, refusal);
        return None;
    }
    Some(budget)
}

/// `15min` as seconds.
fn parse_seconds(text: &str) -> Option<u64> {
    let unit = text.find(|c: char| !(c.is_ascii_digit() || c == '_'))?;
    let (count, unit) = text.split_at_checked(unit)?;
    let seconds = UNITS.iter().find(|(name, _)| *name == unit.trim()).map(|(_, s)| *s)?;
    count.replace('_', "").parse::<u64>().ok()?.checked_mul(seconds)
}

/// `10/s` as count and nanoseconds.
fn parse_rate(text: &str) -> Option<(u32, u64)> {
    let (count, unit) = text.split_once('/')?;
    let count = count.trim();
    let digits = !count.is_empty() && count.chars().all(|c| c.is_ascii_digit() || c == '_');
    let count = digits.then(|| count.replace('_', "").parse().ok()).flatten()?;
    let seconds = UNITS.iter().find(|(name, _)| *name == unit.trim()).map(|(_, s)| *s)?;
    Some((count, seconds * SECOND_NS))
}

fn read_dimensions(table: &Table<'_>, key: &str) -> Vec<Dimension> {
    let names = table.strings(key).unwrap_or_default();
    if names.len() > DIMENSIONS_MAX {
        let message = format!("{} dimensions, at most {DIMENSIONS_MAX}", names.len());
        table.report(table.span(), Code::BoundExceeded, message);
    }
    let read = |name: At<String>| {
        let (head, path) = name.value.split_once('.').unwrap_or((&name.value, ""));
        let part = DIMENSION_PARTS.iter().find(|(known, _)| *known == head).map(|(_, part)| *part);
        match part {
            Some(part) if part != Part::Context || !path.is_empty() => {
                Some(Dimension { part, path: path.to_owned() })
            }
            _ => {
                let message = format!("a request has no dimension `{}`", name.value);
                let known = DIMENSION_PARTS.iter().map(|(known, _)| *known);
                let error =
                    Diagnostic::error(table.source(), name.span, Code::UnknownDimension, message)
                        .did_you_mean(head, known)
                        .help("use subject, resource, action, or an attribute: subject.team");
                table.push(error);
                None
            }
        }
    };
    names.into_iter().filter_map(read).collect()
}

fn read_condition(table: &Table<'_>, when: &At<String>, tokens: &[String]) -> Option<Condition> {
    let errors = match parse_condition(&when.value, tokens) {
        Ok(condition) => return Some(condition),
        Err(errors) => errors,
    };
    // The value's place includes its quote; escapes shift what stands behind them.
    let base = when.span.start + 1;
    for error in errors {
        let span: Span = table.source().span(base + error.start, base + error.end);
        let mut found = Diagnostic::error(table.source(), span, error.code, error.message);
        found.help = error.help;
        table.push(match error.label {
            Some(label) => found.label(label),
            None => found,
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_engine::{Dialect, bind, parse_model};

    #[test]
    fn rates_are_a_count_and_a_unit() {
        for (text, expected) in [
            ("10/s", Some((10, 1_000_000_000))),
            ("1_000 / min", Some((1000, 60_000_000_000))),
            ("5/d", Some((5, 86_400_000_000_000))),
            ("10", None),
            ("/s", None),
            ("-1/s", None),
            ("10/week", None),
            ("4294967296/s", None),
            ("1.5/s", None),
        ] {
            assert_eq!(parse_rate(text), expected, "{text}");
        }
    }

    const MODEL: &str = "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = sub, obj, act\n\
        [policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\nm = r.sub == p.sub\n";

    pub(super) fn read(text: &str) -> Result<Vec<Limit>, Vec<(Code, String)>> {
        let model = Source { file: "model.conf", text: MODEL };
        let model = parse_model(model, Dialect::Strict).unwrap();
        let binding = bind(&model, &[], Source { file: "model.conf", text: MODEL }).unwrap();
        read_limits(Source { file: "limits.toml", text }, &model, &binding)
            .map_err(|found| found.iter().map(|one| (one.code, one.message.clone())).collect())
    }

    #[test]
    fn a_budget_is_an_amount_and_a_window_or_says_what_is_wrong() {
        for (budget, period, zone) in [
            ("amount = 5, window = \"day\"", Period::Day, "UTC"),
            ("amount = 5, window = \"week\"", Period::Week(Weekday::Monday), "UTC"),
            (
                "amount = 5, window = \"week\", start_day = \"sunday\"",
                Period::Week(Weekday::Sunday),
                "UTC",
            ),
            (
                "amount = 5, window = \"month\", zone = \"Europe/Berlin\"",
                Period::Month(1),
                "Europe/Berlin",
            ),
            ("amount = 5, window = \"month\", anchor_day = 31", Period::Month(31), "UTC"),
            ("amount = 5, window = \"year\"", Period::Year, "UTC"),
            ("amount = 5, window = \"15min\"", Period::Seconds(900), "UTC"),
        ] {
            let limits = read(&format!(
                "[[limit]]\nid = \"a\"\nmeter = \"requests\"\nbudget = {{ {budget} }}\n"
            ));
            let windows = Windows::new(period, zone).unwrap();
            let expected = Capacity::Budget(Budget { amount: 5, windows });
            assert_eq!(limits.unwrap()[0].capacity, expected, "{budget}");
        }
        for (lines, expected) in [
            ("warn_at = [50, 80, 100]", (0, vec![50, 80, 100])),
            ("overdraft = 7", (7, Vec::new())),
        ] {
            let limits = read(&format!(
                "[[limit]]\nid = \"a\"\nmeter = \"requests\"\nbudget = {{ amount = 5, window = \"day\" }}\n{lines}\n"
            ));
            let limit = &limits.unwrap()[0];
            assert_eq!((limit.overdraft, limit.warn_at.clone()), expected, "{lines}");
        }
        let in_flight = "[[limit]]\nid = \"a\"\nmeter = \"concurrency\"\n";
        let limits = read(&format!("{in_flight}budget = {{ amount = 3 }}\n")).unwrap();
        assert!(limits[0].capacity.is_in_flight() && limits[0].capacity.most() == 3);
        for lines in [
            "bucket = { rate = \"1/s\" }",
            "budget = { amount = 3, window = \"day\" }",
            "budget = {}",
            "budget = { amount = 0 }",
            "budget = { amount = 3 }\nstage = \"before-policy\"",
            "budget = { amount = 3 }\noverdraft = 1",
            "budget = { amount = 3 }\nwarn_at = [50]",
        ] {
            assert!(read(&format!("{in_flight}{lines}\n")).is_err(), "{lines}");
        }
        for (lines, code, message) in [
            (
                "budget = { amount = 5, window = \"day\" }\nwarn_at = [0]",
                Code::OutOfRange,
                "1 to 100",
            ),
            (
                "budget = { amount = 5, window = \"day\" }\nwarn_at = [101]",
                Code::OutOfRange,
                "1 to 100",
            ),
            (
                "budget = { amount = 5, window = \"day\" }\nwarn_at = [80, 50]",
                Code::OutOfRange,
                "ascending",
            ),
            (
                "budget = { amount = 5, window = \"day\" }\nwarn_at = [80, 80]",
                Code::OutOfRange,
                "ascending",
            ),
            (
                "budget = { amount = 5, window = \"day\" }\nwarn_at = [1, 2, 3, 4, 5, 6, 7, 8, 9]",
                Code::OutOfRange,
                "at most 8",
            ),
            ("bucket = { rate = \"5/s\" }\nwarn_at = [80]", Code::OutOfRange, "only a budget"),
            (
                "budget = { amount = 5, window = \"day\" }\noverdraft = 4611686018427387900",
                Code::OutOfRange,
                "could wrap",
            ),
            ("budget = { amount = 0, window = \"day\" }", Code::OutOfRange, "admit nothing"),
            ("budget = { amount = 5 }", Code::MissingKey, "window"),
            ("budget = { amount = 5, window = \"fortnight\" }", Code::OutOfRange, "no window"),
            (
                "budget = { amount = 5, window = \"month\", anchor_day = 32 }",
                Code::OutOfRange,
                "1 to 31, got 32",
            ),
            (
                "budget = { amount = 5, window = \"day\", anchor_day = 3 }",
                Code::OutOfRange,
                "of a month's",
            ),
            (
                "budget = { amount = 5, window = \"day\", start_day = \"monday\" }",
                Code::OutOfRange,
                "of a week's",
            ),
            (
                "budget = { amount = 5, window = \"day\", zone = \"Mars/Olympus\" }",
                Code::OutOfRange,
                "no zone `Mars/Olympus`",
            ),
            ("budget = { amount = 5, window = \"0s\" }", Code::OutOfRange, "1 second to"),
            (
                "budget = { amount = 9_000_000_000_000_000_000, window = \"day\" }",
                Code::OutOfRange,
                "could wrap",
            ),
            ("budget = { amount = 5, window = \"day\", carry = true }", Code::UnknownKey, "carry"),
            (
                "budget = { amount = 5, window = \"day\" }\nbucket = { rate = \"1/s\" }",
                Code::OutOfRange,
                "not both",
            ),
            (
                "budget = { amount = 5, window = \"day\" }\ndefault_amount = 6",
                Code::OutOfRange,
                "never fits",
            ),
            (
                "bucket = { rate = \"1/s\", burst = 3 }\ndefault_amount = 4",
                Code::OutOfRange,
                "never fits",
            ),
        ] {
            let found = read(&format!("[[limit]]\nid = \"a\"\nmeter = \"requests\"\n{lines}\n"));
            let found = found.expect_err(lines);
            let is_said =
                found.iter().any(|(known, said)| *known == code && said.contains(message));
            assert!(is_said, "{lines}: {found:?}");
        }
    }
}
