//! Goes on with trees that a former executor left open.
//!
//! A tree is adopted first, by an event: from then on only this engine may publish on it. Then its events are read,
//! and each of its open plans is taken up where they end.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use planwire_bus::{Attachments, PublishError};
use planwire_event::vocabulary::PlanAdopted;
use planwire_event::{Digest, PayloadError, PlanId, Refusal, Timestamp};
use planwire_store::{PlanQuery, PlanRow, StoreError};

use super::{Engine, Inner};
use crate::document::{Document, Resolved};
use crate::executor::{Past, Plan, run_plan};
use crate::history::{self, TreeHistory};
use crate::orphans::{self, OrphansError};
use crate::policy::Source;
use crate::shared::{MadeDocuments, Tree};
use crate::stop::Stopper;

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
}

/// What became of one tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Resumed,
    Ended,
    /// Another executor was faster, or somebody ended it.
    Gone,
}

impl Engine {
    /// Goes on with all trees that other executors left open. Says what became of them.
    ///
    /// Without [`EngineConfig::executors`](super::EngineConfig) no other executor of the log may be alive; with them,
    /// trees of those that are stay theirs. Trees without owner are run from outside and stay. A
    /// tree whose document is not in the log, or does not fit its events, ends with `PlanFailed{interrupted}`.
    ///
    /// # Errors
    ///
    /// [`RecoveryError`] if the log cannot be read or does not take the events. Trees that were taken over before
    /// go on.
    pub async fn recover(&self) -> Result<Recovered, RecoveryError> {
        let inner = &self.inner;
        let alive = inner.alive().await?;
        inner.take_over_all(|owner| alive.as_ref().is_none_or(|alive| !alive.contains(owner))).await
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
        match inner.take_over(&row.root_plan_id, "it was asked to be resumed").await? {
            Taken::Resumed | Taken::Ended => Ok(row.root_plan_id),
            Taken::Gone => Err(ResumeError::Ended { plan_id: plan_id() }),
        }
    }
}

impl Inner {
    /// Goes on with the trees of executors that are gone.
    pub(super) async fn take_over_all(
        self: &Arc<Self>,
        is_gone: impl Fn(&str) -> bool,
    ) -> Result<Recovered, RecoveryError> {
        let mut recovered = Recovered::default();
        for root in self.open_trees(is_gone).await? {
            match self.take_over(&root, "its executor ended before it did").await? {
                Taken::Resumed => recovered.resumed += 1,
                Taken::Ended => recovered.ended += 1,
                Taken::Gone => {}
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

    /// Adopts a tree and goes on with it.
    async fn take_over(self: &Arc<Self>, root: &PlanId, reason: &str) -> Result<Taken, RecoveryError> {
        let Some(row) = self.shared.row(root).await? else { return Ok(Taken::Gone) };
        if !row.status.is_open() {
            // Its root has ended without it: nothing can come of what is still open below.
            return Ok(ended(orphans::end_former(&self.bus, &self.shared, root).await?));
        }
        let Some(now) = self.adopt(&row, reason).await? else { return Ok(Taken::Gone) };
        let history = history::read(&**self.bus.repository(), root).await?;
        let document = self.document_of(&row).await?;
        let made = match &history {
            Some(history) => self.made_documents(root, history).await?,
            None => None,
        };
        let (Some(history), Some(document), Some(made)) = (history, document, made) else {
            return Ok(ended(orphans::end_tree(&self.bus, &self.shared, root).await?));
        };
        self.go_on(root, history, Documents { root: document, made }, now)?;
        Ok(Taken::Resumed)
    }

    /// Publishes that the tree is ours; gives when, or nothing if somebody else was faster.
    async fn adopt(&self, row: &PlanRow, reason: &str) -> Result<Option<Timestamp>, RecoveryError> {
        let Some(previous) = row.owner.as_deref() else { return Ok(None) };
        let (executor_id, previous) = (self.shared.executor_id.to_string(), previous.to_owned());
        let adopted = PlanAdopted { executor_id, previous, reason: reason.into() };
        let event = self.shared.event(&row.plan_id, &adopted)?;
        let now = event.timestamp();
        match self.shared.publish(vec![event], Attachments::default()).await {
            Ok(_) => Ok(Some(now)),
            Err(PublishError::Rejected {
                refusal: Refusal::NotOwner { .. } | Refusal::PlanEnded { .. },
                ..
            }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The document of a root, if the log has it and it can be read.
    async fn document_of(&self, row: &PlanRow) -> Result<Option<Resolved>, RecoveryError> {
        match row.document_digest {
            Some(digest) => self.document(&row.plan_id, digest).await,
            None => Ok(None),
        }
    }

    /// The documents that steps of a tree made, of the plans that are open; none, if one of them is missing.
    async fn made_documents(
        &self,
        root: &PlanId,
        history: &TreeHistory,
    ) -> Result<Option<MadeDocuments>, RecoveryError> {
        let mut made = MadeDocuments::new();
        for text in &history.made {
            let Ok(digest) = text.parse() else {
                tracing::error!(%root, %text, "the document of an open plan has no digest");
                return Ok(None);
            };
            let Some(document) = self.document(root, digest).await? else { return Ok(None) };
            made.insert(text.clone(), document);
        }
        Ok(Some(made))
    }

    /// A document of a tree, if the log has it and it can be read.
    async fn document(&self, root: &PlanId, digest: Digest) -> Result<Option<Resolved>, RecoveryError> {
        let Some(body) = self.bus.repository().document(digest).await? else {
            tracing::error!(%root, %digest, "the document of an open plan is not in the log");
            return Ok(None);
        };
        match Document::from_body(&body) {
            Ok(document) => Ok(Some(document)),
            Err(found) => {
                tracing::error!(%root, %found, "the document of an open plan cannot be read");
                Ok(None)
            }
        }
    }

    fn go_on(
        self: &Arc<Self>,
        root: &PlanId,
        history: TreeHistory,
        documents: Documents,
        now: Timestamp,
    ) -> Result<(), RecoveryError> {
        let place = self.keep_place(root).ok_or(RecoveryError::Closed)?;
        let folder = history.root.started.folder.as_deref().map(Path::new);
        let folder = folder.map_or_else(|| Arc::clone(&self.folder), Arc::from);
        let Documents { root: document, made } = documents;
        let source = if history.root.started.document_received { Source::Received } else { Source::Own };
        let tree = Tree::taken_up(folder, source, history.plans, history.open, made, self.limits);
        let tree = Arc::new(tree);
        tree.is_stored(document.digest);
        let stopper = Stopper::new();
        let entry = self.shared.enter(root.clone(), stopper.clone());
        let plan = Plan {
            plan_id: root.clone(),
            depth_left: document.document.limits.depth,
            document: document.document,
            inputs: history.root.started.inputs.clone(),
            started_at: history.root.started_at,
            stopper,
            above: Arc::default(),
            waiting_above: None,
            past: Some(Past { history: history.root, now }),
        };
        let run = run_plan(Arc::clone(&self.shared), tree, plan);
        self.spawn_root(place, entry, async move { Some(run.await) });
        Ok(())
    }
}

/// The documents of a tree that is taken up.
struct Documents {
    root: Resolved,
    /// Those that steps made.
    made: MadeDocuments,
}

const fn ended(plans: usize) -> Taken {
    if plans > 0 { Taken::Ended } else { Taken::Gone }
}
