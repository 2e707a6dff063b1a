//! The part of an event that matters to the fold of its plan.

use std::sync::Arc;

use planwire_event::vocabulary::{ArtifactProduced, PlanStarted};
use planwire_event::{EventId, EventType, Position, Seq, StoredEvent, Timestamp};

use super::{OpenQuestion, Turn};

/// Characters of an artifact's id and of its name; what is longer is cut, in updates too.
const NAME_CHARS_MAX: usize = 256;

/// The id or name of an artifact, or a context id, as A2A shows it.
pub(crate) fn cut(name: &str) -> &str {
    name.char_indices().nth(NAME_CHARS_MAX).map_or(name, |(end, _)| &name[..end])
}

/// The part of an event that matters to the fold of its plan. Small, so that many are kept where events are not.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) position: Position,
    pub(crate) seq: Seq,
    pub(crate) event_id: EventId,
    pub(crate) recorded_at: Timestamp,
    /// Of the payload.
    pub(crate) bytes: u32,
    pub(crate) change: Change,
}

/// What an event changes besides the place.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    None,
    /// The plan began with a message.
    Started,
    /// There is something to say to people.
    Said,
    Chunk(Box<Chunk>),
    Turned(Turn),
    /// Somebody asked that the plan begin nothing new.
    Paused,
    /// Somebody asked that it go on.
    Resumed,
}

/// A piece of an artifact.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) artifact_id: Arc<str>,
    /// A file name or title, cut.
    pub(crate) name: Arc<str>,
    /// Whether it continues what came before; otherwise it takes its place.
    pub(crate) append: bool,
}

impl Step {
    pub(crate) fn of(stored: &StoredEvent) -> Self {
        Self {
            position: stored.position,
            seq: stored.seq,
            event_id: stored.event.event_id(),
            recorded_at: stored.recorded_at,
            bytes: u32::try_from(stored.event.payload().as_str().len()).unwrap_or(u32::MAX),
            change: Change::of(stored),
        }
    }

    /// Whether nothing follows.
    pub(crate) const fn is_end(&self) -> bool {
        matches!(self.change, Change::Turned(Turn::Ended(_)))
    }

    /// Bytes that the step takes up, roughly.
    pub(crate) fn weight_bytes(&self) -> usize {
        size_of::<Self>()
            + match &self.change {
                Change::None | Change::Started | Change::Said | Change::Paused | Change::Resumed => 0,
                Change::Chunk(chunk) => size_of::<Chunk>() + chunk.artifact_id.len() + chunk.name.len(),
                Change::Turned(_) => size_of::<OpenQuestion>(),
            }
    }
}

impl Change {
    fn of(stored: &StoredEvent) -> Self {
        let event = &stored.event;
        match event.event_type() {
            EventType::PlanStarted => {
                let message = event.read::<PlanStarted>().and_then(|started| started.origin?.message);
                message.map_or(Self::None, |_| Self::Started)
            }
            EventType::DecisionMade | EventType::SubplanSpawned | EventType::SubplanCompleted => Self::Said,
            EventType::PauseRequested => Self::Paused,
            EventType::ResumeRequested => Self::Resumed,
            EventType::ArtifactProduced => event.read::<ArtifactProduced>().map_or(Self::None, |produced| {
                Self::Chunk(Box::new(Chunk {
                    artifact_id: cut(&produced.artifact_id).into(),
                    name: cut(&produced.name).into(),
                    append: produced.append,
                }))
            }),
            other if Turn::is_one(other) => Self::Turned(Turn::of(stored)),
            _ => Self::None,
        }
    }
}
