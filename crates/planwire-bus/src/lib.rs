//! The event bus: durable first, then told to every reader in order.
//!
//! ```text
//! Publisher -> check, weigh -> queue -> writer thread: Log::commit -> tail (ring, waiters) -> acknowledgement
//!                                                                      |
//!                          Subscription <- ring, or store where the ring no longer reaches
//! ```
//!
//! One thread owns the [`Log`] and with it the order of everything. **Invariants:** no reader sees an event that a
//! crash could take back; an acknowledged event is readable; a reader sees each event of its filter once, in order,
//! however slow it is.
//!
//! - `config`, `counters`, `error`: limits, what is counted, what can go wrong.
//! - `log`, `log_state`, `staged`: the log as its one writer sees it; who may publish what; what is about to be stored.
//! - `bus`, `writer`: the door for publishers and the thread behind it.
//! - `recorded`, `ring`, `waiters`, `tail`: the end of the log, kept in memory, and who waits for more.
//! - `redaction`: a payload is removed, and the log says so.
//! - `scope`, `subscription`: one reader's place in the log.
//! - `handler`, `gate`, `workers`, `stage`, `handlers`: callbacks around subscriptions, isolated from each other.
//! - `starter`: how a facade starts a plan without knowing the engine.
//! - `sync`: the locks and threads of all these, in one place where a model takes them over.

mod bus;
mod config;
mod counters;
mod error;
mod gate;
mod handler;
mod handlers;
mod log;
mod log_state;
#[cfg(feature = "planted")]
#[doc(hidden)]
pub mod planted;
mod recorded;
mod redaction;
mod ring;
mod scope;
mod stage;
mod staged;
mod starter;
mod subscription;
mod sync;
mod tail;
mod waiters;
#[cfg_attr(feature = "models", path = "workers_modelled.rs")]
mod workers;
mod writer;

pub use bus::{EventBus, Publisher, Receipt};
pub use config::{
    BATCH_EVENTS_MAX, BLOCKING_HANDLERS_MAX, Config, HANDLERS_DRAIN_MS_MAX, INFLIGHT_BYTES_MAX,
    REQUEST_BYTES_MAX, REQUEST_EVENTS_MAX, RING_BYTES_MAX,
};
pub use counters::Counters;
pub use error::{
    EventBusError, Health, PublishError, ReadError, StreamError, SubscribeError, UnsubscribeError,
};
pub use handler::{Handler, HandlerError};
pub use handlers::SubscriptionId;
pub use log::{Attachments, Log, Published};
pub use recorded::{FrameForm, Recorded};
pub use redaction::{REASON_BYTES_MAX, REDACT, RedactError, Redacted, Redaction};
#[doc(hidden)]
pub use stage::Stage;
pub use starter::{CatalogEntry, DocumentSource, PlanStarter, StartError, StartRequest, Started};
pub use subscription::{Batch, Item, StartAt, Subscription};
#[doc(hidden)]
pub use writer::{Step, Steps};

/// The example of the README is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
