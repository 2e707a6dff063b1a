//! The time of a plan until its timeout. It stands still while the plan waits for nothing but people.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::budget::WARN_PERCENT;

/// What events call the limit of a plan's time.
pub(super) const TIMEOUT: &str = "timeout";

/// The time that a plan has left.
#[derive(Debug)]
pub(super) struct PlanClock {
    timeout: Duration,
    left: Duration,
    /// Since when it runs; none while it stands still.
    since: Option<Instant>,
    is_warned_of: bool,
}

impl PlanClock {
    /// Starts with a plan.
    pub(super) fn start(timeout: Duration) -> Self {
        Self { timeout, left: timeout, since: Some(Instant::now()), is_warned_of: false }
    }

    /// Nobody needs to be warned that little time is left.
    pub(super) fn is_warned_of(&mut self) {
        self.is_warned_of = true;
    }

    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Time that has run.
    pub(super) fn used(&self) -> Duration {
        let running = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        self.timeout.saturating_sub(self.left.saturating_sub(running))
    }

    /// Counts time that ran before this process took the plan up.
    pub(super) fn has_run(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }

    /// Runs on.
    pub(super) fn run(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// Stands still.
    pub(super) fn pause(&mut self) {
        if let Some(since) = self.since.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
    }

    /// Waits until no time is left; for ever while it stands still.
    pub(super) async fn run_out(&self) {
        match self.since {
            Some(since) => sleep_until(since + self.left).await,
            None => std::future::pending().await,
        }
    }

    /// Waits until [`WARN_PERCENT`] of the time have run; for ever while it stands still, and if that was warned of.
    pub(super) async fn run_low(&self) {
        let kept = self.timeout / 100 * (100 - WARN_PERCENT);
        match self.since {
            Some(since) if !self.is_warned_of => sleep_until(since + self.left.saturating_sub(kept)).await,
            _ => std::future::pending().await,
        }
    }
}

/// How many of the plans right below a plan wait for nothing but people.
#[derive(Debug, Default)]
pub(crate) struct WaitingBelow {
    plans: AtomicUsize,
    changed: Notify,
}

impl WaitingBelow {
    pub(super) fn plans(&self) -> usize {
        self.plans.load(Ordering::Acquire)
    }

    /// Waits until the number has changed since the last time.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// What a plan says to the one above: whether it waits for nothing but people. A plan that ends does not.
#[derive(Debug)]
pub(super) struct Waits {
    above: Option<Arc<WaitingBelow>>,
    said: bool,
}

impl Waits {
    pub(super) const fn new(above: Option<Arc<WaitingBelow>>) -> Self {
        Self { above, said: false }
    }

    pub(super) fn say(&mut self, waits: bool) {
        let Some(above) = self.above.as_ref().filter(|_| self.said != waits) else { return };
        self.said = waits;
        if waits {
            above.plans.fetch_add(1, Ordering::AcqRel);
        } else {
            above.plans.fetch_sub(1, Ordering::AcqRel);
        }
        above.changed.notify_one();
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.say(false);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn clock_stands_still_while_it_is_told_to() {
        let began = Instant::now();
        let mut clock = PlanClock::start(Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(4)).await;
        clock.pause();
        clock.pause();
        tokio::time::advance(Duration::from_secs(1_000)).await;
        clock.run();
        clock.run();
        clock.run_out().await;
        assert_eq!(began.elapsed().as_secs(), 1_010);
    }

    #[tokio::test(start_paused = true)]
    async fn clock_runs_low_once_at_four_fifths_of_the_time_that_counts() {
        let began = Instant::now();
        let mut clock = PlanClock::start(Duration::from_secs(10));
        clock.has_run(Duration::from_secs(1));
        clock.pause();
        tokio::time::advance(Duration::from_secs(1_000)).await;
        assert!(clock.run_low().now_or_never().is_none());
        clock.run();
        clock.run_low().await;
        assert_eq!((began.elapsed().as_secs(), clock.used().as_secs()), (1_007, 8));
        clock.is_warned_of();
        tokio::select! {
            () = clock.run_low() => panic!("it was warned of"),
            () = clock.run_out() => {}
        }
        assert_eq!((began.elapsed().as_secs(), clock.used()), (1_009, clock.timeout()));
    }

    #[test]
    fn plan_that_ends_waits_for_nobody() {
        let below = Arc::<WaitingBelow>::default();
        let mut waits = Waits::new(Some(Arc::clone(&below)));
        waits.say(true);
        waits.say(true);
        assert_eq!(below.plans(), 1);
        drop(waits);
        assert_eq!(below.plans(), 0);
        Waits::new(None).say(true);
    }
}
