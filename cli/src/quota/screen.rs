//! What `top` shows: a line about the tenant, a row for each counter, a line about refusals.

use super::{duration, grouped};
use std::fmt::Write;
use tollgate_proto::quota::{CounterBody, DeniedBody, QuotaBody, TenantBody};

const KEYS: &str = "t tenant  l limit  s sort  / filter  q quit";
const MARKS: &str = "! under 5 %   x empty   ~ shadow";

/// What is shown of the counters, and in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) tenant: Option<String>,
    pub(super) limit: Option<String>,
    pub(super) filter: String,
    pub(super) sort: Sort,
    /// The filter is being typed.
    pub(super) is_typing: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Sort {
    /// The smallest part left first
    Left,
    /// The most used first
    Used,
    /// By limit and key
    Name,
}

/// A counter, and how much it grew in a minute if two looks say so.
pub(super) type Row<'b> = (&'b CounterBody, Option<u64>);

/// The whole screen; `before` is the look before, if there was one. `has_keys`: somebody can press them.
pub(super) fn screen(
    view: &View,
    now: &QuotaBody,
    before: Option<&QuotaBody>,
    has_keys: bool,
) -> String {
    let mut out = head(view, now, before);
    if has_keys {
        let _ = write!(out, "    {KEYS}");
    }
    out.push('\n');
    if view.is_typing || !view.filter.is_empty() {
        let cursor = if view.is_typing { "_" } else { "" };
        let _ = writeln!(out, "filter: {}{cursor}", view.filter);
    }
    out.push_str(&table(&rows(view, now, before)));
    out.push_str(&foot(&now.denied));
    out
}

fn head(view: &View, now: &QuotaBody, before: Option<&QuotaBody>) -> String {
    let is_shown =
        |tenant: &&TenantBody| view.tenant.as_ref().is_none_or(|own| *own == tenant.tenant);
    let shown: Vec<&TenantBody> = now.tenants.iter().filter(is_shown).collect();
    let mut out = match shown.as_slice() {
        [only] => format!("{}  bundle {}", only.tenant, only.version),
        _ => format!("{} tenants", shown.len()),
    };
    let since = |tenant: &&TenantBody| {
        let known = before?.tenants.iter().find(|known| known.tenant == tenant.tenant)?;
        let denied = tenant.denied.saturating_sub(known.denied);
        Some((tenant.allowed.saturating_sub(known.allowed) + denied, denied))
    };
    let span_ms = before.map_or(0, |before| now.at_ms.saturating_sub(before.at_ms));
    let sums =
        shown.iter().filter_map(since).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let (decided, denied) = sums;
    if let Some(rate) = (decided * 1_000).checked_div(span_ms) {
        let per_mille = (denied * 1_000).checked_div(decided).unwrap_or(0);
        let rate = grouped(rate);
        let _ = write!(out, "  {rate} decisions/s  {}.{} % denied", per_mille / 10, per_mille % 10);
    }
    let second = now.at_ms / 1_000 % 86_400;
    let _ = write!(out, "  {:02}:{:02}:{:02} UTC", second / 3_600, second / 60 % 60, second % 60);
    out
}

fn foot(denied: &[DeniedBody]) -> String {
    let one = |denied: &DeniedBody| match denied.most.as_str() {
        "" => format!("{} {}/s", denied.reason, grouped(denied.count)),
        most => format!("{} {}/s ({most})", denied.reason, grouped(denied.count)),
    };
    match denied {
        [] => format!("{MARKS}\n"),
        _ => format!(
            "denied now: {}      {MARKS}\n",
            denied.iter().map(one).collect::<Vec<_>>().join(" · ")
        ),
    }
}

