//! Random numbers from a seed, and the counts of the tier that runs.

use std::io::Write as _;
use std::time::Duration;

/// Names another seed than the test's own.
const SEED_VARIABLE: &str = "PLANWIRE_SEED";

/// Random numbers that come again with the same seed (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Chance {
    state: u64,
}

impl Chance {
    /// Starts at `PLANWIRE_SEED`, else at `seed`.
    pub(crate) fn of(seed: u64) -> Self {
        let named = std::env::var(SEED_VARIABLE).ok().and_then(|text| text.parse().ok());
        Self { state: named.unwrap_or(seed) }
    }

    /// Another sequence, for a thread of its own.
    pub(crate) fn fork(&mut self) -> Self {
        Self { state: self.next() }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.between(1, times) == 1
    }
}

/// The count of the tier that runs: `ci` or `soak`.
pub(crate) fn count(ci: u64, soak: u64) -> u64 {
    if std::env::var("PLANWIRE_COUNTS").is_ok_and(|tier| tier == "soak") { soak } else { ci }
}

/// The value below which `percent` of `values` lie.
pub(crate) fn percentile(values: &mut [Duration], percent: usize) -> Duration {
    values.sort_unstable();
    values
        .get((values.len() * percent / 100).min(values.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

/// Says that a test cannot run here; see CONTRIBUTING.md.
pub(crate) fn skip(test: &str, reason: &str) {
    if let Some(path) = std::env::var_os("PLANWIRE_SKIPPED_FILE") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        let _ = file.and_then(|mut file| writeln!(file, "{test}: {reason}"));
    }
}
