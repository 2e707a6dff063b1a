//! The event as it is published and as it is stored.

use std::sync::Arc;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::clock::Clock;
use crate::cursor::{CURSOR_CHARS, Cursor, LogId, Position, Seq};
use crate::decimal::{DECIMAL_CHARS, decimal};
use crate::event_type::{EventType, EventTypeError};
use crate::ids::{EVENT_ID_CHARS, EventId, IdError, IdGenerator, PlanId};
use crate::lifecycle::Fact;
use crate::limits::TRACEPARENT_CHARS_MAX;
use crate::payload::{Payload, PayloadError};
use crate::timestamp::{TIMESTAMP_CHARS, Timestamp, TimestampError};
use crate::vocabulary::TypedPayload;

/// A fact about a plan, as its publisher states it.
///
/// The payload is in normal form and fits the schema of the event type; only [`Event::new`] and what builds on it
/// make events, so nobody further in has to check again.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    event_id: EventId,
    event_type: EventType,
    plan_id: PlanId,
    timestamp: Timestamp,
    payload: Payload,
    traceparent: Option<Arc<str>>,
    redacted: Vec<String>,
}

impl Event {
    /// Makes an event of its parts.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Shape`] if the payload has not the members that `event_type` asks for;
    /// [`PayloadError::Removed`] if it is what stands in the place of a removed one.
    pub fn new(
        event_id: EventId,
        event_type: EventType,
        plan_id: PlanId,
        timestamp: Timestamp,
        payload: Payload,
    ) -> Result<Self, PayloadError> {
        if payload.removed_digest().is_some() {
            return Err(PayloadError::Removed);
        }
        Fact::of(&event_type, &payload)?;
        Ok(Self::from_stored(event_id, event_type, plan_id, timestamp, payload, None))
    }

    /// Makes an event of a typed payload, with an id of `ids` and the time of `clock`.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Normal`] if the payload is too large, too deep, or holds what a store could not.
    pub fn of<T: TypedPayload>(
        ids: &IdGenerator,
        clock: &dyn Clock,
        plan_id: PlanId,
        payload: &T,
    ) -> Result<Self, PayloadError> {
        Self::new(ids.next_id(), T::EVENT_TYPE, plan_id, clock.now(), Payload::of(payload)?)
    }

    /// Takes the parts of an event that was checked when it was stored.
    #[must_use]
    pub fn from_stored(
        event_id: EventId,
        event_type: EventType,
        plan_id: PlanId,
        timestamp: Timestamp,
        payload: Payload,
        traceparent: Option<Arc<str>>,
    ) -> Self {
        Self { event_id, event_type, plan_id, timestamp, payload, traceparent, redacted: Vec::new() }
    }

    /// Adds a W3C `traceparent`.
    #[must_use]
    pub fn with_traceparent(mut self, traceparent: Option<Arc<str>>) -> Self {
        self.traceparent = traceparent;
        self
    }

    /// Says which members of the payload have lost something before the event was made: JSON Pointers (RFC 6901). What is
    /// stored has them in its [`Meta`] alone.
    #[must_use]
    pub fn with_redacted(mut self, redacted: Vec<String>) -> Self {
        self.redacted = redacted;
        self
    }

    /// The event's name and key of idempotence.
    #[must_use]
    pub const fn event_id(&self) -> EventId {
        self.event_id
    }

    /// What it says.
    #[must_use]
    pub const fn event_type(&self) -> &EventType {
        &self.event_type
    }

    /// The plan that it is about.
    #[must_use]
    pub const fn plan_id(&self) -> &PlanId {
        &self.plan_id
    }

