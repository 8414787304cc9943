//! Connections to Postgres: as the role that provisions, as the platform's role, as one tenant's role.

use crate::secret::{MasterKey, SecretText};
use serde_json::Value as Json;
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, NoTls};

/// Owns every table and cannot log in.
pub const OWNER_ROLE: &str = "tollgate_owner";
/// Has the rights of requests in a tenant's database and cannot log in; each tenant's role is a member.
pub const TENANT_ROLE: &str = "tollgate_tenant";
/// What requests are in the platform database.
pub const PLATFORM_ROLE: &str = "tollgate_platform";

/// How to reach a cluster.
#[derive(Clone)]
#[allow(missing_debug_implementations, reason = "addresses may hold a password")]
pub struct Addresses {
    requests: Config,
    direct: Config,
    platform_database: String,
}

impl Addresses {
    /// Reads `database.url` and `database.direct_url`.
    ///
    /// # Errors
    /// A sentence without the address: it may hold a password.
    pub fn read(url: &str, direct_url: Option<&str>) -> Result<Addresses, String> {
        let parse = |name: &str, url: &str| {
            let parsed = url.parse::<Config>();
            parsed.map_err(|_| format!("database.{name}: expected postgres://user@host/database"))
        };
        let requests = parse("url", url)?;
        let direct = parse("direct_url", direct_url.unwrap_or(url))?;
        let database = requests.get_dbname().unwrap_or("").to_owned();
        match database.is_empty() {
            true => Err("database.url: expected a database, the platform's".to_owned()),
            false => Ok(Addresses { requests, direct, platform_database: database }),
        }
    }

    /// Those that stand in what was sealed.
    pub(crate) fn unsealed(opened: &[u8]) -> Option<Addresses> {
        let both: Json = serde_json::from_slice(opened).ok()?;
        Addresses::read(both["url"].as_str()?, both["direct_url"].as_str()).ok()
    }

    /// Where the role that provisions connects.
    pub(crate) fn direct(&self) -> &Config {
        &self.direct
    }

    pub fn platform_database(&self) -> &str {
        &self.platform_database
    }

    /// As the role that may create roles and databases.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn admin(&self, database: &str) -> Result<Client, tokio_postgres::Error> {
        let mut config = self.direct.clone();
        config.dbname(database).application_name("tollgate-control admin");
        open(&config).await
    }

    /// As a role of requests.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn requests(
        &self,
        database: &str,
        role: &str,
        password: &SecretText,
    ) -> Result<Client, tokio_postgres::Error> {
        let mut config = self.requests.clone();
        config.dbname(database).user(role).password(password.expose());
        config.application_name("tollgate-control");
        open(&config).await
    }

    /// Where the platform database is, for people.
    pub fn shown(&self) -> String {
        let host = self.requests.get_hosts().first().map_or_else(String::new, |host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        format!("{} at {host}", self.platform_database)
    }
}

/// The password of the platform's role.
pub fn platform_password(master: &MasterKey) -> SecretText {
    master.database_password("platform", 1)
}

async fn open(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = error.to_string(), "a database connection ended");
        }
    });
    Ok(client)
}
