//! Values below members with key names: whatever they are, they are replaced.

use serde_json::Value;

use super::{Inner, Reach, Redactor, rules};
use crate::secrets::MARK;
use crate::template::SECRET_MEMBER;

impl Redactor {
    /// Whether a member of this name has a value that no event may have.
    pub(crate) fn names_a_secret(&self, name: &str) -> bool {
        self.marker_of_key(name).is_some()
    }

    /// What takes the place of the value of a member of this name.
    pub(super) fn marker_of_key(&self, name: &str) -> Option<&str> {
        let inner = self.inner.as_ref().filter(|inner| self.reach == Reach::All && !inner.keys.is_empty())?;
        inner.keys.get(&rules::normal(name)).map(String::as_str)
    }

    /// Puts a marker in the place of each text and number of a value; what stands for a secret stays.
    pub(super) fn hide(&self, value: &mut Value, marker: &str) {
        match value {
            Value::String(text) if !text.is_empty() && !self.is_marker(text) => marker.clone_into(text),
            Value::Number(_) => *value = Value::String(marker.to_owned()),
            Value::Array(items) => items.iter_mut().for_each(|item| self.hide(item, marker)),
            Value::Object(members) => match members.get(SECRET_MEMBER).and_then(Value::as_str) {
                Some(name) if members.len() == 1 && self.stands_for(name) => {}
                _ => members.values_mut().for_each(|member| self.hide(member, marker)),
            },
            Value::String(_) | Value::Null | Value::Bool(_) => {}
        }
    }

    /// Whether a text is a marker and nothing else, but for one word before it, as in `Bearer ***TOKEN***`.
    fn is_marker(&self, text: &str) -> bool {
        let text = text.trim();
        let behind =
            text.split_once(' ').filter(|(word, _)| word.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let marker = behind.map_or(text, |(_, rest)| rest.trim_start());
        let name = marker.strip_prefix(MARK).and_then(|rest| rest.strip_suffix(MARK));
        name.is_some_and(|name| self.stands_for(name))
    }

    /// Whether a marker of this name stands for something that this redactor replaces.
    pub(super) fn stands_for(&self, name: &str) -> bool {
        self.inner.as_ref().is_some_and(|inner: &std::sync::Arc<Inner>| inner.names.contains(name))
    }
}