    /// When it happened, by its publisher's clock; nothing is ordered by it.
    #[must_use]
    pub const fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// The payload, in normal form.
    #[must_use]
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The W3C `traceparent`, if the publisher gave one.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        self.traceparent.as_deref()
    }

    /// Members of the payload that have lost something before it was published.
    #[must_use]
    pub fn redacted(&self) -> &[String] {
        &self.redacted
    }

    /// Whether `other` says the same: same type, plan and payload. Time, trace and what was redacted do not count, since
    /// a publisher that tries again may have new ones.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        let same = self.event_type == other.event_type && self.plan_id == other.plan_id;
        // One that was removed is known by its digest.
        same && (self.payload == other.payload
            || self.payload.removed_digest().is_some_and(|digest| digest == other.payload.digest()))
    }

    /// Reads the payload as `T`, if the event is of that type and its payload was not removed.
    #[must_use]
    pub fn read<T: TypedPayload>(&self) -> Option<T> {
        let is_there = self.event_type == T::EVENT_TYPE && self.payload.removed_digest().is_none();
        if is_there { self.payload.read().ok() } else { None }
    }

    /// Writes the event as a publisher sends it: one line of JSON.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        use std::io::Write as _;
        self.write_members(out);
        self.write_traceparent(out);
        out.write_all(b"}").expect("a Vec takes every write");
    }

    /// The five members, without the end of the object.
    fn write_members(&self, out: &mut Vec<u8>) {
        use std::io::Write as _;
        // Ids, types and times hold no character that JSON escapes, and the payload already is JSON.
        let written = write!(
            out,
            "{{\"event_id\":\"{}\",\"event_type\":\"{}\",\"plan_id\":\"{}\",\"timestamp\":\"{}\",\"payload\":{}",
            self.event_id,
            self.event_type,
            self.plan_id,
            self.timestamp,
            self.payload.as_str(),
        );
        written.expect("a Vec takes every write");
    }

    fn write_traceparent(&self, out: &mut Vec<u8>) {
        use std::io::Write as _;
        if let Some(traceparent) = &self.traceparent {
            write!(out, ",\"traceparent\":\"{traceparent}\"").expect("a Vec takes every write");
        }
    }

    /// Bytes that the event takes up while it waits: payload and a flat amount for the rest.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        const REST_BYTES: usize = 512;
        self.payload.as_str().len() + self.redacted.iter().map(String::len).sum::<usize>() + REST_BYTES
    }
}

/// An event as it comes from outside: id and time may be missing, members that we store are ignored.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    event_id: Option<String>,
    event_type: String,
    plan_id: String,
    timestamp: Option<String>,
    payload: Option<Box<RawValue>>,
    traceparent: Option<String>,
    // An exported line can be published as it is: the log assigns these anew.
    #[serde(rename = "position")]
    _position: Option<IgnoredAny>,
    #[serde(rename = "cursor")]
    _cursor: Option<IgnoredAny>,
    #[serde(rename = "seq")]
    _seq: Option<IgnoredAny>,
    #[serde(rename = "root_plan_id")]
    _root_plan_id: Option<IgnoredAny>,
    #[serde(rename = "parent_plan_id")]
    _parent_plan_id: Option<IgnoredAny>,
    #[serde(rename = "depth")]
    _depth: Option<IgnoredAny>,
    #[serde(rename = "recorded_at")]
    _recorded_at: Option<IgnoredAny>,
    // Lines of an export with proofs have these too.
    #[serde(rename = "meta")]
    _meta: Option<IgnoredAny>,
    #[serde(rename = "proof")]
    _proof: Option<IgnoredAny>,
}

