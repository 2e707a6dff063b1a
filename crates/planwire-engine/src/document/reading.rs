//! Reading members of a mapping, with a message for everything that does not fit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use planwire_event::Cost;
use planwire_event::cost::COST_UNITS_MAX;
use planwire_event::expression::{CompileErrorKind, Expression, Purpose};

use super::diagnostic::{Diagnostic, did_you_mean, quoted};
use super::node::{Key, Node, NodeValue};
use super::references::Kind;
use super::resolve::Loader;
use super::secrets::is_secret;
use super::source::{Place, Source, Style};
use crate::template::{NotClosed, Part, Piece, Template, split};

/// Expressions of a document with its subplans; each takes some tens of microseconds to compile.
pub const EXPRESSIONS_MAX: usize = 10_000;

/// One document that is being read.
pub(super) struct Reading<'r, 'l> {
    pub(super) source: &'r Source,
    pub(super) loader: &'r mut Loader<'l>,
    /// Places of the document's steps in its list, and what they are.
    pub(super) steps: BTreeMap<String, (usize, Option<Kind>)>,
    pub(super) inputs: BTreeSet<String>,
    /// Those of them that are secrets.
    pub(super) secret_inputs: BTreeSet<String>,
    /// The step that is being read, and which steps it refers to, where first.
    pub(super) current: Option<String>,
    pub(super) needs: BTreeMap<usize, Place>,
    /// Whether what is read are arguments of a tool, which may name secrets.
    pub(super) secrets_allowed: bool,
}

impl Reading<'_, '_> {
    pub(super) fn problem(&mut self, place: Place, message: impl Into<String>) {
        self.loader.problems.push(Diagnostic::new(self.source, place, message));
    }

    pub(super) fn problem_with(&mut self, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.loader.problems.push(Diagnostic::new(self.source, place, message).hint(hint));
    }

    pub(super) fn problem_maybe(&mut self, place: Place, message: impl Into<String>, hint: Option<String>) {
        self.loader.problems.push(Diagnostic::new(self.source, place, message).maybe_hint(hint));
    }

    fn wrong_kind(&mut self, node: &Node, what: &str, wanted: &str) {
        self.problem(node.place, format!("{what} must be {wanted}, not {}", node.kind()));
    }

