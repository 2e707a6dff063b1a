//! What is wrong with a document: where, what, and what to do about it.

use std::fmt;

use serde::Serialize;

use super::source::{Place, Source};

/// Problems that one check reports; the rest is counted.
pub const DIAGNOSTICS_MAX: usize = 50;
/// Characters of a source line that are shown.
const LINE_CHARS_MAX: usize = 120;

/// One problem of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The file as it was named.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong; lower case, no full stop.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The line itself, to be shown below the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_line: Option<String>,
}

impl Diagnostic {
    pub(super) fn new(source: &Source, place: Place, message: impl Into<String>) -> Self {
        Self {
            file: source.name.clone(),
            line: place.line,
            column: place.column,
            message: message.into(),
            hint: None,
            source_line: source.line(place.line).filter(|line| !line.trim().is_empty()).map(str::to_owned),
        }
    }

    /// A problem of a file as a whole, such as one that cannot be read.
    pub(crate) fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: 1,
            column: 1,
            message: message.into(),
            hint: None,
            source_line: None,
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: error: {}", self.file, self.line, self.column, self.message)?;
        if let Some(line) = &self.source_line {
            let number = self.line.to_string();
            let (shown, caret) = window(line, self.column);
            let margin = number.len();
            write!(f, "\n  {number} | {shown}\n  {:margin$} | {:caret$}^", "", "")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// The part of a line around a column, and how many characters of it stand before the column.
fn window(line: &str, column: usize) -> (String, usize) {
    let skipped = if column > LINE_CHARS_MAX { column - LINE_CHARS_MAX / 2 } else { 0 };
    let plain = |character: char| if character.is_control() { ' ' } else { character };
    let shown = line.chars().skip(skipped).take(LINE_CHARS_MAX).map(plain).collect();
    (shown, column.saturating_sub(skipped + 1))
}

/// All problems that were found in a document and its subplans, in the order of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    left_out: usize,
    #[serde(skip)]
    full: bool,
}

impl Diagnostics {
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        if !self.is_full() {
            self.list.push(diagnostic);
        } else {
            self.left_out += 1;
        }
    }

    /// Adds a problem that makes looking for others useless.
    pub(super) fn fill(&mut self, diagnostic: Diagnostic) {
        self.list.truncate(DIAGNOSTICS_MAX - 1);
        self.list.push(diagnostic);
        self.full = true;
    }

    /// Whether further problems would only be counted: looking for places and hints is of no use then.
    pub(super) fn is_full(&self) -> bool {
        self.full || self.list.len() >= DIAGNOSTICS_MAX
    }

    /// Brings the problems into the order of the text, those of the file called `main` first.
    pub(super) fn sort(&mut self, main: &str) {
        self.list.sort_by(|a, b| {
            let key = |it: &Diagnostic| (it.file != main, it.file.clone(), it.line, it.column);
            key(a).cmp(&key(b))
        });
    }

    /// The problems.
    #[must_use]
    pub fn list(&self) -> &[Diagnostic] {
        &self.list
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { list: vec![diagnostic], left_out: 0, full: false }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, diagnostic) in self.list.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        if self.left_out > 0 {
            write!(f, "\n.. and {} more", self.left_out)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// A text in a message: on one line, not too long, in quotes.
pub(super) fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let plain: String = text.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    let plain = plain.replace("\\'", "'").replace("\\\"", "\"");
    if text.chars().count() > CHARS_MAX { format!("'{plain}..'") } else { format!("'{plain}'") }
}

/// `did you mean 'x'?`, or what there is, when something is called `name` that does not exist.
#[must_use]
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>, what: &str) -> Option<String> {
    const LISTED_MAX: usize = 25;
    const PREFIX_CHARS_MIN: usize = 4;
    let known: Vec<&str> = known.into_iter().collect();
    let near = |known: &str| {
        let prefix = name.chars().zip(known.chars()).take_while(|(a, b)| a == b).count();
        distance(name, known) <= 1 + known.chars().count() / 4 || prefix >= PREFIX_CHARS_MIN
    };
    if let Some(near) = known.iter().filter(|known| near(known)).min_by_key(|known| distance(name, known)) {
        return Some(format!("did you mean '{near}'?"));
    }
    if known.is_empty() {
        return Some(format!("there are no {what}"));
    }
    let more = if known.len() > LISTED_MAX { ", .." } else { "" };
    Some(format!("{what}: {}{more}", known[..known.len().min(LISTED_MAX)].join(", ")))
}

/// Insertions, removals and replacements between two short names.
fn distance(a: &str, b: &str) -> usize {
    const CHARS_MAX: usize = 64;
    let b: Vec<char> = b.chars().take(CHARS_MAX).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(CHARS_MAX).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_near_are_offered_and_others_listed() {
        let known = ["tool", "plan", "decide"];
        assert_eq!(did_you_mean("tol", known, "keys").unwrap(), "did you mean 'tool'?");
        assert_eq!(did_you_mean("zzzz", known, "keys").unwrap(), "keys: tool, plan, decide");
        assert_eq!(did_you_mean("zzzz", [], "inputs").unwrap(), "there are no inputs");
    }

    #[test]
    fn long_lines_are_shown_around_the_place() {
        let source = Source::new("a.yaml", &format!("{}X", "a".repeat(500)));
        let text = Diagnostic::new(&source, Place { line: 1, column: 501 }, "wrong").to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1].find('X'), lines[2].find('^'), "{text}");
        assert!(lines[1].len() < 130);
    }

    #[test]
    fn what_exceeds_the_limit_is_counted() {
        let mut diagnostics = Diagnostics::default();
        for _ in 0..DIAGNOSTICS_MAX + 3 {
            diagnostics.push(Diagnostic::of_file("a.yaml", "wrong"));
        }
        assert!(diagnostics.to_string().ends_with("\n.. and 3 more"));
        assert_eq!(diagnostics.list().len(), DIAGNOSTICS_MAX);
    }

    #[test]
    fn quoted_texts_stay_on_one_short_line() {
        assert_eq!(quoted("a\nb"), "'a\\nb'");
        assert!(quoted(&"x".repeat(100)).ends_with("..'"));
    }
}
