//! `control.toml` and the environment: one struct per section, every key known, unit and default beside it.

use serde::Deserialize;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Variables are `TOLLGATE_<SECTION>__<KEY>`.
const PREFIX: &str = "TOLLGATE_";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub platform: Platform,
    #[serde(default)]
    pub api: Api,
    #[serde(default)]
    pub ops: Ops,
    pub database: Database,
    #[serde(default)]
    pub pools: Pools,
    pub secrets: Secrets,
    #[serde(default)]
    pub provision: Provision,
    #[serde(default)]
    pub jobs: Jobs,
    #[serde(default)]
    pub publish: Publish,
    #[serde(default)]
    pub log: Log,
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
        impl Default for $name {
            fn default() -> $name { $name { $($field: $default,)* } }
        }
        impl $name {
            /// Each key and its value, as `--check` prints them.
            fn rows(&self) -> Vec<(&'static str, String)> {
                vec![$((stringify!($field), format!("{:?}", self.$field)),)*]
            }
        }
    };
}

section!(Platform {
    /// What `X-Platform-Id` must be.
    id: String = "tollgate".to_owned(),
    /// All links and redirects begin with it.
    public_url: String = "http://127.0.0.1:8082".to_owned(),
});
section!(Api {
    listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8082)),
    /// Something in front ends TLS.
    behind_proxy: bool = false,
    body_bytes_max: usize = 1_048_576,
    timeout_ms: u64 = 30_000,
    /// Calls of one credential.
    rate_per_minute: u32 = 1_200,
    /// Refused credentials of one address.
    unauthenticated_per_minute: u32 = 120,
    public_docs: bool = false,
});
section!(Ops { listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9082)) });
section!(Pools {
    /// Connections to all tenants' databases together.
    backends_max: usize = 100,
    per_tenant_max: usize = 4,
    idle_ms: u64 = 30_000,
    wait_ms_max: u64 = 2_000,
});
section!(Provision { workers: usize = 4 });
section!(Jobs { enabled: bool = true });
section!(Publish {
    /// Where published tenants' folders go; empty: nowhere.
    dir: PathBuf = PathBuf::new(),
});
section!(Log { level: String = "info".to_owned() });

/// Where Postgres is. Addresses may hold a password, so nothing here is printed.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// For requests; may go through a pooler. Its database is the platform's.
    pub url: String,
    /// For migrations and provisioning: a role that may create roles and databases.
    pub direct_url: Option<String>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Database")
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    pub master_key_file: PathBuf,
}

impl Config {
    /// Reads the file, if one is named, and the environment over it.
    ///
    /// # Errors
    /// A sentence: what was expected, what came, where.
    pub fn read(
        file: Option<&Path>,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, String> {
        let mut table = match file {
            None => Table::new(),
            Some(path) => {
                let shown = path.display();
                let text =
                    std::fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
                text.parse::<Table>().map_err(|error| format!("{shown}: {error}"))?
            }
        };
        for (name, value) in variables {
            let Some((section, key)) =
                name.strip_prefix(PREFIX).and_then(|rest| rest.split_once("__"))
            else {
                continue;
            };
            let section =
                table.entry(section.to_lowercase()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(section) = section {
                section.insert(key.to_lowercase(), from_variable(&value));
            }
        }
        let config: Config = table.try_into().map_err(|error: toml::de::Error| {
            format!("the configuration does not load: {}", error.message())
        })?;
        config.refuse_open_listener()?;
        Ok(config)
    }

    fn refuse_open_listener(&self) -> Result<(), String> {
        match self.api.listen.ip().is_loopback() || self.api.behind_proxy {
            true => Ok(()),
            false => Err(format!(
                "api.listen {}: a listener beyond loopback needs TLS in front; set api.behind_proxy = true if it is there",
                self.api.listen
            )),
        }
    }

    /// Every value, one a line; addresses of databases are left out, they may hold passwords.
    pub fn describe(&self) -> String {
        let sections = [
            ("platform", self.platform.rows()),
            ("api", self.api.rows()),
            ("ops", self.ops.rows()),
            ("pools", self.pools.rows()),
            ("provision", self.provision.rows()),
            ("jobs", self.jobs.rows()),
            ("publish", self.publish.rows()),
            ("log", self.log.rows()),
        ];
        let mut out = String::new();
        for (section, rows) in sections {
            for (key, value) in rows {
                let _ = writeln!(out, "{section}.{key} = {value}");
            }
        }
        let _ = writeln!(out, "secrets.master_key_file = {:?}", self.secrets.master_key_file);
        out
    }
}

/// Numbers and booleans are what they look like; the rest is text.
fn from_variable(value: &str) -> Value {
    match (value.parse::<i64>(), value.parse::<bool>()) {
        (Ok(number), _) => Value::Integer(number),
        (_, Ok(bool)) => Value::Boolean(bool),
        _ => Value::String(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, String> {
        let needed = [
            ("TOLLGATE_DATABASE__URL", "postgres://x@/y"),
            ("TOLLGATE_SECRETS__MASTER_KEY_FILE", "/k"),
        ];
        let all = needed.iter().chain(variables).map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Config::read(None, all)
    }

    #[test]
    fn variables_are_read_and_unknown_keys_refused() {
        assert_eq!(read(&[]).unwrap().api.listen.port(), 8082);
        let config = read(&[("TOLLGATE_API__LISTEN", "127.0.0.1:9"), ("HOME", "/x")]).unwrap();
        assert_eq!(config.api.listen.port(), 9);
        for (name, value, word) in [
            ("TOLLGATE_API__LISTN", "127.0.0.1:9", "listn"),
            ("TOLLGATE_APY__LISTEN", "127.0.0.1:9", "apy"),
            ("TOLLGATE_POOLS__BACKENDS_MAX", "many", "many"),
            ("TOLLGATE_API__LISTEN", "0.0.0.0:8082", "behind_proxy"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        let open = [("TOLLGATE_API__LISTEN", "0.0.0.0:1"), ("TOLLGATE_API__BEHIND_PROXY", "true")];
        assert!(read(&open).is_ok());
        assert!(!read(&[]).unwrap().describe().contains("postgres://"));
    }
}
