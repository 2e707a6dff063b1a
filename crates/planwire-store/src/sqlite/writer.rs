//! The one connection that writes a SQLite log.
//!
//! **Invariant:** head, rows, plans, documents and blobs of a batch change in one transaction, and `Stored` is
//! answered after its COMMIT came back with `synchronous=FULL` and the witness was told.

use std::sync::Arc;
use std::time::Duration;

use planwire_event::{EventId, PlanId};
use rusqlite::{Connection, ErrorCode, params};

use crate::contract::{
    AppendError, Appended, BLOB_CHUNK_BYTES, Batch, Blob, Head, LogWriter, PlanChange, PlanRow, Removal, Row,
    StoreError,
};
use crate::lock::LockFile;
use crate::row::{Members, Texts};
use crate::sqlite::checkpoint::{Checkpointer, empty_wal};
use crate::sqlite::decode;
use crate::sqlite::error::{sql_number, store_error};
use crate::sqlite::query;
use crate::sqlite::removal;
use crate::sqlite::witness::Witness;

const INSERT_EVENT: &str = "INSERT INTO plan_events (id, event_id, event_type, plan_id, timestamp, payload, seq, \
    root_plan_id, parent_plan_id, depth, recorded_at, meta, leaf, crc) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
/// The frontier is compared too: a head of the same height over other rows is another log.
const MOVE_HEAD: &str = "UPDATE planwire_log SET head = ?1, recorded_at = ?2, frontier = ?3 \
    WHERE head = ?4 AND frontier = ?5 AND log_id = ?6";
const FIND_EVENT: &str = "SELECT 1 FROM plan_events WHERE event_id = ?1 AND id <= ?2";
const INSERT_PLAN: &str = "INSERT INTO plans (plan_id, root_plan_id, parent_plan_id, depth, name, context_id, \
    document_digest, state, reason, first_position, last_position, last_seq, started_at, ended_at, owner, hold) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, 0)";
const END_PLAN: &str = "UPDATE plans SET state = ?2, reason = ?3, last_position = ?4, last_seq = ?5, ended_at = ?6, \
    owner = ?7 WHERE plan_id = ?1";
const ADOPT_TREE: &str = "UPDATE plans SET owner = ?2 WHERE root_plan_id = ?1 AND state = 'open'";
const INSERT_DOCUMENT: &str =
    "INSERT INTO plan_documents (digest, body) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
const INSERT_CHUNK: &str =
    "INSERT INTO blobs (digest, chunk, body) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";

/// Writes a SQLite log; see [`crate::sqlite::SqliteStore::open`].
#[derive(Debug)]
pub struct SqliteWriter {
    // Dropped in this order: the checkpointer ends when the connection is closed, and the lock holds to the end.
    connection: Connection,
    _checkpointer: Checkpointer,
    witness: Witness,
    lock: Arc<LockFile>,
    /// A transaction is open that [`LogWriter::lock_head`] began.
    head_locked: bool,
    /// A commit ended without an answer. What the file holds is unknown until it is opened anew.
    closed: bool,
}

impl SqliteWriter {
    pub(crate) const fn new(
        connection: Connection,
        checkpointer: Checkpointer,
        witness: Witness,
        lock: Arc<LockFile>,
    ) -> Self {
        Self { connection, _checkpointer: checkpointer, witness, lock, head_locked: false, closed: false }
    }

    /// The lock that this writer holds; a server writes its address into it.
    #[must_use]
    pub fn lock(&self) -> Arc<LockFile> {
        Arc::clone(&self.lock)
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        if self.closed {
            return Err(StoreError::Closed);
        }
        // After some failures SQLite ends a transaction by itself.
        let is_locked = std::mem::take(&mut self.head_locked) && !self.connection.is_autocommit();
        if !is_locked {
            let mut begin = self.connection.prepare_cached("BEGIN IMMEDIATE").map_err(store_error)?;
            begin.execute([]).map_err(store_error)?;
        }
        Ok(())
    }

    /// Ends the transaction without its changes. SQLite may have done so by itself, as it does when a disk is full.
    fn rollback(&self) -> rusqlite::Result<()> {
        if self.connection.is_autocommit() { Ok(()) } else { self.connection.execute_batch("ROLLBACK") }
    }

    fn refuse(&mut self, error: StoreError) -> AppendError {
        match self.rollback() {
            Ok(()) => AppendError::Refused(error),
            Err(failed) => {
                self.closed = true;
                AppendError::Unknown(StoreError::Failed(Box::new(failed)))
            }
        }
    }

