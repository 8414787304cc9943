//! The configuration: flag over environment over file over default, each value with its origin.

use crate::authzen::Authzen;
use crate::decisions::{LogConfig, SinkConfig};
use crate::settings::{Kind, SETTINGS, Setting};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tollgate_engine::{Code, Diagnostic, Diagnostics, Source};
use tollgate_proto::toml_reader::{Table, read};

/// Decides, beside your gateway, whether a request may pass and what it uses up.
#[derive(Debug, clap::Parser)]
#[command(name = "tollgate-sidecar", version)]
pub(crate) struct Arguments {
    /// A policy folder, or a folder of policy folders; watched
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Candidate policies: decisions are made again with them, and what would change is counted
    #[arg(long, value_name = "DIR")]
    shadow: Option<PathBuf>,
    /// Where sockets are made
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) run: Option<PathBuf>,
    /// Where state is kept
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print each setting with unit and origin, and every bound; serve nothing
    #[arg(long)]
    pub(crate) check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Ask the sidecar of --run whether it is ready; exit 0 yes, 1 no, 3 nobody answers
    Probe,
}

impl Arguments {
    pub(crate) fn is_probe(&self) -> bool {
        matches!(self.command, Some(Command::Probe))
    }
}

/// What the sidecar runs with.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    values: BTreeMap<&'static str, (String, Origin)>,
    pub(crate) policies: PathBuf,
    pub(crate) run: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) cells: usize,
    pub(crate) reservations: usize,
    pub(crate) region: PathBuf,
    pub(crate) journal_waits: bool,
    pub(crate) journal_flush: Duration,
    pub(crate) connections_max: usize,
    pub(crate) connections_per_uid_max: usize,
    pub(crate) frame_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) peer_uids: Vec<u32>,
    pub(crate) authzen: Option<Authzen>,
    pub(crate) ops_listen: Option<SocketAddr>,
    pub(crate) decision_log: LogConfig,
    pub(crate) shadow: Option<PathBuf>,
    pub(crate) metrics_tenants_max: usize,
    pub(crate) watch_interval: Duration,
    pub(crate) log_level: String,
    pub(crate) log_format: String,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Flag,
    Environment(String),
    File(usize),
    Default,
}

/// Why there is no configuration.
#[derive(Debug)]
pub(crate) enum ConfigError {
    Usage(String),
    File(Diagnostics),
}

impl ConfigError {
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, ConfigError::Usage(_))
    }
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let found = match self {
            ConfigError::Usage(message) => return write!(f, "error: {message}"),
            ConfigError::File(found) => found,
        };
        for finding in found {
            let (name, number) = (finding.code.name(), finding.code.number());
            let (line, column) = (finding.span.line, finding.span.column);
            writeln!(f, "error[{name} {number}]: {}", finding.message)?;
            writeln!(f, "  --> {}:{line}:{column}", finding.file)?;
            for text in finding.labels.iter().map(|label| &label.text).chain(&finding.help) {
                writeln!(f, "   = help: {text}")?;
            }
        }
        Ok(())
    }
}

