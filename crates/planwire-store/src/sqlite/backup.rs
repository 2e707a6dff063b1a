//! A copy of a SQLite log, made while the log is written.
//!
//! All pages are copied of one moment, which a read transaction holds: the writer goes on meanwhile, and only its WAL
//! grows. The copy is one file that needs no WAL, is verified, and gets its name when all of it is on disk.
//! **Invariant:** what has the name of a backup is a whole log.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use planwire_event::{LogId, Position};
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::contract::{Head, StoreError};
use crate::copying::{Existing, Stage, Told, verified};
use crate::lock::{LockFile, private};
use crate::sqlite::error::store_error;
use crate::sqlite::loss::testimony;
use crate::sqlite::open::{
    OpenError, SqliteStore, connect, connect_read_only, open_error, settle, sync_folder,
};
use crate::sqlite::readers::Readers;
use crate::sqlite::repository::SqliteRepository;
use crate::sqlite::witness::{self, Found, Witness};
use crate::sqlite::{decode, heed};
use crate::verify::Flaw;

/// Pages that are copied between two looks at how far the copy is: 4 MiB.
const STEP_PAGES: i32 = 1_024;

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// The log.
    pub log_id: LogId,
    /// Its last event in the backup.
    pub head: Position,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Why a copy of a log was not made. What is there is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The log, or its copy, cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Something has the name already.
    #[error("{} is there already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It would be written over a log that is in use, or over itself.
    #[error("{} is a log in use, which no backup replaces", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be made, written or named.
    #[error("{} can not be written", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The log could not be read, or the copy not written.
    #[error("log {} can not be copied", path.display())]
    Store {
        /// The log.
        path: PathBuf,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The log is not whole, and so is no copy of it.
    #[error("log {} is not whole, so it was not copied: {flaw}", path.display())]
    NotWhole {
        /// The log.
        path: PathBuf,
        /// What is wrong first.
        flaw: Box<Flaw>,
    },
}

impl SqliteStore {
    /// Copies the log at `path`, whoever writes it, into a file at `target`, with a witness beside it.
    ///
    /// The copy holds all that was acknowledged before this began. A file that is replaced is so at once.
    ///
    /// # Errors
    ///
    /// [`CopyError`]; then there is no new file.
    pub fn backup(
        path: &Path,
        target: &Path,
        existing: Existing,
        told: Told<'_>,
    ) -> Result<BackedUp, CopyError> {
        if existing == Existing::Keep && target.exists() {
            return Err(CopyError::Exists { path: target.to_owned() });
        }
        let same =
            path.canonicalize().is_ok_and(|path| target.canonicalize().is_ok_and(|target| target == path));
        if same || LockFile::holder(&LockFile::path_of(target)).map_err(OpenError::from)?.is_some() {
            return Err(CopyError::InUse { path: target.to_owned() });
        }
        heed::existing(path)?;
        settle(path)?;
        let copy = Copy::make(path, beside(target, &format!(".{}.part", std::process::id())), told)?;
        copy.verify(path, told)?;
        let bytes = copy.bytes()?;
        let head = copy.head.clone();
        // A witness of another log beside the new file would be worse than none.
        remove(&witness::path_of(target)).map_err(|source| file_error(target, source))?;
        copy.name(target, existing)?;
        watch(target, &Found::default())?;
        Ok(BackedUp { log_id: head.log_id, head: head.position, bytes })
    }
}

/// A copy without a name. Dropping it removes it.
pub(crate) struct Copy {
    path: PathBuf,
    pub(crate) head: Head,
}

impl Copy {
    /// Copies the log at `source` to `path`; what lies there is written over.
    pub(crate) fn make(source: &Path, path: PathBuf, told: Told<'_>) -> Result<Self, CopyError> {
        let failed = |error| CopyError::Store { path: source.to_owned(), source: error };
        remove_all(&path).map_err(|error| file_error(&path, error))?;
        private(fs::OpenOptions::new().write(true).create_new(true))
            .open(&path)
            .map_err(|error| file_error(&path, error))?;
        let from = connect_read_only(source).map_err(|error| open_error(source, error))?;
        from.execute_batch("BEGIN").map_err(|error| failed(store_error(error)))?;
        // The first read fixes the moment.
        let head = decode::head(&from).map_err(failed)?;
        let copy = Self { path, head };
        copy.fill(&from, told).map_err(|error| failed(store_error(error)))?;
        copy.settle().map_err(|error| failed(store_error(error)))?;
        let found = decode::head(&copy.connect()?).map_err(failed)?;
        if found != copy.head {
            return Err(failed(StoreError::Failed("the copy is not what was copied".into())));
        }
        Ok(copy)
    }

