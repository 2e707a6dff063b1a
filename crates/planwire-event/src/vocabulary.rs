//! The payloads of our event types. Unknown members are allowed everywhere and are kept by [`crate::Payload`].

mod question;
mod usage;

pub use question::{AnswerOutcome, InputReceived, InputRequested, QuestionKind};
pub use usage::{LimitHit, LimitWarned, Reserved, Usage, UsageSum};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::event_type::EventType;
use crate::ids::PlanId;

/// A JSON object.
pub type Object = Map<String, Value>;

/// A payload struct that belongs to one of our event types.
pub trait TypedPayload: Serialize + DeserializeOwned {
    /// The type of the events that carry it.
    const EVENT_TYPE: EventType;
}

macro_rules! typed {
    ($($name:ident),* $(,)?) => { $(impl TypedPayload for $name { const EVENT_TYPE: EventType = EventType::$name; })* };
}

typed!(
    PlanStarted,
    PlanCompleted,
    PlanFailed,
    DecisionMade,
    ToolCalled,
    ToolProgress,
    ToolCompleted,
    SubplanSpawned,
    SubplanCompleted,
    ArtifactProduced,
    InputRequested,
    InputReceived,
    CancelRequested,
    PauseRequested,
    ResumeRequested,
    PlanAdopted,
    LimitWarned,
);

/// A plan began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanStarted {
    /// Name of the plan document, or any short name.
    pub name: String,
    /// What the plan is to reach, for people.
    #[serde(default)]
    pub goal: String,
    /// Inputs by name.
    #[serde(default)]
    pub inputs: Object,
    /// SHA-256 of the plan document in normal form, 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_digest: Option<String>,
    /// The plan that spawned this one; it must be open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub parent_plan_id: Option<PlanId>,
    /// Groups several trees, as an A2A contextId does; the root's plan id if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_id: Option<String>,
    /// The executor that runs the plan; only what that executor itself publishes makes it the owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor_id: Option<String>,
    /// Where relative paths of the plan's tree start; absolute. Only the engine's roots say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Whether the document came along with the request from somebody who need not be the operator, so that the tree
    /// may do only what the policy allows to such documents. Only the engine's roots say it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub document_received: bool,
    /// Who asked for the plan, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// Who asked for a plan, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// `cli`, `http`, `a2a`, `engine` (a subplan).
    pub protocol: String,
    /// Who asked.
    pub principal: String,
    /// The message that led to the plan, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Value>,
}

/// A plan reached its goal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanCompleted {
    /// Outputs by name.
    #[serde(default)]
    pub outputs: Object,
    /// Milliseconds from start to end.
    #[serde(default)]
    pub duration_ms: u64,
    /// What the plan did, without its subplans.
    #[serde(default)]
    pub counts: Counts,
    /// What the plan and all below it used.
    #[serde(default, deserialize_with = "fitting", skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageSum>,
}

/// How much a plan did, without its subplans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Tool calls, each attempt counted.
    #[serde(default)]
    pub tool_calls: u64,
    /// Decisions.
    #[serde(default)]
    pub decisions: u64,
    /// Subplans spawned by the plan itself.
    #[serde(default)]
    pub subplans: u64,
}

/// A plan ended without reaching its goal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanFailed {
    /// The kind of end.
    pub reason: FailureReason,
    /// What went wrong.
    pub error: Failure,
    /// Milliseconds from start to end.
    #[serde(default)]
    pub duration_ms: u64,
    /// The limit of which more was asked for than is left, if that is why; of this plan or of one above.
    #[serde(default, deserialize_with = "fitting", skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitHit>,
    /// What the plan and all below it used.
    #[serde(default, deserialize_with = "fitting", skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageSum>,
}

/// The kind of end of a plan that did not reach its goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// A step failed and nothing recovered from it.
    Error,
    /// Somebody asked for the end.
    Cancelled,
    /// It took too long.
    TimedOut,
    /// It was not allowed to run.
    Rejected,
    /// It used more than it may.
    LimitExceeded,
    /// Its executor ended before it did.
    Interrupted,
}

impl FailureReason {
    /// All reasons.
    pub const ALL: &'static [Self] = &[
        Self::Error,
        Self::Cancelled,
        Self::TimedOut,
        Self::Rejected,
        Self::LimitExceeded,
        Self::Interrupted,
    ];

    /// The name on every wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::Rejected => "rejected",
            Self::LimitExceeded => "limit_exceeded",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What went wrong, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// Short and stable, for programs: `exit_status`, `timed_out`, `not_found` ...
    pub code: String,
    /// For people.
    pub message: String,
    /// The step at which it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

/// One of several options was chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DecisionMade {
    /// Unique within the plan.
    pub decision_id: String,
    /// What kind of decision this is: `choice`, `recovery` ...
    pub decision_type: String,
    /// The step that asked.
    #[serde(default)]
    pub step: String,
    /// What was asked.
    pub question: String,
    /// What could be chosen.
    pub options: Vec<DecisionOption>,
    /// Name of the option that was chosen.
    pub chosen: String,
    /// The options that were not chosen, and why.
    #[serde(default)]
    pub alternatives: Vec<Alternative>,
    /// Why.
    #[serde(default)]
    pub rationale: String,
    /// From 0 to 1, where the decider says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// Who decided.
    pub decided_by: DecidedBy,
    /// What takes the place of the missing output, if the decision recovers from a failure; may be null.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// The failure that is decided about, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// A member that is null is there, one that is missing is not.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// A member that is younger than the events that may have it: what others wrote under its name stays unread.
