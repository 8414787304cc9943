//! People of a tenant, or of the platform: who they are to their identity provider, and whether they may act.
//!
//! A user is one (issuer, subject); everything that names a person of a tenant is in the tenant's own database.

use crate::admins::{Admins, Level};
use crate::audit;
use crate::break_glass;
use crate::call::{Call, Reply};
use crate::code::{Code, Refusal};
use crate::listing::{Key, Order};
use crate::noun::{Noun, Object};
use crate::random::{id, now_ms};
use crate::sql::{self, Param, Queries, bigint, text};
use crate::tenants::model::display_name;
use crate::write::{Stop, Write};
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

pub(crate) const USER: Noun = Noun {
    name: "user",
    columns: "id, version, jsonb_build_object('id', id, 'issuer', issuer, 'subject', subject, \
        'display_name', display_name, 'email', email, 'state', state, 'last_used_at', rfc3339(last_used_at), \
        'signed_out_at', rfc3339(signed_out_at), \
        'version', version, 'created_at', rfc3339(created_at), 'updated_at', rfc3339(updated_at)) AS object",
    from: "FROM users",
    id: "id",
    orders: &[
        Order { name: "created_at", key: Key::Unique("id") },
        Order { name: "display_name", key: Key::Text("lower(display_name COLLATE \"C\")", "id") },
    ],
    searched: &["lower(display_name COLLATE \"C\")", "lower(email COLLATE \"C\")"],
};

/// The newest that an export of a user names.
const EVENTS_MAX: i64 = 10_000;
const STATES: [&str; 2] = ["active", "disabled"];
/// An issuer's URL and its name for a person, in bytes (OpenID Connect Core 1.0, 2: `sub` has at most 255).
const IDENTITY_BYTES_MAX: usize = 255;
/// RFC 5321, 4.5.3.1: 64 before the at sign, 255 behind it.
const EMAIL_BYTES_MAX: usize = 320;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    issuer: String,
    subject: String,
    display_name: Option<String>,
    email: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    display_name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    email: Option<Option<String>>,
    state: Option<String>,
}

/// A member that is there, be it null.
pub(crate) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

pub(crate) fn identity(pointer: &str, value: &str) -> Result<(), Refusal> {
    let is_right =
        (1..=IDENTITY_BYTES_MAX).contains(&value.len()) && !value.chars().any(char::is_control);
    match is_right {
        true => Ok(()),
        false => {
            let expected = format!("1-{IDENTITY_BYTES_MAX} bytes without control characters");
            Err(Refusal::invalid(pointer, &expected, format!("{} bytes", value.len())))
        }
    }
}

fn email(value: Option<&str>) -> Result<(), Refusal> {
    let is_address = |value: &str| {
        value.len() <= EMAIL_BYTES_MAX
            && !value.chars().any(|letter| letter.is_control() || letter.is_whitespace())
            && value
                .split_once('@')
                .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
    };
    match value.is_none_or(is_address) {
        true => Ok(()),
        false => Err(Refusal::invalid("/email", "an address of at most 320 bytes", "another text")),
    }
}

