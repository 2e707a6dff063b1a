//! Seeds that a search tries: how many there are, and how they are shared among processors. The models include this
//! file too.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of the tier that runs: `ci` or `soak`.
pub(crate) fn count(ci: usize, soak: usize) -> usize {
    if std::env::var("PLANWIRE_COUNTS").is_ok_and(|tier| tier == "soak") { soak } else { ci }
}

/// A seed that was asked for by its name.
pub(crate) fn named_seed() -> Option<u64> {
    std::env::var("PLANWIRE_SEED").ok()?.parse().ok()
}

/// The first seed, and how many: those of the tier that runs, or the one that was asked for.
pub(crate) fn seeds(ci: usize, soak: usize) -> (u64, u64) {
    named_seed().map_or((0, count(ci, soak) as u64), |seed| (seed, 1))
}

/// Does `work` with each of `count` numbers from `first` on, on all processors.
pub(crate) fn of_all_processors(first: u64, count: u64, work: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(first);
    let thread = || {
        loop {
            match next.fetch_add(1, Ordering::Relaxed) {
                number if number < first + count => work(number),
                _ => return,
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(thread);
        }
    });
}
