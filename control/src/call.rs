//! One call on its way to its handler: what the layer has read and checked, so that a handler need not.

use crate::audit::Origin;
use crate::authority::Permitted;
use crate::code::{Code, Refusal};
use crate::credential::Caller;
use crate::placement::{KnownTenant, VerifiedTenant};
use crate::pools::{Conn, Home, TenantConn};
use crate::routes::Route;
use crate::service::Service;
use axum::body::Body;
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A call that may be answered.
#[allow(missing_debug_implementations, reason = "holds a client")]
pub struct Call {
    pub service: Arc<Service>,
    pub caller: Caller,
    pub permitted: Permitted,
    /// The tenant that the path names.
    pub tenant: Option<KnownTenant>,
    /// Values of the path's `{…}`, the tenant's left out, in order.
    pub parameters: Vec<String>,
    pub query: BTreeMap<String, String>,
    pub body: Option<Json>,
    pub if_match: Option<String>,
    pub idempotency_key: Option<String>,
    pub route: String,
    pub served: &'static Route,
    pub is_dry_run: bool,
    pub origin: Origin,
    /// The connection on which the caller's key was found, until it is taken.
    pub conn: Mutex<Option<TenantConn>>,
}

/// What a handler answers.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub body: Option<Json>,
    /// Something else than an object: its type, and the body.
    pub raw: Option<(&'static str, Body)>,
    pub etag: Option<String>,
    pub location: Option<String>,
    /// `Set-Cookie`, each.
    pub cookies: Vec<String>,
    /// A member of the body that is shown once: left out of replays.
    pub secret_member: Option<&'static str>,
}

impl Reply {
    pub fn ok(body: Json) -> Reply {
        Reply {
            status: StatusCode::OK,
            body: Some(body),
            raw: None,
            etag: None,
            location: None,
            cookies: Vec::new(),
            secret_member: None,
        }
    }

    pub fn status(mut self, status: StatusCode) -> Reply {
        self.status = status;
        self
    }

    /// The strong ETag of a version.
    pub fn etag(mut self, version: i64) -> Reply {
        self.etag = Some(format!("\"{version}\""));
        self
    }

    pub fn empty() -> Reply {
        Reply { body: None, status: StatusCode::NO_CONTENT, ..Reply::ok(Json::Null) }
    }
}

impl Call {
    /// The value of the path's next `{…}` behind the tenant's.
    pub fn parameter(&self, at: usize) -> &str {
        self.parameters.get(at).map_or("", String::as_str)
    }

    /// The body as a type that knows its members.
    ///
    /// # Errors
    /// `invalid` with the pointer of the first member that is wrong.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        self.read_from(self.body.clone().unwrap_or_else(|| json!({})))
    }

    /// The same of a part of it.
    ///
    /// # Errors
    /// `invalid` with the pointer of the first member that is wrong.
    pub fn read_from<T: DeserializeOwned>(&self, body: Json) -> Result<T, Refusal> {
        serde_path_to_error::deserialize(body).map_err(|error| {
            let path = error.path().to_string();
            let pointer = match path.as_str() {
                "." => String::new(),
                path => format!("/{}", path.replace(['.', '['], "/").replace(']', "")),
            };
            let said = error.into_inner().to_string();
            let (expected, got) = said.split_once(", expected ").map_or_else(
                || (said.clone(), "something else".to_owned()),
                |(got, expected)| (expected.to_owned(), got.to_owned()),
            );
            Refusal::invalid(&pointer, &expected, got)
        })
    }

    /// A member of the query that is one of some words, if it is there.
    ///
    /// # Errors
    /// `invalid` with the words.
    pub fn one_of(&self, name: &str, words: &[&str]) -> Result<Option<&str>, Refusal> {
        match self.query.get(name).map(String::as_str) {
            Some(word) if !words.contains(&word) => {
                let expected = format!("one of {}", words.join(", "));
                Err(Refusal::invalid(&format!("/{name}"), &expected, word))
            }
            word => Ok(word),
        }
    }

    /// The tenant of the path.
    ///
    /// # Errors
    /// `internal` on a route without one.
    pub fn tenant(&self) -> Result<&KnownTenant, Refusal> {
        self.tenant.as_ref().ok_or_else(|| Refusal::internal("the route names no tenant"))
    }

    /// # Errors
    /// Those of the pool.
    pub async fn platform(&self) -> Result<Conn, Refusal> {
        self.service.pools.platform().await
    }

    /// A connection to the database of the path's tenant.
    ///
    /// # Errors
    /// `tenant-not-ready`, and those of the pool.
    pub async fn tenant_conn(&self) -> Result<TenantConn, Refusal> {
        let verified: VerifiedTenant = self.tenant()?.for_call(&self.permitted)?;
        let kept = self.conn.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(conn) = kept.filter(|conn| conn.tenant() == verified.id()) {
            return Ok(conn);
        }
        self.service.pools.tenant(&verified).await
    }

    /// A connection to where the objects of the path live: those of its tenant, or the platform's.
    ///
    /// # Errors
    /// `tenant-not-ready`, and those of the pool.
    pub async fn home(&self) -> Result<Home, Refusal> {
        match self.tenant {
            None => self.platform().await.map(Home::Platform),
            Some(_) => self.tenant_conn().await.map(Home::Tenant),
        }
    }

    /// Refuses unless `If-Match` names the version.
    ///
    /// # Errors
    /// `if-match-required`, `version-mismatch` with the version that is there.
    pub fn match_version(&self, version: i64) -> Result<(), Refusal> {
        let Some(wanted) = &self.if_match else {
            let message = "send the object's ETag in If-Match, so that nobody's change is lost";
            return Err(Refusal::new(Code::IfMatchRequired, message));
        };
        let is_named =
            wanted.split(',').any(|tag| tag.trim().trim_matches('"') == version.to_string());
        match is_named || wanted.trim() == "*" {
            true => Ok(()),
            false => {
                Err(Refusal::new(Code::VersionMismatch, "the object has changed; read it again")
                    .with(json!({"version": version})))
            }
        }
    }

    /// The path that was called.
    pub fn path(&self) -> &str {
        self.route.split_once(' ').map_or("", |(_, path)| path)
    }
}
