//! The members of a JSON object, read one after the other; what does not fit is noted and named at the end.

use serde_json::{Map, Value};

use crate::a2a::error::{A2aError, FieldViolation};

/// Bytes of a text where nothing else is said.
pub(super) const TEXT_BYTES_MAX: usize = 256;

/// Violations that an answer names.
const VIOLATIONS_MAX: usize = 20;

/// The members of an object. Unknown ones are ignored, null is the same as absent, as ProtoJSON has it.
pub(super) struct Members<'a> {
    path: String,
    object: &'a Map<String, Value>,
    violations: Vec<FieldViolation>,
}

impl<'a> Members<'a> {
    pub(super) fn new(object: &'a Map<String, Value>) -> Self {
        Self { path: String::new(), object, violations: Vec::new() }
    }

    /// The members of an object within this one; its violations come back by [`Members::take_violations`].
    pub(super) fn inner(&self, name: &str, object: &'a Map<String, Value>) -> Self {
        Self { path: self.path_of(name), object, violations: Vec::new() }
    }

    pub(super) fn take_violations(&mut self, inner: Self) {
        for violation in inner.violations {
            self.note(violation);
        }
    }

    pub(super) fn violation(&mut self, name: &str, description: impl Into<String>) {
        let field = self.path_of(name);
        self.note(FieldViolation { field, description: description.into() });
    }

    /// Notes a violation if there is none yet.
    pub(super) fn note_once(&mut self, name: &str, description: String) {
        if self.violations.is_empty() {
            self.violation(name, description);
        }
    }

    fn note(&mut self, violation: FieldViolation) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(violation);
        }
    }

    fn path_of(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path if name.is_empty() => path.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    pub(super) fn value(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn is_given(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    pub(super) fn text(&mut self, name: &str, bytes_max: usize) -> Option<String> {
        match self.value(name)? {
            Value::String(text) if text.len() <= bytes_max => return Some(text.clone()),
            Value::String(_) => self.violation(name, format!("has more than {bytes_max} bytes")),
            _ => self.violation(name, "must be a string"),
        }
        None
    }

    /// A text that must be there and not be empty; empty if it is not.
    pub(super) fn required_text(&mut self, name: &str) -> String {
        let known = self.violations.len();
        let text = self.text(name, TEXT_BYTES_MAX).unwrap_or_default();
        if text.is_empty() && self.violations.len() == known {
            self.violation(name, "is required and must not be empty");
        }
        text
    }

    pub(super) fn texts(&mut self, name: &str, items_max: usize) -> Vec<String> {
        let Some(value) = self.value(name) else { return Vec::new() };
        let texts = value.as_array().filter(|items| items.len() <= items_max).and_then(|items| {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        texts.unwrap_or_else(|| {
            self.violation(name, format!("must be an array of at most {items_max} strings"));
            Vec::new()
        })
    }

    pub(super) fn object(&mut self, name: &str) -> Option<&'a Map<String, Value>> {
        match self.value(name)? {
            Value::Object(object) => Some(object),
            _ => {
                self.violation(name, "must be an object");
                None
            }
        }
    }

    /// A number of things; ProtoJSON allows it as a string too.
    pub(super) fn count(&mut self, name: &str) -> Option<u32> {
        let value = self.value(name)?;
        let number = match value {
            Value::String(text) => text.parse().ok(),
            Value::Number(number) => number.as_f64(),
            _ => None,
        };
        let count =
            number.filter(|number| number.fract() == 0.0 && (0.0..=f64::from(i32::MAX)).contains(number));
        if count.is_none() {
            self.violation(name, "must be a whole number, 0 or more");
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and within i32")]
        count.map(|number| number as u32)
    }

    pub(super) fn flag(&mut self, name: &str) -> bool {
        match self.value(name) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.violation(name, "must be true or false");
                false
            }
        }
    }

    pub(super) fn finish(self) -> Result<(), A2aError> {
        if self.violations.is_empty() { Ok(()) } else { Err(A2aError::invalid(self.violations)) }
    }
}
