//! Servers of MCP: tables of the file, one for each server.

mod bounds;

use std::path::PathBuf;

use super::file::{File, Member, Value};
use super::keys::{Entry, SERVER};
use super::layers::Problems;
use super::tables::{entry, is_name as is_secret_name, text};
pub(crate) use bounds::Bounds;
use bounds::count;

/// Milliseconds that a server may be given to start, or for a call.
const TIMEOUT_MS_MAX: u64 = 24 * 60 * 60 * 1_000;
/// Texts of a list, entries of a table.
const ENTRIES_MAX: usize = 100;

/// `[mcp.servers.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct McpServer {
    /// The name in `mcp:<server>/<tool>`.
    pub(crate) name: String,
    /// How it is reached.
    pub(crate) reach: McpReach,
    pub(crate) start_timeout_ms: Option<u64>,
    pub(crate) call_timeout_ms: Option<u64>,
    /// The line of the file that says so.
    pub(crate) line: usize,
    /// The byte at which its name stands.
    pub(crate) offset: usize,
}

/// How a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum McpReach {
    Program {
        command: String,
        args: Vec<String>,
        env: Vec<(String, Phrase)>,
        folder: Option<PathBuf>,
        bounds: Bounds,
    },
    Address {
        url: String,
        headers: Vec<(String, Phrase)>,
    },
}

/// A text with secrets in it, by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Phrase {
    /// As it is written.
    pub(crate) text: String,
    pieces: Vec<Piece>,
    /// The byte at which it stands.
    pub(crate) offset: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Secret(String),
}

impl Phrase {
    /// Reads `${secret('NAME')}` in a text; `$${` stands for `${` itself.
    fn parse(text: &str, offset: usize) -> Result<Self, String> {
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                plain.push_str(&rest[..at - 1]);
                plain.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            plain.push_str(&rest[..at]);
            let (expression, after) = rest[at + 2..].split_once('}').ok_or("'${' is not closed by '}'")?;
            let name = secret_of(expression).ok_or("only ${secret('NAME')} may stand in it")?;
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
            pieces.push(Piece::Secret(name.to_owned()));
            rest = after;
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        Ok(Self { text: text.to_owned(), pieces, offset })
    }

    /// The text with the values of its secrets.
    ///
    /// # Errors
    ///
    /// The name of a secret that is not configured.
    #[cfg_attr(not(feature = "mcp"), expect(dead_code, reason = "only a build with servers needs values"))]
    pub(crate) fn fill<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> Result<String, &str> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Secret(name) => text.push_str(value(name).ok_or(name.as_str())?),
            }
        }
        Ok(text)
    }
}

/// The name in `secret('NAME')`.
fn secret_of(expression: &str) -> Option<&str> {
    let inner = expression.trim().strip_prefix("secret(")?.strip_suffix(')')?.trim();
    let quoted = |mark: char| inner.strip_prefix(mark)?.strip_suffix(mark);
    quoted('\'').or_else(|| quoted('"')).filter(|name| is_secret_name(name))
}

/// Reads `[mcp.servers]`.
pub(crate) fn servers(file: &File, members: &[Member], problems: &mut Problems) -> Vec<McpServer> {
    members.iter().filter_map(|member| server(file, member, problems)).collect()
}

/// What a table says, as far as it was read.
#[derive(Default)]
struct Said {
    command: Option<String>,
    args: Option<Vec<String>>,
    env: Option<Vec<(String, Phrase)>>,
    folder: Option<PathBuf>,
    bounds: Option<Bounds>,
    url: Option<String>,
    headers: Option<Vec<(String, Phrase)>>,
    start_timeout_ms: Option<u64>,
    call_timeout_ms: Option<u64>,
}

fn server(file: &File, member: &Member, problems: &mut Problems) -> Option<McpServer> {
    let name = &member.name;
    let place = format!("MCP server {name}");
    let Value::Table(members) = &member.node.value else {
        let misfit = member.node.misfit("a table");
        problems.misfit_in(file, &format!("mcp.servers.{name}"), &misfit);
        return None;
    };
    let before = problems.len();
    let mut said = Said::default();
    for member in members {
        if let Some(entry) = entry(file, member, &SERVER, &place, problems) {
            said.take(file, entry, member, problems);
        }
    }
    if problems.len() > before {
        return None;
    }
    match said.reach() {
        Ok(reach) => Some(McpServer {
            name: name.clone(),
            reach,
            start_timeout_ms: said.start_timeout_ms,
            call_timeout_ms: said.call_timeout_ms,
            line: file.line(member.offset),
            offset: member.offset,
        }),
        Err(why) => {
            let hint = "command = \"PROGRAM\" starts one, url = \"https://...\" connects to one";
            problems.push(file.problem(member.offset, &format!("{place} {why}")), Some(hint.into()));
            None
        }
    }
}

