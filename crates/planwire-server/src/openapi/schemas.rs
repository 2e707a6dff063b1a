//! The schemas of the document, gathered while it is made: each type once, under its name.

use planwire_event::schema::{PUBLISHED_EVENT, all};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// What stands before the name of a schema.
const SCHEMAS: &str = "#/components/schemas/";

/// What stands before it in a document of [`planwire_event::schema`].
const DEFINITIONS: &str = "#/$defs/";

/// The schemas of a document.
pub(crate) struct Schemas {
    /// Of what is written: a member that is always written is required.
    answers: SchemaGenerator,
    /// Of what is read: a member that may be left out is not required.
    requests: SchemaGenerator,
    /// Of events.
    events: Map<String, Value>,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = || {
            let mut settings = SchemaSettings::draft2020_12();
            settings.definitions_path = SCHEMAS.trim_start_matches('#').into();
            settings.meta_schema = None;
            settings
        };
        let events = match all()["$defs"].take() {
            Value::Object(events) => events,
            _ => Map::new(),
        };
        Self {
            answers: settings().for_serialize().into_generator(),
            requests: settings().into_generator(),
            events: events.into_iter().map(|(name, schema)| (name, moved(united(schema)))).collect(),
        }
    }

    /// What is written from a `T`.
    pub(crate) fn answer<T: JsonSchema>(&mut self) -> Value {
        self.answers.subschema_for::<T>().to_value()
    }

    /// What is read as a `T`.
    pub(crate) fn request<T: JsonSchema>(&mut self) -> Value {
        self.requests.subschema_for::<T>().to_value()
    }

    /// An event, by its name in [`planwire_event::schema`].
    pub(crate) fn event(&self, name: &str) -> Value {
        debug_assert!(self.events.contains_key(name), "{name} is described");
        json!({ "$ref": format!("{SCHEMAS}{name}") })
    }

    /// The name of an event type.
    pub(crate) fn event_type(&self) -> Value {
        let published = self.events.get(PUBLISHED_EVENT);
        published.and_then(|event| event.pointer("/properties/event_type")).cloned().unwrap_or_default()
    }

    /// All of them by name.
    pub(super) fn finish(mut self) -> Map<String, Value> {
        let mut schemas = self.events;
        for more in [self.answers.take_definitions(true), self.requests.take_definitions(true)] {
            for (name, schema) in more {
                schemas.entry(name).or_insert(schema);
            }
        }
        for schema in schemas.values_mut() {
            retell(schema);
        }
        schemas
    }
}

/// An event's schema says by conditions which payload belongs to which type. What makes clients and tests of an
/// OpenAPI document understands a union of types instead; it allows the same.
fn united(mut schema: Value) -> Value {
    let Some(Value::Array(conditions)) = schema.get_mut("allOf").map(Value::take) else { return schema };
    let mut types: Vec<_> = conditions
        .iter()
        .map(|condition| {
            json!({
                "title": condition["if"]["properties"]["event_type"]["const"],
                "properties": {
                    "event_type": condition["if"]["properties"]["event_type"],
                    "payload": condition["then"]["properties"]["payload"],
                },
            })
        })
        .collect();
    let custom = &schema["properties"]["event_type"]["anyOf"][1];
    types.push(json!({"title": "A custom type", "properties": {"event_type": custom}}));
    if let Value::Object(members) = &mut schema {
        members.remove("allOf");
        members.insert("anyOf".into(), types.into());
    }
    schema
}

/// The schema with its references to where the document has them.
fn moved(schema: Value) -> Value {
    match schema {
        Value::Object(members) => {
            let moved = members.into_iter().map(|(name, value)| match value {
                Value::String(target) if name == "$ref" => {
                    (name, target.replacen(DEFINITIONS, SCHEMAS, 1).into())
                }
                value => (name, moved(value)),
            });
            Value::Object(moved.collect())
        }
        Value::Array(items) => items.into_iter().map(moved).collect(),
        other => other,
    }
}

/// Descriptions come from comments of the code: without its examples and links they are for everybody.
fn retell(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::String(description)) = members.get_mut("description") {
                *description = told(description);
            }
            members.values_mut().for_each(retell);
        }
        Value::Array(items) => items.iter_mut().for_each(retell),
        _ => {}
    }
}

fn told(comment: &str) -> String {
    let text = comment.split("```").next().unwrap_or_default().trim_end();
    let mut told = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, link)) = rest.split_once("[`") {
        let Some((name, after)) = link.split_once("`]") else { break };
        told.push_str(before);
        told.push('`');
        told.push_str(name);
        told.push('`');
        rest = match after.strip_prefix('(').and_then(|target| target.split_once(')')) {
            Some((_, after)) => after,
            None => after,
        };
    }
    told.push_str(rest);
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_lose_what_only_the_code_needs() {
        let check = |comment: &str, expected: &str| assert_eq!(told(comment), expected);
        check("plain", "plain");
        check("at most [`MAX`], as [`A::b`](super::A::b).", "at most `MAX`, as `A::b`.");
        check("a [`b without end", "a [`b without end");
        check("One plan.\n\n```\n# use x;\n```", "One plan.");
    }

    #[test]
    fn conditions_become_a_union_that_allows_the_same() {
        let event = united(json!({
            "properties": {"event_type": {"anyOf": [{"enum": ["A"]}, {"pattern": "[.]"}]}},
            "allOf": [{
                "if": {"properties": {"event_type": {"const": "A"}}, "required": ["event_type"]},
                "then": {"properties": {"payload": {"$ref": "#/$defs/A"}}},
            }],
        }));
        assert_eq!(event.get("allOf"), None);
        let of_a = json!({"event_type": {"const": "A"}, "payload": {"$ref": "#/$defs/A"}});
        assert_eq!(event["anyOf"][0]["properties"], of_a);
        assert_eq!(event["anyOf"][1]["properties"], json!({"event_type": {"pattern": "[.]"}}));
    }
}
