//! How often the supervisor looks at what a program and its descendants use: often while that changes, and less often the
//! longer it does not. A server sleeps most of its life, and each look costs some 0.1 ms for each of its processes.

use std::time::{Duration, Instant};

use super::family::Usage;

/// Time between two looks at a program that does something.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The same for one that has slept for a while; whoever wakes up and multiplies has this long before it is noticed.
const PAUSE_MAX: Duration = Duration::from_millis(400);

/// When the next look is due.
#[derive(Debug)]
pub(super) struct Watch {
    /// What the last look found.
    used: Usage,
    pause: Duration,
    next: Instant,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self { used: Usage::default(), pause: PAUSE_MIN, next: now + PAUSE_MIN }
    }

    /// Time until the next look.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.next.saturating_duration_since(now)
    }

    /// Takes what a look has found.
    pub(super) fn found(&mut self, used: Usage, now: Instant) {
        let sleeps = used == self.used;
        self.pause = if sleeps { (self.pause * 2).min(PAUSE_MAX) } else { PAUSE_MIN };
        (self.used, self.next) = (used, now + self.pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sleeps_is_looked_at_less_often_until_it_does_something() {
        let now = Instant::now();
        let mut watch = Watch::new(now);
        let mut pauses = Vec::new();
        for processes in [1, 1, 1, 1, 1, 2, 2] {
            watch.found(Usage { processes, ..Usage::default() }, now);
            pauses.push(watch.left(now).as_millis());
        }
        assert_eq!(pauses, [50, 100, 200, 400, 400, 50, 100]);
    }
}
