//! Secrets and routes: tables of the file that can stand there more than once.

use std::path::{Path, PathBuf};

use planwire_event::expression::{Expression, Purpose};
use planwire_server::a2a::config::ROUTES_MAX;

use super::file::{File, Member, Node, Value};
use super::keys::{Entry, ROUTE, SECRET};
use super::layers::Problems;

/// The one variable of a route's expressions.
const MESSAGE: &str = "message";

/// A secret by its name; its value stays where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Secret {
    /// The name in `secret("NAME")`.
    pub(crate) name: String,
    /// Where the value lies.
    pub(crate) from: SecretFrom,
    /// The line of the file that says so.
    pub(crate) line: usize,
    /// The byte at which its name stands.
    pub(crate) offset: usize,
}

/// Where the value of a secret lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretFrom {
    /// In this environment variable.
    Variable(String),
    /// In this file.
    File(PathBuf),
}

/// Which message starts which plan, or is answered at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// Whether it takes a message; none: all.
    pub(crate) when: Option<String>,
    /// What it does then.
    pub(crate) does: RouteDoes,
    /// The line of the file at which it begins.
    pub(crate) line: usize,
    /// The byte at which the name of the plan, or the answer, stands.
    pub(crate) offset: usize,
}

/// An input that a route gives to a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RouteInput {
    /// Its name.
    pub(crate) name: String,
    /// The expression that gives its value.
    pub(crate) cel: String,
    /// The byte at which its name stands.
    pub(crate) offset: usize,
}

/// What a route does with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RouteDoes {
    /// Starts a registered plan; without inputs, with the usual ones.
    Start { plan: String, inputs: Vec<RouteInput> },
    /// Answers with what an expression gives.
    Answer(String),
}

/// Reads `[engine.secrets]`.
pub(crate) fn secrets(file: &File, members: &[Member], problems: &mut Problems) -> Vec<Secret> {
    members.iter().filter_map(|member| secret(file, member, problems)).collect()
}

fn secret(file: &File, member: &Member, problems: &mut Problems) -> Option<Secret> {
    let name = &member.name;
    if !is_name(name) {
        let message = format!("{} is no name of a secret", super::file::quoted(name));
        problems.push(
            file.problem(member.offset, &message),
            Some("letters, digits and _, no digit first".into()),
        );
        return None;
    }
    let example =
        format!("{name} = {{ env = \"{name}\" }}, or {name} = {{ file = \"/run/secrets/{name}\" }}");
    let Value::Table(said) = &member.node.value else {
        // The value may be the secret itself: the line is not shown.
        let mut problem =
            file.problem(member.offset, &format!("secret {name} must say where its value lies"));
        problem.source_line = None;
        problems.push(problem, Some(example));
        return None;
    };
    let place = format!("secret {name}");
    let mut from = Vec::new();
    for member in said {
        match entry(file, member, &SECRET, &place, problems)
            .map(|entry| (entry.name, text(file, member, problems)))
        {
            Some(("env", Some(variable))) => from.push(SecretFrom::Variable(variable)),
            Some((_, Some(path))) => from.push(SecretFrom::File(file.folder().join(path))),
            _ => return None,
        }
    }
    match <[SecretFrom; 1]>::try_from(from) {
        Ok([from]) => {
            Some(Secret { name: name.clone(), from, line: file.line(member.offset), offset: member.offset })
        }
        Err(_) => {
            let message = format!("{place} must have either 'env' or 'file'");
            problems.push(file.problem(member.offset, &message), Some(example));
            None
        }
    }
}

pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Reads `[[a2a.routes]]`.
pub(crate) fn routes(file: &File, node: &Node, problems: &mut Problems) -> Vec<Route> {
    let Value::List(nodes) = &node.value else {
        problems.push(
            file.problem(node.offset, "'a2a.routes' must be a list of tables"),
            Some("[[a2a.routes]]".into()),
        );
        return Vec::new();
    };
    if nodes.len() > ROUTES_MAX {
        problems.push(file.problem(node.offset, &format!("more than {ROUTES_MAX} routes")), None);
        return Vec::new();
    }
    nodes.iter().filter_map(|node| route(file, node, problems)).collect()
}

