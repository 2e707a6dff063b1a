//! When a stream has been silent for too long.
//!
//! Its timer waits as long as the stream lives and rings late where something was sent meanwhile: to set it anew at each
//! event would take the lock that all timers share, twice for each client.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// The time up to which a stream may be silent.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    every: Duration,
    due: Instant,
    /// Rings at `due` or before.
    timer: Pin<Box<Sleep>>,
    /// Whom the timer wakes, once it was asked.
    waiting: Option<Waker>,
}

impl Heartbeat {
    /// A heartbeat that is due after so much silence.
    pub(crate) fn new(every: Duration) -> Self {
        let due = Instant::now() + every;
        Self { every, due, timer: Box::pin(tokio::time::sleep_until(due)), waiting: None }
    }

    /// Says that something was sent just now.
    pub(crate) fn put_off(&mut self) {
        self.due = Instant::now() + self.every;
    }

    /// Waits until nothing was sent for so long. Cancel safe.
    pub(crate) async fn due(&mut self) {
        poll_fn(|cx| self.poll_due(cx)).await;
    }

    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let set = self.waiting.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
            if set && Instant::now() < self.timer.deadline() {
                // It wakes when its time comes and need not be asked before.
                return Poll::Pending;
            }
            self.waiting = Some(cx.waker().clone());
            ready!(self.timer.as_mut().poll(cx));
            let due = Instant::now() >= self.due;
            if due {
                self.put_off();
            }
            self.timer.as_mut().reset(self.due);
            self.waiting = None;
            if due {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn a_heartbeat_is_due_after_each_silence() {
        let (begun, mut heartbeat) = (Instant::now(), Heartbeat::new(EVERY));
        for beats in 1..4 {
            heartbeat.due().await;
            assert_eq!(begun.elapsed().as_secs(), beats * EVERY.as_secs());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_puts_it_off() {
        let (begun, mut heartbeat) = (Instant::now(), Heartbeat::new(EVERY));
        for _ in 0..5 {
            tokio::select! {
                () = heartbeat.due() => panic!("something was sent within the time"),
                () = tokio::time::sleep(EVERY - Duration::from_secs(1)) => heartbeat.put_off(),
            }
        }
        heartbeat.due().await;
        assert_eq!(begun.elapsed().as_secs(), 5 * (EVERY.as_secs() - 1) + EVERY.as_secs());
    }
}
