//! Texts, paths, hosts and lists of arguments that fit.
//!
//! `*` stands for any characters, `?` for one, `\` takes the next character as it is. In paths, `*` and `?` stop at `/`
//! and `**` does not. A pattern has to fit the whole text. Work is bounded by the product of both lengths.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::places::real;

/// Characters of a pattern.
pub const PATTERN_CHARS_MAX: usize = 500;

/// Why something is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// Nothing fits it.
    #[error("it is empty")]
    Empty,
    /// It exceeds the limit.
    #[error("it has more than {PATTERN_CHARS_MAX} characters")]
    TooLong,
    /// A path that means another file in each folder.
    #[error("the path is not absolute")]
    NotAbsolute,
    /// No name, no address, or no port.
    #[error(
        "it is no host: write 'example.org', '*.example.org', '10.0.0.1' or '[::1]', with ':443' or without"
    )]
    NoHost,
}

/// Which texts fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    tokens: Vec<Token>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    /// One character.
    One {
        stops: Stops,
    },
    /// Any number of characters.
    Run {
        stops: Stops,
    },
}

/// Where a wildcard ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stops {
    Never,
    AtSlash,
}

impl Stops {
    fn takes(self, next: char) -> bool {
        self == Self::Never || next != '/'
    }
}

impl Pattern {
    /// Texts of any kind.
    ///
    /// # Errors
    ///
    /// [`PatternError`] if it is empty or too long.
    pub fn text(pattern: &str) -> Result<Self, PatternError> {
        Self::parse(pattern, Stops::Never)
    }

    fn parse(pattern: &str, stops: Stops) -> Result<Self, PatternError> {
        if pattern.is_empty() {
            return Err(PatternError::Empty);
        }
        if pattern.chars().count() > PATTERN_CHARS_MAX {
            return Err(PatternError::TooLong);
        }
        let mut tokens = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(next) = chars.next() {
            tokens.push(match next {
                '\\' => Token::Char(chars.next().unwrap_or('\\')),
                '?' => Token::One { stops },
                '*' if chars.next_if_eq(&'*').is_some() => Token::Run { stops: Stops::Never },
                '*' => Token::Run { stops },
                plain => Token::Char(plain),
            });
        }
        Ok(Self { tokens })
    }

    /// Whether the whole text fits.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        fits(&self.tokens, text.chars(), |token, next| match token {
            Token::Char(char) => Step::one(char == next),
            Token::One { stops } => Step::one(stops.takes(next)),
            Token::Run { stops } => Step::many(stops.takes(next)),
        })
    }

    /// Whether it has no wildcard.
    fn is_literal(&self) -> bool {
        self.tokens.iter().all(|token| matches!(token, Token::Char(_)))
    }

    fn literal(&self) -> String {
        self.tokens
            .iter()
            .filter_map(|token| if let Token::Char(char) = token { Some(*char) } else { None })
            .collect()
    }
}

/// What a token does with one item.
#[derive(Clone, Copy)]
struct Step {
    takes: bool,
    repeats: bool,
}

impl Step {
    const fn one(takes: bool) -> Self {
        Self { takes, repeats: false }
    }

    const fn many(takes: bool) -> Self {
        Self { takes, repeats: true }
    }
}

/// Whether `items` fit `tokens` as a whole: all places in the tokens that could be reached are kept at once, so that
/// no input makes it try again.
fn fits<T: Repeats + Copy, I: Copy>(
    tokens: &[T],
    items: impl Iterator<Item = I>,
    step: impl Fn(T, I) -> Step,
) -> bool {
    let skip = |places: &mut Vec<bool>| {
        for at in 0..tokens.len() {
            if places[at] && tokens[at].repeats() {
                places[at + 1] = true;
            }
        }
    };
    let mut places = vec![false; tokens.len() + 1];
    places[0] = true;
    skip(&mut places);
    for item in items {
        let mut next = vec![false; tokens.len() + 1];
        for at in (0..tokens.len()).filter(|at| places[*at]) {
            let step = step(tokens[at], item);
            if step.takes {
                next[if step.repeats { at } else { at + 1 }] = true;
            }
        }
        skip(&mut next);
        if !next.contains(&true) {
            return false;
        }
        places = next;
    }
    places[tokens.len()]
}

/// Whether a token may stand for nothing.
trait Repeats {
    fn repeats(&self) -> bool;
}

impl Repeats for Token {
    fn repeats(&self) -> bool {
        matches!(self, Self::Run { .. })
    }
}

impl Repeats for &Element {
    fn repeats(&self) -> bool {
        matches!(self, Element::Rest)
    }
}

