//! What a limit does where it does not know: what requests will use, and what becomes of one that it cannot count.

use super::read_dimensions;
use crate::toml_reader::Table;
use tollgate_engine::{Estimate, FailureMode};

/// The share of requests that use no more than a learned estimate, in per cent, if it is not said.
const QUANTILE: u8 = 90;

/// `estimate = { quantile = 90, by = ["resource.model"] }`.
pub(super) fn read_estimate(table: &Table<'_>) -> Option<Estimate> {
    let estimate = table.table("estimate")?;
    estimate.known(&["quantile", "by"]);
    let quantile = match estimate.integer("quantile") {
        Some(quantile) => u8::try_from(quantile.value).unwrap_or(u8::MAX),
        None => QUANTILE,
    };
    Some(Estimate { quantile, by: read_dimensions(&estimate, "by") })
}

/// `failure_mode = { quota-store-full = "open", bad-request = "closed" }`.
pub(super) fn read_failure_mode(table: &Table<'_>) -> FailureMode {
    let Some(modes) = table.table("failure_mode") else { return FailureMode::default() };
    modes.known(&["quota-store-full", "bad-request"]);
    let opens = |reason| {
        super::choice(&modes, reason, &[("closed", false), ("open", true)]).unwrap_or_default()
    };
    FailureMode {
        opens_on_store_full: opens("quota-store-full"),
        opens_on_bad_request: opens("bad-request"),
    }
}

#[cfg(test)]
mod tests {
    use crate::limits_file::tests::read;
    use tollgate_engine::{Code, Estimate, FailureMode};

    const TOKENS: &str = "[[limit]]\nid = \"a\"\nmeter = \"tokens\"\ndefault_amount = 10\noverdraft = 30\n\
        budget = { amount = 500, window = \"day\" }\n";

    #[test]
    fn an_estimate_is_a_quantile_and_what_it_is_learned_by() {
        for (line, expected) in [
            ("", None),
            ("estimate = {}", Some((90, 0))),
            ("estimate = { quantile = 50 }", Some((50, 0))),
            (
                "estimate = { quantile = 99, by = [\"resource.model\", \"resource\"] }",
                Some((99, 2)),
            ),
        ] {
            let limits = read(&format!("{TOKENS}{line}\n")).unwrap();
            let found = limits[0].estimate.as_ref();
            let found = found.map(|Estimate { quantile, by }| (*quantile, by.len()));
            assert_eq!(found, expected, "{line}");
        }
        for (text, code, message) in [
            (format!("{TOKENS}estimate = {{ quantile = 49 }}"), Code::OutOfRange, "50 to 99"),
            (format!("{TOKENS}estimate = {{ quantile = 100 }}"), Code::OutOfRange, "got 100"),
            (format!("{TOKENS}estimate = {{ quantile = 1e2 }}"), Code::WrongType, "whole number"),
            (format!("{TOKENS}estimate = true"), Code::WrongType, "a table"),
            (format!("{TOKENS}estimate = {{ percentile = 90 }}"), Code::UnknownKey, "percentile"),
            (
                format!("{TOKENS}estimate = {{ by = [\"model\"] }}"),
                Code::UnknownDimension,
                "`model`",
            ),
            (
                TOKENS.replace("overdraft = 30", "estimate = {}"),
                Code::OutOfRange,
                "an estimate needs an `overdraft`",
            ),
            (
                TOKENS.replace("\"tokens\"", "\"requests\"\nestimate = {}"),
                Code::OutOfRange,
                "reserved and settled",
            ),
            (
                format!("{TOKENS}estimate = {{}}\nstage = \"before-policy\""),
                Code::OutOfRange,
                "reserved and settled",
            ),
        ] {
            let found = read(&text).expect_err(&text);
            let is_said =
                found.iter().any(|(known, said)| *known == code && said.contains(message));
            assert!(is_said, "{text}: {found:?}");
        }
    }

    #[test]
    fn a_failure_mode_is_closed_unless_it_says_open() {
        for (line, store, request) in [
            ("", false, false),
            ("failure_mode = {}", false, false),
            ("failure_mode = { quota-store-full = \"open\" }", true, false),
            (
                "failure_mode = { bad-request = \"open\", quota-store-full = \"closed\" }",
                false,
                true,
            ),
        ] {
            let expected =
                FailureMode { opens_on_store_full: store, opens_on_bad_request: request };
            let limits = read(&format!("{TOKENS}{line}\n")).unwrap();
            assert_eq!(limits[0].failure_mode, expected, "{line}");
        }
        for (line, code, message) in [
            ("failure_mode = \"open\"", Code::WrongType, "a table"),
            ("failure_mode = { stale = \"open\" }", Code::UnknownKey, "stale"),
            ("failure_mode = { bad-request = \"allow\" }", Code::OutOfRange, "`allow`"),
        ] {
            let found = read(&format!("{TOKENS}{line}\n")).expect_err(line);
            let is_said =
                found.iter().any(|(known, said)| *known == code && said.contains(message));
            assert!(is_said, "{line}: {found:?}");
        }
    }
}
