//! What a number's hash is over: every member of its row, each with its length. The database computes the same in
//! `audit_leaf`: whoever verifies does not ask it.

use sha2::{Digest, Sha256};
use tokio_postgres::Row;

/// The columns of a row as the leaf has them.
pub(super) const COLUMNS: &str = "seq, hash, id, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS at, \
    actor_type, actor_id, on_behalf_of, tenant_id, action, resource_type, resource_id, outcome, count::text AS count, \
    request_id, trace_id, source_address, changed, encode(before_digest, 'hex') AS before_digest, \
    encode(after_digest, 'hex') AS after_digest";

/// Members before the list of what changed, and behind it.
const FIRST: [&str; 14] = [
    "id",
    "at",
    "actor_type",
    "actor_id",
    "on_behalf_of",
    "tenant_id",
    "action",
    "resource_type",
    "resource_id",
    "outcome",
    "count",
    "request_id",
    "trace_id",
    "source_address",
];
const LAST: [&str; 2] = ["before_digest", "after_digest"];

/// The hash of a number: over the one before, the number and the row.
pub(super) fn chained(before: &[u8], seq: i64, row: &Row) -> Vec<u8> {
    let hash = Sha256::new().chain_update(before).chain_update(seq.to_be_bytes());
    hash.chain_update(leaf(row)).finalize().to_vec()
}

fn leaf(row: &Row) -> Vec<u8> {
    let mut all = String::new();
    let text = |name: &&str| row.get::<_, Option<String>>(*name);
    FIRST.iter().map(text).for_each(|value| part(&mut all, value.as_deref()));
    let changed: Vec<String> = row.get("changed");
    part(&mut all, Some(&changed.len().to_string()));
    changed.iter().for_each(|name| part(&mut all, Some(name)));
    LAST.iter().map(text).for_each(|value| part(&mut all, value.as_deref()));
    Sha256::digest(all.as_bytes()).to_vec()
}

/// A value with its length; `-` is none.
fn part(all: &mut String, value: Option<&str>) {
    match value {
        Some(value) => {
            all.push_str(&value.len().to_string());
            all.push(':');
            all.push_str(value);
        }
        None => all.push('-'),
    }
    all.push(',');
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn no_two_rows_have_one_text() {
        let text = |values: &[Option<&str>]| {
            let mut all = String::new();
            values.iter().for_each(|value| part(&mut all, *value));
            all
        };
        let rows: [&[Option<&str>]; 6] = [
            &[Some("a"), Some("b")],
            &[Some("a,1:b")],
            &[Some("ab"), None],
            &[Some("ab"), Some("")],
            &[Some("ab"), Some("-")],
            &[None, Some("ab")],
        ];
        for (at, row) in rows.iter().enumerate() {
            assert!(rows.iter().skip(at + 1).all(|other| text(other) != text(row)), "{row:?}");
        }
        assert_eq!(text(&[Some("ä"), None]), "2:ä,-,");
    }
}
