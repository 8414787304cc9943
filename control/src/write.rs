//! A change: one transaction with its audit events, its idempotency key, and nothing at all on a dry run.

use crate::audit::{Event, append, changed};
use crate::call::{Call, Reply};
use crate::code::{Code, Refusal};
use crate::planted::panic_sometimes;
use crate::pools::{Conn, Tx};
use crate::sql::{self, bigint, bytes, int, jsonb, text};
use http::StatusCode;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

/// Why a handler ends early.
#[derive(Debug)]
pub enum Stop {
    Refused(Refusal),
    /// The same call was answered before.
    Replayed(Box<Reply>),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal)
    }
}

impl From<tokio_postgres::Error> for Stop {
    fn from(error: tokio_postgres::Error) -> Stop {
        Stop::Refused(Refusal::from(error))
    }
}

/// An open change.
#[allow(missing_debug_implementations, reason = "holds a transaction")]
pub struct Write<'c> {
    pub tx: Tx<'c>,
    call: &'c Call,
    changes: Vec<Json>,
}

impl<'c> Write<'c> {
    /// Begins the change of a call.
    ///
    /// # Errors
    /// A replay, `idempotency-in-progress`, `idempotency-mismatch`, and those of the database.
    pub async fn begin(call: &'c Call, conn: &'c mut Conn) -> Result<Write<'c>, Stop> {
        let tx = conn.begin().await?;
        let write = Write { tx, call, changes: Vec::new() };
        match write.replayed().await {
            Ok(()) => Ok(write),
            Err(stop) => {
                write.tx.rollback().await?;
                Err(stop)
            }
        }
    }

    /// Answers again what was answered before, without the work between: for changes that are checked at length.
    ///
    /// # Errors
    /// Those of `begin`.
    pub async fn replay(call: &Call, conn: &mut Conn) -> Result<(), Stop> {
        let write = Write::begin(call, conn).await?;
        Ok(write.tx.rollback().await?)
    }

    async fn replayed(&self) -> Result<(), Stop> {
        let Some(key) = &self.call.idempotency_key else { return Ok(()) };
        let (credential, route) = (&self.call.caller.id, &self.call.route);
        let lock = Sha256::digest(format!("{credential} {route} {key}").as_bytes());
        let lock = lock.first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes));
        let statement = "SELECT pg_try_advisory_xact_lock($1)";
        let locked = sql::first(&self.tx, statement, &[bigint(&lock)]).await?;
        if !locked.is_some_and(|row| row.get(0)) {
            let message = "a call with this Idempotency-Key is being answered; ask again shortly";
            return Err(Refusal::new(Code::IdempotencyInProgress, message).into());
        }
        let statement = "SELECT body_digest, status, headers, body FROM idempotency_keys \
            WHERE credential_id = $1 AND route = $2 AND key = $3 AND created_at > now() - interval '24 hours'";
        let params = [text(credential), text(route), text(key)];
        let Some(row) = sql::first(&self.tx, statement, &params).await? else { return Ok(()) };
        if row.get::<_, Vec<u8>>(0) != self.digest() {
            let message = "this Idempotency-Key was used with another body; use a new one";
            return Err(Refusal::new(Code::IdempotencyMismatch, message).into());
        }
        let headers: Json = row.get(2);
        let status = u16::try_from(row.get::<_, i32>(1)).ok();
        let header = |name: &str| headers[name].as_str().map(str::to_owned);
        let body: Json = row.get(3);
        Err(Stop::Replayed(Box::new(Reply {
            status: status
                .and_then(|code| StatusCode::from_u16(code).ok())
                .unwrap_or(StatusCode::OK),
            body: (!body.is_null()).then_some(body),
            raw: None,
            etag: header("etag"),
            location: header("location"),
            cookies: Vec::new(),
            secret_member: None,
        })))
    }

    fn digest(&self) -> Vec<u8> {
        let body = self.call.body.as_ref().map(Json::to_string).unwrap_or_default();
        Sha256::digest(body.as_bytes()).to_vec()
    }

    pub fn call(&self) -> &'c Call {
        self.call
    }

    /// Writes down what was changed.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn audit(&mut self, event: &Event<'_>) -> Result<(), Refusal> {
        append(&self.tx, &self.call.origin, event).await?;
        panic_sometimes();
        let (kind, id) = event.resource;
        let changed = changed(event.before, event.after);
        self.changes.push(json!({"action": event.action, "resource": {"type": kind, "id": id}, "changed": changed}));
        Ok(())
    }

    /// Commits and answers; on a dry run takes everything back and says what would have changed.
    ///
    /// # Errors
    /// Those of the database: then nothing was changed.
    pub async fn finish(self, mut reply: Reply) -> Result<Reply, Stop> {
        if self.call.is_dry_run {
            self.tx.rollback().await?;
            let mut body = reply.body.take().unwrap_or_else(|| json!({}));
            if let Some(member) = reply.secret_member.take().and_then(|name| body.get_mut(name)) {
                *member = Json::Null;
            }
            body["changes"] = Json::Array(self.changes);
            return Ok(Reply { location: None, ..Reply::ok(body) });
        }
        if let Some(key) = &self.call.idempotency_key {
            let mut body = reply.body.clone().unwrap_or(Json::Null);
            if let (Some(name), Some(members)) = (reply.secret_member, body.as_object_mut()) {
                members.remove(name);
            }
            let headers = json!({"etag": reply.etag, "location": reply.location});
            let status = i32::from(reply.status.as_u16());
            let statement = "INSERT INTO idempotency_keys (credential_id, route, key, body_digest, status, headers, body) \
                VALUES ($1, $2, $3, $4, $5, $6, $7)";
            let digest = self.digest();
            let (credential, route) = (&self.call.caller.id, &self.call.route);
            let params = [
                text(credential),
                text(route),
                text(key),
                bytes(&digest),
                int(&status),
                jsonb(&headers),
                jsonb(&body),
            ];
            // An expired one makes room for its successor.
            let expired =
                "DELETE FROM idempotency_keys WHERE credential_id = $1 AND route = $2 AND key = $3";
            sql::run(&self.tx, expired, &params[..3]).await?;
            sql::run(&self.tx, statement, &params).await?;
        }
        self.tx.commit().await?;
        // In which of both it was written the call does not say: a look that finds nothing is cheap.
        self.call.service.noted.note(None);
        if let Some(tenant) = &self.call.tenant {
            self.call.service.noted.note(Some(&tenant.id));
        }
        Ok(reply)
    }

    /// Takes everything back and refuses.
    pub async fn refuse(self, refusal: Refusal) -> Stop {
        // The pool sees to it if this fails.
        let _ = self.tx.rollback().await;
        Stop::Refused(refusal)
    }
}
