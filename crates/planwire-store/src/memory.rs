//! A log in memory, for tests and for programs that embed the bus and need no history.
//!
//! It answers as the other stores do, page for page; it is gone with the process.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use planwire_event::{Digest, EventId, EventTypes, Filter, LogId, PlanId, Position, Scope, StoredEvent};

use crate::contract::{
    AppendError, Appended, BLOB_CHUNK_BYTES, Batch, EventRepository, Head, LogInfo, LogWriter,
    PAGE_EVENTS_MAX, Page, PageLimits, PlanChange, PlanRow, Removal, Row, StoreError,
};
use crate::plan_query::{PlanPage, PlanQuery, PlanScope};
use crate::scan::Scan;

/// A log in memory. Clones share it.
///
/// ```
/// use planwire_store::{LogWriter as _, MemoryStore};
/// let (mut writer, _repository) = MemoryStore::open("7Q4M2K9A".parse().unwrap());
/// assert_eq!(writer.head().unwrap().position.get(), 0);
/// ```
#[derive(Clone, Debug)]
pub struct MemoryStore {
    log: Arc<RwLock<Log>>,
}

/// One writer of a log in memory.
#[derive(Debug)]
struct MemoryWriter {
    log: Arc<RwLock<Log>>,
    number: u64,
}

#[derive(Debug)]
struct Log {
    head: Head,
    writers: u64,
    /// Number of the writer that holds the head.
    held_by: Option<u64>,
    events: Vec<Arc<StoredEvent>>,
    ids: HashMap<EventId, usize>,
    /// Where in `events` the events of each tree are.
    trees: HashMap<PlanId, Vec<usize>>,
    plans: BTreeMap<Position, PlanRow>,
    started: HashMap<PlanId, Position>,
    documents: HashMap<Digest, Arc<str>>,
    blobs: HashMap<Digest, Arc<[u8]>>,
}

impl MemoryStore {
    /// Makes an empty log.
    #[must_use]
    pub fn new(log_id: LogId) -> Self {
        let log = Log {
            head: Head::empty(log_id),
            writers: 0,
            held_by: None,
            events: Vec::new(),
            ids: HashMap::new(),
            trees: HashMap::new(),
            plans: BTreeMap::new(),
            started: HashMap::new(),
            documents: HashMap::new(),
            blobs: HashMap::new(),
        };
        Self { log: Arc::new(RwLock::new(log)) }
    }

    /// Makes an empty log and gives both of its ends.
    #[must_use]
    pub fn open(log_id: LogId) -> (Box<dyn LogWriter>, Arc<dyn EventRepository>) {
        let store = Self::new(log_id);
        (store.writer(), store.repository())
    }

    /// A writer. A second one on the same log stands for another process in tests.
    #[must_use]
    pub fn writer(&self) -> Box<dyn LogWriter> {
        let mut log = self.log.write().unwrap_or_else(PoisonError::into_inner);
        log.writers += 1;
        Box::new(MemoryWriter { log: Arc::clone(&self.log), number: log.writers })
    }

    /// The readers' end.
    #[must_use]
    pub fn repository(&self) -> Arc<dyn EventRepository> {
        Arc::new(self.clone())
    }

    fn read(&self) -> RwLockReadGuard<'_, Log> {
        self.log.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryWriter {
    fn write(&self) -> RwLockWriteGuard<'_, Log> {
        self.log.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogWriter for MemoryWriter {
    fn head(&mut self) -> Result<Head, StoreError> {
        Ok(self.write().head.clone())
    }

    fn lock_head(&mut self) -> Result<Head, StoreError> {
        let mut log = self.write();
        log.let_through(self.number)?;
        log.held_by = Some(self.number);
        Ok(log.head.clone())
    }

    fn append(&mut self, expected: &Head, batch: &Batch) -> Result<Appended, AppendError> {
        let mut log = self.write();
        log.let_through(self.number).map_err(AppendError::Refused)?;
        log.held_by = None;
        log.append(expected, batch).map_err(AppendError::Refused)
    }

    fn remove_payload(&mut self, event_id: EventId) -> Result<Removal, StoreError> {
        let mut log = self.write();
        log.let_through(self.number)?;
        Ok(log.remove_payload(event_id))
    }
}

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        let mut log = self.write();
        log.held_by = log.held_by.filter(|holder| *holder != self.number);
    }
}

impl Log {
    fn let_through(&self, writer: u64) -> Result<(), StoreError> {
        if self.held_by.is_none_or(|holder| holder == writer) { Ok(()) } else { Err(StoreError::Busy) }
    }

