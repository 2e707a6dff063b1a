//! Events as CloudEvents 1.0 in their JSON format, for tools that know nothing of Planwire.
//!
//! The five members of an event and the attributes of CloudEvents say the same: `id` is the event id, `subject` the
//! plan, `time` the timestamp, `data` the payload. What the log adds are extension attributes. CloudEvents has
//! integers of 32 bits alone, so `position` and `seq` are texts.
//!
//! A type of ours gets [`TYPE_PREFIX`], a custom type stays as it is: its name says whose it is already. A custom type
//! that itself begins with the prefix gets it once more, so that every name can be read back. **Invariant:** what was
//! written here is read back as the same event.

use std::io::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cursor::LogId;
use crate::event::{Draft, DraftError, StoredEvent};

/// Begins the `type` of events whose types are ours.
pub const TYPE_PREFIX: &str = "planwire.";

/// Begins the `source` of all events of a log; its id follows.
pub const SOURCE_PREFIX: &str = "urn:planwire:log:";

/// The version of CloudEvents that is written and read.
pub const SPEC_VERSION: &str = "1.0";

/// The only media type of data.
const JSON: &str = "application/json";

/// The `source` of the events of a log.
#[must_use]
pub fn source(log_id: LogId) -> String {
    format!("{SOURCE_PREFIX}{log_id}")
}

impl StoredEvent {
    /// Writes the event as a CloudEvent: one line of JSON.
    ///
    /// ```
    /// # use planwire_event::*;
    /// # let draft = Draft::parse(r#"{"event_type":"acme.hit","plan_id":"p","payload":{"a":1},
    /// #     "event_id":"01JD0000000000000000000007","timestamp":"2026-11-22T14:20:01.5Z"}"#).unwrap();
    /// # let event = draft.complete(&IdGenerator::system(), &SystemClock).unwrap();
    /// # let stored = StoredEvent { event, log_id: "7Q4M2K9A".parse().unwrap(), position: Position::new(3), seq: Seq::new(2),
    /// #     root_plan_id: "p".parse().unwrap(), parent_plan_id: None, depth: 0,
    /// #     recorded_at: "2026-11-22T14:20:02Z".parse().unwrap(),
    /// #     meta: Meta { producer: Producer::new("cli"), traceparent: None, redacted: vec![] } };
    /// let mut line = Vec::new();
    /// stored.write_cloud_event(&mut line);
    /// assert!(line.starts_with(br#"{"specversion":"1.0","id":"01JD0000000000000000000007","source":"urn:planwire:log:7Q4M2K9A","type":"acme.hit","subject":"p""#));
    /// let again = Draft::parse_cloud_event(std::str::from_utf8(&line).unwrap()).unwrap();
    /// assert_eq!(again.complete(&IdGenerator::system(), &SystemClock).unwrap(), stored.event);
    /// ```
    pub fn write_cloud_event(&self, out: &mut Vec<u8>) {
        let event = &self.event;
        let kind = event.event_type().as_str();
        let prefix = if kind.contains('.') && !kind.starts_with(TYPE_PREFIX) { "" } else { TYPE_PREFIX };
        // Ids, types and times hold no character that JSON escapes, and the payload already is JSON.
        let written = write!(
            out,
            "{{\"specversion\":\"{SPEC_VERSION}\",\"id\":\"{}\",\"source\":\"{SOURCE_PREFIX}{}\",\"type\":\"{prefix}{kind}\",\
             \"subject\":\"{}\",\"time\":\"{}\",\"datacontenttype\":\"{JSON}\",\"position\":\"{}\",\"cursor\":\"{}\",\
             \"seq\":\"{}\",\"rootplanid\":\"{}\"",
            event.event_id(),
            self.log_id,
            event.plan_id(),
            event.timestamp(),
            self.position,
            self.cursor(),
            self.seq,
            self.root_plan_id,
        );
        written.expect("a Vec takes every write");
        // An attribute without a value is left out.
        if let Some(parent) = &self.parent_plan_id {
            write!(out, ",\"parentplanid\":\"{parent}\"").expect("a Vec takes every write");
        }
        write!(out, ",\"depth\":{},\"recordedat\":\"{}\"", self.depth, self.recorded_at)
            .expect("a Vec takes every write");
        if let Some(traceparent) = event.traceparent() {
            write!(out, ",\"traceparent\":\"{traceparent}\"").expect("a Vec takes every write");
        }
        write!(out, ",\"data\":{}}}", event.payload().as_str()).expect("a Vec takes every write");
    }
}

