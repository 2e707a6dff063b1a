//! A log that goes on from a backup: with an id of its own, so that nobody reads other events at positions he knows.

use std::fs;
use std::path::{Path, PathBuf};

use planwire_event::{LogId, Position};

use crate::contract::StoreError;
use crate::copying::{Existing, Told};
use crate::lock::LockFile;
use crate::sqlite::accept::go_on_as;
use crate::sqlite::backup::{Copy, CopyError, beside, file_error, remove, watch};
use crate::sqlite::checkpoint::empty_wal;
use crate::sqlite::error::store_error;
use crate::sqlite::moved;
use crate::sqlite::open::{
    OpenError, OpenOptions, SqliteStore, connect, make_folder, random_log_id, sync_folder,
};
use crate::sqlite::{heed, witness};

/// A log that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The log that goes on.
    pub log_id: LogId,
    /// Its last event.
    pub head: Position,
    /// The log of the backup; its cursors hold up to the position.
    pub continues: (LogId, Position),
    /// Where the database lies that was here before.
    pub aside: Option<PathBuf>,
}

impl SqliteStore {
    /// Makes a log at `path` of the backup at `backup`, which is left as it is.
    ///
    /// The log has a new id and continues that of the backup: cursors up to its end hold. A database that is replaced
    /// is kept aside with its WAL and its witness.
    ///
    /// # Errors
    ///
    /// [`CopyError`]; `OpenError::Lock` in it if another process holds the log at `path`.
    pub fn restore(
        backup: &Path,
        path: &Path,
        options: &OpenOptions,
        existing: Existing,
        told: Told<'_>,
    ) -> Result<Restored, CopyError> {
        make_folder(path)?;
        let _lock = LockFile::acquire(&LockFile::path_of(path), &options.holder).map_err(OpenError::from)?;
        if existing == Existing::Keep && path.exists() {
            return Err(CopyError::Exists { path: path.to_owned() });
        }
        heed::existing(backup)?;
        let copy = Copy::make(backup, beside(path, ".restoring"), told)?;
        let log_id = options.log_id.unwrap_or_else(random_log_id);
        let continues = (copy.head.log_id, copy.head.position);
        rename(&copy, backup, log_id, continues)?;
        copy.verify(backup, told)?;
        let aside = set_aside(path, log_id)?;
        let found = witness::read(path).map_err(|error| file_error(&witness::path_of(path), error))?;
        heed::announce(path, &found, &copy.connect()?)?;
        copy.name(path, Existing::Replace)?;
        watch(path, &found)?;
        Ok(Restored { log_id, head: continues.1, continues, aside })
    }
}

fn rename(copy: &Copy, backup: &Path, log_id: LogId, continues: (LogId, Position)) -> Result<(), CopyError> {
    let failed = |source: StoreError| CopyError::Store { path: backup.to_owned(), source };
    let mut connection = copy.connect()?;
    moved::refuse(backup, &connection)?;
    let transaction = connection.transaction().map_err(|error| failed(store_error(error)))?;
    go_on_as(&transaction, log_id, continues).map_err(failed)?;
    transaction.commit().map_err(|error| failed(store_error(error)))
}

/// Moves what lies at `path` out of the way; the witness stays until the new database is there, so that nobody takes
/// the place for an empty one meanwhile.
fn set_aside(path: &Path, log_id: LogId) -> Result<Option<PathBuf>, CopyError> {
    let failed = |source| file_error(path, source);
    let aside = beside(path, &format!(".replaced-{log_id}"));
    let there = path.exists();
    if there {
        // What its WAL holds goes into it, if it is a database: then it is one file.
        if let Ok(connection) = connect(path) {
            let _ = empty_wal(&connection);
        }
        let seen = witness::path_of(path);
        if seen.exists() {
            let kept = witness::path_of(&aside);
            fs::copy(&seen, &kept).and_then(|_| fs::File::open(&kept)?.sync_all()).map_err(failed)?;
        }
        fs::rename(path, &aside).map_err(failed)?;
    }
    // A WAL beside a database that it does not belong to would be taken for its own.
    let wal = beside(path, "-wal");
    if wal.exists() {
        fs::rename(&wal, beside(&aside, "-wal")).map_err(failed)?;
    }
    for more in ["-shm", "-journal"] {
        remove(&beside(path, more)).map_err(failed)?;
    }
    path.parent().into_iter().for_each(sync_folder);
    Ok(there.then_some(aside))
}
