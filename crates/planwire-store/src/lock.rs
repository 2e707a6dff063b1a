//! The lock file beside a database: who writes it, and how to reach them.
//!
//! The operating system holds the lock and lets go of it when the process ends, however it ends; what stands in the
//! file counts only while the lock is held.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How often a lock is tried before it counts as held: whoever asks for the holder takes it for a moment.
const TRIES_MAX: u32 = 20;
/// Pause between two tries.
const TRY_PAUSE: Duration = Duration::from_millis(5);
/// Bytes of a lock file.
const INFO_BYTES_MAX: u64 = 16 * 1024;

/// Who holds a lock. Its text form leaves the token out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockInfo {
    /// Process id.
    pub pid: u32,
    /// Where its server answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Proves to that server that a request comes from the same user, who alone can read the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl LockInfo {
    /// This process, without a server.
    #[must_use]
    pub fn this_process() -> Self {
        Self { pid: std::process::id(), url: None, token: None }
    }
}

impl fmt::Display for LockInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        self.url.as_ref().map_or(Ok(()), |url| write!(f, ", which answers at {url}"))
    }
}

impl fmt::Debug for LockInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockInfo").field("pid", &self.pid).field("url", &self.url).finish_non_exhaustive()
    }
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process has it.
    #[error(
        "{} is held by {}; only one process may write a log, stop that one or use it",
        path.display(),
        holder.as_ref().map_or_else(|| "another process".to_owned(), ToString::to_string)
    )]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who has it, if it says so.
        holder: Option<LockInfo>,
    },
    /// The file could not be opened or written.
    #[error("lock file {} can not be used", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl LockFile {
    /// The lock file of a database: its path with `.lock` behind it.
    #[must_use]
    pub fn path_of(database: &Path) -> PathBuf {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        path.into()
    }

    /// Takes the lock and writes `info` into it. Only the user can read the file.
    ///
    /// # Errors
    ///
    /// [`LockError::Held`] says who has it.
    pub fn acquire(path: &Path, info: &LockInfo) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { path: path.to_owned(), source };
        let mut file = private(OpenOptions::new().read(true).write(true).create(true).truncate(false))
            .open(path)
            .map_err(failed)?;
        shut_others_out(&file).map_err(failed)?;
        let mut tries = 1;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) if tries < TRIES_MAX => std::thread::sleep(TRY_PAUSE),
                Err(TryLockError::WouldBlock) => {
                    return Err(LockError::Held { path: path.to_owned(), holder: read(&mut file) });
                }
            }
            tries += 1;
        }
        write(&mut file, info).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }

    /// Says more of the holder, as a server does once it knows its address.
    ///
    /// # Errors
    ///
    /// [`LockError::Io`] if the file can not be written.
    pub fn update(&self, info: &LockInfo) -> Result<(), LockError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        write(&mut file, info).map_err(|source| LockError::Io { path: self.path.clone(), source })
    }

    /// Says who holds the lock at `path`; none if nobody does, whatever stands in the file.
    ///
    /// # Errors
    ///
    /// [`LockError::Io`] if the file is there and can not be read.
    pub fn holder(path: &Path) -> Result<Option<LockInfo>, LockError> {
        let failed = |source| LockError::Io { path: path.to_owned(), source };
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::Error(source)) => Err(failed(source)),
            // It may be about to write who it is.
            Err(TryLockError::WouldBlock) => {
                let info = read(&mut file).or_else(|| {
                    std::thread::sleep(TRY_PAUSE);
                    read(&mut file)
                });
                Ok(Some(info.unwrap_or(LockInfo { pid: 0, url: None, token: None })))
            }
        }
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Nobody reads it without a holder; an old token need not lie about all the same.
        let _ = file.set_len(0);
    }
}

/// Only the user may read and write the file.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// A file that was there before, as a copy or made by somebody else, may be readable to others: then the token would
/// be too. Failing to change that is an error, since only its owner can.
fn shut_others_out(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        }
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

fn write(file: &mut File, info: &LockInfo) -> io::Result<()> {
    let json = serde_json::to_vec(info)?;
    file.seek(SeekFrom::Start(0))?;
    file.set_len(0)?;
    file.write_all(&json)?;
    file.flush()
}

fn read(file: &mut File) -> Option<LockInfo> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(INFO_BYTES_MAX).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_holder_is_told_who_is_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = LockFile::path_of(&folder.path().join("a.db"));
        assert!(path.ends_with("a.db.lock"));
        assert_eq!(LockFile::holder(&path).unwrap(), None);
        let lock = LockFile::acquire(&path, &LockInfo::this_process()).unwrap();
        assert_eq!(LockFile::holder(&path).unwrap(), Some(LockInfo::this_process()));
        let url = Some("http://127.0.0.1:7420".to_owned());
        let info = LockInfo { url, token: Some("secret".to_owned()), ..LockInfo::this_process() };
        lock.update(&info).unwrap();
        assert_eq!(LockFile::holder(&path).unwrap(), Some(info));
        let message = LockFile::acquire(&path, &LockInfo::this_process()).unwrap_err().to_string();
        let expected = format!("process {}, which answers at http://127.0.0.1:7420", std::process::id());
        assert!(message.contains(&expected), "{message}");
        drop(lock);
        assert_eq!(LockFile::holder(&path).unwrap(), None);
        LockFile::acquire(&path, &LockInfo::this_process()).unwrap();
    }

    #[test]
    fn what_a_dead_process_left_behind_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lock");
        std::fs::write(&path, r#"{"pid":1,"url":"http://gone"}"#).unwrap();
        assert_eq!(LockFile::holder(&path).unwrap(), None);
        drop(LockFile::acquire(&path, &LockInfo::this_process()).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn holder_that_says_nothing_is_a_holder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lock");
        let other = File::create(&path).unwrap();
        other.lock().unwrap();
        assert_eq!(LockFile::holder(&path).unwrap().map(|info| info.pid), Some(0));
        let message = LockFile::acquire(&path, &LockInfo::this_process()).unwrap_err().to_string();
        assert!(message.contains("is held by another process"), "{message}");
    }

    #[test]
    fn token_is_in_no_message() {
        let info = LockInfo { pid: 7, url: None, token: Some("secret".to_owned()) };
        assert!(!format!("{info:?} {info}").contains("secret"));
    }

    #[test]
    fn files_that_can_not_be_used_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let message = LockFile::acquire(folder.path(), &LockInfo::this_process()).unwrap_err().to_string();
        assert!(message.starts_with("lock file /"), "{message}");
        let below = folder.path().join("file");
        std::fs::write(&below, "").unwrap();
        assert!(LockFile::holder(&below.join("a.lock")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn lock_file_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lock");
        let _lock = LockFile::acquire(&path, &LockInfo::this_process()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[cfg(unix)]
    #[test]
    fn lock_file_that_others_could_read_becomes_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lock");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let _lock = LockFile::acquire(&path, &LockInfo::this_process()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
