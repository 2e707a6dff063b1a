//! What a fold keeps of calls, decisions, children, artifacts and the request to end.

use schemars::JsonSchema;
use serde::Serialize;

use super::{ALTERNATIVES_MAX, Detail};
use crate::cursor::Seq;
use crate::ids::PlanId;
use crate::timestamp::Timestamp;
use crate::vocabulary::{
    Alternative, ArtifactPart, ArtifactProduced, DecidedBy, DecisionMade, Failure, Reserved, SubplanSpawned,
    ToolCalled,
};

/// A tool call that has not ended.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct CallRecord {
    /// The call.
    pub call_id: String,
    /// The step that calls.
    pub step: String,
    /// Name of the tool.
    pub tool: String,
    /// 1, 2, 3 ...
    pub attempt: u32,
    /// What it may use at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Reserved>,
    /// When it was called.
    pub called_at: Timestamp,
    /// Seq of its ToolCalled.
    pub seq: Seq,
    /// What it said last of how far it is.
    pub progress: Option<String>,
}

impl CallRecord {
    pub(super) fn of(called: &ToolCalled, detail: Detail, called_at: Timestamp, seq: Seq) -> Self {
        Self {
            // Whoever ends a call needs its id as it is.
            call_id: called.call_id.clone(),
            step: detail.text(&called.step),
            tool: detail.text(&called.tool),
            attempt: called.attempt,
            reserved: called.reserved,
            called_at,
            seq,
            progress: None,
        }
    }
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct DecisionRecord {
    /// Its id within the plan.
    pub decision_id: String,
    /// `choice`, `recovery` ...
    pub decision_type: String,
    /// The step that asked.
    pub step: String,
    /// What was asked.
    pub question: String,
    /// Name of the option that was chosen.
    pub chosen: String,
    /// The options that were not chosen, and why; at most [`ALTERNATIVES_MAX`].
    pub alternatives: Vec<Alternative>,
    /// Why.
    pub rationale: String,
    /// Who decided.
    pub decided_by: DecidedBy,
    /// When.
    pub at: Timestamp,
    /// Seq of the event.
    pub seq: Seq,
}

impl DecisionRecord {
    pub(super) fn of(made: &DecisionMade, detail: Detail, at: Timestamp, seq: Seq) -> Self {
        let alternative = |other: &Alternative| Alternative {
            name: detail.text(&other.name),
            reason: detail.text(&other.reason),
        };
        Self {
            decision_id: detail.text(&made.decision_id),
            decision_type: detail.text(&made.decision_type),
            step: detail.text(&made.step),
            question: detail.text(&made.question),
            chosen: detail.text(&made.chosen),
            alternatives: made.alternatives.iter().take(ALTERNATIVES_MAX).map(alternative).collect(),
            rationale: detail.text(&made.rationale),
            decided_by: made.decided_by,
            at,
            seq,
        }
    }
}

/// What a plan knows of a subplan's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChildState {
    /// It was spawned and its end is not reported.
    Running,
    /// It reached its goal.
    Completed,
    /// It ended otherwise.
    Failed,
}

/// A subplan, as its parent's events tell it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ChildRecord {
    /// The subplan.
    pub plan_id: PlanId,
    /// Name of its document.
    pub name: String,
    /// The step that spawned it.
    pub step: String,
    /// How it stands.
    pub state: ChildState,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Milliseconds from spawn to end, once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

impl ChildRecord {
    pub(super) fn of(spawned: &SubplanSpawned, detail: Detail) -> Self {
        Self {
            plan_id: spawned.child_plan_id.clone(),
            name: detail.text(&spawned.name),
            step: detail.text(&spawned.step),
            state: ChildState::Running,
            error: None,
            duration_ms: None,
        }
    }
}

/// Where the content of an artifact is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum ArtifactSource {
    /// In the events, as text.
    Text,
    /// In the events, as JSON.
    Data,
    /// At an address.
    Url {
        /// The address.
        url: String,
    },
    /// Beside the log, under its digest.
    Blob {
        /// SHA-256, 64 hexadecimal digits.
        digest: String,
    },
}

/// A result for people or programs outside of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ArtifactRecord {
    /// Its id within the plan.
    pub artifact_id: String,
    /// A file name or title.
    pub name: String,
    /// As in `Content-Type`.
    pub media_type: String,
    /// Where the content of its last part is.
    #[serde(flatten)]
    pub source: ArtifactSource,
    /// Bytes of all its parts so far, as far as they are known; an address has none.
    pub size_bytes: u64,
    /// Parts so far.
    pub parts: u64,
    /// Whether no further part will come.
    pub complete: bool,
}

impl ArtifactRecord {
    pub(super) fn of(produced: &ArtifactProduced, detail: Detail) -> Self {
        Self {
            artifact_id: detail.text(&produced.artifact_id),
            name: detail.text(&produced.name),
            media_type: detail.text(&produced.media_type),
            source: ArtifactSource::Text,
            size_bytes: 0,
            parts: 0,
            complete: false,
        }
    }

    pub(super) fn add(&mut self, produced: &ArtifactProduced, detail: Detail) {
        let (source, size_bytes) = match &produced.part {
            ArtifactPart::Text(text) => (ArtifactSource::Text, text.len() as u64),
            ArtifactPart::Data(data) => (ArtifactSource::Data, data.to_string().len() as u64),
            ArtifactPart::Url(url) => (ArtifactSource::Url { url: detail.text(url) }, 0),
            ArtifactPart::Blob { digest, size_bytes } => {
                (ArtifactSource::Blob { digest: detail.text(digest) }, *size_bytes)
            }
        };
        let before = if produced.append { (self.size_bytes, self.parts) } else { (0, 0) };
        self.size_bytes = before.0.saturating_add(size_bytes);
        self.parts = before.1 + 1;
        self.source = source;
        self.complete = produced.last_chunk;
    }
}

/// A request that a plan end, or pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CancelNote {
    /// Who asked.
    pub requested_by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}
