//! JSON Schema (2020-12) of the events: one for each payload, one for the event around it.
//!
//! Made from the payload structs themselves, so that schema and code cannot differ. Unknown members are allowed
//! everywhere in a payload; the event around it has no others than these.

mod wire;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::event_type::EventType;
use crate::limits::{EVENT_TYPE_CHARS_MAX, TRACEPARENT_CHARS_MAX};
use crate::vocabulary::{
    ArtifactProduced, CancelRequested, DecisionMade, InputReceived, InputRequested, LimitWarned,
    PauseRequested, PlanAdopted, PlanCompleted, PlanFailed, PlanStarted, ResumeRequested, SubplanCompleted,
    SubplanSpawned, ToolCalled, ToolCompleted, ToolProgress,
};

const META_SCHEMA: &str = "https://json-schema.org/draft/2020-12/schema";

/// What [`all`] calls the event as a publisher sends it; the payload of each type stands under the type's name.
pub const PUBLISHED_EVENT: &str = "PublishedEvent";

/// What [`all`] calls the event as it is read: in pages, streams and exports.
pub const STORED_EVENT: &str = "StoredEvent";

/// The schema of the payload of `event_type`; of a custom type, any object.
///
/// ```
/// use planwire_event::{EventType, schema};
/// let schema = schema::of(&EventType::ToolCalled);
/// assert_eq!(schema["required"], serde_json::json!(["call_id", "tool"]));
/// ```
#[must_use]
pub fn of(event_type: &EventType) -> Value {
    let mut generator = generator();
    let mut schema = match payload(event_type, &mut generator) {
        Some(_) => {
            let mut payloads = generator.take_definitions(true);
            let mut schema = payloads.remove(event_type.as_str()).unwrap_or_default();
            if !payloads.is_empty() {
                schema["$defs"] = Value::Object(payloads);
            }
            schema
        }
        None => json!({"type": "object"}),
    };
    schema["$schema"] = META_SCHEMA.into();
    schema["title"] = event_type.as_str().into();
    schema
}

/// The schema of an event as it is read, and under `$defs` those of all payloads and of [`PUBLISHED_EVENT`].
#[must_use]
pub fn all() -> Value {
    let mut generator = generator();
    let by_type: Vec<Value> = EventType::OURS
        .iter()
        .filter_map(|event_type| {
            let reference = payload(event_type, &mut generator)?;
            Some(json!({
                "if": {"properties": {"event_type": {"const": event_type.as_str()}}, "required": ["event_type"]},
                "then": {"properties": {"payload": reference}},
            }))
        })
        .collect();
    let mut defs = generator.take_definitions(true);
    defs.insert(PUBLISHED_EVENT.into(), published(&by_type));
    defs.insert(STORED_EVENT.into(), stored(&by_type));
    json!({
        "$schema": META_SCHEMA,
        "$id": "urn:planwire:events",
        "title": "Events of Planwire",
        "$ref": format!("#/$defs/{STORED_EVENT}"),
        "$defs": defs,
    })
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().into_generator()
}

/// A reference to the payload's schema, which it leaves in `generator`; none for custom types.
fn payload(event_type: &EventType, generator: &mut SchemaGenerator) -> Option<Value> {
    fn reference<T: JsonSchema>(generator: &mut SchemaGenerator) -> Option<Value> {
        Some(generator.subschema_for::<T>().to_value())
    }
    match event_type {
        EventType::PlanStarted => reference::<PlanStarted>(generator),
        EventType::PlanCompleted => reference::<PlanCompleted>(generator),
        EventType::PlanFailed => reference::<PlanFailed>(generator),
        EventType::DecisionMade => reference::<DecisionMade>(generator),
        EventType::ToolCalled => reference::<ToolCalled>(generator),
        EventType::ToolProgress => reference::<ToolProgress>(generator),
        EventType::ToolCompleted => reference::<ToolCompleted>(generator),
        EventType::SubplanSpawned => reference::<SubplanSpawned>(generator),
        EventType::SubplanCompleted => reference::<SubplanCompleted>(generator),
        EventType::ArtifactProduced => reference::<ArtifactProduced>(generator),
        EventType::InputRequested => reference::<InputRequested>(generator),
        EventType::InputReceived => reference::<InputReceived>(generator),
        EventType::CancelRequested => reference::<CancelRequested>(generator),
        EventType::PauseRequested => reference::<PauseRequested>(generator),
        EventType::ResumeRequested => reference::<ResumeRequested>(generator),
        EventType::PlanAdopted => reference::<PlanAdopted>(generator),
        EventType::LimitWarned => reference::<LimitWarned>(generator),
        EventType::Custom(_) => None,
    }
}

