//! Answers to questions: whether one fits the schema of its question, and what a text that somebody typed means.
//!
//! Engine, server and command line share this, so that an answer means the same wherever it is given. Schemas come
//! from documents and from anybody who may publish. **Invariant:** a check takes a bounded time: schemas are bounded
//! in size and have no references, so they are trees, and their patterns are matched in linear time.

mod text;

pub use text::{Approval, TextError, approval_schema, from_text, wanted};

use std::fmt;

use jsonschema::{Draft, PatternOptions, Validator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Bytes of JSON of one schema; the state of a plan keeps as much of it.
pub const SCHEMA_BYTES_MAX: usize = 16 * 1024;
/// Nesting of one schema.
pub const SCHEMA_DEPTH_MAX: usize = 32;
/// Bytes of JSON of one answer.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Errors that are told of one answer.
pub const ERRORS_MAX: usize = 20;
/// Characters of the message of one error.
pub const MESSAGE_CHARS_MAX: usize = 300;
/// Bytes that a compiled pattern of a schema may take up.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// Keywords that would make a schema more than a tree.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

const _: () =
    assert!(SCHEMA_BYTES_MAX <= crate::state::QUESTION_BYTES_MAX, "whoever answers sees the schema");
const _: () = assert!(ANSWER_BYTES_MAX < crate::limits::PAYLOAD_BYTES_MAX);

/// A schema of answers is none that can be checked against.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// It is too long.
    #[error("the schema exceeds {SCHEMA_BYTES_MAX} bytes")]
    TooLarge,
    /// It is nested too deeply.
    #[error("the schema is nested more than {SCHEMA_DEPTH_MAX} levels deep")]
    TooDeep,
    /// It refers to other schemas or to itself.
    #[error("the schema has a {keyword}; write the part out where it is used")]
    Reference {
        /// The keyword.
        keyword: &'static str,
    },
    /// It is no JSON Schema.
    #[error("no JSON Schema{place}: {message}")]
    Unsound {
        /// Where, as " at " and a JSON Pointer; empty: as a whole.
        place: String,
        /// What is wrong with it.
        message: String,
    },
}

/// Why an answer does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerError {
    /// Where in the answer, as a JSON Pointer; empty: the answer as a whole.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

/// A schema of answers: JSON Schema 2020-12 without references.
///
/// ```
/// use planwire_event::answer::AnswerSchema;
/// use serde_json::json;
///
/// let schema = AnswerSchema::compile(&json!({"type": "integer", "minimum": 1})).unwrap();
/// assert!(schema.check(&json!(3)).is_empty());
/// assert_eq!(schema.check(&json!("3"))[0].to_string(), r#"the value is not of type "integer""#);
/// ```
#[derive(Debug)]
pub struct AnswerSchema {
    validator: Validator,
}

impl AnswerSchema {
    /// Reads a schema.
    ///
    /// # Errors
    ///
    /// [`SchemaError`] if it exceeds a limit, has references or is no schema.
    pub fn compile(schema: &Value) -> Result<Self, SchemaError> {
        if schema.to_string().len() > SCHEMA_BYTES_MAX {
            return Err(SchemaError::TooLarge);
        }
        is_tree(schema, 1)?;
        let patterns =
            PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
        let options = jsonschema::options().with_draft(Draft::Draft202012).with_pattern_options(patterns);
        match options.offline().build(schema) {
            Ok(validator) => Ok(Self { validator }),
            Err(error) => {
                let (place, message) = (error.instance_path().to_string(), error.to_string());
                let place = if place.is_empty() { place } else { format!(" at {place}") };
                Err(SchemaError::Unsound { place, message: short(&message) })
            }
        }
    }

    /// Says what is wrong with an answer: nothing, or up to [`ERRORS_MAX`] errors.
    #[must_use]
    pub fn check(&self, answer: &Value) -> Vec<AnswerError> {
        if answer.to_string().len() > ANSWER_BYTES_MAX {
            let message = format!("the answer exceeds {ANSWER_BYTES_MAX} bytes");
            return vec![AnswerError { path: String::new(), message }];
        }
        let errors = self.validator.iter_errors(answer).take(ERRORS_MAX);
        errors
            .map(|error| AnswerError {
                path: error.instance_path().to_string(),
                message: short(&error.masked_with("the value").to_string()),
            })
            .collect()
    }
}