/// The counters that a view shows, in its order.
pub(super) fn rows<'b>(
    view: &View,
    now: &'b QuotaBody,
    before: Option<&QuotaBody>,
) -> Vec<Row<'b>> {
    let is_same = |one: &CounterBody, other: &CounterBody| {
        (&one.tenant, &one.limit, &one.key) == (&other.tenant, &other.limit, &other.key)
    };
    let grown = |counter: &CounterBody| {
        let before = before.filter(|before| before.at_ms < now.at_ms)?;
        let known = before.counters.iter().find(|known| is_same(known, counter))?;
        Some(counter.used.saturating_sub(known.used) * 60_000 / (now.at_ms - before.at_ms))
    };
    let holds = |counter: &&CounterBody| {
        let is_own = view.tenant.as_ref().is_none_or(|tenant| *tenant == counter.tenant)
            && view.limit.as_ref().is_none_or(|limit| *limit == counter.limit);
        let text = view.filter.as_str();
        is_own
            && (counter.limit.contains(text)
                || counter.key.iter().any(|value| value.contains(text)))
    };
    let mut rows: Vec<Row<'_>> =
        now.counters.iter().filter(holds).map(|one| (one, grown(one))).collect();
    rows.sort_by(|(one, _), (other, _)| {
        let part = |left: u64, of: u64| u128::from(left) * u128::from(of);
        let order = match view.sort {
            Sort::Left => part(one.remaining, other.of).cmp(&part(other.remaining, one.of)),
            Sort::Used => other.used.cmp(&one.used),
            Sort::Name => std::cmp::Ordering::Equal,
        };
        order.then_with(|| {
            (&one.tenant, &one.limit, &one.key).cmp(&(&other.tenant, &other.limit, &other.key))
        })
    });
    rows
}

