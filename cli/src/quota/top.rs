//! `tollgate quota top`: looks once a second, shows what was found, does what keys say.

use super::keys::{Keys, press};
use super::screen::{Sort, View, rows, screen};
use super::{answer, as_json};
use crate::exit::Exit;
use crate::places::Places;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};
use tollgate_proto::quota::{QuotaAsked, QuotaBody};

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Clears a terminal and goes to its corner.
const CLEAR: &str = "\x1b[2J\x1b[H";

#[derive(Debug, clap::Args)]
pub(crate) struct Top {
    /// Counters of this tenant alone
    #[arg(short, long)]
    tenant: Option<String>,
    /// Those alone whose limit or key holds this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    #[arg(long, value_enum, default_value = "left")]
    sort: Sort,
    /// Print them once and end; also where the output is no terminal
    #[arg(long)]
    once: bool,
    /// Print one JSON object a counter
    #[arg(long)]
    json: bool,
}

pub(super) fn run(places: &Places, arguments: &Top) -> Result<(), (Exit, String)> {
    let mut view = View {
        tenant: arguments.tenant.clone(),
        limit: None,
        filter: arguments.filter.clone().unwrap_or_default(),
        sort: arguments.sort,
        is_typing: false,
    };
    let look = || answer(places, &QuotaAsked::Top { tenant: arguments.tenant.clone() });
    if arguments.once || !std::io::stdout().is_terminal() {
        let now = look()?;
        match arguments.json {
            true => print_json(&view, &now, None),
            false => print!("{}", screen(&view, &now, None, false)),
        }
        return Ok(());
    }
    let keys = if arguments.json { None } else { Keys::of_terminal() };
    let mut before: Option<QuotaBody> = None;
    loop {
        let (now, looked) = (look()?, Instant::now());
        if arguments.json {
            print_json(&view, &now, before.as_ref());
        }
        loop {
            if !arguments.json {
                print!("{CLEAR}{}", screen(&view, &now, before.as_ref(), keys.is_some()));
                let _ = std::io::stdout().flush();
            }
            let left = LOOK_INTERVAL.saturating_sub(looked.elapsed());
            let Some(keys) = &keys else {
                std::thread::sleep(left);
                break;
            };
            match keys.next(left) {
                None => break,
                Some(key) if press(&mut view, key, &now) => {}
                Some(_) => return Ok(()),
            }
        }
        before = Some(now);
    }
}

fn print_json(view: &View, now: &QuotaBody, before: Option<&QuotaBody>) {
    for (counter, _) in rows(view, now, before) {
        println!("{}", as_json(counter));
    }
}
