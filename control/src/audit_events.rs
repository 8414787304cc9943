//! Reading the audit log: the platform's, or a tenant's own.

use crate::audit::{COLUMNS, shown};
use crate::call::{Call, Reply};
use crate::code::Refusal;
use crate::page::Page;
use crate::sql::{bigint, text};
use crate::write::Stop;
use jiff::Timestamp;
use tokio_postgres::Row;

/// `GET …/audit-events`, oldest first.
pub async fn list(call: &Call) -> Result<Reply, Stop> {
    let page = Page::read(call)?;
    let filter = |name: &str| call.query.get(name).cloned();
    let (from, to) = (time(call, "from")?, time(call, "to")?);
    let log = filter("log")
        .unwrap_or_else(|| if call.tenant.is_some() { "tenant" } else { "platform" }.to_owned());
    if !["tenant", "platform"].contains(&log.as_str()) || (call.tenant.is_none() && log == "tenant")
    {
        return Err(Refusal::invalid("/log", "`tenant` or `platform`", log).into());
    }
    let tenant = call.tenant.as_ref().filter(|_| log == "platform").map(|tenant| tenant.id.clone());
    let statement = format!(
        "SELECT {COLUMNS} FROM audit_events WHERE id > $1 AND ($3::text IS NULL OR tenant_id = $3) \
         AND ($4::text IS NULL OR action = $4) AND ($5::text IS NULL OR actor_id = $5) \
         AND ($6::text IS NULL OR resource_id = $6 OR resource_type = $6) AND ($7::text IS NULL OR outcome = $7) \
         AND ($8::text IS NULL OR at >= $8::timestamptz) AND ($9::text IS NULL OR at < $9::timestamptz) ORDER BY id LIMIT $2"
    );
    let limit = page.fetched();
    let (action, actor) = (filter("action"), filter("actor"));
    let (resource, outcome) = (filter("resource"), filter("outcome"));
    let params = [
        text(&page.after),
        bigint(&limit),
        text(&tenant),
        text(&action),
        text(&actor),
        text(&resource),
        text(&outcome),
        text(&from),
        text(&to),
    ];
    let rows: Vec<Row> = match log.as_str() {
        "tenant" => call.tenant_conn().await?.query_typed(&statement, &params).await?,
        _ => call.platform().await?.query_typed(&statement, &params).await?,
    };
    Ok(page.reply(call, rows.iter().map(|row| (row.get("id"), shown(row))).collect()))
}

fn time(call: &Call, name: &str) -> Result<Option<String>, Refusal> {
    let Some(text) = call.query.get(name) else { return Ok(None) };
    let parsed = text.parse::<Timestamp>();
    let parsed = parsed
        .map_err(|_| Refusal::invalid(&format!("/{name}"), "an RFC 3339 time", text.clone()))?;
    Ok(Some(parsed.to_string()))
}