/// `GET T/users`.
pub async fn list(call: &Call) -> Result<Reply, Stop> {
    let state = call.one_of("state", &STATES)?;
    let filter = state.as_ref().map(|state| text(state) as Param<'_>);
    USER.list(call, &*call.home().await?, vec![("state = {}", filter)]).await
}

/// `GET T/users/{id}`.
pub async fn show(call: &Call) -> Result<Reply, Stop> {
    USER.show(call, &*call.home().await?).await
}

/// `GET T/users/{id}/export`: what a person may ask for (GDPR, article 15), as far as the control plane knows it.
pub async fn export(call: &Call) -> Result<Reply, Stop> {
    let mut conn = call.tenant_conn().await?;
    let user = USER.find(&*conn, call.parameter(0), false).await?;
    break_glass::used(call, &mut conn, ("user", &user.id)).await?;
    let statement = "SELECT jsonb_build_object( \
        'groups', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', g.id, 'display_name', g.display_name, \
            'since', rfc3339(m.created_at)) ORDER BY g.id), '[]') FROM group_members m JOIN groups g ON g.id = m.group_id \
            WHERE m.user_id = $1), \
        'role_bindings', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', b.id, 'role', b.role, \
            'expires_at', rfc3339(b.expires_at), 'created_at', rfc3339(b.created_at)) ORDER BY b.id), '[]') \
            FROM role_bindings b WHERE b.subject_id = $1), \
        'sessions', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', s.id, 'acr', s.acr, \
            'created_at', rfc3339(s.created_at), 'last_used_at', rfc3339(s.last_used_at), \
            'expires_at', rfc3339(s.expires_at)) ORDER BY s.id), '[]') FROM sessions s WHERE s.user_id = $1))";
    let row = sql::first(&*conn, statement, &[text(&user.id)]).await?;
    let mut whole: Json = row.map_or(Json::Null, |row| row.get(0));
    let statement = format!(
        "SELECT {} FROM audit_events WHERE actor_id = $1 OR resource_id = $1 ORDER BY id DESC LIMIT $2",
        audit::COLUMNS
    );
    let events = conn.rows(&statement, &[text(&user.id), bigint(&EVENTS_MAX)]).await?;
    whole["audit_events"] = events.iter().map(audit::shown).collect();
    whole["user"] = user.json;
    Ok(Reply::ok(whole).etag(user.version))
}

/// `POST T/users`: known before the first sign-in, so that roles can be bound.
pub async fn create(call: &Call) -> Result<Reply, Stop> {
    let new: New = call.read()?;
    identity("/issuer", &new.issuer)?;
    identity("/subject", &new.subject)?;
    email(new.email.as_deref())?;
    let name = new.display_name.as_ref().unwrap_or(&new.subject);
    let name = display_name(name)?;
    let mut conn = call.home().await?;
    let write = Write::begin(call, &mut conn).await?;
    let user = id("usr", now_ms());
    let statement = "INSERT INTO users (id, issuer, subject, display_name, email) VALUES ($1, $2, $3, $4, $5) \
        ON CONFLICT (issuer, subject) DO NOTHING";
    let params =
        [text(&user), text(&new.issuer), text(&new.subject), text(&name), text(&new.email)];
    if sql::run(&write.tx, statement, &params).await? == 0 {
        let message = "this issuer and subject are a user already";
        return Err(Refusal::new(Code::AlreadyExists, message).into());
    }
    USER.made(write, &user, "user.created").await
}

/// `PATCH T/users/{id}`: from the commit on, one that is disabled is refused.
pub async fn update(call: &Call) -> Result<Reply, Stop> {
    let patch: Patch = call.read()?;
    if let Some(name) = &patch.display_name {
        display_name(name)?;
    }
    email(patch.email.as_ref().and_then(Option::as_deref))?;
    if let Some(state) = patch.state.as_deref().filter(|state| !STATES.contains(state)) {
        return Err(Refusal::invalid("/state", "active or disabled", state).into());
    }
    let mut conn = call.home().await?;
    let mut write = Write::begin(call, &mut conn).await?;
    let admins = Admins::before(&write.tx, Level::of(call)).await?;
    let before = USER.find(&write.tx, call.parameter(0), true).await?;
    call.match_version(before.version)?;
    let keeps = patch.email.is_none();
    let email = patch.email.flatten();
    let statement = "UPDATE users SET display_name = coalesce($2, display_name), \
        email = CASE WHEN $5 = '' THEN $3 ELSE email END, state = coalesce($4, state), \
        version = version + 1, updated_at = now() WHERE id = $1";
    let keeps = if keeps { "keeps" } else { "" };
    let params = [
        text(&before.id),
        text(&patch.display_name),
        text(&email),
        text(&patch.state),
        text(&keeps),
    ];
    sql::run(&write.tx, statement, &params).await?;
    admins.are_left(&write.tx).await?;
    let after = USER.find(&write.tx, &before.id, false).await?;
    if after.json["state"] == "disabled" {
        sign_out(&write, &after).await?;
    }
    USER.record(&mut write, "user.updated", Some(&before), Some(&after)).await?;
    write.finish(after.reply()).await
}

/// Ends every session of a user.
async fn sign_out(write: &Write<'_>, user: &Object) -> Result<(), Refusal> {
    let statement = "DELETE FROM sessions WHERE user_id = $1";
    sql::run(&write.tx, statement, &[text(&user.id)]).await?;
    Ok(())
}

/// `POST T/users/{id}/sign-out`: every session ends, every token that was issued before is refused.
pub async fn sign_out_now(call: &Call) -> Result<Reply, Stop> {
    let mut conn = call.home().await?;
    let write = Write::begin(call, &mut conn).await?;
    let before = USER.find(&write.tx, call.parameter(0), true).await?;
    let statement = "UPDATE users SET signed_out_at = now(), version = version + 1, updated_at = now() WHERE id = $1";
    sql::run(&write.tx, statement, &[text(&before.id)]).await?;
    sign_out(&write, &before).await?;
    USER.changed(write, &before, "user.signed_out").await
}

/// `DELETE T/users/{id}`: with its memberships, roles and sessions, and the salts of what was digested about it. The audit
/// log keeps an id that names nobody any more.
pub async fn delete(call: &Call) -> Result<Reply, Stop> {
    let mut conn = call.home().await?;
    let mut write = Write::begin(call, &mut conn).await?;
    let admins = Admins::before(&write.tx, Level::of(call)).await?;
    let before = USER.find(&write.tx, call.parameter(0), true).await?;
    call.match_version(before.version)?;
    sign_out(&write, &before).await?;
    if call.tenant.is_some() {
        let member = "DELETE FROM group_members WHERE user_id = $1";
        sql::run(&write.tx, member, &[text(&before.id)]).await?;
    }
    for statement in [
        "DELETE FROM role_bindings WHERE subject_type = 'user' AND subject_id = $1",
        "DELETE FROM users WHERE id = $1",
    ] {
        sql::run(&write.tx, statement, &[text(&before.id)]).await?;
    }
    admins.are_left(&write.tx).await?;
    USER.record(&mut write, "user.deleted", Some(&before), None).await?;
    sql::first(&write.tx, "SELECT forget_salts($1)", &[text(&before.id)]).await?;
    write.finish(Reply::empty()).await
}
