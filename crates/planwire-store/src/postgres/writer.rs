//! The one connection that writes a log in PostgreSQL, and what becomes of a batch when it is lost.
//!
//! **Invariants:** an append is one statement or one transaction, and `Stored` is answered after its COMMIT came back
//! from a server with `fsync` and `synchronous_commit` on. After a connection was lost nothing is answered from what is
//! merely likely: the head is locked, the place of the batch is looked at, and the fence is moved, so that a statement
//! which is still on its way finds another one and stores nothing.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;

use futures_util::future::join;
use planwire_event::EventId;
use tokio::time::Instant as Deadline;
use tokio_postgres::{Client, Error};

use crate::contract::{AppendError, Appended, Batch, Head, LogWriter, Removal, Row, StoreError};
use crate::postgres::append;
use crate::postgres::backoff::Backoff;
use crate::postgres::decode;
use crate::postgres::error::{is_conflict, is_lost, sql_number, store_error};
use crate::postgres::limits::LOSSES_MAX;
use crate::postgres::notify::Notifier;
use crate::postgres::removal;
use crate::postgres::server::{Server, wait};
use crate::postgres::session::{Backend, Session};

const HEAD: &str = "SELECT log_id, head, recorded_at, frontier, fence FROM planwire_log";
const LOCK_HEAD: &str = "SELECT log_id, head, recorded_at, frontier, fence FROM planwire_log FOR UPDATE";
const FIND_EVENTS: &str = "SELECT event_id FROM plan_events WHERE event_id = ANY($1)";
const FIND_LEAF: &str = "SELECT 1 FROM plan_events WHERE id = $1 AND leaf = $2";
const MOVE_FENCE: &str = "UPDATE planwire_log SET fence = fence + 1 RETURNING fence";
/// Ends the other side of a lost connection: it may still hold the head, and hears of its end only by and by.
const END_BACKEND: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
    WHERE pid = $1 AND backend_start = $2::text::timestamptz AND usename = current_user";

/// Writes a log in PostgreSQL; see [`crate::postgres::PostgresStore::open`].
#[derive(Debug)]
pub struct PostgresWriter {
    server: Arc<Server>,
    notifier: Notifier,
    session: Option<Session>,
    /// The fence that this session has seen; none before the first look at the head.
    fence: Option<i64>,
    /// A transaction is open that [`LogWriter::lock_head`] began.
    head_locked: bool,
    /// The other side of a connection that was lost, until it is certain that nothing comes from there any more.
    lost: Option<Backend>,
    /// Batches since the last answer to one that were lost, and found not to be stored.
    losses: u32,
}

impl PostgresWriter {
    pub(crate) fn new(server: Arc<Server>, notifier: Notifier, session: Session) -> Self {
        Self {
            server,
            notifier,
            session: Some(session),
            fence: None,
            head_locked: false,
            lost: None,
            losses: 0,
        }
    }

    /// Begins the session anew if it was lost.
    async fn connect(&mut self) -> Result<(), StoreError> {
        if self.session.as_ref().is_some_and(|session| session.client.is_closed()) {
            self.lose();
        }
        if self.session.is_some() {
            return Ok(());
        }
        let deadline = Deadline::now() + self.server.options.connect_max;
        let session = self.server.connect_until(deadline).await?;
        if let Some(lost) = &self.lost {
            // What was sent there is stored by now, or never will be.
            let fence =
                answer(&self.server, fence_off(&session.client, lost)).await.map_err(store_error_of)?;
            (self.lost, self.fence) = (None, Some(fence));
        }
        self.session = Some(session);
        Ok(())
    }

    /// Closes the session, and remembers its other side.
    fn lose(&mut self) {
        self.head_locked = false;
        if let Some(session) = self.session.take() {
            self.lost = Some(session.backend.clone());
        }
    }

    async fn read_head(&mut self, lock: bool) -> Result<Head, StoreError> {
        self.connect().await?;
        let begin = lock && !self.head_locked;
        let session = self.session.as_mut().ok_or(StoreError::Closed)?;
        let work = async {
            let statement = session.prepared(if lock { LOCK_HEAD } else { HEAD }).await?;
            let read = session.client.query_opt(&statement, &[]);
            if !begin {
                return read.await;
            }
            // Sent at once, and answered in this order.
            let (began, row) = join(session.client.batch_execute("BEGIN"), read).await;
            began?;
            row
        };
        match answer(&self.server, work).await {
            Ok(row) => {
                self.head_locked |= lock;
                let (head, fence) = decode::head(row.as_ref())?;
                self.fence = Some(fence);
                Ok(head)
            }
            Err(error) => {
                self.head_locked |= begin;
                self.unlock(error.as_ref().is_none_or(is_lost)).await;
                Err(store_error_of(error))
            }
        }
    }

