//! What can be wrong with a log.

use planwire_event::{Digest, PlanId, Position, Seq};

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// A row is no event, or its checksum is wrong.
    #[error("position {position}: {message}")]
    Unreadable {
        /// The place.
        position: Position,
        /// What is wrong.
        message: String,
    },
    /// There is no event where one must be.
    #[error("position {position}: the event is missing")]
    Missing {
        /// The place.
        position: Position,
    },
    /// An event and its leaf do not belong together.
    #[error("position {position}: the leaf is not that of the event")]
    Leaf {
        /// The place.
        position: Position,
    },
    /// An event is not the next one of its plan.
    #[error("position {position}: the event has seq {found} in plan {plan_id}, where {expected} follows")]
    Seq {
        /// The place.
        position: Position,
        /// The plan.
        plan_id: PlanId,
        /// What it says.
        found: Seq,
        /// What follows.
        expected: Seq,
    },
    /// An event was recorded before the one before it.
    #[error("position {position}: the event was recorded before the one before it")]
    RecordedAt {
        /// The place.
        position: Position,
    },
    /// The log does not have the root that was noted.
    #[error("position {position}: the log up to here is not the one that was signed")]
    Mark {
        /// The size of the log that was signed.
        position: Position,
    },
    /// The log ends before what was signed.
    #[error("position {position} is missing: the log of {size} events that was signed was longer")]
    Short {
        /// The first place without an event.
        position: Position,
        /// The size of the log that was signed.
        size: u64,
    },
    /// The events do not lead to the head.
    #[error("position {position}: the head of the log is not where its events lead to")]
    Head {
        /// The head.
        position: Position,
    },
    /// There are events behind the head.
    #[error("position {position}: the log ends before this event")]
    Beyond {
        /// The place.
        position: Position,
    },
    /// The log says that events were removed, which are there.
    #[error("the log says that events up to position {position} were removed, which are there")]
    Pruned {
        /// The place.
        position: Position,
    },
    /// What `plans` says is not what the events say.
    #[error("position {position}: the list of plans does not agree with plan {plan_id}: {what}")]
    Plan {
        /// Start or end of the plan.
        position: Position,
        /// The plan.
        plan_id: PlanId,
        /// What does not agree.
        what: &'static str,
    },
    /// A document is not the one that its digest names.
    #[error("document {digest} is not what it was")]
    Document {
        /// Its digest.
        digest: Digest,
    },
    /// A blob is not the one that its digest names.
    #[error("blob {digest} is not what it was")]
    Blob {
        /// Its digest.
        digest: Digest,
    },
    /// The database finds itself damaged.
    #[error("the database is damaged: {message}")]
    Database {
        /// In its words.
        message: String,
    },
}

impl Flaw {
    /// The place that is bad, if it is one place.
    #[must_use]
    pub const fn position(&self) -> Option<Position> {
        match self {
            Self::Unreadable { position, .. }
            | Self::Missing { position }
            | Self::Leaf { position }
            | Self::Seq { position, .. }
            | Self::RecordedAt { position }
            | Self::Mark { position }
            | Self::Short { position, .. }
            | Self::Head { position }
            | Self::Beyond { position }
            | Self::Pruned { position }
            | Self::Plan { position, .. } => Some(*position),
            Self::Document { .. } | Self::Blob { .. } | Self::Database { .. } => None,
        }
    }
}
