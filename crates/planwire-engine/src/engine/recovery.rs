//! Goes on with trees that former executors left open: finds them, and says what became of them. `takeover` is what is
//! done for each.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use planwire_bus::PublishError;
use planwire_event::{PayloadError, PlanId};
use planwire_store::{PlanQuery, PlanRow, StoreError};

use super::takeover::Taken;
use super::{Engine, Inner};
use crate::orphans::OrphansError;

/// Why open trees could not be gone on with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// The log cannot be read.
    #[error("failed to read the open plans of the log")]
    Read(#[from] StoreError),
    /// The log does not take the events.
    #[error("failed to take over an open plan of the log")]
    Publish(#[from] PublishError),
    /// An event has no normal form.
    #[error("failed to write an event about an open plan")]
    Payload(#[from] PayloadError),
    /// A tree that cannot go on could not be ended.
    #[error("failed to end an open plan of the log that cannot go on")]
    End(#[from] OrphansError),
    /// The engine was shut down.
    #[error("the engine is shut down")]
    Closed,
}

impl RecoveryError {
    /// Whether there is nothing any more that could be tried again.
    pub(super) const fn is_of_the_end(&self) -> bool {
        use PublishError::{Closed, Stopped};
        match self {
            Self::Closed | Self::Read(StoreError::Closed) => true,
            Self::Publish(error) | Self::End(OrphansError::Publish(error)) => {
                matches!(error, Closed | Stopped)
            }
            Self::Read(_) | Self::Payload(_) | Self::End(_) => false,
        }
    }
}

/// Why a plan cannot be resumed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// The log has no such plan.
    #[error("there is no plan {plan_id}")]
    Unknown {
        /// The plan.
        plan_id: PlanId,
    },
    /// It has ended.
    #[error("plan {plan_id} has ended; only open plans can be resumed")]
    Ended {
        /// The plan.
        plan_id: PlanId,
    },
    /// No executor ran it.
    #[error("plan {plan_id} is run by a publisher of its own, which alone can go on with it")]
    External {
        /// The plan.
        plan_id: PlanId,
    },
    /// It runs.
    #[error("plan {plan_id} is run by executor {owner} already")]
    Runs {
        /// The plan.
        plan_id: PlanId,
        /// Who runs it.
        owner: String,
    },
    /// It could not be taken over.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
}

/// What became of open trees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// Trees that go on.
    pub resumed: usize,
    /// Trees that could not go on and were ended as interrupted.
    pub ended: usize,
    /// Trees of which neither is known yet, since the log could not be read or did not take the events. It is tried
    /// again, with pauses.
    pub waiting: usize,
}

impl Engine {
    /// Goes on with all trees that other executors left open. Says what became of them.
    ///
    /// Without [`EngineConfig::executors`](super::EngineConfig) no other executor of the log may be alive; with them,
    /// trees of those that are stay theirs. Trees without owner are run from outside and stay. A
    /// tree whose document is not in the log, or does not fit its events, ends with `PlanFailed{interrupted}`.
    ///
    /// Then removes working folders of trees that are not open any more.
    ///
    /// An engine that has joined with [`Succession::Adopts`](super::Succession) looks after other executors from now on.
    ///
    /// # Errors
    ///
    /// [`RecoveryError`] if it cannot be read which trees are open. What goes wrong with one of them is logged, is tried
    /// again, and does not keep others.
    pub async fn recover(&self) -> Result<Recovered, RecoveryError> {
        let inner = &self.inner;
        let alive = inner.alive().await?;
        let is_gone = |owner: &str| alive.as_ref().is_none_or(|alive| !alive.contains(owner));
        let recovered = inner.take_over_all(is_gone).await?;
        if let Some(work) = &inner.shared.work {
            work.sweep(&inner.shared).await;
        }
        inner.look_after_others();
        Ok(recovered)
    }

    /// Goes on with the tree of one plan; gives its root.
    ///
    /// # Errors
    ///
    /// [`ResumeError`] if the plan is unknown, has ended, runs here, or was never run by an executor.
    pub async fn resume(&self, plan_id: &PlanId) -> Result<PlanId, ResumeError> {
        let plan_id = || plan_id.clone();
        let inner = &self.inner;
        let row = inner.shared.row(&plan_id()).await.map_err(RecoveryError::from)?;
        let row = row.ok_or_else(|| ResumeError::Unknown { plan_id: plan_id() })?;
        if !row.status.is_open() {
            return Err(ResumeError::Ended { plan_id: plan_id() });
        }
        let owner = row.owner.as_deref().ok_or_else(|| ResumeError::External { plan_id: plan_id() })?;
        let alive = inner.alive().await.map_err(RecoveryError::from)?;
        if *owner == *inner.shared.executor_id || alive.is_some_and(|alive| alive.contains(owner)) {
            return Err(ResumeError::Runs { plan_id: plan_id(), owner: owner.to_owned() });
        }
        let owner = owner.to_owned();
        match inner.take_over(row.root_plan_id.clone(), "it was asked to be resumed") {
            None if inner.closed.load(Ordering::Acquire) => Err(RecoveryError::Closed.into()),
            None => Err(ResumeError::Runs { plan_id: plan_id(), owner }),
            Some(told) => match told.await {
                Ok(Taken::Resumed | Taken::Ended | Taken::Waits) => Ok(row.root_plan_id),
                Ok(Taken::Gone) => Err(ResumeError::Ended { plan_id: plan_id() }),
                Err(_) => Err(RecoveryError::Closed.into()),
            },
        }
    }
}

impl Inner {
    /// Goes on with the trees of executors that are gone, and says what became of them as far as it is known.
    pub(super) async fn take_over_all(
        self: &Arc<Self>,
        is_gone: impl Fn(&str) -> bool,
    ) -> Result<Recovered, RecoveryError> {
        let open = self.open_trees(is_gone).await?.into_iter();
        let told: Vec<_> =
            open.map(|root| self.take_over(root, "its executor ended before it did")).collect();
        let mut recovered = Recovered::default();
        for told in told {
            let Some(told) = told else {
                // Its task has not adopted it yet, or the engine ends.
                recovered.waiting += 1;
                continue;
            };
            match told.await {
                Ok(Taken::Resumed) => recovered.resumed += 1,
                Ok(Taken::Ended) => recovered.ended += 1,
                Ok(Taken::Gone) => {}
                Ok(Taken::Waits) | Err(_) => recovered.waiting += 1,
            }
        }
        Ok(recovered)
    }

    /// Roots of trees with open plans whose owner is gone.
    async fn open_trees(&self, is_gone: impl Fn(&str) -> bool) -> Result<BTreeSet<PlanId>, RecoveryError> {
        let mut query = PlanQuery { open_only: true, ..PlanQuery::default() };
        let mut roots = BTreeSet::new();
        loop {
            let page = self.bus.repository().plans(&query).await?;
            let is_left = |row: &&PlanRow| {
                row.owner.as_deref().is_some_and(|owner| *owner != *self.shared.executor_id && is_gone(owner))
            };
            roots.extend(page.plans.iter().filter(is_left).map(|row| row.root_plan_id.clone()));
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(roots),
            }
        }
    }
}
