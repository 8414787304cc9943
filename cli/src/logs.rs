//! `tollgate logs`: the end of the sidecar's log, and what is added to it.

use crate::exit::{Exit, fail};
use crate::places::Places;
use std::io::{Read, Seek, SeekFrom, Write};
use std::time::Duration;

/// Between two looks for new lines.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Go on printing what is added
    #[arg(short = 'f', long)]
    follow: bool,
    /// Lines of the end to print
    #[arg(short = 'n', long, default_value_t = 50)]
    lines: usize,
}

pub(crate) fn run(places: &Places, arguments: &Arguments) -> Exit {
    let path = places.data().join("sidecar.log");
    let shown = path.display();
    let mut text = String::new();
    let mut file = match std::fs::File::open(&path) {
        Ok(file) => file,
        Err(error) => {
            return fail(Exit::Unreachable, format!("{shown}: {error}; has `tollgate up` run?"));
        }
    };
    if let Err(error) = file.read_to_string(&mut text) {
        return fail(Exit::Unreachable, format!("{shown}: {error}"));
    }
    let lines: Vec<&str> = text.lines().collect();
    for line in lines.iter().skip(lines.len().saturating_sub(arguments.lines)) {
        println!("{line}");
    }
    if !arguments.follow {
        return Exit::Yes;
    }
    loop {
        std::thread::sleep(LOOK_INTERVAL);
        let mut added = Vec::new();
        // A log that became shorter was begun anew.
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        if file.stream_position().is_ok_and(|at| at > length)
            && file.seek(SeekFrom::Start(0)).is_err()
        {
            return fail(Exit::Unreachable, format!("{shown} cannot be read from its start"));
        }
        if let Err(error) = file.read_to_end(&mut added) {
            return fail(Exit::Unreachable, format!("{shown}: {error}"));
        }
        let mut out = std::io::stdout();
        if out.write_all(&added).and_then(|()| out.flush()).is_err() {
            return Exit::Yes;
        }
    }
}
