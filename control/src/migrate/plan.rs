//! What a migration would do, before it does.

use super::{PLATFORM, behind, template_name, tenant_schema_version};
use crate::sql::{self, Queries, text};
use std::fmt::Write;
use tokio_postgres::Client;

/// What `run` would do, one step a line: what it locks, and how many rows are there.
///
/// # Errors
/// Those of the database.
pub async fn plan(admin: &Client) -> Result<String, tokio_postgres::Error> {
    let (applied, known) = platform_state(admin).await?;
    let mut out = format!("platform  {applied} of {known} applied\n");
    for migration in PLATFORM.iter().skip(applied) {
        let _ = writeln!(out, "  {}  one transaction", migration.name);
        for (table, lock) in locks(migration.text) {
            let statement = "SELECT greatest(reltuples, 0)::int8, pg_total_relation_size(oid) FROM pg_class \
                WHERE relname = $1 AND relkind = 'r'";
            let size = sql::first(admin, statement, &[text(&table)]).await?;
            let (rows, bytes): (i64, i64) = size.map_or((0, 0), |row| (row.get(0), row.get(1)));
            let about = bytes as f64 / INDEXED_BYTES_PER_SECOND;
            let _ = writeln!(
                out,
                "    {table:<24} {lock:<24} about {rows} rows, {bytes} bytes, {about:.1} s"
            );
        }
    }
    let name = template_name();
    let made = "SELECT FROM pg_database WHERE datname = $1";
    let is_made = sql::first(admin, made, &[text(&name)]).await?.is_some();
    let note = if is_made { "there" } else { "to be made, about 1 s" };
    let _ = writeln!(out, "template  {name}  {note}");
    let behind = if applied == 0 {
        "none yet".to_owned()
    } else if applied < 2 {
        "each that is active".to_owned()
    } else {
        behind(admin).await?.len().to_string()
    };
    let _ =
        writeln!(out, "tenants   to be brought to schema {}: {behind}", tenant_schema_version());
    Ok(out)
}

/// So fast a table is read and an index on it written, roughly: for estimates.
const INDEXED_BYTES_PER_SECOND: f64 = 50_000_000.0;

/// The tables that exist before a migration and are locked by it, with the lock (Postgres, 13.3).
fn locks(migration: &str) -> Vec<(&str, &'static str)> {
    let made: Vec<&str> = statements(migration, "CREATE TABLE ").collect();
    let on = |text: &'static str, word: &'static str| {
        statements(migration, text)
            .filter_map(move |rest| rest.split_once(word)?.1.split([' ', '(']).next())
    };
    let altered = statements(migration, "ALTER TABLE ").filter_map(|rest| rest.split(' ').next());
    let altered = altered.map(|table| (table, "ACCESS EXCLUSIVE"));
    let indexed = on("CREATE INDEX ", " ON ").map(|table| (table, "SHARE"));
    let watched = on("CREATE TRIGGER ", " ON ").map(|table| (table, "SHARE ROW EXCLUSIVE"));
    let is_old = |table: &str| !made.iter().any(|made| made.split(' ').next() == Some(table));
    let mut all: Vec<_> =
        altered.chain(indexed).chain(watched).filter(|(table, _)| is_old(table)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// What follows a beginning, for each statement that has it.
fn statements<'m>(migration: &'m str, begins: &'static str) -> impl Iterator<Item = &'m str> {
    migration.lines().filter_map(move |line| line.strip_prefix(begins))
}

/// How far a database is: applied and known.
async fn platform_state(admin: &Client) -> Result<(usize, usize), tokio_postgres::Error> {
    let known = "SELECT FROM pg_class WHERE relname = 'schema_migrations' AND relkind = 'r'";
    if sql::first(admin, known, &[]).await?.is_none() {
        return Ok((0, PLATFORM.len()));
    }
    let count = admin.rows("SELECT count(*)::int4 FROM schema_migrations", &[]).await?;
    let applied = count.first().map_or(0, |row| row.get::<_, i32>(0));
    Ok((usize::try_from(applied).unwrap_or(0), PLATFORM.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_locks_what_was_there_before() {
        let [first, second, ..] = PLATFORM else { panic!("two migrations") };
        assert_eq!(locks(first.text), []);
        let expected = [
            ("audit_events", "SHARE"),
            ("audit_events", "SHARE ROW EXCLUSIVE"),
            ("operations", "SHARE"),
            ("placements", "ACCESS EXCLUSIVE"),
            ("placements", "SHARE"),
        ];
        assert_eq!(locks(second.text), expected);
    }
}
