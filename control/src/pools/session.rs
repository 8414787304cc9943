//! One session of a database: its client, and the statements that are prepared in it.
//!
//! A statement is prepared when it comes a second time: a session that is opened for one call pays for none.
//! With `database.named_statements = false` none is, for poolers in transaction mode.

use crate::sql::{Param, Queries};
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Mutex, PoisonError};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row, Statement, Transaction};

/// The service's statements are fewer; behind this many, new ones stay unnamed.
const STATEMENTS_MAX: usize = 256;

/// An open session.
pub(super) struct Session {
    pub(super) client: Client,
    statements: Statements,
}

/// What is known of the statements of a session; without a map, none is prepared.
struct Statements(Option<Mutex<HashMap<String, Known>>>);

#[derive(Clone)]
enum Known {
    Seen,
    Prepared(Statement),
}

/// A transaction; its connection is rolled back before it is handed on, unless this was ended.
#[allow(missing_debug_implementations, reason = "holds a client")]
pub struct Tx<'c> {
    tx: Transaction<'c>,
    statements: &'c Statements,
    is_open: &'c mut bool,
}

impl Session {
    pub(super) fn new(client: Client, named_statements: bool) -> Session {
        Session { client, statements: Statements(named_statements.then(Mutex::default)) }
    }

    /// `is_open` is set until the transaction is ended.
    pub(super) async fn begin<'c>(&'c mut self, is_open: &'c mut bool) -> Result<Tx<'c>, Error> {
        *is_open = true;
        let tx = self.client.transaction().await?;
        Ok(Tx { tx, statements: &self.statements, is_open })
    }
}

impl Tx<'_> {
    /// # Errors
    /// Those of the database: then nothing was changed, or nobody knows.
    pub async fn commit(self) -> Result<(), Error> {
        self.tx.commit().await?;
        *self.is_open = false;
        Ok(())
    }

    /// # Errors
    /// Those of the database.
    pub async fn rollback(self) -> Result<(), Error> {
        self.tx.rollback().await?;
        *self.is_open = false;
        Ok(())
    }
}

impl<'c> Deref for Tx<'c> {
    type Target = Transaction<'c>;

    fn deref(&self) -> &Transaction<'c> {
        &self.tx
    }
}

impl Statements {
    /// What to do with a statement that is about to be sent: `None` sends it unnamed.
    fn look(&self, text: &str) -> Option<Known> {
        let mut known = self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(text) {
            Some(found) => Some(found.clone()),
            None if known.len() < STATEMENTS_MAX => {
                known.insert(text.to_owned(), Known::Seen);
                None
            }
            None => None,
        }
    }

    fn keep(&self, text: &str, statement: &Statement) {
        if let Some(known) = &self.0 {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(text.to_owned(), Known::Prepared(statement.clone()));
        }
    }
}

/// The statement as it is prepared in this session, if it is to be.
macro_rules! prepared {
    ($statements:expr, $client:expr, $text:expr, $params:expr) => {
        match $statements.look($text) {
            None => None,
            Some(Known::Prepared(statement)) => Some(statement),
            Some(Known::Seen) => {
                let types: Vec<Type> = $params.iter().map(|(_, kind)| kind.clone()).collect();
                let statement = $client.prepare_typed($text, &types).await?;
                $statements.keep($text, &statement);
                Some(statement)
            }
        }
    };
}

fn values<'p>(params: &[Param<'p>]) -> Vec<&'p (dyn ToSql + Sync)> {
    params.iter().map(|(value, _)| *value).collect()
}

macro_rules! queries {
    ($($kind:ty, $client:ident;)*) => {$(
        impl Queries for $kind {
            async fn rows(&self, text: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
                match prepared!(self.statements, self.$client, text, params) {
                    Some(statement) => self.$client.query(&statement, &values(params)).await,
                    None => self.$client.query_typed(text, params).await,
                }
            }

            async fn count(&self, text: &str, params: &[Param<'_>]) -> Result<u64, Error> {
                match prepared!(self.statements, self.$client, text, params) {
                    Some(statement) => self.$client.execute(&statement, &values(params)).await,
                    None => self.$client.execute_typed(text, params).await,
                }
            }
        }
    )*};
}

queries! {
    Session, client;
    Tx<'_>, tx;
}
