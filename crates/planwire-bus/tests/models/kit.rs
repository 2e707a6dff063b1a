//! A bus in a model, over a store that lets others go first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use planwire_bus::{Config, EventBus, Log, PublishError, Published};
use planwire_event::vocabulary::{Object, PlanStarted};
use planwire_event::{
    Digest, Event, EventId, EventTypes, Filter, LogId, ManualClock, Payload, PlanId, Position, Producer,
    StoredEvent, Timestamp,
};
use planwire_store::{
    EventRepository, HeadSeen, HeadWatch, LogInfo, MemoryStore, Page, PageLimits, PlanPage, PlanQuery,
    StoreError,
};
use shuttle::future::{block_on, yield_now};
use shuttle::rand::{Rng as _, thread_rng};
use shuttle::sync::Mutex;
use shuttle::sync::atomic::AtomicBool;
use shuttle::thread::JoinHandle;

/// When everything in a model happens.
const NOW: i64 = 1_795_000_000_000_000;

/// A number below `bound`, drawn by the seed.
pub(crate) fn below(bound: usize) -> usize {
    thread_rng().gen_range(0..bound)
}

/// True in `percent` of a hundred cases.
pub(crate) fn chance(percent: usize) -> bool {
    below(100) < percent
}

/// One of `choices`.
pub(crate) fn one_of<T: Clone>(choices: &[T]) -> T {
    choices[below(choices.len())].clone()
}

/// A point at which another thread may go first.
pub(crate) fn point() {
    AtomicBool::new(false).load(Ordering::SeqCst);
}

/// Who is told where the head is.
pub(crate) type Hint = Arc<Mutex<Option<HeadSeen>>>;

/// A repository whose reads take time, and whose pages may be short.
struct SlowRepository {
    inner: Arc<dyn EventRepository>,
    page_events: usize,
    hint: Option<Hint>,
}

impl SlowRepository {
    async fn slowly<T>(&self, read: impl Future<Output = T>) -> T {
        pass_time().await;
        let answer = read.await;
        pass_time().await;
        answer
    }

    fn short(&self, limits: PageLimits) -> PageLimits {
        PageLimits { events: limits.events.min(self.page_events), ..limits }
    }
}

/// Waits, or only lets others go first.
async fn pass_time() {
    if chance(50) {
        yield_now().await;
    } else {
        point();
    }
}

impl EventRepository for SlowRepository {
    fn log_info(&self) -> BoxFuture<'_, Result<LogInfo, StoreError>> {
        Box::pin(self.slowly(self.inner.log_info()))
    }

    fn read_after<'a>(
        &'a self,
        after: Position,
        filter: &'a Filter,
        limits: PageLimits,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        let read = async move { self.inner.read_after(after, filter, self.short(limits)).await };
        Box::pin(self.slowly(read))
    }

    fn list_by_plan<'a>(
        &'a self,
        plan: &'a PlanId,
        types: EventTypes,
        after: Position,
        limits: PageLimits,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        let read = async move { self.inner.list_by_plan(plan, types, after, self.short(limits)).await };
        Box::pin(self.slowly(read))
    }

    fn by_event_ids<'a>(
        &'a self,
        ids: &'a [EventId],
    ) -> BoxFuture<'a, Result<Vec<Arc<StoredEvent>>, StoreError>> {
        Box::pin(self.slowly(self.inner.by_event_ids(ids)))
    }

    fn plans<'a>(&'a self, query: &'a PlanQuery) -> BoxFuture<'a, Result<PlanPage, StoreError>> {
        Box::pin(self.slowly(async move { self.inner.plans(query).await }))
    }

    fn document(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Arc<str>>, StoreError>> {
        self.inner.document(digest)
    }

    fn blob(&self, digest: Digest, chunk: u32) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        self.inner.blob(digest, chunk)
    }

    fn watch_head(&self, seen: HeadSeen) -> Option<HeadWatch> {
        let hint = self.hint.as_ref()?;
        *hint.lock().unwrap() = Some(seen);
        Some(HeadWatch::new(()))
    }
}

