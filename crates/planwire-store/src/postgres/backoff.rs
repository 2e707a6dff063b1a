//! Pauses between tries to connect: longer each time, with jitter.

use std::time::Duration;

use crate::postgres::limits::{BACKOFF_FIRST, BACKOFF_MAX};

/// A sequence of pauses, the same for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    pause: Duration,
    random: u64,
}

impl Backoff {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { pause: BACKOFF_FIRST, random: seed }
    }

    /// The next pause: between half of what it would be and all of it.
    pub(crate) fn next(&mut self) -> Duration {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let part = u32::try_from((bits ^ (bits >> 31)) >> 48).unwrap_or(0);
        let pause = self.pause / 2 + self.pause / 2 * part / u32::from(u16::MAX);
        self.pause = (self.pause * 2).min(BACKOFF_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_differ_between_seeds() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(seed);
            (0..12).map(|_| backoff.next()).collect::<Vec<_>>()
        };
        let one = pauses(1);
        assert_eq!(one, pauses(1));
        assert_ne!(one, pauses(2));
        assert!(one[0] >= BACKOFF_FIRST / 2 && one[0] <= BACKOFF_FIRST, "{one:?}");
        assert!(one[6..].iter().all(|pause| (BACKOFF_MAX / 2..=BACKOFF_MAX).contains(pause)), "{one:?}");
    }
}
