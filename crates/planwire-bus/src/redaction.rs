//! Removes a payload that should not have been published, and leaves a record of that in the log.
//!
//! The record is a plan of its own, [`REDACT`]: its start says what is to be removed and why, and is durable before
//! anything is removed; its end says that it is gone. Where its end is seen, in this process or in another one, nothing of
//! the log so far is handed out from memory any more.

use planwire_event::vocabulary::{
    Failure, FailureReason, Object, Origin, PlanCompleted, PlanFailed, PlanStarted,
};
use planwire_event::{
    Clock, Digest, Event, EventId, EventType, IdGenerator, PayloadError, PlanId, StoredEvent,
};
use planwire_store::{PlanQuery, PlanScope, Removal, StoreError};
use serde_json::json;

use crate::bus::{EventBus, Publisher};
use crate::error::PublishError;

/// The name of the plan that records a redaction.
pub const REDACT: &str = "redact";

/// Bytes of a reason.
pub const REASON_BYTES_MAX: usize = 4 * 1024;

/// What is to be removed, by whom and why.
#[derive(Clone, Debug)]
pub struct Redaction {
    /// The event whose payload is removed.
    pub event_id: EventId,
    /// Why, for those who look for it later; not empty, and without what is removed.
    pub reason: String,
    /// Who asks, and how.
    pub origin: Origin,
}

/// A payload that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redacted {
    /// The plan of the event.
    pub plan_id: PlanId,
    /// The digest that stays.
    pub digest: Digest,
    /// The plan that records it; none if the payload was removed before.
    pub record: Option<PlanId>,
}

/// Why a payload was not removed, or not certainly.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedactError {
    /// The reason is empty or too long.
    #[error("a redaction needs a reason of at most {REASON_BYTES_MAX} bytes")]
    Reason,
    /// There is no such event.
    #[error("no event {event_id} is stored")]
    Unknown {
        /// The event.
        event_id: EventId,
    },
    /// Plans of the tree are open: they go on by their events.
    #[error("the tree of plan {root} is open, and goes on by its events; cancel it first")]
    Open {
        /// The root of the tree.
        root: PlanId,
    },
    /// The event says who owns a tree, which nothing else does.
    #[error("the payload of {event_type} says who owns the tree and cannot be removed")]
    Kept {
        /// Its type.
        event_type: EventType,
    },
    /// It could not be recorded; nothing was removed, or only the end of the record is missing.
    #[error("the redaction cannot be recorded")]
    Record(#[from] PublishError),
    /// It could not be recorded, since it is no event.
    #[error("the redaction cannot be recorded")]
    Payload(#[from] PayloadError),
    /// The store did not remove it, or did not say so. Asking again does no harm.
    #[error("it is not certain that the payload is gone; ask again")]
    Store(#[from] StoreError),
}

impl EventBus {
    /// Removes the payload of an event of a tree that has ended, and records it by `publisher`.
    ///
    /// The event keeps its place, its leaf and the digest of its payload. Documents and blobs that it names stay. Asking
    /// again does no harm: of a payload that was removed before, the store only looks whether anything is left.
    ///
    /// # Errors
    ///
    /// [`RedactError`] says whether anything may have been removed.
    pub async fn redact(
        &self,
        publisher: &Publisher,
        ids: &IdGenerator,
        clock: &dyn Clock,
        redaction: Redaction,
    ) -> Result<Redacted, RedactError> {
        let Redaction { event_id, reason, .. } = &redaction;
        if reason.trim().is_empty() || reason.len() > REASON_BYTES_MAX {
            return Err(RedactError::Reason);
        }
        let unknown = || RedactError::Unknown { event_id: *event_id };
        let found = self.repository().by_event_ids(&[*event_id]).await?;
        let event = found.into_iter().next().ok_or_else(unknown)?;
        let (plan_id, digest) = (event.plan_id().clone(), event.event.payload().digest());
        self.may_go(&event).await?;
        if event.event.payload().removed_digest().is_some() {
            self.remove_payload(*event_id).await?;
            return Ok(Redacted { plan_id, digest, record: None });
        }
        let record = Record { publisher, ids, clock, plan: ids.next_plan_id() };
        let began = clock.now();
        record.publish(&started(&event, &redaction)).await?;
        let removed = self.remove_payload(*event_id).await;
        let duration_ms = clock.now().millis_since(began);
        match removed {
            Ok(Removal::Removed | Removal::Before) => {
                let outputs = [(RECORD_OUTPUT.to_owned(), json!(digest))].into_iter().collect();
                record.publish(&PlanCompleted { outputs, duration_ms, ..PlanCompleted::default() }).await?;
                Ok(Redacted { plan_id, digest, record: Some(record.plan) })
            }
            other => {
                let error = other.map_or_else(RedactError::from, |_| unknown());
                let failure = Failure { code: "not_removed".into(), message: error.to_string(), step: None };
                let failed = PlanFailed {
                    reason: FailureReason::Error,
                    error: failure,
                    duration_ms,
                    limit: None,
                    usage: None,
                };
                record.publish(&failed).await?;
                Err(error)
            }
        }
    }

    /// Refuses what others still need.
    async fn may_go(&self, event: &StoredEvent) -> Result<(), RedactError> {
        let event_type = event.event.event_type();
        if *event_type == EventType::PlanAdopted {
            return Err(RedactError::Kept { event_type: event_type.clone() });
        }
        let root = event.root_plan_id.clone();
        let scope = PlanScope::Tree(root.clone());
        let open = PlanQuery { scope, open_only: true, ..PlanQuery::default() };
        let is_open = !self.repository().plans(&open).await?.plans.is_empty();
        if is_open { Err(RedactError::Open { root }) } else { Ok(()) }
    }
}

/// The output of the plan that records a redaction.
const RECORD_OUTPUT: &str = "redacted";

/// Whether an event is the end of a plan that recorded a redaction. Anybody can publish one that looks so; it costs readers
/// a look into the store.
pub(crate) fn is_record(event: &StoredEvent) -> bool {
    *event.event.event_type() == EventType::PlanCompleted
        && event.event.read::<PlanCompleted>().is_some_and(|ended| ended.outputs.contains_key(RECORD_OUTPUT))
}

struct Record<'a> {
    publisher: &'a Publisher,
    ids: &'a IdGenerator,
    clock: &'a dyn Clock,
    plan: PlanId,
}

impl Record<'_> {
    async fn publish<T: planwire_event::vocabulary::TypedPayload>(
        &self,
        payload: &T,
    ) -> Result<(), RedactError> {
        let event = Event::of(self.ids, self.clock, self.plan.clone(), payload)?;
        self.publisher.publish(event).await?;
        Ok(())
    }
}

fn started(event: &StoredEvent, redaction: &Redaction) -> PlanStarted {
    let inputs: Object = [
        ("event_id".to_owned(), json!(event.event.event_id())),
        ("event_type".to_owned(), json!(event.event.event_type())),
        ("plan_id".to_owned(), json!(event.plan_id())),
        ("cursor".to_owned(), json!(event.cursor().to_string())),
    ]
    .into_iter()
    .collect();
    PlanStarted {
        name: REDACT.into(),
        goal: redaction.reason.clone(),
        inputs,
        document_digest: None,
        parent_plan_id: None,
        context_id: None,
        executor_id: None,
        folder: None,
        document_received: false,
        origin: Some(redaction.origin.clone()),
    }
}
