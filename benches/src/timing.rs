//! Nanoseconds of single calls: the time-stamp counter between fences, its own cost subtracted.

use std::time::Instant;

/// Reads the counter when everything before has happened.
#[cfg(target_arch = "x86_64")]
fn ticks() -> u64 {
    // SAFETY: both instructions exist on every x86-64 and touch no memory.
    unsafe {
        std::arch::x86_64::_mm_lfence();
        let ticks = std::arch::x86_64::_rdtsc();
        std::arch::x86_64::_mm_lfence();
        ticks
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn ticks() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(0)
}

/// A calibrated stopwatch.
pub(crate) struct Stopwatch {
    ns_per_tick: f64,
    overhead_ticks: u64,
}

impl Stopwatch {
    pub(crate) fn calibrate() -> Stopwatch {
        let (began, first) = (Instant::now(), ticks());
        while began.elapsed().as_millis() < 50 {
            std::hint::spin_loop();
        }
        let ns_per_tick = began.elapsed().as_nanos() as f64 / (ticks() - first) as f64;
        let mut empty: Vec<u64> = (0..10_001)
            .map(|_| {
                let start = ticks();
                ticks() - start
            })
            .collect();
        empty.sort_unstable();
        Stopwatch { ns_per_tick, overhead_ticks: empty[empty.len() / 2] }
    }

    /// The time of one call in ns.
    pub(crate) fn time<T>(&self, call: impl FnOnce() -> T) -> (f64, T) {
        let start = ticks();
        let result = call();
        let spent = (ticks() - start).saturating_sub(self.overhead_ticks);
        (spent as f64 * self.ns_per_tick, result)
    }
}

/// The value below which this share of `samples` lies.
pub(crate) fn percentile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    let index = ((samples.len() as f64 - 1.0) * share).round() as usize;
    samples.get(index).copied().unwrap_or(f64::NAN)
}
