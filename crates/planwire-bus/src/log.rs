//! The log as its one writer has it: state and store together.
//!
//! [`Log::save`] serves programs without a bus; the bus takes the log by value, so the type checker keeps one writer.

use std::future::Future;
use std::sync::Arc;

use planwire_event::lifecycle::Fact;
use planwire_event::{Clock, Cursor, Digest, Event, EventId, LogId, Position, Producer, Seq, StoredEvent};
use planwire_store::{
    AppendError, Appended, Batch, Blob, Document, EventRepository, Head, LogWriter, PageLimits, Removal,
    StoreError,
};

use crate::config::PLANS_CACHED_MAX;
use crate::error::PublishError;
use crate::log_state::{LogState, Mark};
#[cfg(feature = "planted")]
use crate::planted::{self, Bug};
use crate::staged::{Known, Staged, same_or_conflict};

/// Attempts of one commit. Each that fails has either resolved an id or seen another process move the head; from the
/// third on the head is locked first.
const ATTEMPTS_MAX: usize = 64;
const ATTEMPTS_BEFORE_LOCK: usize = 2;

/// Where an event is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The event.
    pub event_id: EventId,
    /// Its place in the log.
    pub position: Position,
    /// The same for clients.
    pub cursor: Cursor,
    /// Its place in its plan.
    pub seq: Seq,
    /// Whether it was there already and this publish stored nothing.
    pub duplicate: bool,
}

/// What is stored with events in their transaction.
#[derive(Clone, Debug, Default)]
pub struct Attachments {
    /// Plan documents in normal form.
    pub documents: Vec<Document>,
    /// Bytes that ArtifactProduced events name by digest.
    pub blobs: Vec<Blob>,
}

/// An event to be stored, with what can be known of it before it has its place.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) event: Event,
    pub(crate) fact: Fact,
    /// SHA-256 of its payload.
    pub(crate) payload: Digest,
}

/// Events that are stored together or not at all.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) events: Vec<Incoming>,
    pub(crate) producer: Producer,
    pub(crate) attachments: Attachments,
}

impl Request {
    /// Takes the facts out of the events and hashes their payloads, on the publisher's side: the writer is one thread.
    pub(crate) fn new(events: Vec<Event>, producer: Producer, attachments: Attachments) -> Self {
        let prepare = |event: Event| {
            // An event is made only of a payload that fits its type.
            let fact = Fact::of(event.event_type(), event.payload()).unwrap_or(Fact::Other);
            let payload = Digest::of(event.payload().as_str().as_bytes());
            Incoming { event, fact, payload }
        };
        Self { events: events.into_iter().map(prepare).collect(), producer, attachments }
    }
}

/// An event that is new to readers, with whether its tree ended with it, where that is known.
pub(crate) type Fresh = (Arc<StoredEvent>, Option<bool>);

pub(crate) type Outcome = Result<Vec<Published>, PublishError>;

/// What one commit did.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    /// One per request, in their order.
    pub(crate) outcomes: Vec<Outcome>,
    /// What is new in the log, in position order, with whether its tree ended with it.
    pub(crate) stored: Vec<Fresh>,
    /// Whether a transaction was committed.
    pub(crate) committed: bool,
    /// The store failed in a way after which nothing may be written.
    pub(crate) fatal: Option<Arc<StoreError>>,
}

impl Committed {
    /// What can be said of `requests` when nobody knows whether they are stored.
    pub(crate) fn unknown(requests: &[Request], error: StoreError) -> Self {
        let error = Arc::new(error);
        let unknown = all(requests, &PublishError::Unknown(Arc::clone(&error)));
        Self { fatal: Some(error), ..unknown }
    }
}

/// A log with its one writer.
pub struct Log {
    state: LogState,
    writer: Box<dyn LogWriter>,
    repository: Arc<dyn EventRepository>,
    clock: Arc<dyn Clock>,
    head: Head,
    /// Whether others are kept from moving the head until the next append.
    head_locked: bool,
    /// Set by a fatal error: nothing is written any more.
    failed: bool,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("log_id", &self.head.log_id)
            .field("head", &self.head.position)
            .finish_non_exhaustive()
    }
}

/// Waits for a read of the store, on whatever thread this is.
///
/// Within a task of tokio a wait like this would spend the task's budget and then never be woken, since the task
/// itself never comes back for more: so it has none.
pub(crate) fn wait<T>(read: impl Future<Output = T>) -> T {
    crate::sync::block_on(tokio::task::unconstrained(read))
}