fn fitting<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Value::deserialize(deserializer).map(|value| serde_json::from_value(value).ok())
}

/// What could be chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DecisionOption {
    /// Its name.
    pub name: String,
    /// What choosing it means.
    #[serde(default)]
    pub description: String,
}

/// An option that was not chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Alternative {
    /// Its name.
    pub name: String,
    /// Why it was not chosen.
    #[serde(default)]
    pub reason: String,
}

/// Who decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecidedBy {
    /// An expression of the plan document.
    Rule,
    /// A language model.
    Model,
    /// A person.
    Person,
}

/// A tool is about to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolCalled {
    /// Unique among the open calls of the plan.
    pub call_id: String,
    /// The step that calls.
    #[serde(default)]
    pub step: String,
    /// Name of the tool, as `file.list`.
    pub tool: String,
    /// Arguments by name.
    #[serde(default)]
    pub arguments: Object,
    /// 1, 2, 3 ...
    #[serde(default = "first_attempt")]
    pub attempt: u32,
    /// What it may use at most, where that is said or a limit holds for it.
    #[serde(default, deserialize_with = "fitting", skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Reserved>,
}

const fn first_attempt() -> u32 {
    1
}

/// A tool call ended: `ok` with `output`, or not with `error`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolCompleted {
    /// The call that ended.
    pub call_id: String,
    /// The step that called.
    #[serde(default)]
    pub step: String,
    /// Name of the tool.
    #[serde(default)]
    pub tool: String,
    /// Whether it did what it was called for.
    pub ok: bool,
    /// What it gave, if `ok`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// What went wrong, if not `ok`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Whether the output was cut at its limit.
    #[serde(default)]
    pub truncated: bool,
    /// Milliseconds from call to end.
    #[serde(default)]
    pub duration_ms: u64,
    /// The attempt that ended.
    #[serde(default = "first_attempt")]
    pub attempt: u32,
    /// What the call used, as tokens and cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// A subplan is about to start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SubplanSpawned {
    /// The plan that will start; its parent is fixed by this event.
    #[schemars(with = "String")]
    pub child_plan_id: PlanId,
    /// Name of its document.
    #[serde(default)]
    pub name: String,
    /// Its inputs by name.
    #[serde(default)]
    pub inputs: Object,
    /// The step that spawns.
    #[serde(default)]
    pub step: String,
    /// Place of its item in the list of `for_each`, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u64>,
    /// SHA-256 of its document, if that was made at run time: it is stored in the transaction of this event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_digest: Option<String>,
}

/// A subplan ended: `ok` with `outputs`, or not with `error`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SubplanCompleted {
    /// The plan that ended.
    #[schemars(with = "String")]
    pub child_plan_id: PlanId,
    /// Whether it completed.
    pub ok: bool,
    /// Its outputs, if `ok`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Object>,
    /// Why it failed, if not `ok`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Milliseconds from spawn to end.
    #[serde(default)]
    pub duration_ms: u64,
    /// The limit of which more was asked for than is left, if that is why; of the subplan or of one above.
    #[serde(default, deserialize_with = "fitting", skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitHit>,
    /// What the subplan and all below it used.
    #[serde(default, deserialize_with = "fitting", skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageSum>,
}

/// A result for people or programs outside of the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactProduced {
    /// Unique within the plan.
    pub artifact_id: String,
    /// A file name or title.
    pub name: String,
    /// As in `Content-Type`.
    pub media_type: String,
    /// The content, or where it is.
    pub part: ArtifactPart,
    /// Whether the part continues an earlier one of the same artifact.
    #[serde(default)]
    pub append: bool,
    /// Whether the artifact is complete with this part.
    #[serde(default)]
    pub last_chunk: bool,
}

/// Content of an artifact, or where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactPart {
    /// Text.
    Text(String),
    /// JSON.
    Data(Value),
    /// An address.
    Url(String),
    /// Bytes kept beside the log, served by `GET /v1/plans/{id}/blobs/{digest}`.
    Blob {
        /// SHA-256, 64 hexadecimal digits.
        digest: String,
        /// Bytes.
        size_bytes: u64,
    },
}

/// Somebody asked that the plan and all below it begin nothing new. What runs goes on to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PauseRequested {
    /// Who asked.
    pub requested_by: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// A tool that runs says how far it is. Nothing depends on it: what is said too often is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToolProgress {
    /// The call; it must be open.
    pub call_id: String,
    /// How far it is, for people; at most [`PROGRESS_CHARS_MAX`] characters from our own tools.
    pub text: String,
}

/// Characters of the text of a [`ToolProgress`] that the engine publishes.
pub const PROGRESS_CHARS_MAX: usize = 500;

/// Somebody asked that a plan which was paused go on, with all below it that was not paused by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResumeRequested {
    /// Who asked.
    pub requested_by: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// Another executor runs the tree from now on. An event of the root; it holds for all plans of the tree.
///
/// On a tree that no executor owns it says what happened elsewhere and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanAdopted {
    /// Who runs it from now on.
    pub executor_id: String,
    /// Who ran it until now.
    pub previous: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// Somebody asked that the plan and all below it end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CancelRequested {
    /// Who asked.
    pub requested_by: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
}