/// Why a draft is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DraftError {
    /// Not JSON, not an object, a member missing, of the wrong type or unknown.
    #[error("event is malformed: {message}")]
    Malformed {
        /// What is wrong and where.
        message: String,
    },
    /// The event id or plan id is none.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The event type is none.
    #[error(transparent)]
    EventType(#[from] EventTypeError),
    /// The timestamp is none.
    #[error(transparent)]
    Timestamp(#[from] TimestampError),
    /// The payload is none, or does not fit its type.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The `traceparent` is longer than the W3C form or holds other characters.
    #[error("traceparent must have the form of W3C Trace Context: 00-<32 hex>-<16 hex>-<2 hex>")]
    Traceparent,
}

impl Draft {
    /// Reads one event as JSON.
    ///
    /// # Errors
    ///
    /// [`DraftError::Malformed`] if it is no JSON object with the members of an event.
    pub fn parse(json: &str) -> Result<Self, DraftError> {
        serde_json::from_str(json).map_err(|error| DraftError::Malformed { message: error.to_string() })
    }

    /// The parts of an event that came in another form.
    pub(crate) const fn of_parts(
        event_id: String,
        event_type: String,
        plan_id: String,
        timestamp: Option<String>,
        payload: Option<Box<RawValue>>,
        traceparent: Option<String>,
    ) -> Self {
        Self {
            event_id: Some(event_id),
            event_type,
            plan_id,
            timestamp,
            payload,
            traceparent,
            _position: None,
            _cursor: None,
            _seq: None,
            _root_plan_id: None,
            _parent_plan_id: None,
            _depth: None,
            _recorded_at: None,
            _meta: None,
            _proof: None,
        }
    }

    /// Whether the publisher gave the event an id, so that publishing it can be tried again safely.
    #[must_use]
    pub const fn has_event_id(&self) -> bool {
        self.event_id.is_some()
    }

    /// Checks each part and fills what is missing: an id of `ids`, the time of `clock`, an empty payload.
    ///
    /// # Errors
    ///
    /// [`DraftError`] names the first part that is wrong.
    pub fn complete(self, ids: &IdGenerator, clock: &dyn Clock) -> Result<Event, DraftError> {
        let event = self.unchecked(ids, clock)?;
        let Event { event_id, event_type, plan_id, timestamp, payload, traceparent, .. } = event;
        Ok(Event::new(event_id, event_type, plan_id, timestamp, payload)?.with_traceparent(traceparent))
    }

    /// As [`Draft::complete`], of an event that a log gave out: its payload may have been removed.
    ///
    /// # Errors
    ///
    /// As for [`Draft::complete`].
    pub fn complete_stored(self, ids: &IdGenerator, clock: &dyn Clock) -> Result<Event, DraftError> {
        let event = self.unchecked(ids, clock)?;
        if event.payload.removed_digest().is_none() {
            Fact::of(&event.event_type, &event.payload)?;
        }
        Ok(event)
    }

    /// Everything but whether the payload fits the type.
    fn unchecked(self, ids: &IdGenerator, clock: &dyn Clock) -> Result<Event, DraftError> {
        let event_type = self.event_type.parse()?;
        let plan_id = self.plan_id.parse()?;
        let event_id = self.event_id.map(|text| text.parse()).transpose()?;
        let timestamp = self.timestamp.map(|text| text.parse()).transpose()?;
        let payload = Payload::parse(self.payload.as_ref().map_or("{}", |raw| raw.get()))
            .map_err(PayloadError::from)?;
        let traceparent = self.traceparent.map(check_traceparent).transpose()?;
        let event_id = event_id.unwrap_or_else(|| ids.next_id());
        let timestamp = timestamp.unwrap_or_else(|| clock.now());
        Ok(Event::from_stored(event_id, event_type, plan_id, timestamp, payload, traceparent))
    }
}

fn check_traceparent(text: String) -> Result<Arc<str>, DraftError> {
    let good = text.len() == TRACEPARENT_CHARS_MAX
        && text.bytes().enumerate().all(|(at, byte)| match at {
            2 | 35 | 52 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        });
    if good { Ok(text.into()) } else { Err(DraftError::Traceparent) }
}

/// Who published an event, as the door through which it came says: an executor's id, or `http:<principal>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Producer(Arc<str>);

impl Producer {
    /// Makes a producer of its name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the executor `executor_id`, and so may own the trees that it starts.
    ///
    /// What comes in from outside never is, whatever it says of itself: names with a colon are those of doors, as
    /// `http:anonymous`, and [`Producer::NO_EXECUTORS`] are those of people and programs.
    #[must_use]
    pub fn is_executor(&self, executor_id: &str) -> bool {
        *self.0 == *executor_id && !self.0.contains(':') && !Self::NO_EXECUTORS.contains(&&*self.0)
    }

    /// Names of producers that run nothing: what people type, what is imported, what a program publishes by itself.
    pub const NO_EXECUTORS: [&'static str; 3] = ["cli", "import", "library"];
}

/// What is stored beside an event and is not part of its wire form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// Who published the event.
    pub producer: Producer,
    /// The W3C `traceparent` of the publisher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<Arc<str>>,
    /// Members of the payload from which something was removed before it was stored: JSON Pointers (RFC 6901).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redacted: Vec<String>,
}

/// An event in its place in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEvent {
    /// The event as published.
    pub event: Event,
    /// The log that holds it.
    pub log_id: LogId,
    /// Its place in the log.
    pub position: Position,
    /// Its place in its plan.
    pub seq: Seq,
    /// The root of the tree that its plan belongs to.
    pub root_plan_id: PlanId,
    /// The plan that spawned its plan; none at the root.
    pub parent_plan_id: Option<PlanId>,
    /// 0 at the root, 1 below it ...
    pub depth: u32,
    /// When the log took it; never falls along positions.
    pub recorded_at: Timestamp,
    /// Who published it, and what else is not on the wire.
    pub meta: Meta,
}

