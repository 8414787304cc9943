//! Parameters with their types: a statement is sent whole in one round trip, unnamed, so that it works
//! behind a pooler in transaction mode.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{GenericClient, Row};

pub type Param<'p> = (&'p (dyn ToSql + Sync), Type);

macro_rules! params {
    ($($name:ident $type:ident,)*) => {
        $(pub fn $name<'p>(value: &'p (dyn ToSql + Sync)) -> Param<'p> { (value, Type::$type) })*
    };
}

params! {
    text TEXT,
    texts TEXT_ARRAY,
    int INT4,
    bigint INT8,
    bytes BYTEA,
    jsonb JSONB,
    double FLOAT8,
}

/// The only row of an answer, if there is one.
///
/// # Errors
/// Those of the database.
pub async fn first(
    client: &impl GenericClient,
    statement: &str,
    params: &[Param<'_>],
) -> Result<Option<Row>, tokio_postgres::Error> {
    Ok(client.query_typed(statement, params).await?.into_iter().next())
}

/// Runs a statement; how many rows it changed or returned.
///
/// # Errors
/// Those of the database.
pub async fn run(
    client: &impl GenericClient,
    statement: &str,
    params: &[Param<'_>],
) -> Result<u64, tokio_postgres::Error> {
    client.execute_typed(statement, params).await
}

/// A name inside a statement that takes no parameters (CREATE ROLE and the like). Only our own random
/// names come here.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text inside such a statement.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
