//! The folder that nothing leads out of, and what lies below it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2};
use rustix::io::Errno;

use crate::tool::{ToolContext, ToolError};

/// Levels of folders below the start of a walk.
pub const DEPTH_MAX: usize = 128;

/// A root folder.
pub(super) struct Root {
    fd: OwnedFd,
}

impl Root {
    /// Opens the root folder; it may be a link itself.
    pub(super) fn open(context: &ToolContext, root: &Path) -> Result<Self, ToolError> {
        let path = context.folder.join(root);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, &path, flags, Mode::empty())
            .map(|fd| Self { fd })
            .map_err(|error| failure(error, &format!("root {}", path.display())))
    }

    /// Opens what `path` names below the root.
    pub(super) fn open_below(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        // The kernel answers EAGAIN when a rename elsewhere made it unsure; a few tries settle it.
        for _ in 0..16 {
            match openat2(&self.fd, named(path), flags | OFlags::CLOEXEC, mode, resolve) {
                Err(Errno::AGAIN) => {}
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }

    /// Opens a folder to read its names.
    pub(super) fn open_folder(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.open_below(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
    }

    /// Opens a file to read it; anything that is no regular file is refused without waiting for it.
    pub(super) fn open_file(&self, path: &Path) -> Result<(File, Stat), Errno> {
        let fd = self.open_below(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty())?;
        let stat = fstat(&fd)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok((File::from(fd), stat)),
            FileType::Directory => Err(Errno::ISDIR),
            _ => Err(Errno::NXIO),
        }
    }

    /// What kind of thing `path` names; links are followed as far as they stay below the root.
    pub(super) fn kind(&self, path: &Path) -> Result<FileType, Errno> {
        let fd = self.open_below(path, OFlags::PATH, Mode::empty())?;
        Ok(FileType::from_raw_mode(fstat(&fd)?.st_mode))
    }
}

/// The root itself has no name below itself.
fn named(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// A path below the root as people and documents see it; bytes that are no UTF-8 are replaced.
pub(super) fn shown(path: &Path) -> String {
    if path.as_os_str().is_empty() { ".".into() } else { path.to_string_lossy().into_owned() }
}

/// A path as a document gives it, without `.` and repeated slashes. What leads out is left for the kernel to refuse.
pub(super) fn given(path: &str) -> PathBuf {
    PathBuf::from(path.replace('\0', "\u{fffd}")).components().filter(not_current).collect()
}

fn not_current(component: &std::path::Component<'_>) -> bool {
    !matches!(component, std::path::Component::CurDir)
}

/// Extension of a name in lower case; empty for a name without a plausible one.
pub(super) fn extension(name: &OsStr) -> String {
    const EXTENSION_BYTES_MAX: usize = 16;
    let plausible = |extension: &&OsStr| {
        extension.len() <= EXTENSION_BYTES_MAX
            && extension
                .as_bytes()
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'-'))
    };
    let extension: Option<OsString> =
        Path::new(name).extension().filter(plausible).map(OsStr::to_ascii_lowercase);
    extension.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Says in our words why something could not be opened.
pub(super) fn failure(error: Errno, what: &str) -> ToolError {
    let what = what.escape_debug();
    match error {
        Errno::NOENT => ToolError::new("not_found", format!("{what} is not there")),
        Errno::XDEV => ToolError::new("outside_root", format!("{what} leads out of the root folder")),
        Errno::LOOP => ToolError::new("link_loop", format!("{what} leads through too many links")),
        Errno::ACCESS | Errno::PERM => ToolError::new("not_allowed", format!("{what} may not be opened")),
        Errno::NOTDIR => ToolError::new("not_a_folder", format!("{what} is not a folder")),
        Errno::ISDIR => ToolError::new("not_a_file", format!("{what} is a folder, not a file")),
        Errno::NXIO => ToolError::new("not_a_file", format!("{what} is not a regular file")),
        other => ToolError::new("failed", format!("{what}: {other}")),
    }
}
