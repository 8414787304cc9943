//! Every setting: its key, unit, default and bounds. One table, so that nothing reads a default
//! from anywhere else.

/// What a setting may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Path,
    Word(&'static [&'static str]),
    Number { least: u64, most: u64 },
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// Dotted as in the file; `TOLLGATE_` and upper case with `__` for the point in the environment.
    pub(crate) key: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) what: &'static str,
}

const fn number(least: u64, most: u64) -> Kind {
    Kind::Number { least, most }
}

macro_rules! settings {
    ($($key:literal $kind:expr, $default:literal $unit:literal $what:literal;)*) => {
        /// Every setting, in the order of `--check`.
        pub(crate) const SETTINGS: &[Setting] = &[$(Setting {
            key: $key,
            kind: $kind,
            default: $default,
            unit: $unit,
            what: $what,
        }),*];
    };
}

settings! {
    "policies" Kind::Path, "" "path" "a policy folder, or a folder of policy folders; watched";
    "run" Kind::Path, "" "path" "where sockets are made";
    "data" Kind::Path, "" "path" "where state is kept";
    "cells.count" number(16, 1 << 28), "65536" "cells" "counters of limits, 64 bytes each";
    "reservations.count" number(1, 1 << 20), "16384" "reservations" "requests whose true amounts are still to come, 1088 bytes each";
    "cells.region" Kind::Path, "" "path" "the file that counters lie in; empty: cells.region in the run folder";
    "journal_sync" Kind::Word(&["process", "disk"]), "process" "word" "when a settle is answered: once this machine's memory, or its disk, has it";
    "journal_flush_ms" number(1, 1_000), "10" "ms" "until what was settled is on the disk, where a settle does not wait for it";
    "door.connections_max" number(1, 1 << 20), "2048" "connections" "at once on a door, each a thread";
    "door.connections_per_uid_max" number(1, 1 << 20), "1024" "connections" "at once of one user id";
    "door.frame_timeout_ms" number(1, 60_000), "100" "ms" "from the first byte of a frame to its last";
    "door.idle_timeout_ms" number(100, 86_400_000), "600000" "ms" "a connection may say nothing";
    "door.drain_timeout_ms" number(0, 600_000), "5000" "ms" "shutdown waits for open requests";
        "authzen.public_url" Kind::Path, "" "URL" "where clients reach the HTTP door, https; empty: no discovery";
    "ops.listen" Kind::Path, "" "address" "loopback address for health and metrics alone; empty: none";
    "decision_log.sink" Kind::Word(&["none", "stdout", "file", "otlp"]), "none" "word" "where decisions are written";
    "decision_log.path" Kind::Path, "" "path" "the file; empty: decisions.jsonl in the data folder";
    "decision_log.file_bytes_max" number(1_024, 1 << 40), "67108864" "bytes" "of the file before it is rotated";
    "decision_log.files_max" number(1, 1_000), "5" "files" "that are kept, the newest included";
    "decision_log.otlp_url" Kind::Path, "" "URL" "of the collector, such as http://127.0.0.1:4318/v1/logs";
    "decision_log.when_full" Kind::Word(&["drop", "wait"]), "drop" "word" "what a door does when the log is behind";
    "decision_log.capacity" number(16, 65_536), "1024" "records" "that may be in flight";
    "decision_log.allow_percent" number(0, 100), "1" "percent" "of allowed decisions that are noted";
    "decision_log.deny_percent" number(0, 100), "100" "percent" "of denied decisions that are noted";
    "decision_log.error_percent" number(0, 100), "100" "percent" "of policy-error, no-bundle, stale, quota-store-full";
    "decision_log.mask" Kind::Path, "" "fields" "written as ***, such as subject.id,context.address";
    "decision_log.hash" Kind::Path, "" "fields" "written as a keyed hash of this sidecar";
    "decision_log.recent_max" number(0, 65_536), "1024" "decisions" "kept for explain --request-id and tail";
    "shadow" Kind::Path, "" "path" "candidate policies: decisions are made again with them and counted; watched";
    "metrics.tenants_max" number(0, 100_000), "200" "tenants" "with a label of their own, the rest are _other";
    "peers.uids" Kind::Path, "" "user ids" "more user ids that may connect, separated by commas";
    "watch.interval_ms" number(10, 60_000), "200" "ms" "between two looks at the policies";
    "log.level" Kind::Word(&["error", "warn", "info", "debug"]), "info" "word" "least severity";
    "log.format" Kind::Word(&["auto", "json", "human"]), "auto" "word" "auto: human on a terminal";
}

impl Setting {
    /// The environment variable of this setting.
    pub(crate) fn variable(&self) -> String {
        format!("TOLLGATE_{}", self.key.replace('.', "__").to_uppercase())
    }

    /// Why `text` is no value of this setting, if it is none.
    pub(crate) fn refusal(&self, text: &str) -> Option<String> {
        match self.kind {
            Kind::Path => None,
            Kind::Word(words) => (!words.contains(&text))
                .then(|| format!("`{text}` is no {}; one of {}", self.key, words.join(", "))),
            Kind::Number { least, most } => {
                let fits = text.parse::<u64>().is_ok_and(|n| (least..=most).contains(&n));
                (!fits).then(|| {
                    let unit = self.unit;
                    format!("`{}` wants {least} to {most} {unit}, got `{text}`", self.key)
                })
            }
        }
    }
}
