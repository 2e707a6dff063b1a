//! Payloads of questions to people: what is asked, and what came of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Object;
use crate::ids::PlanId;
use crate::timestamp::Timestamp;

/// A plan asks somebody and waits for the answer.
///
/// The plan that asks publishes it first; whoever runs the tree repeats it on each ancestor, with the same
/// `request_id` and with `for_plan_id`, so that readers of the root see it too. The answer belongs to the plan that
/// asks: its [`InputReceived`] there is the only one that counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InputRequested {
    /// Unique among the open questions of the plan.
    pub request_id: String,
    /// In a repetition on an ancestor: the plan that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub for_plan_id: Option<PlanId>,
    /// The step that asks.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub step: String,
    /// What is asked for.
    pub kind: QuestionKind,
    /// The question, for people.
    pub question: String,
    /// JSON Schema of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// When the plan stops waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub expires_at: Option<Timestamp>,
    /// What is to be approved: the tool and its arguments, or whatever the question is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Object>,
    /// SHA-256 of `arguments` in normal form, 64 hexadecimal digits: an answer that names another digest is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments_digest: Option<String>,
}

/// What a question asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuestionKind {
    /// Something that the plan does not know.
    Input,
    /// Leave to do something.
    Approval,
    /// Access to something: a login, a token that is set up elsewhere.
    Auth,
}

impl QuestionKind {
    /// The name on every wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Approval => "approval",
            Self::Auth => "auth",
        }
    }
}

/// A question was answered, or is not open any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InputReceived {
    /// The question.
    pub request_id: String,
    /// What came of it.
    #[serde(default)]
    pub outcome: AnswerOutcome,
    /// The answer; null if there is none.
    #[serde(default)]
    pub value: Value,
    /// Who answered; of a question that expired or was withdrawn, who said so.
    pub answered_by: String,
    /// How: `http`, `a2a`, `cli`, `page`, `engine` ...
    #[serde(default)]
    pub via: String,
    /// The digest of the arguments that the answer is about, if the question has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments_digest: Option<String>,
    /// The message that brought the answer, if it came as one; as [`Origin::message`](super::Origin::message).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Value>,
}

/// What came of a question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerOutcome {
    /// Somebody answered.
    #[default]
    Answered,
    /// Nobody answered in time; only the owner says so.
    Expired,
    /// The answer is not needed any more; only the owner says so.
    Withdrawn,
}

impl AnswerOutcome {
    /// The name on every wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
        }
    }
}