impl Config {
    /// Reads flags, environment and file; findings are warnings.
    ///
    /// # Errors
    /// A value out of its bounds, a missing path, or every mistake in the file.
    pub(crate) fn read(arguments: &Arguments) -> Result<(Config, Diagnostics), ConfigError> {
        let environment: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, value)| name.starts_with("TOLLGATE_") && !value.is_empty())
            .collect();
        let mut values = BTreeMap::new();
        for setting in SETTINGS {
            values.insert(setting.key, (setting.default.to_owned(), Origin::Default));
        }
        if let Some(path) = &arguments.config {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|error| ConfigError::Usage(format!("{name}: {error}")))?;
            from_file(Source { file: &name, text: &text }, &mut values)?;
        }
        let mut warnings = Diagnostics::default();
        for (name, value) in &environment {
            match SETTINGS.iter().find(|setting| setting.variable() == *name) {
                Some(setting) => {
                    if let Some(refusal) = setting.refusal(value) {
                        return Err(ConfigError::Usage(format!("{name}: {refusal}")));
                    }
                    let origin = Origin::Environment(name.clone());
                    values.insert(setting.key, (value.clone(), origin));
                }
                None => warnings.push(unknown_variable(name)),
            }
        }
        let flags = [
            ("policies", &arguments.policies),
            ("shadow", &arguments.shadow),
            ("run", &arguments.run),
            ("data", &arguments.data),
        ];
        for (key, flag) in flags {
            if let Some(path) = flag {
                values.insert(key, (path.display().to_string(), Origin::Flag));
            }
        }
        notes_all_for_a_shadow(&mut values);
        Config::from_values(values).map(|config| (config, warnings)).map_err(ConfigError::Usage)
    }

    fn from_values(values: BTreeMap<&'static str, (String, Origin)>) -> Result<Config, String> {
        let text = |key: &str| values.get(key).map_or(String::new(), |(value, _)| value.clone());
        let path = |key: &str| match text(key) {
            empty if empty.is_empty() => Err(format!(
                "`{key}` is not set; pass --{key} DIR or set TOLLGATE_{}",
                key.to_uppercase()
            )),
            path => Ok(PathBuf::from(path)),
        };
        let number =
            |key: &str| text(key).parse::<u64>().map_err(|_| format!("`{key}` is no number"));
        let count =
            |key: &str| number(key).and_then(|n| usize::try_from(n).map_err(|e| e.to_string()));
        let millis = |key: &str| number(key).map(Duration::from_millis);
        let uids = text("peers.uids");
        let uids = uids.split(',').map(str::trim).filter(|uid| !uid.is_empty());
        let peer_uids = uids
            .map(|uid| {
                uid.parse::<u32>().map_err(|_| format!("`peers.uids`: `{uid}` is no user id"))
            })
            .collect::<Result<_, _>>()?;
        let region = text("cells.region");
        Ok(Config {
            region: match region.is_empty() {
                true => path("run")?.join("cells.region"),
                false => PathBuf::from(region),
            },
            journal_waits: text("journal_sync") == "disk",
            journal_flush: millis("journal_flush_ms")?,
            policies: path("policies")?,
            run: path("run")?,
            data: path("data")?,
            cells: count("cells.count")?,
            reservations: count("reservations.count")?,
            connections_max: count("door.connections_max")?,
            connections_per_uid_max: count("door.connections_per_uid_max")?,
            frame_timeout: millis("door.frame_timeout_ms")?,
            idle_timeout: millis("door.idle_timeout_ms")?,
            drain_timeout: millis("door.drain_timeout_ms")?,
            peer_uids,
            authzen: Authzen::parse(&text("authzen.public_url"))?,
            ops_listen: ops_listen(&text("ops.listen"))?,
            shadow: Some(text("shadow")).filter(|path| !path.is_empty()).map(PathBuf::from),
            decision_log: decision_log(&text, &count)?,
            metrics_tenants_max: count("metrics.tenants_max")?,
            watch_interval: millis("watch.interval_ms")?,
            log_level: text("log.level"),
            log_format: text("log.format"),
            values,
        })
    }

    /// Each setting with value, unit, origin and meaning; then every bound.
    pub(crate) fn describe(&self) -> String {
        let mut out = String::new();
        for setting in SETTINGS {
            let Some((value, origin)) = self.values.get(setting.key) else { continue };
            let value = if value.is_empty() { "-" } else { value };
            let origin = match origin {
                Origin::Flag => format!("flag --{}", setting.key),
                Origin::Environment(name) => format!("environment {name}"),
                Origin::File(line) => format!("file line {line}"),
                Origin::Default => "default".to_owned(),
            };
            let (key, unit, what) = (setting.key, setting.unit, setting.what);
            let _ = writeln!(out, "{key:<30} {value:<24} {unit:<12} {origin:<34} {what}");
        }
        for bound in tollgate_engine::bounds::ALL {
            let _ =
                writeln!(out, "{:<30} {:<24} {:<12} bound", bound.name, bound.value, bound.unit);
        }
        out
    }
}

/// A candidate is asked about what is noted: all of it, unless somebody says otherwise.
fn notes_all_for_a_shadow(values: &mut BTreeMap<&'static str, (String, Origin)>) {
    let has_shadow = values.get("shadow").is_some_and(|(path, _)| !path.is_empty());
    if let Some((percent, origin)) = values.get_mut("decision_log.allow_percent")
        && has_shadow
        && *origin == Origin::Default
    {
        "100".clone_into(percent);
    }
}

/// The decision log's settings.
fn decision_log(
    text: &dyn Fn(&str) -> String,
    count: &dyn Fn(&str) -> Result<usize, String>,
) -> Result<LogConfig, String> {
    let wide = |key: &str| count(key).map(|number| u64::try_from(number).unwrap_or(u64::MAX));
    let fields = |key: &str| -> Vec<String> {
        let text = text(key);
        let fields = text.split(',').map(str::trim).filter(|field| !field.is_empty());
        fields.map(str::to_owned).collect()
    };
    let sink = match text("decision_log.sink").as_str() {
        "stdout" => SinkConfig::Stdout,
        "file" => {
            let path = text("decision_log.path");
            let beside = PathBuf::from(text("data")).join("decisions.jsonl");
            SinkConfig::File {
                path: if path.is_empty() { beside } else { PathBuf::from(path) },
                bytes_max: wide("decision_log.file_bytes_max")?,
                files_max: count("decision_log.files_max")?,
            }
        }
        "otlp" => {
            let url = text("decision_log.otlp_url");
            if !url.starts_with("http://") && !url.starts_with("https://") {
                return Err(format!("`decision_log.otlp_url`: `{url}` is no URL of a collector"));
            }
            SinkConfig::Otlp { url }
        }
        _ => SinkConfig::None,
    };
    Ok(LogConfig {
        capacity: count("decision_log.capacity")?,
        waits_when_full: text("decision_log.when_full") == "wait",
        percents: [
            wide("decision_log.allow_percent")?,
            wide("decision_log.deny_percent")?,
            wide("decision_log.error_percent")?,
        ],
        recent_max: count("decision_log.recent_max")?,
        sink,
        masks: fields("decision_log.mask"),
        hashes: fields("decision_log.hash"),
    })
}

