//! `control.toml` and the environment: one struct per section, every key known, unit and default beside it.

use http::Uri;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
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
    pub session: Session,
    #[serde(default)]
    pub otel: Otel,
    #[serde(default)]
    pub log: Log,
    /// Where the keys that were set come from.
    #[serde(skip)]
    origins: BTreeMap<String, &'static str>,
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr => $unit:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
        impl Default for $name {
            fn default() -> $name { $name { $($field: $default,)* } }
        }
        impl $name {
            /// Each key, its value and its unit, as `--check` prints them.
            fn rows(&self) -> Vec<Row> {
                vec![$((stringify!($field), format!("{:?}", self.$field), $unit),)*]
            }
        }
    };
}

/// Key, value, unit.
type Row = (&'static str, String, &'static str);

section!(Platform {
    /// What `X-Platform-Id` must be.
    id: String = "tollgate".to_owned() => "text",
    /// All links and redirects begin with it.
    public_url: String = "http://127.0.0.1:8082".to_owned() => "URL",
});
section!(Api {
    listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8082)) => "address",
    /// Chain and key in PEM; both or none.
    tls_cert: Option<PathBuf> = None => "path",
    tls_key: Option<PathBuf> = None => "path",
    /// Something in front ends TLS.
    behind_proxy: bool = false => "boolean",
    /// Addresses whose `X-Forwarded-For` is believed.
    trusted_proxies: Vec<IpAddr> = Vec::new() => "addresses",
    body_bytes_max: usize = 1_048_576 => "bytes",
    timeout_ms: u64 = 30_000 => "ms",
    /// Calls of one credential.
    rate_per_minute: u32 = 1_200 => "calls",
    /// Refused credentials of one address.
    unauthenticated_per_minute: u32 = 120 => "calls",
    public_docs: bool = false => "boolean",
});
section!(Ops { listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9082)) => "address" });
section!(Pools {
    /// Connections to all tenants' databases together.
    backends_max: usize = 100 => "connections",
    per_tenant_max: usize = 4 => "connections",
    idle_ms: u64 = 30_000 => "ms",
    wait_ms_max: u64 = 2_000 => "ms",
    /// Background jobs that visit tenants' databases at once.
    chores_max: usize = 4 => "connections",
});
section!(Provision { workers: usize = 4 => "tenants" });
section!(Jobs { enabled: bool = true => "boolean" });
section!(Publish {
    /// Where published tenants' folders go; empty: nowhere.
    dir: PathBuf = PathBuf::new() => "path",
});
section!(Session {
    idle_minutes: u32 = 30 => "minutes",
    max_hours: u32 = 12 => "hours",
});
section!(Otel {
    /// Where spans are sent by OTLP over HTTP, to `/v1/traces` below it; empty: nowhere.
    endpoint: String = String::new() => "URL",
});
section!(Log { level: String = "info".to_owned() => "word" });

/// Where Postgres is. Addresses may hold a password, so nothing here is printed.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// For requests; may go through a pooler. Its database is the platform's.
    pub url: String,
    /// For migrations and provisioning: a role that may create roles and databases.
    pub direct_url: Option<String>,
    /// Statements are prepared once a connection; a pooler in transaction mode before PgBouncer 1.21 cannot.
    #[serde(default = "yes")]
    pub named_statements: bool,
}