/// `!` under 5 %, `x` empty, `~` shadow. The tenant stands there where there are several.
pub(super) fn table(rows: &[Row<'_>]) -> String {
    let head = [
        "", "TENANT", "LIMIT", "KEY", "USED", "OF", "LEFT", "HELD", "PER MIN", "RUNS OUT", "RESETS",
    ];
    let mut lines: Vec<Vec<String>> = vec![head.iter().map(|&word| word.to_owned()).collect()];
    lines.extend(rows.iter().map(|(counter, per_minute)| cells(counter, *per_minute)));
    let tenant = rows.first().map(|(counter, _)| &counter.tenant);
    let is_one = rows.iter().all(|(counter, _)| Some(&counter.tenant) == tenant);
    let is_shown = |column: &usize| !(is_one && *column == 1);
    let width = |at: usize| {
        lines.iter().filter_map(|line| line.get(at)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..head.len()).map(|at| width(at).unwrap_or(0)).collect();
    let mut out = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).enumerate().filter(|(at, _)| is_shown(at));
        let cells = cells.map(|(at, (cell, width))| match at {
            4..=8 => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        let _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    out
}

fn cells(counter: &CounterBody, per_minute: Option<u64>) -> Vec<String> {
    let CounterBody { used, of, remaining, held, .. } = counter;
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
    let resets = counter.resets.clone().or_else(|| counter.reset_ms.map(duration));
    vec![
        mark.to_owned(),
        counter.tenant.clone(),
        counter.limit.clone(),
        if counter.key.is_empty() { none() } else { counter.key.join(",") },
        grouped(*used),
        grouped(*of),
        grouped(*remaining),
        if *held == 0 { none() } else { grouped(*held) },
        per_minute
            .filter(|grows| *grows > 0)
            .map_or_else(none, |grows| format!("+{}", grouped(grows))),
        runs_out,
        resets.unwrap_or_else(none),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(
        tenant: &str,
        limit: &str,
        (used, of, held): (u64, u64, u64),
        mode: &str,
    ) -> CounterBody {
        CounterBody {
            tenant: tenant.to_owned(),
            limit: limit.to_owned(),
            meter: "requests".to_owned(),
            mode: mode.to_owned(),
            key: vec!["alice".to_owned()],
            used,
            of,
            remaining: of - used,
            held,
            reset_ms: Some(100),
            override_until_ms: None,
            resets: (limit == "tokens").then(|| "1 Jan 00:00".to_owned()),
        }
    }

    fn look(at_ms: u64, (allowed, denied): (u64, u64), counters: Vec<CounterBody>) -> QuotaBody {
        let (tenant, version) = ("acme".to_owned(), "1.1".to_owned());
        let tenants = vec![TenantBody { tenant, version, allowed, denied }];
        QuotaBody { at_ms, counters, tenants, ..QuotaBody::default() }
    }

    fn view(sort: Sort) -> View {
        View { tenant: None, limit: None, filter: String::new(), sort, is_typing: false }
    }

    #[test]
    fn the_fullest_stands_first_and_says_when_it_runs_out() {
        let before =
            look(36_871_000, (100, 0), vec![counter("acme", "tokens", (900, 1_000, 0), "hard")]);
        let now = vec![
            counter("acme", "calls", (1, 10, 0), "shadow"),
            counter("acme", "tokens", (960, 1_000, 40), "hard"),
            counter("acme", "empty", (5, 5, 0), "hard"),
        ];
        let mut now = look(36_872_000, (1_887, 55), now);
        now.denied = vec![
            DeniedBody { reason: "quota-exceeded".to_owned(), count: 54, most: "empty".to_owned() },
            DeniedBody { reason: "no-rule".to_owned(), count: 1, most: String::new() },
        ];
        let expected = "\
            acme  bundle 1.1  1 842 decisions/s  2.9 % denied  10:14:32 UTC    t tenant  l limit  s sort  / filter  q quit\n   \
               LIMIT   KEY    USED     OF  LEFT  HELD  PER MIN  RUNS OUT  RESETS\n\
            x  empty   alice     5      5     0     –        –  now       0.1 s\n\
            !  tokens  alice   960  1 000    40    40   +3 600  0.7 s     1 Jan 00:00\n\
            ~  calls   alice     1     10     9     –        –  –         0.1 s\n\
            denied now: quota-exceeded 54/s (empty) · no-rule 1/s      ! under 5 %   x empty   ~ shadow\n";
        assert_eq!(screen(&view(Sort::Left), &now, Some(&before), true), expected);
        // Once, nothing is known of before, and nobody presses keys.
        let once = screen(&view(Sort::Left), &look(36_872_000, (1, 0), Vec::new()), None, false);
        assert!(once.starts_with("acme  bundle 1.1  10:14:32 UTC\n"), "{once}");
        assert!(once.ends_with("\n! under 5 %   x empty   ~ shadow\n"), "{once}");
    }

    #[test]
    fn rows_are_sorted_and_chosen() {
        let now = look(
            1,
            (0, 0),
            vec![
                counter("beta", "tokens", (9, 10, 0), "hard"),
                counter("acme", "tokens", (500, 1_000, 0), "hard"),
                counter("acme", "calls", (3, 10, 0), "hard"),
            ],
        );
        let names = |view: &View| -> Vec<String> {
            let rows = rows(view, &now, None);
            rows.iter().map(|(one, _)| format!("{}/{}", one.tenant, one.limit)).collect()
        };
        assert_eq!(names(&view(Sort::Left)), ["beta/tokens", "acme/tokens", "acme/calls"]);
        assert_eq!(names(&view(Sort::Used)), ["acme/tokens", "beta/tokens", "acme/calls"]);
        assert_eq!(names(&view(Sort::Name)), ["acme/calls", "acme/tokens", "beta/tokens"]);
        let of_acme = View { tenant: Some("acme".to_owned()), ..view(Sort::Name) };
        assert_eq!(names(&of_acme), ["acme/calls", "acme/tokens"]);
        let calls = View { filter: "cal".to_owned(), ..view(Sort::Name) };
        assert_eq!(names(&calls), ["acme/calls"]);
        assert_eq!(names(&View { filter: "alice".to_owned(), ..view(Sort::Name) }).len(), 3);
        assert_eq!(names(&View { limit: Some("tokens".to_owned()), ..view(Sort::Name) }).len(), 2);
        // Several tenants: each row says whose it is.
        assert!(table(&rows(&view(Sort::Name), &now, None)).starts_with("  TENANT"));
    }
}