impl StoredEvent {
    /// The event's place as clients name it.
    #[must_use]
    pub const fn cursor(&self) -> Cursor {
        Cursor { log_id: self.log_id, position: self.position }
    }

    /// The plan that the event is about.
    #[must_use]
    pub const fn plan_id(&self) -> &PlanId {
        self.event.plan_id()
    }

    /// Writes the wire form: one line of JSON, the five members of a published event first.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        self.write_places(out);
        out.push(b'}');
    }

    /// Writes the line of an export: the wire form and, where the publisher gave one, its `traceparent`, so that
    /// nothing of what was published is missing.
    pub fn write_export(&self, out: &mut Vec<u8>) {
        self.write_places(out);
        self.event.write_traceparent(out);
        out.push(b'}');
    }

    /// All members of the wire form, without the end of the object.
    fn write_places(&self, out: &mut Vec<u8>) {
        let event = &self.event;
        let parent = self.parent_plan_id.as_ref().map(PlanId::as_str);
        let (mut event_id, mut cursor) = ([0; EVENT_ID_CHARS], [0; CURSOR_CHARS]);
        let (mut timestamp, mut recorded_at) = ([0; TIMESTAMP_CHARS], [0; TIMESTAMP_CHARS]);
        let (mut position, mut seq, mut depth) = ([0; DECIMAL_CHARS], [0; DECIMAL_CHARS], [0; DECIMAL_CHARS]);
        let quote = if parent.is_some() { "\"" } else { "" };
        // Ids, types and times hold no character that JSON escapes, and the payload already is JSON. Put together by
        // hand: `write!` takes four times as long, which is what a replay would then spend most of its time on.
        let pieces = [
            "{\"event_id\":\"",
            event.event_id.text(&mut event_id),
            "\",\"event_type\":\"",
            event.event_type.as_str(),
            "\",\"plan_id\":\"",
            event.plan_id.as_str(),
            "\",\"timestamp\":\"",
            event.timestamp.text(&mut timestamp),
            "\",\"payload\":",
            event.payload.as_str(),
            ",\"position\":",
            decimal(self.position.get(), &mut position),
            ",\"cursor\":\"",
            self.cursor().text(&mut cursor),
            "\",\"seq\":",
            decimal(self.seq.get(), &mut seq),
            ",\"root_plan_id\":\"",
            self.root_plan_id.as_str(),
            "\",\"parent_plan_id\":",
            quote,
            parent.unwrap_or("null"),
            quote,
            ",\"depth\":",
            decimal(u64::from(self.depth), &mut depth),
            ",\"recorded_at\":\"",
            self.recorded_at.text(&mut recorded_at),
            "\"",
        ];
        out.reserve(pieces.iter().map(|piece| piece.len()).sum());
        pieces.iter().for_each(|piece| out.extend_from_slice(piece.as_bytes()));
    }

    /// The wire form as text, see [`StoredEvent::write_json`].
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = Vec::with_capacity(512 + self.event.payload.as_str().len());
        self.write_json(&mut out);
        String::from_utf8(out).unwrap_or_default()
    }
}

