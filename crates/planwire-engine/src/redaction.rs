//! Redaction: replaces the values of secrets wherever they turn up, and what looks like one ([`Rules`]).
//!
//! A value is found as it is, in Base64 at any offset and in hexadecimal (`needles`); and all of these where a text is
//! percent-encoded, escaped as in JSON, C or HTML, broken into lines, or of wide characters (`views`), alone or one in
//! the other, in capitals or small letters. `***NAME***` takes the place of what is found. What a cut leaves of a value
//! is found where it is known that a text was cut (`edges`); `finder` looks through one view. **Invariant:** what
//! [`Redactor`] gives back holds no form of a value that it looks for.
//!
//! The time grows with the length of a text and the number of views that differ; forms together have at most
//! [`NEEDLES_BYTES_MAX`].

mod edges;
mod finder;
mod keys;
mod marks;
mod needles;
mod patterns;
mod payload;
mod rules;
mod views;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;

use crate::secrets::{MARK, SecretsError, marker};
use finder::Finder;
use needles::Needle;
use views::View;

pub(crate) use edges::Edges;
pub use edges::{PARTIAL_BYTES_MIN, PIECE_BYTES_MIN};
pub use marks::{POINTER_BYTES_MAX, POINTERS_MAX};
pub use patterns::KINDS;
pub(crate) use payload::redact as redact_payload;
pub use rules::{KEYS, KEYS_MAX, Rules, VARIABLE_BYTES_MAX, VARIABLE_BYTES_MIN, VARIABLES_MAX, is_key};

/// Bytes of all forms that are looked for. A value has about eleven times its own bytes of forms, a key of several
/// lines twice that.
pub const NEEDLES_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Finds the values of secrets and what looks like one, and replaces them. Cheap to clone.
#[derive(Clone, Default)]
pub struct Redactor {
    inner: Option<Arc<Inner>>,
    reach: Reach,
}

/// What a redactor replaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reach {
    /// All that it knows.
    #[default]
    All,
    /// Also known tokens, but not what key names name.
    Texts,
    /// Values alone.
    Values,
}

struct Inner {
    finder: Finder,
    /// What takes the place of each secret and variable, by the number that its needles carry, and then of each kind of
    /// token.
    markers: Vec<String>,
    /// Where those of tokens begin; none are looked for if there are none.
    tokens_at: usize,
    /// What takes the place of what key names name, by the name as it is compared.
    keys: BTreeMap<String, String>,
    /// What stands between the stars of all markers.
    names: BTreeSet<String>,
    /// The markers that hold a value in other letters: what is found in one of them stays, or it would grow each time.
    own_names: Vec<String>,
}

impl Redactor {
    /// `lost`: the names of secrets whose values are not known any more, but whose markers stand in events.
    pub(crate) fn new(
        values: &BTreeMap<String, String>,
        lost: &BTreeSet<String>,
        rules: &Rules,
    ) -> Result<Self, SecretsError> {
        if values.is_empty() && lost.is_empty() && *rules == Rules::none() {
            return Ok(Self::default());
        }
        let mut markers: Vec<String> = values.keys().map(|name| marker(name)).collect();
        let mut needles: Vec<Needle> =
            values.values().enumerate().flat_map(|(secret, value)| needles::of(secret, value)).collect();
        let len_bytes = needles.iter().map(|needle| needle.bytes.len()).sum();
        if len_bytes > NEEDLES_BYTES_MAX {
            return Err(SecretsError::TooLarge { len_bytes });
        }
        let in_marker = |needle: &&Needle| markers.iter().any(|marker| marker_holds(marker, &needle.bytes));
        if let Some(needle) = needles.iter().find(in_marker) {
            let name = values.keys().nth(needle.secret).cloned().unwrap_or_default();
            return Err(SecretsError::InMarker { name });
        }
        // Of these there are few, they are short, and one that its own marker holds is found there and left.
        for (at, (name, value)) in rules.variables.iter().enumerate() {
            markers.push(marker(name));
            needles.extend(needles::of(values.len() + at, value));
        }
        let tokens_at = markers.len();
        markers.extend(KINDS.iter().filter(|_| rules.patterns).map(|kind| marker(kind)));
        let keys = rules.markers_of_keys()?;
        let finder = Finder::new(needles);
        let small = |marker: &&String| {
            let marker = marker.to_ascii_lowercase();
            finder.needles().iter().any(|needle| marker_holds(&marker, &needle.bytes))
        };
        let all = || markers.iter().chain(keys.values());
        let own_names = all().filter(small).cloned().collect();
        let name = |marker: &String| marker.trim_start_matches(MARK).trim_end_matches(MARK).to_owned();
        let names = all().map(name).chain(lost.iter().cloned()).collect();
        let inner = Inner { finder, markers, tokens_at, keys, names, own_names };
        Ok(Self { inner: Some(Arc::new(inner)), reach: Reach::All })
    }

