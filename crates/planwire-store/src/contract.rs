//! What every store promises: one writer that compares and appends, any number of readers.
//!
//! The bus computes finished rows (position, seq, lineage, leaf); a store appends them in one transaction iff its
//! head is still the expected one. **Invariant:** what [`LogWriter::append`] answered with [`Appended::Stored`] is on
//! disk, and every later read finds it. Other processes may write the same log, if the store lets them: the head says
//! so ([`Appended::HeadMoved`]), and [`EventRepository::watch_head`] tells those who only read.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use planwire_event::{
    Digest, EventId, EventTypes, Filter, LogId, PlanId, PlanStatus, Position, Seq, StoredEvent, Timestamp,
};

use crate::merkle::Frontier;
use crate::plan_query::{PlanPage, PlanQuery};

/// Events that one page of a read may hold.
pub const PAGE_EVENTS_MAX: usize = 1_000;

/// Bytes of payload after which a page ends, so that a page of large events stays small.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of one chunk of a blob.
pub const BLOB_CHUNK_BYTES: usize = 1024 * 1024;

/// Bytes of one blob.
pub const BLOB_BYTES_MAX: usize = 64 * 1024 * 1024;

const _: () = assert!(BLOB_BYTES_MAX.is_multiple_of(BLOB_CHUNK_BYTES));

/// The end of a log: what the next append builds on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The log.
    pub log_id: LogId,
    /// Position of the last event; zero in an empty log.
    pub position: Position,
    /// When the last event was recorded; later events are never earlier.
    pub recorded_at: Timestamp,
    /// The Merkle tree over all leaves so far.
    pub frontier: Frontier,
}

/// One finished row of `plan_events`; [`Row::seal`] makes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The event in its place. Shared with the ring, so that nothing is copied after the commit.
    pub event: Arc<StoredEvent>,
    /// JSON of the event's [`planwire_event::Meta`], as it is stored and as it went into the leaf.
    pub meta: Box<str>,
    /// Its Merkle leaf, see [`crate::merkle::leaf`].
    pub leaf: [u8; 32],
}

/// One row of `plans`: written when a plan starts and when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRow {
    /// The plan.
    pub plan_id: PlanId,
    /// The root of its tree.
    pub root_plan_id: PlanId,
    /// The plan that spawned it.
    pub parent_plan_id: Option<PlanId>,
    /// 0 at the root.
    pub depth: u32,
    /// Name of its document.
    pub name: String,
    /// Groups several trees.
    pub context_id: Arc<str>,
    /// SHA-256 of its document.
    pub document_digest: Option<Digest>,
    /// Whether it runs, and how it ended if not.
    pub status: PlanStatus,
    /// Position of its PlanStarted.
    pub first_position: Position,
    /// Position of its terminal event.
    pub last_position: Option<Position>,
    /// Seq of its terminal event.
    pub last_seq: Option<Seq>,
    /// Timestamp of its PlanStarted.
    pub started_at: Timestamp,
    /// Timestamp of its terminal event.
    pub ended_at: Option<Timestamp>,
    /// The executor that owns it.
    pub owner: Option<Arc<str>>,
}

/// What an append changes in `plans`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanChange {
    /// A plan began: a new row.
    Started(Box<PlanRow>),
    /// A plan ended.
    Ended {
        /// The plan.
        plan_id: PlanId,
        /// How.
        status: PlanStatus,
        /// Position of the terminal event.
        position: Position,
        /// Seq of the terminal event.
        seq: Seq,
        /// Timestamp of the terminal event.
        ended_at: Timestamp,
        /// The executor that owned it then.
        owner: Option<Arc<str>>,
    },
    /// Another executor took a tree over: it owns all plans of it that are open.
    Adopted {
        /// The root of the tree.
        root_plan_id: PlanId,
        /// Who owns them from now on.
        owner: Arc<str>,
    },
}

/// A plan document in normal form, kept under its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// SHA-256 of the body.
    pub digest: Digest,
    /// Normal form.
    pub body: Arc<str>,
}

/// Bytes kept under their digest, cut into chunks by the store. At most [`BLOB_BYTES_MAX`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// SHA-256 of the body.
    pub digest: Digest,
    /// The bytes.
    pub body: Arc<[u8]>,
}

/// What one append adds to the log: all of it or nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Rows in position order, the first directly after the expected head.
    pub rows: Vec<Row>,
    /// Changes of `plans`, in order.
    pub plans: Vec<PlanChange>,
    /// Documents; one that is already stored is left as it is.
    pub documents: Vec<Document>,
    /// Blobs; one that is already stored is left as it is.
    pub blobs: Vec<Blob>,
    /// The head after the append.
    pub next: Head,
}