/// An address of this machine alone: the listener has no other lock.
fn ops_listen(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let address = text.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
    address.map(Some).ok_or_else(|| {
        format!("`ops.listen`: `{text}` is no loopback address with a port, such as 127.0.0.1:9090")
    })
}

fn unknown_variable(name: &str) -> Diagnostic {
    let known: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
    let source = Source { file: "environment", text: "" };
    let message = format!("the variable `{name}` means nothing here");
    Diagnostic::error(source, source.span(0, 0), Code::UnknownVariable, message)
        .did_you_mean(name, known.iter().map(String::as_str))
        .warning()
}

/// Reads the file's tables; a key of two words stands in the table of its first.
fn from_file(
    source: Source<'_>,
    values: &mut BTreeMap<&'static str, (String, Origin)>,
) -> Result<(), ConfigError> {
    let read_all = |root: &Table<'_>| {
        let heads: Vec<&str> = SETTINGS
            .iter()
            .map(|s| s.key.split_once('.').map_or(s.key, |(head, _)| head))
            .collect();
        root.known(&heads);
        let mut found = Vec::new();
        let mut tables: Vec<(&str, Option<Table<'_>>)> = Vec::new();
        for setting in SETTINGS {
            let Some((head, key)) = setting.key.split_once('.') else {
                found.extend(value(root, setting.key, setting));
                continue;
            };
            if !tables.iter().any(|(known, _)| *known == head) {
                let table = root.table(head);
                if let Some(table) = &table {
                    let inner = SETTINGS.iter().filter_map(|s| s.key.split_once('.'));
                    let keys: Vec<&str> =
                        inner.filter(|(h, _)| *h == head).map(|(_, key)| key).collect();
                    table.known(&keys);
                }
                tables.push((head, table));
            }
            let table = tables.iter().find(|(known, _)| *known == head);
            if let Some((_, Some(table))) = table {
                found.extend(value(table, key, setting));
            }
        }
        Some(found)
    };
    let (found, _) = read(source, read_all).map_err(ConfigError::File)?;
    for (key, text, line) in found {
        values.insert(key, (text, Origin::File(line)));
    }
    Ok(())
}

fn value(table: &Table<'_>, key: &str, setting: &Setting) -> Option<(&'static str, String, usize)> {
    let (text, span) = match setting.kind {
        Kind::Number { .. } => table.integer(key).map(|at| (at.value.to_string(), at.span))?,
        Kind::Path | Kind::Word(_) => table.str(key).map(|at| (at.value, at.span))?,
    };
    if let Some(refusal) = setting.refusal(&text) {
        table.report(span, Code::OutOfRange, refusal);
        return None;
    }
    Some((setting.key, text, span.line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<(Code, usize)> {
        let mut values = BTreeMap::new();
        match from_file(Source { file: "sidecar.toml", text }, &mut values) {
            Ok(()) => Vec::new(),
            Err(ConfigError::File(found)) => found.iter().map(|f| (f.code, f.span.line)).collect(),
            Err(ConfigError::Usage(message)) => panic!("{message}"),
        }
    }

    #[test]
    fn a_file_is_read_or_refused_with_places() {
        assert_eq!(codes("run = \"/x\"\n[door]\nframe_timeout_ms = 50\n"), []);
        assert_eq!(codes("[door]\nframe_timeout = 50\n"), [(Code::UnknownKey, 2)]);
        assert_eq!(codes("[dor]\n"), [(Code::UnknownKey, 1)]);
        assert_eq!(codes("[door]\nframe_timeout_ms = \"x\"\n"), [(Code::WrongType, 2)]);
        assert_eq!(codes("[door]\nframe_timeout_ms = 0\n"), [(Code::OutOfRange, 2)]);
        assert_eq!(codes("[log]\nlevel = \"loud\"\n"), [(Code::OutOfRange, 2)]);
        assert_eq!(codes("run = \n"), [(Code::TomlSyntax, 1)]);
    }

    #[test]
    fn bounds_of_settings_hold_at_both_ends() {
        for setting in SETTINGS {
            let Kind::Number { least, most } = setting.kind else { continue };
            assert_eq!(setting.refusal(setting.default), None, "{}", setting.key);
            assert_eq!(setting.refusal(&least.to_string()), None);
            assert_eq!(setting.refusal(&most.to_string()), None);
            assert!(setting.refusal(&(most + 1).to_string()).is_some());
            assert!(least == 0 || setting.refusal(&(least - 1).to_string()).is_some());
        }
    }
}