    /// The members of a mapping; keys that are not among `known` are problems.
    pub(super) fn fields<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> Option<Fields<'n>> {
        let members = self.members(node, what)?;
        for (key, _) in members {
            if !known.contains(&key.name.as_str()) && !self.loader.problems.is_full() {
                let hint = did_you_mean(&key.name, known.iter().copied(), "keys");
                self.problem_maybe(key.place, format!("unknown key {} in {what}", quoted(&key.name)), hint);
            }
        }
        Some(Fields { members, place: node.place })
    }

    /// The members of a mapping whose keys are free.
    pub(super) fn members<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [(Key, Node)]> {
        if let NodeValue::Map(members) = &node.value {
            return Some(members);
        }
        self.wrong_kind(node, what, "a mapping");
        None
    }

    /// The members of a mapping whose keys are ids; not more than `max`.
    pub(super) fn named<'n>(&mut self, node: &'n Node, what: &str, max: usize) -> &'n [(Key, Node)] {
        let Some(members) = self.members(node, what) else { return &[] };
        if members.len() > max {
            self.problem(node.place, format!("{what} has {} entries, more than {max}", members.len()));
            return &[];
        }
        for (key, _) in members {
            if !is_id(&key.name, '_') {
                self.problem_with(
                    key.place,
                    format!("{} is no name", quoted(&key.name)),
                    "names are a lower-case letter, then lower-case letters, digits and _",
                );
            }
        }
        members
    }

    pub(super) fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        if let NodeValue::Text(text, _) = &node.value {
            if text.trim().is_empty() {
                self.problem(node.place, format!("{what} is empty"));
                return None;
            }
            return Some(text);
        }
        self.wrong_kind(node, what, "a text");
        None
    }

    pub(super) fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        if let NodeValue::Bool(value) = node.value {
            return Some(value);
        }
        self.wrong_kind(node, what, "true or false");
        None
    }

    pub(super) fn integer(&mut self, node: &Node, what: &str, min: u32, max: u32) -> Option<u32> {
        let NodeValue::Number(number) = &node.value else {
            self.wrong_kind(node, what, "a number");
            return None;
        };
        let value = number.as_u64().and_then(|value| u32::try_from(value).ok());
        let value = value.filter(|value| (min..=max).contains(value));
        if value.is_none() {
            self.problem(
                node.place,
                format!("{what} must be a whole number from {min} to {max}, not {number}"),
            );
        }
        value
    }

    pub(super) fn amount(&mut self, node: &Node, what: &str, min: u64, max: u64) -> Option<u64> {
        let NodeValue::Number(number) = &node.value else {
            self.wrong_kind(node, what, "a number");
            return None;
        };
        let value = number.as_u64().filter(|value| (min..=max).contains(value));
        if value.is_none() {
            let message = format!("{what} must be a whole number from {min} to {max}, not {number}");
            self.problem(node.place, message);
        }
        value
    }

    pub(super) fn cost(&mut self, node: &Node, what: &str) -> Option<Cost> {
        let cost = Cost::of(&node.to_value());
        if cost.is_err() {
            let message =
                format!("{what} must be a decimal number from 0 to {COST_UNITS_MAX}, not {}", node.kind());
            self.problem(node.place, message);
        }
        cost.ok()
    }

    pub(super) fn duration(&mut self, node: &Node, what: &str, max: Duration) -> Option<Duration> {
        let text = match &node.value {
            NodeValue::Text(text, _) => text.clone(),
            NodeValue::Number(number) => number.to_string(),
            _ => {
                self.wrong_kind(node, what, "a duration");
                return None;
            }
        };
        let Some(duration) = duration_of(&text) else {
            let message = format!("{what} must be a duration, not {}", quoted(&text));
            self.problem_with(node.place, message, "a whole number and a unit: 200ms, 30s, 10m, 1h");
            return None;
        };
        if duration > max || duration.is_zero() {
            let max = words_of(max);
            self.problem(node.place, format!("{what} must be above 0 and at most {max}, not {text}"));
            return None;
        }
        Some(duration)
    }

    /// A bare expression.
    pub(super) fn expression(&mut self, node: &Node, what: &str, variables: &[&str]) -> Option<Expression> {
        let (text, style) = match &node.value {
            NodeValue::Text(text, style) => (text.clone(), *style),
            NodeValue::Bool(value) => (value.to_string(), Style::Plain),
            _ => {
                let message = format!("{what} must be an expression, not {}", node.kind());
                self.problem_with(node.place, message, "write the CEL expression as a text in quotes");
                return None;
            }
        };
        if text.trim_start().starts_with("${") {
            let message = format!("{what} is an expression already");
            self.problem_with(node.place, message, "leave out ${ and }");
            return None;
        }
        self.compile(&text, Written { text: &text, style, place: node.place, start: 0 }, variables)
    }

    /// A value with `${..}` in it.
    pub(super) fn template(&mut self, node: &Node, variables: &[&str]) -> Option<Template> {
        match &node.value {
            NodeValue::Text(text, style) => self.text_template(text, *style, node.place, variables),
            NodeValue::List(items) => {
                let items: Vec<_> = items.iter().map(|item| self.template(item, variables)).collect();
                let items: Vec<Template> = items.into_iter().collect::<Option<_>>()?;
                Some(Template::List(items))
            }
            NodeValue::Map(members) => {
                let members = members.iter().map(|(key, member)| (key, self.template(member, variables)));
                let members: Vec<(&Key, Option<Template>)> = members.collect();
                let owned = |(key, member): (&Key, Option<Template>)| Some((key.name.clone(), member?));
                members.into_iter().map(owned).collect::<Option<_>>().map(Template::Object)
            }
            _ => Some(Template::Literal(node.to_value())),
        }
    }

    fn text_template(
        &mut self,
        text: &str,
        style: Style,
        place: Place,
        variables: &[&str],
    ) -> Option<Template> {
        let pieces = match split(text) {
            Ok(pieces) => pieces,
            Err(NotClosed(offset)) => {
                let place = self.source.place_in(text, style, place, offset);
                self.problem_with(
                    place,
                    "'${' is not closed",
                    "close it with }, or write $${ for the text itself",
                );
                return None;
            }
        };
        let mut parts = Vec::new();
        let mut sound = true;
        for piece in &pieces {
            match piece {
                Piece::Literal(literal) => parts.push(Part::Literal(literal.clone())),
                Piece::Expression(source, start) => {
                    let written = Written { text, style, place, start: *start };
                    let part = match self.secret(source, written) {
                        Some(secret) => secret.map(Part::Secret),
                        None => self
                            .compile(source, written, variables)
                            .map(|expression| Part::Expression(Box::new(expression))),
                    };
                    match part {
                        Some(part) => parts.push(part),
                        None => sound = false,
                    }
                }
            }
        }
        if !sound {
            return None;
        }
        let only = if parts.len() <= 1 { parts.pop() } else { None };
        Some(match only {
            Some(Part::Expression(expression)) => Template::Expression(expression),
            Some(Part::Secret(name)) => Template::Secret(name),
            Some(Part::Literal(literal)) => Template::Literal(literal.into()),
            None if parts.is_empty() => Template::Literal(text.into()),
            None => Template::Text(parts),
        })
    }

    fn compile(&mut self, source: &str, written: Written<'_>, variables: &[&str]) -> Option<Expression> {
        self.loader.expressions += 1;
        if self.loader.expressions > EXPRESSIONS_MAX && !self.loader.problems.is_full() {
            let message = format!("the plan with its subplans has more than {EXPRESSIONS_MAX} expressions");
            self.loader.problems.fill(Diagnostic::new(self.source, written.place, message));
        }
        if self.loader.problems.is_full() {
            return None;
        }
        match Expression::compile(source, variables, Purpose::Document) {
            Ok(expression) => {
                let mut sound = true;
                for reference in expression.references() {
                    sound &= self.check_reference(reference, written);
                }
                sound.then_some(expression)
            }
            Err(error) => {
                if is_secret(&error.kind) {
                    self.secret_in_expression(source, error.offset, written);
                    return None;
                }
                let place = written.place_of(self.source, error.offset);
                let hint = self.hint_of(&error.kind, source);
                self.problem_maybe(place, error.kind.to_string(), hint);
                None
            }
        }
    }

    fn hint_of(&self, kind: &CompileErrorKind, source: &str) -> Option<String> {
        match kind {
            CompileErrorKind::UnknownVariable { name, .. } if self.steps.contains_key(name) => {
                Some(format!("did you mean 'steps.{name}'?"))
            }
            CompileErrorKind::UnknownVariable { name, .. } if self.inputs.contains(name) => {
                Some(format!("did you mean 'inputs.{name}'?"))
            }
            CompileErrorKind::UnknownVariable { name, known } => {
                did_you_mean(name, known.iter().map(String::as_str), "variables here")
            }
            CompileErrorKind::UnknownFunction { name, .. } if name == "now" => {
                Some("'now' is a variable: when the plan was started".to_owned())
            }
            CompileErrorKind::UnknownFunction { name, .. }
                if matches!(name.as_str(), "len" | "length" | "count") =>
            {
                Some("did you mean 'size'?".to_owned())
            }
            CompileErrorKind::UnknownFunction { name, known } => {
                did_you_mean(name, known.iter().map(String::as_str), "functions")
            }
            CompileErrorKind::Syntax { .. } => syntax_hint(source),
            CompileErrorKind::Empty => Some("write an expression, or leave the key out".to_owned()),
            CompileErrorKind::TooLong { .. }
            | CompileErrorKind::TooManyNodes
            | CompileErrorKind::TooDeep
            | CompileErrorKind::TooManyComprehensions { .. } => {
                Some("compute parts of it in steps or subplans of their own".to_owned())
            }
            _ => None,
        }
    }
}

