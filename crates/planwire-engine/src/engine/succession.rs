//! Executors of a log that several processes write: each shows that it is alive, and goes on with the trees of those
//! that are not.
//!
//! Being alive is said by a table and is no promise: an executor that was only slow finds that its tree has another
//! owner when it publishes, since the log compares. Showing that one is alive waits for nothing else that is done here.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use planwire_store::{SeenExecutor, StoreError};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior};

use super::recovery::{Recovered, RecoveryError};
use super::{Engine, Inner};

/// How often an executor shows that it is alive, and looks for others that are not.
pub const BEAT: Duration = Duration::from_secs(1);

/// Time after which an executor that was not seen may be succeeded, when the configuration does not say.
pub const GONE_AFTER_DEFAULT: Duration = Duration::from_secs(10);

/// Shortest such time: it has room for some beats.
pub const GONE_AFTER_MIN: Duration = Duration::from_secs(2);

/// Age beyond which an executor has said itself that it has ended: then it is as if it had not been seen for ever.
const ENDED_AGE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

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

/// The tasks that show that an executor is alive and look after others; they end with this.
#[derive(Debug)]
pub(super) struct Beating {
    succession: Succession,
    sight: watch::Receiver<Sight>,
    beats: AbortHandle,
    looks: Option<AbortHandle>,
}

impl Drop for Beating {
    fn drop(&mut self) {
        self.beats.abort();
        self.looks.iter().for_each(AbortHandle::abort);
    }
}

/// Since when an executor sees the table of executors without a break. One that does not is not seen either, and what
/// kept it may have kept others: it cannot tell who is gone before these had time to show that they are not.
#[derive(Clone, Copy, Debug)]
struct Sight {
    since: Instant,
    last: Instant,
    gone_after: Duration,
}

impl Sight {
    const fn begins(now: Instant, gone_after: Duration) -> Self {
        Self { since: now, last: now, gone_after }
    }

    /// A beat has worked.
    fn beat(&mut self, now: Instant) {
        if self.is_broken(now) {
            self.since = now;
        }
        self.last = now;
    }

    /// Whether others that are not seen are gone.
    fn is_clear(&self, now: Instant) -> bool {
        !self.is_broken(now) && now - self.since >= self.gone_after
    }

    /// Halfway from a beat to being gone: what was kept as long and beats once a [`BEAT`] is not taken to be gone yet.
    fn is_broken(&self, now: Instant) -> bool {
        now - self.last >= (self.gone_after + BEAT) / 2
    }
}

impl Engine {
    /// Becomes one of the executors of a log that others may write too, and goes on being one until it is shut down.
    /// Without [`EngineConfig::executors`](super::EngineConfig) this does nothing.
    ///
    /// To be called before the first plan is started: what an executor starts that nobody knows is taken from it. With
    /// [`Succession::Adopts`], it goes on with trees of others by itself once [`Engine::recover`] has returned.
    ///
    /// # Errors
    ///
    /// [`JoinError`] if the store cannot be written.
    pub async fn join(&self, succession: Succession) -> Result<(), JoinError> {
        let inner = &self.inner;
        let Some(executors) = &inner.executors else { return Ok(()) };
        executors.seen(&inner.shared.executor_id, None).await?;
        let (sees, sight) = watch::channel(Sight::begins(Instant::now(), inner.gone_after));
        let beats = tokio::spawn(beat(Arc::downgrade(inner), sees)).abort_handle();
        *inner.beating() = Some(Beating { succession, sight, beats, looks: None });
        Ok(())
    }

    /// Goes on with the trees of executors that are gone, whoever was not seen for long; says what became of them.
    ///
    /// # Errors
    ///
    /// [`RecoveryError`] if it cannot be read who is gone and which trees are open.
    pub async fn succeed(&self) -> Result<Recovered, RecoveryError> {
        self.inner.succeed(self.inner.gone_after).await
    }
}

fn every_beat() -> tokio::time::Interval {
    let mut beats = tokio::time::interval(BEAT);
    // After a stall one beat is as good as many.
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats
}

async fn beat(inner: Weak<Inner>, sight: watch::Sender<Sight>) {
    let mut beats = every_beat();
    loop {
        beats.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let Some(executors) = &inner.executors else { return };
        match executors.seen(&inner.shared.executor_id, None).await {
            Ok(()) => sight.send_modify(|sight| sight.beat(Instant::now())),
            Err(error) => {
                tracing::warn!(%error, "it cannot be shown that this executor is alive; others may take its plans over");
            }
        }
    }
}

async fn look(inner: Weak<Inner>, sight: watch::Receiver<Sight>) {
    let mut beats = every_beat();
    loop {
        beats.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let is_clear = sight.borrow().is_clear(Instant::now());
        match inner.succeed(if is_clear { inner.gone_after } else { ENDED_AGE }).await {
            Ok(Recovered { resumed: 0, ended: 0, .. }) => {}
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

    /// Begins to look after other executors, if the engine has joined for that.
    pub(super) fn look_after_others(self: &Arc<Self>) {
        if let Some(beating) = &mut *self.beating()
            && beating.succession == Succession::Adopts
            && beating.looks.is_none()
        {
            let task = tokio::spawn(look(Arc::downgrade(self), beating.sight.clone()));
            beating.looks = Some(task.abort_handle());
        }
    }

    /// Goes on with the trees of executors that were not seen for so long.
    async fn succeed(self: &Arc<Self>, age: Duration) -> Result<Recovered, RecoveryError> {
        let Some(executors) = &self.executors else { return Ok(Recovered::default()) };
        let is_gone = |seen: &SeenExecutor| self.is_gone(seen) && seen.age >= age;
        let gone: Vec<_> = executors.list().await?.into_iter().filter(is_gone).collect();
        if gone.is_empty() {
            return Ok(Recovered::default());
        }
        let recovered = self.take_over_all(|owner| gone.iter().any(|seen| seen.executor_id == owner)).await?;
        if recovered.waiting == 0 {
            for seen in &gone {
                executors.forget(&seen.executor_id).await?;
            }
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
