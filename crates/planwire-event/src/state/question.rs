//! The questions of a plan that are open.

use std::collections::HashMap;
use std::ops::Deref;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{Detail, QUESTION_BYTES_MAX};
use crate::cursor::Seq;
use crate::digest::Digest;
use crate::ids::PlanId;
use crate::limits::OPEN_ID_BYTES_MAX;
use crate::timestamp::Timestamp;
use crate::vocabulary::{InputRequested, Object, QuestionKind};

/// A question that is open.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct QuestionRecord {
    /// The question; whole, since whoever answers needs it.
    pub request_id: String,
    /// The plan that asks, where this plan only repeats it; answers belong there.
    pub for_plan_id: Option<PlanId>,
    /// The step that asks.
    pub step: String,
    /// What is asked for.
    pub kind: QuestionKind,
    /// The question, for people.
    pub question: String,
    /// JSON Schema of the answer; not kept beyond [`QUESTION_BYTES_MAX`], and not in a summary.
    pub schema: Option<Value>,
    /// When the plan stops waiting.
    pub expires_at: Option<Timestamp>,
    /// What is to be approved; not kept beyond [`QUESTION_BYTES_MAX`], and not in a summary.
    pub arguments: Option<Object>,
    /// The digest of what is to be approved.
    pub arguments_digest: Option<String>,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// Seq of its InputRequested.
    pub seq: Seq,
}

impl QuestionRecord {
    fn of(asked: InputRequested, detail: Detail, asked_at: Timestamp, seq: Seq) -> Self {
        let full = detail == Detail::Full;
        let small = |value: &Value| full && value.to_string().len() <= QUESTION_BYTES_MAX;
        let arguments = asked.arguments.map(Value::Object).filter(small);
        Self {
            for_plan_id: asked.for_plan_id,
            step: detail.text(&asked.step),
            kind: asked.kind,
            question: detail.text(&asked.question),
            schema: asked.schema.filter(small),
            expires_at: asked.expires_at,
            arguments: arguments.and_then(|value| match value {
                Value::Object(object) => Some(object),
                _ => None,
            }),
            arguments_digest: asked.arguments_digest,
            request_id: asked.request_id,
            asked_at,
            seq,
        }
    }
}

/// The open questions of a plan, oldest first, up to a limit; written as a JSON array. It knows of those beyond the
/// limit too, but only that they are open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Questions {
    kept: Vec<QuestionRecord>,
    /// By the digest of its id, which may be older than the limit of its length.
    beyond: HashMap<Digest, QuestionKind>,
}

impl Questions {
    /// Whether any question is open.
    #[must_use]
    pub fn is_any_open(&self) -> bool {
        !self.kept.is_empty() || !self.beyond.is_empty()
    }

    /// Whether questions are open that ask for access, and no others.
    #[must_use]
    pub fn is_only_auth_open(&self) -> bool {
        let mut kinds = self.kept.iter().map(|question| question.kind).chain(self.beyond.values().copied());
        self.is_any_open() && kinds.all(|kind| kind == QuestionKind::Auth)
    }

    /// Open questions that are not kept.
    #[must_use]
    pub fn beyond(&self) -> u64 {
        self.beyond.len() as u64
    }

    pub(super) fn ask(&mut self, asked: InputRequested, detail: Detail, max: usize, at: Timestamp, seq: Seq) {
        if self.kept.len() < max && asked.request_id.len() <= OPEN_ID_BYTES_MAX {
            self.kept.push(QuestionRecord::of(asked, detail, at, seq));
        } else {
            self.beyond.insert(Digest::of(asked.request_id.as_bytes()), asked.kind);
        }
    }

    /// Takes a question out; its record, if it was kept.
    pub(super) fn close(&mut self, request_id: &str) -> Option<QuestionRecord> {
        let place = self.kept.iter().position(|question| question.request_id == request_id);
        if place.is_none() {
            self.beyond.remove(&Digest::of(request_id.as_bytes()));
        }
        place.map(|place| self.kept.remove(place))
    }
}

impl Deref for Questions {
    type Target = [QuestionRecord];

    fn deref(&self) -> &[QuestionRecord] {
        &self.kept
    }
}

impl Serialize for Questions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.kept.serialize(serializer)
    }
}
