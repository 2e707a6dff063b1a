//! How a run is: sizes of its bus and how often what goes wrong. Drawn once from the seed, so that some runs are calm
//! and some are storms.

use planwire_bus::Config;

use super::disk::Patience;
use super::random::Random;

/// A run takes milliseconds: handlers are waited for as long as it takes.
const DRAIN_MS_MAX: u64 = 60 * 60 * 1_000;

/// Percentages unless another unit is said.
#[derive(Clone, Debug)]
pub(crate) struct Chances {
    /// Another process writes the same log.
    pub(crate) shared: bool,
    ring_bytes_max: usize,
    batch_events_max: usize,
    pub(crate) plans_cached: usize,
    /// Turns in which the writer takes a step; the fewer, the more is queued for one commit.
    pub(crate) step: usize,
    pub(crate) refuse: usize,
    pub(crate) unknown: usize,
    pub(crate) overtake: usize,
    pub(crate) lock_blocked: usize,
    pub(crate) read_error: usize,
    pub(crate) read_delay: usize,
    pub(crate) short_page: usize,
    /// Turns in ten thousand in which the process is killed.
    pub(crate) kill: usize,
    /// How often the process starts.
    pub(crate) lives: usize,
    pub(crate) publishers: usize,
    pub(crate) readers: usize,
    /// Handlers that one of those who subscribe them brings in each life, and threads for those that block.
    pub(crate) handlers: usize,
    blocking_handlers_max: usize,
    /// Requests of each publisher in each life.
    pub(crate) requests: usize,
    /// Futures that are dropped while they are pending.
    pub(crate) cut: usize,
}

impl Chances {
    pub(crate) fn draw(random: &mut Random, moods: &mut Random) -> Self {
        let storm = *random.of(&[0, 1, 1, 4]);
        Self {
            shared: random.percent(45),
            ring_bytes_max: *random.of(&[1, 4_000, 9_000, 30_000, 16 * 1024 * 1024]),
            batch_events_max: *random.of(&[1, 3, 6, 1_024]),
            plans_cached: *random.of(&[1, 2, 4, 1_000]),
            step: *random.of(&[4, 10, 25, 50]),
            refuse: storm * random.below(6),
            unknown: if storm == 0 { 0 } else { random.below(9) },
            overtake: *random.of(&[5, 20, 60]),
            lock_blocked: storm * random.below(8),
            read_error: storm * random.below(5),
            read_delay: *random.of(&[0, 30, 80]),
            short_page: *random.of(&[0, 30, 80]),
            kill: storm * random.below(30),
            lives: 1 + random.below(3),
            publishers: 1 + random.below(3),
            readers: 2 + random.below(4),
            handlers: *moods.of(&[0, 0, 1, 3]),
            blocking_handlers_max: *moods.of(&[1, 2, 64]),
            requests: 3 + random.below(7),
            cut: *random.of(&[0, 10, 40]),
        }
    }

    /// Nothing goes wrong from here on; what is delayed may still be.
    pub(crate) const fn heal(&mut self) {
        self.refuse = 0;
        self.unknown = 0;
        self.lock_blocked = 0;
        self.read_error = 0;
        self.kill = 0;
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            ring_bytes_max: self.ring_bytes_max,
            batch_events_max: self.batch_events_max,
            blocking_handlers_max: self.blocking_handlers_max,
            handlers_drain_ms_max: DRAIN_MS_MAX,
            ..Config::default()
        }
    }

    /// Where one read stops.
    pub(crate) fn patience(&self, random: &mut Random) -> Patience {
        if random.percent(self.short_page) {
            Patience { events: 1 + random.below(4), rows: 1 + random.below(9) }
        } else {
            Patience { events: usize::MAX, rows: usize::MAX }
        }
    }
}