fn syntax_hint(source: &str) -> Option<String> {
    let padded = format!(" {source} ");
    let hint = if padded.contains(" and ") || padded.contains(" or ") || padded.contains(" not ") {
        "CEL writes && for and, || for or, ! for not"
    } else if padded.contains(" = ") {
        "CEL compares with =="
    } else if source.matches('\'').count() % 2 == 1 || source.matches('"').count() % 2 == 1 {
        "a quote is not closed"
    } else if source.matches('(').count() != source.matches(')').count() {
        "the parentheses do not match"
    } else {
        return None;
    };
    Some(hint.to_owned())
}

/// Where an expression is written: in a text, from a byte on.
#[derive(Clone, Copy)]
pub(super) struct Written<'a> {
    text: &'a str,
    style: Style,
    place: Place,
    start: usize,
}

impl Written<'_> {
    /// The place of a byte of the expression; takes a walk over the whole text.
    pub(super) fn place_of(&self, source: &Source, offset: usize) -> Place {
        source.place_in(self.text, self.style, self.place, self.start + offset)
    }
}

/// The members of a mapping.
#[derive(Clone, Copy)]
pub(super) struct Fields<'n> {
    members: &'n [(Key, Node)],
    pub(super) place: Place,
}

impl<'n> Fields<'n> {
    /// A member; one without a value counts as missing.
    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        self.raw(name).map(|(_, node)| node).filter(|node| !matches!(node.value, NodeValue::Null))
    }

    /// A member with its key, whatever its value.
    pub(super) fn raw(&self, name: &str) -> Option<&'n (Key, Node)> {
        self.members.iter().find(|(key, _)| key.name == name)
    }
}

/// A lower-case letter, then lower-case letters, digits and `joint`.
pub(super) fn is_id(text: &str, joint: char) -> bool {
    const CHARS_MAX: usize = 64;
    text.len() <= CHARS_MAX
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.chars().all(|next| next.is_ascii_lowercase() || next.is_ascii_digit() || next == joint)
}

fn duration_of(text: &str) -> Option<Duration> {
    let digits = text.find(|next: char| !next.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit_ms = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(unit_ms).map(Duration::from_millis)
}

fn words_of(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds >= 3600 { format!("{}h", seconds / 3600) } else { format!("{seconds}s") }
}

/// `None` if it is given but has a problem; `Some(None)` if it is not given.
#[expect(clippy::option_option, reason = "given or not, sound or not")]
pub(super) fn sound<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(None) => None,
        Some(value) => Some(value),
    }
}
