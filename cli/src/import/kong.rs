//! Kong's declarative configuration: `rate-limiting`, `response-ratelimiting`, `rate-limiting-advanced` and
//! `ai-rate-limiting-advanced`, at whatever they stand.
//!
//! Kong counts in fixed windows of UTC, and so do the budgets that are made of them; a month is one of the calendar.

use super::limits::{Found, Imported, equals, items, member, whole};
use tollgate_proto::tree::Tree;

const PERIODS: &[(&str, &str)] = &[
    ("second", "1s"),
    ("minute", "1min"),
    ("hour", "1h"),
    ("day", "day"),
    ("month", "month"),
    ("year", "year"),
];
/// Who a plugin may stand at: the list, the word for one, and what a condition compares.
const OWNERS: &[(&str, &str, &str)] = &[
    ("services", "service", "r.env.service"),
    ("routes", "route", "r.env.route"),
    ("consumers", "consumer", "r.sub"),
    ("consumer_groups", "consumer_group", "r.env.consumer_group"),
];
/// What an estimate is where Kong makes none.
const TOKENS: u64 = 1_000;

/// Where a plugin stands: names with what they compare to.
type Scope = Vec<(&'static str, &'static str, String)>;

pub(super) fn import(root: &Tree<'_>) -> Imported {
    let mut imported = Imported::default();
    walk(&mut imported, root, &Vec::new());
    if imported.count() > 0 {
        imported.note("Kong runs only the most specific instance of a plugin; here every limit that applies counts");
    }
    imported
}

fn walk(imported: &mut Imported, at: &Tree<'_>, scope: &Scope) {
    for plugin in items(member(at, "plugins")) {
        read_plugin(imported, plugin, scope);
    }
    for (list, word, token) in OWNERS {
        for owner in items(member(at, list)) {
            let name = ["name", "username", "custom_id", "id"];
            let name = name.iter().find_map(|key| member(owner, key)?.as_str());
            let mut below = scope.clone();
            below.push((word, token, name.unwrap_or("unnamed").to_owned()));
            walk(imported, owner, &below);
        }
    }
}

fn read_plugin(imported: &mut Imported, plugin: &Tree<'_>, outer: &Scope) {
    let Some(name) = member(plugin, "name").and_then(Tree::as_str) else { return };
    let is_ours = name.contains("ratelimiting") || name.contains("rate-limiting");
    if !is_ours {
        return;
    }
    if member(plugin, "enabled") == Some(&Tree::Bool(false)) {
        imported.note(format!("a `{name}` that is not enabled"));
        return;
    }
    let mut scope = outer.clone();
    for (_, word, token) in OWNERS {
        let named = member(plugin, word);
        let owner = named.and_then(|at| at.as_str().or_else(|| member(at, "name")?.as_str()));
        if let Some(owner) = owner {
            scope.push((word, token, owner.to_owned()));
        }
    }
    let nothing = Tree::Object(Vec::new());
    let config = member(plugin, "config").unwrap_or(&nothing);
    let base = base(imported, name, config, &scope);
    match name {
        "rate-limiting" => periods(imported, config, &base, &[]),
        "response-ratelimiting" => {
            if let Some(Tree::Object(limits)) = member(config, "limits") {
                for (meter, limit) in limits {
                    let base = Found {
                        meter: meter.to_lowercase().replace(['.', ' '], "-"),
                        default_amount: Some(1),
                        ..base.clone()
                    };
                    periods(imported, limit, &base, &[meter]);
                }
                imported.note(
                    "response-ratelimiting counts what the upstream's X-Kong-Limit says: settle it",
                );
            }
        }
        "rate-limiting-advanced" => windows(imported, config, &base, &[]),
        "ai-rate-limiting-advanced" => {
            for provider in items(member(config, "llm_providers")) {
                let name = member(provider, "name").and_then(Tree::as_str).unwrap_or("any");
                let strategy = member(config, "tokens_count_strategy").and_then(Tree::as_str);
                let meter = match strategy {
                    Some("prompt_tokens") => "tokens_in",
                    Some("completion_tokens") => "tokens_out",
                    Some("cost") => "cost",
                    _ => "tokens",
                };
                let mut base =
                    Found { meter: meter.to_owned(), default_amount: Some(TOKENS), ..base.clone() };
                base.when.push(equals("r.env.provider", name));
                windows(imported, provider, &base, &[name]);
            }
            imported.note("who the provider is: the gateway must send context.provider, without which the limit always applies");
            imported.note(format!(
                "ai-rate-limiting-advanced counts behind the call: reserve an estimate ({TOKENS} if nothing is said) and settle it"
            ));
        }
        _ => imported.note(format!("the plugin `{name}`")),
    }
}