fn route(file: &File, node: &Node, problems: &mut Problems) -> Option<Route> {
    let Value::Table(members) = &node.value else {
        problems.push(file.problem(node.offset, "a route must be a table"), Some("[[a2a.routes]]".into()));
        return None;
    };
    let (mut when, mut plan, mut inputs, mut answer) = (None, None, None, None);
    let mut offset = node.offset;
    let before = problems.len();
    for member in members {
        match entry(file, member, &ROUTE, "a route", problems).map(|entry| entry.name) {
            Some("when") => when = expression(file, member, problems),
            Some("plan") => {
                offset = member.node.offset;
                plan = text(file, member, problems);
            }
            Some("answer") => {
                offset = member.node.offset;
                answer = expression(file, member, problems);
            }
            Some(_) => inputs = input_expressions(file, member, problems),
            None => {}
        }
    }
    if problems.len() > before {
        return None;
    }
    let does = match (plan, answer, inputs) {
        (Some(plan), None, inputs) => RouteDoes::Start { plan, inputs: inputs.unwrap_or_default() },
        (None, Some(answer), None) => RouteDoes::Answer(answer),
        (None, Some(_), Some(_)) => {
            problems.push(file.problem(offset, "a route with 'answer' has no 'inputs'"), None);
            return None;
        }
        _ => {
            let problem = file.problem(offset, "a route must have either 'plan' or 'answer'");
            problems.push(
                problem,
                Some("plan = \"NAME\" starts a plan, answer = \"CEL\" answers at once".into()),
            );
            return None;
        }
    };
    Some(Route { when, does, line: file.line(node.offset), offset })
}

fn input_expressions(file: &File, member: &Member, problems: &mut Problems) -> Option<Vec<RouteInput>> {
    let Value::Table(inputs) = &member.node.value else {
        let problem = file.problem(member.node.offset, "'inputs' must be a table of expressions");
        problems.push(problem, Some("inputs = { folder = \"message.data.folder\" }".into()));
        return None;
    };
    let one = |input: &Member| {
        let cel = expression(file, input, problems)?;
        Some(RouteInput { name: input.name.clone(), cel, offset: input.offset })
    };
    inputs.iter().map(one).collect()
}

fn expression(file: &File, member: &Member, problems: &mut Problems) -> Option<String> {
    let source = text(file, member, problems)?;
    match Expression::compile(&source, &[MESSAGE], Purpose::Document) {
        Ok(_) => Some(source),
        Err(error) => {
            let offset = file.offset_in(&member.node, &source, error.offset);
            problems.push(file.problem(offset, &format!("'{}': {}", member.name, error.kind)), None);
            None
        }
    }
}

pub(crate) fn entry<'a>(
    file: &File,
    member: &Member,
    known: &'a [Entry],
    place: &str,
    problems: &mut Problems,
) -> Option<&'a Entry> {
    let found = known.iter().find(|entry| entry.name == member.name);
    if found.is_none() {
        problems.unknown_key(file, member, place, known.iter().map(|entry| entry.name));
    }
    found
}

pub(crate) fn text(file: &File, member: &Member, problems: &mut Problems) -> Option<String> {
    match &member.node.value {
        Value::Text(text) if !text.is_empty() => Some(text.clone()),
        _ => {
            let misfit = member.node.misfit("text");
            problems.misfit_in(file, &member.name, &misfit);
            None
        }
    }
}

/// The value of a secret.
///
/// # Errors
///
/// A text that says which variable or file is missing, and what to do.
pub(crate) fn read_secret(
    secret: &Secret,
    variable: impl Fn(&str) -> Option<std::ffi::OsString>,
) -> Result<String, String> {
    let name = &secret.name;
    match &secret.from {
        SecretFrom::Variable(from) => {
            let value = variable(from).ok_or_else(|| {
                format!("secret {name} is not there: environment variable {from} is not set")
            })?;
            value
                .into_string()
                .map_err(|_| format!("secret {name} in environment variable {from} is not UTF-8"))
        }
        SecretFrom::File(path) => read_secret_file(path)
            .map_err(|why| format!("secret {name} is not there: file {} {why}", path.display())),
    }
}

fn read_secret_file(path: &Path) -> Result<String, String> {
    use std::io::Read as _;
    const BYTES_MAX: u64 = 64 * 1024;
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text));
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > BYTES_MAX { Err(format!("exceeds {BYTES_MAX} bytes")) } else { Ok(text) }
}
