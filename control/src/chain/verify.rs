//! Whether a log is what was written: every number is there, each hash is that of its row, and the head is the one that
//! the platform's database knows.

use super::leaf::{COLUMNS, chained};
use super::{Head, Link, PLATFORM, head};
use crate::call::{Call, Reply};
use crate::code::Refusal;
use crate::sql::{self, Queries, bigint};
use crate::write::Stop;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};
use tokio_postgres::Row;

/// Rows that are read at once.
const BATCH: i64 = 2_000;
/// Findings that an answer names; `tampered` counts all.
const FINDINGS_MAX: usize = 100;

/// What was found on the way along a log.
#[derive(Debug, Default)]
struct Walk {
    last: Link,
    count: i64,
    tampered: i64,
    findings: Vec<Json>,
}

impl Walk {
    fn find(&mut self, kind: &str, seq: i64, id: Option<&str>) {
        self.tampered += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(json!({"kind": kind, "seq": seq, "id": id}));
        }
    }

    /// The next row in the order of numbers.
    fn step(&mut self, row: &Row, known: &Head) {
        let (seq, hash): (i64, Option<Vec<u8>>) = (row.get("seq"), row.get("hash"));
        let (id, hash) = (row.get::<_, String>("id"), hash.unwrap_or_default());
        let is_next = seq == self.last.seq + 1;
        for missing in self.last.seq + 1..seq {
            self.find("removed", missing, None);
        }
        // Behind a gap nobody knows what came before: the hash is believed and the rows go on from there.
        if is_next && chained(&self.last.hash, seq, row) != hash {
            self.find("altered", seq, Some(&id));
        } else if seq == known.seq && hash != known.hash {
            self.find("rewritten", seq, Some(&id));
        }
        (self.last, self.count) = (Link { seq, hash }, self.count + 1);
    }
}

/// `POST …/audit-events/verify`.
pub async fn verify(call: &Call) -> Result<Reply, Stop> {
    let platform = call.platform().await?;
    let body = match &call.tenant {
        None => {
            let known = head(&platform, PLATFORM).await?;
            walk(&platform, &known).await?
        }
        Some(tenant) => {
            let known = head(&platform, &tenant.id).await?;
            drop(platform);
            walk(&*call.tenant_conn().await?, &known).await?
        }
    };
    Ok(Reply::ok(body))
}

/// Goes along a log from the first row that was not removed when its time was over.
///
/// # Errors
/// Those of the database.
pub(crate) async fn walk(client: &impl Queries, known: &Head) -> Result<Json, Refusal> {
    let statement =
        format!("SELECT {COLUMNS} FROM audit_events WHERE seq > $1 ORDER BY seq LIMIT $2");
    let mut walk = Walk { last: known.pruned.clone(), ..Walk::default() };
    loop {
        let after = walk.last.seq;
        let rows = client.rows(&statement, &[bigint(&after), bigint(&BATCH)]).await?;
        rows.iter().for_each(|row| walk.step(row, known));
        if rows.is_empty() {
            break;
        }
    }
    for missing in walk.last.seq + 1..=known.seq {
        walk.find("truncated", missing, None);
    }
    let waiting = "SELECT count(*) FROM audit_events WHERE seq IS NULL";
    let waiting = sql::first(client, waiting, &[]).await?;
    let waiting: i64 = waiting.map_or(0, |row| row.get(0));
    Ok(json!({
        "whole": walk.tampered == 0, "sequenced": walk.count, "waiting": waiting, "tampered": walk.tampered,
        "head": {"seq": known.seq, "hash": STANDARD.encode(&known.hash)}, "findings": walk.findings,
    }))
}