impl Said {
    fn take(&mut self, file: &File, entry: &Entry, member: &Member, problems: &mut Problems) {
        match entry.name {
            "command" => self.command = text(file, member, problems),
            "args" => self.args = texts(file, member, problems),
            "env" => self.env = phrases(file, member, problems),
            "folder" => self.folder = text(file, member, problems).map(|path| file.folder().join(path)),
            "url" => self.url = text(file, member, problems),
            "headers" => self.headers = phrases(file, member, problems),
            "start_timeout_ms" => self.start_timeout_ms = millis(file, member, problems),
            "call_timeout_ms" => self.call_timeout_ms = millis(file, member, problems),
            name => {
                self.bounds.get_or_insert_default().take(file, name, member, problems);
            }
        }
    }

    /// Either a program or an address, and nothing that belongs to the other.
    fn reach(&mut self) -> Result<McpReach, &'static str> {
        let of_program = self.args.is_some() || self.env.is_some() || self.folder.is_some();
        let of_program = of_program || self.bounds.is_some();
        match (self.command.take(), self.url.take()) {
            (Some(command), None) if self.headers.is_none() => Ok(McpReach::Program {
                command,
                args: self.args.take().unwrap_or_default(),
                env: self.env.take().unwrap_or_default(),
                folder: self.folder.take(),
                bounds: self.bounds.take().unwrap_or_default(),
            }),
            (Some(_), None) => Err("has 'headers', which belong to a 'url'"),
            (None, Some(url)) if !of_program => {
                Ok(McpReach::Address { url, headers: self.headers.take().unwrap_or_default() })
            }
            (None, Some(_)) => Err("has 'args', 'env' or something else that belongs to a 'command'"),
            _ => Err("must have either 'command' or 'url'"),
        }
    }
}

fn texts(file: &File, member: &Member, problems: &mut Problems) -> Option<Vec<String>> {
    let read = match &member.node.value {
        Value::List(nodes) if nodes.len() <= ENTRIES_MAX => nodes
            .iter()
            .map(|node| match &node.value {
                Value::Text(text) => Some(text.clone()),
                _ => None,
            })
            .collect(),
        _ => None,
    };
    if read.is_none() {
        problems.misfit_in(file, &member.name, &member.node.misfit("a list of texts"));
    }
    read
}

fn phrases(file: &File, member: &Member, problems: &mut Problems) -> Option<Vec<(String, Phrase)>> {
    let Value::Table(entries) = &member.node.value else {
        problems.misfit_in(file, &member.name, &member.node.misfit("a table of texts"));
        return None;
    };
    if entries.len() > ENTRIES_MAX {
        problems.misfit_in(file, &member.name, &member.node.misfit("a table of at most 100 texts"));
        return None;
    }
    entries.iter().map(|entry| Some((entry.name.clone(), phrase(file, entry, problems)?))).collect()
}

/// What stands there may be a secret by mistake: the line is not shown.
fn phrase(file: &File, member: &Member, problems: &mut Problems) -> Option<Phrase> {
    let read = match &member.node.value {
        Value::Text(text) => Phrase::parse(text, member.node.offset),
        _ => Err("it must be a text".to_owned()),
    };
    read.inspect_err(|why| {
        let mut problem = file.problem(member.node.offset, &format!("'{}': {why}", member.name));
        problem.source_line = None;
        problems.push(problem, Some("such as \"Bearer ${secret('TOKEN')}\"".into()));
    })
    .ok()
}

fn millis(file: &File, member: &Member, problems: &mut Problems) -> Option<u64> {
    count(file, member, (1, TIMEOUT_MS_MAX), "milliseconds", problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stand_in_texts_by_name() {
        let filled = |text: &str| {
            let phrase = Phrase::parse(text, 0)?;
            let value = |name: &str| (name == "TOKEN").then_some("abcdef");
            phrase.fill(value).map_err(|name| format!("no {name}"))
        };
        assert_eq!(filled("Bearer ${secret('TOKEN')}").as_deref(), Ok("Bearer abcdef"));
        assert_eq!(filled("${ secret(\"TOKEN\") }/${secret('TOKEN')}").as_deref(), Ok("abcdef/abcdef"));
        assert_eq!(filled("a $${b} $c").as_deref(), Ok("a ${b} $c"));
        assert_eq!(filled("${secret('OTHER')}").unwrap_err(), "no OTHER");
        assert!(filled("${inputs.a}").unwrap_err().contains("only ${secret('NAME')}"));
        assert!(filled("${secret('A'").is_err());
    }
}