    /// Whether there is nothing to look for.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.inner.is_none()
    }

    /// The same for values of secrets and variables alone: what was written as it is meant may look like a token.
    pub(crate) fn of_values(&self) -> Self {
        Self { reach: Reach::Values, ..self.clone() }
    }

    /// The same without regard to key names: for what describes members by their names, as a schema does.
    fn of_texts(&self) -> Self {
        Self { reach: Reach::Texts, ..self.clone() }
    }

    /// `text` without values of secrets.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.cut_text(text, Edges::Whole)
    }

    /// `text` without values of secrets, and without what is left of one at an edge where it was cut.
    pub(crate) fn cut_text<'a>(&self, text: &'a str, edges: Edges) -> Cow<'a, str> {
        match self.cut_bytes(text.as_bytes(), edges) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(bytes) => Cow::Owned(lossy(bytes)),
        }
    }

    /// `bytes` without values of secrets.
    #[must_use]
    pub fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        self.cut_bytes(bytes, Edges::Whole)
    }

    /// As [`Redactor::cut_text`]. Bytes that may be no text are looked through before what is none is replaced in them.
    pub(crate) fn cut_bytes<'a>(&self, bytes: &'a [u8], edges: Edges) -> Cow<'a, [u8]> {
        let Some(inner) = &self.inner else { return Cow::Borrowed(bytes) };
        let found = inner.found(bytes, edges, self.reach);
        if found.is_empty() {
            Cow::Borrowed(bytes)
        } else {
            Cow::Owned(inner.replace(bytes, 0..bytes.len(), &found))
        }
    }

    /// Texts that follow one another, without values of secrets, also such as begin in one and end in another.
    pub(crate) fn texts_in_a_row(&self, texts: Vec<String>) -> Vec<String> {
        let Some(inner) = &self.inner else { return texts };
        let whole = texts.concat();
        let found = inner.found(whole.as_bytes(), Edges::Whole, self.reach);
        if found.is_empty() {
            return texts;
        }
        let mut at = 0;
        let part = |text: String| {
            let range = at..at + text.len();
            at = range.end;
            lossy(inner.replace(whole.as_bytes(), range, &found))
        };
        texts.into_iter().map(part).collect()
    }

    /// Replaces values in all texts of `value`, its keys and numbers included, and all below key names.
    pub(crate) fn value(&self, value: &mut Value, edges: Edges) {
        if self.is_idle() {
            return;
        }
        match value {
            Value::String(text) => self.string(text, edges),
            Value::Number(number) => {
                let digits = number.to_string();
                if let Cow::Owned(marked) = self.text(&digits) {
                    *value = Value::String(marked);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item, edges)),
            Value::Object(members) => {
                if members.keys().any(|key| matches!(self.text(key), Cow::Owned(_))) {
                    *members = std::mem::take(members)
                        .into_iter()
                        .map(|(key, member)| (self.text(&key).into_owned(), member))
                        .collect();
                }
                for (key, member) in members.iter_mut() {
                    self.value(member, edges);
                    if let Some(marker) = self.marker_of_key(key) {
                        self.hide(member, marker);
                    }
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Replaces values in all texts of `value`; keys and numbers stay.
    fn texts(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.string(text, Edges::Whole),
            Value::Array(items) => items.iter_mut().for_each(|item| self.texts(item)),
            Value::Object(members) => members.values_mut().for_each(|member| self.texts(member)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn string(&self, text: &mut String, edges: Edges) {
        if let Cow::Owned(marked) = self.cut_text(text, edges) {
            *text = marked;
        }
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let markers = self.inner.as_ref().map(|inner| &inner.markers[..inner.tokens_at]);
        f.debug_tuple("Redactor").field(&markers).finish()
    }
}

/// Text of bytes; what is none is replaced.
pub(crate) fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn marker_holds(marker: &str, bytes: &[u8]) -> bool {
    marker.as_bytes().windows(bytes.len()).any(|window| window == bytes)
}

/// Bytes of the source that hold a value, and which secret it is.
type Found = (Range<usize>, usize);

/// One look through a source and all that it decodes to.
struct Search<'a> {
    inner: &'a Inner,
    /// Bytes of the source.
    len: usize,
    edges: Edges,
    found: Vec<Found>,
    /// Hashes of the views that were seen, and how deep: most ways to decode can be taken in any order.
    seen: HashMap<u64, usize>,
    hasher: RandomState,
}

impl Search<'_> {
    /// Looks through a view, and through what it is when it is decoded once more.
    fn view(&mut self, view: &View<'_>, nesting_left: usize) {
        let seen = self.seen.entry(self.hasher.hash_one(view.bytes())).or_default();
        // 0: not at all; 1: the view alone; 2: once more decoded ...
        if *seen > nesting_left {
            return;
        }
        *seen = nesting_left + 1;
        let bytes = view.bytes();
        self.inner.finder.each(bytes, self.edges, |hit, secret| {
            if self.inner.is_own_name(bytes, &hit) {
                return;
            }
            let mut source = view.source(hit.clone());
            if self.edges != Edges::Whole && bytes[hit.end..].iter().all(u8::is_ascii_whitespace) {
                // Half an escape behind it belongs to it too.
                source.end = self.len;
            }
            self.found.push((source, secret));
        });
        if nesting_left > 0 {
            let is_cut = self.edges != Edges::Whole;
            view.decoded(is_cut, |decoded| self.view(decoded, nesting_left - 1));
        }
    }
}

impl Inner {
    /// Whether a place is in a marker whose name is its value in other letters.
    fn is_own_name(&self, text: &[u8], hit: &Range<usize>) -> bool {
        let around = |marker: &String| {
            let first = hit.end.saturating_sub(marker.len());
            (first..=hit.start).any(|at| text[at..].starts_with(marker.as_bytes()))
        };
        self.own_names.iter().any(around)
    }

    /// The parts of a source that hold values, in order and apart from one another.
    fn found(&self, bytes: &[u8], edges: Edges, reach: Reach) -> Vec<Found> {
        let mut found = Vec::new();
        if !self.finder.needles().is_empty() {
            let (seen, hasher) = (HashMap::new(), RandomState::new());
            let mut search = Search { inner: self, len: bytes.len(), edges, found, seen, hasher };
            search.view(&View::plain(bytes), views::NESTING_MAX);
            found = search.found;
        }
        if reach != Reach::Values && self.tokens_at < self.markers.len() {
            patterns::each(bytes, edges, |place, kind| found.push((place, self.tokens_at + kind)));
        }
        // The longest of those that begin together names the secret; what overlaps becomes one.
        found.sort_by_key(|(range, secret)| (range.start, usize::MAX - range.end, *secret));
        let mut apart: Vec<Found> = Vec::new();
        for (range, secret) in found {
            match apart.last_mut() {
                Some((last, _)) if range.start < last.end => last.end = last.end.max(range.end),
                _ => apart.push((range, secret)),
            }
        }
        apart
    }

    /// A part of a source with markers in the place of what was found; one that begins before it has none here.
    fn replace(&self, bytes: &[u8], part: Range<usize>, found: &[Found]) -> Vec<u8> {
        let mut marked = Vec::with_capacity(part.len());
        let mut done = part.start;
        let first = found.partition_point(|(range, _)| range.end <= part.start);
        for (range, secret) in &found[first..] {
            if range.start >= part.end {
                break;
            }
            if range.start >= part.start {
                marked.extend_from_slice(&bytes[done..range.start]);
                marked.extend_from_slice(self.markers[*secret].as_bytes());
            }
            done = range.end.min(part.end);
        }
        marked.extend_from_slice(&bytes[done..part.end]);
        marked
    }
}

#[cfg(test)]
#[path = "redaction/tests.rs"]
mod tests;
