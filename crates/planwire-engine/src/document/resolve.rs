//! Loads a document with all its subplans: files relative to the file that names them, each read once.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use planwire_event::Digest;

use super::body::{self, BODY_BYTES_MAX};
use super::diagnostic::{Diagnostic, Diagnostics, quoted};
use super::model::{DEPTH_MAX, Resolved};
use super::node::{self, Node, NodeValue};
use super::parse;
use super::source::{FILE_BYTES_MAX, Place, Source};
use crate::tool_set::ToolSet;

/// Files of one document with its subplans.
pub const FILES_MAX: usize = 200;

/// Where the files of subplans are found.
#[derive(Clone, Copy, Debug)]
pub enum Folder<'a> {
    /// Nowhere: subplans must stand inline.
    None,
    /// In this folder of the file system.
    Path(&'a Path),
    /// In this list of names and texts, such as documents that are part of a program.
    Embedded(&'a [(&'a str, &'a str)]),
}

/// Loads documents and collects what is wrong with them.
pub(super) struct Loader<'a> {
    /// `None`: any tool with any arguments.
    pub(super) tools: Option<&'a ToolSet>,
    pub(super) problems: Diagnostics,
    /// Expressions so far.
    pub(super) expressions: usize,
    folder: Folder<'a>,
    /// What came of each file; `None` if it has a problem.
    done: BTreeMap<PathBuf, Option<Resolved>>,
    /// The files that are being read, outermost first, with their names for people.
    open: Vec<(PathBuf, String)>,
    /// Documents that stand inside of each other, whether in files or inline.
    depth: u32,
}

impl<'a> Loader<'a> {
    pub(super) fn new(tools: Option<&'a ToolSet>, folder: Folder<'a>) -> Self {
        let (problems, done, open) = (Diagnostics::default(), BTreeMap::new(), Vec::new());
        Self { tools, problems, expressions: 0, folder, done, open, depth: 0 }
    }

    /// Reads the outermost document. `file` is its place in the folder, if it has one.
    pub(super) fn run(mut self, source: &Source, file: Option<&Path>) -> Result<Resolved, Diagnostics> {
        let name = source.name.clone();
        self.open.push((self.identity(file.unwrap_or(Path::new(&name))), name.clone()));
        let resolved = match node::read(source) {
            Ok(node) => self.document(source, &node),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        };
        self.problems.sort(&name);
        match resolved {
            Some(resolved) if self.problems.is_empty() => Ok(resolved),
            _ => Err(self.problems),
        }
    }

    /// Reads the tree of a stored document.
    pub(super) fn run_tree(mut self, source: &Source, node: &Node) -> Result<Resolved, Diagnostics> {
        match self.document(source, node) {
            Some(resolved) if self.problems.is_empty() => Ok(resolved),
            _ => Err(self.problems),
        }
    }

    /// The document below a step's `plan:`, in a file or inline. `None` if it has a problem, which is reported.
    pub(super) fn subplan(&mut self, source: &Source, node: &Node) -> Option<Resolved> {
        if self.depth > DEPTH_MAX {
            let message = format!("more than {DEPTH_MAX} levels of plans");
            self.problems.push(Diagnostic::new(source, node.place, message));
            return None;
        }
        match &node.value {
            NodeValue::Map(_) => self.document(source, node),
            NodeValue::Text(file, _) => self.file(source, node.place, file),
            _ => {
                let message = format!("'plan' must be a file or a plan, not {}", node.kind());
                self.problems.push(Diagnostic::new(source, node.place, message));
                None
            }
        }
    }

    fn document(&mut self, source: &Source, node: &Node) -> Option<Resolved> {
        self.depth += 1;
        let parsed = parse::document(source, node, self);
        self.depth -= 1;
        let parsed = parsed?;
        match body::write(node, &parsed.children) {
            Ok(body) => {
                let digest = Digest::of(body.as_bytes());
                Some(Resolved { document: Arc::new(parsed.document), body: body.into(), digest })
            }
            Err(body::TooLarge) => {
                let message =
                    format!("the plan with its subplans exceeds the limit of {BODY_BYTES_MAX} bytes");
                self.problems.push(Diagnostic::new(source, node.place, message));
                None
            }
        }
    }

    fn file(&mut self, from: &Source, place: Place, file: &str) -> Option<Resolved> {
        match self.find(file).and_then(|(path, name)| Ok((self.check_cycle(&path, &name)?, path, name))) {
            Ok(((), path, name)) => self.load(from, place, file, &path, &name),
            Err((message, hint)) => {
                self.problems.push(Diagnostic::new(from, place, message).maybe_hint(hint));
                None
            }
        }
    }

