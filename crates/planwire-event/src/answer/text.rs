//! From what somebody typed to a typed answer, by the schema of the question.

use serde_json::{Value, json};

use super::{AnswerError, AnswerSchema, SchemaError};
use crate::vocabulary::QuestionKind;

const YES: [&str; 8] = ["approve", "approved", "yes", "y", "true", "ok", "allow", "accept"];
const NO: [&str; 8] = ["deny", "denied", "no", "n", "false", "reject", "rejected", "decline"];

/// Why a text is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The schema of the question cannot be checked against.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Nothing that the text may mean fits the schema.
    #[error("{wanted} is asked for: {}", errors.first().map(ToString::to_string).unwrap_or_default())]
    Unfit {
        /// What is asked for, for people.
        wanted: String,
        /// What is wrong with the reading that is most likely meant; at least one.
        errors: Vec<AnswerError>,
    },
}

/// JSON Schema of the answer to an approval: `true`, `false`, a word for one of them, or an object with `approved`
/// and, if there is something to say, `comment`.
#[must_use]
pub fn approval_schema() -> Value {
    json!({
        "anyOf": [
            {"type": "boolean"},
            {"enum": ["approve", "deny", "yes", "no"]},
            {
                "type": "object",
                "properties": {"approved": {"type": "boolean"}, "comment": {"type": "string", "maxLength": 4000}},
                "required": ["approved"],
                "additionalProperties": false,
            },
        ],
    })
}

/// The answer to an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Whether leave was given.
    pub approved: bool,
    /// What was said about it.
    pub comment: String,
}

impl Approval {
    /// What an answer that fits [`approval_schema`] says; none if it says neither yes nor no.
    #[must_use]
    pub fn of(answer: &Value) -> Option<Self> {
        let (said, comment) = match answer {
            Value::Object(members) => {
                (members.get("approved")?, members.get("comment").and_then(Value::as_str))
            }
            said => (said, None),
        };
        let approved = match said {
            Value::Bool(approved) => *approved,
            Value::String(word) if YES.contains(&word.to_lowercase().as_str()) => true,
            Value::String(word) if NO.contains(&word.to_lowercase().as_str()) => false,
            _ => return None,
        };
        Some(Self { approved, comment: comment.unwrap_or_default().to_owned() })
    }
}

/// Reads a typed answer: yes and no (also as approve and deny) where a boolean or an approval is asked for, numbers,
/// one of the options in any case of letters, texts as they are, everything else as JSON.
///
/// # Errors
///
/// [`TextError`] if no reading fits the schema, or it cannot be checked against.
///
/// ```
/// use planwire_event::{answer::from_text, vocabulary::QuestionKind};
/// use serde_json::json;
///
/// let count = json!({"type": "integer"});
/// assert_eq!(from_text(QuestionKind::Input, Some(&count), " 42 "), Ok(json!(42)));
/// assert_eq!(from_text(QuestionKind::Approval, None, "Approve"), Ok(json!(true)));
/// assert_eq!(from_text(QuestionKind::Input, None, "42"), Ok(json!("42")));
/// ```
pub fn from_text(kind: QuestionKind, schema: Option<&Value>, text: &str) -> Result<Value, TextError> {
    let anything = Value::Bool(true);
    let compiled = AnswerSchema::compile(schema.unwrap_or(&anything))?;
    let mut first = None;
    for reading in readings(kind, schema, text) {
        let errors = compiled.check(&reading);
        if errors.is_empty() {
            return Ok(reading);
        }
        first.get_or_insert(errors);
    }
    let errors = first.unwrap_or_else(|| {
        let message = "the text is none of the words that are understood".to_owned();
        vec![AnswerError { path: String::new(), message }]
    });
    Err(TextError::Unfit { wanted: wanted(kind, schema), errors })
}

/// What a text may mean, the likeliest first.
fn readings(kind: QuestionKind, schema: Option<&Value>, text: &str) -> Vec<Value> {
    let trimmed = text.trim();
    let types = types_of(schema);
    let asks = |name: &str| types.contains(&name);
    let word = trimmed.to_lowercase();
    let parsed = || serde_json::from_str::<Value>(trimmed).ok();
    let mut readings = Vec::new();
    if kind == QuestionKind::Approval || asks("boolean") {
        readings.extend(YES.contains(&word.as_str()).then_some(Value::Bool(true)));
        readings.extend(NO.contains(&word.as_str()).then_some(Value::Bool(false)));
    }
    for option in options_of(schema) {
        let is_meant = match option {
            Value::String(option) => option.to_lowercase() == word,
            option => parsed().as_ref() == Some(option),
        };
        readings.extend(is_meant.then(|| option.clone()));
    }
    if asks("integer") || asks("number") {
        readings.extend(parsed().filter(Value::is_number));
    }
    if kind == QuestionKind::Approval && schema.is_none() {
        // Anything else would be a text that nobody can tell a yes or a no from.
        readings.extend(parsed().filter(|value| value["approved"].is_boolean()));
        return readings;
    }
    let may_be_text = types.is_empty() || asks("string");
    // `{..}` where no text is asked for by name is hardly meant as a text.
    if !asks("string") && (trimmed.starts_with(['{', '[']) || !may_be_text) {
        readings.extend(parsed());
    }
    if may_be_text {
        readings.push(Value::String(text.trim_end_matches(['\r', '\n']).to_owned()));
        readings.push(Value::String(trimmed.to_owned()));
    }
    readings.extend(parsed());
    if readings.is_empty() {
        readings.push(Value::String(trimmed.to_owned()));
    }
    readings
}

