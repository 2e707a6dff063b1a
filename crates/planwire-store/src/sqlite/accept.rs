//! Going on with a database that is not what its witness saw.
//!
//! What is there becomes another log: whoever holds a cursor beyond what was kept is told so, and does not read other
//! events at positions that he knows already.

use std::path::Path;

use planwire_event::{LogId, Position};
use rusqlite::{Connection, params};

use crate::contract::StoreError;
use crate::lock::LockFile;
use crate::sqlite::decode;
use crate::sqlite::error::{sql_number, store_error};
use crate::sqlite::heed::{self, Look};
use crate::sqlite::loss::Loss;
use crate::sqlite::open::{OpenError, OpenOptions, SqliteStore, make_and_open, random_log_id};

/// What became of a log whose loss was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedLoss {
    /// What was missing.
    pub loss: Loss,
    /// The log that goes on.
    pub log_id: LogId,
    /// Its last event.
    pub head: Position,
    /// The log that it continues; cursors of that one hold up to the position.
    pub continues: (LogId, Position),
}

impl SqliteStore {
    /// What the database at `path` lacks of what its witness saw; none if nothing is missing, or nobody knows.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the file is no log.
    pub fn loss(path: &Path) -> Result<Option<Loss>, OpenError> {
        heed::look(path).map(|look| look.loss)
    }

    /// Makes what is left at `path` a log of its own, which continues the one that was there as far as it was kept.
    /// `None` if nothing is missing, and then nothing is changed.
    ///
    /// # Errors
    ///
    /// [`OpenError::Lock`] if another process holds the log.
    pub fn accept_loss(path: &Path, options: &OpenOptions) -> Result<Option<AcceptedLoss>, OpenError> {
        let _lock = LockFile::acquire(&LockFile::path_of(path), &options.holder)?;
        let Look { found, loss, .. } = heed::look(path)?;
        let Some(loss) = loss else { return Ok(None) };
        let log_id = options.log_id.unwrap_or_else(random_log_id);
        let options = OpenOptions { log_id: Some(log_id), ..options.clone() };
        let failed = |source| OpenError::Store { path: path.to_owned(), source };
        let mut connection = make_and_open(path, &options)?;
        let transaction = connection.transaction().map_err(|error| failed(store_error(error)))?;
        let (head, continues) = rename(&transaction, log_id, &loss).map_err(failed)?;
        // A process that dies on either side of the commit leaves what this says.
        heed::announce(path, &found, &transaction)?;
        transaction.commit().map_err(|error| failed(store_error(error)))?;
        heed::start(path, &found, &connection)?;
        Ok(Some(AcceptedLoss { loss, log_id, head, continues }))
    }
}

/// Gives the log its new name, and says how far the cursors of former names hold, within the caller's transaction.
fn rename(
    connection: &Connection,
    log_id: LogId,
    loss: &Loss,
) -> Result<(Position, (LogId, Position)), StoreError> {
    let continues = match *loss {
        Loss::Gone { log_id, .. } => (log_id, Position::ZERO),
        Loss::Tail { log_id, found, .. } | Loss::Lineage { log_id, found } => (log_id, found),
        Loss::OtherLog { found_log, found, .. } => (found_log, found),
        // Where the two histories part is not known, so no cursor is sure to mean the same event.
        Loss::OtherHistory { log_id, .. } => (log_id, Position::ZERO),
    };
    if matches!(loss, Loss::Lineage { .. }) {
        connection.execute("DELETE FROM log_lineage", []).map_err(store_error)?;
    }
    let head = go_on_as(connection, log_id, continues)?;
    Ok((head, continues))
}

/// Makes a log continue another one under a new name, within the caller's transaction; gives its last event.
pub(crate) fn go_on_as(
    connection: &Connection,
    log_id: LogId,
    continues: (LogId, Position),
) -> Result<Position, StoreError> {
    let head = decode::head(connection)?.position;
    // Positions beyond the head will be taken by other events.
    let end = sql_number(head.get());
    connection
        .execute("UPDATE log_lineage SET valid_to = ?1 WHERE valid_to > ?1", params![end])
        .map_err(store_error)?;
    connection
        .execute(
            "INSERT OR REPLACE INTO log_lineage (log_id, valid_to) VALUES (?1, ?2)",
            params![continues.0.as_str(), sql_number(continues.1.get())],
        )
        .map_err(store_error)?;
    connection
        .execute("UPDATE planwire_log SET log_id = ?1", params![log_id.as_str()])
        .map_err(store_error)?;
    Ok(head)
}
