//! A server over a log in memory, on fixed time and with ids that count.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use planwire_bus::{Config, EventBus, Log, PlanStarter, Publisher};
use planwire_event::vocabulary::{PlanCompleted, PlanStarted, SubplanSpawned, TypedPayload};
use planwire_event::{
    Clock, Digest, Event, EventId, EventTypes, Filter, IdGenerator, ManualClock, PlanId, Position, Producer,
    StoredEvent, Timestamp,
};
use planwire_server::{Gauges, Server, ServerConfig};
use planwire_store::{
    AppendError, Appended, Batch, EventRepository, Head, LogInfo, LogWriter, MemoryStore, Page, PageLimits,
    PlanPage, PlanQuery, StoreError,
};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) bus: EventBus,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) fault: Arc<Fault>,
    pub(crate) ids: Arc<IdGenerator>,
    pub(crate) clock: Arc<ManualClock>,
    publisher: Publisher,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
}

/// What the next appends answer: 0 as they should, 1 the disk is full, 2 locked, 3 failed, 4 unknown.
#[derive(Debug, Default)]
pub(crate) struct Fault(AtomicU8);

impl Fault {
    pub(crate) const NONE: u8 = 0;
    pub(crate) const FULL: u8 = 1;
    pub(crate) const BUSY: u8 = 2;
    pub(crate) const FAILED: u8 = 3;
    pub(crate) const UNKNOWN: u8 = 4;

    pub(crate) fn set(&self, fault: u8) {
        self.0.store(fault, Ordering::SeqCst);
    }
}

/// Reads as the log in memory does until it is told to fail.
pub(crate) struct FaultyRepository(pub(crate) Arc<dyn EventRepository>, pub(crate) Arc<AtomicBool>);

impl EventRepository for FaultyRepository {
    fn log_info(&self) -> BoxFuture<'_, Result<LogInfo, StoreError>> {
        self.0.log_info()
    }

    fn read_after<'a>(
        &'a self,
        after: Position,
        filter: &'a Filter,
        limits: PageLimits,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        if self.1.load(Ordering::SeqCst) {
            let damaged = StoreError::Damaged { position: Position::new(2), message: "secret".into() };
            return Box::pin(std::future::ready(Err(damaged)));
        }
        self.0.read_after(after, filter, limits)
    }

    fn list_by_plan<'a>(
        &'a self,
        plan: &'a PlanId,
        types: EventTypes,
        after: Position,
        limits: PageLimits,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        self.0.list_by_plan(plan, types, after, limits)
    }

    fn by_event_ids<'a>(
        &'a self,
        ids: &'a [EventId],
    ) -> BoxFuture<'a, Result<Vec<Arc<StoredEvent>>, StoreError>> {
        self.0.by_event_ids(ids)
    }

    fn plans<'a>(&'a self, query: &'a PlanQuery) -> BoxFuture<'a, Result<PlanPage, StoreError>> {
        self.0.plans(query)
    }

    fn document(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Arc<str>>, StoreError>> {
        self.0.document(digest)
    }

    fn blob(&self, digest: Digest, chunk: u32) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        self.0.blob(digest, chunk)
    }
}

struct FaultyWriter(Box<dyn LogWriter>, Arc<Fault>);

impl LogWriter for FaultyWriter {
    fn head(&mut self) -> Result<Head, StoreError> {
        self.0.head()
    }

    fn lock_head(&mut self) -> Result<Head, StoreError> {
        self.0.lock_head()
    }

    fn append(&mut self, expected: &Head, batch: &Batch) -> Result<Appended, AppendError> {
        let secret = || StoreError::Failed("secret text of the database".into());
        match self.1.0.load(Ordering::SeqCst) {
            Fault::FULL => Err(AppendError::Refused(StoreError::Full)),
            Fault::BUSY => Err(AppendError::Refused(StoreError::Busy)),
            Fault::FAILED => Err(AppendError::Refused(secret())),
            Fault::UNKNOWN => Err(AppendError::Unknown(secret())),
            _ => self.0.append(expected, batch),
        }
    }
}