/// The attributes that an event is made of; all others are somebody's extensions.
#[derive(Deserialize)]
struct Attributes {
    specversion: String,
    id: String,
    #[serde(rename = "type")]
    kind: String,
    subject: Option<String>,
    time: Option<String>,
    datacontenttype: Option<String>,
    traceparent: Option<String>,
    data: Option<Box<RawValue>>,
    data_base64: Option<serde::de::IgnoredAny>,
}

impl Draft {
    /// Reads a CloudEvent in its JSON format. Extension attributes that are not ours are dropped.
    ///
    /// # Errors
    ///
    /// [`DraftError::Malformed`] if it is none of version 1.0, names no plan by its `subject`, or its data is not JSON.
    pub fn parse_cloud_event(json: &str) -> Result<Self, DraftError> {
        let malformed = |message: String| DraftError::Malformed { message };
        let attributes: Attributes =
            serde_json::from_str(json).map_err(|error| malformed(error.to_string()))?;
        if attributes.specversion != SPEC_VERSION {
            return Err(malformed(format!("the specversion of a CloudEvent must be {SPEC_VERSION}")));
        }
        if attributes.data_base64.is_some() {
            return Err(malformed("the data of a CloudEvent must be JSON, not Base64".to_owned()));
        }
        let json_data = attributes.datacontenttype.as_deref().is_none_or(is_json);
        if !json_data {
            return Err(malformed(format!("the datacontenttype of a CloudEvent must be {JSON}")));
        }
        let plan_id = attributes.subject;
        let plan_id = plan_id
            .ok_or_else(|| malformed("the CloudEvent has no subject, which names its plan".to_owned()))?;
        let kind = attributes.kind.strip_prefix(TYPE_PREFIX).unwrap_or(&attributes.kind).to_owned();
        Ok(Self::of_parts(
            attributes.id,
            kind,
            plan_id,
            attributes.time,
            attributes.data,
            attributes.traceparent,
        ))
    }
}

/// Whether a media type is JSON, whatever its parameters.
fn is_json(media_type: &str) -> bool {
    let name = media_type.split(';').next().unwrap_or_default().trim();
    name.eq_ignore_ascii_case(JSON) || name.to_ascii_lowercase().ends_with("+json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::ids::IdGenerator;

    fn read(json: &str) -> Result<crate::Event, DraftError> {
        Draft::parse_cloud_event(json)?.complete(&IdGenerator::system(), &SystemClock)
    }

    const ID: &str = "01JD0000000000000000000007";

    #[test]
    fn cloud_event_of_somebody_else_is_an_event_if_it_names_a_plan() {
        let foreign = format!(
            r#"{{"specversion":"1.0","type":"com.example.done","source":"/mine","id":"{ID}","subject":"p","comexampleext":7,
               "datacontenttype":"application/vnd.x+json; charset=utf-8","data":{{"b":1.0,"a":[]}}}}"#
        );
        let event = read(&foreign).unwrap();
        assert_eq!(event.event_type().as_str(), "com.example.done");
        assert_eq!(event.payload().as_str(), r#"{"a":[],"b":1}"#);
        let plain = format!(r#"{{"specversion":"1.0","type":"a.b","source":"/","id":"{ID}","subject":"p"}}"#);
        assert_eq!(read(&plain).unwrap().payload().as_str(), "{}");
    }

    #[test]
    fn cloud_events_that_can_be_no_event_say_why() {
        let check = |members: &str, expected: &str| {
            let message = read(&format!("{{{members}}}")).unwrap_err().to_string();
            assert!(message.contains(expected), "{members}: {message}");
        };
        let base = format!(r#""specversion":"1.0","source":"/","id":"{ID}","type":"a.b""#);
        check(&base, "has no subject");
        check(&format!(r#"{base},"subject":"p","data_base64":"AA==""#), "not Base64");
        check(&format!(r#"{base},"subject":"p","datacontenttype":"text/xml","data":"x""#), "datacontenttype");
        check(&format!(r#"{base},"subject":"p","data":[]"#), "payload must be a JSON object");
        check(&base.replace("1.0", "0.3"), "specversion");
        check(&format!("{},\"subject\":\"p\"", base.replace(ID, "7")), "is not a ULID");
        check(
            &format!("{},\"subject\":\"p\"", base.replace("a.b", "planwire.Nothing")),
            "'Nothing' is unknown",
        );
        check(r#""a":1"#, "missing field");
    }
}