impl Log {
    /// Removes the payload of an event, see [`LogWriter::remove_payload`].
    pub(crate) fn remove_payload(&mut self, event_id: EventId) -> Result<Removal, StoreError> {
        self.writer.remove_payload(event_id)
    }

    /// Opens a log: reads its head and its open plans.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    pub fn open(
        mut writer: Box<dyn LogWriter>,
        repository: Arc<dyn EventRepository>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let head = writer.head()?;
        let state = LogState::load(&*repository, PLANS_CACHED_MAX)?;
        Ok(Self { state, writer, repository, clock, head, head_locked: false, failed: false })
    }

    /// Keeps the state of at most `plans_max` plans in memory; 50,000 if this is not called.
    #[must_use]
    pub fn with_plans_cached(mut self, plans_max: usize) -> Self {
        self.state.limit(plans_max);
        self
    }

    /// Readers of the log.
    #[must_use]
    pub const fn repository(&self) -> &Arc<dyn EventRepository> {
        &self.repository
    }

    /// The log's name.
    #[must_use]
    pub const fn log_id(&self) -> LogId {
        self.head.log_id
    }

    /// Position of the last event.
    #[must_use]
    pub const fn head(&self) -> Position {
        self.head.position
    }

    /// Stores one event and answers once it is durable. Blocks; for programs without a bus.
    ///
    /// # Errors
    ///
    /// As for [`crate::EventBus::publish`].
    pub fn save(&mut self, producer: &Producer, event: Event) -> Result<Published, PublishError> {
        let request = Request::new(vec![event], producer.clone(), Attachments::default());
        let mut outcomes = self.commit(&[request]).outcomes;
        let published = outcomes.pop().unwrap_or(Err(PublishError::Closed))?;
        published.into_iter().next().ok_or(PublishError::Closed)
    }

    /// Stores what may be stored of `requests` in one transaction.
    pub(crate) fn commit(&mut self, requests: &[Request]) -> Committed {
        if self.failed {
            return all(requests, &PublishError::Stopped);
        }
        let mut committed = self.try_commit(requests);
        #[cfg(feature = "planted")]
        if planted::has(Bug::HeadKeptLocked) {
            return committed;
        }
        if std::mem::take(&mut self.head_locked) {
            let unlocked = self.unlock_head();
            committed.fatal = committed.fatal.or(unlocked);
        }
        committed
    }

    /// Lets go of a head that was locked for an append which then had nothing to store: by an append of nothing.
    fn unlock_head(&mut self) -> Option<Arc<StoreError>> {
        let nothing =
            Batch { rows: vec![], plans: vec![], documents: vec![], blobs: vec![], next: self.head.clone() };
        match self.writer.append(&self.head, &nothing) {
            Err(AppendError::Unknown(error)) => {
                self.failed = true;
                Some(Arc::new(error))
            }
            // The transaction has ended, whatever else the store says; the next commit hears it too.
            Ok(_) | Err(AppendError::Refused(_) | AppendError::Unsettled(_)) => None,
        }
    }

    fn try_commit(&mut self, requests: &[Request]) -> Committed {
        let mut known = Known::default();
        let mut others = Vec::new();
        for attempt in 0..ATTEMPTS_MAX {
            match self.attempt(requests, &mut known, &mut others, attempt >= ATTEMPTS_BEFORE_LOCK) {
                Ok(Some(mut committed)) => {
                    #[cfg(feature = "planted")]
                    if planted::has(Bug::OthersLeftOut) {
                        others.clear();
                    }
                    others.append(&mut committed.stored);
                    committed.stored = others;
                    return committed;
                }
                Ok(None) => {}
                Err(AppendError::Refused(error)) => {
                    let error = Arc::new(error);
                    let fatal = self.failed.then(|| Arc::clone(&error));
                    let refused = all(requests, &PublishError::Refused(error));
                    return Committed { stored: others, fatal, ..refused };
                }
                #[cfg(feature = "planted")]
                Err(AppendError::Unknown(error)) if planted::has(Bug::UnknownReadAsRefused) => {
                    let refused = all(requests, &PublishError::Refused(Arc::new(error)));
                    return Committed { stored: others, ..refused };
                }
                Err(AppendError::Unknown(error)) => {
                    self.failed = true;
                    return Committed { stored: others, ..Committed::unknown(requests, error) };
                }
                // The store finds out before the next append; what it has of these comes in as others' events do.
                Err(AppendError::Unsettled(error)) => {
                    let unknown = all(requests, &PublishError::Unknown(Arc::new(error)));
                    return Committed { stored: others, ..unknown };
                }
            }
        }
        Committed { stored: others, ..all(requests, &PublishError::Refused(Arc::new(StoreError::Busy))) }
    }

    /// One attempt: `None` if the store has moved or knows some of the ids, so that it has to be tried again.
    fn attempt(
        &mut self,
        requests: &[Request],
        known: &mut Known,
        others: &mut Vec<Fresh>,
        lock: bool,
    ) -> Result<Option<Committed>, AppendError> {
        if lock {
            let head = self.writer.lock_head().map_err(AppendError::Refused)?;
            self.head_locked = true;
            self.catch_up(&head, others).map_err(AppendError::Refused)?;
        }
        let plans = requests.iter().flat_map(|request| &request.events);
        let named = plans
            .flat_map(|Incoming { event, fact, .. }| [Some(event.plan_id()), fact.named_plan()])
            .flatten();
        self.state.prefetch(&mut *self.writer, &*self.repository, named).map_err(AppendError::Refused)?;
        let start = self.state.mark();
        let staged = match self.stage(requests, known) {
            Ok(staged) => staged,
            Err(error) => {
                self.state.revert(start);
                return Err(AppendError::Refused(error));
            }
        };
        if staged.batch.rows.is_empty() {
            #[cfg(feature = "planted")]
            let lock = lock || planted::has(Bug::RefusedByStaleHead);
            if !lock
                && staged.refuses()
                && self.head_has_moved(start, others).map_err(AppendError::Refused)?
            {
                return Ok(None);
            }
            self.state.settle();
            return Ok(Some(Committed { outcomes: staged.outcomes, ..Committed::default() }));
        }
        self.head_locked = false;
        match self.writer.append(&self.head, &staged.batch) {
            Ok(Appended::Stored) => {
                self.state.settle();
                self.head = staged.batch.next;
                let rows = staged.batch.rows.into_iter().map(|row| row.event);
                let stored = rows.zip(staged.tree_ended).collect();
                Ok(Some(Committed { outcomes: staged.outcomes, stored, committed: true, fatal: None }))
            }
            Ok(Appended::HeadMoved) => {
                self.state.revert(start);
                let head = self.writer.head().map_err(AppendError::Refused)?;
                self.catch_up(&head, others).map_err(AppendError::Refused)?;
                Ok(None)
            }
            Ok(Appended::Duplicate(ids)) => {
                self.state.revert(start);
                known.look_up(&*self.repository, &ids).map_err(AppendError::Refused)?;
                Ok(None)
            }
            #[cfg(feature = "planted")]
            Err(AppendError::Refused(_)) if planted::has(Bug::AcknowledgedBeforeCommit) => {
                self.state.revert(start);
                Ok(Some(Committed { outcomes: staged.outcomes, ..Committed::default() }))
            }
            #[cfg(feature = "planted")]
            Err(AppendError::Unknown(error)) if planted::has(Bug::ToldBeforeCommit) => {
                let rows = staged.batch.rows.into_iter().map(|row| row.event);
                let stored = rows.zip(staged.tree_ended).collect();
                self.failed = true;
                Ok(Some(Committed { stored, ..Committed::unknown(requests, error) }))
            }
            #[cfg(feature = "planted")]
            Err(error @ AppendError::Refused(_)) if planted::has(Bug::RevertForgotten) => Err(error),
            Err(error) => {
                self.state.revert(start);
                Err(error)
            }
        }
    }

    /// Whether another process has written, which is then taken in: nothing was appended that compares the head, and
    /// what was refused may follow by now.
    fn head_has_moved(&mut self, start: Mark, others: &mut Vec<Fresh>) -> Result<bool, StoreError> {
        let head = self.writer.head()?;
        let moved = head != self.head;
        if moved {
            self.state.revert(start);
            self.catch_up(&head, others)?;
        }
        Ok(moved)
    }

    /// Takes in what other processes have written, and gives it in position order; nothing after a fatal error.
    pub(crate) fn take_in_others(&mut self) -> Result<Vec<Fresh>, StoreError> {
        let mut others = Vec::new();
        if !self.failed {
            let head = self.writer.head()?;
            self.catch_up(&head, &mut others)?;
        }
        Ok(others)
    }

    /// Takes in what another process has written up to `head`; nothing is written any more if that is of another log.
    fn catch_up(&mut self, head: &Head, others: &mut Vec<Fresh>) -> Result<(), StoreError> {
        let (expected, found) = (self.head.log_id, head.log_id);
        if found != expected {
            self.failed = true;
            return Err(StoreError::Replaced { expected, found });
        }
        let everything = planwire_event::Filter::all();
        // All or nothing: what was read before a failed page is read again by the next commit.
        let mut missed = Vec::new();
        let mut after = self.head.position;
        while after < head.position {
            let page = wait(self.repository.read_after(after, &everything, PageLimits::default()))?;
            for event in page.events.into_iter().filter(|event| event.position <= head.position) {
                self.state.absorb(&event);
                missed.push((event, None));
            }
            after = page.scanned_to;
        }
        others.append(&mut missed);
        self.head = head.clone();
        Ok(())
    }

    /// Computes the rows of all requests that may be stored.
    fn stage(&mut self, requests: &[Request], known: &mut Known) -> Result<Staged, StoreError> {
        let recorded_at = self.clock.now().max(self.head.recorded_at);
        let next = Head { recorded_at, ..self.head.clone() };
        let batch = Batch { rows: vec![], plans: vec![], documents: vec![], blobs: vec![], next };
        let mut staged = Staged::over(batch);
        for request in requests {
            let outcome = self.stage_request(request, known, &mut staged)?;
            staged.outcomes.push(outcome);
        }
        staged.seal();
        Ok(staged)
    }

    /// Adds the rows of one request, or none of them.
    fn stage_request(
        &mut self,
        request: &Request,
        known: &mut Known,
        staged: &mut Staged,
    ) -> Result<Outcome, StoreError> {
        loop {
            let (looked_up, outcome) = (known.stored.len(), self.try_stage(request, known, staged)?);
            #[cfg(feature = "planted")]
            if planted::has(Bug::RefusedForARepetition) {
                return Ok(outcome);
            }
            // It was refused, and only then some of its events were found to be stored: perhaps it was refused for
            // their sake.
            if known.stored.len() == looked_up || outcome.is_ok() {
                return Ok(outcome);
            }
        }
    }

    fn try_stage(
        &mut self,
        request: &Request,
        known: &mut Known,
        staged: &mut Staged,
    ) -> Result<Outcome, StoreError> {
        let mark = self.state.mark();
        let before = staged.len();
        let mut published = Vec::with_capacity(request.events.len());
        for (index, incoming) in request.events.iter().enumerate() {
            let Incoming { event, fact, .. } = incoming;
            let found = match self.find_duplicate(index, event, known, staged) {
                Some(found) => found,
                None => match self.state.place(event, fact, &request.producer) {
                    Ok(placed) => Ok(staged.add(incoming, placed, &request.producer)),
                    Err(refusal) => Err(PublishError::Rejected { index, refusal }),
                },
            };
            let outcome = match found {
                Ok(place) => Ok(place),
                // The event may have been stored before the plan came to where it would be refused. So may those before
                // it, and then they are what is wrong if they say something else.
                Err(error) => {
                    let ids = request.events[..=index].iter().map(|of| of.event.event_id());
                    known.look_up(&*self.repository, &ids.collect::<Vec<_>>())?;
                    let first = known.stored.get(&event.event_id());
                    first.map_or(Err(error), |first| same_or_conflict(index, event, first))
                }
            };
            match outcome {
                Ok(place) => published.push(place),
                Err(error) => {
                    self.state.revert(mark);
                    staged.cut(before);
                    return Ok(Err(error));
                }
            }
        }
        if published.iter().any(|place| !place.duplicate) {
            staged.attach(&request.attachments);
        }
        Ok(Ok(published))
    }

    fn find_duplicate(
        &self,
        index: usize,
        event: &Event,
        known: &Known,
        staged: &Staged,
    ) -> Option<Result<Published, PublishError>> {
        #[cfg(feature = "planted")]
        if planted::has(Bug::DuplicateInBatchMissed) && !known.stored.contains_key(&event.event_id()) {
            return None;
        }
        let first = known.stored.get(&event.event_id()).or_else(|| staged.find(event.event_id()))?;
        Some(same_or_conflict(index, event, first))
    }
}

fn all(requests: &[Request], error: &PublishError) -> Committed {
    Committed { outcomes: requests.iter().map(|_| Err(error.clone())).collect(), ..Committed::default() }
}