    fn fill(&self, from: &Connection, told: Told<'_>) -> rusqlite::Result<()> {
        let mut to = connect(&self.path)?;
        // Nobody sees the file before it is synced as a whole.
        to.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
        let backup = Backup::new(from, &mut to)?;
        loop {
            let step = backup.step(STEP_PAGES)?;
            let pages = backup.progress();
            let count = |pages: i32| u64::try_from(pages).unwrap_or(0);
            told(Stage::Copying, count(pages.pagecount - pages.remaining), count(pages.pagecount));
            match step {
                StepResult::Done => return Ok(()),
                StepResult::More => {}
                // Readers of a WAL wait for nobody; another program may hold the database all the same.
                _ => std::thread::sleep(PAUSE),
            }
        }
    }

    /// Makes it one file that needs no WAL, so that it can be read where nothing can be written.
    fn settle(&self) -> rusqlite::Result<()> {
        let connection = connect(&self.path)?;
        connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))
    }

    pub(crate) fn connect(&self) -> Result<Connection, CopyError> {
        Ok(connect(&self.path).map_err(|error| open_error(&self.path, error))?)
    }

    /// Verifies the copy of the log at `source`, and brings it to disk.
    pub(crate) fn verify(&self, source: &Path, told: Told<'_>) -> Result<(), CopyError> {
        let failed = |error| CopyError::Store { path: source.to_owned(), source: error };
        let repository = SqliteRepository::new(Readers::start(&self.path).map_err(failed)?);
        verified(&repository, told)
            .map_err(failed)?
            .map_err(|flaw| CopyError::NotWhole { path: source.to_owned(), flaw })?;
        drop(repository);
        let synced = fs::File::open(&self.path).and_then(|file| file.sync_all());
        synced.map_err(|error| file_error(&self.path, error))
    }

    fn bytes(&self) -> Result<u64, CopyError> {
        let metadata = fs::metadata(&self.path).map_err(|error| file_error(&self.path, error))?;
        Ok(metadata.len())
    }

    /// Gives it its name.
    pub(crate) fn name(self, target: &Path, existing: Existing) -> Result<(), CopyError> {
        let named = match existing {
            Existing::Replace => fs::rename(&self.path, target),
            // A name that is taken is an error, whoever took it.
            Existing::Keep => fs::hard_link(&self.path, target),
        };
        match named {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(CopyError::Exists { path: target.to_owned() });
            }
            // Not every file system has links.
            Err(_) if existing == Existing::Keep && !target.exists() => fs::rename(&self.path, target),
            other => other,
        }
        .map_err(|error| file_error(target, error))?;
        target.parent().into_iter().for_each(sync_folder);
        Ok(())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // It has its name, or is not wanted.
        let _ = remove_all(&self.path);
    }
}

/// Pause where another program holds the database.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// Makes the witness of a log that was put at `path`.
pub(crate) fn watch(path: &Path, found: &Found) -> Result<(), CopyError> {
    let connection = connect_read_only(path).map_err(|error| open_error(path, error))?;
    let seen = testimony(&connection);
    let seen = seen.map_err(|source| CopyError::Store { path: path.to_owned(), source })?;
    Witness::start(path, found, &seen).map_err(|error| file_error(&witness::path_of(path), error))?;
    path.parent().into_iter().for_each(sync_folder);
    Ok(())
}

pub(crate) fn file_error(path: &Path, source: io::Error) -> CopyError {
    CopyError::File { path: path.to_owned(), source }
}

/// A path with more behind its name.
pub(crate) fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(more);
    name.into()
}

/// Removes a file that may be there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes a database with all that SQLite puts beside it.
pub(crate) fn remove_all(path: &Path) -> io::Result<()> {
    ["", "-wal", "-shm", "-journal"].iter().try_for_each(|more| remove(&beside(path, more)))
}
