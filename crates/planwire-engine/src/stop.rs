//! The request to end, handed down a tree of plans and to the tools that they run.
//!
//! Whoever may ask for the end holds a [`Stopper`], whoever must follow a [`Stop`]. A request is made once; the first
//! reason stays.

use std::sync::Arc;

use tokio::sync::watch;

/// Why a plan or a call should end before it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Somebody asked for it.
    Cancelled {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// It took too long.
    TimedOut,
    /// The plan that it belongs to ends because of this.
    ParentEnds(String),
    /// The engine shuts down.
    Interrupted(String),
}

/// Asks for the end.
#[derive(Clone, Debug)]
pub struct Stopper {
    own: Arc<watch::Sender<Option<StopReason>>>,
}

impl Stopper {
    /// Nothing is asked for yet.
    #[must_use]
    pub fn new() -> Self {
        Self { own: Arc::new(watch::Sender::new(None)) }
    }

    /// Asks for the end, if nobody did before.
    pub fn stop(&self, reason: StopReason) {
        self.own.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(reason);
            }
            first
        });
    }

    /// What follows this request.
    #[must_use]
    pub fn handle(&self) -> Stop {
        Stop(self.own.subscribe())
    }
}

impl Default for Stopper {
    fn default() -> Self {
        Self::new()
    }
}

/// Says whether and why to end.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<Option<StopReason>>);

impl Stop {
    /// Whether the end was asked for; cheap, for loops that block.
    #[must_use]
    pub fn requested(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Why the end was asked for, if it was.
    #[must_use]
    pub fn reason(&self) -> Option<StopReason> {
        self.0.borrow().clone()
    }

    /// Waits until the end is asked for; for ever if nobody can ask any more.
    pub async fn wait(&self) -> StopReason {
        let mut receiver = self.0.clone();
        match receiver.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
            Ok(Some(reason)) => reason,
            _ => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn first_reason_stays_and_reaches_everybody() {
        let stopper = Stopper::new();
        let stop = stopper.handle();
        assert!(!stop.requested());
        stopper.stop(StopReason::TimedOut);
        stopper.stop(StopReason::ParentEnds("late".into()));
        assert_eq!(stop.wait().await, StopReason::TimedOut);
        assert_eq!(stopper.handle().reason(), Some(StopReason::TimedOut));
    }
}
