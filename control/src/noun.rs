//! What the tables of people have in common: an object is a row, shown by its database, listed, found, audited.

use crate::audit::Event;
use crate::call::{Call, Reply};
use crate::code::Refusal;
use crate::listing::{Listing, Order};
use crate::page::Page;
use crate::pools::Conn;
use crate::sql::{self, Param, Queries, text};
use crate::write::{Stop, Write};
use http::StatusCode;
use serde_json::Value as Json;
use tokio_postgres::Row;

/// A kind of object of a tenant or of the platform.
#[derive(Debug)]
pub(crate) struct Noun {
    /// As refusals and the audit log name it.
    pub(crate) name: &'static str,
    /// `id`, `version`, and the whole as `object`.
    pub(crate) columns: &'static str,
    pub(crate) from: &'static str,
    /// The column of its id, with its table.
    pub(crate) id: &'static str,
    pub(crate) orders: &'static [Order],
    /// Columns that a search looks at.
    pub(crate) searched: &'static [&'static str],
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) id: String,
    pub(crate) version: i64,
    pub(crate) json: Json,
}

impl Object {
    pub(crate) fn reply(self) -> Reply {
        Reply::ok(self.json).etag(self.version)
    }

    /// 201 with where it is.
    pub(crate) fn made(self, call: &Call) -> Reply {
        let location = call.service.link(&format!("{}/{}", call.path(), self.id));
        Reply { location: Some(location), ..self.reply().status(StatusCode::CREATED) }
    }
}

impl Noun {
    /// # Errors
    /// `not-found`, and those of the database.
    pub(crate) async fn find(
        &self,
        client: &impl Queries,
        id: &str,
        lock: bool,
    ) -> Result<Object, Refusal> {
        let found = self.maybe(client, id, lock).await?;
        found.ok_or_else(|| Refusal::not_found(self.name, id))
    }

    /// # Errors
    /// Those of the database.
    pub(crate) async fn maybe(
        &self,
        client: &impl Queries,
        id: &str,
        lock: bool,
    ) -> Result<Option<Object>, Refusal> {
        let lock = if lock { "FOR UPDATE" } else { "" };
        let (columns, from) = (self.columns, self.from);
        let statement = format!("SELECT {columns} {from} WHERE {} = $1 {lock}", self.id);
        let row = sql::first(client, &statement, &[text(&id)]).await?;
        Ok(row.map(|row| Object {
            id: row.get("id"),
            version: row.get("version"),
            json: row.get("object"),
        }))
    }

    /// A page of those for which all conditions hold that have a value.
    ///
    /// # Errors
    /// Those of the page and of the database.
    pub(crate) async fn list(
        &self,
        call: &Call,
        conn: &Conn,
        conditions: Vec<(&str, Option<Param<'_>>)>,
    ) -> Result<Reply, Stop> {
        let page = Page::read(call)?;
        let mut listing = Listing::new(self.columns, self.from, self.orders);
        for (condition, value) in conditions {
            listing.only(condition, value);
        }
        listing.search(&page, self.searched);
        listing.answer(&page, conn, |row: &Row| row.get("object")).await
    }

    /// The one that the path names.
    ///
    /// # Errors
    /// `not-found`, and those of the database.
    pub(crate) async fn show(&self, call: &Call, conn: &Conn) -> Result<Reply, Stop> {
        Ok(self.find(conn, call.parameter(0), false).await?.reply())
    }

    /// Begins a change of the one that the path names: locked, and of the version that the caller knows.
    ///
    /// # Errors
    /// Those of `Write::begin`, `not-found`, `if-match-required`, `version-mismatch`, and those of the database.
    pub(crate) async fn begin<'c>(
        &self,
        call: &'c Call,
        conn: &'c mut Conn,
    ) -> Result<(Write<'c>, Object), Stop> {
        let write = Write::begin(call, conn).await?;
        let before = self.find(&write.tx, call.parameter(0), true).await?;
        call.match_version(before.version)?;
        Ok((write, before))
    }

    /// Ends a change with one that was made.
    ///
    /// # Errors
    /// Those of the database: then nothing was changed.
    pub(crate) async fn made(
        &self,
        mut write: Write<'_>,
        id: &str,
        action: &str,
    ) -> Result<Reply, Stop> {
        let made = self.find(&write.tx, id, false).await?;
        self.record(&mut write, action, None, Some(&made)).await?;
        let reply = made.made(write.call());
        write.finish(reply).await
    }

    /// Ends a change with what one is now.
    ///
    /// # Errors
    /// Those of the database: then nothing was changed.
    pub(crate) async fn changed(
        &self,
        mut write: Write<'_>,
        before: &Object,
        action: &str,
    ) -> Result<Reply, Stop> {
        let after = self.find(&write.tx, &before.id, false).await?;
        self.record(&mut write, action, Some(before), Some(&after)).await?;
        write.finish(after.reply()).await
    }

    /// Ends a change with nothing where one was.
    ///
    /// # Errors
    /// Those of the database: then nothing was changed.
    pub(crate) async fn gone(
        &self,
        mut write: Write<'_>,
        before: &Object,
        action: &str,
    ) -> Result<Reply, Stop> {
        self.record(&mut write, action, Some(before), None).await?;
        write.finish(Reply::empty()).await
    }

    /// Writes down what became of one.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn record(
        &self,
        write: &mut Write<'_>,
        action: &str,
        before: Option<&Object>,
        after: Option<&Object>,
    ) -> Result<(), Refusal> {
        let id = after.or(before).map_or("", |object| object.id.as_str());
        let tenant_id = write.call().tenant.as_ref().map(|tenant| tenant.id.as_str());
        let event = Event {
            action,
            tenant_id,
            resource: (self.name, id),
            before: before.map(|object| &object.json),
            after: after.map(|object| &object.json),
        };
        write.audit(&event).await
    }
}
