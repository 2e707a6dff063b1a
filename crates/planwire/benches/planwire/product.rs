//! The product as the rows use it: a SQLite log, its bus, its server, and events of the size that all are measured by.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use planwire_bus::{Config, EventBus, Log, Publisher, Receipt};
use planwire_event::{Clock, Event, EventType, IdGenerator, LogId, Payload, PlanId, Producer, SystemClock};
use planwire_server::{Limits, Server, ServerConfig};
use planwire_store::{
    EventRepository, LogWriter, MemoryStore, OpenOptions, PostgresOptions, PostgresStore, SqliteStore,
};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Bytes of an event as its publisher sends it: the JSON of its five members.
pub(crate) const EVENT_BYTES: usize = 313;

/// Events of one pipelined request.
pub(crate) const BULK_EVENTS: usize = 512;

/// Requests that are in flight at a time.
const BULK_REQUESTS: usize = 8;

/// A heartbeat that never comes while something is measured.
pub(crate) const NO_HEARTBEAT: Duration = Duration::from_secs(3_600);

/// A log in a folder of its own, with its bus.
pub(crate) struct Product {
    /// The bus.
    pub(crate) bus: EventBus,
    /// The door for the events that are measured.
    pub(crate) publisher: Publisher,
    /// Ids of events and plans.
    pub(crate) ids: Arc<IdGenerator>,
    maker: EventMaker,
    /// Removed with the product, if it has files of its own.
    _folder: Option<TempDir>,
}

