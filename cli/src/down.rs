//! `tollgate down`: ends exactly the processes that `up` started.

use crate::children;
use crate::exit::{Exit, fail};
use crate::places::Places;

pub(crate) fn run(places: &Places) -> Exit {
    let data = places.data();
    match children::stop_all(&data) {
        Ok(stopped) if stopped.is_empty() => {
            eprintln!("nothing that `tollgate up` started is running ({})", data.display());
            Exit::Yes
        }
        Ok(stopped) => {
            stopped.iter().for_each(|name| println!("stopped {name}"));
            Exit::Yes
        }
        Err(message) => fail(Exit::NotPermitted, message),
    }
}
