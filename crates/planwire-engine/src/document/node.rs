//! YAML and JSON as a tree whose every node knows its place.
//!
//! Both are read by one parser: JSON is YAML. What could grow without bound or would be read differently by other
//! tools is refused: anchors, aliases, tags, duplicate keys, deep nesting, a second document.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Number, Value};

use super::diagnostic::{Diagnostic, quoted};
use super::source::{Place, Source, Style};

/// Nesting of a document file.
pub const NODE_DEPTH_MAX: usize = 64;
/// Values of a document file.
pub const NODES_MAX: usize = 100_000;
/// Bytes of one key.
const KEY_BYTES_MAX: usize = 512;

const BEGIN_HINT: &str = "a plan document begins with plan:, goal: and steps:";

/// A value with its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: NodeValue,
}

/// A value.
#[derive(Debug)]
pub(super) enum NodeValue {
    Null,
    Bool(bool),
    Number(Number),
    Text(String, Style),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key with its place.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) place: Place,
}

impl Node {
    /// What the value is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            NodeValue::Null => "nothing",
            NodeValue::Bool(_) => "true or false",
            NodeValue::Number(_) => "a number",
            NodeValue::Text(..) => "a text",
            NodeValue::List(_) => "a list",
            NodeValue::Map(_) => "a mapping",
        }
    }

    /// The member called `name` of a mapping.
    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        let NodeValue::Map(members) = &self.value else { return None };
        members.iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    /// The value alone.
    pub(super) fn to_value(&self) -> Value {
        match &self.value {
            NodeValue::Null => Value::Null,
            NodeValue::Bool(value) => Value::Bool(*value),
            NodeValue::Number(number) => Value::Number(number.clone()),
            NodeValue::Text(text, _) => Value::String(text.clone()),
            NodeValue::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            NodeValue::Map(members) => {
                Value::Object(members.iter().map(|(key, node)| (key.name.clone(), node.to_value())).collect())
            }
        }
    }

    /// A tree without places, from a stored body.
    pub(super) fn of_value(value: Value) -> Self {
        let value = match value {
            Value::Null => NodeValue::Null,
            Value::Bool(value) => NodeValue::Bool(value),
            Value::Number(number) => NodeValue::Number(number),
            Value::String(text) => NodeValue::Text(text, Style::Nowhere),
            Value::Array(items) => NodeValue::List(items.into_iter().map(Self::of_value).collect()),
            Value::Object(members) => NodeValue::Map(
                members
                    .into_iter()
                    .map(|(name, value)| (Key { name, place: Place::START }, Self::of_value(value)))
                    .collect(),
            ),
        };
        Self { place: Place::START, value }
    }
}

/// Reads a file.
pub(super) fn read(source: &Source) -> Result<Node, Diagnostic> {
    if source.text.trim().is_empty() {
        return Err(Diagnostic::new(source, Place::START, "the file is empty").hint(BEGIN_HINT));
    }
    if source.text.trim_start().starts_with('{') && source.name.to_ascii_lowercase().ends_with(".json") {
        check_json(source)?;
    }
    Builder { source, open: Vec::new(), root: None, nodes: 0 }.run()
}

/// YAML allows more than JSON does, such as a comma at the end of a list.
fn check_json(source: &Source) -> Result<(), Diagnostic> {
    match serde_json::from_str::<serde::de::IgnoredAny>(&source.text) {
        Ok(_) => Ok(()),
        Err(error) => {
            let place = Place { line: error.line().max(1), column: error.column().max(1) };
            let text = error.to_string();
            let message = text.split(" at line ").next().unwrap_or(&text);
            Err(Diagnostic::new(source, place, format!("not JSON: {message}")))
        }
    }
}

/// A list or mapping that is not closed yet.
struct Open {
    place: Place,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    /// The members so far, where each key is, and the key whose value comes next.
    Map(Vec<(Key, Node)>, BTreeMap<String, Place>, Option<Key>),
}

struct Builder<'a> {
    source: &'a Source,
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
}

