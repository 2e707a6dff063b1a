//! A bus over a store whose commits a test holds, counts and lets fail.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};

use futures_util::future::BoxFuture;
use planwire_bus::{Config, EventBus, Item, Log, Publisher, Recorded, StartAt, Subscription};
use planwire_event::vocabulary::{
    CancelRequested, Failure, FailureReason, Object, PlanCompleted, PlanFailed, PlanStarted,
    SubplanCompleted, SubplanSpawned, ToolCalled, ToolCompleted, TypedPayload,
};
use planwire_event::{
    Digest, Event, EventId, EventTypes, Filter, IdGenerator, LogId, Payload, PlanId, Position, Producer,
    StoredEvent, SystemClock,
};
use planwire_store::{
    AppendError, Appended, Batch, EventRepository, Head, HeadSeen, HeadWatch, LogInfo, LogWriter,
    MemoryStore, Page, PageLimits, PlanPage, PlanQuery, StoreError,
};

/// What the next append does instead of storing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Full,
    UnknownNotStored,
    UnknownStored,
    UnsettledNotStored,
    UnsettledStored,
    StoredThenPanic,
}

#[derive(Default)]
struct Gate {
    /// Who is told of the head, as a store that others write does.
    head_seen: Option<HeadSeen>,
    held: bool,
    waiting: usize,
    appends: usize,
    faults: VecDeque<Fault>,
    reads_before_faults: usize,
    read_faults: usize,
    /// Another log was put below the writer, which finds out when it has looked at the head so often.
    displaced_after: Option<usize>,
}

/// The test's hand on the writer.
#[derive(Clone, Default)]
pub(crate) struct Hand(Arc<(Mutex<Gate>, Condvar)>);

impl Hand {
    /// Lets no append through until [`Hand::release`].
    pub(crate) fn hold(&self) {
        self.0.0.lock().unwrap().held = true;
    }

    pub(crate) fn release(&self) {
        self.0.0.lock().unwrap().held = false;
        self.0.1.notify_all();
    }

    /// Waits until an append stands before the gate.
    pub(crate) fn wait_for_append(&self) {
        let gate = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(gate, |gate| gate.waiting == 0).unwrap());
    }

    pub(crate) fn fail_next(&self, fault: Fault) {
        self.0.0.lock().unwrap().faults.push_back(fault);
    }

    /// Lets the next `count` reads of the store fail.
    pub(crate) fn fail_reads(&self, count: usize) {
        self.fail_reads_after(0, count);
    }

    /// Lets `before` reads through and then `count` reads fail.
    pub(crate) fn fail_reads_after(&self, before: usize, count: usize) {
        let mut gate = self.0.0.lock().unwrap();
        (gate.reads_before_faults, gate.read_faults) = (before, count);
    }

    /// Whether a read is still to fail.
    pub(crate) fn reads_fail(&self) -> bool {
        self.0.0.lock().unwrap().read_faults > 0
    }

    fn read(&self) -> Result<(), StoreError> {
        let mut gate = self.0.0.lock().unwrap();
        if gate.reads_before_faults > 0 {
            gate.reads_before_faults -= 1;
            return Ok(());
        }
        if gate.read_faults > 0 {
            gate.read_faults -= 1;
            return Err(StoreError::Busy);
        }
        Ok(())
    }

    /// Tells the bus where the head is, as a store that others write does.
    pub(crate) fn head_seen(&self, position: u64) {
        let gate = self.0.0.lock().unwrap();
        gate.head_seen.as_ref().expect("the bus watches")(Position::new(position));
    }

    /// Puts another log below the writer; its next looks at the head, so many, are too early to see that.
    pub(crate) fn displace(&self, looks: usize) {
        self.0.0.lock().unwrap().displaced_after = Some(looks);
    }

    /// What a look at the head shows.
    fn look(&self, head: Head) -> Head {
        match &mut self.0.0.lock().unwrap().displaced_after {
            None => head,
            Some(0) => Head { log_id: other_log_id(), ..head },
            Some(looks) => {
                *looks -= 1;
                head
            }
        }
    }

    pub(crate) fn appends(&self) -> usize {
        self.0.0.lock().unwrap().appends
    }
}

struct HeldWriter {
    inner: Box<dyn LogWriter>,
    hand: Hand,
}

impl LogWriter for HeldWriter {
    fn head(&mut self) -> Result<Head, StoreError> {
        self.inner.head().map(|head| self.hand.look(head))
    }

    fn lock_head(&mut self) -> Result<Head, StoreError> {
        self.inner.lock_head().map(|head| self.hand.look(head))
    }

