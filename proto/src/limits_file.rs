//! limits.toml: limits as data, read into the engine's `Limit`.

use crate::toml_reader::{At, Table, read};
use tollgate_engine::bounds::DIMENSIONS_MAX;
use tollgate_engine::quota::limit::{Condition, condition_tokens, parse_condition};
use tollgate_engine::{
    Binding, Bucket, Code, Diagnostic, Diagnostics, Dimension, Limit, Mode, Model, Part, Source,
    Span, Stage,
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
    "description",
];
/// Keys of limits that this version refuses rather than ignores.
const LATER: &[&str] = &["budget", "warn_at", "overdraft"];
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
    for key in LATER {
        if let Some(span) = table.has(key) {
            let message = format!("`{key}` is not supported by this version");
            let found = Diagnostic::error(table.source(), span, Code::NotYetSupported, message);
            table.push(found.help("use a bucket, or leave this limit out"));
        }
    }
    let id = name(table, "id");
    let meter = name(table, "meter");
    let bucket = match (table.table("bucket"), table.has("budget")) {
        (Some(bucket), _) => read_bucket(&bucket),
        (None, Some(_)) => None,
        (None, None) => {
            table.missing("bucket");
            None
        }
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
    let default_amount = table.integer("default_amount").and_then(|amount| narrow(table, &amount));
    let _ = table.str("description");
    let dimensions = read_dimensions(table);
    let when = table.str("when").and_then(|when| read_condition(table, &when, tokens));
    let (id, meter, bucket) = (id?, meter?, bucket?);
    let mode = mode.unwrap_or_default();
    if meter != "requests" && default_amount.is_none() && mode == Mode::Hard {
        table.missing("default_amount");
        return None;
    }
    let stage = stage.unwrap_or_default();
    Some(Limit { id, meter, bucket, dimensions, when, mode, stage, default_amount })
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

/// `10/s` as count and nanoseconds.
fn parse_rate(text: &str) -> Option<(u32, u64)> {
    let (count, unit) = text.split_once('/')?;
    let count = count.trim();
    let digits = !count.is_empty() && count.chars().all(|c| c.is_ascii_digit() || c == '_');
    let count = digits.then(|| count.replace('_', "").parse().ok()).flatten()?;
    let seconds = UNITS.iter().find(|(name, _)| *name == unit.trim()).map(|(_, s)| *s)?;
    Some((count, seconds * SECOND_NS))
}

fn read_dimensions(table: &Table<'_>) -> Vec<Dimension> {
    let names = table.strings("dimensions").unwrap_or_default();
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
    use super::parse_rate;

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
}
