//! Redaction of payloads: everything but what the engine itself puts into them to hold events together.

use serde_json::Value;

use super::{Edges, Redactor};

/// Members that are ids, names of documents or words of the vocabulary: they come from the engine and from documents,
/// and a document that holds the value of a secret does not start; nor does a plan whose own id holds one.
const STRUCTURE: [&str; 19] = [
    "arguments_digest",
    "artifact_id",
    "call_id",
    "child_plan_id",
    "chosen",
    "decided_by",
    "decision_id",
    "decision_type",
    "document_digest",
    "executor_id",
    "expires_at",
    "for_plan_id",
    "kind",
    "media_type",
    "outcome",
    "parent_plan_id",
    "request_id",
    "step",
    "tool",
];

/// Members with values from outside, whose keys and numbers may be anything too.
const FOREIGN: [&str; 6] = ["arguments", "inputs", "message", "output", "outputs", "value"];
/// Members with values from outside whose keys describe something: a key name there names no value.
const DESCRIBING: [&str; 2] = ["schema", "usage"];

/// Replaces values of secrets in a payload; says whether there were any.
pub(crate) fn redact(redactor: &Redactor, payload: &mut Value) -> bool {
    let Value::Object(members) = payload else { return false };
    let before = members.clone();
    for (name, member) in members.iter_mut() {
        match name.as_str() {
            name if STRUCTURE.contains(&name) => {}
            // Of a failed plan it is a word, of everything else a text.
            "reason" if before.contains_key("error") => {}
            name if FOREIGN.contains(&name) => redactor.value(member, Edges::Whole),
            name if DESCRIBING.contains(&name) => redactor.of_texts().value(member, Edges::Whole),
            "part" => part(redactor, member),
            "origin" => origin(redactor, member),
            _ => redactor.texts(member),
        }
    }
    *members != before
}

fn part(redactor: &Redactor, part: &mut Value) {
    let Value::Object(members) = part else { return };
    for (name, member) in members.iter_mut() {
        match name.as_str() {
            "data" => redactor.value(member, Edges::Whole),
            // A digest and a size.
            "blob" => {}
            _ => redactor.texts(member),
        }
    }
}

fn origin(redactor: &Redactor, origin: &mut Value) {
    let Value::Object(members) = origin else { return };
    for (name, member) in members.iter_mut() {
        match name.as_str() {
            "protocol" => {}
            _ => redactor.value(member, Edges::Whole),
        }
    }
}
