//! Moves the WAL into the database behind the writer's back, so that no commit waits for it.
//!
//! The writer's connection counts the pages of the WAL at each commit. After every [`WAL_PAGES_SOFT`] it nudges a
//! thread with a connection of its own. A writer that never pauses keeps that thread from finishing, so a commit moves
//! what is left itself once that is little, or the WAL has [`WAL_PAGES_MAX`]; then the WAL begins anew.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{Builder, JoinHandle};

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use crate::contract::StoreError;
use crate::sqlite::error::store_error;
use crate::sqlite::open::connect;

/// Pages of the WAL (4 KiB each) after which the thread moves them: 4 MiB.
const WAL_PAGES_SOFT: i32 = 1_000;

/// Pages that the thread may leave behind and a commit then moves itself. A WAL that begins anew is written over, which
/// syncs in 120 us where one that grows takes 200.
const WAL_PAGES_REST: i32 = 128;

/// Pages of the WAL at which a commit moves whatever is left: 32 MiB.
pub(crate) const WAL_PAGES_MAX: i32 = 8_000;

const _: () = assert!(WAL_PAGES_REST < WAL_PAGES_SOFT && WAL_PAGES_SOFT < WAL_PAGES_MAX);

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
        let moved = Arc::new(AtomicI32::new(0));
        let by_thread = Arc::clone(&moved);
        let thread = Builder::new()
            .name("planwire-checkpoint".to_owned())
            .spawn(move || move_pages(&mut connection, &nudges, &by_thread))
            .map_err(|error| StoreError::Failed(Box::new(error)))?;
        let checkpointer = Self { thread: Some(thread) };
        hook(writer, nudge, moved).map_err(store_error)?;
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

/// Moves the whole WAL into the database and empties it; true if somebody reads an older state, and it has to stay.
pub(crate) fn empty_wal(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
}

/// An error in the hook would look like one of the commit, which has happened: so there is none.
fn hook(writer: &mut Connection, nudge: SyncSender<()>, moved: Arc<AtomicI32>) -> rusqlite::Result<()> {
    let mut pace = Pace::new(moved);
    writer.wal_hook(Some(move |wal: &mut Wal, pages: i32| {
        match pace.next(pages) {
            Act::None => {}
            Act::Nudge => {
                // One nudge that waits is enough.
                let _ = nudge.try_send(());
            }
            Act::Move => {
                // The thread may be at it; then a later commit tries again.
                let _ = wal.checkpoint();
            }
        }
        Ok(())
    }))
}

/// What a commit does for the WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    None,
    Nudge,
    Move,
}

/// Decides what each commit does for the WAL.
///
/// The thread is nudged once for so many pages. At every commit, it would sync after every commit, since a writer
/// that never pauses always leaves it some pages, and the writer's own syncs wait for those.
struct Pace {
    pages: i32,
    nudge_at: i32,
    /// Pages up to which the thread has moved the WAL; 0 if it has done nothing since a commit looked.
    moved: Arc<AtomicI32>,
}

impl Pace {
    const fn new(moved: Arc<AtomicI32>) -> Self {
        Self { pages: 0, nudge_at: WAL_PAGES_SOFT, moved }
    }

    /// Takes in how many pages the WAL has now.
    fn next(&mut self, pages: i32) -> Act {
        let moved = self.moved.swap(0, Ordering::Relaxed);
        if pages < self.pages {
            // The WAL began anew.
            self.nudge_at = WAL_PAGES_SOFT;
        }
        self.pages = pages;
        if pages >= WAL_PAGES_MAX || (moved > 0 && (0..=WAL_PAGES_REST).contains(&(pages - moved))) {
            return Act::Move;
        }
        if pages >= self.nudge_at {
            self.nudge_at = pages.saturating_add(WAL_PAGES_SOFT);
            return Act::Nudge;
        }
        Act::None
    }
}

fn move_pages(connection: &mut Connection, nudges: &Receiver<()>, moved: &AtomicI32) {
    while nudges.recv().is_ok() {
        match connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2)) {
            Ok(pages) => moved.store(pages, Ordering::Relaxed),
            // The WAL holds everything all the same, and grows until this succeeds.
            Err(error) => tracing::warn!(%error, "the log's WAL could not be moved into its database"),
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
        hook(&mut writer, nudge, Arc::new(AtomicI32::new(0))).unwrap();
        for _ in 0..100 {
            writer.execute_batch("INSERT INTO t VALUES (zeroblob(600000))").unwrap();
        }
        let wal = std::fs::metadata(folder.path().join("a.db-wal")).unwrap().len();
        assert!(wal < 40 << 20, "the WAL has {wal} bytes");
        assert_eq!(nudges.try_iter().count(), 1, "a nudge waits, and no more than one");
    }

    fn pace() -> (Pace, Arc<AtomicI32>) {
        let moved = Arc::new(AtomicI32::new(0));
        (Pace::new(Arc::clone(&moved)), moved)
    }

    #[test]
    fn thread_is_nudged_once_for_so_many_pages() {
        let (mut pace, _) = pace();
        let mut nudged =
            |pages: i32| -> Vec<i32> { (1..pages).filter(|pages| pace.next(*pages) == Act::Nudge).collect() };
        assert_eq!(nudged(3_500), [WAL_PAGES_SOFT, 2 * WAL_PAGES_SOFT, 3 * WAL_PAGES_SOFT]);
        assert_eq!(nudged(1_500), [WAL_PAGES_SOFT], "the WAL began anew");
    }

    #[test]
    fn commit_moves_little_that_is_left_and_everything_in_a_large_wal() {
        let (mut pace, moved) = pace();
        let mut check = |by_thread: i32, pages: i32, expected: Act| {
            moved.store(by_thread, Ordering::Relaxed);
            assert_eq!(pace.next(pages), expected, "{by_thread} of {pages}");
        };
        check(0, WAL_PAGES_SOFT, Act::Nudge);
        check(WAL_PAGES_SOFT, WAL_PAGES_SOFT + WAL_PAGES_REST, Act::Move);
        check(0, WAL_PAGES_SOFT + WAL_PAGES_REST, Act::None);
        check(WAL_PAGES_SOFT, WAL_PAGES_SOFT + WAL_PAGES_REST + 1, Act::None);
        check(WAL_PAGES_SOFT, 4, Act::None);
        check(0, WAL_PAGES_MAX, Act::Move);
    }
}