    fn append(&mut self, expected: &Head, batch: &Batch) -> Result<Appended, StoreError> {
        if let Some(misfit) = batch.misfit(expected) {
            return Err(StoreError::Failed(misfit.into()));
        }
        if self.head != *expected {
            return Ok(Appended::HeadMoved);
        }
        let repeated = self.repeated(batch);
        if !repeated.is_empty() {
            return Ok(Appended::Duplicate(repeated));
        }
        self.check_plans(batch)?;
        self.take(batch);
        Ok(Appended::Stored)
    }

    fn remove_payload(&mut self, event_id: EventId) -> Removal {
        let Some(at) = self.ids.get(&event_id).copied() else { return Removal::Unknown };
        let event = Arc::clone(&self.events[at]);
        if event.event.payload().removed_digest().is_some() {
            return Removal::Before;
        }
        self.events[at] = Row::seal(event).without_payload().event;
        let of_start = self.started.get(self.events[at].plan_id()).copied();
        if of_start == Some(self.events[at].position)
            && let Some(plan) = self.plans.get_mut(&self.events[at].position)
        {
            plan.name.clear();
        }
        Removal::Removed
    }

    fn repeated(&self, batch: &Batch) -> Vec<EventId> {
        let mut seen = HashSet::new();
        let ids = batch.rows.iter().map(|row| row.event.event.event_id());
        let mut repeated: Vec<_> = ids.filter(|id| self.ids.contains_key(id) || !seen.insert(*id)).collect();
        repeated.sort_unstable();
        repeated.dedup();
        repeated
    }

    fn check_plans(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut new = HashSet::new();
        for change in &batch.plans {
            let (good, what) = match change {
                PlanChange::Started(plan) => {
                    let known = self.started.contains_key(&plan.plan_id) || !new.insert(&plan.plan_id);
                    (!known, "a plan starts twice")
                }
                PlanChange::Ended { plan_id, .. } => (
                    self.started.contains_key(plan_id) || new.contains(plan_id),
                    "a plan ends that is unknown",
                ),
                PlanChange::Adopted { .. } => (true, ""),
            };
            if !good {
                return Err(StoreError::Failed(what.into()));
            }
        }
        Ok(())
    }

    fn take(&mut self, batch: &Batch) {
        for row in &batch.rows {
            let at = self.events.len();
            self.ids.insert(row.event.event.event_id(), at);
            self.trees.entry(row.event.root_plan_id.clone()).or_default().push(at);
            self.events.push(Arc::clone(&row.event));
        }
        for change in &batch.plans {
            self.change(change);
        }
        for document in &batch.documents {
            self.documents.entry(document.digest).or_insert_with(|| Arc::clone(&document.body));
        }
        for blob in &batch.blobs {
            self.blobs.entry(blob.digest).or_insert_with(|| Arc::clone(&blob.body));
        }
        self.head = batch.next.clone();
    }

    fn change(&mut self, change: &PlanChange) {
        match change {
            PlanChange::Started(plan) => {
                self.started.insert(plan.plan_id.clone(), plan.first_position);
                self.plans.insert(plan.first_position, (**plan).clone());
            }
            PlanChange::Ended { plan_id, status, position, seq, ended_at, owner } => {
                let first = self.started.get(plan_id).copied().unwrap_or_default();
                if let Some(plan) = self.plans.get_mut(&first) {
                    plan.status = *status;
                    plan.last_position = Some(*position);
                    plan.last_seq = Some(*seq);
                    plan.ended_at = Some(*ended_at);
                    plan.owner.clone_from(owner);
                }
            }
            PlanChange::Adopted { root_plan_id, owner } => {
                let open = |plan: &&mut PlanRow| plan.root_plan_id == *root_plan_id && plan.status.is_open();
                self.plans.values_mut().filter(open).for_each(|plan| plan.owner = Some(Arc::clone(owner)));
            }
        }
    }

    fn plan(&self, plan: &PlanId) -> Option<&PlanRow> {
        self.plans.get(self.started.get(plan)?)
    }

    /// The plan and all below it; parents start before their children, so one pass finds them.
    fn below(&self, plan: &PlanRow) -> HashSet<&PlanId> {
        let mut below = HashSet::new();
        for row in self.plans.range(plan.first_position..).map(|(_, row)| row) {
            let inside = row.parent_plan_id.as_ref().is_some_and(|parent| below.contains(parent));
            if inside || row.plan_id == plan.plan_id {
                below.insert(&row.plan_id);
            }
        }
        below
    }

