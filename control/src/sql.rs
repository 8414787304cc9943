//! Statements with typed parameters: what is not prepared is sent whole in one round trip, unnamed, so that it
//! works behind a pooler in transaction mode.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, Transaction};

type Answered<T> = Result<T, tokio_postgres::Error>;

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

/// What a statement can be sent to.
pub trait Queries: Sync {
    /// The rows of an answer.
    fn rows(
        &self,
        statement: &str,
        params: &[Param<'_>],
    ) -> impl Future<Output = Answered<Vec<Row>>> + Send;

    /// How many rows a statement changed or returned.
    fn count(
        &self,
        statement: &str,
        params: &[Param<'_>],
    ) -> impl Future<Output = Answered<u64>> + Send;
}

macro_rules! unnamed {
    ($($client:ty)*) => {$(
        impl Queries for $client {
            async fn rows(&self, statement: &str, params: &[Param<'_>]) -> Answered<Vec<Row>> {
                self.query_typed(statement, params).await
            }

            async fn count(&self, statement: &str, params: &[Param<'_>]) -> Answered<u64> {
                self.execute_typed(statement, params).await
            }
        }
    )*};
}

unnamed! { Client Transaction<'_> }

/// The only row of an answer, if there is one.
///
/// # Errors
/// Those of the database.
pub async fn first(
    client: &impl Queries,
    statement: &str,
    params: &[Param<'_>],
) -> Result<Option<Row>, tokio_postgres::Error> {
    Ok(client.rows(statement, params).await?.into_iter().next())
}

/// Runs a statement; how many rows it changed or returned.
///
/// # Errors
/// Those of the database.
pub async fn run(
    client: &impl Queries,
    statement: &str,
    params: &[Param<'_>],
) -> Result<u64, tokio_postgres::Error> {
    client.count(statement, params).await
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
