//! The thread that owns the log: takes what is queued, commits it, tells readers, then publishers.
//!
//! It never waits on a timer. An idle bus commits each event by itself; a busy one commits all that gathered while
//! the last commit was on its way to the disk.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use planwire_store::StoreError;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::bus::Shared;
use crate::config::REQUEST_BYTES_MAX;
use crate::counters::add;
use crate::error::{Health, PublishError};
use crate::log::{Committed, Log, Outcome, Request};
use crate::recorded::Recorded;

/// What publishers send to the writer.
#[derive(Debug)]
pub(crate) enum Message {
    /// Events to store.
    Publish(Queued),
    /// Nothing follows: store what came before and end.
    Shutdown,
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

/// Runs until the bus is shut down or the store fails for good.
pub(crate) fn run(
    mut log: Log,
    mut queue: UnboundedReceiver<Message>,
    shared: &Arc<Shared>,
    batch_events_max: usize,
) {
    let mut end = End { shared, health: Health::Failed { message: "the writer ended unexpectedly".into() } };
    let mut left_over = None;
    loop {
        let Some(gathered) = gather(&mut queue, &mut left_over, batch_events_max) else {
            end.health = Health::Closed;
            return;
        };
        if let Some(health) = commit(&mut log, gathered, shared) {
            end.health = health;
            break;
        }
    }
    // Readers go on until the bus ends; publishers are told that nothing is taken any more.
    drop(end);
    while let Some(Message::Publish(queued)) =
        left_over.take().map(Message::Publish).or_else(|| queue.blocking_recv())
    {
        let _ = queued.reply.send(Err(PublishError::Stopped));
    }
    shared.tail.close();
}

/// Says how the writer ended, also when it panics: a bus that cannot write must not look as if it could.
struct End<'a> {
    shared: &'a Shared,
    health: Health,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.shared.writer_ended(self.health.clone());
    }
}

/// Waits for a request and takes what else is there; `None` when nothing will come.
fn gather(
    queue: &mut UnboundedReceiver<Message>,
    left_over: &mut Option<Queued>,
    events_max: usize,
) -> Option<Vec<Queued>> {
    let first = match left_over.take() {
        Some(queued) => queued,
        None => match queue.blocking_recv()? {
            Message::Publish(queued) => queued,
            Message::Shutdown => return None,
        },
    };
    let (mut events, mut bytes) = (first.request.events.len(), first.bytes);
    let mut gathered = vec![first];
    while events < events_max && bytes < BATCH_BYTES_MAX {
        match queue.try_recv() {
            Ok(Message::Publish(queued)) if events + queued.request.events.len() > events_max => {
                *left_over = Some(queued);
                break;
            }
            Ok(Message::Publish(queued)) => {
                events += queued.request.events.len();
                bytes += queued.bytes;
                gathered.push(queued);
            }
            Ok(Message::Shutdown) => {
                // The door is closed: what follows is nothing, and the channel says so.
                queue.close();
                break;
            }
            Err(_) => break,
        }
    }
    Some(gathered)
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
    add(&shared.counters.events_stored, stored.len() as u64);
    let recorded: Vec<_> = stored
        .into_iter()
        .map(|(event, tree_ended)| Arc::new(Recorded::new(event, tree_ended, Arc::clone(&shared.counters))))
        .collect();
    shared.tail.extend(&recorded);
    let failed = fatal.map(|error| {
        tracing::error!(error = %error, "the store failed for good; no more events are taken");
        Health::Failed { message: error.to_string() }
    });
    if let Some(health) = &failed {
        shared.writer_ended(health.clone());
    }
    for ((reply, _permit), outcome) in waiting.into_iter().zip(outcomes) {
        // Whoever dropped the receipt does not want to know; the events are stored all the same.
        let _ = reply.send(outcome);
    }
    failed
}
