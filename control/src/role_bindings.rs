//! Role bindings: which user or group of a tenant, or user of the platform, has which role, and until when.

use crate::admins::{Admins, Level};
use crate::call::{Call, Reply};
use crate::code::{Code, Refusal};
use crate::groups::GROUP;
use crate::listing::{Key, Order};
use crate::noun::Noun;
use crate::random::{id, now_ms};
use crate::roles::{Grant, within};
use crate::sql::{self, Param, text};
use crate::users::{USER, given};
use crate::write::{Stop, Write};
use jiff::Timestamp;
use serde::Deserialize;

const BINDING: Noun = Noun {
    name: "role-binding",
    columns: "id, version, jsonb_build_object('id', id, \
        'subject', jsonb_build_object('type', subject_type, 'id', subject_id), 'role', role, \
        'expires_at', rfc3339(expires_at), 'version', version, 'created_at', rfc3339(created_at), \
        'updated_at', rfc3339(updated_at)) AS object",
    from: "FROM role_bindings",
    id: "id",
    orders: &[Order { name: "created_at", key: Key::Unique("id") }],
    searched: &["role"],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    r#type: String,
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    subject: Subject,
    role: String,
    expires_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    #[serde(default, deserialize_with = "given")]
    expires_at: Option<Option<String>>,
}

/// RFC 3339, in the future; none: until it is deleted.
fn expiry(value: Option<&str>) -> Result<Option<String>, Refusal> {
    let Some(value) = value else { return Ok(None) };
    let refuse = || Refusal::invalid("/expires_at", "an RFC 3339 time in the future", value);
    let at: Timestamp = value.parse().map_err(|_| refuse())?;
    if at <= Timestamp::now() { Err(refuse()) } else { Ok(Some(at.to_string())) }
}

/// `GET T/role-bindings`.
pub async fn list(call: &Call) -> Result<Reply, Stop> {
    let value = |name: &str| call.query.get(name).map(|value| text(value) as Param<'_>);
    let conditions = vec![("subject_id = {}", value("subject")), ("role = {}", value("role"))];
    BINDING.list(call, &*call.home().await?, conditions).await
}

/// `GET T/role-bindings/{id}`.
pub async fn show(call: &Call) -> Result<Reply, Stop> {
    BINDING.show(call, &*call.home().await?).await
}

/// `POST T/role-bindings`: in force with the commit; nobody binds what they do not hold.
pub async fn create(call: &Call) -> Result<Reply, Stop> {
    let new: New = call.read()?;
    let expires_at = expiry(new.expires_at.as_deref())?;
    let mut conn = call.home().await?;
    let write = Write::begin(call, &mut conn).await?;
    let noun = match new.subject.r#type.as_str() {
        "user" => &USER,
        "group" if call.tenant.is_some() => &GROUP,
        other => {
            let expected = if call.tenant.is_some() { "user or group" } else { "user" };
            return Err(Refusal::invalid("/subject/type", expected, other).into());
        }
    };
    if noun.maybe(&write.tx, &new.subject.id, true).await?.is_none() {
        let expected = format!("the id of a {} that is there", noun.name);
        return Err(Refusal::invalid("/subject/id", &expected, new.subject.id).into());
    }
    within(call, &Grant::of(call, &write.tx, new.role.clone()).await?)?;
    let params = [text(&new.subject.r#type), text(&new.subject.id), text(&new.role)];
    let bound =
        "SELECT id FROM role_bindings WHERE subject_type = $1 AND subject_id = $2 AND role = $3";
    if sql::first(&write.tx, bound, &params).await?.is_some() {
        let message = "this role is bound to it already; change when that ends instead";
        return Err(Refusal::new(Code::AlreadyExists, message).into());
    }
    let binding = id("rb", now_ms());
    let statement = "INSERT INTO role_bindings (id, subject_type, subject_id, role, expires_at) \
        VALUES ($1, $2, $3, $4, $5::text::timestamptz)";
    let [kind, subject, role] = params;
    let params = [text(&binding), kind, subject, role, text(&expires_at)];
    sql::run(&write.tx, statement, &params).await?;
    BINDING.made(write, &binding, "role_binding.created").await
}

/// `PATCH T/role-bindings/{id}`: when it ends, null for never. To prolong is to bind.
pub async fn update(call: &Call) -> Result<Reply, Stop> {
    let patch: Patch = call.read()?;
    let wanted = patch.expires_at;
    let mut conn = call.home().await?;
    let (write, before) = BINDING.begin(call, &mut conn).await?;
    if let Some(wanted) = wanted {
        let expires_at = expiry(wanted.as_deref())?;
        let role = before.json["role"].as_str().unwrap_or_default().to_owned();
        within(call, &Grant::of(call, &write.tx, role).await?)?;
        let statement = "UPDATE role_bindings SET expires_at = $2::text::timestamptz, version = version + 1, \
            updated_at = now() WHERE id = $1";
        sql::run(&write.tx, statement, &[text(&before.id), text(&expires_at)]).await?;
    }
    BINDING.changed(write, &before, "role_binding.updated").await
}

/// `DELETE T/role-bindings/{id}`: gone with the commit.
pub async fn delete(call: &Call) -> Result<Reply, Stop> {
    let mut conn = call.home().await?;
    let write = Write::begin(call, &mut conn).await?;
    let admins = Admins::before(&write.tx, Level::of(call)).await?;
    let before = BINDING.find(&write.tx, call.parameter(0), true).await?;
    call.match_version(before.version)?;
    sql::run(&write.tx, "DELETE FROM role_bindings WHERE id = $1", &[text(&before.id)]).await?;
    admins.are_left(&write.tx).await?;
    BINDING.gone(write, &before, "role_binding.deleted").await
}
