//! Leases of background jobs: one holder at a time, by the database's clock, with a fence that only grows.

use crate::sql::{self, Queries, bigint, text};

/// How long a job may stay silent before another takes over.
const LEASE_SECONDS: f64 = 10.0;

/// The right to work on one thing until it expires.
#[derive(Debug)]
pub struct Lease {
    name: String,
    holder: String,
    fence: i64,
}

impl Lease {
    /// Takes the lease of `name` if nobody holds it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn take(
        client: &impl Queries,
        name: &str,
        holder: &str,
    ) -> Result<Option<Lease>, tokio_postgres::Error> {
        let statement = "INSERT INTO job_leases (name, holder, fence, expires_at) \
            VALUES ($1, $2, 1, clock_timestamp() + make_interval(secs => $3)) \
            ON CONFLICT (name) DO UPDATE SET holder = $2, fence = job_leases.fence + 1, \
            expires_at = excluded.expires_at WHERE job_leases.expires_at < clock_timestamp() \
            RETURNING fence";
        let params = [text(&name), text(&holder), sql::double(&LEASE_SECONDS)];
        let row = sql::first(client, statement, &params).await?;
        Ok(row.map(|row| Lease {
            name: name.to_owned(),
            holder: holder.to_owned(),
            fence: row.get(0),
        }))
    }

    /// Keeps the lease for longer; false if somebody else has it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn renew(&self, client: &impl Queries) -> Result<bool, tokio_postgres::Error> {
        let statement = "UPDATE job_leases SET expires_at = clock_timestamp() + make_interval(secs => $4) \
            WHERE name = $1 AND holder = $2 AND fence = $3";
        let params = [
            text(&self.name),
            text(&self.holder),
            bigint(&self.fence),
            sql::double(&LEASE_SECONDS),
        ];
        Ok(sql::run(client, statement, &params).await? == 1)
    }

    /// Gives it back.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn give_back(self, client: &impl Queries) -> Result<(), tokio_postgres::Error> {
        let statement = "UPDATE job_leases SET expires_at = clock_timestamp() - interval '1 second' \
            WHERE name = $1 AND holder = $2 AND fence = $3";
        let params = [text(&self.name), text(&self.holder), bigint(&self.fence)];
        sql::run(client, statement, &params).await.map(|_| ())
    }
}
