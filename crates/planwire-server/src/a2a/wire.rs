//! What goes over the wire in A2A 1.0: messages, tasks and updates as ProtoJSON.
//!
//! Member names are camelCase, enums are written by their full name, times are RFC 3339 with milliseconds and `Z`.
//! What clients send is read leniently: unknown members are ignored and a missing one has its default, so that
//! validation can name all that is wrong at once.

use planwire_event::{Cursor, Seq, Timestamp};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Metadata as clients send it.
pub(crate) type Metadata = Map<String, Value>;

/// Name of our extension, and of its member in `metadata`.
pub(crate) const EXTENSION: &str = "urn:planwire:a2a:plan-events:1";

/// One step of a stream: exactly one of the four. An answer to SendMessage is written in the same form.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum StreamResponse {
    /// The task as it stands.
    Task(Box<Task>),
    /// A direct answer, without a task.
    Message(Box<Message>),
    /// The task's status changed, or something happened in it.
    StatusUpdate(Box<TaskStatusUpdateEvent>),
    /// An artifact, or the next part of one.
    ArtifactUpdate(Box<TaskArtifactUpdateEvent>),
}

/// A plan, as A2A shows it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Task {
    /// The plan id.
    pub(crate) id: String,
    pub(crate) context_id: String,
    pub(crate) status: TaskStatus,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) artifacts: Vec<Artifact>,
    /// Messages of both sides, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) history: Vec<Message>,
    pub(crate) metadata: Extension,
}

/// How a task stands.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskStatus {
    pub(crate) state: TaskState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<Message>,
    /// When it came to stand so.
    #[serde(serialize_with = "millis")]
    #[schemars(with = "Timestamp")]
    pub(crate) timestamp: Timestamp,
}

/// The states of a task that a plan can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub(crate) enum TaskState {
    #[serde(rename = "TASK_STATE_SUBMITTED")]
    Submitted,
    #[serde(rename = "TASK_STATE_WORKING")]
    Working,
    #[serde(rename = "TASK_STATE_COMPLETED")]
    Completed,
    #[serde(rename = "TASK_STATE_FAILED")]
    Failed,
    #[serde(rename = "TASK_STATE_CANCELED")]
    Canceled,
    #[serde(rename = "TASK_STATE_REJECTED")]
    Rejected,
    #[serde(rename = "TASK_STATE_INPUT_REQUIRED")]
    InputRequired,
    #[serde(rename = "TASK_STATE_AUTH_REQUIRED")]
    AuthRequired,
}

impl TaskState {
    /// Whether nothing follows.
    pub(crate) const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled | Self::Rejected)
    }

    /// Whether the task waits for somebody.
    pub(crate) const fn is_interrupted(self) -> bool {
        matches!(self, Self::InputRequired | Self::AuthRequired)
    }
}

/// Who speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Role {
    /// Not said.
    #[default]
    #[serde(rename = "ROLE_UNSPECIFIED")]
    Unspecified,
    #[serde(rename = "ROLE_USER")]
    User,
    #[serde(rename = "ROLE_AGENT")]
    Agent,
}

/// What one side says to the other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Message {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) message_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) context_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) task_id: Option<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) role: Role,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) parts: Vec<Part>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<Metadata>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub(crate) extensions: Vec<String>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub(crate) reference_task_ids: Vec<String>,
}

/// A piece of content.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Part {
    #[serde(flatten)]
    pub(crate) content: Content,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<Metadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) filename: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
}

/// What a part holds: exactly one of the four.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Content {
    Text(String),
    /// Bytes in base64, as they stand on the wire.
    Raw(String),
    Url(String),
    /// Any JSON.
    Data(Value),
}

impl Part {
    /// A part that is nothing but text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Content::Text(text.into()).into()
    }
}

impl From<Content> for Part {
    fn from(content: Content) -> Self {
        Self { content, metadata: None, filename: None, media_type: None }
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire {
            text: Option<String>,
            raw: Option<String>,
            url: Option<String>,
            // A null that is there is a value.
            #[serde(default, deserialize_with = "present")]
            data: Option<Value>,
            metadata: Option<Metadata>,
            filename: Option<String>,
            media_type: Option<String>,
        }
        let wire = Wire::deserialize(deserializer)?;
        let given = [
            wire.text.map(Content::Text),
            wire.raw.map(Content::Raw),
            wire.url.map(Content::Url),
            wire.data.map(Content::Data),
        ];
        let mut given = given.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(content), None) => Ok(Self {
                content,
                metadata: wire.metadata,
                filename: wire.filename,
                media_type: wire.media_type,
            }),
            _ => Err(D::Error::custom("a part has exactly one of text, raw, url, data")),
        }
    }
}

/// Something that a task made.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Artifact {
    pub(crate) artifact_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    pub(crate) parts: Vec<Part>,
}

