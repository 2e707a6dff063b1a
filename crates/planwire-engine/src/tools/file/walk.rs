//! Walks folders in the order of names, without following links and without recursion.

use std::ffi::{CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Stat, statat};
use rustix::io::Errno;

use super::Attention;
use super::root::{DEPTH_MAX, Root, extension, failure, shown};
use crate::tool::ToolError;

/// Entries that one walk looks at, whatever a document asks for.
pub const ENTRIES_MAX: u64 = 1_000_000;

/// What a walk looks at.
pub(super) struct Walk<'a> {
    pub(super) root: &'a Root,
    /// Where it starts, below the root.
    pub(super) start: PathBuf,
    /// Whether it goes into folders.
    pub(super) recursive: bool,
    /// Names that it passes over at every level.
    pub(super) skip: &'a [String],
    /// Entries after which it gives up.
    pub(super) entries_max: u64,
    pub(super) attention: &'a Attention,
}

/// Something that a walk came to.
pub(super) struct Entry {
    /// Below the root.
    pub(super) path: PathBuf,
    pub(super) kind: FileType,
    pub(super) size_bytes: u64,
    /// Device and number, the same for every name of one file.
    pub(super) identity: (u64, u64),
}

impl Entry {
    pub(super) fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }

    pub(super) fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile
    }

    /// Whether it is a file with one of `extensions`; none named means any.
    pub(super) fn has_extension(&self, extensions: &[String]) -> bool {
        extensions.is_empty() || extensions.contains(&extension(self.name()))
    }
}

/// What a walk met.
pub(super) enum Met {
    Entry(Entry),
    /// A folder or entry that could not be read; the walk goes on.
    Unreadable(PathBuf),
}

impl Walk<'_> {
    /// Calls `see` for everything below the start: each folder's entries by name, then what lies in its folders.
    ///
    /// Fails if the start cannot be read, there are too many entries, or the work should end.
    pub(super) fn run(&self, mut see: impl FnMut(Met) -> Result<(), ToolError>) -> Result<(), ToolError> {
        let mut seen = 0_u64;
        let mut folders = vec![(self.start.clone(), 0_usize)];
        while let Some((folder, depth)) = folders.pop() {
            let mut entries = Vec::new();
            let read = self.read_folder(&folder, &mut seen, &mut |met| {
                entries.push(met);
                Ok(())
            });
            match read {
                Ok(()) => {}
                Err(Stopped::Tool(error)) => return Err(error),
                Err(Stopped::Folder(error)) if depth == 0 => return Err(failure(error, &shown(&folder))),
                Err(Stopped::Folder(_)) => see(Met::Unreadable(folder))?,
            }
            entries.sort_by(|a, b| met_path(a).cmp(met_path(b)));
            let first_below = folders.len();
            for met in entries {
                if let Met::Entry(entry) = &met
                    && entry.kind == FileType::Directory
                    && self.recursive
                {
                    if depth < DEPTH_MAX {
                        folders.push((entry.path.clone(), depth + 1));
                    } else {
                        see(Met::Unreadable(entry.path.clone()))?;
                    }
                }
                see(met)?;
            }
            // The stack gives the last one first.
            folders[first_below..].reverse();
        }
        Ok(())
    }

    fn read_folder(
        &self,
        folder: &Path,
        seen: &mut u64,
        see: &mut impl FnMut(Met) -> Result<(), ToolError>,
    ) -> Result<(), Stopped> {
        let fd = self.root.open_folder(folder).map_err(Stopped::Folder)?;
        let dir = Dir::read_from(&fd).map_err(Stopped::Folder)?;
        for name in dir {
            self.attention.check().map_err(Stopped::Tool)?;
            // A folder that fails half-way shows what it gave before.
            let Ok(name) = name else {
                see(Met::Unreadable(folder.to_path_buf())).map_err(Stopped::Tool)?;
                break;
            };
            let name = name.file_name();
            if self.passes_over(name) {
                continue;
            }
            *seen += 1;
            let entries_max = self.entries_max.min(ENTRIES_MAX);
            if *seen > entries_max {
                return Err(Stopped::Tool(self.too_many(entries_max)));
            }
            see(entry_of(&fd, folder, name)).map_err(Stopped::Tool)?;
        }
        Ok(())
    }

    fn passes_over(&self, name: &CStr) -> bool {
        let bytes = name.to_bytes();
        bytes == b"." || bytes == b".." || self.skip.iter().any(|skip| skip.as_bytes() == bytes)
    }

    fn too_many(&self, entries_max: u64) -> ToolError {
        let message = format!("{} holds more than {entries_max} entries", shown(&self.start).escape_debug());
        ToolError::new("limit_exceeded", message)
    }
}

enum Stopped {
    /// The call fails.
    Tool(ToolError),
    /// The folder cannot be read.
    Folder(Errno),
}

fn met_path(met: &Met) -> &Path {
    match met {
        Met::Entry(entry) => &entry.path,
        Met::Unreadable(path) => path,
    }
}

fn entry_of(folder_fd: &impl std::os::fd::AsFd, folder: &Path, name: &CStr) -> Met {
    let path = folder.join(OsString::from(OsStr::from_bytes(name.to_bytes())));
    match statat(folder_fd, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Met::Entry(Entry {
            path,
            kind: FileType::from_raw_mode(stat.st_mode),
            size_bytes: size_of(&stat),
            identity: (stat.st_dev, stat.st_ino),
        }),
        Err(_) => Met::Unreadable(path),
    }
}

/// Bytes of a file's content.
pub(super) fn size_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}