impl Serialize for StoredEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: Box<RawValue> = RawValue::from_string(self.to_json()).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn ids() -> IdGenerator {
        IdGenerator::new(Arc::new(ManualClock::at(Timestamp::from_micros_clamped(0))), || 7)
    }

    fn complete(json: &str) -> Result<Event, DraftError> {
        Draft::parse(json)?.complete(&ids(), &ManualClock::at(Timestamp::from_micros_clamped(1_500_000)))
    }

    fn stored(event: Event, parent: Option<&str>) -> StoredEvent {
        StoredEvent {
            event,
            log_id: "7Q4M2K9A".parse().unwrap(),
            position: Position::new(1234),
            seq: Seq::new(2),
            root_plan_id: "root".parse().unwrap(),
            parent_plan_id: parent.map(|id| id.parse().unwrap()),
            depth: 1,
            recorded_at: Timestamp::from_micros_clamped(2_000_000),
            meta: Meta { producer: Producer::new("http:anonymous"), traceparent: None, redacted: vec![] },
        }
    }

    #[test]
    fn what_is_missing_is_filled() {
        let event = complete(r#"{"event_type":"acme.hit","plan_id":"p"}"#).unwrap();
        assert_eq!(event.event_id(), EventId::from(7));
        assert_eq!(event.timestamp().to_string(), "1970-01-01T00:00:01.500000Z");
        assert_eq!(event.payload().as_str(), "{}");
    }

    #[test]
    fn wire_form_begins_with_the_five_members_and_can_be_published_again() {
        let event = complete(r#"{"event_type":"acme.hit","plan_id":"p","payload":{"b":1,"a":"é"}}"#).unwrap();
        let line = stored(event.clone(), Some("root")).to_json();
        assert_eq!(
            line,
            "{\"event_id\":\"00000000000000000000000007\",\"event_type\":\"acme.hit\",\"plan_id\":\"p\",\
             \"timestamp\":\"1970-01-01T00:00:01.500000Z\",\"payload\":{\"a\":\"é\",\"b\":1},\"position\":1234,\
             \"cursor\":\"7Q4M2K9A-00000000000004d2\",\"seq\":2,\"root_plan_id\":\"root\",\"parent_plan_id\":\"root\",\
             \"depth\":1,\"recorded_at\":\"1970-01-01T00:00:02.000000Z\"}"
        );
        assert_eq!(complete(&line).unwrap(), event);
        assert_eq!(serde_json::to_string(&stored(event.clone(), Some("root"))).unwrap(), line);
        assert!(stored(event, None).to_json().contains("\"parent_plan_id\":null"));
    }

    #[test]
    fn drafts_that_are_wrong_say_where() {
        let check = |json: &str, expected: &str| {
            let message = complete(json).unwrap_err().to_string();
            assert!(message.contains(expected), "{json}: {message}");
        };
        check("[]", "event is malformed");
        check(r#"{"plan_id":"p"}"#, "missing field `event_type`");
        check(r#"{"event_type":"a.b","plan_id":"p","payloads":{}}"#, "unknown field `payloads`");
        check(r#"{"event_type":"Hit","plan_id":"p"}"#, "event type 'Hit' is unknown");
        check(r#"{"event_type":"a.b","plan_id":"p\n"}"#, "plan id 'p\\n'");
        check(r#"{"event_type":"a.b","plan_id":"p","event_id":"1"}"#, "event id '1' is not a ULID");
        check(r#"{"event_type":"a.b","plan_id":"p","timestamp":"x"}"#, "timestamp 'x'");
        check(r#"{"event_type":"a.b","plan_id":"p","payload":[]}"#, "payload must be a JSON object");
        check(
            r#"{"event_type":"ToolCalled","plan_id":"p","payload":{"tool":"t"}}"#,
            "payload of ToolCalled does not fit its schema: missing field `call_id`",
        );
        check(r#"{"event_type":"a.b","plan_id":"p","traceparent":"00-x"}"#, "W3C Trace Context");
    }

    #[test]
    fn trace_and_time_do_not_make_another_content() {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let first = complete(r#"{"event_type":"a.b","plan_id":"p","payload":{"x":1}}"#).unwrap();
        let again = complete(&format!(r#"{{"event_type":"a.b","plan_id":"p","payload":{{"x":1.0}},"timestamp":"2026-01-01T00:00:00Z","traceparent":"{trace}"}}"#)).unwrap();
        assert!(first.same_content(&again));
        assert_eq!(again.traceparent(), Some(trace));
        let other = complete(r#"{"event_type":"a.b","plan_id":"p","payload":{"x":2}}"#).unwrap();
        assert!(!first.same_content(&other));
        assert!(other.weight_bytes() > 512);
    }

    #[test]
    fn typed_payloads_are_read_only_from_their_type() {
        use crate::vocabulary::{CancelRequested, PlanCompleted};
        let payload = CancelRequested { requested_by: "me".into(), reason: "enough".into() };
        let clock = ManualClock::at(Timestamp::from_micros_clamped(0));
        let event = Event::of(&ids(), &clock, "p".parse().unwrap(), &payload).unwrap();
        assert_eq!(event.read(), Some(payload));
        assert_eq!(event.read::<PlanCompleted>(), None);
        assert!(
            Draft::parse(r#"{"event_type":"a.b","plan_id":"p"}"#).is_ok_and(|draft| !draft.has_event_id())
        );
    }
}
