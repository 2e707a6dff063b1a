//! A store that is away for a while: it does not say what became of an append, takes none, has no
//! room, or answers no reads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use planwire_bus::Log;
use planwire_event::{
    Digest, EventId, EventTypes, Filter, PlanId, Position, Scope, StoredEvent, SystemClock,
};
use planwire_store::{
    AppendError, Appended, Batch, EventRepository, Head, LogInfo, LogWriter, MemoryStore, Page, PageLimits,
    PlanPage, PlanQuery, StoreError,
};
use tokio::sync::Semaphore;

/// What of a store is away. Nothing is, at first.
#[derive(Debug)]
pub(crate) struct Away {
    /// Appends before the first that is not answered.
    pub(crate) before: AtomicUsize,
    /// What becomes of that one.
    pub(crate) fate: Mutex<Fate>,
    /// Appends that are refused after it, or from it on.
    pub(crate) refused: AtomicUsize,
    /// Reads of events of one plan that fail.
    pub(crate) lists: AtomicUsize,
    /// Reads of rows of plans that fail.
    pub(crate) plans: AtomicUsize,
    /// Reads of whole trees that fail, of the plan.
    pub(crate) unread: Mutex<Option<PlanId>>,
    /// Reads of whole trees wait for a place here.
    pub(crate) histories: Semaphore,
}

/// What becomes of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is stored, and nobody is told.
    Stored,
    /// It is not, and nobody is told.
    NotStored,
    /// It is refused, since nobody is there.
    Refused,
    /// It is refused, since there is no room.
    Full,
}

impl Default for Away {
    fn default() -> Self {
        Self {
            before: AtomicUsize::new(usize::MAX),
            fate: Mutex::new(Fate::Refused),
            refused: AtomicUsize::default(),
            lists: AtomicUsize::default(),
            plans: AtomicUsize::default(),
            unread: Mutex::default(),
            histories: Semaphore::new(Semaphore::MAX_PERMITS),
        }
    }
}

impl Away {
    /// One whose append number `at` is not answered, nor the `refused` after it.
    pub(crate) fn at(at: usize, fate: Fate, refused: usize) -> Arc<Self> {
        let (before, refused) = (AtomicUsize::new(at), AtomicUsize::new(refused));
        Arc::new(Self { before, fate: Mutex::new(fate), refused, ..Self::default() })
    }

    /// The log of a store that is away like that.
    pub(crate) fn log(self: &Arc<Self>, store: &MemoryStore) -> Log {
        let writer = Box::new(AwayWriter(store.writer(), Arc::clone(self)));
        let repository = Arc::new(AwayRepository(store.repository(), Arc::clone(self)));
        Log::open(writer, repository, Arc::new(SystemClock)).unwrap()
    }

    fn append(&self) -> Option<Fate> {
        if take(&self.before) {
            return None;
        }
        let mut fate = self.fate.lock().unwrap();
        match *fate {
            Fate::Stored | Fate::NotStored => Some(std::mem::replace(&mut *fate, Fate::Refused)),
            refused @ (Fate::Refused | Fate::Full) => take(&self.refused).then_some(refused),
        }
    }
}

/// Takes one, if there is one.
fn take(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn away() -> StoreError {
    StoreError::Unreachable("away".into())
}

struct AwayWriter(Box<dyn LogWriter>, Arc<Away>);

impl LogWriter for AwayWriter {
    fn head(&mut self) -> Result<Head, StoreError> {
        self.0.head()
    }

    fn lock_head(&mut self) -> Result<Head, StoreError> {
        self.0.lock_head()
    }

    fn append(&mut self, expected: &Head, batch: &Batch) -> Result<Appended, AppendError> {
        match self.1.append() {
            None => self.0.append(expected, batch),
            Some(Fate::Refused) => Err(AppendError::Refused(away())),
            Some(Fate::Full) => Err(AppendError::Refused(StoreError::Full)),
            Some(Fate::NotStored) => Err(AppendError::Unsettled(away())),
            Some(Fate::Stored) => {
                assert_eq!(self.0.append(expected, batch).unwrap(), Appended::Stored);
                Err(AppendError::Unsettled(away()))
            }
        }
    }
}

struct AwayRepository(Arc<dyn EventRepository>, Arc<Away>);

impl EventRepository for AwayRepository {
    fn log_info(&self) -> BoxFuture<'_, Result<LogInfo, StoreError>> {
        self.0.log_info()
    }

    fn read_after<'a>(
        &'a self,
        after: Position,
        filter: &'a Filter,
        limits: PageLimits,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        Box::pin(async move {
            if let Scope::Tree(root) = &filter.scope {
                let _place = self.1.histories.acquire().await.unwrap();
                if self.1.unread.lock().unwrap().as_ref() == Some(root) {
                    return Err(away());
                }
            }
            self.0.read_after(after, filter, limits).await
        })
    }

    fn list_by_plan<'a>(
        &'a self,
        plan: &'a PlanId,
        types: EventTypes,
        after: Position,
        limits: PageLimits,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        if take(&self.1.lists) {
            return Box::pin(std::future::ready(Err(away())));
        }
        self.0.list_by_plan(plan, types, after, limits)
    }

    fn by_event_ids<'a>(
        &'a self,
        ids: &'a [EventId],
    ) -> BoxFuture<'a, Result<Vec<Arc<StoredEvent>>, StoreError>> {
        self.0.by_event_ids(ids)
    }

    fn plans<'a>(&'a self, query: &'a PlanQuery) -> BoxFuture<'a, Result<PlanPage, StoreError>> {
        if take(&self.1.plans) {
            return Box::pin(std::future::ready(Err(away())));
        }
        self.0.plans(query)
    }

    fn document(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Arc<str>>, StoreError>> {
        self.0.document(digest)
    }

    fn blob(&self, digest: Digest, chunk: u32) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        self.0.blob(digest, chunk)
    }
}
