//! `file.read`: the text of a file, or the lines of many files that hold a text.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;
use planwire_event::vocabulary::Object;
use rustix::fs::FileType;
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::{Value, json};

use super::root::{Root, failure, given, shown};
use super::walk::{ENTRIES_MAX, Met, Walk, size_of};
use super::{Attention, EXTENSIONS, PATH, ROOT, SKIP, Unreadable, blocking};
use crate::output::size;
use crate::policy::Reach;
use crate::redaction::{Edges, Redactor, lossy};
use crate::tool::{Argument, Parameters, Tool, ToolContext, ToolError, ToolOutput, read_arguments};

/// Bytes of a text when the step does not say, and the most that it may ask for.
const TEXT_BYTES_DEFAULT: usize = 64 * 1024;
const TEXT_BYTES_MAX: usize = 120 * 1024;
/// Lines that are kept when the step does not say; all are counted.
const LINES_DEFAULT: usize = 200;
/// Bytes of the kept lines as JSON.
const LINES_BYTES_MAX: usize = 100 * 1024;
/// Characters of one kept line.
const LINE_CHARS_MAX: usize = 240;
/// Bytes of each file that are searched; a longer file counts as truncated.
const SEARCH_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Bytes of one line that are looked at, so that a file without line ends costs no memory.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// Bytes at the beginning of a file in which a NUL byte says that it is no text.
const BINARY_PROBE_BYTES: usize = 8 * 1024;
/// Paths that one call may name.
const PATHS_MAX: usize = 10_000;

/// The tool `file.read`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Read;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    root: PathBuf,
    path: Option<String>,
    paths: Option<Vec<String>>,
    #[serde(default)]
    recursive: bool,
    #[serde(default)]
    extensions: Vec<String>,
    #[serde(default)]
    skip: Vec<String>,
    contains: Option<Needles>,
    #[serde(default = "default_max_bytes")]
    max_bytes: usize,
    #[serde(default = "default_max_lines")]
    max_lines: usize,
}

const fn default_max_bytes() -> usize {
    TEXT_BYTES_DEFAULT
}

const fn default_max_lines() -> usize {
    LINES_DEFAULT
}

/// One text, or several of which any will do.
#[derive(Deserialize)]
#[serde(untagged)]
enum Needles {
    One(String),
    Any(Vec<String>),
}

impl Needles {
    fn are_in(&self, line: &str) -> bool {
        match self {
            Self::One(needle) => line.contains(needle),
            Self::Any(needles) => needles.iter().any(|needle| line.contains(needle)),
        }
    }
}

impl Tool for Read {
    fn name(&self) -> &str {
        "file.read"
    }

    fn purpose(&self) -> &str {
        "reads a text file, or finds lines in many"
    }

    fn arguments(&self) -> Parameters {
        Parameters::listed(
            const {
                &[
                    ROOT,
                    PATH,
                    Argument::optional("paths", "list of paths", "several files, instead of path"),
                    Argument::optional(
                        "recursive",
                        "true or false",
                        "whether files in folders below are read too",
                    ),
                    EXTENSIONS,
                    SKIP,
                    Argument::optional(
                        "contains",
                        "text or list of texts",
                        "only lines that hold it, or one of them",
                    ),
                    Argument::optional(
                        "max_bytes",
                        "integer",
                        "where the text of a single file is cut; default: 65536",
                    ),
                    Argument::optional("max_lines", "integer", "how many lines are kept; default: 200"),
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
            blocking(context, move |context, attention| read(&arguments, context, attention)).await
        })
    }
}

fn read(
    arguments: &Arguments,
    context: &ToolContext,
    attention: &Attention,
) -> Result<ToolOutput, ToolError> {
    let root = Root::open(context, &arguments.root)?;
    if let Some(paths) = &arguments.paths {
        if arguments.path.is_some() {
            return Err(ToolError::argument("path and paths cannot both be given"));
        }
        if paths.len() > PATHS_MAX {
            return Err(ToolError::argument(format!("paths names more than {PATHS_MAX} files")));
        }
        let mut search = Search::new(&root, arguments, context, attention);
        paths.iter().try_for_each(|path| search.file(&given(path)))?;
        return Ok(search.into_output());
    }
    let path = given(arguments.path.as_deref().unwrap_or_default());
    let kind = root.kind(&path).map_err(|error| failure(error, &shown(&path)))?;
    match (kind, &arguments.contains) {
        (FileType::Directory, _) => search_folder(&root, path, arguments, context, attention),
        (_, Some(_)) => {
            let mut search = Search::new(&root, arguments, context, attention);
            // A single file that cannot be read is the failure of the call.
            root.open_file(&path).map_err(|error| failure(error, &shown(&path)))?;
            search.file(&path)?;
            Ok(search.into_output())
        }
        (_, None) => read_text(&root, &path, arguments.max_bytes, &context.redactor),
    }
}

fn read_text(
    root: &Root,
    path: &Path,
    max_bytes: usize,
    redactor: &Redactor,
) -> Result<ToolOutput, ToolError> {
    if max_bytes > TEXT_BYTES_MAX {
        return Err(ToolError::argument(format!("max_bytes is at most {TEXT_BYTES_MAX}")));
    }
    let (file, stat) = root.open_file(path).map_err(|error| failure(error, &shown(path)))?;
    let mut bytes = Vec::new();
    // One byte more tells whether there is more.
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    let truncated = bytes.len() > max_bytes;
    bytes.truncate(max_bytes);
    if truncated
        && let Err(error) = std::str::from_utf8(&bytes)
        && error.error_len().is_none()
    {
        // A character that the cut went through is left out.
        bytes.truncate(error.valid_up_to());
    }
    let text = lossy(redactor.cut_bytes(&bytes, Edges::cut_end_if(truncated)).into_owned());
    let value = json!({"text": text, "size_bytes": size_of(&stat), "truncated": truncated});
    Ok(ToolOutput::cut(value, truncated))
}

fn unreadable(path: &Path, error: &io::Error) -> ToolError {
    ToolError::new("failed", format!("{} cannot be read: {error}", shown(path).escape_debug()))
}

fn search_folder(
    root: &Root,
    start: PathBuf,
    arguments: &Arguments,
    context: &ToolContext,
    attention: &Attention,
) -> Result<ToolOutput, ToolError> {
    let mut search = Search::new(root, arguments, context, attention);
    let walk = Walk {
        root,
        start,
        recursive: arguments.recursive,
        skip: &arguments.skip,
        entries_max: ENTRIES_MAX,
        attention,
    };
    walk.run(|met| match met {
        Met::Entry(entry) if entry.is_file() && entry.has_extension(&arguments.extensions) => {
            search.file(&entry.path)
        }
        Met::Entry(_) => Ok(()),
        Met::Unreadable(path) => {
            search.unreadable.add(shown(&path));
            Ok(())
        }
    })?;
    Ok(search.into_output())
}

/// Looks for lines in files, one after the other.
struct Search<'a> {
    root: &'a Root,
    arguments: &'a Arguments,
    redactor: &'a Redactor,
    attention: &'a Attention,
    lines: Vec<Value>,
    lines_bytes: usize,
    files: u64,
    binary: u64,
    matches: u64,
    cut_files: u64,
    unreadable: Unreadable,
}