impl Builder<'_> {
    fn run(mut self) -> Result<Node, Diagnostic> {
        let source = self.source;
        for event in Parser::new_from_str(&source.text) {
            let (event, span) = event.map_err(|error| syntax(source, &error))?;
            self.take(event, place_of(&span))?;
        }
        self.root
            .ok_or_else(|| Diagnostic::new(source, Place::START, "the file holds no value").hint(BEGIN_HINT))
    }

    fn error(&self, place: Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(self.source, place, message)
    }

    fn take(&mut self, event: Event<'_>, place: Place) -> Result<(), Diagnostic> {
        match event {
            Event::Alias(_) => Err(alias(self.source, place)),
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_decorations(place, anchor, tag.is_some())?;
                let node = self.scalar(&text, style, place)?;
                self.put(node)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_decorations(place, anchor, tag.is_some())?;
                self.begin(place, OpenKind::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_decorations(place, anchor, tag.is_some())?;
                self.begin(place, OpenKind::Map(Vec::new(), BTreeMap::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                None => Ok(()),
                Some(open) => {
                    let value = match open.kind {
                        OpenKind::List(items) => NodeValue::List(items),
                        OpenKind::Map(members, ..) => NodeValue::Map(members),
                    };
                    self.put(Node { place: open.place, value })
                }
            },
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(self.error(place, "a second document begins here").hint("one file holds one plan"))
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn refuse_decorations(&self, place: Place, anchor: usize, tagged: bool) -> Result<(), Diagnostic> {
        if anchor != 0 {
            return Err(self.error(place, "anchors (&name) are not supported").hint("write the value out"));
        }
        if tagged {
            return Err(self
                .error(place, "tags (!name) are not supported")
                .hint("put a value into quotes to make it a text"));
        }
        Ok(())
    }

    fn begin(&mut self, place: Place, kind: OpenKind) -> Result<(), Diagnostic> {
        if self.open.len() >= NODE_DEPTH_MAX {
            return Err(self.error(place, format!("nested deeper than {NODE_DEPTH_MAX} levels")));
        }
        if let Some(Open { kind: OpenKind::Map(_, _, None), .. }) = self.open.last() {
            return Err(self
                .error(place, "a key must be a text")
                .hint("keys are plain names followed by a colon"));
        }
        self.open.push(Open { place, kind });
        Ok(())
    }

    /// Puts a finished value into what is open.
    fn put(&mut self, node: Node) -> Result<(), Diagnostic> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(self.error(node.place, format!("the file has more than {NODES_MAX} values")));
        }
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(node),
            Some(OpenKind::List(items)) => items.push(node),
            Some(OpenKind::Map(members, places, key)) => match key.take() {
                Some(name) => members.push((name, node)),
                None => *key = Some(new_key(self.source, node, places)?),
            },
        }
        Ok(())
    }

    fn scalar(&self, text: &str, style: ScalarStyle, place: Place) -> Result<Node, Diagnostic> {
        if text.contains('\0') {
            return Err(self.error(place, "U+0000 cannot be stored in a text"));
        }
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted => Style::SingleQuoted,
            ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
            ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
        };
        let value = if style == Style::Plain {
            self.plain(text, place)?
        } else {
            NodeValue::Text(text.to_owned(), style)
        };
        Ok(Node { place, value })
    }

    /// The YAML 1.2 core schema, without octal and without numbers that JSON does not have.
    fn plain(&self, text: &str, place: Place) -> Result<NodeValue, Diagnostic> {
        let bytes = text.strip_prefix(['-', '+']).unwrap_or(text).as_bytes();
        let number = bytes.first().is_some_and(u8::is_ascii_digit)
            || (bytes.first() == Some(&b'.') && bytes.get(1).is_some_and(u8::is_ascii_digit));
        Ok(match text {
            "" | "~" | "null" | "Null" | "NULL" => NodeValue::Null,
            "true" | "True" | "TRUE" => NodeValue::Bool(true),
            "false" | "False" | "FALSE" => NodeValue::Bool(false),
            _ if number => match number_of(text) {
                Some(Ok(number)) => NodeValue::Number(number),
                Some(Err(())) => {
                    let message = format!("the number {} does not fit 64 bits", quoted(text));
                    return Err(self.error(place, message).hint("put it into quotes to make it a text"));
                }
                None => NodeValue::Text(text.to_owned(), Style::Plain),
            },
            _ => NodeValue::Text(text.to_owned(), Style::Plain),
        })
    }
}

