//! Where lines of the decision log go: nowhere, stdout, a file that is rotated, or a collector that speaks OTLP.

use crate::decisions::SinkConfig;
use serde_json::{Value as Json, json};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A collector that does not answer within this gets the lines no more.
const OTLP_TIMEOUT: Duration = Duration::from_secs(2);

/// An open sink.
pub(super) enum Sink {
    None,
    Stdout,
    File(Rotated),
    Otlp { url: String, agent: ureq::Agent },
}

/// A file that begins anew when it is full; older ones are `.1`, `.2`, ….
pub(super) struct Rotated {
    path: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
    bytes_max: u64,
    files_max: usize,
}

impl Sink {
    pub(super) fn open(config: &SinkConfig) -> io::Result<Sink> {
        Ok(match config {
            SinkConfig::None => Sink::None,
            SinkConfig::Stdout => Sink::Stdout,
            SinkConfig::File { path, bytes_max, files_max } => {
                Sink::File(Rotated::open(path, *bytes_max, *files_max)?)
            }
            SinkConfig::Otlp { url } => {
                let config = ureq::Agent::config_builder().timeout_global(Some(OTLP_TIMEOUT));
                Sink::Otlp { url: url.clone(), agent: config.build().new_agent() }
            }
        })
    }

    pub(super) fn is_none(&self) -> bool {
        matches!(self, Sink::None)
    }

    /// Writes the lines of one look at the queue.
    pub(super) fn write(&mut self, lines: &[Json]) -> io::Result<()> {
        match self {
            Sink::None => Ok(()),
            Sink::Stdout => {
                let mut out = io::stdout().lock();
                lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
                out.flush()
            }
            Sink::File(file) => {
                lines.iter().try_for_each(|line| file.write(&format!("{line}\n")))?;
                file.flush()
            }
            Sink::Otlp { url, agent } => {
                let sent = agent
                    .post(url.as_str())
                    .content_type("application/json")
                    .send(otlp(lines).to_string());
                sent.map(|_| ()).map_err(|error| io::Error::other(error.to_string()))
            }
        }
    }
}

impl Rotated {
    fn open(path: &Path, bytes_max: u64, files_max: usize) -> io::Result<Rotated> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        let file = BufWriter::new(file);
        Ok(Rotated { path: path.to_owned(), file, bytes, bytes_max, files_max })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let len = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if self.bytes > 0 && self.bytes + len > self.bytes_max {
            self.rotate()?;
        }
        self.file.write_all(line.as_bytes())?;
        self.bytes += len;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.flush()?;
        let older = |number: usize| PathBuf::from(format!("{}.{number}", self.path.display()));
        for number in (1..self.files_max).rev() {
            let from = if number == 1 { self.path.clone() } else { older(number - 1) };
            if from.exists() {
                std::fs::rename(from, older(number))?;
            }
        }
        let file = OpenOptions::new().create(true).write(true).truncate(true).open(&self.path)?;
        self.file = BufWriter::new(file);
        self.bytes = 0;
        Ok(())
    }
}

/// Log records of OTLP over HTTP in JSON: `ExportLogsServiceRequest`.
fn otlp(lines: &[Json]) -> Json {
    let text = |value: &str| json!({ "stringValue": value });
    let attribute = |(key, value): (&String, &Json)| {
        let value = match value {
            Json::Bool(bool) => json!({ "boolValue": bool }),
            // 64-bit integers are strings in the JSON of protobuf.
            Json::Number(number) => json!({ "intValue": number.to_string() }),
            Json::String(string) => text(string),
            other => text(&other.to_string()),
        };
        json!({"key": format!("tollgate.{key}"), "value": value})
    };
    let record = |line: &Json| {
        let at = line["at"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
        let members = line.as_object().into_iter().flatten();
        let (severity, word) = if line["decision"] == true { (9, "INFO") } else { (13, "WARN") };
        json!({
            "timeUnixNano": at.unwrap_or_default().as_nanosecond().to_string(),
            "severityNumber": severity,
            "severityText": word,
            "body": text("decision"),
            "attributes": members.filter(|(key, _)| *key != "at").map(attribute).collect::<Vec<_>>(),
        })
    };
    json!({"resourceLogs": [{
        "resource": {"attributes": [{"key": "service.name", "value": text("tollgate-sidecar")}]},
        "scopeLogs": [{
            "scope": {"name": "tollgate.decisions", "version": env!("CARGO_PKG_VERSION")},
            "logRecords": lines.iter().map(record).collect::<Vec<_>>(),
        }],
    }]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_rotated_and_the_oldest_goes() {
        let folder = std::env::temp_dir().join(format!("tg-rotate-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("decisions.jsonl");
        let mut file = Rotated::open(&path, 10, 3).unwrap();
        for line in ["one-\n", "two-\n", "three\n", "four\n", "five-six-seven\n", "eight\n"] {
            file.write(line).unwrap();
        }
        file.flush().unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert_eq!(read("decisions.jsonl"), "eight\n");
        assert_eq!(read("decisions.jsonl.1"), "five-six-seven\n");
        assert_eq!(
            read("decisions.jsonl.2"),
            "four\n",
            "{:?}",
            std::fs::read_dir(&folder).unwrap().count()
        );
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 3);
        let _ = std::fs::remove_dir_all(&folder);
    }

    #[test]
    fn records_of_otlp_carry_the_time_and_the_members() {
        let line = json!({"at": "2026-11-25T10:00:00Z", "decision": false, "reason_code": 2052, "subject": {"id": "a"}});
        let body = otlp(&[line]);
        let record = &body["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
        assert_eq!(record["timeUnixNano"], "1795600800000000000");
        assert_eq!(record["severityText"], "WARN");
        assert_eq!(
            record["attributes"][1],
            json!({"key": "tollgate.reason_code", "value": {"intValue": "2052"}})
        );
        assert_eq!(record["attributes"][2]["value"], json!({"stringValue": "{\"id\":\"a\"}"}));
    }
}