/// Which paths fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    pattern: Pattern,
    /// What it means, if it has no wildcard.
    real: Option<PathBuf>,
}

impl PathPattern {
    /// A path, or a pattern of paths; what a path without wildcards means is looked up now.
    ///
    /// # Errors
    ///
    /// [`PatternError`] if it is not absolute, empty or too long.
    pub fn at(pattern: &str) -> Result<Self, PatternError> {
        let parsed = Pattern::parse(pattern, Stops::AtSlash)?;
        if !pattern.starts_with('/') {
            return Err(PatternError::NotAbsolute);
        }
        let real = parsed.is_literal().then(|| real(Path::new(&parsed.literal())));
        Ok(Self { pattern: parsed, real })
    }

    /// Whether one of the names of a file fits, as it is written or as what it means.
    pub(super) fn matches(&self, name: &Path) -> bool {
        self.real.as_deref() == Some(name) || self.pattern.matches(&name.to_string_lossy())
    }

    /// Whether a file without links on the way is meant.
    pub(super) fn matches_itself(&self, itself: &Path) -> bool {
        match &self.real {
            Some(real) => real == itself,
            None => self.pattern.matches(&itself.to_string_lossy()),
        }
    }
}

/// Which servers fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    name: HostName,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostName {
    Any,
    Exact(String),
    /// With the dot before it.
    Below(String),
}

impl HostPattern {
    /// `example.org`, `*.example.org` (the names below it), `*`, an address; with `:PORT` or for any port.
    ///
    /// # Errors
    ///
    /// [`PatternError::NoHost`] if it is none of these.
    pub fn parse(pattern: &str) -> Result<Self, PatternError> {
        let (name, port) = match pattern.strip_prefix('[') {
            Some(rest) => {
                let (name, port) = rest.split_once(']').ok_or(PatternError::NoHost)?;
                name.parse::<IpAddr>().map_err(|_| PatternError::NoHost)?;
                (HostName::Exact(host_name(name)), port.strip_prefix(':').or(Some(port)))
            }
            None => {
                let (name, port) = pattern.split_once(':').map_or((pattern, ""), |(name, port)| (name, port));
                let ends_in_colon = pattern.ends_with(':');
                (Self::name(name)?, (!ends_in_colon).then_some(port))
            }
        };
        let port = match port {
            Some("") => None,
            Some(port) => Some(port.parse().ok().filter(|port| *port != 0).ok_or(PatternError::NoHost)?),
            None => return Err(PatternError::NoHost),
        };
        Ok(Self { name, port })
    }

    fn name(name: &str) -> Result<HostName, PatternError> {
        let is_name = |name: &str| {
            !name.is_empty()
                && name.split('.').all(|label| {
                    !label.is_empty()
                        && label
                            .bytes()
                            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
                })
        };
        let plain = host_name(name);
        match plain.strip_prefix("*.") {
            _ if name == "*" => Ok(HostName::Any),
            Some(rest) if is_name(rest) => Ok(HostName::Below(format!(".{rest}"))),
            None if is_name(&plain) => Ok(HostName::Exact(plain)),
            _ => Err(PatternError::NoHost),
        }
    }

    pub(super) fn matches(&self, name: &str, port: u16) -> bool {
        let is_named = match &self.name {
            HostName::Any => true,
            HostName::Exact(exact) => exact == name,
            HostName::Below(suffix) => name.len() > suffix.len() && name.ends_with(suffix.as_str()),
        };
        is_named && self.port.is_none_or(|wanted| wanted == port)
    }
}

/// A host as it is compared: lower case, no dot at its end, an address in its usual form.
pub(super) fn host_name(name: &str) -> String {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    match name.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().to_string(),
        Err(_) => name,
    }
}

/// Which lists of arguments fit: one element after the other, `**` for any number of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgvPattern {
    elements: Vec<Element>,
}

/// What one argument, or the rest of them, may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Element {
    /// Any number of arguments.
    Rest,
    /// One argument that fits one of these.
    One(Vec<Pattern>),
}

impl ArgvPattern {
    /// Of elements in their order.
    #[must_use]
    pub const fn new(elements: Vec<Element>) -> Self {
        Self { elements }
    }

    pub(super) fn matches(&self, arguments: &[String]) -> bool {
        let elements: Vec<&Element> = self.elements.iter().collect();
        fits(&elements, arguments.iter(), |element, argument| match element {
            Element::Rest => Step::many(true),
            Element::One(patterns) => Step::one(patterns.iter().any(|pattern| pattern.matches(argument))),
        })
    }
}