/// Says what is wrong with an answer to a question with or without schema.
///
/// # Errors
///
/// [`SchemaError`] if the schema is none that can be checked against.
pub fn check(schema: Option<&Value>, answer: &Value) -> Result<Vec<AnswerError>, SchemaError> {
    let anything = Value::Bool(true);
    Ok(AnswerSchema::compile(schema.unwrap_or(&anything))?.check(answer))
}

fn is_tree(schema: &Value, depth: usize) -> Result<(), SchemaError> {
    if depth > SCHEMA_DEPTH_MAX {
        return Err(SchemaError::TooDeep);
    }
    match schema {
        Value::Object(members) => {
            if let Some(keyword) = REFERENCES.into_iter().find(|keyword| members.contains_key(*keyword)) {
                return Err(SchemaError::Reference { keyword });
            }
            members.values().try_for_each(|member| is_tree(member, depth + 1))
        }
        Value::Array(items) => items.iter().try_for_each(|item| is_tree(item, depth + 1)),
        _ => Ok(()),
    }
}

pub(crate) fn short(message: &str) -> String {
    match message.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &message[..end]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn errors(schema: Value, answer: Value) -> Vec<String> {
        check(Some(&schema), &answer).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn answers_that_do_not_fit_are_told_where_and_why() {
        let schema = json!({
            "type": "object",
            "properties": {"branch": {"enum": ["main", "next"]}, "count": {"type": "integer", "maximum": 3}},
            "required": ["branch"],
            "additionalProperties": false,
        });
        assert_eq!(errors(schema.clone(), json!({"branch": "main", "count": 3})), [""; 0]);
        assert_eq!(
            errors(schema.clone(), json!({"branch": "old", "count": 4})),
            [
                r#"/branch: the value is not one of "main" or "next""#,
                "/count: the value is greater than the maximum of 3"
            ]
        );
        assert_eq!(errors(schema, json!({})), [r#""branch" is a required property"#]);
        assert_eq!(errors(json!({"type": "string"}), json!("")), [""; 0]);
        assert_eq!(check(None, &json!([1])).unwrap(), []);
    }

    #[test]
    fn large_answers_and_long_messages_are_cut() {
        let large = json!("a".repeat(ANSWER_BYTES_MAX));
        assert_eq!(check(None, &large).unwrap().len(), 1);
        let long: Vec<_> = (0..200).map(|at| format!("option-{at}")).collect();
        let found = errors(json!({"enum": long, "pattern": "^x"}), json!("a"));
        assert!(found.iter().all(|error| error.chars().count() <= MESSAGE_CHARS_MAX + 3), "{found:?}");
        let many = json!(vec![1; 100]);
        assert_eq!(errors(json!({"items": {"type": "string"}}), many).len(), ERRORS_MAX);
    }

    #[test]
    fn schemas_that_are_no_bounded_trees_are_refused() {
        let refused = |schema: Value| AnswerSchema::compile(&schema).unwrap_err().to_string();
        let deep = (0..SCHEMA_DEPTH_MAX).fold(json!(true), |inner, _| json!({"items": inner}));
        assert_eq!(refused(deep), "the schema is nested more than 32 levels deep");
        assert_eq!(refused(json!({"const": "a".repeat(SCHEMA_BYTES_MAX)})), "the schema exceeds 16384 bytes");
        assert_eq!(
            refused(json!({"anyOf": [{"$ref": "#"}]})),
            "the schema has a $ref; write the part out where it is used"
        );
        assert!(refused(json!({"type": "text"})).starts_with("no JSON Schema at /type: \"text\" is not"));
        assert!(refused(json!("string")).starts_with("no JSON Schema: "));
        // Look-around would take another kind of engine, and exponential time.
        for pattern in ["(?=a)b", "((a{1000}){1000}){1000}"] {
            assert!(
                refused(json!({"pattern": pattern})).starts_with("no JSON Schema at /pattern: "),
                "{pattern}"
            );
        }
    }
}