/// What all limits of a plugin have in common; notes what its configuration says beyond.
fn base(imported: &mut Imported, plugin: &str, config: &Tree<'_>, scope: &Scope) -> Found {
    let text = |key: &str| member(config, key).and_then(Tree::as_str);
    let by = text("limit_by").or(text("identifier")).unwrap_or("consumer");
    let dimensions = match by {
        "consumer" | "credential" => vec!["subject"],
        "ip" => vec!["context.ip"],
        "service" => vec!["context.service"],
        "path" => vec!["resource"],
        "header" => vec!["context.header"],
        "consumer-group" => vec!["context.consumer_group"],
        _ => Vec::new(),
    };
    let mut sent: Vec<&str> =
        dimensions.iter().filter_map(|name| name.strip_prefix("context.")).collect();
    sent.extend(scope.iter().filter_map(|(_, token, _)| token.strip_prefix("r.env.")));
    for name in sent {
        imported.note(format!("who the {name} is: the gateway must send context.{name}, without which a hard limit refuses or always applies"));
    }
    if by == "consumer" {
        imported.note("a consumer that is not known counts by address in Kong, here by whatever the subject is");
    }
    if let Some(policy @ ("redis" | "cluster")) = text("policy").or(text("strategy")) {
        imported.note(format!(
            "policy `{policy}`: counters are each sidecar's own, in memory and on its disk"
        ));
    }
    for (key, note) in [
        ("fault_tolerant", "fault_tolerant: what cannot be counted is refused"),
        (
            "hide_client_headers",
            "hide_client_headers: write `disclosure = \"code\"` into tenant.toml",
        ),
        (
            "error_message",
            "error_message and error_code: a refusal is 429 with the body of docs/reference/http.md",
        ),
        ("header_name", "header_name: the gateway must send that header's value as context.header"),
        ("disable_penalty", "disable_penalty: a refused request uses nothing here"),
    ] {
        if !matches!(member(config, key), None | Some(Tree::Null | Tree::Bool(false))) {
            imported.note(note);
        }
    }
    if text("window_type") == Some("sliding") {
        imported.note("window_type `sliding`: windows are fixed");
    }
    let mut name: Vec<String> = scope.iter().map(|(_, _, name)| name.clone()).collect();
    if name.is_empty() {
        name.push("all".to_owned());
    }
    let at: Vec<String> = scope.iter().map(|(word, _, name)| format!("{word} {name}")).collect();
    Found {
        name,
        meter: "requests".to_owned(),
        dimensions,
        when: scope.iter().map(|(_, token, name)| equals(token, name)).collect(),
        from: format!(
            "{plugin}, {}",
            if at.is_empty() { "global".to_owned() } else { at.join(", ") }
        ),
        ..Found::default()
    }
}

/// `second: 5`, `minute: 100`, …
fn periods(imported: &mut Imported, config: &Tree<'_>, base: &Found, words: &[&str]) {
    for (period, window) in PERIODS {
        if let Some(amount) = whole(member(config, period)) {
            let words = words.iter().copied().chain([*period]);
            push(imported, base, words, amount, (*window).to_owned());
        }
    }
}

/// `limit: [5, 100]` beside `window_size: [1, 60]`, or one of each.
fn windows(imported: &mut Imported, config: &Tree<'_>, base: &Found, words: &[&str]) {
    let all = |key: &str| -> Vec<u64> {
        match member(config, key) {
            list @ Some(Tree::List(_)) => {
                items(list).iter().filter_map(|item| whole(Some(item))).collect()
            }
            one => whole(one).into_iter().collect(),
        }
    };
    for (amount, seconds) in all("limit").into_iter().zip(all("window_size")) {
        let window = format!("{seconds}s");
        let words = words.iter().copied().chain([window.as_str()]);
        push(imported, base, words, amount, window.clone());
    }
}

fn push<'w>(
    imported: &mut Imported,
    base: &Found,
    words: impl Iterator<Item = &'w str>,
    amount: u64,
    window: String,
) {
    let mut found = Found { amount, window: Some(window), ..base.clone() };
    found.name.extend(words.map(str::to_owned));
    imported.limit(found);
}
