//! Arguments of tools: whether they fit the JSON Schema that a tool publishes.
//!
//! Schemas come from programs of others, written by generators: they refer to themselves, and their patterns look
//! ahead. **Invariant:** a check takes a bounded time. So references are written out ([`unfolding`]), and what cannot
//! be checked in bounded time is left to the tool: what lies below a recursion or beyond [`UNFOLDED_BYTES_MAX`], patterns
//! that need more than linear time, what another document says.

mod unfolding;

use std::fmt;
use std::sync::Arc;

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

use crate::answer::{AnswerError, ERRORS_MAX, SchemaError, short};
use crate::vocabulary::Object;

pub use unfolding::{SCHEMA_LEVELS_MAX, UNFOLDED_BYTES_MAX};

/// Bytes of JSON of one schema of arguments.
pub const ARGUMENT_SCHEMA_BYTES_MAX: usize = 256 * 1024;
/// Bytes that a compiled pattern of a schema may take up.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// A schema of the arguments of one tool. Cheap to clone.
///
/// ```
/// use planwire_event::arguments::ArgumentSchema;
/// use serde_json::json;
///
/// let schema = json!({"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]});
/// let schema = ArgumentSchema::compile(&schema).unwrap();
/// let given = |value: serde_json::Value| value.as_object().unwrap().clone();
/// assert!(schema.check(given(json!({"count": 3}))).is_empty());
/// assert_eq!(schema.check(given(json!({"count": "3"})))[0].path, "/count");
/// ```
#[derive(Clone)]
pub struct ArgumentSchema {
    schema: Arc<Value>,
    validator: Arc<Validator>,
}

impl ArgumentSchema {
    /// Reads a schema.
    ///
    /// # Errors
    ///
    /// [`SchemaError`] if it exceeds [`ARGUMENT_SCHEMA_BYTES_MAX`] or is no schema.
    pub fn compile(schema: &Value) -> Result<Self, SchemaError> {
        let len_bytes = schema.to_string().len();
        if len_bytes > ARGUMENT_SCHEMA_BYTES_MAX {
            let message = format!("it has {len_bytes} bytes, more than {ARGUMENT_SCHEMA_BYTES_MAX}");
            return Err(SchemaError::Unsound { place: String::new(), message });
        }
        let draft = draft_of(schema);
        let unfolded = unfolding::unfold(schema, |pattern| {
            build(draft, &serde_json::json!({"pattern": pattern})).is_ok()
        });
        let validator = build(draft, &unfolded)?;
        Ok(Self { schema: Arc::new(unfolded), validator: Arc::new(validator) })
    }

    /// Says what is wrong with arguments: nothing, or up to [`ERRORS_MAX`] errors, which quote no value.
    #[must_use]
    pub fn check(&self, arguments: Object) -> Vec<AnswerError> {
        let arguments = Value::Object(arguments);
        let errors = self.validator.iter_errors(&arguments).take(ERRORS_MAX);
        errors
            .map(|error| AnswerError {
                path: error.instance_path().to_string(),
                message: short(&error.masked_with("the value").to_string()),
            })
            .collect()
    }

    /// The names that arguments may have; `None`: others may be given too.
    #[must_use]
    pub fn names(&self) -> Option<Vec<&str>> {
        let closed = self.schema.get("additionalProperties") == Some(&Value::Bool(false))
            && self.schema.get("patternProperties").is_none();
        let named = || self.schema.get("properties").and_then(Value::as_object);
        closed.then(|| named().into_iter().flatten().map(|(name, _)| name.as_str()).collect())
    }

    /// The names that every call must give.
    pub fn required(&self) -> impl Iterator<Item = &str> {
        let names = self.schema.get("required").and_then(Value::as_array);
        names.into_iter().flatten().filter_map(Value::as_str)
    }
}

impl fmt::Debug for ArgumentSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.schema.fmt(f)
    }
}

/// The draft that a schema names; without one, the newest, as MCP wants it.
fn draft_of(schema: &Value) -> Draft {
    let named = schema.get("$schema").and_then(Value::as_str).unwrap_or_default();
    let drafts = [
        ("draft-04", Draft::Draft4),
        ("draft-06", Draft::Draft6),
        ("draft-07", Draft::Draft7),
        ("2019-09", Draft::Draft201909),
    ];
    let found = drafts.into_iter().find(|(name, _)| named.contains(name));
    found.map_or(Draft::Draft202012, |(_, draft)| draft)
}

