//! A `LiteLLM` proxy's config.yaml, and what its `/key/list`, `/team/list` and `/user/list` answer: budgets in dollars, requests and tokens a
//! minute, calls at once.
//!
//! Dollars become micro-units of the meter `cost`. A budget's duration becomes the calendar's window where the proxy resets at the
//! calendar's edges: a day, seven days, a month.

use super::limits::{Found, Imported, equals, items, member, micros, whole};
use tollgate_proto::tree::Tree;

/// An estimate of a call that says nothing: a cent, and so many tokens.
const COST: u64 = 10_000;
const TOKENS: u64 = 1_000;

/// Lists of those who have limits: the list, names of one, and what a condition compares.
const OWNERS: &[(&str, &[&str], &str)] = &[
    ("keys", &["key_alias", "key_name", "token"], "r.sub"),
    ("users", &["user_id", "user_email"], "r.sub.user"),
    ("teams", &["team_alias", "team_id"], "r.sub.team"),
];

pub(super) fn import(root: &Tree<'_>) -> Imported {
    let mut imported = Imported::default();
    let at = |name: &str| member(root, name);
    let everybody = |words: &[&str], from: &str| Found {
        name: words.iter().map(|word| (*word).to_owned()).collect(),
        from: from.to_owned(),
        ..Found::default()
    };
    let by_subject = |words: &[&str], from: &str| Found {
        dimensions: vec!["subject"],
        ..everybody(words, from)
    };
    if let Some(settings) = at("litellm_settings") {
        read(&mut imported, settings, &everybody(&["proxy"], "litellm_settings"));
        if let Some(defaults) = member(settings, "default_internal_user_params") {
            let from = "litellm_settings.default_internal_user_params";
            read(&mut imported, defaults, &by_subject(&["user"], from));
        }
        if let Some(amount) = micros(member(settings, "max_end_user_budget")).filter(|m| *m > 0) {
            let from = "litellm_settings.max_end_user_budget";
            budget(&mut imported, amount, None, &by_subject(&["end-user"], from));
        }
    }
    if let Some(settings) = at("general_settings") {
        read(&mut imported, settings, &everybody(&["proxy"], "general_settings"));
        let most = whole(member(settings, "global_max_parallel_requests"));
        in_flight(&mut imported, most, &everybody(&["proxy"], "general_settings"));
    }
    for model in items(at("model_list")) {
        let name = member(model, "model_name").and_then(Tree::as_str).unwrap_or("unnamed");
        let mut base = everybody(&["model", name], &format!("model_list, {name}"));
        base.when.push(equals("r.obj.model", name));
        if let Some(parameters) = member(model, "litellm_params") {
            read(&mut imported, parameters, &base);
        }
    }
    let providers =
        at("router_settings").and_then(|router| member(router, "provider_budget_config"));
    if let Some(Tree::Object(providers)) = providers {
        for (name, config) in providers {
            let mut base =
                everybody(&["provider", name], &format!("provider_budget_config, {name}"));
            base.when.push(equals("r.env.provider", name));
            let amount = micros(member(config, "budget_limit")).filter(|amount| *amount > 0);
            if let Some(amount) = amount {
                let period = member(config, "time_period").and_then(Tree::as_str);
                budget(&mut imported, amount, period, &base);
            }
            imported.note("who the provider is: the gateway must send context.provider, without which the limit always applies");
        }
    }
    for (list, names, token) in OWNERS {
        for owner in items(at(list)) {
            let name = names.iter().find_map(|name| member(owner, name)?.as_str());
            let name = name.unwrap_or("unnamed");
            let word = list.trim_end_matches('s');
            let mut base = everybody(&[word, name], &format!("{list}, {name}"));
            base.when.push(equals(token, name));
            read(&mut imported, owner, &base);
            by_model(&mut imported, owner, &base);
        }
    }
    imported
}

