//! Executors of a log that several processes write: each shows that it is alive, and goes on with the trees of those
//! that are not.
//!
//! Being alive is said by a table and is no promise: an executor that was only slow finds that its tree has another
//! owner when it publishes, since the log compares.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use planwire_store::{SeenExecutor, StoreError};
use tokio::task::AbortHandle;

use super::recovery::{Recovered, RecoveryError};
use super::{Engine, Inner};

/// How often an executor shows that it is alive, and looks for others that are not.
pub const BEAT: Duration = Duration::from_secs(1);

/// Time after which an executor that was not seen may be succeeded, when the configuration does not say.
pub const GONE_AFTER_DEFAULT: Duration = Duration::from_secs(10);

/// Shortest such time: it has room for some beats.
pub const GONE_AFTER_MIN: Duration = Duration::from_secs(2);

const _: () = assert!(GONE_AFTER_MIN.as_millis() >= 2 * BEAT.as_millis());
const _: () = assert!(GONE_AFTER_DEFAULT.as_millis() >= GONE_AFTER_MIN.as_millis());

/// What an executor does about trees of others that are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Succession {
    /// It goes on with them.
    Adopts,
    /// It leaves them to others.
    Leaves,
}

/// Why an engine could not become one of the executors of its log.
#[derive(Debug, thiserror::Error)]
#[error("failed to become one of the executors of the log")]
pub struct JoinError(#[from] StoreError);

/// The task that shows that an executor is alive; it ends with this.
#[derive(Debug)]
pub(super) struct Beating(AbortHandle);

impl Drop for Beating {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Engine {
    /// Becomes one of the executors of a log that others may write too, and goes on being one until it is shut down.
    /// Without [`EngineConfig::executors`](super::EngineConfig) this does nothing.
    ///
    /// To be called before the first plan is started: what an executor starts that nobody knows is taken from it.
    ///
    /// # Errors
    ///
    /// [`JoinError`] if the store cannot be written.
    pub async fn join(&self, succession: Succession) -> Result<(), JoinError> {
        let inner = &self.inner;
        let Some(executors) = &inner.executors else { return Ok(()) };
        executors.seen(&inner.shared.executor_id, None).await?;
        let task = tokio::spawn(beat(Arc::downgrade(inner), succession));
        *inner.beating() = Some(Beating(task.abort_handle()));
        Ok(())
    }

    /// Goes on with the trees of executors that are gone; says what became of them. The engine does so by itself once
    /// it has joined with [`Succession::Adopts`].
    ///
    /// # Errors
    ///
    /// [`RecoveryError`] if the log cannot be read or does not take the events.
    pub async fn succeed(&self) -> Result<Recovered, RecoveryError> {
        self.inner.succeed().await
    }
}

async fn beat(inner: Weak<Inner>, succession: Succession) {
    let mut beats = tokio::time::interval(BEAT);
    // After a stall one beat is as good as many.
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let Some(executors) = &inner.executors else { return };
        if let Err(error) = executors.seen(&inner.shared.executor_id, None).await {
            tracing::warn!(%error, "it cannot be shown that this executor is alive; others may take its plans over");
            continue;
        }
        if succession == Succession::Leaves {
            continue;
        }
        match inner.succeed().await {
            Ok(Recovered { resumed: 0, ended: 0 }) => {}
            Ok(recovered) => tracing::warn!(
                resumed = recovered.resumed,
                ended = recovered.ended,
                "trees of executors that are gone were taken over"
            ),
            Err(error) => tracing::warn!(%error, "trees of executors that are gone were not taken over"),
        }
    }
}

impl Inner {
    /// Executors that are alive, if the log has others than this one.
    pub(super) async fn alive(&self) -> Result<Option<BTreeSet<String>>, StoreError> {
        let Some(executors) = &self.executors else { return Ok(None) };
        let seen = executors.list().await?.into_iter();
        Ok(Some(seen.filter(|seen| !self.is_gone(seen)).map(|seen| seen.executor_id).collect()))
    }

    async fn succeed(self: &Arc<Self>) -> Result<Recovered, RecoveryError> {
        let Some(executors) = &self.executors else { return Ok(Recovered::default()) };
        let gone: Vec<_> = executors.list().await?.into_iter().filter(|seen| self.is_gone(seen)).collect();
        if gone.is_empty() {
            return Ok(Recovered::default());
        }
        let recovered = self.take_over_all(|owner| gone.iter().any(|seen| seen.executor_id == owner)).await?;
        for seen in &gone {
            executors.forget(&seen.executor_id).await?;
        }
        Ok(recovered)
    }

    fn is_gone(&self, seen: &SeenExecutor) -> bool {
        seen.executor_id != *self.shared.executor_id && seen.age >= self.gone_after
    }

    /// Says that this executor is gone, so that nobody has to wait to find out.
    pub(super) async fn leave(&self) {
        self.beating().take();
        let Some(executors) = &self.executors else { return };
        if let Err(error) = executors.gone(&self.shared.executor_id).await {
            tracing::warn!(%error, "it cannot be said that this executor has ended; others will find out");
        }
    }
}
