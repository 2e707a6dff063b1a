//! The folder for temporary files of one call, which is gone afterwards.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::process::{getpid, getuid, test_kill_process};

use super::pid;

/// What the names of the folders begin with; the id of the supervisor follows.
const PREFIX: &str = "call-";

/// A folder that is removed with all that lies in it.
pub(super) struct Scratch(PathBuf);

/// The folder that holds those of all calls of this user.
pub(super) fn of_all(temporary: &Path) -> PathBuf {
    temporary.join(format!("planwire-{}", getuid().as_raw()))
}

impl Scratch {
    /// Makes one, named by this process.
    pub(super) fn new(temporary: &Path) -> io::Result<Self> {
        let parent = of_all(temporary);
        match private().create(&parent) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => is_ours(&parent)?,
            made => made?,
        }
        let folder = parent.join(format!("{PREFIX}{}", getpid().as_raw_nonzero()));
        if let Err(error) = private().create(&folder) {
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error);
            }
            // Of a supervisor that was killed and had this number before.
            std::fs::remove_dir_all(&folder)?;
            private().create(&folder)?;
        }
        Ok(Self(folder))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is tried again by `sweep`.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Removes the folders of supervisors that were killed.
pub(super) fn sweep(temporary: &Path) {
    let parent = of_all(temporary);
    if is_ours(&parent).is_err() {
        return;
    }
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        if supervisor_is_gone(&entry.file_name().to_string_lossy(), PREFIX) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether `name` is `prefix` and the id of no process.
pub(super) fn supervisor_is_gone(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .and_then(pid)
        .is_some_and(|pid| test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

fn private() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

/// Others may write into the folder above; a folder that they made under our name is none of ours.
fn is_ours(folder: &Path) -> io::Result<()> {
    let found = std::fs::symlink_metadata(folder)?;
    if found.is_dir() && found.uid() == getuid().as_raw() && found.mode() & 0o077 == 0 {
        return Ok(());
    }
    let message = format!("{} is not a folder of this user alone", folder.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}