impl Head {
    /// The head of a log without events.
    #[must_use]
    pub fn empty(log_id: LogId) -> Self {
        let recorded_at = Timestamp::from_micros_clamped(i64::MIN);
        Self { log_id, position: Position::ZERO, recorded_at, frontier: Frontier::default() }
    }
}

impl Batch {
    /// Says why the batch does not continue `expected`, if so: a store refuses it, since it would tear the log.
    pub(crate) fn misfit(&self, expected: &Head) -> Option<&'static str> {
        let mut position = expected.position;
        for row in &self.rows {
            position = position.next();
            if row.event.position != position {
                return Some("positions of the batch do not follow the expected head");
            }
        }
        if self.next.position != position || self.next.log_id != expected.log_id {
            return Some("the next head is not where the batch ends");
        }
        if self.next.frontier.leaves() != position.get() {
            return Some("the next frontier has another number of leaves than the log");
        }
        let large = self.blobs.iter().any(|blob| blob.body.len() > BLOB_BYTES_MAX);
        large.then_some("a blob of the batch is too large")
    }
}

/// How an append that did not fail ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Everything is on disk.
    Stored,
    /// The log's head is not the expected one; nothing is stored.
    HeadMoved,
    /// These event ids are already in the log, or are in the batch twice; nothing is stored. In rising order.
    Duplicate(Vec<EventId>),
}

/// What a store can fail with. Texts of the database are in the source, for logs, and never reach a client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No space is left; writing resumes by itself when there is some.
    #[error("no space is left for the log")]
    Full,
    /// Another process holds the database's lock for longer than we wait.
    #[error("the database is locked by another process")]
    Busy,
    /// A row's checksum or form is wrong.
    #[error("the log is damaged at position {position}: {message}")]
    Damaged {
        /// The first position at which it was noticed.
        position: Position,
        /// What is wrong.
        message: String,
    },
    /// The database does not answer; reading and writing resume by themselves when it does.
    #[error("the database does not answer")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// As many reads as may are under way, and none of them ended while we waited.
    #[error("all {connections} connections for reading are in use")]
    Exhausted {
        /// How many there are.
        connections: usize,
    },
    /// Another log lies where this one lay: somebody has put it there below a process that had this one open, which
    /// must not write any more.
    #[error("log {found} has taken the place of log {expected}; restart the process")]
    Replaced {
        /// The log that was opened.
        expected: LogId,
        /// The log that is there.
        found: LogId,
    },
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// Reading or writing failed.
    #[error("the store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why an append failed.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Certainly nothing is stored.
    #[error("nothing was stored")]
    Refused(#[source] StoreError),
    /// It may be stored or not, and nothing may be written until the log is opened anew: a file whose last write
    /// failed shows one thing now and may hold another after a crash.
    #[error("the store did not say whether the batch is stored")]
    Unknown(#[source] StoreError),
    /// It may be stored or not; the store itself is sound and finds out before it appends anything else, so writing
    /// goes on. What became of the batch is told by reading its event ids.
    #[error("the store could not be asked whether the batch is stored")]
    Unsettled(#[source] StoreError),
}

/// Writes a log. There is one per log and process; it is used from one thread and blocks.
pub trait LogWriter: Send {
    /// Reads the head.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    fn head(&mut self) -> Result<Head, StoreError>;

    /// Reads the head and keeps others from moving it until the next [`LogWriter::append`], which is in the same
    /// transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] if another process does not let go of it.
    fn lock_head(&mut self) -> Result<Head, StoreError>;

    /// Appends `batch` in one transaction iff the head is `expected`, and answers after the commit is on disk.
    ///
    /// # Errors
    ///
    /// [`AppendError::Refused`] if certainly nothing is stored, [`AppendError::Unknown`] or
    /// [`AppendError::Unsettled`] if it may be.
    fn append(&mut self, expected: &Head, batch: &Batch) -> Result<Appended, AppendError>;

    /// The rows of those of `plans` that the store knows, if it is quicker here than by the repository, whose answer comes
    /// from another thread; `None` if it is not. At most [`PAGE_EVENTS_MAX`] plans are asked for at a time.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    fn plans_named(&mut self, plans: &[PlanId]) -> Option<Result<Vec<PlanRow>, StoreError>> {
        let _ = plans;
        None
    }

    /// Removes the payload of an event for good; its digest stays, so that its leaf can be verified. The name of a plan
    /// whose `PlanStarted` it is goes too. Nothing happens to one that was removed before, but that the store looks once
    /// more whether anything of it is left. Not between [`LogWriter::lock_head`] and [`LogWriter::append`].
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it is not certain that the payload is gone; it may be tried again. A store that cannot remove
    /// anything says so.
    fn remove_payload(&mut self, event_id: EventId) -> Result<Removal, StoreError> {
        let _ = event_id;
        Err(StoreError::Failed("this store removes no payloads".into()))
    }
}

/// What became of the payload of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// It was removed before.
    Before,
    /// There is no such event.
    Unknown,
}