impl<'a> Search<'a> {
    fn new(
        root: &'a Root,
        arguments: &'a Arguments,
        context: &'a ToolContext,
        attention: &'a Attention,
    ) -> Self {
        Self {
            root,
            arguments,
            redactor: &context.redactor,
            attention,
            lines: Vec::new(),
            lines_bytes: 0,
            files: 0,
            binary: 0,
            matches: 0,
            cut_files: 0,
            unreadable: Unreadable::default(),
        }
    }

    /// Looks through one file; one that cannot be read is noted. Fails only if the work should end.
    fn file(&mut self, path: &Path) -> Result<(), ToolError> {
        self.attention.check()?;
        let read = self.root.open_file(path).map_err(io::Error::from).and_then(|(file, stat)| {
            self.cut_files += u64::from(size_of(&stat) > SEARCH_BYTES_MAX);
            self.lines_of(path, file)
        });
        match read {
            Ok(true) => self.files += 1,
            Ok(false) => self.binary += 1,
            Err(error) if error.raw_os_error() == Some(Errno::CANCELED.raw_os_error()) => {
                return Err(ToolError::stopped());
            }
            Err(_) => self.unreadable.add(shown(path)),
        }
        Ok(())
    }

    /// Says whether the file is text.
    fn lines_of(&mut self, path: &Path, file: File) -> io::Result<bool> {
        let mut reader = BufReader::with_capacity(BINARY_PROBE_BYTES, file).take(SEARCH_BYTES_MAX);
        if reader.fill_buf()?.contains(&0) {
            return Ok(false);
        }
        let mut bytes = Vec::new();
        let mut number = 1_u64;
        loop {
            bytes.clear();
            if (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes)? == 0 {
                return Ok(true);
            }
            let ends = bytes.last() == Some(&b'\n');
            self.line(path, number, &bytes);
            number += u64::from(ends);
            if number.is_multiple_of(4096) && self.attention.check().is_err() {
                return Err(Errno::CANCELED.into());
            }
        }
    }

    fn line(&mut self, path: &Path, number: u64, bytes: &[u8]) {
        let line = String::from_utf8_lossy(bytes);
        if !self.arguments.contains.as_ref().is_none_or(|needles| needles.are_in(&line)) {
            return;
        }
        self.matches += 1;
        if self.lines.len() >= self.arguments.max_lines || self.lines_bytes > LINES_BYTES_MAX {
            return;
        }
        // Before it is cut; and a value may go on in other lines.
        let line = lossy(self.redactor.cut_bytes(bytes.trim_ascii(), Edges::Piece).into_owned());
        let line = line.trim();
        let text: String = line.chars().take(LINE_CHARS_MAX).collect();
        let item = json!({"path": shown(path), "line": number, "text": text});
        self.lines_bytes += size(&item) + 1;
        if self.lines_bytes <= LINES_BYTES_MAX {
            self.lines.push(item);
        }
    }

    fn into_output(self) -> ToolOutput {
        let kept = u64::try_from(self.lines.len()).unwrap_or(u64::MAX);
        let truncated = kept < self.matches || self.cut_files > 0;
        let value = json!({
            "lines": self.lines,
            "files": self.files,
            "binary": self.binary,
            "matches": self.matches,
            "unreadable": self.unreadable.into_value(),
            "truncated": truncated,
        });
        ToolOutput::cut(value, truncated)
    }
}