    fn commit(&mut self) -> Result<(), AppendError> {
        let committed = self.connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        let Err(error) = committed else { return Ok(()) };
        // Busy: not begun. Full: a frame could not be written, so the last one, which alone makes the others count,
        // is not there. Anything else may have come after that frame, and a process that is killed then finds it.
        let undone = matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy));
        if undone {
            return Err(self.refuse(store_error(error)));
        }
        self.closed = true;
        Err(AppendError::Unknown(StoreError::Failed(Box::new(error))))
    }

    /// Writes the batch into the open transaction.
    fn write(&self, expected: &Head, batch: &Batch) -> Result<Appended, StoreError> {
        if !self.move_head(expected, &batch.next).map_err(store_error)? {
            return Ok(Appended::HeadMoved);
        }
        if let Err(error) = self.insert_events(&batch.rows) {
            let repeated = match error.sqlite_error_code() {
                Some(ErrorCode::ConstraintViolation) => {
                    self.repeated(expected, &batch.rows).map_err(store_error)?
                }
                _ => Vec::new(),
            };
            return if repeated.is_empty() {
                Err(store_error(error))
            } else {
                Ok(Appended::Duplicate(repeated))
            };
        }
        for change in &batch.plans {
            self.change_plan(change)?;
        }
        for document in &batch.documents {
            let mut insert = self.connection.prepare_cached(INSERT_DOCUMENT).map_err(store_error)?;
            insert.execute(params![document.digest.as_bytes(), document.body]).map_err(store_error)?;
        }
        batch.blobs.iter().try_for_each(|blob| self.insert_blob(blob)).map_err(store_error)?;
        Ok(Appended::Stored)
    }

    fn move_head(&self, expected: &Head, next: &Head) -> rusqlite::Result<bool> {
        let moved = self.connection.prepare_cached(MOVE_HEAD)?.execute(params![
            sql_number(next.position.get()),
            next.recorded_at.to_string(),
            next.frontier.to_bytes(),
            sql_number(expected.position.get()),
            expected.frontier.to_bytes(),
            expected.log_id.as_str(),
        ])?;
        Ok(moved == 1)
    }

    fn insert_events(&self, rows: &[Row]) -> rusqlite::Result<()> {
        let mut insert = self.connection.prepare_cached(INSERT_EVENT)?;
        let mut scratch = Vec::with_capacity(512);
        let mut texts = Texts::default();
        for row in rows {
            let members = Members::of(row, &mut texts);
            insert.execute(params![
                members.id,
                members.event_id,
                members.event_type,
                members.plan_id,
                members.timestamp,
                members.payload,
                members.seq,
                members.root_plan_id,
                members.parent_plan_id,
                members.depth,
                members.recorded_at,
                members.meta,
                members.leaf,
                members.crc(&mut scratch),
            ])?;
        }
        Ok(())
    }

    /// The ids that were in the log before this transaction, or are in the batch twice.
    fn repeated(&self, expected: &Head, rows: &[Row]) -> rusqlite::Result<Vec<EventId>> {
        let mut find = self.connection.prepare_cached(FIND_EVENT)?;
        let mut seen = std::collections::HashSet::with_capacity(rows.len());
        let mut repeated = Vec::new();
        for row in rows {
            let id = row.event.event.event_id();
            if !seen.insert(id)
                || find.exists(params![id.to_string(), sql_number(expected.position.get())])?
            {
                repeated.push(id);
            }
        }
        repeated.sort_unstable();
        repeated.dedup();
        Ok(repeated)
    }

    fn change_plan(&self, change: &PlanChange) -> Result<(), StoreError> {
        match change {
            PlanChange::Started(plan) => self.insert_plan(plan).map_err(store_error),
            PlanChange::Ended { plan_id, status, position, seq, ended_at, owner } => {
                let mut end = self.connection.prepare_cached(END_PLAN).map_err(store_error)?;
                let changed = end.execute(params![
                    plan_id.as_str(),
                    status.state(),
                    status.reason(),
                    sql_number(position.get()),
                    sql_number(seq.get()),
                    ended_at.to_string(),
                    owner,
                ]);
                match changed.map_err(store_error)? {
                    1 => Ok(()),
                    _ => Err(StoreError::Failed("a plan ends that is unknown".into())),
                }
            }
            PlanChange::Adopted { root_plan_id, owner } => {
                let mut adopt = self.connection.prepare_cached(ADOPT_TREE).map_err(store_error)?;
                adopt.execute(params![root_plan_id.as_str(), owner]).map(drop).map_err(store_error)
            }
        }
    }

    fn insert_plan(&self, plan: &PlanRow) -> rusqlite::Result<()> {
        self.connection.prepare_cached(INSERT_PLAN)?.execute(params![
            plan.plan_id.as_str(),
            plan.root_plan_id.as_str(),
            plan.parent_plan_id.as_ref().map(|parent| parent.as_str()),
            plan.depth,
            plan.name,
            plan.context_id,
            plan.document_digest.as_ref().map(|digest| digest.as_bytes()),
            plan.status.state(),
            plan.status.reason(),
            sql_number(plan.first_position.get()),
            plan.last_position.map(|position| sql_number(position.get())),
            plan.last_seq.map(|seq| sql_number(seq.get())),
            plan.started_at.to_string(),
            plan.ended_at.map(|time| time.to_string()),
            plan.owner,
        ])?;
        Ok(())
    }

    fn insert_blob(&self, blob: &Blob) -> rusqlite::Result<()> {
        let mut insert = self.connection.prepare_cached(INSERT_CHUNK)?;
        // An empty blob has one empty chunk, so that it can be told from one that is missing.
        let whole = blob.body.is_empty().then_some(&[][..]);
        for (chunk, body) in (0_i64..).zip(blob.body.chunks(BLOB_CHUNK_BYTES).chain(whole)) {
            insert.execute(params![blob.digest.as_bytes(), chunk, body])?;
        }
        Ok(())
    }
}

