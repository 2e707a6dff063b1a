//! The checker: compares what publishers asked and heard, what the disk holds and what readers were handed.
//!
//! It knows the promises and none of the code that keeps them. The first finding ends a run: lost, phantom, duplicate,
//! gap, reorder, altered, leak, or an answer that is not true.

mod publishing;
mod reading;
mod rows;

use std::collections::BTreeMap;

use planwire_event::{Event, EventId, StoredEvent, Timestamp};
use planwire_store::Frontier;

use super::model::Model;

pub(crate) use publishing::{AS_ASKED, Asked, RequestId};
pub(crate) use reading::ReaderId;

use reading::ReaderLog;

/// What is known of one event id.
#[derive(Debug, Default)]
struct Named {
    /// What its publishers said under it; usually one thing.
    contents: Vec<(String, Event)>,
    /// Requests with it that are stored, may be, or wait for their answer.
    maybe: usize,
    /// Requests with it in all.
    asked: usize,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    /// The first finding.
    pub(crate) verdict: Option<String>,
    named: BTreeMap<EventId, Named>,
    requests: Vec<Asked>,
    /// What the disk's visible rows mean.
    pub(crate) model: Model,
    seen: Vec<std::sync::Arc<StoredEvent>>,
    frontier: Frontier,
    recorded_at: Option<Timestamp>,
    readers: Vec<ReaderLog>,
}

/// Nothing, or what is wrong.
pub(crate) type Finding = Result<(), String>;