/// A bus and what a model needs around it. Clones share it.
#[derive(Clone)]
pub(crate) struct Kit {
    pub(crate) bus: EventBus,
    store: MemoryStore,
    ids: Arc<AtomicU64>,
}

impl Kit {
    /// A bus whose ring keeps `ring_bytes_max` bytes: with 1 the newest event alone, with 4,000 about two.
    pub(crate) fn new(ring_bytes_max: usize) -> Self {
        Self::with(Config { ring_bytes_max, ..Config::default() })
    }

    pub(crate) fn with(config: Config) -> Self {
        Self::over(&MemoryStore::new(log_id()), config, None, Arc::default())
    }

    /// One more process on the log of `self`; it is told of the head by `hint`.
    pub(crate) fn beside(&self, hint: Hint) -> Self {
        Self::over(&self.store, Config::default(), Some(hint), Arc::clone(&self.ids))
    }

    fn over(store: &MemoryStore, config: Config, hint: Option<Hint>, ids: Arc<AtomicU64>) -> Self {
        let page_events = 1 + below(3);
        let repository = SlowRepository { inner: store.repository(), page_events, hint };
        let clock = ManualClock::at(Timestamp::from_micros_clamped(NOW));
        let log = Log::open(store.writer(), Arc::new(repository), Arc::new(clock)).unwrap();
        let bus = EventBus::open(log, config).unwrap();
        Self { bus, store: store.clone(), ids }
    }

    fn next_id(&self) -> EventId {
        u128::from(self.ids.fetch_add(1, Ordering::Relaxed) + 1).into()
    }

    pub(crate) fn started(&self, plan: &str) -> Event {
        let started = PlanStarted {
            name: "model".into(),
            goal: String::new(),
            inputs: Object::new(),
            document_digest: None,
            parent_plan_id: None,
            context_id: None,
            executor_id: None,
            folder: None,
            document_received: false,
            origin: None,
        };
        self.event(planwire_event::EventType::PlanStarted, plan, Payload::of(&started).unwrap())
    }

    pub(crate) fn completed(&self, plan: &str) -> Event {
        let completed = Payload::of(&planwire_event::vocabulary::PlanCompleted::default()).unwrap();
        self.event(planwire_event::EventType::PlanCompleted, plan, completed)
    }

    /// An event of type `test.{kind}`.
    pub(crate) fn tick(&self, plan: &str, kind: &str) -> Event {
        self.event(format!("test.{kind}").parse().unwrap(), plan, Payload::parse("{}").unwrap())
    }

    fn event(&self, event_type: planwire_event::EventType, plan: &str, payload: Payload) -> Event {
        let now = Timestamp::from_micros_clamped(NOW);
        Event::new(self.next_id(), event_type, id(plan), now, payload).unwrap()
    }

    /// Publishes one request; again, where the other process holds the head.
    pub(crate) fn publish(&self, events: Vec<Event>) -> Vec<Published> {
        let publisher = self.bus.publisher(Producer::new("model"));
        loop {
            match block_on(publisher.publish_all(events.clone())) {
                Err(PublishError::Refused(error)) if matches!(*error, StoreError::Busy) => {
                    shuttle::thread::yield_now()
                }
                answer => return answer.unwrap(),
            }
        }
    }

    /// Publishes requests one after the other, on a thread of its own.
    pub(crate) fn publishing(&self, requests: Vec<Vec<Event>>) -> JoinHandle<()> {
        let kit = self.clone();
        shuttle::thread::spawn(move || requests.into_iter().for_each(|events| drop(kit.publish(events))))
    }

    pub(crate) fn shutdown(&self) {
        block_on(self.bus.shutdown());
        assert_eq!(self.bus.counters().handler_panics, 0, "a handler found something");
    }

    /// All that is stored.
    pub(crate) fn stored(&self) -> Vec<Arc<StoredEvent>> {
        let repository = self.store.repository();
        let everything = Filter::all();
        block_on(repository.read_after(Position::ZERO, &everything, PageLimits::default())).unwrap().events
    }
}

pub(crate) fn id(plan: &str) -> PlanId {
    plan.parse().unwrap()
}

pub(crate) fn log_id() -> LogId {
    "7Q4M2K9A".parse().unwrap()
}
