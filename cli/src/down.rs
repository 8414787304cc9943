//! `tollgate down`: ends exactly the processes that `up` started.

use crate::children;
use crate::exit::{Exit, fail};
use crate::places::Places;

pub(crate) fn run(places: &Places) -> Exit {
    let data = places.data();
    let running = children::running(&data);
    if running.is_empty() {
        eprintln!("nothing that `tollgate up` started is running ({})", data.display());
        return Exit::Yes;
    }
    for child in running {
        if !child.stop() {
            return fail(
                Exit::NotPermitted,
                format!("{} (process {}) does not end", child.name, child.pid),
            );
        }
        println!("stopped {}", child.name);
    }
    let _ = std::fs::remove_file(children::record(&data));
    Exit::Yes
}