fn yes() -> bool {
    true
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
    /// What it was before: still accepted, until `rekey` has been run and this is taken out.
    pub previous_master_key_file: Option<PathBuf>,
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
        let mut origins: BTreeMap<String, &'static str> = BTreeMap::new();
        for (section, keys) in &table {
            let keys = keys.as_table().into_iter().flat_map(Table::keys);
            origins.extend(keys.map(|key| (format!("{section}.{key}"), "file")));
        }
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
                origins.insert(name_of(&name), "environment");
            }
        }
        let mut config: Config = table.try_into().map_err(|error: toml::de::Error| {
            format!("the configuration does not load: {}", error.message())
        })?;
        config.origins = origins;
        config.refuse_open_listener()?;
        config.refuse_zeros()?;
        config.refuse_urls()?;
        Ok(config)
    }

    /// Whether this program ends TLS itself.
    pub fn tls(&self) -> Option<(&Path, &Path)> {
        self.api.tls_cert.as_deref().zip(self.api.tls_key.as_deref())
    }

    fn refuse_open_listener(&self) -> Result<(), String> {
        let listen = self.api.listen;
        if self.api.tls_cert.is_some() != self.api.tls_key.is_some() {
            return Err("api.tls_cert and api.tls_key: expected both or none, got one".to_owned());
        }
        match listen.ip().is_loopback() || self.api.behind_proxy || self.tls().is_some() {
            true => Ok(()),
            false => Err(format!(
                "api.listen {listen}: a listener beyond loopback needs TLS; set api.tls_cert and api.tls_key, or \
                 api.behind_proxy = true if something in front ends it"
            )),
        }
    }

    /// Nothing works with none of these.
    fn refuse_zeros(&self) -> Result<(), String> {
        let (api, pools) = (&self.api, &self.pools);
        let rows = [
            ("api.body_bytes_max", api.body_bytes_max == 0),
            ("api.timeout_ms", api.timeout_ms == 0),
            ("api.rate_per_minute", api.rate_per_minute == 0),
            ("api.unauthenticated_per_minute", api.unauthenticated_per_minute == 0),
            ("pools.backends_max", pools.backends_max == 0),
            ("pools.per_tenant_max", pools.per_tenant_max == 0),
            ("pools.chores_max", pools.chores_max == 0),
            ("provision.workers", self.provision.workers == 0),
        ];
        match rows.iter().find(|(_, is_zero)| *is_zero) {
            Some((key, _)) => Err(format!("{key}: expected 1 or more, got 0")),
            None => Ok(()),
        }
    }

    /// Links are made from one, spans sent to the other; both are printed, so neither holds a password.
    fn refuse_urls(&self) -> Result<(), String> {
        let rows = [
            ("platform.public_url", self.platform.public_url.as_str(), false),
            ("otel.endpoint", self.otel.endpoint.as_str(), true),
        ];
        for (key, url, may_be_empty) in rows {
            let parsed = url.parse::<Uri>().ok();
            let is_right = parsed.is_some_and(|uri| {
                let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
                let is_open = uri.authority().is_some_and(|host| !host.as_str().contains('@'));
                is_web && is_open && uri.query().is_none()
            });
            if !(is_right || may_be_empty && url.is_empty()) {
                return Err(format!(
                    "{key}: expected http(s)://host[:port][/prefix] without a user, a password or a query"
                ));
            }
        }
        Ok(())
    }

    /// Every value with its unit and where it comes from, one a line; addresses of databases are left out:
    /// they may hold passwords.
    pub fn describe(&self) -> String {
        let path = |path: Option<&PathBuf>| format!("{path:?}");
        let database = vec![
            ("url", "(not shown)".to_owned(), "URL"),
            ("direct_url", "(not shown)".to_owned(), "URL"),
            ("named_statements", self.database.named_statements.to_string(), "boolean"),
        ];
        let secrets = vec![
            ("master_key_file", path(Some(&self.secrets.master_key_file)), "path"),
            (
                "previous_master_key_file",
                path(self.secrets.previous_master_key_file.as_ref()),
                "path",
            ),
        ];
        let sections = [
            ("platform", self.platform.rows()),
            ("api", self.api.rows()),
            ("ops", self.ops.rows()),
            ("database", database),
            ("pools", self.pools.rows()),
            ("secrets", secrets),
            ("provision", self.provision.rows()),
            ("jobs", self.jobs.rows()),
            ("publish", self.publish.rows()),
            ("session", self.session.rows()),
            ("otel", self.otel.rows()),
            ("log", self.log.rows()),
        ];
        let mut out = String::new();
        for (section, rows) in sections {
            for (key, value, unit) in rows {
                let name = format!("{section}.{key}");
                let origin = self.origins.get(&name).copied().unwrap_or("default");
                let _ = writeln!(out, "{name:<36} {value:<40} {unit:<12} {origin}");
            }
        }
        out
    }
}

/// `TOLLGATE_API__LISTEN` is `api.listen`.
fn name_of(variable: &str) -> String {
    variable.trim_start_matches(PREFIX).replacen("__", ".", 1).to_lowercase()
}

/// Numbers, booleans and lists in brackets are what they look like; the rest is text.
fn from_variable(value: &str) -> Value {
    match (value.parse::<i64>(), value.parse::<bool>()) {
        _ if value.starts_with('[') => {
            let parsed = format!("list = {value}").parse::<Table>().ok();
            parsed
                .and_then(|mut table| table.remove("list"))
                .unwrap_or_else(|| Value::String(value.to_owned()))
        }
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
            ("TOLLGATE_API__TLS_CERT", "/c.pem", "tls_key"),
            ("TOLLGATE_API__TRUSTED_PROXIES", "[\"somewhere\"]", "IP address"),
            ("TOLLGATE_POOLS__BACKENDS_MAX", "0", "1 or more"),
            ("TOLLGATE_API__TIMEOUT_MS", "0", "1 or more"),
            ("TOLLGATE_PLATFORM__PUBLIC_URL", "example.com/a", "http(s)"),
            ("TOLLGATE_PLATFORM__PUBLIC_URL", "", "http(s)"),
            ("TOLLGATE_OTEL__ENDPOINT", "127.0.0.1:4318", "http(s)"),
            ("TOLLGATE_OTEL__ENDPOINT", "http://user:word@collector", "without a user"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        let open = [("TOLLGATE_API__LISTEN", "0.0.0.0:1"), ("TOLLGATE_API__BEHIND_PROXY", "true")];
        assert!(read(&open).is_ok());
        let proxies = [("TOLLGATE_API__TRUSTED_PROXIES", "[\"10.0.0.1\"]")];
        let shown = read(&proxies).unwrap().describe();
        assert!(!shown.contains("postgres://"));
        let line = |key: &str| shown.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
        assert!(line("api.trusted_proxies").ends_with("addresses    environment"), "{shown}");
        assert!(line("api.timeout_ms").ends_with("ms           default"), "{shown}");
        assert!(line("database.url").contains("(not shown)"));
    }
}
