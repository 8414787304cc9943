//! Groups of a tenant's users: what is bound to a group, each of its members has.

use crate::admins::{Admins, Level};
use crate::call::{Call, Reply};
use crate::listing::{Key, Order};
use crate::noun::Noun;
use crate::random::{id, now_ms};
use crate::roles::{Grant, within};
use crate::sql::{self, Queries, text};
use crate::tenants::model::display_name;
use crate::users::USER;
use crate::write::{Stop, Write};
use serde::Deserialize;

pub(crate) const GROUP: Noun = Noun {
    name: "group",
    columns: "id, version, jsonb_build_object('id', id, 'display_name', display_name, 'version', version, \
        'created_at', rfc3339(created_at), 'updated_at', rfc3339(updated_at)) AS object",
    from: "FROM groups",
    id: "id",
    orders: &[
        Order { name: "created_at", key: Key::Unique("id") },
        Order { name: "display_name", key: Key::Text("lower(display_name COLLATE \"C\")", "id") },
    ],
    searched: &["lower(display_name COLLATE \"C\")"],
};

/// A member of one group, under the user's id.
const MEMBER: Noun = Noun {
    name: "group-member",
    columns: "user_id AS id, group_members.version, jsonb_build_object('group_id', group_id, 'user_id', user_id, \
        'display_name', display_name, 'created_at', rfc3339(group_members.created_at)) AS object",
    from: "FROM group_members JOIN users ON users.id = user_id",
    id: "group_id || '/' || user_id",
    orders: &[Order { name: "user_id", key: Key::Unique("user_id") }],
    searched: &["lower(display_name COLLATE \"C\")"],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    display_name: String,
}

/// `GET T/groups`.
pub async fn list(call: &Call) -> Result<Reply, Stop> {
    GROUP.list(call, &*call.tenant_conn().await?, Vec::new()).await
}

/// `GET T/groups/{id}`.
pub async fn show(call: &Call) -> Result<Reply, Stop> {
    GROUP.show(call, &*call.tenant_conn().await?).await
}

/// `POST T/groups`.
pub async fn create(call: &Call) -> Result<Reply, Stop> {
    let new: Named = call.read()?;
    display_name(&new.display_name)?;
    let mut conn = call.tenant_conn().await?;
    let write = Write::begin(call, &mut conn).await?;
    let group = id("grp", now_ms());
    let statement = "INSERT INTO groups (id, display_name) VALUES ($1, $2)";
    sql::run(&write.tx, statement, &[text(&group), text(&new.display_name)]).await?;
    GROUP.made(write, &group, "group.created").await
}

/// `PATCH T/groups/{id}`: its name.
pub async fn update(call: &Call) -> Result<Reply, Stop> {
    let patch: Named = call.read()?;
    display_name(&patch.display_name)?;
    let mut conn = call.tenant_conn().await?;
    let (write, before) = GROUP.begin(call, &mut conn).await?;
    let statement = "UPDATE groups SET display_name = $2, version = version + 1, updated_at = now() WHERE id = $1";
    sql::run(&write.tx, statement, &[text(&before.id), text(&patch.display_name)]).await?;
    GROUP.changed(write, &before, "group.updated").await
}

/// `DELETE T/groups/{id}`: with what is bound to it; its members stay users.
pub async fn delete(call: &Call) -> Result<Reply, Stop> {
    let mut conn = call.tenant_conn().await?;
    let write = Write::begin(call, &mut conn).await?;
    let admins = Admins::before(&write.tx, Level::Tenant).await?;
    let before = GROUP.find(&write.tx, call.parameter(0), true).await?;
    call.match_version(before.version)?;
    for statement in [
        "DELETE FROM group_members WHERE group_id = $1",
        "DELETE FROM role_bindings WHERE subject_type = 'group' AND subject_id = $1",
        "DELETE FROM groups WHERE id = $1",
    ] {
        sql::run(&write.tx, statement, &[text(&before.id)]).await?;
    }
    admins.are_left(&write.tx).await?;
    GROUP.gone(write, &before, "group.deleted").await
}

/// `GET T/groups/{id}/members`.
pub async fn members(call: &Call) -> Result<Reply, Stop> {
    let group = call.parameter(0);
    GROUP.find(&*call.tenant_conn().await?, group, false).await?;
    MEMBER
        .list(call, &*call.tenant_conn().await?, vec![("group_id = {}", Some(text(&group)))])
        .await
}

/// Both ids of the path, as the row's.
fn member_id(call: &Call) -> String {
    format!("{}/{}", call.parameter(0), call.parameter(1))
}

/// `GET T/groups/{id}/members/{user_id}`.
pub async fn member(call: &Call) -> Result<Reply, Stop> {
    let conn = call.tenant_conn().await?;
    GROUP.find(&*conn, call.parameter(0), false).await?;
    Ok(MEMBER.find(&*conn, &member_id(call), false).await?.reply())
}

/// `PUT T/groups/{id}/members/{user_id}`: only by somebody who holds all that the group's roles give.
pub async fn add(call: &Call) -> Result<Reply, Stop> {
    let mut conn = call.tenant_conn().await?;
    let mut write = Write::begin(call, &mut conn).await?;
    let (group, user) = (call.parameter(0), call.parameter(1));
    GROUP.find(&write.tx, group, true).await?;
    USER.find(&write.tx, user, true).await?;
    let before = MEMBER.maybe(&write.tx, &member_id(call), false).await?;
    call.match_version(before.as_ref().map_or(0, |member| member.version))?;
    let bound = "SELECT role FROM role_bindings WHERE subject_type = 'group' AND subject_id = $1";
    for row in write.tx.rows(bound, &[text(&group)]).await? {
        within(call, &Grant::of(call, &write.tx, row.get(0)).await?)?;
    }
    let statement =
        "INSERT INTO group_members (group_id, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    sql::run(&write.tx, statement, &[text(&group), text(&user)]).await?;
    let after = MEMBER.find(&write.tx, &member_id(call), false).await?;
    MEMBER.record(&mut write, "group_member.added", before.as_ref(), Some(&after)).await?;
    write.finish(after.reply()).await
}

/// `DELETE T/groups/{id}/members/{user_id}`.
pub async fn remove(call: &Call) -> Result<Reply, Stop> {
    let mut conn = call.tenant_conn().await?;
    let write = Write::begin(call, &mut conn).await?;
    let (group, user) = (call.parameter(0), call.parameter(1));
    let admins = Admins::before(&write.tx, Level::Tenant).await?;
    GROUP.find(&write.tx, group, true).await?;
    let before = MEMBER.find(&write.tx, &member_id(call), false).await?;
    call.match_version(before.version)?;
    let statement = "DELETE FROM group_members WHERE group_id = $1 AND user_id = $2";
    sql::run(&write.tx, statement, &[text(&group), text(&user)]).await?;
    admins.are_left(&write.tx).await?;
    MEMBER.gone(write, &before, "group_member.removed").await
}
