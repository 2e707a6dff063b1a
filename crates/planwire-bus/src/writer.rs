//! The thread that owns the log: takes what is queued, commits it, tells readers, then publishers.
//!
//! It never waits on a timer. An idle bus commits each event by itself; a busy one commits all that gathered while
//! the last commit was on its way to the disk.

use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use planwire_event::EventId;
use planwire_store::{Removal, StoreError};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use crate::bus::Shared;
use crate::config::REQUEST_BYTES_MAX;
use crate::counters::add;
use crate::error::{Health, PublishError};
use crate::log::{Committed, Fresh, Log, Outcome, Request};
use crate::recorded::Recorded;
use crate::redaction;
use crate::sync;

/// What publishers send to the writer.
#[derive(Debug)]
pub(crate) enum Message {
    /// Events to store.
    Publish(Queued),
    /// The store has seen that another process moved the head: what it wrote is to be shown.
    HeadSeen,
    /// The payload of an event is to be removed.
    Remove(ToRemove),
    /// Nothing follows: store what came before and end.
    Shutdown,
}

/// An event whose payload is to be removed, and whoever waits for that.
#[derive(Debug)]
pub(crate) struct ToRemove {
    pub(crate) event_id: EventId,
    pub(crate) reply: oneshot::Sender<Result<Removal, StoreError>>,
}

/// A request in the queue, with its share of the bytes that may be in flight.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) request: Request,
    pub(crate) reply: oneshot::Sender<Outcome>,
    pub(crate) bytes: usize,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// Bytes of requests that share a commit.
const BATCH_BYTES_MAX: usize = REQUEST_BYTES_MAX;

/// How long the writer looks for a request that it has reason to expect before it sleeps: about what it takes to wake a
/// thread, and a third of an fdatasync. In a model time does not pass.
const EXPECT_MAX: Duration = Duration::from_micros(if cfg!(feature = "models") { 0 } else { 50 });

/// The writer between two messages: it owns the log. Dropping it says how it ended, also when it panicked: a bus that
/// cannot write must not look as if it could.
#[derive(Debug)]
pub(crate) struct Writer {
    log: Log,
    queue: UnboundedReceiver<Message>,
    /// What was taken from the queue and did not fit into the last commit.
    left_over: Option<Queued>,
    shared: Arc<Shared>,
    batch_events_max: usize,
    /// The store failed for good: publishers are told that nothing is taken any more.
    failed: bool,
    /// Whether the last commit was of one request.
    was_alone: bool,
    /// How the writer ends if it ends now.
    health: Health,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.writer_ended(self.health.clone());
    }
}

impl Writer {
    pub(crate) fn new(
        log: Log,
        queue: UnboundedReceiver<Message>,
        shared: Arc<Shared>,
        batch_events_max: usize,
    ) -> Self {
        let health = Health::Failed { message: "the writer ended unexpectedly".into() };
        let batch_events_max = batch_events_max.max(1);
        Self {
            log,
            queue,
            left_over: None,
            shared,
            batch_events_max,
            failed: false,
            was_alone: false,
            health,
        }
    }

    /// Runs until the bus is shut down or dropped.
    pub(crate) fn run(mut self) {
        loop {
            let message = match self.left_over.take() {
                Some(queued) => Some(Message::Publish(queued)),
                None => self.expect().or_else(|| sync::receive(&mut self.queue)),
            };
            if self.take(message).is_break() {
                return;
            }
        }
    }

    /// What comes within a moment after a commit of one request: its publisher, if it waited, sends the next about now,
    /// and a thread that sleeps takes longer to wake than it takes to look.
    fn expect(&mut self) -> Option<Message> {
        if !self.was_alone {
            return None;
        }
        let begun = Instant::now();
        while begun.elapsed() < EXPECT_MAX {
            match self.queue.try_recv() {
                Ok(message) => return Some(message),
                // The end of the queue is for the caller to find.
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => std::hint::spin_loop(),
            }
        }
        None
    }

    /// Takes one message, and what else is queued where it is a request; `None` stands for a queue that has ended.
    fn take(&mut self, message: Option<Message>) -> ControlFlow<()> {
        match message {
            Some(Message::Publish(queued)) if self.failed => {
                let _ = queued.reply.send(Err(PublishError::Stopped));
                ControlFlow::Continue(())
            }
            Some(Message::Publish(queued)) => {
                let (gathered, behind) = self.gather(queued);
                self.was_alone = gathered.len() == 1;
                if let Some(health) = commit(&mut self.log, gathered, &self.shared) {
                    // Readers go on until the bus ends.
                    (self.failed, self.health) = (true, health);
                }
                if behind.head_seen {
                    self.take_in_others();
                }
                behind.removals.into_iter().for_each(|removal| self.remove(removal));
                ControlFlow::Continue(())
            }
            Some(Message::Remove(removal)) => {
                self.remove(removal);
                ControlFlow::Continue(())
            }
            Some(Message::HeadSeen) => {
                self.take_in_others();
                ControlFlow::Continue(())
            }
            Some(Message::Shutdown) | None => {
                if self.failed {
                    self.shared.tail.close();
                } else {
                    self.health = Health::Closed;
                }
                ControlFlow::Break(())
            }
        }
    }

