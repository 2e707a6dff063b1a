//! The configuration file: TOML with the place of every key and value, and messages that show it.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use planwire_engine::document::Diagnostic;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::slot::Misfit;

/// Bytes of a configuration file.
pub(crate) const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Characters of a value that a message shows.
const QUOTED_CHARS_MAX: usize = 60;

/// A file as it was read.
#[derive(Debug)]
pub(crate) struct File {
    /// Its absolute path.
    pub(crate) path: PathBuf,
    text: String,
}

/// A value of the file.
#[derive(Debug)]
pub(crate) struct Node {
    /// The byte at which it begins.
    pub(crate) offset: usize,
    /// What it is.
    pub(crate) value: Value,
}

/// What a value is.
#[derive(Debug)]
pub(crate) enum Value {
    Text(String),
    Integer(i128),
    Bool(bool),
    List(Vec<Node>),
    /// In the order of the file.
    Table(Vec<Member>),
    /// One that no key takes: a fraction, a date.
    Other(String),
}

/// A key of a table with its value.
#[derive(Debug)]
pub(crate) struct Member {
    /// The key.
    pub(crate) name: String,
    /// The byte at which the key begins.
    pub(crate) offset: usize,
    /// The value.
    pub(crate) node: Node,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, is too long, or is no UTF-8.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let mut bytes = Vec::new();
        let read = std::fs::File::open(&path)
            .and_then(|file| file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes));
        read.map_err(|error| format!("the file cannot be read: {error}"))?;
        if bytes.len() > FILE_BYTES_MAX {
            return Err(format!("the file exceeds the limit of {FILE_BYTES_MAX} bytes"));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let before = error.utf8_error().valid_up_to();
            format!("the file is not UTF-8 text: byte {} does not belong there", before + 1)
        })?;
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        Ok(Self { path, text })
    }

    #[cfg(test)]
    pub(crate) fn of_text(text: &str) -> Self {
        Self { path: "/conf/planwire.toml".into(), text: text.to_owned() }
    }

    /// The folder that it lies in.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Reads the text as TOML.
    ///
    /// # Errors
    ///
    /// The first place that is no TOML.
    pub(crate) fn parse(&self) -> Result<Vec<Member>, Diagnostic> {
        let table = DeTable::parse(&self.text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            self.problem(offset, &format!("not TOML: {}", error.message()))
        })?;
        Ok(members(table.into_inner()))
    }

    /// The line of a byte, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.before(offset).matches('\n').count() + 1
    }

    /// A problem at a byte of the file.
    pub(crate) fn problem(&self, offset: usize, message: &str) -> Diagnostic {
        let line = self.line(offset);
        let before = self.before(offset);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let source = self.text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        Diagnostic {
            file: self.path.display().to_string(),
            line,
            column: before.get(start..).map_or(0, |before| before.chars().count()) + 1,
            message: message.to_owned(),
            hint: None,
            source_line: Some(source.to_owned()).filter(|line| !line.trim().is_empty()),
        }
    }

    /// The byte of the file at which byte `within` of a text `value` stands, if it is written as it is; else where the
    /// text begins.
    pub(crate) fn offset_in(&self, node: &Node, value: &str, within: usize) -> usize {
        let raw = self.text.get(node.offset..).unwrap_or_default();
        let quotes = raw.len() - raw.trim_start_matches(['"', '\'']).len();
        let inner = raw.get(quotes..).unwrap_or_default();
        // A line feed just behind the quotes does not belong to the text.
        let skipped = quotes + usize::from(!value.starts_with('\n') && inner.starts_with('\n'));
        let as_it_is = raw.get(skipped..).is_some_and(|inner| inner.starts_with(value));
        if as_it_is { node.offset + skipped + within } else { node.offset }
    }

    fn before(&self, offset: usize) -> &str {
        // A place within a character is that of the character.
        let at = (0..=offset.min(self.text.len())).rev().find(|at| self.text.is_char_boundary(*at));
        self.text.get(..at.unwrap_or(0)).unwrap_or_default()
    }
}

impl Node {
    /// What to say if something else was wanted.
    pub(crate) fn misfit(&self, wanted: &str) -> Misfit {
        Misfit { wanted: wanted.to_owned(), found: self.value.told(), offset: self.offset }
    }

    fn new(value: Spanned<DeValue<'_>>) -> Self {
        let offset = value.span().start;
        let value = match value.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(integer) => match i128::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(integer) => Value::Integer(integer),
                Err(_) => Value::Other(integer.to_string()),
            },
            DeValue::Float(float) => Value::Other(float.to_string()),
            DeValue::Boolean(is) => Value::Bool(is),
            DeValue::Datetime(date) => Value::Other(format!("the date {date}")),
            DeValue::Array(nodes) => Value::List(nodes.into_iter().map(Self::new).collect()),
            DeValue::Table(table) => Value::Table(members(table)),
        };
        Self { offset, value }
    }
}

impl Value {
    fn told(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Integer(integer) => integer.to_string(),
            Self::Bool(is) => is.to_string(),
            Self::List(nodes) => format!("a list of {}", nodes.len()),
            Self::Table(_) => "a table".to_owned(),
            Self::Other(told) => told.clone(),
        }
    }
}

fn members(table: DeTable<'_>) -> Vec<Member> {
    let mut members: Vec<Member> = table
        .into_iter()
        .map(|(name, value)| {
            let offset = name.span().start;
            Member { name: name.into_inner().into_owned(), offset, node: Node::new(value) }
        })
        .collect();
    members.sort_by_key(|member| member.offset);
    members
}

/// A text in a message: on one line, not too long, in quotes.
pub(crate) fn quoted(text: &str) -> String {
    let plain: String = text.chars().take(QUOTED_CHARS_MAX).flat_map(char::escape_debug).collect();
    let plain = plain.replace("\\'", "'").replace("\\\"", "\"");
    if text.chars().count() > QUOTED_CHARS_MAX { format!("'{plain}..'") } else { format!("'{plain}'") }
}
