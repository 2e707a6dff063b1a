//! Trees of our own that cannot go on: they are ended, as soon as the log takes it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use planwire_bus::PublishError;
use planwire_event::PlanId;
use planwire_store::StoreError;

use super::Inner;
use crate::orphans::{self, OrphansError};

/// Pause after the first try to end a tree that could not go on, or to go on with one, that failed; it doubles with
/// each.
pub const LOST_PAUSE: Duration = Duration::from_secs(1);
/// Longest such pause.
pub const LOST_PAUSE_MAX: Duration = Duration::from_secs(10);
/// Tries to end such a tree that fail for what is in the log, which no time changes.
pub const LOST_TRIES_MAX: u32 = 10;
/// How often the pause doubles.
const PAUSES_DOUBLED_MAX: u32 = 4;

const _: () = assert!(LOST_PAUSE.as_millis() << PAUSES_DOUBLED_MAX >= LOST_PAUSE_MAX.as_millis());

impl Inner {
    /// Ends a tree that could not go on, so that whoever follows it sees its end. Goes on trying while the store does
    /// not take it; what cannot be ended then ends at the next start.
    pub(super) async fn end_lost(&self, root: &PlanId) {
        let (mut tries, mut pauses) = (0, Backoff::default());
        loop {
            match orphans::end_tree(&self.bus, &self.shared, root).await {
                Ok(plans) => {
                    tracing::error!(%root, plans, "a tree could not go on and was ended");
                    return;
                }
                Err(
                    OrphansError::Publish(PublishError::Closed | PublishError::Stopped)
                    | OrphansError::Read(StoreError::Closed),
                ) => return,
                Err(error) => {
                    tracing::error!(%root, %error, "a tree that could not go on was not ended");
                    tries += u32::from(error.is_of_the_log());
                }
            }
            if tries == LOST_TRIES_MAX || self.closed.load(Ordering::Acquire) {
                return;
            }
            pauses.next().await;
        }
    }
}

/// Pauses between tries: [`LOST_PAUSE`], then longer and longer, up to [`LOST_PAUSE_MAX`].
#[derive(Debug, Default)]
pub(super) struct Backoff(u32);

impl Backoff {
    pub(super) async fn next(&mut self) {
        tokio::time::sleep(LOST_PAUSE.saturating_mul(1 << self.0).min(LOST_PAUSE_MAX)).await;
        self.0 = (self.0 + 1).min(PAUSES_DOUBLED_MAX);
    }
}
