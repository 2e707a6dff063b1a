//! The folder in which a program runs.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use crate::tool::ToolError;

const FLAGS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Tries to open a folder of which a rename elsewhere made the kernel unsure.
const TRIES: u32 = 16;

/// Opens `cwd`. One that is relative does not lead out of `base`, by `..` or by a link.
pub(super) fn open(base: &Path, cwd: Option<&Path>) -> Result<OwnedFd, ToolError> {
    let shown = cwd.map_or_else(|| base.to_path_buf(), |cwd| base.join(cwd));
    let opened = match cwd {
        None => openat(CWD, base, FLAGS, Mode::empty()),
        Some(cwd) if cwd.is_absolute() => openat(CWD, cwd, FLAGS, Mode::empty()),
        Some(cwd) => openat(CWD, base, FLAGS, Mode::empty()).and_then(|base| open_below(&base, cwd)),
    };
    opened.map_err(|error| match error {
        Errno::XDEV | Errno::LOOP => {
            ToolError::new("denied", format!("cwd {} leads out of the working folder", shown.display()))
        }
        _ => ToolError::new("bad_cwd", format!("cwd {} is not a folder", shown.display())),
    })
}

fn open_below(base: &OwnedFd, cwd: &Path) -> Result<OwnedFd, Errno> {
    let cwd = if cwd.as_os_str().is_empty() { Path::new(".") } else { cwd };
    for _ in 0..TRIES {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        match openat2(base, cwd, FLAGS, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}