    fn append(&mut self, expected: &Head, batch: &Batch) -> Result<Appended, AppendError> {
        let (gate, changed) = &*self.hand.0;
        let mut state = gate.lock().unwrap();
        state.waiting += 1;
        changed.notify_all();
        let mut state = changed.wait_while(state, |gate| gate.held).unwrap();
        state.waiting -= 1;
        state.appends += 1;
        let (fault, displaced) = (state.faults.pop_front(), state.displaced_after.is_some());
        drop(state);
        if displaced {
            return Ok(Appended::HeadMoved);
        }
        match fault {
            None => self.inner.append(expected, batch),
            Some(Fault::Full) => Err(AppendError::Refused(StoreError::Full)),
            Some(Fault::UnknownNotStored) => Err(AppendError::Unknown(StoreError::Closed)),
            Some(Fault::UnsettledNotStored) => Err(AppendError::Unsettled(StoreError::Closed)),
            Some(Fault::UnsettledStored) => {
                self.inner.append(expected, batch).expect("the store underneath works");
                Err(AppendError::Unsettled(StoreError::Closed))
            }
            Some(Fault::UnknownStored) => {
                self.inner.append(expected, batch).expect("the store underneath works");
                Err(AppendError::Unknown(StoreError::Closed))
            }
            Some(Fault::StoredThenPanic) => {
                self.inner.append(expected, batch).expect("the store underneath works");
                panic!("as the test asked");
            }
        }
    }
}

/// What a log tells of the time before it.
struct Past {
    lineage: Vec<(LogId, Position)>,
    pruned_to: Position,
}

struct HeldRepository {
    inner: Arc<dyn EventRepository>,
    hand: Hand,
    past: Option<Past>,
}

impl HeldRepository {
    fn read<'a, T: Send + 'a>(
        &'a self,
        read: BoxFuture<'a, Result<T, StoreError>>,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        match self.hand.read() {
            Ok(()) => read,
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

impl EventRepository for HeldRepository {
    fn log_info(&self) -> BoxFuture<'_, Result<LogInfo, StoreError>> {
        Box::pin(async move {
            let info = self.inner.log_info().await?;
            Ok(match &self.past {
                Some(past) => LogInfo { lineage: past.lineage.clone(), pruned_to: past.pruned_to, ..info },
                None => info,
            })
        })
    }

    fn read_after<'a>(
        &'a self,
        after: Position,
        filter: &'a Filter,
        limits: PageLimits,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        self.read(self.inner.read_after(after, filter, limits))
    }

    fn reads_ahead(&self) -> bool {
        true
    }

    fn list_by_plan<'a>(
        &'a self,
        plan: &'a PlanId,
        types: EventTypes,
        after: Position,
        limits: PageLimits,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        self.read(self.inner.list_by_plan(plan, types, after, limits))
    }

    fn by_event_ids<'a>(
        &'a self,
        ids: &'a [EventId],
    ) -> BoxFuture<'a, Result<Vec<Arc<StoredEvent>>, StoreError>> {
        self.read(self.inner.by_event_ids(ids))
    }

    fn plans<'a>(&'a self, query: &'a PlanQuery) -> BoxFuture<'a, Result<PlanPage, StoreError>> {
        self.read(self.inner.plans(query))
    }

    fn document(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Arc<str>>, StoreError>> {
        self.read(self.inner.document(digest))
    }

    fn blob(&self, digest: Digest, chunk: u32) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        self.read(self.inner.blob(digest, chunk))
    }

    fn watch_head(&self, seen: HeadSeen) -> Option<HeadWatch> {
        self.hand.0.0.lock().unwrap().head_seen = Some(seen);
        Some(HeadWatch::new(()))
    }
}

/// A bus over a memory store, with what a test needs around it.
pub(crate) struct Kit {
    pub(crate) bus: EventBus,
    pub(crate) hand: Hand,
    pub(crate) store: MemoryStore,
    pub(crate) ids: Arc<IdGenerator>,
}

impl Kit {
    pub(crate) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Self {
        Self::over(MemoryStore::new(log_id()), config)
    }

    pub(crate) fn over(store: MemoryStore, config: Config) -> Self {
        Self::build(store, config, usize::MAX, None)
    }

    /// A writer that keeps the state of few plans.
    pub(crate) fn with_plans_cached(plans_max: usize) -> Self {
        Self::build(MemoryStore::new(log_id()), Config::default(), plans_max, None)
    }

    /// A log that continues another one, and whose beginning was removed by retention.
    pub(crate) fn continuing(log: LogId, valid_to: Position, pruned_to: Position) -> Self {
        let past = Past { lineage: vec![(log, valid_to)], pruned_to };
        Self::build(MemoryStore::new(log_id()), Config::default(), usize::MAX, Some(past))
    }

    fn build(store: MemoryStore, config: Config, plans_max: usize, past: Option<Past>) -> Self {
        let hand = Hand::default();
        let writer = HeldWriter { inner: store.writer(), hand: hand.clone() };
        let repository = HeldRepository { inner: store.repository(), hand: hand.clone(), past };
        let log = Log::open(Box::new(writer), Arc::new(repository), Arc::new(SystemClock)).unwrap();
        let bus = EventBus::open(log.with_plans_cached(plans_max), config).unwrap();
        Self { bus, hand, store, ids: Arc::new(IdGenerator::system()) }
    }

    pub(crate) fn event<T: TypedPayload>(&self, plan: &str, payload: &T) -> Event {
        Event::of(&self.ids, &SystemClock, id(plan), payload).unwrap()
    }