fn build(draft: Draft, schema: &Value) -> Result<Validator, SchemaError> {
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    let options = jsonschema::options().with_draft(draft).with_pattern_options(patterns);
    options.offline().build(schema).map_err(|error| {
        let place = error.instance_path().to_string();
        let place = if place.is_empty() { place } else { format!(" at {place}") };
        SchemaError::Unsound { place, message: short(&error.to_string()) }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn errors(schema: &Value, arguments: Value) -> Vec<String> {
        let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
        let schema = ArgumentSchema::compile(schema).unwrap();
        schema.check(arguments).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn references_are_followed_and_what_does_not_fit_is_told_where() {
        let schema = json!({
            "$defs": {"Place": {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}},
            "type": "object",
            "properties": {"from": {"$ref": "#/$defs/Place"}, "a~b/c": {"$ref": "#/properties/from", "title": "x"}},
        });
        assert_eq!(errors(&schema, json!({"from": {"zone": "UTC"}})), [""; 0]);
        assert_eq!(
            errors(&schema, json!({"from": {"zone": 1}})),
            [r#"/from/zone: the value is not of type "string""#]
        );
        assert_eq!(errors(&schema, json!({"a~b/c": {}})), [r#"/a~0b~1c: "zone" is a required property"#]);
        let escaped =
            json!({"$defs": {"a/b": {"type": "null"}}, "properties": {"x": {"$ref": "#/$defs/a~1b"}}});
        assert_eq!(errors(&escaped, json!({"x": 1})), [r#"/x: the value is not of type "null""#]);
    }

    #[test]
    fn what_cannot_be_checked_in_bounded_time_is_left_to_the_tool() {
        let tree = json!({
            "type": "object",
            "properties": {"name": {"type": "string"}, "child": {"$ref": "#"}},
            "required": ["name"],
        });
        assert_eq!(errors(&tree, json!({"name": "a", "child": {"name": "b"}})), [""; 0]);
        assert_eq!(
            errors(&tree, json!({"name": "a", "child": {}})),
            [r#"/child: "name" is a required property"#]
        );
        // Each level names the next twice: written out it would have 2^40 parts.
        let levels = (0..40).map(|at| {
            let next = json!({"$ref": format!("#/$defs/l{}", at + 1)});
            (format!("l{at}"), json!({"allOf": [next, next]}))
        });
        let mut defs: Object = levels.collect();
        defs.insert("l40".into(), json!({"type": "string"}));
        let bomb = json!({"$defs": defs, "properties": {"x": {"$ref": "#/$defs/l0"}}});
        assert_eq!(errors(&bomb, json!({"x": "a"})), [""; 0]);
        let patterns = json!({"properties": {"mail": {"type": "string", "pattern": "^(?!\\.)a"}, "b": {"pattern": "^b$"}}});
        assert_eq!(errors(&patterns, json!({"mail": "x", "b": "b"})), [""; 0]);
        assert_eq!(errors(&patterns, json!({"mail": 1, "b": "c"})).len(), 2);
        let elsewhere = json!({"properties": {"x": {"$ref": "https://example.org/schema.json"}}});
        assert_eq!(errors(&elsewhere, json!({"x": 1})), [""; 0]);
    }

    #[test]
    fn schemas_of_older_drafts_are_read_as_they_were_meant() {
        let tuple = json!({"type": "array", "items": [{"type": "string"}], "additionalItems": false});
        let schema =
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"x": tuple}});
        assert_eq!(errors(&schema, json!({"x": ["a"]})), [""; 0]);
        assert_eq!(errors(&schema, json!({"x": ["a", "b"]})).len(), 1);
    }

    #[test]
    fn names_are_known_where_no_others_may_be_given() {
        let closed =
            json!({"properties": {"a": {}, "b": {}}, "required": ["b"], "additionalProperties": false});
        let closed = ArgumentSchema::compile(&closed).unwrap();
        assert_eq!(closed.names(), Some(vec!["a", "b"]));
        assert_eq!(closed.required().collect::<Vec<_>>(), ["b"]);
        assert_eq!(ArgumentSchema::compile(&json!({"properties": {"a": {}}})).unwrap().names(), None);
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        let refused = |schema: Value| ArgumentSchema::compile(&schema).unwrap_err().to_string();
        assert!(refused(json!({"type": "text"})).starts_with("no JSON Schema at /type"));
        assert!(refused(json!("string")).starts_with("no JSON Schema"));
        let large = json!({"const": "a".repeat(ARGUMENT_SCHEMA_BYTES_MAX)});
        assert!(refused(large).contains("more than 262144"));
    }
}
