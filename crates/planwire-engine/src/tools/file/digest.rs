//! `file.digest`: the SHA-256 of a file, or files of equal content.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;
use planwire_event::Digest;
use planwire_event::vocabulary::Object;
use rustix::fs::FileType;
use serde::Deserialize;
use serde_json::{Value, json};

use super::root::{Root, failure, given, shown};
use super::walk::{ENTRIES_MAX, Entry, Met, Walk};
use super::{Attention, EXTENSIONS, PATH, ROOT, SKIP, Unreadable, Watched, blocking};
use crate::policy::Reach;
use crate::tool::{Argument, Parameters, Tool, ToolContext, ToolError, ToolOutput, read_arguments};

/// Groups of equal files that are listed, and paths of one group; all are counted.
const GROUPS_MAX: usize = 100;
const GROUP_PATHS_MAX: usize = 20;

/// The tool `file.digest`.
#[derive(Clone, Copy, Debug, Default)]
pub struct DigestFiles;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    root: PathBuf,
    #[serde(default)]
    path: String,
    #[serde(default)]
    recursive: bool,
    #[serde(default)]
    extensions: Vec<String>,
    #[serde(default)]
    skip: Vec<String>,
    #[serde(default = "default_max_files")]
    max_files: u64,
}

const fn default_max_files() -> u64 {
    100_000
}

impl Tool for DigestFiles {
    fn name(&self) -> &str {
        "file.digest"
    }

    fn purpose(&self) -> &str {
        "digests a file, or finds files of equal content in a folder"
    }

    fn arguments(&self) -> Parameters {
        Parameters::listed(
            const {
                &[
                    ROOT,
                    PATH,
                    Argument::optional(
                        "recursive",
                        "true or false",
                        "whether files in folders below count too",
                    ),
                    EXTENSIONS,
                    SKIP,
                    Argument::optional(
                        "max_files",
                        "integer",
                        "more files are the error limit_exceeded; default: 100000",
                    ),
                ]
            },
        )
    }

    fn reach(&self, arguments: &Object, folder: &Path) -> Reach {
        super::reach::of(arguments, folder)
    }

    fn call(&self, arguments: Object, context: ToolContext) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        Box::pin(async move {
            let arguments: Arguments = read_arguments(arguments)?;
            blocking(context, move |context, attention| digest(arguments, context, attention)).await
        })
    }
}

fn digest(
    arguments: Arguments,
    context: &ToolContext,
    attention: &Attention,
) -> Result<ToolOutput, ToolError> {
    let root = Root::open(context, &arguments.root)?;
    let path = given(&arguments.path);
    let kind = root.kind(&path).map_err(|error| failure(error, &shown(&path)))?;
    if kind == FileType::Directory {
        return duplicates(&root, path, &arguments, attention);
    }
    let (file, _) = root.open_file(&path).map_err(|error| failure(error, &shown(&path)))?;
    match Digest::of_reader(Watched { source: file, attention }) {
        Ok((digest, size_bytes)) => {
            Ok(json!({"path": shown(&path), "digest": digest, "size_bytes": size_bytes}).into())
        }
        Err(error) => {
            attention.check()?;
            Err(ToolError::new("failed", format!("{} cannot be read: {error}", shown(&path).escape_debug())))
        }
    }
}

/// Finds equal files: only files of equal size are read at all. Empty files, and further names of one file, are not
/// duplicates.
fn duplicates(
    root: &Root,
    start: PathBuf,
    arguments: &Arguments,
    attention: &Attention,
) -> Result<ToolOutput, ToolError> {
    let mut found = Found::default();
    let walk = Walk {
        root,
        start,
        recursive: arguments.recursive,
        skip: &arguments.skip,
        entries_max: ENTRIES_MAX,
        attention,
    };
    walk.run(|met| {
        match met {
            Met::Entry(entry) if entry.is_file() && entry.has_extension(&arguments.extensions) => {
                found.add(entry, arguments.max_files)?;
            }
            Met::Entry(_) => {}
            Met::Unreadable(path) => found.unreadable.add(shown(&path)),
        }
        Ok(())
    })?;
    found.compare(root, attention)
}

#[derive(Default)]
struct Found {
    files: u64,
    bytes: u64,
    seen: HashSet<(u64, u64)>,
    by_size: BTreeMap<u64, Vec<PathBuf>>,
    unreadable: Unreadable,
}

impl Found {
    fn add(&mut self, entry: Entry, files_max: u64) -> Result<(), ToolError> {
        self.files += 1;
        if self.files > files_max {
            return Err(ToolError::new("limit_exceeded", format!("there are more than {files_max} files")));
        }
        self.bytes = self.bytes.saturating_add(entry.size_bytes);
        if entry.size_bytes > 0 && self.seen.insert(entry.identity) {
            self.by_size.entry(entry.size_bytes).or_default().push(entry.path);
        }
        Ok(())
    }

    fn compare(mut self, root: &Root, attention: &Attention) -> Result<ToolOutput, ToolError> {
        let mut groups = Vec::new();
        let by_size = std::mem::take(&mut self.by_size);
        for (size_bytes, paths) in by_size.into_iter().rev().filter(|(_, paths)| paths.len() > 1) {
            let mut by_digest: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
            for path in paths {
                attention.check()?;
                let read = root.open_file(&path).map_err(io::Error::from);
                match read.and_then(|(file, _)| Digest::of_reader(Watched { source: file, attention })) {
                    Ok((digest, _)) => by_digest.entry(digest).or_default().push(shown(&path)),
                    Err(_) => {
                        attention.check()?;
                        self.unreadable.add(shown(&path));
                    }
                }
            }
            let equal = by_digest.into_iter().filter(|(_, paths)| paths.len() > 1);
            groups.extend(equal.map(|(digest, paths)| (size_bytes, digest, paths)));
        }
        Ok(self.into_output(groups))
    }

    /// `groups` come with the largest files first.
    fn into_output(self, groups: Vec<(u64, Digest, Vec<String>)>) -> ToolOutput {
        let copies = |paths: &[String]| u64::try_from(paths.len().saturating_sub(1)).unwrap_or(u64::MAX);
        let duplicate_files: u64 = groups.iter().map(|(_, _, paths)| copies(paths)).sum();
        let duplicate_bytes = groups
            .iter()
            .fold(0_u64, |sum, (bytes, _, paths)| sum.saturating_add(bytes.saturating_mul(copies(paths))));
        let truncated =
            groups.len() > GROUPS_MAX || groups.iter().any(|(_, _, paths)| paths.len() > GROUP_PATHS_MAX);
        let duplicates: Vec<Value> = groups
            .into_iter()
            .take(GROUPS_MAX)
            .map(|(size_bytes, digest, mut paths)| {
                let copies = paths.len();
                paths.truncate(GROUP_PATHS_MAX);
                json!({"digest": digest, "size_bytes": size_bytes, "count": copies, "paths": paths})
            })
            .collect();
        let value = json!({
            "files": self.files,
            "bytes": self.bytes,
            "duplicates": duplicates,
            "duplicate_files": duplicate_files,
            "duplicate_bytes": duplicate_bytes,
            "unreadable": self.unreadable.into_value(),
            "truncated": truncated,
        });
        ToolOutput::cut(value, truncated)
    }
}