    pub(crate) fn started(&self, plan: &str) -> Event {
        self.event(plan, &start(None))
    }

    pub(crate) fn child_started(&self, plan: &str, parent: &str) -> Event {
        self.event(plan, &start(Some(parent)))
    }

    pub(crate) fn completed(&self, plan: &str) -> Event {
        self.event(plan, &PlanCompleted::default())
    }

    pub(crate) fn failed(&self, plan: &str) -> Event {
        let error = Failure { code: "x".into(), message: "y".into(), step: None };
        self.event(
            plan,
            &PlanFailed { reason: FailureReason::Error, error, duration_ms: 1, limit: None, usage: None },
        )
    }

    pub(crate) fn spawned(&self, plan: &str, child: &str) -> Event {
        let payload = SubplanSpawned {
            child_plan_id: id(child),
            name: "c".into(),
            inputs: Object::new(),
            step: "s".into(),
            item: None,
            document_digest: None,
        };
        self.event(plan, &payload)
    }

    pub(crate) fn child_ended(&self, plan: &str, child: &str) -> Event {
        let payload = SubplanCompleted {
            child_plan_id: id(child),
            ok: true,
            outputs: None,
            error: None,
            duration_ms: 0,
            limit: None,
            usage: None,
        };
        self.event(plan, &payload)
    }

    pub(crate) fn called(&self, plan: &str, call: &str) -> Event {
        let payload = ToolCalled {
            call_id: call.into(),
            step: "s".into(),
            tool: "t".into(),
            arguments: Object::new(),
            attempt: 1,
            reserved: None,
        };
        self.event(plan, &payload)
    }

    pub(crate) fn call_ended(&self, plan: &str, call: &str) -> Event {
        let payload = ToolCompleted {
            call_id: call.into(),
            step: "s".into(),
            tool: "t".into(),
            ok: true,
            output: None,
            error: None,
            truncated: false,
            duration_ms: 0,
            attempt: 1,
            usage: None,
        };
        self.event(plan, &payload)
    }

    pub(crate) fn cancel(&self, plan: &str) -> Event {
        self.event(plan, &CancelRequested { requested_by: "t".into(), reason: String::new() })
    }

    pub(crate) fn custom(&self, plan: &str, number: usize) -> Event {
        self.typed(plan, "test.tick", number)
    }

    pub(crate) fn typed(&self, plan: &str, event_type: &str, number: usize) -> Event {
        let payload = Payload::parse(&format!("{{\"n\":{number}}}")).unwrap();
        Event::new(self.ids.next_id(), event_type.parse().unwrap(), id(plan), clock_now(), payload).unwrap()
    }

    /// Publishes in order; every event must be stored.
    pub(crate) async fn publish(&self, events: Vec<Event>) {
        for event in events {
            self.bus.publish(event).await.unwrap();
        }
    }

    pub(crate) fn publisher(&self, name: &str) -> Publisher {
        self.bus.publisher(Producer::new(name))
    }

    pub(crate) async fn stream(&self, filter: Filter) -> Subscription {
        self.bus.stream(filter, StartAt::Start).await.unwrap()
    }
}

fn clock_now() -> planwire_event::Timestamp {
    planwire_event::Clock::now(&SystemClock)
}

pub(crate) fn start(parent: Option<&str>) -> PlanStarted {
    PlanStarted {
        name: "test".into(),
        goal: String::new(),
        inputs: Object::new(),
        document_digest: None,
        parent_plan_id: parent.map(id),
        context_id: None,
        executor_id: None,
        folder: None,
        document_received: false,
        origin: None,
    }
}

pub(crate) fn id(plan: &str) -> PlanId {
    plan.parse().unwrap()
}

pub(crate) fn log_id() -> LogId {
    "7Q4M2K9A".parse().unwrap()
}

/// The log of whoever displaces ours.
pub(crate) fn other_log_id() -> LogId {
    "ZZZZZZZZ".parse().unwrap()
}

/// The next `count` events.
pub(crate) async fn take(subscription: &mut Subscription, count: usize) -> Vec<Arc<Recorded>> {
    let mut events = Vec::new();
    while events.len() < count {
        match subscription.next().await.unwrap() {
            Some(Item::Event(event)) => events.push(event),
            other => panic!("{} of {count} events, then {other:?}", events.len()),
        }
    }
    events
}

/// All events up to the end of the subscription's plan or tree, or of the bus.
pub(crate) async fn take_to_end(subscription: &mut Subscription) -> (Vec<Arc<Recorded>>, bool) {
    let mut events = Vec::new();
    loop {
        match subscription.next().await.unwrap() {
            Some(Item::Event(event)) => events.push(event),
            Some(Item::End(_)) => return (events, true),
            None => return (events, false),
        }
    }
}

pub(crate) fn positions(events: &[Arc<Recorded>]) -> Vec<u64> {
    events.iter().map(|event| event.position.get()).collect()
}

pub(crate) fn event_ids(events: &[Arc<Recorded>]) -> Vec<EventId> {
    events.iter().map(|event| event.event.event_id()).collect()
}