impl Drop for SqliteWriter {
    /// Moves the WAL into the database, so that a log nobody writes is one file and its witness. SQLite does so only
    /// if the last connection that is closed can write, and the last ones are readers'.
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        // A reader that is in the middle of a page keeps the WAL; whoever opens the log next moves it then.
        let moved = self
            .rollback()
            .and_then(|()| self.connection.busy_timeout(Duration::ZERO))
            .and_then(|()| empty_wal(&self.connection));
        if let Err(error) = moved {
            tracing::warn!(%error, "the log's WAL could not be moved into its database; it holds what it held");
        }
    }
}

impl LogWriter for SqliteWriter {
    fn head(&mut self) -> Result<Head, StoreError> {
        if self.closed { Err(StoreError::Closed) } else { decode::head(&self.connection) }
    }

    fn lock_head(&mut self) -> Result<Head, StoreError> {
        self.begin()?;
        let head = decode::head(&self.connection);
        self.head_locked = head.is_ok();
        if head.is_err() {
            self.rollback().map_err(store_error)?;
        }
        head
    }

    fn append(&mut self, expected: &Head, batch: &Batch) -> Result<Appended, AppendError> {
        self.begin().map_err(AppendError::Refused)?;
        if let Some(misfit) = batch.misfit(expected) {
            return Err(self.refuse(StoreError::Failed(misfit.into())));
        }
        match self.write(expected, batch) {
            Ok(Appended::Stored) => {
                self.commit()?;
                self.witness.note(&batch.next);
                Ok(Appended::Stored)
            }
            Ok(other) => match self.rollback() {
                Ok(()) => Ok(other),
                Err(error) => Err(self.refuse(store_error(error))),
            },
            Err(error) => Err(self.refuse(error)),
        }
    }

    fn plans_named(&mut self, plans: &[PlanId]) -> Option<Result<Vec<PlanRow>, StoreError>> {
        Some(if self.closed { Err(StoreError::Closed) } else { query::plans_named(&self.connection, plans) })
    }

    fn remove_payload(&mut self, event_id: EventId) -> Result<Removal, StoreError> {
        if self.closed {
            return Err(StoreError::Closed);
        }
        removal::remove(&mut self.connection, event_id)
    }
}

#[cfg(test)]
mod tests {
    use crate::sqlite::{OpenOptions, SqliteStore};

    #[test]
    fn commits_are_synced_and_wal_is_on() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, _readers) =
            SqliteStore::open(&folder.path().join("a.db"), &OpenOptions::default()).unwrap();
        let number =
            |name| writer.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(number("synchronous"), 2, "FULL");
        assert_eq!(number("auto_vacuum"), 2, "INCREMENTAL");
        assert_eq!(number("fullfsync"), 1);
        let mode = writer.connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0));
        assert_eq!(mode.unwrap(), "wal");
    }
}