impl Product {
    /// Opens a new log in `folder`.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let folder = tempfile::tempdir_in(folder)?;
        let path = folder.path().join("log.db");
        let (writer, repository) = SqliteStore::open(&path, &OpenOptions::default())?;
        Self::over(Box::new(writer), repository, Config::default(), Some(folder))
    }

    /// Opens the log at `path`, and makes it if there is none. It stays there.
    pub(crate) fn open_at(path: &Path) -> Result<Self> {
        let (writer, repository) = SqliteStore::open(path, &OpenOptions::default())?;
        Self::over(Box::new(writer), repository, Config::default(), None)
    }

    /// Opens the log at `url`, in PostgreSQL, and makes it if there is none.
    pub(crate) fn open_postgres(url: &str) -> Result<Self> {
        let (writer, repository) = PostgresStore::open(&url.parse()?, &PostgresOptions::default())?;
        Self::over(Box::new(writer), repository, Config::default(), None)
    }

    /// Makes a log in memory whose bus keeps so many bytes of events for its readers.
    pub(crate) fn in_memory(ring_bytes_max: usize) -> Result<Self> {
        let (writer, repository) = MemoryStore::open(LogId::from_random(1));
        let config = Config { ring_bytes_max, ..Config::default() };
        Self::over(writer, repository, config, None)
    }

    fn over(
        writer: Box<dyn LogWriter>,
        repository: Arc<dyn EventRepository>,
        config: Config,
        folder: Option<TempDir>,
    ) -> Result<Self> {
        let log = Log::open(writer, repository, Arc::new(SystemClock))?;
        let bus = EventBus::open(log, config)?;
        let publisher = bus.publisher(Producer::new("bench"));
        let ids = Arc::new(IdGenerator::system());
        let maker = EventMaker::new(Arc::clone(&ids))?;
        Ok(Self { bus, publisher, ids, maker, _folder: folder })
    }

    /// Makes events.
    pub(crate) fn maker(&self) -> EventMaker {
        self.maker.clone()
    }

    /// Starts a tree of so many plans; the first is its root.
    pub(crate) async fn start_tree(&self, plans: usize) -> Result<Vec<PlanId>> {
        let ids: Vec<PlanId> = (0..plans).map(|_| self.ids.next_plan_id()).collect();
        let Some((root, below)) = ids.split_first() else { return Ok(ids) };
        self.publish(EventType::PlanStarted, root, r#"{"name":"bench"}"#).await?;
        for plan in below {
            let spawned =
                format!(r#"{{"child_plan_id":"{plan}","name":"bench","inputs":{{}},"step":"measure"}}"#);
            self.publish(EventType::SubplanSpawned, root, &spawned).await?;
            let started = format!(r#"{{"name":"bench","parent_plan_id":"{root}"}}"#);
            self.publish(EventType::PlanStarted, plan, &started).await?;
        }
        Ok(ids)
    }

    async fn publish(&self, event_type: EventType, plan: &PlanId, payload: &str) -> Result<()> {
        let payload = Payload::parse(payload)?;
        let event = Event::new(self.ids.next_id(), event_type, plan.clone(), SystemClock.now(), payload)?;
        self.publisher.publish(event).await?;
        Ok(())
    }

    /// Publishes so many events of `plans` in turn, many requests in flight; returns when the last is durable.
    pub(crate) async fn publish_bulk(&self, plans: &[PlanId], events: usize) -> Result<()> {
        let mut receipts = std::collections::VecDeque::<Receipt>::with_capacity(BULK_REQUESTS);
        let mut plans = plans.iter().cycle();
        let mut left = events;
        while left > 0 {
            let count = left.min(BULK_EVENTS);
            let request: Result<Vec<Event>> =
                plans.by_ref().take(count).map(|plan| self.maker.make(plan)).collect();
            if receipts.len() == BULK_REQUESTS
                && let Some(oldest) = receipts.pop_front()
            {
                oldest.await?;
            }
            receipts.push_back(self.publisher.submit(request?).await?);
            left -= count;
        }
        for receipt in receipts {
            receipt.await?;
        }
        Ok(())
    }

    /// Ends a plan.
    pub(crate) async fn complete(&self, plan: &PlanId) -> Result<()> {
        self.publish(EventType::PlanCompleted, plan, r#"{"outputs":{}}"#).await
    }

    /// Answers HTTP on a free port.
    pub(crate) async fn serve(&self, heartbeat: Duration) -> Result<Serving> {
        let config = ServerConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            limits: Limits { heartbeat, ..Limits::default() },
            ..ServerConfig::default()
        };
        let server = Server::bind(config, self.bus.clone(), None).await?;
        let address = server.address();
        let (close, closed) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(async {
            // Also when it is dropped.
            let _ = closed.await;
        }));
        Ok(Serving { address, close, task })
    }

    /// Stores what is queued and lets go of the log.
    pub(crate) async fn close(self) {
        self.bus.shutdown().await;
    }
}

/// A server.
pub(crate) struct Serving {
    /// Where it answers.
    pub(crate) address: SocketAddr,
    close: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Serving {
    /// Ends it.
    pub(crate) async fn close(self) -> Result<()> {
        // It may have ended by itself; then its task says why.
        let _ = self.close.send(());
        Ok(self.task.await?)
    }
}

/// Makes events of [`EVENT_BYTES`] bytes, each with an id and a time of its own.
#[derive(Clone)]
pub(crate) struct EventMaker {
    ids: Arc<IdGenerator>,
    event_type: EventType,
    payload: Payload,
}

impl EventMaker {
    fn new(ids: Arc<IdGenerator>) -> Result<Self> {
        let event_type: EventType = "bench.measured".parse()?;
        let bare = Self { ids, event_type, payload: payload(0)? };
        let missing = EVENT_BYTES.saturating_sub(bare.bytes()?);
        let maker = Self { payload: payload(missing)?, ..bare };
        anyhow::ensure!(maker.bytes()? == EVENT_BYTES, "events have {} bytes", maker.bytes()?);
        Ok(maker)
    }

    /// Makes events with ids of its own.
    pub(crate) fn system() -> Result<Self> {
        Self::new(Arc::new(IdGenerator::system()))
    }

    /// A plan that is not yet there.
    pub(crate) fn plan_id(&self) -> PlanId {
        self.ids.next_plan_id()
    }

    /// The next event of `plan`.
    pub(crate) fn make(&self, plan: &PlanId) -> Result<Event> {
        let (id, payload) = (self.ids.next_id(), self.payload.clone());
        Ok(Event::new(id, self.event_type.clone(), plan.clone(), SystemClock.now(), payload)?)
    }

    fn bytes(&self) -> Result<usize> {
        Ok(json(&self.make(&self.ids.next_plan_id())?).len())
    }
}

/// An event as its publisher sends it: what rivals store.
pub(crate) fn json(event: &Event) -> String {
    format!(
        r#"{{"event_id":"{}","event_type":"{}","plan_id":"{}","timestamp":"{}","payload":{}}}"#,
        event.event_id(),
        event.event_type(),
        event.plan_id(),
        event.timestamp(),
        event.payload().as_str(),
    )
}

fn payload(filler: usize) -> Result<Payload> {
    let text = "x".repeat(filler);
    Ok(Payload::parse(&format!(r#"{{"attempt":1,"note":"{text}","ok":true,"step":"measure"}}"#))?)
}