impl Served {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}, None).await
    }

    pub(crate) async fn with(
        change: impl FnOnce(&mut ServerConfig),
        starter: Option<Arc<dyn PlanStarter>>,
    ) -> Self {
        let (writer, repository) = MemoryStore::open("7Q4M2K9A".parse().unwrap());
        Self::over(writer, repository, change, starter).await
    }

    pub(crate) async fn over(
        writer: Box<dyn LogWriter>,
        repository: Arc<dyn EventRepository>,
        change: impl FnOnce(&mut ServerConfig),
        starter: Option<Arc<dyn PlanStarter>>,
    ) -> Self {
        // 2026-11-22T14:20:00Z
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros_clamped(1_795_357_200_000_000)));
        let ids = Arc::new(IdGenerator::new(Arc::clone(&clock) as Arc<dyn Clock>, || 0));
        let fault = Arc::new(Fault::default());
        let writer = Box::new(FaultyWriter(writer, Arc::clone(&fault)));
        let log = Log::open(writer, repository, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        let bus = EventBus::open(log, Config::default()).unwrap();
        let mut config = ServerConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            ids: Arc::clone(&ids),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            ..ServerConfig::default()
        };
        change(&mut config);
        let server = Server::bind(config, bus.clone(), starter).await.unwrap();
        let (address, gauges) = (server.address(), server.gauges());
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server.run(async move {
            let _ = stopped.await;
        }));
        let publisher = bus.publisher(Producer::new("test"));
        let (stop, running) = (Some(stop), Some(running));
        Self { address, bus, gauges, fault, ids, clock, publisher, stop, running }
    }

    /// Publishes an event with a payload of our types.
    pub(crate) async fn publish<T: TypedPayload>(&self, plan: &str, payload: &T) -> String {
        let event = Event::of(&self.ids, &*self.clock, id(plan), payload).unwrap();
        self.publisher.publish(event).await.unwrap().cursor.to_string()
    }

    pub(crate) async fn start_plan(&self, plan: &str) -> String {
        self.publish(plan, &started(None)).await
    }

    pub(crate) async fn spawn_plan(&self, parent: &str, plan: &str) -> String {
        let spawned = SubplanSpawned {
            child_plan_id: id(plan),
            name: "child".into(),
            inputs: Default::default(),
            step: "s".into(),
            item: None,
            document_digest: None,
        };
        self.publish(parent, &spawned).await;
        self.publish(plan, &started(Some(parent))).await
    }

    pub(crate) async fn end_plan(&self, plan: &str) -> String {
        self.publish(plan, &PlanCompleted::default()).await
    }

    /// Publishes `acme.note` with this number.
    pub(crate) async fn note(&self, plan: &str, number: usize) -> String {
        self.note_of(plan, number, "").await
    }

    pub(crate) async fn note_of(&self, plan: &str, number: usize, text: &str) -> String {
        let payload = planwire_event::Payload::of(&json!({ "n": number, "text": text })).unwrap();
        let event =
            Event::new(self.ids.next_id(), "acme.note".parse().unwrap(), id(plan), self.clock.now(), payload);
        self.publisher.publish(event.unwrap()).await.unwrap().cursor.to_string()
    }

    /// Ends the server and waits for it.
    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        self.running.take().unwrap().await.unwrap();
    }

    /// Begins to end the server.
    pub(crate) fn begin_stop(&mut self) {
        drop(self.stop.take());
    }
}

pub(crate) fn id(plan: &str) -> PlanId {
    plan.parse().unwrap()
}

pub(crate) fn started(parent: Option<&str>) -> PlanStarted {
    let mut payload = json!({ "name": "report", "goal": "say what is there" });
    if let Some(parent) = parent {
        payload["parent_plan_id"] = parent.into();
    }
    serde_json::from_value(payload).unwrap()
}

/// Waits until `condition` holds, ten seconds at most; what is waited for says itself when it is there.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain: {what}");
}

/// A starter that notes what it was asked and answers as it was told.
#[derive(Default)]
pub(crate) struct Starter {
    pub(crate) asked: Mutex<Vec<planwire_bus::StartRequest>>,
    pub(crate) answers: Mutex<Vec<Result<planwire_bus::Started, planwire_bus::StartError>>>,
}

impl PlanStarter for Starter {
    fn catalog(&self) -> Vec<planwire_bus::CatalogEntry> {
        vec![]
    }

    fn start(
        &self,
        request: planwire_bus::StartRequest,
    ) -> BoxFuture<'_, Result<planwire_bus::Started, planwire_bus::StartError>> {
        self.asked.lock().unwrap().push(request);
        let answer = self.answers.lock().unwrap().remove(0);
        Box::pin(std::future::ready(answer))
    }
}
