//! The region of this sidecar: attached or made, and what a new one begins with.
//!
//! A new one is filled from the snapshot and the journal before anybody else can attach. Whoever attaches to one that
//! another made meanwhile adds what only it knows: what it settled in the last second of the region before.

use crate::config::Config;
use std::sync::mpsc::sync_channel;
use tollgate_cells::{Region, RegionSpec};
use tollgate_engine::Cells;
use tollgate_engine::Now;
use tollgate_engine::cell::{CELL_WORDS, TableSecret};
use tollgate_store::{Journal, State, StoreError};

/// Cells that are put back at a time, and how many times as many wait for it.
const BATCH: usize = 8192;
const BATCHES: usize = 8;

/// Attaches to the region, or makes it. What keys its cells is kept with their snapshot.
pub(crate) fn open(
    config: &Config,
    (state, journal): (&State, &Journal),
    (secret, run): ([u64; 2], u64),
    now: Now,
) -> Result<Region, String> {
    let said = |error: StoreError| format!("the database `state`: {error}");
    let secret = state.secret(TableSecret::new(secret)).map_err(said)?;
    let (cells, reservations) = (config.cells, config.reservations);
    let spec = RegionSpec { cells, reservations, secret, run, boot: boot()? };
    let region = Region::open(&config.region, &spec, now, &mut |cells| {
        restore(state, cells, now);
        raise(journal, cells, now);
    });
    let region = region.map_err(|error| error.to_string())?;
    let is_keyed_so = region.secret().words() == spec.secret.words();
    if !is_keyed_so {
        state.put_secret(region.secret()).map_err(said)?;
    }
    if !region.is_new() {
        let cells = region.cells();
        tracing::info!(counters = cells.occupied(), "counters were kept");
        // Under another secret the keys of the journal are those of no cell.
        if is_keyed_so && state.run().map_err(said)? != Some(region.run()) {
            raise(journal, &cells, now);
        }
    }
    state.put_run(region.run()).map_err(said)?;
    Ok(region)
}

/// Puts back what the last run wrote.
fn restore(state: &State, cells: &Cells<'_>, now: Now) {
    let mut restored = 0_u64;
    let (put, batches) = sync_channel::<Vec<[u64; CELL_WORDS]>>(BATCHES);
    // One thread reads and verifies while this one puts back.
    let read = std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut batch = Vec::with_capacity(BATCH);
            let read = state.cells(&mut |words| {
                batch.push(words);
                if batch.len() == BATCH {
                    let _ = put.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH)));
                }
            });
            let _ = put.send(batch);
            read
        });
        for words in batches.into_iter().flatten() {
            restored += u64::from(cells.restore(words, now.0));
        }
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    match read {
        Ok(0) => tracing::info!(restored, "counters restored"),
        Ok(lost) => tracing::error!(restored, lost, "counters restored, some were corrupt"),
        Err(error) => tracing::error!(error = error.to_string(), "counters begin anew"),
    }
}

/// Adds what was settled behind the last snapshot.
fn raise(journal: &Journal, cells: &Cells<'_>, now: Now) {
    let mut settled = 0_u64;
    let read = journal.usages(&mut |usage| {
        settled += 1;
        usage.lines.iter().for_each(|line| cells.raise(line.cell, now.0));
    });
    match read {
        Ok(0) => tracing::info!(settled, "the journal is read"),
        Ok(lost) => tracing::error!(settled, lost, "the journal is read, some of it was corrupt"),
        Err(error) => tracing::error!(error = error.to_string(), "the journal cannot be read"),
    }
}

/// This life of the machine, as its kernel names it.
fn boot() -> Result<[u64; 2], String> {
    const FILE: &str = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(FILE).map_err(|error| format!("{FILE}: {error}"))?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let number = u128::from_str_radix(&digits, 16);
    let number = number.map_err(|_| format!("{FILE}: expected an id of 32 digits"))?;
    let [low, high] = [number, number >> 64].map(|half| half & u128::from(u64::MAX));
    let narrow = |half| u64::try_from(half).unwrap_or_default();
    Ok([narrow(high), narrow(low)])
}