/// Something happened in a task; the state is that after it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskStatusUpdateEvent {
    pub(crate) task_id: String,
    pub(crate) context_id: String,
    pub(crate) status: TaskStatus,
    pub(crate) metadata: Extension,
}

/// A task made an artifact, or a further part of one.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskArtifactUpdateEvent {
    pub(crate) task_id: String,
    pub(crate) context_id: String,
    pub(crate) artifact: Artifact,
    /// Whether the parts continue those that came before.
    pub(crate) append: bool,
    pub(crate) last_chunk: bool,
    pub(crate) metadata: Extension,
}

/// The `metadata` of what we send: one member, named by our extension.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Extension {
    #[serde(rename = "urn:planwire:a2a:plan-events:1")]
    pub(crate) plan_events: PlanEvents,
}

/// Where in the log something stands, and what else our extension says.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlanEvents {
    /// Place in the log: a stream from here goes on after it.
    pub(crate) cursor: Cursor,
    /// Place in the plan: 1, 2, 3 ... without a gap.
    pub(crate) seq: Seq,
    /// The native event, where the extension is active and the event is not too large.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Metadata")]
    pub(crate) event: Option<Box<RawValue>>,
    /// Names the native event that is left out or cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event_id: Option<String>,
    /// Whether something was left out because of its size.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) truncated: bool,
    /// On a task: true while it is paused. On an update: what became of that by its event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) paused: Option<bool>,
    /// The plan's place in its tree, on tasks.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) lineage: Option<Lineage>,
    /// What retention took from a stream that was to go on earlier.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) gap: Option<Gap>,
}

/// Where a plan stands in its tree.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Lineage {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parent_plan_id: Option<String>,
    pub(crate) root_plan_id: String,
    /// 0 at the root.
    pub(crate) depth: u32,
}

/// Says that a stream does not begin where it was asked to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Gap {
    /// Always true.
    pub(crate) gap: bool,
    /// The cursor that was asked for.
    pub(crate) requested: Cursor,
    /// The earliest cursor that still holds.
    pub(crate) first_available: Cursor,
}

impl PlanEvents {
    /// A place and nothing else.
    pub(crate) const fn at(cursor: Cursor, seq: Seq) -> Self {
        Self {
            cursor,
            seq,
            event: None,
            event_id: None,
            truncated: false,
            paused: None,
            lineage: None,
            gap: None,
        }
    }
}

impl From<PlanEvents> for Extension {
    fn from(plan_events: PlanEvents) -> Self {
        Self { plan_events }
    }
}

/// A time as A2A writes it: milliseconds and `Z`.
pub(crate) fn timestamp(time: Timestamp) -> String {
    const TO_MILLIS: usize = "2026-11-22T14:20:01.123".len();
    let mut text = time.to_string();
    text.truncate(TO_MILLIS);
    text.push('Z');
    text
}

fn millis<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&timestamp(*time))
}

fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parts_hold_exactly_one_content() {
        let check = |part: Value| {
            let read: Part = serde_json::from_value(part.clone()).unwrap();
            assert_eq!(serde_json::to_value(read).unwrap(), part);
        };
        check(json!({"text": "hello"}));
        check(json!({"raw": "aGk=", "filename": "a.txt", "mediaType": "text/plain"}));
        check(json!({"url": "https://example.com/a", "metadata": {"a": 1}}));
        check(json!({"data": {"a": [1]}}));
        check(json!({"data": null}));
        for bad in [json!({}), json!({"text": "a", "data": 1}), json!({"text": 1}), json!({"text": null})] {
            assert!(serde_json::from_value::<Part>(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn messages_are_read_leniently() {
        let read: Message = serde_json::from_value(json!({
            "messageId": "m", "role": "ROLE_USER", "parts": [{"text": "a", "kind": "text"}],
            "extensions": null, "metadata": null, "unknown": 1,
        }))
        .unwrap();
        assert_eq!((read.message_id.as_str(), read.role), ("m", Role::User));
        assert_eq!(read.parts, [Part::text("a")]);
        assert_eq!(serde_json::from_value::<Message>(json!({})).unwrap(), Message::default());
        assert!(serde_json::from_value::<Message>(json!({"role": "user"})).is_err());
    }

    #[test]
    fn times_have_milliseconds() {
        let time = |text: &str| timestamp(text.parse().unwrap());
        assert_eq!(time("2026-11-22T14:20:01.123999Z"), "2026-11-22T14:20:01.123Z");
        assert_eq!(time("0001-01-01T00:00:00Z"), "0001-01-01T00:00:00.000Z");
    }

    #[test]
    fn the_member_of_our_extension_has_its_name() {
        let cursor: Cursor = "7Q4M2K9A-00000000000004d2".parse().unwrap();
        let metadata = Extension::from(PlanEvents::at(cursor, Seq::new(3)));
        let written = serde_json::to_value(metadata).unwrap();
        assert_eq!(written, json!({EXTENSION: {"cursor": cursor, "seq": 3}}));
    }
}