/// What is asked for, for people: "one of main, next", "a whole number" ...
#[must_use]
pub fn wanted(kind: QuestionKind, schema: Option<&Value>) -> String {
    if kind == QuestionKind::Approval {
        return "approve or deny".to_owned();
    }
    let options: Vec<String> = options_of(schema)
        .map(|option| match option {
            Value::String(option) => option.clone(),
            option => option.to_string(),
        })
        .collect();
    if !options.is_empty() {
        return format!("one of {}", options.join(", "));
    }
    let names: Vec<_> = types_of(schema).into_iter().map(name_of).collect();
    if names.is_empty() { "an answer".to_owned() } else { names.join(" or ") }
}

fn name_of(name: &str) -> &str {
    match name {
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "yes or no",
        "array" => "a list as JSON",
        "object" => "an object as JSON",
        other => other,
    }
}

fn types_of(schema: Option<&Value>) -> Vec<&str> {
    match schema.and_then(|schema| schema.get("type")) {
        Some(Value::String(name)) => vec![name.as_str()],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn options_of(schema: Option<&Value>) -> impl Iterator<Item = &Value> {
    let options = schema.and_then(|schema| schema.get("enum")).and_then(Value::as_array);
    options.into_iter().flatten().chain(schema.and_then(|schema| schema.get("const")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: QuestionKind, schema: Value, text: &str, expected: Result<Value, &str>) {
        let schema = Some(&schema).filter(|schema| !schema.is_null());
        let got = from_text(kind, schema, text).map_err(|error| error.to_string());
        assert_eq!(got, expected.map_err(str::to_owned), "{text:?}");
    }

    #[test]
    fn texts_become_what_the_schema_asks_for() {
        let input = |schema, text, expected| check(QuestionKind::Input, schema, text, expected);
        input(json!({"type": "boolean"}), "Yes", Ok(json!(true)));
        input(json!({"type": "boolean"}), " deny\n", Ok(json!(false)));
        input(json!({"type": "integer"}), "7", Ok(json!(7)));
        input(json!({"type": "number"}), "-7.5", Ok(json!(-7.5)));
        input(json!({"type": "string"}), "7", Ok(json!("7")));
        input(json!({"type": "string"}), " a \n", Ok(json!(" a ")));
        input(json!({"type": "string", "pattern": "^a$"}), " a ", Ok(json!("a")));
        input(json!({"type": ["integer", "string"]}), "7", Ok(json!(7)));
        input(json!({"type": ["integer", "string"]}), "many", Ok(json!("many")));
        input(json!({"enum": ["Main", 2]}), "main", Ok(json!("Main")));
        input(json!({"enum": ["Main", 2]}), "2", Ok(json!(2)));
        input(json!({"type": "array"}), "[1, 2]", Ok(json!([1, 2])));
        input(json!({"properties": {"a": {"type": "integer"}}}), r#"{"a": 1}"#, Ok(json!({"a": 1})));
        input(json!(null), "{", Ok(json!("{")));
        input(json!(null), "3", Ok(json!("3")));
    }

    #[test]
    fn approvals_are_a_yes_or_a_no() {
        let approval = |schema, text, expected| check(QuestionKind::Approval, schema, text, expected);
        for schema in [json!(null), approval_schema(), json!({"type": "boolean"})] {
            approval(schema.clone(), "APPROVE", Ok(json!(true)));
            approval(schema, "no", Ok(json!(false)));
        }
        let said = json!({"approved": false, "comment": "not today"});
        let text = said.to_string();
        approval(approval_schema(), &text, Ok(said.clone()));
        approval(json!(null), &text, Ok(said));
        for (answer, approved, comment) in [
            (json!(true), true, ""),
            (json!("No"), false, ""),
            (json!({"approved": false, "comment": "not today"}), false, "not today"),
        ] {
            assert_eq!(Approval::of(&answer), Some(Approval { approved, comment: comment.to_owned() }));
        }
        for neither in [json!(null), json!("perhaps"), json!({"comment": "yes"})] {
            assert_eq!(Approval::of(&neither), None);
        }
        let unclear = "approve or deny is asked for: the text is none of the words that are understood";
        approval(json!(null), "perhaps", Err(unclear));
        assert!(from_text(QuestionKind::Approval, Some(&approval_schema()), "perhaps").is_err());
    }

    #[test]
    fn what_does_not_fit_says_what_is_asked_for() {
        let refused = |schema, text, message| check(QuestionKind::Input, schema, text, Err(message));
        refused(
            json!({"type": "integer"}),
            "many",
            r#"a whole number is asked for: the value is not of type "integer""#,
        );
        refused(
            json!({"enum": ["a", "b"]}),
            "c",
            r#"one of a, b is asked for: the value is not one of "a" or "b""#,
        );
        refused(json!({"$ref": "#"}), "c", "the schema has a $ref; write the part out where it is used");
        refused(
            json!({"type": "boolean"}),
            "perhaps",
            r#"yes or no is asked for: the value is not of type "boolean""#,
        );
        assert_eq!(wanted(QuestionKind::Input, None), "an answer");
        assert_eq!(wanted(QuestionKind::Input, Some(&json!({"enum": [1, "b"]}))), "one of 1, b");
        let types = json!({"type": ["string", "number", "array", "object", "null", "boolean"]});
        let words = "a text or a number or a list as JSON or an object as JSON or null or yes or no";
        assert_eq!(wanted(QuestionKind::Auth, Some(&types)), words);
    }
}
