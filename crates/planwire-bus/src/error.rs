//! What can go wrong, one enum per operation, and the health of the writer.

use std::sync::Arc;

use planwire_event::{Cursor, EventId, LogId, PlanId, Refusal};
use planwire_store::StoreError;

/// Why events were not published. `index` is the place of the event in its request, from 0.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The request is larger than one request may be.
    #[error("request of {len_bytes} bytes exceeds the limit of {max_bytes}")]
    TooLarge {
        /// Its bytes.
        len_bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// The request has more events than one request may have.
    #[error("request of {events} events exceeds the limit of {max_events}")]
    TooMany {
        /// Its events.
        events: usize,
        /// The limit.
        max_events: usize,
    },
    /// An event may not follow what the log holds; nothing of the request is stored.
    #[error("event {index} of the request is refused: {refusal}")]
    Rejected {
        /// Which event.
        index: usize,
        /// Why.
        refusal: Refusal,
    },
    /// The event id is taken by an event that says something else; nothing of the request is stored.
    #[error("event {index} of the request: event_id {event_id} is already stored with other content")]
    Conflict {
        /// Which event.
        index: usize,
        /// Its id.
        event_id: EventId,
    },
    /// The store refused; certainly nothing of the request is stored. It may be tried again.
    #[error("the store refused: {0}")]
    Refused(Arc<StoreError>),
    /// The request may be stored or not. Publish it again with the same event ids once events are taken: at once if
    /// the bus is [`Health::Ready`], else after a restart.
    #[error("the store did not say whether the events are stored: {0}")]
    Unknown(Arc<StoreError>),
    /// The writer stopped after a fatal error; certainly nothing of the request is stored.
    #[error("the log takes no events since a fatal error of its store; restart the process")]
    Stopped,
    /// The bus was shut down; certainly nothing of the request is stored.
    #[error("the bus is shut down")]
    Closed,
}

/// Why a stream was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The cursor belongs to another log.
    #[error("cursor {cursor} belongs to another log than {log_id}; read from the start")]
    OtherLog {
        /// The cursor.
        cursor: Cursor,
        /// Our log.
        log_id: LogId,
    },
    /// The cursor lies after the end of the log: the log was replaced by an older copy, perhaps.
    #[error("cursor {cursor} lies beyond the end of the log, {head}; read from the start")]
    BeyondHead {
        /// The cursor.
        cursor: Cursor,
        /// The end of the log.
        head: Cursor,
    },
    /// Retention has removed what follows the cursor.
    #[error("events after cursor {cursor} were removed by retention; the first kept follows {pruned_to}")]
    Pruned {
        /// The cursor.
        cursor: Cursor,
        /// The last position that was removed.
        pruned_to: Cursor,
    },
    /// The log does not know the plan that the filter names.
    #[error("plan {plan_id} is unknown")]
    UnknownPlan {
        /// The plan.
        plan_id: PlanId,
    },
    /// The bus was shut down.
    #[error("the bus is shut down")]
    Closed,
    /// The store could not be read.
    #[error("the store could not be read")]
    Store(#[from] StoreError),
}

/// Why a subscription could not read on. Its place is kept: reading may be tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The store could not be read.
    #[error("the store could not be read")]
    Store(#[from] StoreError),
}

/// Why a handler was not subscribed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The bus was shut down.
    #[error("the bus is shut down")]
    Closed,
    /// The operating system gave no thread for handlers.
    #[error("no thread could be started for handlers")]
    NoThread(#[source] std::io::Error),
}

/// Why a handler was not unsubscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnsubscribeError {
    /// There is no such subscription, or no more.
    #[error("there is no such subscription")]
    Unknown,
    /// A handler would wait for itself. The subscription is closed all the same.
    #[error("a handler cannot wait for the end of a subscription; use unsubscribe")]
    WithinHandler,
}

/// Any failure of a bus.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventBusError {
    /// The log could not be read.
    #[error("failed to open the log")]
    Open(#[from] StoreError),
    /// The operating system gave no thread for the writer.
    #[error("failed to start the writer")]
    NoThread(#[source] std::io::Error),
    /// See [`PublishError`].
    #[error("failed to publish")]
    Publish(#[from] PublishError),
    /// See [`StreamError`].
    #[error("failed to open a stream")]
    Stream(#[from] StreamError),
    /// See [`ReadError`].
    #[error("failed to read")]
    Read(#[from] ReadError),
    /// See [`SubscribeError`].
    #[error("failed to subscribe")]
    Subscribe(#[from] SubscribeError),
    /// See [`UnsubscribeError`].
    #[error("failed to unsubscribe")]
    Unsubscribe(#[from] UnsubscribeError),
}

/// Whether a bus takes events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Ready,
    /// It does not, since a fatal error; readers go on.
    Failed {
        /// What happened.
        message: String,
    },
    /// It does not: it was shut down.
    Closed,
}