    fn page(&self, after: Position, scope: &Scope, types: &EventTypes, limits: PageLimits) -> Page {
        let mut scan = Scan::new(after, self.head.position, types, limits);
        let first = usize::try_from(after.get()).unwrap_or(usize::MAX);
        let mut offer = |at: usize, of_plans: bool| {
            let event = &self.events[at];
            let step =
                scan.offer(event.position, of_plans, event.event.event_type().as_str().as_bytes(), || {
                    Ok(Arc::clone(event))
                });
            step.unwrap_or(ControlFlow::Break(()))
        };
        let Some(plan) = scope_plan(scope) else {
            let _ = (first..self.events.len()).try_for_each(|at| offer(at, true));
            return scan.finish();
        };
        let Some(plan) = self.plan(plan) else { return scan.finish() };
        let tree = self.trees.get(&plan.root_plan_id).map_or(&[][..], Vec::as_slice);
        let from = first.max(usize::try_from(plan.first_position.previous().get()).unwrap_or(usize::MAX));
        let tree = &tree[tree.partition_point(|at| *at < from)..];
        let _ = match scope {
            Scope::Tree(_) if plan.parent_plan_id.is_none() => {
                tree.iter().try_for_each(|at| offer(*at, true))
            }
            Scope::Tree(_) => {
                let below = self.below(plan);
                tree.iter().try_for_each(|at| offer(*at, below.contains(self.events[*at].plan_id())))
            }
            _ => {
                let last = plan.last_position.unwrap_or(self.head.position);
                let tree = &tree[..tree.partition_point(|at| self.events[*at].position <= last)];
                tree.iter().try_for_each(|at| offer(*at, *self.events[*at].plan_id() == plan.plan_id))
            }
        };
        scan.finish()
    }

    fn plan_page(&self, query: &PlanQuery) -> PlanPage {
        let below = match &query.scope {
            PlanScope::Tree(plan) => self.plan(plan).map(|plan| self.below(plan)).unwrap_or_default(),
            _ => HashSet::new(),
        };
        let of_scope = |plan: &&PlanRow| match &query.scope {
            PlanScope::All => true,
            PlanScope::Roots => plan.parent_plan_id.is_none(),
            PlanScope::Tree(_) => below.contains(&plan.plan_id),
            PlanScope::Context(context_id) => plan.context_id == *context_id,
            PlanScope::These(plans) => plans.iter().take(PAGE_EVENTS_MAX).any(|one| *one == plan.plan_id),
        };
        PlanPage::of(query, self.plans.values().filter(of_scope))
    }
}

fn scope_plan(scope: &Scope) -> Option<&PlanId> {
    match scope {
        Scope::All => None,
        Scope::Plan(plan) | Scope::Tree(plan) => Some(plan),
    }
}

impl EventRepository for MemoryStore {
    fn log_info(&self) -> BoxFuture<'_, Result<LogInfo, StoreError>> {
        let head = &self.read().head;
        let info = LogInfo {
            log_id: head.log_id,
            head: head.position,
            pruned_to: Position::ZERO,
            lineage: Vec::new(),
        };
        ready(Ok(info)).boxed()
    }

    fn read_after<'a>(
        &'a self,
        after: Position,
        filter: &'a Filter,
        limits: PageLimits,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        ready(Ok(self.read().page(after, &filter.scope, &filter.types, limits))).boxed()
    }

    fn list_by_plan<'a>(
        &'a self,
        plan: &'a PlanId,
        types: EventTypes,
        after: Position,
        limits: PageLimits,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        ready(Ok(self.read().page(after, &Scope::Plan(plan.clone()), &types, limits))).boxed()
    }

    fn by_event_ids<'a>(
        &'a self,
        ids: &'a [EventId],
    ) -> BoxFuture<'a, Result<Vec<Arc<StoredEvent>>, StoreError>> {
        let log = self.read();
        let found = ids.iter().take(PAGE_EVENTS_MAX).filter_map(|id| log.ids.get(id));
        ready(Ok(found.map(|at| Arc::clone(&log.events[*at])).collect())).boxed()
    }

    fn plans<'a>(&'a self, query: &'a PlanQuery) -> BoxFuture<'a, Result<PlanPage, StoreError>> {
        ready(Ok(self.read().plan_page(query))).boxed()
    }

    fn document(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Arc<str>>, StoreError>> {
        ready(Ok(self.read().documents.get(&digest).cloned())).boxed()
    }

    fn blob(&self, digest: Digest, chunk: u32) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        let log = self.read();
        let chunk = log.blobs.get(&digest).and_then(|body| {
            let start = usize::try_from(chunk).ok()?.checked_mul(BLOB_CHUNK_BYTES)?;
            let rest = body.get(start..)?;
            // An empty blob has one empty chunk, so that it can be told from one that is missing.
            (!rest.is_empty() || start == 0).then(|| rest[..rest.len().min(BLOB_CHUNK_BYTES)].to_vec())
        });
        ready(Ok(chunk)).boxed()
    }
}