/// Every limit that an object states.
fn read(imported: &mut Imported, at: &Tree<'_>, base: &Found) {
    let duration = member(at, "budget_duration").and_then(Tree::as_str);
    for (key, is_soft) in [("max_budget", false), ("soft_budget", true)] {
        if let Some(amount) = micros(member(at, key)).filter(|amount| *amount > 0) {
            budget(imported, amount, duration, &Found { is_soft, ..base.clone() });
        }
    }
    for (keys, word, meter, default) in [
        (["rpm", "rpm_limit"], "rpm", "requests", None),
        (["tpm", "tpm_limit"], "tpm", "tokens", Some(TOKENS)),
    ] {
        let Some(amount) = keys.iter().find_map(|key| whole(member(at, key))) else { continue };
        let window = Some("1min".to_owned());
        push(imported, base, word, (meter, amount, window, default));
    }
    in_flight(imported, whole(member(at, "max_parallel_requests")), base);
    if member(at, "fallbacks").is_some() {
        imported.note("fallbacks: which model is asked is the gateway's choice");
    }
}

fn in_flight(imported: &mut Imported, most: Option<u64>, base: &Found) {
    if let Some(most) = most {
        push(imported, base, "at-once", ("concurrency", most, None, None));
        imported.note(
            "max_parallel_requests: a call comes back when its reservation is settled or over",
        );
    }
}

/// `model_max_budget: {model: {budget_limit, time_period}}`.
fn by_model(imported: &mut Imported, owner: &Tree<'_>, base: &Found) {
    let Some(Tree::Object(models)) = member(owner, "model_max_budget") else { return };
    for (model, config) in models {
        let mut base = base.clone();
        base.name.push(model.to_string());
        base.when.push(equals("r.obj.model", model));
        let amount = micros(member(config, "budget_limit")).or_else(|| micros(Some(config)));
        if let Some(amount) = amount.filter(|amount| *amount > 0) {
            let period = member(config, "time_period").and_then(Tree::as_str);
            budget(imported, amount, period, &base);
        }
    }
}

fn budget(imported: &mut Imported, amount: u64, duration: Option<&str>, base: &Found) {
    let Some(duration) = duration else {
        let from = &base.from;
        imported.note(format!(
            "{from}: a budget of {amount} micro-units without a duration; budgets have a window"
        ));
        return;
    };
    let Some(window) = window_of(duration) else {
        imported.note(format!("{}: the duration `{duration}`", base.from));
        return;
    };
    let word = if base.is_soft { "soft-cost" } else { "cost" };
    push(imported, base, word, ("cost", amount, Some(window), Some(COST)));
    imported.note(format!(
        "prices: the gateway settles what a call cost, in micro-units; a call that says nothing takes {COST} before"
    ));
}

/// The calendar's window, or so many seconds.
fn window_of(duration: &str) -> Option<String> {
    let fixed = |unit: &str, count: &str| {
        let is_count = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
        is_count.then(|| format!("{count}{unit}"))
    };
    match duration {
        "1d" | "24h" => Some("day".to_owned()),
        "7d" | "1w" => Some("week".to_owned()),
        "30d" | "1mo" => Some("month".to_owned()),
        _ => [("s", "s"), ("m", "min"), ("h", "h"), ("d", "d")]
            .into_iter()
            .find_map(|(theirs, unit)| fixed(unit, duration.strip_suffix(theirs)?)),
    }
}

fn push(
    imported: &mut Imported,
    base: &Found,
    word: &str,
    (meter, amount, window, default_amount): (&str, u64, Option<String>, Option<u64>),
) {
    let meter = meter.to_owned();
    let mut found = Found { meter, amount, window, default_amount, ..base.clone() };
    found.is_soft &= found.meter == "cost";
    found.name.push(word.to_owned());
    imported.limit(found);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_window_or_none() {
        for (duration, expected) in [
            ("1d", Some("day")),
            ("7d", Some("week")),
            ("30d", Some("month")),
            ("1mo", Some("month")),
            ("2d", Some("2d")),
            ("30m", Some("30min")),
            ("90s", Some("90s")),
            ("", None),
            ("d", None),
            ("é", None),
            ("2mo", None),
        ] {
            assert_eq!(window_of(duration).as_deref(), expected, "{duration}");
        }
    }
}
