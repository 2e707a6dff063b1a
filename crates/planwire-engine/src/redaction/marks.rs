//! Which members of a payload hold markers: they go into the event's `meta.redacted`.
//!
//! Told from what the event says and not from what was done to it: values are replaced in many places before an event is
//! made of what is left, and a marker that a later step passes on stands for a removed value as well.

use std::collections::BTreeSet;

use planwire_event::Payload;
use serde_json::Value;

use super::Redactor;
use crate::secrets::{MARK, MARKER_NAME_BYTES_MAX};
use crate::template::SECRET_MEMBER;

/// Members of one payload that are named one by one. Where there are more, the members of the payload itself that they
/// are in are named in their place.
pub const POINTERS_MAX: usize = 32;
/// Bytes of a pointer. Of a longer one the beginning is named: a member that it is in.
pub const POINTER_BYTES_MAX: usize = 256;

impl Redactor {
    /// The members of a payload that hold markers of this redactor: JSON Pointers (RFC 6901), each once, sorted, at most
    /// [`POINTERS_MAX`].
    pub(crate) fn marked(&self, payload: &Payload) -> Vec<String> {
        let text = payload.as_str();
        if self.is_idle() || !(text.contains(MARK) || text.contains(SECRET_MEMBER)) {
            return Vec::new();
        }
        let mut marks = Marks { redactor: self, path: String::new(), found: BTreeSet::new() };
        marks.value(&payload.to_value());
        marks.into_pointers()
    }

    /// Whether a text holds a marker of this redactor.
    pub(crate) fn has_marker(&self, text: &[u8]) -> bool {
        let is_mark = |window: &[u8]| window == MARK.as_bytes();
        let begins = text.windows(MARK.len()).enumerate().filter(|(_, window)| is_mark(window));
        begins.map(|(at, _)| &text[at + MARK.len()..]).any(|rest| {
            let end = rest.windows(MARK.len()).take(MARKER_NAME_BYTES_MAX + 1).position(is_mark);
            end.is_some_and(|end| std::str::from_utf8(&rest[..end]).is_ok_and(|name| self.stands_for(name)))
        })
    }
}

struct Marks<'a> {
    redactor: &'a Redactor,
    /// Where the walk is, as a pointer.
    path: String,
    found: BTreeSet<String>,
}

impl Marks<'_> {
    fn value(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(at, item)| self.below(&at.to_string(), item));
            }
            Value::Object(members) => match members.get(SECRET_MEMBER).and_then(Value::as_str) {
                Some(name) if members.len() == 1 && self.redactor.stands_for(name) => self.add(),
                _ => members.iter().for_each(|(name, member)| {
                    self.below(name, member);
                    if self.redactor.has_marker(name.as_bytes()) {
                        self.within(name, Self::add);
                    }
                }),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn text(&mut self, text: &str) {
        if self.redactor.has_marker(text.as_bytes()) {
            self.add();
        }
    }

    fn below(&mut self, name: &str, member: &Value) {
        match member {
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
            _ => self.within(name, |marks| marks.value(member)),
        }
    }

    fn within(&mut self, name: &str, walk: impl FnOnce(&mut Self)) {
        let len = self.path.len();
        self.path.push('/');
        self.path.push_str(&name.replace('~', "~0").replace('/', "~1"));
        walk(self);
        self.path.truncate(len);
    }

    fn add(&mut self) {
        let mut pointer = self.path.as_str();
        while pointer.len() > POINTER_BYTES_MAX {
            pointer = pointer.rfind('/').map_or("", |at| &pointer[..at]);
        }
        self.found.insert(pointer.to_owned());
    }

    fn into_pointers(self) -> Vec<String> {
        if self.found.len() <= POINTERS_MAX {
            return self.found.into_iter().collect();
        }
        let first =
            |pointer: &String| pointer.split('/').nth(1).map_or_else(String::new, |name| format!("/{name}"));
        let first: BTreeSet<String> = self.found.iter().map(first).collect();
        first.into_iter().take(POINTERS_MAX).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::secrets::Secrets;

    fn marked(payload: &Value) -> Vec<String> {
        let secrets = Secrets::new([("TOKEN".to_owned(), "abcdef-1".to_owned())]).unwrap();
        secrets.redactor().marked(&Payload::of(payload).unwrap())
    }

    #[test]
    fn members_with_markers_are_named_by_pointers() {
        let payload = json!({
            "output": {"b/c": ["x", "a ***TOKEN***!"], "a~": {"$secret": "TOKEN"}, "***TOKEN***": 1, "plain": 2},
            "step": "********TOKEN****",
            "other": ["***TOKENS***", "***OTHER***", "** *TOKEN***", {"$secret": "OTHER"}, {"$secret": "TOKEN", "b": 1}],
        });
        let expected = ["/output/***TOKEN***", "/output/a~0", "/output/b~1c/1", "/step"];
        assert_eq!(marked(&payload), expected);
        assert!(Redactor::default().marked(&Payload::of(&payload).unwrap()).is_empty());
    }

    #[test]
    fn many_and_long_pointers_become_those_of_the_members_that_they_are_in() {
        let many = |count| vec!["***TOKEN***"; count];
        assert_eq!(marked(&json!({"output": many(POINTERS_MAX)})).len(), POINTERS_MAX);
        let payload = json!({"output": many(POINTERS_MAX), "arguments": {"a": "***TOKEN***"}});
        assert_eq!(marked(&payload), ["/arguments", "/output"]);
        let long = "n".repeat(POINTER_BYTES_MAX);
        assert_eq!(marked(&json!({"output": {"a": {long: {"b": "***TOKEN***"}}}})), ["/output/a"]);
    }
}