    /// Ends a transaction that stores nothing.
    async fn unlock(&mut self, lost: bool) {
        if !std::mem::take(&mut self.head_locked) && !lost {
            return;
        }
        let ended = match &self.session {
            Some(session) if !lost => {
                answer(&self.server, session.client.batch_execute("ROLLBACK")).await.is_ok()
            }
            _ => false,
        };
        if !ended {
            self.lose();
        }
    }

    async fn append_batch(&mut self, expected: &Head, batch: &Batch) -> Result<Appended, AppendError> {
        self.connect().await.map_err(AppendError::Refused)?;
        if self.fence.is_none() {
            self.read_head(false).await.map_err(AppendError::Refused)?;
        }
        let sent = self.send(expected, batch).await;
        let lost = sent.as_ref().is_err_and(|error| error.as_ref().is_none_or(is_lost));
        if !lost {
            self.losses = 0;
        }
        match sent {
            Ok(true) => Ok(self.stored(batch)),
            Ok(false) => Ok(Appended::HeadMoved),
            Err(error) if lost => {
                self.lose();
                let error = store_error_of(error);
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the connection was lost within a commit"
                );
                self.settle(batch).await
            }
            Err(Some(error)) if is_conflict(&error) => self.conflict(error, &batch.rows).await,
            Err(error) => Err(AppendError::Refused(store_error_of(error))),
        }
    }

    /// Whatever becomes of the connection, it can be asked for again: the second time finds what the first one did.
    async fn remove(&mut self, event_id: EventId) -> Result<Removal, StoreError> {
        let head = self.read_head(false).await?;
        let session = self.session.as_mut().ok_or(StoreError::Closed)?;
        match answer(&self.server, removal::find(session, event_id, head.log_id)).await {
            Ok(found) => {
                let Some(row) = found? else { return Ok(Removal::Unknown) };
                let Some(bare) = removal::bare(&row)? else { return Ok(Removal::Before) };
                let removed = answer(&self.server, removal::remove(session, &bare)).await;
                self.unless_lost(removed).map(|()| Removal::Removed)
            }
            Err(error) => self.unless_lost(Err(error)),
        }
    }

    fn unless_lost<T>(&mut self, answer: Result<T, Option<Error>>) -> Result<T, StoreError> {
        answer.map_err(|error| {
            if error.as_ref().is_none_or(is_lost) {
                self.lose();
            }
            store_error_of(error)
        })
    }

    fn stored(&self, batch: &Batch) -> Appended {
        if !batch.rows.is_empty() {
            self.notifier.head_moved(batch.next.position);
        }
        Appended::Stored
    }

    /// Sends the batch, and ends the transaction of a head that was locked before.
    async fn send(&mut self, expected: &Head, batch: &Batch) -> Result<bool, Option<Error>> {
        let in_transaction = std::mem::take(&mut self.head_locked);
        let fence = self.fence.unwrap_or_default();
        let Some(session) = self.session.as_mut() else { return Err(None) };
        let work = async {
            let statement = match append::prepare(session, batch).await {
                Ok(statement) => statement,
                Err(error) if in_transaction && !is_lost(&error) => {
                    session.client.batch_execute("ROLLBACK").await?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            };
            let append = append::run(session, &statement, expected, fence, batch);
            if !in_transaction {
                return append.await;
            }
            // Sent at once: COMMIT undoes everything if the statement failed, and the statement's answer says so.
            let (appended, committed) = join(append, session.client.batch_execute("COMMIT")).await;
            let moved = appended?;
            committed.map(|()| moved)
        };
        answer(&self.server, work).await
    }

    /// A constraint was in the way: event ids that are there already, or a plan that starts or ends twice.
    async fn conflict(&mut self, error: Error, rows: &[Row]) -> Result<Appended, AppendError> {
        match self.repeated(rows).await {
            Ok(found) if found.is_empty() => Err(AppendError::Refused(store_error(error))),
            Ok(found) => Ok(Appended::Duplicate(found)),
            Err(failed) => {
                if failed.as_ref().is_none_or(is_lost) {
                    self.lose();
                }
                Err(AppendError::Refused(store_error_of(failed)))
            }
        }
    }

    /// The ids that are in the log, or in the batch twice.
    async fn repeated(&mut self, rows: &[Row]) -> Result<Vec<EventId>, Option<Error>> {
        let ids: Vec<EventId> = rows.iter().map(|row| row.event.event.event_id()).collect();
        let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let Some(session) = self.session.as_mut() else { return Err(None) };
        let work = async {
            let statement = session.prepared(FIND_EVENTS).await?;
            let found = session.client.query(&statement, &[&texts]).await?;
            found.iter().map(|row| row.try_get(0)).collect::<Result<HashSet<String>, Error>>()
        };
        let stored = answer(&self.server, work).await?;
        let mut seen = HashSet::with_capacity(ids.len());
        let both = ids.into_iter().zip(&texts);
        let repeated = both.filter(|(id, text)| !seen.insert(*id) || stored.contains(*text));
        let mut repeated: Vec<_> = repeated.map(|(id, _)| id).collect();
        repeated.sort_unstable();
        repeated.dedup();
        Ok(repeated)
    }

    /// Finds out what became of a batch whose connection was lost.
    ///
    /// One that is not stored, and now never will be, is answered as a head that moved: the fence did, so that the
    /// batch is computed and sent again. Not for ever: who asks for it waits.
    async fn settle(&mut self, batch: &Batch) -> Result<Appended, AppendError> {
        let deadline = Deadline::now() + self.server.options.settle_max;
        let mut backoff = Backoff::new(self.server.options.jitter_seed);
        loop {
            let why = match self.look(batch, deadline).await {
                Ok((session, stored, fence)) => {
                    (self.session, self.lost, self.fence) = (Some(session), None, Some(fence));
                    return self.settled(batch, stored);
                }
                // Nobody is there, or somebody else holds the head.
                Err(error) => error,
            };
            let pause = backoff.next();
            if Deadline::now() + pause >= deadline {
                tracing::warn!(error = &why as &dyn std::error::Error, "nobody knows what became of a batch");
                return Err(AppendError::Unsettled(why));
            }
            self.server.sleep(pause).await;
        }
    }

    fn settled(&mut self, batch: &Batch, stored: bool) -> Result<Appended, AppendError> {
        self.losses = if stored { 0 } else { self.losses + 1 };
        if stored {
            Ok(self.stored(batch))
        } else if self.losses < LOSSES_MAX {
            Ok(Appended::HeadMoved)
        } else {
            self.losses = 0;
            let lost = "the connection was lost each time that a batch was sent";
            Err(AppendError::Refused(StoreError::Unreachable(lost.into())))
        }
    }

    /// Looks in a new session what became of `batch`; gives the session, whether it is stored, and the new fence.
    async fn look(&self, batch: &Batch, deadline: Deadline) -> Result<(Session, bool, i64), StoreError> {
        let mut session = self.server.connect_until(deadline).await?;
        let looking = look(&mut session.client, self.lost.as_ref(), batch);
        let left = deadline.saturating_duration_since(Deadline::now());
        let looked = self.server.within(left, looking).await.ok_or(None);
        let (stored, fence) = looked.and_then(|looked| looked.map_err(Some)).map_err(store_error_of)?;
        Ok((session, stored, fence))
    }
}

