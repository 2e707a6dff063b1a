//! What one commit is about to store: rows that are computed and not stored yet, and ids that were found stored.

use std::collections::HashMap;
use std::sync::Arc;

use planwire_event::lifecycle::Fact;
use planwire_event::{Digest, Event, EventId, Meta, Producer, StoredEvent};
use planwire_store::{Batch, EventRepository, PlanChange, PlanRow, Sealer, StoreError};

use crate::error::PublishError;
use crate::log::{Attachments, Incoming, Outcome, Published, wait};
use crate::log_state::Placed;
#[cfg(feature = "planted")]
use crate::planted::{self, Bug};

/// Rows that are computed and not stored yet.
pub(crate) struct Staged {
    pub(crate) batch: Batch,
    pub(crate) tree_ended: Vec<Option<bool>>,
    pub(crate) outcomes: Vec<Outcome>,
    /// Where in the batch an event id stands.
    fresh: HashMap<EventId, usize>,
    sealer: Sealer,
}

impl Staged {
    /// Nothing yet, over a batch without rows.
    pub(crate) fn over(batch: Batch) -> Self {
        Self { batch, tree_ended: vec![], outcomes: vec![], fresh: HashMap::new(), sealer: Sealer::default() }
    }

    /// Rows and changes of plans so far: a place to go back to with [`Staged::cut`].
    pub(crate) const fn len(&self) -> (usize, usize) {
        (self.batch.rows.len(), self.batch.plans.len())
    }

    /// Whether an event of some request may not follow.
    pub(crate) fn refuses(&self) -> bool {
        self.outcomes.iter().any(|outcome| matches!(outcome, Err(PublishError::Rejected { .. })))
    }

    /// The event of the batch with this id.
    pub(crate) fn find(&self, id: EventId) -> Option<&Arc<StoredEvent>> {
        self.fresh.get(&id).map(|at| &self.batch.rows[*at].event)
    }

    /// Adds the row of an event that may follow.
    pub(crate) fn add(&mut self, incoming: &Incoming, placed: Placed, producer: &Producer) -> Published {
        let Incoming { event, fact, payload } = incoming;
        let position = self.batch.next.position.next();
        let stored = Arc::new(StoredEvent {
            event: event.clone().with_redacted(Vec::new()),
            log_id: self.batch.next.log_id,
            position,
            seq: placed.seq,
            root_plan_id: placed.lineage.root_plan_id.clone(),
            parent_plan_id: placed.lineage.parent_plan_id.clone(),
            depth: placed.lineage.depth,
            recorded_at: self.batch.next.recorded_at,
            meta: Meta {
                producer: producer.clone(),
                traceparent: event.traceparent().map(Arc::from),
                redacted: event.redacted().to_vec(),
            },
        });
        self.change_plan(&stored, fact, &placed);
        let place = place_of(&stored);
        self.fresh.insert(event.event_id(), self.batch.rows.len());
        self.batch.rows.push(self.sealer.seal(stored, payload));
        self.batch.next.position = position;
        self.tree_ended.push(placed.tree_ended);
        place
    }

    fn change_plan(&mut self, event: &StoredEvent, fact: &Fact, placed: &Placed) {
        if let Fact::Started(started) = fact {
            self.batch.plans.push(PlanChange::Started(Box::new(PlanRow {
                plan_id: event.plan_id().clone(),
                root_plan_id: placed.lineage.root_plan_id.clone(),
                parent_plan_id: placed.lineage.parent_plan_id.clone(),
                depth: placed.lineage.depth,
                name: started.name.clone(),
                context_id: Arc::clone(&placed.lineage.context_id),
                document_digest: started
                    .document_digest
                    .as_deref()
                    .and_then(|text| text.parse::<Digest>().ok()),
                status: placed.status,
                first_position: event.position,
                last_position: None,
                last_seq: None,
                started_at: event.event.timestamp(),
                ended_at: None,
                owner: placed.owner.clone(),
            })));
        } else if !placed.status.is_open() {
            self.batch.plans.push(PlanChange::Ended {
                plan_id: event.plan_id().clone(),
                status: placed.status,
                position: event.position,
                seq: event.seq,
                ended_at: event.event.timestamp(),
                owner: placed.owner.clone(),
            });
        } else if let (Fact::Adopted { executor_id, .. }, Some(_)) = (fact, &placed.owner) {
            let (root_plan_id, owner) = (event.plan_id().clone(), Arc::clone(executor_id));
            self.batch.plans.push(PlanChange::Adopted { root_plan_id, owner });
        }
    }

    /// Takes the rows of a request back that is not stored.
    pub(crate) fn cut(&mut self, (rows, plans): (usize, usize)) {
        #[cfg(feature = "planted")]
        if planted::has(Bug::HalfARequest) {
            return;
        }
        for row in self.batch.rows.drain(rows..) {
            self.fresh.remove(&row.event.event.event_id());
            self.batch.next.position = self.batch.next.position.previous();
        }
        self.tree_ended.truncate(rows);
        self.batch.plans.truncate(plans);
    }

    /// Adds what a request brings along.
    pub(crate) fn attach(&mut self, attachments: &Attachments) {
        self.batch.documents.extend(attachments.documents.iter().cloned());
        self.batch.blobs.extend(attachments.blobs.iter().cloned());
    }

    /// Grows the Merkle frontier by the leaves of the batch, once nothing can be cut any more.
    pub(crate) fn seal(&mut self) {
        for row in &self.batch.rows {
            self.batch.next.frontier.push(row.leaf);
        }
    }
}

/// Events of the batch's ids that were found in the store.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) stored: HashMap<EventId, Arc<StoredEvent>>,
}

impl Known {
    /// Looks these ids up, unless they were found before.
    pub(crate) fn look_up(
        &mut self,
        repository: &dyn EventRepository,
        ids: &[EventId],
    ) -> Result<(), StoreError> {
        // An id that was not there may be there by now: another process writes too.
        let fresh: Vec<_> = ids.iter().copied().filter(|id| !self.stored.contains_key(id)).collect();
        for ids in fresh.chunks(planwire_store::PAGE_EVENTS_MAX) {
            for event in wait(repository.by_event_ids(ids))? {
                self.stored.insert(event.event.event_id(), event);
            }
        }
        Ok(())
    }
}

/// What is answered for an event whose id is stored.
pub(crate) fn same_or_conflict(
    index: usize,
    event: &Event,
    first: &Arc<StoredEvent>,
) -> Result<Published, PublishError> {
    if first.event.same_content(event) {
        Ok(Published { duplicate: true, ..place_of(first) })
    } else {
        Err(PublishError::Conflict { index, event_id: event.event_id() })
    }
}

fn place_of(event: &StoredEvent) -> Published {
    Published {
        event_id: event.event.event_id(),
        position: event.position,
        cursor: event.cursor(),
        seq: event.seq,
        duplicate: false,
    }
}
