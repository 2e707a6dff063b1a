//! Moves the WAL into the database behind the writer's back, so that no commit waits for it.
//!
//! The writer's connection counts the pages of the WAL at each commit. Beyond [`WAL_PAGES_SOFT`] it nudges a thread
//! with a connection of its own; a writer that never pauses keeps that thread from finishing, so beyond
//! [`WAL_PAGES_MAX`] the commit moves the rest itself, and the WAL begins anew.

use std::path::Path;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{Builder, JoinHandle};

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use crate::contract::StoreError;
use crate::sqlite::error::store_error;
use crate::sqlite::open::connect;

/// Pages of the WAL (4 KiB each) from which on the thread moves them: 4 MiB.
const WAL_PAGES_SOFT: i32 = 1_000;

/// Pages of the WAL at which a commit moves what is left: 32 MiB.
pub(crate) const WAL_PAGES_MAX: i32 = 8_000;

const _: () = assert!(WAL_PAGES_SOFT < WAL_PAGES_MAX);

/// The thread; ends when the writer's connection is closed. Dropping this awaits it.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread, and lets `writer` nudge it from now on. Drop `writer` before this.
    pub(crate) fn start(path: &Path, writer: &mut Connection) -> Result<Self, StoreError> {
        let mut connection = connect(path).map_err(store_error)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(store_error)?;
        connection.pragma_update(None, "checkpoint_fullfsync", "ON").map_err(store_error)?;
        let (nudge, nudges) = mpsc::sync_channel(1);
        let thread = Builder::new()
            .name("planwire-checkpoint".to_owned())
            .spawn(move || move_pages(&mut connection, &nudges))
            .map_err(|error| StoreError::Failed(Box::new(error)))?;
        let checkpointer = Self { thread: Some(thread) };
        hook(writer, nudge).map_err(store_error)?;
        Ok(checkpointer)
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has told so already.
            let _ = thread.join();
        }
    }
}

/// An error in the hook would look like one of the commit, which has happened: so there is none.
fn hook(writer: &mut Connection, nudge: SyncSender<()>) -> rusqlite::Result<()> {
    writer.wal_hook(Some(move |wal: &mut Wal, pages: i32| {
        if pages >= WAL_PAGES_MAX {
            // The thread may be at it; then the next commit tries again.
            let _ = wal.checkpoint();
        } else if pages >= WAL_PAGES_SOFT {
            // One nudge that waits is enough.
            let _ = nudge.try_send(());
        }
        Ok(())
    }))
}

fn move_pages(connection: &mut Connection, nudges: &Receiver<()>) {
    while nudges.recv().is_ok() {
        let moved = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(error) = moved {
            // The WAL holds everything all the same, and grows until this succeeds.
            tracing::warn!(%error, "the log's WAL could not be moved into its database");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commit_moves_pages_itself_when_the_thread_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let mut writer = Connection::open(&path).unwrap();
        writer.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x)").unwrap();
        let (nudge, nudges) = mpsc::sync_channel(1);
        hook(&mut writer, nudge).unwrap();
        for _ in 0..100 {
            writer.execute_batch("INSERT INTO t VALUES (zeroblob(600000))").unwrap();
        }
        let wal = std::fs::metadata(folder.path().join("a.db-wal")).unwrap().len();
        assert!(wal < 40 << 20, "the WAL has {wal} bytes");
        assert_eq!(nudges.try_iter().count(), 1, "a nudge waits, and no more than one");
    }
}
