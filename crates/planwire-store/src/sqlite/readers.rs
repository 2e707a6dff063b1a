//! Threads that answer reads, each with a read-only connection of its own.
//!
//! A read is a job in a bounded queue; its answer comes by a oneshot channel, so that a caller needs no particular
//! runtime. A caller that goes away before its turn costs nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::contract::StoreError;
use crate::sqlite::error::store_error;
use crate::sqlite::open::connect_read_only;

/// Threads that read. Pages come from the page cache, so more of them than cores only compete.
const READER_THREADS: usize = 2;

/// Reads that may wait for a thread; further callers wait for a place.
const WAITING_READS_MAX: usize = 256;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The threads; dropping this ends and awaits them.
#[derive(Debug)]
pub(crate) struct Readers {
    jobs: Option<mpsc::Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Opens the connections and starts the threads.
    pub(crate) fn start(path: &Path) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel(WAITING_READS_MAX);
        let queue = Arc::new(Mutex::new(queue));
        let mut readers = Self { jobs: Some(jobs), threads: Vec::with_capacity(READER_THREADS) };
        for number in 1..=READER_THREADS {
            let connection = connect_read_only(path).map_err(store_error)?;
            let queue = Arc::clone(&queue);
            let thread = Builder::new()
                .name(format!("planwire-read-{number}"))
                .spawn(move || answer(connection, &queue))
                .map_err(|error| StoreError::Failed(Box::new(error)))?;
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    /// Runs `read` on one of the threads.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            if !reply.is_closed() {
                // Nobody to tell: the caller went away meanwhile.
                let _ = reply.send(isolated(|| read(connection)));
            }
        });
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

impl Readers {
    /// A way for a read to have a part of it done by another of the threads.
    pub(crate) fn help(&self) -> Help {
        Help { jobs: self.jobs.as_ref().map(mpsc::Sender::downgrade) }
    }
}

/// Asks the other threads for a part of a read. Holds no thread, and does not keep them from ending.
#[derive(Debug)]
pub(crate) struct Help {
    jobs: Option<mpsc::WeakSender<Job>>,
}

impl Help {
    /// Offers `part` to whichever thread is idle; none if there is no place to wait for one.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        part: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Option<Part<T>> {
        let jobs = self.jobs.as_ref()?.upgrade()?;
        let (reply, answer) = oneshot::channel();
        let begun = Arc::new(AtomicBool::new(false));
        let part_begun = Arc::clone(&begun);
        let job: Job = Box::new(move |connection| {
            if !part_begun.swap(true, Ordering::AcqRel) && !reply.is_closed() {
                let _ = reply.send(isolated(|| part(connection)));
            }
        });
        jobs.try_send(job).ok().map(|()| Part { begun, answer })
    }
}

/// A part of a read that was offered to other threads. Dropping it takes the offer back.
#[derive(Debug)]
pub(crate) struct Part<T> {
    begun: Arc<AtomicBool>,
    answer: oneshot::Receiver<Result<T, StoreError>>,
}

impl<T> Part<T> {
    /// What another thread found; none if none has begun, and then none will: so this never waits for a thread that
    /// waits itself.
    pub(crate) fn finish(self) -> Option<T> {
        if !self.begun.swap(true, Ordering::AcqRel) {
            return None;
        }
        self.answer.blocking_recv().ok()?.ok()
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.jobs = None;
        let here = std::thread::current().id();
        // The last owner may be woken, and end, on one of the threads: that one ends by itself afterwards.
        for thread in self.threads.drain(..).filter(|thread| thread.thread().id() != here) {
            // A thread that panicked has told so already.
            let _ = thread.join();
        }
    }
}

/// A read that panics fails alone: the thread goes on with the reads of others.
fn isolated<T>(read: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    // The connection is left with at most an open read transaction, which its guard ends while unwinding.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(StoreError::Failed("a read panicked".into())))
}

fn answer(mut connection: Connection, queue: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        // The lock is held while waiting: one thread waits for a job, the others for their turn to wait.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(job) = job else { return };
        job(&mut connection);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(future)
    }

    fn readers() -> (tempfile::TempDir, Readers) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        let readers = Readers::start(&path).unwrap();
        (folder, readers)
    }

    #[test]
    fn read_that_panics_fails_alone() {
        let (_folder, readers) = readers();
        let reads = (0..2 * READER_THREADS).map(|_| readers.run::<()>(|_| panic!("a read that panics")));
        for failed in wait(join_all(reads)) {
            assert!(matches!(failed, Err(StoreError::Failed(_))), "{failed:?}");
        }
        assert_eq!(wait(readers.run(|_| Ok(7))).unwrap(), 7);
    }
}