    fn load(&mut self, from: &Source, place: Place, file: &str, path: &Path, name: &str) -> Option<Resolved> {
        let identity = self.identity(path);
        if let Some(done) = self.done.get(&identity) {
            return done.clone();
        }
        let text = if self.done.len() >= FILES_MAX {
            Err(Diagnostic::new(from, place, format!("more than {FILES_MAX} files of subplans")))
        } else {
            self.read(path, name).map_err(|problem| match problem {
                Unreadable::Missing(why) => {
                    Diagnostic::new(from, place, format!("subplan {} cannot be read: {why}", quoted(file)))
                        .hint(format!("it was looked for at {name}"))
                }
                Unreadable::Text(diagnostic) => diagnostic,
            })
        };
        let resolved = match text.and_then(|text| {
            let source = Source::new(name, &text);
            node::read(&source).map(|node| (source, node))
        }) {
            Ok((source, node)) => {
                self.open.push((identity.clone(), name.to_owned()));
                let resolved = self.document(&source, &node);
                self.open.pop();
                resolved
            }
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        };
        self.done.insert(identity, resolved.clone());
        resolved
    }

    /// The path of a subplan's file, and its name for people.
    fn find(&self, file: &str) -> Result<(PathBuf, String), (String, Option<String>)> {
        if matches!(self.folder, Folder::None) {
            let hint = "write the plan inline, as a mapping with plan:, goal: and steps:";
            return Err(("files of subplans cannot be read here".to_owned(), Some(hint.to_owned())));
        }
        if Path::new(file).is_absolute() {
            let message = format!("the file of a subplan must be relative, not {}", quoted(file));
            return Err((message, Some("such as ./folder.yaml, seen from this file".to_owned())));
        }
        let (path, name) = self.open.last().map_or(("".as_ref(), ""), |(path, name)| (path.as_path(), name));
        let path = joined(path.parent().unwrap_or(Path::new("")), file);
        let name = joined(Path::new(name).parent().unwrap_or(Path::new("")), file);
        Ok((path, name.to_string_lossy().into_owned()))
    }

    fn check_cycle(&self, path: &Path, name: &str) -> Result<(), (String, Option<String>)> {
        let identity = self.identity(path);
        let Some(at) = self.open.iter().position(|(open, _)| *open == identity) else { return Ok(()) };
        let mut names: Vec<&str> = self.open[at..].iter().map(|(_, name)| name.as_str()).collect();
        names.push(name);
        let message = format!("files contain each other: {}", names.join(" -> "));
        Err((message, Some("a plan cannot be its own subplan; use for_each to repeat one".to_owned())))
    }

    /// What tells one file from another.
    fn identity(&self, path: &Path) -> PathBuf {
        match self.folder {
            Folder::Path(_) => path.canonicalize().unwrap_or_else(|_| path.to_path_buf()),
            Folder::None | Folder::Embedded(_) => joined(Path::new(""), &path.to_string_lossy()),
        }
    }

    fn read(&self, path: &Path, name: &str) -> Result<String, Unreadable> {
        match self.folder {
            Folder::None => Err(Unreadable::Missing("files cannot be read here".to_owned())),
            Folder::Path(_) => read_file(path, name),
            Folder::Embedded(files) => {
                let found = files.iter().find(|(known, _)| joined(Path::new(""), known) == path);
                found
                    .map(|(_, text)| (*text).to_owned())
                    .ok_or_else(|| Unreadable::Missing("there is no such file".to_owned()))
            }
        }
    }
}

/// Why a file gives no text.
pub(super) enum Unreadable {
    /// It cannot be opened: a problem of whoever names it.
    Missing(String),
    /// Its content is no text: a problem of the file itself.
    Text(Diagnostic),
}

/// Reads a file of at most [`FILE_BYTES_MAX`] as UTF-8.
pub(super) fn read_file(path: &Path, name: &str) -> Result<String, Unreadable> {
    let missing = |error: std::io::Error| {
        Unreadable::Missing(match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
            std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => error.to_string(),
        })
    };
    // A pipe or device would make the check wait for ever.
    if !std::fs::metadata(path).map_err(missing)?.is_file() {
        return Err(Unreadable::Missing("it is no file".to_owned()));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(missing)?;
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(missing)?;
    if bytes.len() > FILE_BYTES_MAX {
        let message = format!("the file exceeds the limit of {FILE_BYTES_MAX} bytes");
        return Err(Unreadable::Text(Diagnostic::of_file(name, message)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let sound =
            String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
        let source = Source::new(name, &sound);
        let place = source.place_of(source.text.len());
        let mut problem = Diagnostic::new(&source, place, "the file is not UTF-8").hint("save it as UTF-8");
        problem.source_line = None;
        Unreadable::Text(problem)
    })
}

/// `file` seen from `folder`, without `.` and, as far as names go, without `..`.
fn joined(folder: &Path, file: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for component in folder.components().chain(Path::new(file).components()) {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(path.components().next_back(), Some(Component::Normal(_))) => {
                path.pop();
            }
            other => path.push(other),
        }
    }
    path
}
