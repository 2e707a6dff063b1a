//! The takeover of one tree that a former executor left open.
//!
//! A tree is adopted first, by an event: from then on only this engine may publish on it. Then its events are read,
//! and each of its open plans is taken up where they end.
//!
//! **Invariant:** whatever is done for a tree is done by the one task that has its place, from before it is adopted to
//! its end, so that a tree that was adopted and cannot be read yet is not forgotten, and nothing adopts it twice.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::BoxFuture;
use planwire_bus::{Attachments, PublishError};
use planwire_event::vocabulary::PlanAdopted;
use planwire_event::{Digest, PlanId, Refusal, Timestamp};
use planwire_store::PlanRow;
use tokio::sync::{Semaphore, oneshot};

use super::lost::Backoff;
use super::recovery::RecoveryError;
use super::{Inner, run_root};
use crate::document::{Document, Resolved};
use crate::executor::{Past, Plan, PlanEnd};
use crate::history::{self, TreeHistory};
use crate::orphans;
use crate::policy::Source;
use crate::shared::{MadeDocuments, Patience, Tree};
use crate::stop::Stopper;

/// Trees that are read at a time to be taken over, beside one that is adopted. The store answers more reads at a time, so
/// that this executor can show meanwhile that it is alive.
pub const TAKING_OVER_MAX: usize = 2;

/// Who may ask the store about trees that are taken over.
#[derive(Debug)]
pub(super) struct Turns {
    /// Those that adopt: none waits for one that is read.
    adopting: Semaphore,
    reading: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self { adopting: Semaphore::new(1), reading: Semaphore::new(TAKING_OVER_MAX) }
    }
}

/// What became of one tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Resumed,
    Ended,
    /// Another executor was faster, or somebody ended it.
    Gone,
    /// It is not known yet.
    Waits,
}

/// Is told what became of a tree, or that it is not known yet, whichever comes first.
struct Told(Option<oneshot::Sender<Taken>>);

impl Told {
    fn tell(&mut self, taken: Taken) {
        if let Some(told) = self.0.take() {
            // Nobody may be interested any more.
            let _ = told.send(taken);
        }
    }
}

/// A tree that is ours, since when, and its root.
struct Adopted {
    row: PlanRow,
    at: Timestamp,
}

/// What comes of a tree that was taken over.
enum Next {
    /// It goes on by this.
    Run(BoxFuture<'static, PlanEnd>),
    /// It is ours, and cannot go on.
    End,
    /// There is nothing more to do.
    Done(Taken),
}

impl Inner {
    /// Adopts a tree and goes on with it, in a task of its own; nothing, if it runs here or the engine ends.
    pub(super) fn take_over(
        self: &Arc<Self>,
        root: PlanId,
        reason: &'static str,
    ) -> Option<oneshot::Receiver<Taken>> {
        let place = self.keep_place(&root)?;
        let (told, taken) = oneshot::channel();
        let inner = Arc::clone(self);
        self.spawn_root(place, async move { inner.taken_over(&root, reason, Told(Some(told))).await });
        Some(taken)
    }

    /// Takes a tree over and runs it to its end. What fails meanwhile is tried again as long as the tree is ours, or
    /// its owner is gone.
    async fn taken_over(self: Arc<Self>, root: &PlanId, reason: &str, mut told: Told) -> Option<PlanEnd> {
        let (mut adopted, mut pauses) = (None, Backoff::default());
        loop {
            match self.try_take_over(root, reason, &mut adopted).await {
                Ok(Next::Run(run)) => {
                    told.tell(Taken::Resumed);
                    return Some(run.await);
                }
                Ok(Next::End) => {
                    let ended = orphans::end_tree(&self.bus, &self.shared, root).await;
                    told.tell(ended.as_ref().map_or(Taken::Waits, |plans| taken_of(*plans)));
                    return ended.is_err().then_some(PlanEnd::Lost);
                }
                Ok(Next::Done(taken)) => {
                    told.tell(taken);
                    return None;
                }
                Err(error) if error.is_of_the_end() => return None,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(%root, error, "an open plan is not taken over yet; trying again");
                    told.tell(Taken::Waits);
                }
            }
            if self.closed.load(Ordering::Acquire) {
                return None;
            }
            pauses.next().await;
        }
    }

