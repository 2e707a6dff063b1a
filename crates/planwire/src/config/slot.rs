//! What fits a key and where it goes: reading a value from a file, a variable or a flag, and showing it again.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::file::{Node, Value};
use super::{Config, Database};

/// Elements of a list.
pub(crate) const TEXTS_MAX: usize = 1_000;

/// The place of a value in the configuration.
pub(crate) type At<T> = fn(&mut Config) -> &mut T;

/// What fits a key, and where it goes.
#[derive(Clone, Copy)]
pub(crate) enum Slot {
    /// A file or folder; relative ones start at the folder of the file, or at the working folder.
    Path(At<Option<PathBuf>>),
    /// The URL of a database; it is shown without its password.
    Database(At<Option<Database>>),
    /// An IP address with a port.
    Address(At<SocketAddr>),
    /// Yes or no.
    Switch(At<bool>),
    /// A whole number from `least` to `most`.
    Count { at: At<u64>, least: u64, most: u64, unit: &'static str },
    /// A whole number from 1 to `most`, or none.
    Most { at: At<Option<u64>>, most: u64, unit: &'static str },
    /// One of some words.
    Choice { at: At<&'static str>, of: &'static [&'static str] },
    /// A text that `fits`.
    Text { at: At<Option<String>>, what: &'static str, fits: fn(&str) -> bool },
    /// Texts that all `fits`.
    Texts { at: At<Vec<String>>, what: &'static str, fits: fn(&str) -> bool },
}

/// What somebody says of a key.
pub(crate) enum Given<'a> {
    /// In a file that lies in this folder.
    Node(&'a Node, &'a Path),
    /// In a variable or a flag.
    Typed(&'a OsString),
}

/// A value that does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// What would, after `must be`.
    pub(crate) wanted: String,
    /// What there is instead.
    pub(crate) found: String,
    /// Byte of the file, if it is in one.
    pub(crate) offset: usize,
}

impl Slot {
    /// What fits, for people.
    pub(crate) fn takes(&self) -> String {
        match self {
            Self::Path(_) => "path".to_owned(),
            Self::Database(_) => "URL of a database".to_owned(),
            Self::Address(_) => "address with port".to_owned(),
            Self::Switch(_) => "bool".to_owned(),
            Self::Count { least, most, unit, .. } => format!("{unit}, {least} to {most}"),
            Self::Most { most, unit, .. } => format!("{unit}, 1 to {most}"),
            Self::Choice { of, .. } => of.join(", "),
            Self::Text { what, .. } => (*what).to_owned(),
            Self::Texts { what, .. } => format!("list; each {what}"),
        }
    }

    /// Whether it takes a list, which a variable or flag writes with commas.
    pub(crate) const fn is_list(&self) -> bool {
        matches!(self, Self::Texts { .. })
    }

    /// Whether what is given is not repeated.
    pub(crate) const fn may_hold_a_secret(&self) -> bool {
        matches!(self, Self::Database(_))
    }

    /// Puts what was given into its place.
    ///
    /// # Errors
    ///
    /// [`Misfit`] if it does not fit; nothing is changed then.
    pub(crate) fn put(&self, config: &mut Config, given: &Given<'_>) -> Result<(), Misfit> {
        match *self {
            Self::Path(at) => *at(config) = Some(given.path()?),
            Self::Database(at) => *at(config) = Some(given.database()?),
            Self::Address(at) => {
                let text = given.text("text: an IP address with a port, as '127.0.0.1:7420'")?;
                let wanted = "an IP address with a port, as '127.0.0.1:7420'";
                *at(config) = text.parse().map_err(|_| given.misfit(wanted))?;
            }
            Self::Switch(at) => *at(config) = given.switch()?,
            Self::Count { at, least, most, unit } => {
                let wanted = format!("a whole number from {least} to {most} ({unit})");
                let count = given.count().filter(|count| (least..=most).contains(count));
                *at(config) = count.ok_or_else(|| given.misfit(&wanted))?;
            }
            Self::Most { at, most, unit } => {
                let wanted = format!("a whole number from 1 to {most} ({unit})");
                let count = given.count().filter(|count| (1..=most).contains(count));
                *at(config) = Some(count.ok_or_else(|| given.misfit(&wanted))?);
            }
            Self::Choice { at, of } => {
                let wanted = format!("one of {}", of.join(", "));
                let text = given.text(&wanted)?;
                let word = of.iter().find(|word| word.eq_ignore_ascii_case(&text));
                *at(config) = word.ok_or_else(|| given.misfit(&wanted))?;
            }
            Self::Text { at, what, fits } => {
                let text = given.text(what)?;
                if !fits(&text) {
                    return Err(given.misfit(what));
                }
                *at(config) = Some(text);
            }
            Self::Texts { at, what, fits } => *at(config) = given.texts(what, fits)?,
        }
        Ok(())
    }

    /// The value that stands there; null if there is none.
    pub(crate) fn show(&self, config: &mut Config) -> Json {
        match *self {
            Self::Path(at) => json!(at(config).as_ref().map(|path| path.to_string_lossy())),
            Self::Database(at) => json!(at(config).as_ref().map(ToString::to_string)),
            Self::Address(at) => json!(at(config).to_string()),
            Self::Switch(at) => json!(at(config)),
            Self::Count { at, .. } => json!(at(config)),
            Self::Most { at, .. } => json!(at(config)),
            Self::Choice { at, .. } => json!(at(config)),
            Self::Text { at, .. } => json!(at(config)),
            Self::Texts { at, .. } => json!(at(config)),
        }
    }
}

impl Given<'_> {
    fn misfit(&self, wanted: &str) -> Misfit {
        match self {
            Self::Node(node, _) => node.misfit(wanted),
            Self::Typed(text) => {
                let found = super::file::quoted(&text.to_string_lossy());
                Misfit { wanted: wanted.to_owned(), found, offset: 0 }
            }
        }
    }

    fn path(&self) -> Result<PathBuf, Misfit> {
        match self {
            Self::Node(Node { value: Value::Text(text), .. }, folder) if !text.is_empty() => {
                Ok(folder.join(text))
            }
            // An empty variable counts as none, so this is no empty path.
            Self::Typed(text) => Ok(std::path::absolute(text).unwrap_or_else(|_| text.into())),
            Self::Node(..) => Err(self.misfit("text: a path")),
        }
    }

    /// What was given is not repeated: a password may be in it.
    fn database(&self) -> Result<Database, Misfit> {
        let offset = match self {
            Self::Node(node, _) => node.offset,
            Self::Typed(_) => 0,
        };
        let misfit = |why: String| {
            let wanted = format!("a URL as 'postgres://user@host:5432/database?schema=planwire' ({why})");
            Misfit { wanted, found: "what stands there".to_owned(), offset }
        };
        let text = self.text("").map_err(|_| misfit("a text".to_owned()))?;
        Database::parse(&text).map_err(misfit)
    }

    fn text(&self, wanted: &str) -> Result<String, Misfit> {
        match self {
            Self::Node(Node { value: Value::Text(text), .. }, _) => Ok(text.clone()),
            Self::Typed(text) => text.to_str().map(str::to_owned).ok_or_else(|| self.misfit(wanted)),
            Self::Node(..) => Err(self.misfit(wanted)),
        }
    }

    fn switch(&self) -> Result<bool, Misfit> {
        match self {
            Self::Node(Node { value: Value::Bool(is), .. }, _) => Ok(*is),
            Self::Typed(text) if *text == "true" || *text == "1" => Ok(true),
            Self::Typed(text) if *text == "false" || *text == "0" => Ok(false),
            _ => Err(self.misfit("true or false")),
        }
    }

    fn count(&self) -> Option<u64> {
        match self {
            Self::Node(Node { value: Value::Integer(count), .. }, _) => (*count).try_into().ok(),
            Self::Typed(text) => text.to_str()?.parse().ok(),
            Self::Node(..) => None,
        }
    }

    fn texts(&self, what: &str, fits: fn(&str) -> bool) -> Result<Vec<String>, Misfit> {
        let wanted = format!("a list of texts, each {what}");
        match self {
            Self::Node(Node { value: Value::List(nodes), .. }, folder) if nodes.len() <= TEXTS_MAX => {
                let one = |node| Given::Node(node, folder).fitting(what, fits);
                nodes.iter().map(one).collect()
            }
            Self::Typed(text) => {
                let text = text.to_str().ok_or_else(|| self.misfit(&wanted))?;
                let parts = text.split(',').map(|part| OsString::from(part.trim()));
                parts.map(|part| Given::Typed(&part).fitting(what, fits)).collect()
            }
            Self::Node(..) => Err(self.misfit(&wanted)),
        }
    }

    fn fitting(&self, what: &str, fits: fn(&str) -> bool) -> Result<String, Misfit> {
        let text = self.text(what)?;
        if fits(&text) { Ok(text) } else { Err(self.misfit(what)) }
    }
}