/// How much one read may return; at least one event is returned if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimits {
    /// Events, at most [`PAGE_EVENTS_MAX`].
    pub events: usize,
    /// Bytes of payload, at most [`PAGE_BYTES_MAX`].
    pub bytes: usize,
}

impl Default for PageLimits {
    fn default() -> Self {
        Self { events: PAGE_EVENTS_MAX, bytes: PAGE_BYTES_MAX }
    }
}

impl PageLimits {
    /// `events` events, as far as the limits allow.
    #[must_use]
    pub fn events(events: usize) -> Self {
        Self { events: events.clamp(1, PAGE_EVENTS_MAX), ..Self::default() }
    }
}

/// Events of a log in position order.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// What matched.
    pub events: Vec<Arc<StoredEvent>>,
    /// Everything up to here was looked at: the next page starts after it.
    pub scanned_to: Position,
    /// Whether this was the end of the log when it was read.
    pub at_head: bool,
}

/// What a log says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogInfo {
    /// The log.
    pub log_id: LogId,
    /// Position of the last event.
    pub head: Position,
    /// Highest position that retention removed; zero if none.
    pub pruned_to: Position,
    /// Logs that this one continues; their cursors hold up to the position.
    pub lineage: Vec<(LogId, Position)>,
}

/// Reads a log. Every read sees all that was acknowledged before it began.
///
/// Dropping the future gives the read up.
pub trait EventRepository: Send + Sync {
    /// What the log says of itself.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    fn log_info(&self) -> BoxFuture<'_, Result<LogInfo, StoreError>>;

    /// Events after `after` that match `filter`, in position order.
    ///
    /// `Scope::Tree` of a plan that is no root gives what lies below it; `scanned_to` moves on also where nothing
    /// matched, so that a reader of rare events does not look at the same rows twice.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] names the first bad row.
    fn read_after<'a>(
        &'a self,
        after: Position,
        filter: &'a Filter,
        limits: PageLimits,
    ) -> BoxFuture<'a, Result<Page, StoreError>>;

    /// Whether a read goes on once it was polled, and holds nothing that others wait for until somebody takes its
    /// answer; then the next page can be read while the one before is handed out.
    fn reads_ahead(&self) -> bool {
        false
    }

    /// Events of one plan, in seq order.
    ///
    /// # Errors
    ///
    /// As for [`EventRepository::read_after`].
    fn list_by_plan<'a>(
        &'a self,
        plan: &'a PlanId,
        types: EventTypes,
        after: Position,
        limits: PageLimits,
    ) -> BoxFuture<'a, Result<Page, StoreError>>;

    /// The events of these ids that are stored, in no order; at most [`PAGE_EVENTS_MAX`] ids.
    ///
    /// # Errors
    ///
    /// As for [`EventRepository::read_after`].
    fn by_event_ids<'a>(
        &'a self,
        ids: &'a [EventId],
    ) -> BoxFuture<'a, Result<Vec<Arc<StoredEvent>>, StoreError>>;

    /// Rows of `plans`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    fn plans<'a>(&'a self, query: &'a PlanQuery) -> BoxFuture<'a, Result<PlanPage, StoreError>>;

    /// A plan document in normal form.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    fn document(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Arc<str>>, StoreError>>;

    /// One chunk of a blob: 0, 1, 2 ...; none after the last.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    fn blob(&self, digest: Digest, chunk: u32) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>>;

    /// Calls `seen` with the position of the head whenever the store looked at it, from a thread of its own, until
    /// the watch is dropped; `None` if nobody but the writer of this process can move the head.
    ///
    /// The calls are hints and the table is the truth: positions may repeat, and some are left out. A head that moved
    /// is told within the store's own interval, in most cases at once.
    fn watch_head(&self, seen: HeadSeen) -> Option<HeadWatch> {
        drop(seen);
        None
    }
}

/// Is told how far a log reaches. It must return at once.
pub type HeadSeen = Box<dyn Fn(Position) + Send + Sync>;

/// A watch over the head of a log that others write too; dropping it ends the watch.
pub struct HeadWatch {
    _guard: Box<dyn Send + Sync>,
}

impl HeadWatch {
    /// A watch that ends when `guard` is dropped.
    #[must_use]
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self { _guard: Box::new(guard) }
    }
}

impl std::fmt::Debug for HeadWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HeadWatch")
    }
}