    /// Adopts a tree that was not before, and reads it.
    async fn try_take_over(
        &self,
        root: &PlanId,
        reason: &str,
        adopted: &mut Option<Adopted>,
    ) -> Result<Next, RecoveryError> {
        if adopted.is_none() {
            let _turn = self.turns.adopting.acquire().await.map_err(|_| RecoveryError::Closed)?;
            let Some(row) = self.shared.row(root).await? else { return Ok(Next::Done(Taken::Gone)) };
            if !row.status.is_open() {
                // Its root has ended without it: nothing can come of what is still open below.
                let ended = orphans::end_former(&self.bus, &self.shared, root).await?;
                return Ok(Next::Done(taken_of(ended)));
            }
            if !self.is_left(&row).await? {
                return Ok(Next::Done(Taken::Gone));
            }
            *adopted = self.adopt(row, reason).await?;
        }
        let Some(adopted) = adopted else { return Ok(Next::Done(Taken::Gone)) };
        let _turn = self.turns.reading.acquire().await.map_err(|_| RecoveryError::Closed)?;
        self.take_up(adopted).await
    }

    /// Whether the owner of a tree is gone.
    async fn is_left(&self, row: &PlanRow) -> Result<bool, RecoveryError> {
        let Some(owner) = row.owner.as_deref().filter(|owner| **owner != *self.shared.executor_id) else {
            return Ok(false);
        };
        Ok(self.alive().await?.is_none_or(|alive| !alive.contains(owner)))
    }

    /// Publishes that the tree is ours; nothing, if somebody else was faster.
    async fn adopt(&self, row: PlanRow, reason: &str) -> Result<Option<Adopted>, RecoveryError> {
        let Some(previous) = row.owner.clone() else { return Ok(None) };
        let executor_id = self.shared.executor_id.to_string();
        let adopted = PlanAdopted { executor_id, previous: previous.to_string(), reason: reason.into() };
        let event = self.shared.event(&row.plan_id, &adopted)?;
        let (at, events, none) = (event.timestamp(), vec![event], Attachments::default());
        let mut published = self.shared.publish_within(events.clone(), none.clone(), Patience::Caller).await;
        if let Err(PublishError::Unknown(_)) = published {
            // It may be ours already, and then nobody else would run it.
            published = self.shared.publish(events, none).await;
        }
        match published {
            Ok(_) => Ok(Some(Adopted { row, at })),
            Err(PublishError::Rejected {
                refusal: Refusal::NotOwner { .. } | Refusal::PlanEnded { .. },
                ..
            }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a tree that is ours, to go on with it.
    async fn take_up(&self, adopted: &Adopted) -> Result<Next, RecoveryError> {
        let root = &adopted.row.plan_id;
        let history = history::read(&**self.bus.repository(), root).await?;
        let document = self.document_of(&adopted.row).await?;
        let made = match &history {
            Some(history) => self.made_documents(root, history).await?,
            None => None,
        };
        let (Some(history), Some(document), Some(made)) = (history, document, made) else {
            return Ok(Next::End);
        };
        Ok(Next::Run(self.go_on(root, history, Documents { root: document, made }, adopted.at)))
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

    /// The working folder of a tree, which was recorded when it started.
    fn folder_of(&self, root: &PlanId, source: Source, recorded: Option<&str>) -> Arc<Path> {
        let Some(recorded) = recorded.map(Path::new) else { return Arc::clone(&self.folder) };
        let work = self.shared.work.as_ref().filter(|_| source == Source::Received);
        let own = work.and_then(|work| work.of_known(root, recorded));
        own.map_or_else(|| recorded.into(), Arc::from)
    }

    fn go_on(
        &self,
        root: &PlanId,
        history: TreeHistory,
        documents: Documents,
        now: Timestamp,
    ) -> BoxFuture<'static, PlanEnd> {
        let source = if history.root.started.document_received { Source::Received } else { Source::Own };
        let folder = self.folder_of(root, source, history.root.started.folder.as_deref());
        let Documents { root: document, made } = documents;
        let tree = Tree::taken_up(folder, source, history.plans, history.open, made, self.limits);
        let tree = Arc::new(tree);
        tree.is_stored(document.digest);
        let stopper = Stopper::new();
        // Their values are in no event. Without values nothing can be refused.
        let lost = document.document.secret_inputs().map(|input| (input, None));
        let shared = self.shared.with_inputs(lost).unwrap_or_else(|_| Arc::clone(&self.shared));
        let entry = shared.enter(root.clone(), stopper.clone());
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
        let run = run_root(shared, tree, plan);
        Box::pin(async move {
            let _entry = entry;
            run.await
        })
    }
}

/// The documents of a tree that is taken up.
struct Documents {
    root: Resolved,
    /// Those that steps made.
    made: MadeDocuments,
}

const fn taken_of(ended: usize) -> Taken {
    if ended > 0 { Taken::Ended } else { Taken::Gone }
}