    /// Removes a payload from the store, then from what readers find in memory.
    fn remove(&mut self, ToRemove { event_id, reply }: ToRemove) {
        let removed = if self.failed { Err(StoreError::Closed) } else { self.log.remove_payload(event_id) };
        self.shared.tail.forget();
        // Whoever does not wait any more finds it removed.
        let _ = reply.send(removed);
    }

    /// Shows what other processes wrote. If it cannot be read now, the next hint or the next commit makes up for it.
    fn take_in_others(&mut self) {
        self.shared.head_seen_taken();
        match self.log.take_in_others() {
            Ok(others) => show(others, &self.shared),
            Err(error @ StoreError::Replaced { .. }) => {
                (self.failed, self.health) = (true, fail(&error, &self.shared));
            }
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "others' events wait"),
        }
        #[cfg(feature = "planted")]
        self.shared.head_seen_taken_late();
    }

    /// Takes what else is queued behind a request, as much as shares a commit with it; also what is to be done after it.
    fn gather(&mut self, first: Queued) -> (Vec<Queued>, Behind) {
        let (mut events, mut bytes) = (first.request.events.len(), first.bytes);
        let (mut gathered, mut behind) = (vec![first], Behind::default());
        while events < self.batch_events_max && bytes < BATCH_BYTES_MAX {
            match self.queue.try_recv() {
                Ok(Message::Publish(queued))
                    if events + queued.request.events.len() > self.batch_events_max =>
                {
                    self.left_over = Some(queued);
                    break;
                }
                Ok(Message::Publish(queued)) => {
                    events += queued.request.events.len();
                    bytes += queued.bytes;
                    gathered.push(queued);
                }
                Ok(Message::HeadSeen) => behind.head_seen = true,
                Ok(Message::Remove(removal)) => behind.removals.push(removal),
                Ok(Message::Shutdown) => {
                    // The door is closed: what follows is nothing, and the channel says so.
                    self.queue.close();
                    break;
                }
                Err(_) => break,
            }
        }
        (gathered, behind)
    }
}

/// What was queued between requests that share a commit, and is done after it.
#[derive(Debug, Default)]
struct Behind {
    /// The head was seen to move.
    head_seen: bool,
    removals: Vec<ToRemove>,
}

/// The writer of a bus without a thread: whoever has it takes its steps, as a simulation does.
#[doc(hidden)]
#[derive(Debug)]
pub struct Steps {
    pub(crate) writer: Writer,
    /// Dropped after the writer: tells a shutdown that the log is released.
    pub(crate) _running: watch::Sender<()>,
}

/// What a step of the writer found.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something was taken.
    Taken,
    /// Nothing was queued.
    Idle,
    /// The bus has ended; no step follows.
    Ended,
}

impl Steps {
    /// Does what the thread would do with what is queued.
    pub fn step(&mut self) -> Step {
        let message = match self.writer.left_over.take() {
            Some(queued) => Some(Message::Publish(queued)),
            None => match self.writer.queue.try_recv() {
                Ok(message) => Some(message),
                Err(TryRecvError::Empty) => return Step::Idle,
                Err(TryRecvError::Disconnected) => None,
            },
        };
        if self.writer.take(message).is_break() { Step::Ended } else { Step::Taken }
    }
}

/// Makes durable events visible to readers.
fn show(stored: Vec<Fresh>, shared: &Arc<Shared>) {
    add(&shared.counters.events_stored, stored.len() as u64);
    let recorded: Vec<_> = stored
        .into_iter()
        .map(|(event, tree_ended)| Arc::new(Recorded::new(event, tree_ended, Arc::clone(&shared.counters))))
        .collect();
    // Perhaps by another process, which can tell us only so.
    if recorded.iter().any(|event| redaction::is_record(event)) {
        shared.tail.forget();
    }
    shared.tail.extend(&recorded);
}

/// Commits, makes visible, acknowledges: in this order, and a failure is known before it is told. Says how the log failed if it did for good.
fn commit(log: &mut Log, gathered: Vec<Queued>, shared: &Arc<Shared>) -> Option<Health> {
    let (requests, waiting): (Vec<_>, Vec<_>) =
        gathered.into_iter().map(|queued| (queued.request, (queued.reply, queued.permit))).unzip();
    // After a panic nobody knows whether the store has them; the publishers must not hear that it certainly has not.
    let done = std::panic::catch_unwind(AssertUnwindSafe(|| log.commit(&requests)))
        .unwrap_or_else(|_| Committed::unknown(&requests, StoreError::Failed("the writer panicked".into())));
    let Committed { outcomes, stored, committed, fatal } = done;
    add(&shared.counters.commits, u64::from(committed));
    show(stored, shared);
    let failed = fatal.map(|error| fail(&error, shared));
    for ((reply, _permit), outcome) in waiting.into_iter().zip(outcomes) {
        // Whoever dropped the receipt does not want to know; the events are stored all the same.
        let _ = reply.send(outcome);
    }
    failed
}

/// Tells everybody that nothing is written any more.
fn fail(error: &StoreError, shared: &Shared) -> Health {
    tracing::error!(error = %error, "the store failed for good; no more events are taken");
    let health = Health::Failed { message: error.to_string() };
    shared.writer_ended(health.clone());
    health
}
