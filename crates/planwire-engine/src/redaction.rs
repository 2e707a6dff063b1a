//! Redaction: replaces the values of secrets wherever they turn up.
//!
//! A value is found as it is, in Base64 at any offset and in hexadecimal ([`needles`]); and all of these where a text
//! is percent-encoded, escaped as in JSON, or broken into lines ([`views`]), alone or one in the other. `***NAME***`
//! takes the place of what is found. **Invariant:** what [`Redactor`] gives back holds no form of a value that it
//! looks for.

mod needles;
mod payload;
mod views;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use serde_json::Value;

use crate::secrets::{SecretsError, marker};
use needles::Needle;
use views::View;

pub(crate) use payload::redact as redact_payload;

/// Bytes at the end of a text that was cut which are taken for the beginning of a secret; half of a short one will do.
pub const PARTIAL_BYTES_MIN: usize = 8;

/// Finds the values of secrets and replaces them. Cheap to clone.
#[derive(Clone, Default)]
pub struct Redactor(Option<Arc<Inner>>);

struct Inner {
    needles: Vec<Needle>,
    /// What takes the place of each secret, by the number that its needles carry.
    markers: Vec<String>,
    finder: AhoCorasick,
}

impl Redactor {
    pub(crate) fn new(values: &BTreeMap<String, String>) -> Result<Self, SecretsError> {
        if values.is_empty() {
            return Ok(Self(None));
        }
        let markers: Vec<String> = values.keys().map(|name| marker(name)).collect();
        let needles: Vec<Needle> =
            values.values().enumerate().flat_map(|(secret, value)| needles::of(secret, value)).collect();
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(needles.iter().map(|needle| &needle.bytes))
            .map_err(|_| SecretsError::TooLarge)?;
        let found = markers.iter().find_map(|marker| finder.find(marker));
        if let Some(found) = found {
            let secret = needles[found.pattern().as_usize()].secret;
            let name = values.keys().nth(secret).cloned().unwrap_or_default();
            return Err(SecretsError::InMarker { name });
        }
        Ok(Self(Some(Arc::new(Inner { needles, markers, finder }))))
    }

    /// Whether there is nothing to look for.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.0.is_none()
    }

    /// `text` without values of secrets.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.cut_text(text, false)
    }

    /// `text` without values of secrets; if it `is_cut`, also without the beginning of one at its end.
    pub(crate) fn cut_text<'a>(&self, text: &'a str, is_cut: bool) -> Cow<'a, str> {
        match self.bytes_of(text.as_bytes(), is_cut) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(bytes) => Cow::Owned(
                String::from_utf8(bytes)
                    .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
            ),
        }
    }

    /// `bytes` without values of secrets.
    #[must_use]
    pub fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        self.bytes_of(bytes, false)
    }

    fn bytes_of<'a>(&self, bytes: &'a [u8], is_cut: bool) -> Cow<'a, [u8]> {
        let Some(inner) = &self.0 else { return Cow::Borrowed(bytes) };
        let mut found = Vec::new();
        inner.search(&View::plain(bytes), views::NESTING_MAX, &mut found);
        if is_cut {
            found.extend(inner.cut_end(bytes));
        }
        if found.is_empty() { Cow::Borrowed(bytes) } else { Cow::Owned(inner.replace(bytes, found)) }
    }

    /// Replaces values in all texts of `value`, its keys and numbers included.
    pub(crate) fn value(&self, value: &mut Value, is_cut: bool) {
        if self.is_idle() {
            return;
        }
        match value {
            Value::String(text) => self.string(text, is_cut),
            Value::Number(number) => {
                let digits = number.to_string();
                if let Cow::Owned(marked) = self.text(&digits) {
                    *value = Value::String(marked);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item, is_cut)),
            Value::Object(members) => {
                if members.keys().any(|key| matches!(self.text(key), Cow::Owned(_))) {
                    *members = std::mem::take(members)
                        .into_iter()
                        .map(|(key, member)| (self.text(&key).into_owned(), member))
                        .collect();
                }
                members.values_mut().for_each(|member| self.value(member, is_cut));
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Replaces values in all texts of `value`; keys and numbers stay.
    fn texts(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.string(text, false),
            Value::Array(items) => items.iter_mut().for_each(|item| self.texts(item)),
            Value::Object(members) => members.values_mut().for_each(|member| self.texts(member)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn string(&self, text: &mut String, is_cut: bool) {
        if let Cow::Owned(marked) = self.cut_text(text, is_cut) {
            *text = marked;
        }
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let markers = self.0.as_ref().map(|inner| &inner.markers);
        f.debug_tuple("Redactor").field(&markers).finish()
    }
}

/// Bytes of the source that hold a value, and which secret it is.
type Found = (Range<usize>, usize);

impl Inner {
    /// Looks through a view, and through what it is when it is decoded once more.
    fn search(&self, view: &View<'_>, nesting_left: usize, found: &mut Vec<Found>) {
        let matches = self.finder.find_iter(view.bytes());
        found.extend(
            matches.map(|hit| {
                (view.source(hit.start()..hit.end()), self.needles[hit.pattern().as_usize()].secret)
            }),
        );
        if nesting_left > 0 {
            view.decoded(|decoded| self.search(&decoded, nesting_left - 1, found));
        }
    }

    /// The end of a cut text that is the beginning of a value.
    fn cut_end(&self, bytes: &[u8]) -> Option<Found> {
        let mut best: Option<Found> = None;
        let mut see = |view: &View<'_>| {
            for needle in &self.needles {
                if let Some(len) = needle.cut_at_end_of(view.bytes()) {
                    let start = view.source(view.bytes().len() - len..view.bytes().len()).start;
                    if best.as_ref().is_none_or(|(range, _)| start < range.start) {
                        best = Some((start..bytes.len(), needle.secret));
                    }
                }
            }
        };
        let plain = View::plain(bytes);
        see(&plain);
        plain.without_cut_escape().decoded(|decoded| see(&decoded));
        best
    }

    fn replace(&self, bytes: &[u8], mut found: Vec<Found>) -> Vec<u8> {
        // The longest of those that begin together names the secret; what overlaps becomes one.
        found.sort_by_key(|(range, secret)| (range.start, usize::MAX - range.end, *secret));
        let mut marked = Vec::with_capacity(bytes.len());
        let mut done = 0;
        for (range, secret) in found {
            if range.start >= done {
                marked.extend_from_slice(&bytes[done..range.start]);
                marked.extend_from_slice(self.markers[secret].as_bytes());
            }
            done = done.max(range.end);
        }
        marked.extend_from_slice(&bytes[done..]);
        marked
    }
}

#[cfg(test)]
#[path = "redaction/tests.rs"]
mod tests;
