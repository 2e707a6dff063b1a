//! The folder for temporary files of one call, which is gone afterwards.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::process::{getpid, getuid, test_kill_process};

use super::pid;

/// What the names of the folders begin with; who the supervisor is follows.
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
        let folder = parent.join(named_by_us(PREFIX));
        if let Err(error) = private().create(&folder) {
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error);
            }
            // Of a supervisor that was killed and had this number before.
            remove(&folder)?;
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
        let _ = remove(&self.0);
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
            let _ = remove(&entry.path());
        }
    }
}

/// `prefix`, the pid namespace of this process, and its id there. Containers may share a folder and have equal ids.
pub(super) fn named_by_us(prefix: &str) -> String {
    format!("{prefix}{:x}-{}", namespace(), getpid().as_raw_nonzero())
}

/// The pid namespace of this process.
fn namespace() -> u64 {
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino())
}

/// Whether `name` is `prefix`, our pid namespace, and the id of no process in it.
pub(super) fn supervisor_is_gone(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .and_then(|name| name.strip_prefix(&format!("{:x}-", namespace())))
        .and_then(pid)
        .is_some_and(|pid| test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

/// Removes a folder, also where those in it deny that to their owner, as caches of modules do.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(folder);
            std::fs::remove_dir_all(folder)
        }
        removed => removed,
    }
}

/// Lets the owner into a folder and all below it. Links are not followed.
fn open_up(folder: &Path) {
    let mut left = vec![folder.to_path_buf()];
    while let Some(folder) = left.pop() {
        // What is left of it is told by who removes it.
        let _ = std::fs::set_permissions(&folder, Permissions::from_mode(0o700));
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                left.push(entry.path());
            }
        }
    }
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
