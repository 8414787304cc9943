//! The region of this sidecar: attached or made, and what a new one begins with.

use crate::config::Config;
use tollgate_cells::{Region, RegionSpec};
use tollgate_engine::Now;
use tollgate_engine::cell::TableSecret;
use tollgate_store::State;

/// Attaches to the region, or makes it. What keys its cells is kept with their snapshot.
pub(crate) fn open(
    config: &Config,
    state: &State,
    (secret, run): ([u64; 2], u64),
    now: Now,
) -> Result<Region, String> {
    let said = |error: tollgate_store::StoreError| format!("the database `state`: {error}");
    let secret = state.secret(TableSecret::new(secret)).map_err(said)?;
    let (cells, reservations) = (config.cells, config.reservations);
    let spec = RegionSpec { cells, reservations, secret, run, boot: boot()? };
    let region = Region::open(&config.region, &spec, now).map_err(|error| error.to_string())?;
    if region.secret().words() != spec.secret.words() {
        state.put_secret(region.secret()).map_err(said)?;
    }
    Ok(region)
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
