//! The message of a request: everything that is wrong with it, at once.

use planwire_event::Payload;
use planwire_event::limits::OPEN_ID_BYTES_MAX;
use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::CONTEXT_ID_BYTES_MAX;
use super::members::{Members, TEXT_BYTES_MAX};
use crate::a2a::wire::{EXTENSION, Message};

/// Parts of a message.
const PARTS_MAX: usize = 1_000;

/// The contents that a part may have, one of them.
const CONTENTS: [&str; 4] = ["text", "raw", "url", "data"];

/// Which question a message answers, as far as it says so in what our extension reads of its metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Naming {
    pub(crate) request_id: Option<String>,
    /// The digest of the arguments that the answer is about.
    pub(crate) arguments_digest: Option<String>,
}

/// Reads `message`; notes what does not fit.
pub(super) fn read(members: &mut Members<'_>) -> Option<(Message, Value, Naming)> {
    let Some(object) = members.object("message") else {
        if !members.is_given("message") {
            members.violation("message", "is required");
        }
        return None;
    };
    let mut inner = members.inner("message", object);
    inner.required_text("messageId");
    for id in ["contextId", "taskId"] {
        if let Some(text) = inner.text(id, CONTEXT_ID_BYTES_MAX)
            && !text.is_empty()
            && !text.bytes().all(|byte| byte.is_ascii_graphic())
        {
            inner.violation(id, "must be printable ASCII without spaces");
        }
    }
    role(&mut inner);
    parts(&mut inner);
    let naming = naming(&mut inner);
    inner.texts("extensions", TEXT_BYTES_MAX);
    inner.texts("referenceTaskIds", TEXT_BYTES_MAX);
    members.take_violations(inner);
    let (message, json) = parsed(members, object)?;
    Some((message, json, naming))
}

/// What is not read rightly would answer another question than the one that is meant.
fn naming(message: &mut Members<'_>) -> Naming {
    let metadata = message.object("metadata");
    let Some(about) = metadata.and_then(|metadata| metadata.get(EXTENSION)).filter(|about| !about.is_null())
    else {
        return Naming::default();
    };
    let path = format!("metadata[\"{EXTENSION}\"]");
    let Some(about) = about.as_object() else {
        message.violation(&path, "must be an object");
        return Naming::default();
    };
    let mut inner = message.inner(&path, about);
    let request_id = inner.text("requestId", OPEN_ID_BYTES_MAX);
    let arguments_digest = inner.text("argumentsDigest", TEXT_BYTES_MAX);
    message.take_violations(inner);
    Naming { request_id, arguments_digest }
}

fn role(message: &mut Members<'_>) {
    match message.value("role").and_then(Value::as_str) {
        Some("ROLE_USER") => {}
        Some("ROLE_AGENT") => message.violation("role", "is that of answers; a client sends ROLE_USER"),
        _ => message.violation("role", "must be ROLE_USER"),
    }
}

fn parts(message: &mut Members<'_>) {
    let parts = match message.value("parts") {
        Some(Value::Array(parts)) if !parts.is_empty() && parts.len() <= PARTS_MAX => parts,
        None => return message.violation("parts", "is required: a message has at least one part"),
        Some(Value::Array(parts)) if parts.is_empty() => {
            return message.violation("parts", "must have at least one part");
        }
        Some(_) => return message.violation("parts", format!("must be an array of 1 to {PARTS_MAX} parts")),
    };
    for (at, part) in parts.iter().enumerate() {
        let name = format!("parts[{at}]");
        let Some(object) = part.as_object() else {
            message.violation(&name, "must be an object");
            continue;
        };
        let mut inner = message.inner(&name, object);
        content(&mut inner, object);
        inner.object("metadata");
        inner.text("filename", TEXT_BYTES_MAX);
        inner.text("mediaType", TEXT_BYTES_MAX);
        message.take_violations(inner);
    }
}

/// Exactly one content. A null is a value of `data` and none of the others.
fn content(part: &mut Members<'_>, object: &Map<String, Value>) {
    let is_there = |name: &&str| match object.get(*name) {
        Some(Value::Null) => *name == "data",
        found => found.is_some(),
    };
    let given: Vec<_> = CONTENTS.into_iter().filter(is_there).collect();
    match *given {
        ["data"] => {}
        ["raw"] => {
            if !part.value("raw").and_then(Value::as_str).is_some_and(is_base64) {
                part.violation("raw", "must be base64");
            }
        }
        [name] => {
            if !part.value(name).is_some_and(Value::is_string) {
                part.violation(name, "must be a string");
            }
        }
        _ => part.violation("", "must have exactly one of text, raw, url, data"),
    }
}

/// Both alphabets, with or without padding, as ProtoJSON allows.
fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    let fits = padding == 0 || text.len().is_multiple_of(4);
    body.bytes().all(known) && body.len() % 4 != 1 && padding <= 2 && fits
}

fn parsed(members: &mut Members<'_>, object: &Map<String, Value>) -> Option<(Message, Value)> {
    let json = Value::Object(object.clone());
    // What an event could not say cannot be kept: U+0000, integers beyond 64 bits, depth, size.
    if let Err(error) = Payload::of(&json) {
        members.violation("message", error.to_string());
        return None;
    }
    match Message::deserialize(&json) {
        Ok(mut message) => {
            message.context_id = message.context_id.filter(|id| !id.is_empty());
            message.task_id = message.task_id.filter(|id| !id.is_empty());
            Some((message, json))
        }
        // Whatever it is, it has been named; this is for what the wire form knows and the checks above do not.
        Err(error) => {
            members.note_once("message", error.to_string());
            None
        }
    }
}
