//! `file.list`: what lies in a folder, with exact totals.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;
use planwire_event::vocabulary::Object;
use rustix::fs::FileType;
use serde::Deserialize;
use serde_json::{Value, json};

use super::root::{Root, extension, given, shown};
use super::walk::{Entry, Met, Walk};
use super::{Attention, ROOT, Unreadable, blocking};
use crate::output::size;
use crate::policy::Reach;
use crate::tool::{Argument, Parameters, Tool, ToolContext, ToolError, ToolOutput, read_arguments};

/// Bytes of `entries` and of `folders` as JSON; those beyond are counted in the totals and not listed.
const ENTRIES_BYTES_MAX: usize = 64 * 1024;
const FOLDERS_BYTES_MAX: usize = 32 * 1024;
/// Files in `largest`.
const LARGEST_MAX: usize = 10;
/// Extensions in `by_extension`; the rest is added up under [`OTHER`].
const EXTENSIONS_MAX: usize = 100;
const OTHER: &str = "(other)";

const _: () =
    assert!(ENTRIES_BYTES_MAX + FOLDERS_BYTES_MAX + 24 * 1024 < crate::output::TOOL_OUTPUT_BYTES_MAX);

/// The tool `file.list`.
#[derive(Clone, Copy, Debug, Default)]
pub struct List;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    root: PathBuf,
    #[serde(default)]
    path: String,
    #[serde(default)]
    recursive: bool,
    #[serde(default = "default_max_entries")]
    max_entries: u64,
    #[serde(default)]
    skip: Vec<String>,
    #[serde(default)]
    extensions: Vec<String>,
}

const fn default_max_entries() -> u64 {
    1000
}

impl Tool for List {
    fn name(&self) -> &str {
        "file.list"
    }

    fn purpose(&self) -> &str {
        "lists a folder, with totals by kind and extension"
    }

    fn arguments(&self) -> Parameters {
        Parameters::listed(
            const {
                &[
                    ROOT,
                    Argument::optional("path", "path", "the folder, below the root; default: the root"),
                    Argument::optional("recursive", "true or false", "whether folders in it are listed too"),
                    Argument::optional(
                        "max_entries",
                        "integer",
                        "more entries are the error limit_exceeded; default: 1000",
                    ),
                    Argument::optional("skip", "list of texts", "names that are passed over at every level"),
                    Argument::optional(
                        "extensions",
                        "list of texts",
                        "only files with one of these, as in [rs, md]",
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
            blocking(context, move |context, attention| list(&arguments, context, attention)).await
        })
    }
}

fn list(
    arguments: &Arguments,
    context: &ToolContext,
    attention: &Attention,
) -> Result<ToolOutput, ToolError> {
    let root = Root::open(context, &arguments.root)?;
    let walk = Walk {
        root: &root,
        start: given(&arguments.path),
        recursive: arguments.recursive,
        skip: &arguments.skip,
        entries_max: arguments.max_entries,
        attention,
    };
    let mut listing = Listing::default();
    walk.run(|met| {
        match met {
            Met::Entry(entry) if entry.is_file() && !entry.has_extension(&arguments.extensions) => {}
            Met::Entry(entry) => listing.add(&entry),
            Met::Unreadable(path) => listing.unreadable.add(shown(&path)),
        }
        Ok(())
    })?;
    Ok(listing.into_output())
}

#[derive(Default)]
struct Listing {
    entries: Cut,
    folders: Cut,
    counts: Counts,
    by_extension: BTreeMap<String, Sum>,
    largest: BinaryHeap<Reverse<(u64, Reverse<String>)>>,
    unreadable: Unreadable,
}

#[derive(Default)]
struct Counts {
    files: u64,
    folders: u64,
    links: u64,
    others: u64,
    bytes: u64,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    files: u64,
    bytes: u64,
}

impl Sum {
    const fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// A list that ends when its bytes are used up.
#[derive(Default)]
struct Cut {
    items: Vec<Value>,
    bytes: usize,
    full: bool,
}

impl Cut {
    fn push(&mut self, bytes_max: usize, item: impl FnOnce() -> Value) {
        if self.full {
            return;
        }
        let item = item();
        self.bytes += size(&item) + 1;
        self.full = self.bytes > bytes_max;
        if !self.full {
            self.items.push(item);
        }
    }
}

impl Listing {
    fn add(&mut self, entry: &Entry) {
        let item = || item_of(entry);
        self.entries.push(ENTRIES_BYTES_MAX, item);
        match entry.kind {
            FileType::RegularFile => self.add_file(entry),
            FileType::Directory => {
                self.counts.folders += 1;
                self.folders.push(FOLDERS_BYTES_MAX, item);
            }
            FileType::Symlink => self.counts.links += 1,
            _ => self.counts.others += 1,
        }
    }

    fn add_file(&mut self, entry: &Entry) {
        let sum = Sum { files: 1, bytes: entry.size_bytes };
        self.counts.files += 1;
        self.counts.bytes = self.counts.bytes.saturating_add(entry.size_bytes);
        self.by_extension.entry(extension(entry.name())).or_default().add(sum);
        let smallest = self.largest.peek().map_or(0, |Reverse((bytes, _))| *bytes);
        if self.largest.len() < LARGEST_MAX || entry.size_bytes > smallest {
            self.largest.push(Reverse((entry.size_bytes, Reverse(shown(&entry.path)))));
            if self.largest.len() > LARGEST_MAX {
                self.largest.pop();
            }
        }
    }

    fn into_output(self) -> ToolOutput {
        let largest: Vec<Value> = self
            .largest
            .into_sorted_vec()
            .into_iter()
            .map(|Reverse((bytes, Reverse(path)))| json!({"path": path, "size_bytes": bytes}))
            .collect();
        let truncated = self.entries.full || self.folders.full;
        let value = json!({
            "entries": self.entries.items,
            "folders": self.folders.items,
            "totals": {
                "files": self.counts.files,
                "folders": self.counts.folders,
                "links": self.counts.links,
                "others": self.counts.others,
                "bytes": self.counts.bytes,
                "unreadable": self.unreadable.count,
                "by_extension": by_extension(self.by_extension),
            },
            "largest": largest,
            "unreadable": self.unreadable.into_value(),
            "truncated": truncated,
        });
        ToolOutput::cut(value, truncated)
    }
}

fn by_extension(sums: BTreeMap<String, Sum>) -> Value {
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, sum)| Reverse(sum.bytes));
    let mut other = Sum::default();
    for (_, sum) in sums.drain(EXTENSIONS_MAX.min(sums.len())..) {
        other.add(sum);
    }
    if other.files > 0 {
        sums.push((OTHER.into(), other));
    }
    let members = sums.into_iter().map(|(name, sum)| (name, json!({"files": sum.files, "bytes": sum.bytes})));
    Value::Object(members.collect())
}

fn item_of(entry: &Entry) -> Value {
    let kind = match entry.kind {
        FileType::RegularFile => "file",
        FileType::Directory => "folder",
        FileType::Symlink => "link",
        _ => "other",
    };
    json!({
        "name": entry.name().to_string_lossy(),
        "path": shown(&entry.path),
        "kind": kind,
        "size_bytes": if entry.is_file() { entry.size_bytes } else { 0 },
        "extension": if entry.is_file() { extension(entry.name()) } else { String::new() },
    })
}