/// Looks under the lock of the head whether `batch` is in its place, and moves the fence.
async fn look(client: &mut Client, lost: Option<&Backend>, batch: &Batch) -> Result<(bool, i64), Error> {
    if let Some(lost) = lost {
        end_backend(client, lost).await?;
    }
    let transaction = client.transaction().await?;
    // The lost side, if it is at its statement still, is waited for here.
    let fence = transaction.query_one(MOVE_FENCE, &[]).await?.try_get(0)?;
    // The leaf is the hash over everything that the last row of the batch is, its place and its event id among it.
    let stored = match batch.rows.last() {
        Some(last) => {
            let (id, leaf) = (sql_number(last.event.position.get()), &last.leaf[..]);
            transaction.query_opt(FIND_LEAF, &[&id, &leaf]).await?.is_some()
        }
        None => false,
    };
    transaction.commit().await?;
    Ok((stored, fence))
}

/// Makes certain that nothing which `lost` was sent is stored from now on, and says the new fence.
async fn fence_off(client: &Client, lost: &Backend) -> Result<i64, Error> {
    end_backend(client, lost).await?;
    client.query_one(MOVE_FENCE, &[]).await?.try_get(0)
}

async fn end_backend(client: &Client, lost: &Backend) -> Result<(), Error> {
    client.query(END_BACKEND, &[&lost.pid, &lost.started]).await.map(drop)
}

/// Waits for an answer; none in time is a lost connection too, with no error to tell.
async fn answer<T>(
    server: &Server,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Option<Error>> {
    server.within(server.options.answer_max, work).await.ok_or(None)?.map_err(Some)
}

fn store_error_of(error: Option<Error>) -> StoreError {
    match error {
        Some(error) => store_error(error),
        None => StoreError::Unreachable("no answer in time".into()),
    }
}

impl LogWriter for PostgresWriter {
    fn head(&mut self) -> Result<Head, StoreError> {
        wait(self.read_head(false))
    }

    fn lock_head(&mut self) -> Result<Head, StoreError> {
        wait(self.read_head(true))
    }

    fn append(&mut self, expected: &Head, batch: &Batch) -> Result<Appended, AppendError> {
        if let Some(misfit) = batch.misfit(expected) {
            wait(self.unlock(false));
            return Err(AppendError::Refused(StoreError::Failed(misfit.into())));
        }
        wait(self.append_batch(expected, batch))
    }

    fn remove_payload(&mut self, event_id: EventId) -> Result<Removal, StoreError> {
        wait(self.remove(event_id))
    }
}