/// Takes a node as a key that is not among `places` yet.
fn new_key(source: &Source, node: Node, places: &mut BTreeMap<String, Place>) -> Result<Key, Diagnostic> {
    let place = node.place;
    let error = |message: String| Diagnostic::new(source, place, message);
    let Some(name) = text_of_key(&node) else {
        return Err(error("a key must be a text".to_owned()).hint("put the key into quotes"));
    };
    if name.len() > KEY_BYTES_MAX {
        return Err(error(format!("a key exceeds the limit of {KEY_BYTES_MAX} bytes")));
    }
    if let Some(first) = places.insert(name.clone(), place) {
        let hint = format!("it is given on line {} already", first.line);
        return Err(error(format!("duplicate key {}", quoted(&name))).hint(hint));
    }
    Ok(Key { name, place })
}

fn text_of_key(node: &Node) -> Option<String> {
    match &node.value {
        NodeValue::Text(text, _) => Some(text.clone()),
        NodeValue::Bool(value) => Some(value.to_string()),
        NodeValue::Number(number) => Some(number.to_string()),
        NodeValue::Null | NodeValue::List(_) | NodeValue::Map(_) => None,
    }
}

/// `None`: no number after all, such as a version or a date.
fn number_of(text: &str) -> Option<Result<Number, ()>> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if let Ok(value) = digits.parse::<i64>() {
        return Some(Ok(value.into()));
    }
    if let Ok(value) = digits.parse::<u64>() {
        return Some(Ok(value.into()));
    }
    let unsigned = digits.strip_prefix('-').unwrap_or(digits);
    if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Err(()));
    }
    if !unsigned.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
        return None;
    }
    let value = digits.parse::<f64>().ok()?;
    if !value.is_finite() {
        return Some(Err(()));
    }
    Some(Ok(whole(value).or_else(|| Number::from_f64(value)).unwrap_or_else(|| 0.into())))
}

/// A float that is an integer becomes one, as in the normal form of payloads.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked first")]
fn whole(value: f64) -> Option<Number> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    (value.fract() == 0.0 && value.abs() <= EXACT_MAX).then(|| (value as i64).into())
}

fn place_of(span: &Span) -> Place {
    Place { line: span.start.line().max(1), column: span.start.col() + 1 }
}

/// The parser's error in our words.
fn syntax(source: &Source, error: &saphyr_parser::ScanError) -> Diagnostic {
    let marker = error.marker();
    let place = source.within(Place { line: marker.line().max(1), column: marker.col() + 1 });
    let indentation = |line: usize| {
        let line = source.line(line).unwrap_or_default();
        line.len() - line.trim_start().len()
    };
    let tab_line = [place.line, place.line.saturating_sub(1)].into_iter().find(|line| {
        let text = source.line(*line).unwrap_or_default();
        text[..indentation(*line)].contains('\t')
    });
    if let Some(line) = tab_line {
        let column = source.line(line).and_then(|text| text.find('\t')).unwrap_or(0) + 1;
        return Diagnostic::new(source, Place { line, column }, "a tab cannot indent")
            .hint("indent with spaces");
    }
    let info = error.info();
    if info.contains("unknown anchor") {
        return alias(source, place);
    }
    let hint = if info.contains("quoted scalar") {
        Some("a quote is not closed")
    } else if info.contains("flow") {
        Some("a { or [ above is not closed, or a comma is missing")
    } else if info.contains("mapping values are not allowed") {
        Some("put a text that holds ': ' into quotes")
    } else if info.contains("simple key") || info.contains("':'") {
        Some("a key needs a colon and a space after it")
    } else {
        None
    };
    Diagnostic::new(source, place, format!("not YAML: {info}")).maybe_hint(hint.map(str::to_owned))
}

fn alias(source: &Source, place: Place) -> Diagnostic {
    Diagnostic::new(source, place, "aliases (*name) are not supported")
        .hint("write the value out; a plan that is used twice belongs into a file of its own")
}
