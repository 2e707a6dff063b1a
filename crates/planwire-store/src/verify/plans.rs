//! A row of `plans` beside the events that it was made of.

use std::sync::Arc;

use planwire_event::lifecycle::{Fact, PlanStatus};
use planwire_event::vocabulary::PlanStarted;
use planwire_event::{Digest, EventType, PlanId, Position, StoredEvent};

use crate::contract::PlanRow;

/// What the row of an open plan says that is not checked yet, and what those of its children repeat.
pub(crate) struct Listed {
    context_id: Arc<str>,
    /// As the events say so far.
    owner: Option<Arc<str>>,
    row: PlanRow,
}

impl Listed {
    /// Compares a row with the event that started the plan; gives what does not agree. `started` is none if the payload
    /// was removed.
    pub(crate) fn check(
        event: &StoredEvent,
        started: Option<&PlanStarted>,
        row: &PlanRow,
        parent: Option<&Self>,
    ) -> Result<Self, &'static str> {
        if row.plan_id != *event.plan_id() || row.first_position != event.position {
            return Err("another plan stands in its place");
        }
        let lineage = (&row.root_plan_id, &row.parent_plan_id, row.depth);
        if lineage != (&event.root_plan_id, &event.parent_plan_id, event.depth) {
            return Err("its place in its tree");
        }
        if row.name != started.map_or("", |started| &started.name) {
            return Err("its name");
        }
        if row.started_at != event.event.timestamp() {
            return Err("its start");
        }
        let context_id = match parent {
            Some(parent) => Arc::clone(&parent.context_id),
            None => match started {
                Some(started) => started.context_id.as_deref().unwrap_or(row.plan_id.as_str()).into(),
                None => Arc::clone(&row.context_id),
            },
        };
        if row.context_id != context_id {
            return Err("its context");
        }
        let own = match started {
            Some(started) => {
                let digest = started.document_digest.as_deref();
                if row.document_digest != digest.and_then(|digest| digest.parse::<Digest>().ok()) {
                    return Err("its document");
                }
                let producer = &event.meta.producer;
                started.executor_id.as_deref().filter(|id| producer.is_executor(id)).map(Arc::from)
            }
            None => row.owner.clone(),
        };
        let owner = parent.and_then(|parent| parent.owner.clone()).or(own);
        let ended = !row.status.is_open();
        if [row.last_position.is_some(), row.last_seq.is_some(), row.ended_at.is_some()] != [ended; 3] {
            return Err("its end");
        }
        Ok(Self { context_id, owner, row: row.clone() })
    }

    /// Compares the row with the event that ended the plan.
    pub(crate) fn check_end(&self, event: &StoredEvent, fact: &Fact) -> Result<(), &'static str> {
        let status = match fact {
            Fact::Failed(reason) => PlanStatus::Failed(*reason),
            _ => PlanStatus::Completed,
        };
        if self.row.status == status { self.check_end_of(event) } else { Err("its end") }
    }

    /// As [`Listed::check_end`], of an event whose payload was removed: the reason is believed.
    pub(crate) fn check_end_of(&self, event: &StoredEvent) -> Result<(), &'static str> {
        let is_completed = *event.event.event_type() == EventType::PlanCompleted;
        let row = &self.row;
        let ended = (row.last_position, row.last_seq, row.ended_at);
        if self.wrong_owner().is_some() {
            return Err("its owner");
        }
        let same = ended == (Some(event.position), Some(event.seq), Some(event.event.timestamp()));
        let fits = (row.status == PlanStatus::Completed) == is_completed;
        if same && fits { Ok(()) } else { Err("its end") }
    }

    /// Another executor takes its tree over, if an executor owns it.
    pub(crate) fn adopt(&mut self, root: &PlanId, owner: &Arc<str>) {
        if self.row.root_plan_id == *root && self.owner.is_some() {
            self.owner = Some(Arc::clone(owner));
        }
    }

    /// Where the plan starts, if its row names another owner than its events.
    pub(crate) fn wrong_owner(&self) -> Option<(Position, &PlanId)> {
        (self.row.owner != self.owner).then_some((self.row.first_position, &self.row.plan_id))
    }

    /// Where the row says that the plan ended.
    pub(crate) const fn end(&self) -> Option<Position> {
        self.row.last_position
    }
}