/// The five members that a publisher sends, the first five of every event.
fn five_members() -> Map<String, Value> {
    let plan_id = wire::plan_id();
    let names: Vec<&str> = EventType::OURS.iter().map(EventType::as_str).collect();
    let members = json!({
        "event_id": {
            "description": "A ULID, made by the publisher: the key of idempotence.",
            "type": "string",
            "pattern": "^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$",
        },
        "event_type": {
            "description": "One of ours, or a custom type, which has a dot in its name.",
            "type": "string",
            "maxLength": EVENT_TYPE_CHARS_MAX,
            "anyOf": [{"enum": names}, {"pattern": "^[A-Za-z][A-Za-z0-9_-]*\\.[A-Za-z0-9_.-]*$"}],
        },
        "plan_id": plan_id,
        "timestamp": {
            "description": "When it happened, by the publisher's clock; UTC with microseconds when read.",
            "type": "string",
            "format": "date-time",
        },
        "payload": {"type": "object"},
    });
    match members {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn published(by_type: &[Value]) -> Value {
    let mut members = five_members();
    members.insert(
        "traceparent".into(),
        json!({
            "description": "W3C Trace Context.",
            "type": "string",
            "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
            "maxLength": TRACEPARENT_CHARS_MAX,
        }),
    );
    // An exported line can be published as it is: what the log assigned is ignored.
    for (name, _) in log_members() {
        members.insert(name, json!({"description": "Ignored: the log assigns it anew."}));
    }
    for name in ["meta", "proof"] {
        members
            .insert(name.into(), json!({"description": "Ignored: lines of an export with proofs have it."}));
    }
    json!({
        "title": "An event as it is published",
        "type": "object",
        "properties": members,
        "required": ["event_type", "plan_id"],
        "additionalProperties": false,
        "allOf": by_type,
    })
}

/// The members that the log adds to an event.
fn log_members() -> Vec<(String, Value)> {
    let nullable_plan_id = json!({"anyOf": [wire::plan_id(), {"type": "null"}]});
    [
        ("position", json!({"description": "1, 2, 3 ... in its log.", "type": "integer", "minimum": 1})),
        (
            "cursor",
            json!({
                "description": "The position in a form that also names the log; opaque, sorts as text.",
                "type": "string",
                "pattern": "^[0-9A-HJKMNP-TV-Z]{8}-[0-9a-f]{16}$",
            }),
        ),
        ("seq", json!({"description": "1, 2, 3 ... in its plan.", "type": "integer", "minimum": 1})),
        ("root_plan_id", wire::plan_id()),
        ("parent_plan_id", nullable_plan_id),
        ("depth", json!({"description": "0 at the root.", "type": "integer", "minimum": 0})),
        (
            "recorded_at",
            json!({"description": "When the log took it; never falls.", "type": "string", "format": "date-time"}),
        ),
    ]
    .map(|(name, schema)| (name.to_owned(), schema))
    .into()
}

fn stored(by_type: &[Value]) -> Value {
    let mut members = five_members();
    members.extend(log_members());
    let required: Vec<&String> = members.keys().collect();
    json!({
        "title": "An event as it is read",
        "type": "object",
        "required": required,
        "properties": members,
        "additionalProperties": false,
        "allOf": by_type,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `$ref` below `value`.
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_is_answered_in_its_own_document() {
        let documents = EventType::OURS.iter().map(of).chain([all()]);
        for document in documents {
            let mut found = Vec::new();
            references(&document, &mut found);
            for reference in found {
                let pointer = reference.strip_prefix('#').expect("references stay inside");
                assert!(document.pointer(pointer).is_some(), "{reference} in {document:#}");
            }
        }
    }

    #[test]
    fn each_of_our_types_has_a_schema_with_its_members_described() {
        for event_type in EventType::OURS {
            let schema = of(event_type);
            assert_eq!(schema["title"], event_type.as_str());
            assert_eq!(schema["type"], "object");
            let members = schema["properties"].as_object().expect("a payload has members");
            assert!(!members.is_empty());
            for (name, member) in members {
                assert!(member["description"].is_string(), "{event_type}.{name} has no description");
            }
            assert!(all()["$defs"][event_type.as_str()].is_object());
        }
    }

    #[test]
    fn custom_types_take_any_object() {
        let schema = of(&"acme.hit".parse().unwrap());
        assert_eq!(schema["type"], "object");
        assert_eq!(schema["properties"], Value::Null);
    }

    #[test]
    fn events_are_described_as_published_and_as_read() {
        let all = all();
        assert_eq!(
            all["$defs"][PUBLISHED_EVENT]["required"],
            json!(["event_type", "plan_id"]),
            "id, time and payload may be left out"
        );
        let required = all["$defs"][STORED_EVENT]["required"].as_array().unwrap();
        assert_eq!(required.len(), 12);
        let branches = all["$defs"][STORED_EVENT]["allOf"].as_array().unwrap();
        assert_eq!(branches.len(), EventType::OURS.len());
    }
}
