//! All SQL of policies.

use super::Files;
use crate::bundle::BundleVersion;
use crate::sql::{self, Queries, bigint, jsonb, text};
use serde_json::{Value as Json, json};
use tokio_postgres::Row;

type Found<T> = Result<T, tokio_postgres::Error>;

/// What is being worked on.
#[derive(Debug)]
pub struct Draft {
    pub files: Files,
    pub version: i64,
    pub updated_by: String,
    pub json: Json,
}

/// What was published.
#[derive(Debug)]
pub struct Published {
    pub number: i64,
    pub files: Files,
    pub json: Json,
}

impl Published {
    fn of(row: &Row) -> Published {
        let (number, seq): (i64, Option<i64>) = (row.get("number"), row.get("bundle_seq"));
        let files: Json = row.get("files");
        let text = |name: &str| row.get::<_, Option<String>>(name);
        let json = json!({
            "name": text("name"), "number": number, "files": files, "bundle_seq": seq,
            "published_by": text("published_by"), "published_at": text("published_at"),
        });
        Published { number, files: Files::of(&files), json }
    }
}

const VERSION: &str =
    "name, number, files, bundle_seq, published_by, rfc3339(published_at) AS published_at";

pub async fn draft(client: &impl Queries, name: &str, lock: bool) -> Found<Option<Draft>> {
    let lock = if lock { "FOR UPDATE" } else { "" };
    let statement = format!(
        "SELECT files, version, updated_by, rfc3339(updated_at) AS updated_at FROM policy_drafts WHERE name = $1 {lock}"
    );
    let row = sql::first(client, &statement, &[text(&name)]).await?;
    Ok(row.map(|row| {
        let (files, version): (Json, i64) = (row.get("files"), row.get("version"));
        let (updated_by, at): (String, String) = (row.get("updated_by"), row.get("updated_at"));
        let json = json!({
            "name": name, "files": files, "version": version, "updated_by": updated_by, "updated_at": at,
        });
        Draft { files: Files::of(&files), version, updated_by, json }
    }))
}

pub async fn put_draft(client: &impl Queries, name: &str, files: &Files, by: &str) -> Found<()> {
    let statement = "INSERT INTO policy_drafts (name, files, updated_by) VALUES ($1, $2, $3) ON CONFLICT (name) \
        DO UPDATE SET files = $2, updated_by = $3, version = policy_drafts.version + 1, updated_at = now()";
    let files = files.json();
    sql::run(client, statement, &[text(&name), jsonb(&files), text(&by)]).await.map(|_| ())
}

pub async fn delete_draft(client: &impl Queries, name: &str) -> Found<()> {
    sql::run(client, "DELETE FROM policy_drafts WHERE name = $1", &[text(&name)]).await.map(|_| ())
}

/// Every name that has a draft or a version, with the numbers of both, and whether it is in force.
pub async fn names(client: &impl Queries) -> Found<Vec<(String, Json)>> {
    let statement = "SELECT name, max(draft) AS draft, max(number) AS number, \
            max(bundle_seq) IS NOT DISTINCT FROM (SELECT max(bundle_seq) FROM policy_versions) \
            AND max(bundle_seq) IS NOT NULL AS is_in_force \
        FROM (SELECT name, version AS draft, NULL::bigint AS number, NULL::bigint AS bundle_seq FROM policy_drafts \
            UNION ALL SELECT name, NULL, number, bundle_seq FROM policy_versions) both_of GROUP BY name";
    let rows = client.rows(statement, &[]).await?;
    let shown = |row: &Row| {
        let name: String = row.get("name");
        let (draft, number): (Option<i64>, Option<i64>) = (row.get("draft"), row.get("number"));
        let is_in_force: bool = row.get("is_in_force");
        let json = json!({
            "name": name, "draft_version": draft, "published_number": number, "in_force": is_in_force,
        });
        (name, json)
    };
    Ok(rows.iter().map(shown).collect())
}

/// A version, or the newest.
pub async fn published(
    client: &impl Queries,
    name: &str,
    number: Option<i64>,
) -> Found<Option<Published>> {
    let statement = format!(
        "SELECT {VERSION} FROM policy_versions WHERE name = $1 AND ($2 IS NULL OR number = $2) ORDER BY number DESC LIMIT 1"
    );
    let row = sql::first(client, &statement, &[text(&name), bigint(&number)]).await?;
    Ok(row.map(|row| Published::of(&row)))
}

/// The policy that the tenant decides by.
pub async fn in_force(client: &impl Queries) -> Found<Option<Published>> {
    let statement = format!(
        "SELECT {VERSION} FROM policy_versions WHERE bundle_seq IS NOT NULL ORDER BY bundle_seq DESC LIMIT 1"
    );
    Ok(sql::first(client, &statement, &[]).await?.map(|row| Published::of(&row)))
}

/// The versions of a name without their files, under their numbers.
pub async fn versions(client: &impl Queries, name: &str) -> Found<Vec<(i64, Json)>> {
    let statement = "SELECT number, bundle_seq, published_by, rfc3339(published_at) AS published_at \
        FROM policy_versions WHERE name = $1";
    let rows = client.rows(statement, &[text(&name)]).await?;
    let shown = |row: &Row| {
        let (number, seq): (i64, Option<i64>) = (row.get("number"), row.get("bundle_seq"));
        let (by, at): (String, String) = (row.get("published_by"), row.get("published_at"));
        let json = json!({
            "name": name, "number": number, "bundle_seq": seq, "published_by": by, "published_at": at,
        });
        (number, json)
    };
    Ok(rows.iter().map(shown).collect())
}

/// The next version of a name, in force with this bundle.
pub async fn publish(
    tx: &impl Queries,
    name: &str,
    files: &Files,
    (by, bundle): (&str, BundleVersion),
) -> Found<i64> {
    let statement = "INSERT INTO policy_versions (name, number, files, published_by, bundle_seq) \
        SELECT $1, coalesce(max(number), 0) + 1, $2, $3, $4 FROM policy_versions WHERE name = $1 RETURNING number";
    let files = files.json();
    let params = [text(&name), jsonb(&files), text(&by), bigint(&bundle.seq)];
    let row = sql::first(tx, statement, &params).await?;
    Ok(row.map_or(0, |row| row.get(0)))
}
