//! Figures under flat keys `<what>.<size|door>.<engine>.<figure>`, as JSON and as a table.

use serde_json::{Map, Value};

/// All figures of a run, in the order in which they were measured.
#[derive(Default)]
pub(crate) struct Report {
    figures: Vec<(String, f64)>,
    notes: Vec<String>,
}

impl Report {
    pub(crate) fn put(&mut self, key: impl Into<String>, figure: f64) {
        let key = key.into();
        eprintln!("{key:<50} {}", show(figure));
        self.figures.push((key, figure));
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub(crate) fn get(&self, key: &str) -> Option<f64> {
        self.figures.iter().find(|(known, _)| known == key).map(|(_, figure)| *figure)
    }

    pub(crate) fn print(&self) {
        for (key, figure) in &self.figures {
            println!("{key:<50} {:>14}", show(*figure));
        }
        for note in &self.notes {
            println!("{note}");
        }
    }

    /// Prints the table and writes RESULTS.md and results.json beside the sources.
    pub(crate) fn write(&self) {
        self.print();
        let folder = env!("CARGO_MANIFEST_DIR");
        let rounded = |figure: f64| (figure * 1000.0).round() / 1000.0;
        let json: Map<String, Value> =
            self.figures.iter().map(|(key, f)| (key.clone(), Value::from(rounded(*f)))).collect();
        let text = serde_json::to_string_pretty(&json).unwrap_or_default();
        let mut page = String::from(
            "# Results\n\nMade by `make bench` in one run. Times are of the machine named below; compare ratios, not times.\n\n",
        );
        page.push_str(&format!("Machine: {}\n\n", machine()));
        page.push_str("- `decide.<A|S|U>.<rules>`: one whole decision of workload W, in process. Ours includes three limits and the tenant's\n  look-up; casbin's is `enforce` alone. The same requests, answers checked equal.\n");
        page.push_str("- A: the same 1 000 subjects at every size. S: 90 % of requests from 2 % of subjects. U: uniform.\n");
        page.push_str("- `lines`: distinct 64-byte lines of the policy's layout that a decision reads; each limit reads one more, its cell.\n- `door.frame`, `door.http`, `door.grpc`: p50 of one blocking client and the server on one core, over a raw echo of the same sizes (128 B, then the\n  reply's); 16 connections with 16 requests in flight each, requests a second over the echo's.\n\n| figure | value |\n|---|---:|\n");
        for (key, figure) in &self.figures {
            page.push_str(&format!("| `{key}` | {} |\n", show(*figure)));
        }
        for note in &self.notes {
            page.push_str(&format!("\n{note}\n"));
        }
        for (name, content) in [("results.json", format!("{text}\n")), ("RESULTS.md", page)] {
            if let Err(error) = std::fs::write(format!("{folder}/{name}"), content) {
                eprintln!("{name}: {error}");
            }
        }
    }
}

fn show(figure: f64) -> String {
    match figure {
        f if f >= 1000.0 => format!("{f:.0}"),
        f if f >= 10.0 => format!("{f:.1}"),
        f => format!("{f:.3}"),
    }
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{} ({cores} cores seen)", model.map_or("unknown", |(_, name)| name))
}
