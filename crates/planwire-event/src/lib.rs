//! Events of plan execution: what they are, how they look on every wire, and what a sequence of them means.
//!
//! This room holds the vocabulary that all others share. Everything here is a pure function or plain data: no
//! runtime, no SQL, no HTTP; time and randomness come in as parameters. **Invariant:** two equal payloads are equal
//! bytes, since every payload is in normal form before anybody sees it.
//!
//! - [`limits`]: how large, deep and long things may be.
//! - [`clock`], [`timestamp`]: where time comes from and how it is written.
//! - [`ids`], [`cursor`]: names of events, plans, logs and places in a log.
//! - [`cost`]: amounts of money.
//! - [`normal`], [`payload`], [`vocabulary`]: payloads: normal form, raw and typed.
//! - [`event_type`], [`event`]: the event as published and as stored.
//! - [`cloud_event`]: the event as a CloudEvent.
//! - [`filter`]: which events a reader wants.
//! - [`lifecycle`], [`state`]: what may follow what, and what the events of a plan add up to.
//! - [`answer`], [`arguments`]: whether an answer fits its question, and arguments their tool.
//! - [`expression`]: CEL within bounds.
//! - [`schema`]: JSON Schema of each payload.

pub mod answer;
pub mod arguments;
pub mod clock;
pub mod cloud_event;
pub mod cost;
pub mod cursor;
pub mod decimal;
pub mod digest;
pub mod event;
pub mod event_type;
pub mod expression;
pub mod filter;
pub mod ids;
pub mod lifecycle;
pub mod limits;
pub mod normal;
pub mod payload;
pub mod schema;
pub mod state;
pub mod timestamp;
pub mod vocabulary;

pub use clock::{Clock, ManualClock, SystemClock};
pub use cost::Cost;
pub use cursor::{Cursor, CursorError, LogId, Position, Seq};
pub use digest::Digest;
pub use event::{Draft, DraftError, Event, Meta, Producer, StoredEvent};
pub use event_type::{EventType, EventTypeError};
pub use filter::{EventTypes, Filter, Scope};
pub use ids::{EventId, IdError, IdGenerator, PlanId};
pub use lifecycle::{Lineage, PlanLifecycle, PlanStatus, Refusal};
pub use payload::{Payload, PayloadError};
pub use state::{PlanState, TreeState};
pub use timestamp::{Timestamp, TimestampError};
