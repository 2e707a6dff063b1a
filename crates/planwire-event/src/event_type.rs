//! Names of event types: ours, and custom ones with a dot.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::excerpt;
use crate::limits::EVENT_TYPE_CHARS_MAX;

/// What an event says. Names without a dot are ours; custom types have one, as in `acme.cache_hit`.
///
/// ```
/// use planwire_event::EventType;
/// assert_eq!("ToolCalled".parse(), Ok(EventType::ToolCalled));
/// assert!("acme.cache_hit".parse::<EventType>().is_ok());
/// assert!("Tool_Called".parse::<EventType>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EventType {
    /// A plan began; the first event of each plan.
    PlanStarted,
    /// A plan reached its goal; nothing follows.
    PlanCompleted,
    /// A plan ended without reaching its goal; nothing follows.
    PlanFailed,
    /// One of several options was chosen.
    DecisionMade,
    /// A tool is about to run.
    ToolCalled,
    /// A tool that runs says how far it is.
    ToolProgress,
    /// A tool call ended, well or badly.
    ToolCompleted,
    /// A subplan is about to start; an event of the parent.
    SubplanSpawned,
    /// A subplan ended; an event of the parent.
    SubplanCompleted,
    /// A result for people or programs outside of the plan.
    ArtifactProduced,
    /// A plan asks somebody and waits for the answer.
    InputRequested,
    /// A question was answered, or is not open any more.
    InputReceived,
    /// Somebody asked that the plan and all below it end.
    CancelRequested,
    /// Somebody asked that the plan and all below it begin nothing new.
    PauseRequested,
    /// Somebody asked that a paused plan go on.
    ResumeRequested,
    /// Another executor runs the tree from now on; an event of the root.
    PlanAdopted,
    /// Most of what a plan and all below it may use is used.
    LimitWarned,
    /// A type of somebody else's; its name has a dot.
    Custom(CustomType),
}

/// Name of a custom event type: at most 128 characters of `[A-Za-z0-9_.-]`, with a dot, beginning with a letter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CustomType(Arc<str>);

/// Why a text is no event type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventTypeError {
    /// A name without a dot that is not one of ours.
    #[error(
        "event type '{text}' is unknown; ours are {}; custom types have a dot, as in acme.cache_hit",
        names()
    )]
    Unknown {
        /// The text, shortened and escaped.
        text: String,
    },
    /// A name with a dot and characters that a custom type may not have.
    #[error(
        "event type '{text}' is malformed; a custom type has at most {EVENT_TYPE_CHARS_MAX} characters of A-Z, a-z, 0-9, '_', '-' and '.', and begins with a letter"
    )]
    Malformed {
        /// The text, shortened and escaped.
        text: String,
    },
}

fn names() -> String {
    EventType::OURS.iter().map(EventType::as_str).collect::<Vec<_>>().join(", ")
}

impl EventType {
    /// All types without a dot.
    pub const OURS: &'static [Self] = &[
        Self::PlanStarted,
        Self::PlanCompleted,
        Self::PlanFailed,
        Self::DecisionMade,
        Self::ToolCalled,
        Self::ToolProgress,
        Self::ToolCompleted,
        Self::SubplanSpawned,
        Self::SubplanCompleted,
        Self::ArtifactProduced,
        Self::InputRequested,
        Self::InputReceived,
        Self::CancelRequested,
        Self::PauseRequested,
        Self::ResumeRequested,
        Self::PlanAdopted,
        Self::LimitWarned,
    ];

    /// The name on every wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::PlanStarted => "PlanStarted",
            Self::PlanCompleted => "PlanCompleted",
            Self::PlanFailed => "PlanFailed",
            Self::DecisionMade => "DecisionMade",
            Self::ToolCalled => "ToolCalled",
            Self::ToolProgress => "ToolProgress",
            Self::ToolCompleted => "ToolCompleted",
            Self::SubplanSpawned => "SubplanSpawned",
            Self::SubplanCompleted => "SubplanCompleted",
            Self::ArtifactProduced => "ArtifactProduced",
            Self::InputRequested => "InputRequested",
            Self::InputReceived => "InputReceived",
            Self::CancelRequested => "CancelRequested",
            Self::PauseRequested => "PauseRequested",
            Self::ResumeRequested => "ResumeRequested",
            Self::PlanAdopted => "PlanAdopted",
            Self::LimitWarned => "LimitWarned",
            Self::Custom(name) => &name.0,
        }
    }

    /// Whether nothing may follow an event of this type in its plan.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        matches!(self, Self::PlanCompleted | Self::PlanFailed)
    }

    /// Whether an event of this type only asks the owner for something, so that anybody may publish it on an owned
    /// tree.
    #[must_use]
    pub const fn is_command(&self) -> bool {
        matches!(self, Self::CancelRequested | Self::PauseRequested | Self::ResumeRequested)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for EventType {
    type Err = EventTypeError;

    fn from_str(text: &str) -> Result<Self, EventTypeError> {
        if let Some(ours) = Self::OURS.iter().find(|ours| ours.as_str() == text) {
            return Ok(ours.clone());
        }
        if !text.contains('.') {
            return Err(EventTypeError::Unknown { text: excerpt(text) });
        }
        let good = text.len() <= EVENT_TYPE_CHARS_MAX
            && text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
        if good {
            Ok(Self::Custom(CustomType(text.into())))
        } else {
            Err(EventTypeError::Malformed { text: excerpt(text) })
        }
    }
}

impl Serialize for EventType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for EventType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for ours in EventType::OURS {
            assert_eq!(ours.as_str().parse().as_ref(), Ok(ours));
            assert_eq!(
                serde_json::from_str::<EventType>(&serde_json::to_string(ours).unwrap()).unwrap(),
                *ours
            );
        }
        assert_eq!("acme.cache-hit_2".parse::<EventType>().unwrap().to_string(), "acme.cache-hit_2");
    }

    #[test]
    fn other_names_say_what_is_wrong() {
        let unknown = "toolcalled".parse::<EventType>().unwrap_err().to_string();
        assert!(
            unknown.contains("'toolcalled' is unknown; ours are PlanStarted, PlanCompleted"),
            "{unknown}"
        );
        for bad in [".a", "1.a", "a.b c", "a.\n", "a.é", &format!("a.{}", "b".repeat(127))] {
            assert!(matches!(bad.parse::<EventType>(), Err(EventTypeError::Malformed { .. })), "{bad}");
        }
        assert!(serde_json::from_str::<EventType>("\"X\"").is_err());
    }

    #[test]
    fn two_types_end_a_plan_and_three_are_commands() {
        assert_eq!(EventType::OURS.iter().filter(|ours| ours.is_terminal()).count(), 2);
        assert_eq!(EventType::OURS.iter().filter(|ours| ours.is_command()).count(), 3);
    }
}
