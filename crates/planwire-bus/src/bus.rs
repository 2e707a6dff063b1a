//! The bus and the door for publishers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use planwire_event::{Cursor, Event, EventId, Filter, LogId, Position, Producer};
use planwire_store::{BLOB_BYTES_MAX, EventRepository, HeadSeen, HeadWatch, LogInfo, Removal, StoreError};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::config::{Config, REQUEST_BYTES_MAX, REQUEST_BYTES_MIN, REQUEST_EVENTS_MAX};
use crate::counters::{Counters, Live};
use crate::error::{EventBusError, Health, PublishError, StreamError, SubscribeError, UnsubscribeError};
use crate::handler::Handler;
use crate::handlers::{Handlers, SubscriptionId};
use crate::log::{Attachments, Log, Outcome, Published, Request, wait};
#[cfg(feature = "planted")]
use crate::planted::{self, Bug};
use crate::stage::{Crew, Stage};
use crate::subscription::{MissingPlan, StartAt, Subscription};
use crate::sync::{self, AtomicBool};
use crate::tail::Tail;
use crate::writer::{Message, Queued, Steps, ToRemove, Writer};

/// What the bus, its writer and its readers share.
pub(crate) struct Shared {
    pub(crate) repository: Arc<dyn EventRepository>,
    pub(crate) tail: Tail,
    pub(crate) counters: Arc<Live>,
    info: LogInfo,
    health: watch::Sender<Health>,
    closed: AtomicBool,
    /// Whether the writer was told that others moved the head and has not looked yet: once is enough.
    head_seen: AtomicBool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("log_id", &self.info.log_id).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) const fn cursor(&self, position: Position) -> Cursor {
        Cursor { log_id: self.info.log_id, position }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The writer is about to look at the head.
    pub(crate) fn head_seen_taken(&self) {
        #[cfg(feature = "planted")]
        if planted::has(Bug::HintSwallowed) || planted::has(Bug::HintTakenLate) {
            return;
        }
        self.head_seen.store(false, Ordering::Release);
    }

    #[cfg(feature = "planted")]
    pub(crate) fn head_seen_taken_late(&self) {
        if planted::has(Bug::HintTakenLate) {
            self.head_seen.store(false, Ordering::Release);
        }
    }

    /// The position after which a reader starts.
    pub(crate) async fn resolve_start(&self, from: StartAt) -> Result<Position, StreamError> {
        let cursor = match from {
            StartAt::Start => return Ok(Position::ZERO),
            StartAt::Now => return Ok(self.tail.position()),
            StartAt::After(cursor) => cursor,
        };
        if cursor.log_id != self.info.log_id {
            let continued =
                self.info.lineage.iter().any(|(log, to)| *log == cursor.log_id && cursor.position <= *to);
            if !continued {
                return Err(StreamError::OtherLog { cursor, log_id: self.info.log_id });
            }
        }
        if cursor.position > self.tail.position() {
            // A page of the store may show an event a moment before the tail does.
            let head = self.repository.log_info().await?.head;
            if cursor.position > head {
                return Err(StreamError::BeyondHead { cursor, head: self.cursor(head) });
            }
        }
        if cursor.position < self.info.pruned_to {
            return Err(StreamError::Pruned { cursor, pruned_to: self.cursor(self.info.pruned_to) });
        }
        Ok(cursor.position)
    }

    /// Called once, when the writer has ended.
    pub(crate) fn writer_ended(&self, health: Health) {
        if health == Health::Closed {
            self.tail.close();
        }
        self.health.send_replace(health);
    }
}

/// Stores events and tells readers. Cheap to clone; all clones are one bus.
///
/// ```
/// use std::sync::Arc;
/// use planwire_bus::{Config, EventBus, Log, StartAt, Item};
/// use planwire_event::{Draft, Filter, IdGenerator, LogId, SystemClock};
/// use planwire_store::MemoryStore;
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let (writer, repository) = MemoryStore::open(LogId::from_random(1));
/// let log = Log::open(writer, repository, Arc::new(SystemClock)).unwrap();
/// let bus = EventBus::open(log, Config::default()).unwrap();
///
/// let json = r#"{"event_type":"PlanStarted","plan_id":"p1","payload":{"name":"hello"}}"#;
/// let event = Draft::parse(json).unwrap().complete(&IdGenerator::system(), &SystemClock).unwrap();
/// assert_eq!(bus.publish(event).await.unwrap().seq.get(), 1);
///
/// let mut events = bus.stream(Filter::all(), StartAt::Start).await.unwrap();
/// assert!(matches!(events.next().await.unwrap(), Some(Item::Event(event)) if event.plan_id().as_str() == "p1"));
/// # bus.shutdown().await;
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct EventBus {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    queue: UnboundedSender<Message>,
    permits: Arc<Semaphore>,
    inflight_bytes_max: usize,
    handlers: Handlers,
    /// Closed when the writer has ended and released the log.
    writer: watch::Receiver<()>,
    /// Says when other processes moved the head, where there may be some.
    _head_watch: Option<HeadWatch>,
}

impl EventBus {
    /// Starts the writer over `log`. Needs no runtime.
    ///
    /// # Errors
    ///
    /// [`EventBusError::Open`] if the log cannot be read, [`EventBusError::NoThread`] if there is no thread for the
    /// writer.
    pub fn open(log: Log, config: Config) -> Result<Self, EventBusError> {
        let (bus, Steps { writer, _running: running }) = Self::open_stepped(log, config)?;
        sync::thread::Builder::new()
            .name("planwire-writer".into())
            .spawn(move || {
                writer.run();
                drop(running);
            })
            .map_err(EventBusError::NoThread)?;
        Ok(bus)
    }

    /// A bus whose writer has no thread: its steps are taken by the caller.
    ///
    /// # Errors
    ///
    /// [`EventBusError::Open`] if the log cannot be read.
    #[doc(hidden)]
    pub fn open_stepped(log: Log, config: Config) -> Result<(Self, Steps), EventBusError> {
        Self::open_with(log, config, Crew::Threads)
    }

    /// The same, and its handlers have no threads either.
    ///
    /// # Errors
    ///
    /// [`EventBusError::Open`] if the log cannot be read.
    #[doc(hidden)]
    pub fn open_staged(
        log: Log,
        config: Config,
        stage: Arc<dyn Stage>,
    ) -> Result<(Self, Steps), EventBusError> {
        Self::open_with(log, config, Crew::Stage(stage))
    }

    fn open_with(log: Log, config: Config, crew: Crew) -> Result<(Self, Steps), EventBusError> {
        let repository = Arc::clone(log.repository());
        let info = wait(repository.log_info())?;
        let counters = Arc::new(Live::default());
        let tail = Tail::new(log.head(), config.ring_bytes_max, Arc::clone(&counters));
        let health = watch::Sender::new(Health::Ready);
        let (closed, head_seen) = (AtomicBool::new(false), AtomicBool::new(false));
        let shared = Arc::new(Shared { repository, tail, counters, info, health, closed, head_seen });
        let (queue, queued) = mpsc::unbounded_channel();
        let writer = Writer::new(log, queued, Arc::clone(&shared), config.batch_events_max);
        let (running, ended) = watch::channel(());
        let inflight_bytes_max = config.inflight_bytes_max.clamp(REQUEST_BYTES_MAX, u32::MAX as usize >> 4);
        let permits = Arc::new(Semaphore::new(inflight_bytes_max));
        let handlers = Handlers::new(Arc::clone(&shared), crew, &config);
        let _head_watch = shared.repository.watch_head(tell_writer(&shared, &queue));
        let inner =
            Inner { shared, queue, permits, inflight_bytes_max, handlers, writer: ended, _head_watch };
        Ok((Self { inner: Arc::new(inner) }, Steps { writer, _running: running }))
    }

    /// The door for one producer: everything published through it carries its name.
    #[must_use]
    pub fn publisher(&self, producer: Producer) -> Publisher {
        Publisher { bus: self.clone(), producer }
    }

    /// Stores `event` as producer `library` and makes it visible to readers; see [`Publisher::publish`].
    ///
    /// # Errors
    ///
    /// See [`Publisher::publish`].
    pub async fn publish(&self, event: Event) -> Result<Published, PublishError> {
        self.publisher(Producer::new("library")).publish(event).await
    }

    /// A reader of the events of `filter`, in position order, each once.
    ///
    /// # Errors
    ///
    /// [`StreamError`] if the cursor is of another log, beyond the head or pruned, or the plan is unknown.
    pub async fn stream(&self, filter: Filter, from: StartAt) -> Result<Subscription, StreamError> {
        if self.inner.shared.is_closed() {
            return Err(StreamError::Closed);
        }
        Subscription::open(Arc::clone(&self.inner.shared), filter, from, MissingPlan::Refuse).await
    }

    /// Calls `handler` with each event of `filter` that is stored after this call, in order. The plan of the filter
    /// need not have started yet.
    ///
    /// # Errors
    ///
    /// [`SubscribeError::Closed`] after [`EventBus::shutdown`].
    pub fn subscribe(&self, handler: Handler, filter: Filter) -> Result<SubscriptionId, SubscribeError> {
        self.inner.handlers.subscribe(handler, filter)
    }

    /// Ends a subscription: after this returned, no call of its handler begins. One that has begun may finish, also one
    /// that was just about to enter the handler; who must know that none runs calls
    /// [`EventBus::unsubscribe_and_wait`].
    ///
    /// # Errors
    ///
    /// [`UnsubscribeError::Unknown`] if there is no such subscription.
    pub fn unsubscribe(&self, id: SubscriptionId) -> Result<(), UnsubscribeError> {
        self.inner.handlers.unsubscribe(id).map(|_| ())
    }

    /// Ends a subscription and waits until a call of its handler that runs has finished.
    ///
    /// # Errors
    ///
    /// [`UnsubscribeError::Unknown`] if there is no such subscription; [`UnsubscribeError::WithinHandler`] when
    /// called by a handler, which might wait for itself. The subscription is ended then, too.
    pub async fn unsubscribe_and_wait(&self, id: SubscriptionId) -> Result<(), UnsubscribeError> {
        self.inner.handlers.unsubscribe_and_wait(id).await
    }

    /// Readers of the store behind the bus.
    #[must_use]
    pub fn repository(&self) -> &Arc<dyn EventRepository> {
        &self.inner.shared.repository
    }

    /// The log's name.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        self.inner.shared.info.log_id
    }

    /// The logs that this one continues.
    pub fn lineage(&self) -> impl Iterator<Item = LogId> + '_ {
        self.inner.shared.info.lineage.iter().map(|(log, _)| *log)
    }

    /// The last durable event.
    #[must_use]
    pub fn tail(&self) -> Cursor {
        self.inner.shared.cursor(self.inner.shared.tail.position())
    }

    /// Where a read that starts at `from` begins, if it may.
    ///
    /// # Errors
    ///
    /// As for [`EventBus::stream`].
    pub async fn resolve(&self, from: StartAt) -> Result<Position, StreamError> {
        self.inner.shared.resolve_start(from).await
    }

    /// Whether events are taken.
    #[must_use]
    pub fn health(&self) -> Health {
        self.inner.shared.health.borrow().clone()
    }

    /// Waits until events are no longer taken, and says why.
    pub async fn stopped(&self) -> Health {
        let mut health = self.inner.shared.health.subscribe();
        let stopped = health.wait_for(|health| *health != Health::Ready).await;
        stopped.map_or(Health::Closed, |health| health.clone())
    }

    /// Removes the payload of an event from the store and from memory; answers when it is gone.
    pub(crate) async fn remove_payload(&self, event_id: EventId) -> Result<Removal, StoreError> {
        let (reply, removed) = oneshot::channel();
        let message = Message::Remove(ToRemove { event_id, reply });
        self.inner.queue.send(message).map_err(|_| StoreError::Closed)?;
        removed.await.unwrap_or(Err(StoreError::Closed))
    }

    /// What the bus has done.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.inner.shared.counters.snapshot()
    }

    /// Refuses further publishes, stores what is queued, lets readers and handlers reach the end, and ends.
    ///
    /// Waits for handlers no longer than [`Config::handlers_drain_ms_max`]. Dropping the future once it was polled
    /// leaves handlers behind; the rest happens all the same.
    pub async fn shutdown(&self) {
        self.inner.shared.closed.store(true, Ordering::Release);
        self.inner.permits.close();
        // The writer is gone already after a fatal error; then readers still have to be told.
        let _ = self.inner.queue.send(Message::Shutdown);
        self.stopped().await;
        self.inner.shared.tail.close();
        self.inner.handlers.drain().await;
        // The log and its lock are released at the thread's end; another process may wait for them.
        let mut writer = self.inner.writer.clone();
        while writer.changed().await.is_ok() {}
    }
}

/// The door for one producer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Publisher {
    bus: EventBus,
    producer: Producer,
}

impl Publisher {
    /// Stores `event` and makes it visible to readers.
    ///
    /// Returns its place in the log once it is durable. Publishing the same `event_id` again returns the first place
    /// and stores nothing. Dropping this future after it was first polled may not withdraw the event.
    ///
    /// # Errors
    ///
    /// [`PublishError::Rejected`] if the event may not follow, [`PublishError::Conflict`] if its id is taken,
    /// [`PublishError::Refused`] if it is certainly not stored, [`PublishError::Unknown`] if it may be,
    /// [`PublishError::Closed`] after [`EventBus::shutdown`].
    pub async fn publish(&self, event: Event) -> Result<Published, PublishError> {
        let published = self.publish_all(vec![event]).await?;
        published.into_iter().next().ok_or(PublishError::Closed)
    }

    /// Stores `events` in one transaction: all of them or none.
    ///
    /// # Errors
    ///
    /// As for [`Publisher::publish`]; the index names the first event that is wrong.
    pub async fn publish_all(&self, events: Vec<Event>) -> Result<Vec<Published>, PublishError> {
        self.publish_with(events, Attachments::default()).await
    }

    /// Stores `events` with documents and blobs in one transaction; at most [`BLOB_BYTES_MAX`] of these together.
    /// They are stored with new events only: a request without any stores nothing.
    ///
    /// # Errors
    ///
    /// As for [`Publisher::publish`].
    pub async fn publish_with(
        &self,
        events: Vec<Event>,
        attachments: Attachments,
    ) -> Result<Vec<Published>, PublishError> {
        self.submit_with(events, attachments).await?.await
    }

    /// Queues `events` and returns a receipt for when they are durable, so that many requests can be in flight.
    ///
    /// Requests of one task are stored in the order in which it submitted them. Waits while the queue is full.
    ///
    /// # Errors
    ///
    /// [`PublishError::TooLarge`] or [`PublishError::TooMany`] beyond what one request may hold;
    /// [`PublishError::Closed`] after [`EventBus::shutdown`].
    pub async fn submit(&self, events: Vec<Event>) -> Result<Receipt, PublishError> {
        self.submit_with(events, Attachments::default()).await
    }

    async fn submit_with(
        &self,
        events: Vec<Event>,
        attachments: Attachments,
    ) -> Result<Receipt, PublishError> {
        let inner = &self.bus.inner;
        if events.len() > REQUEST_EVENTS_MAX {
            return Err(PublishError::TooMany { events: events.len(), max_events: REQUEST_EVENTS_MAX });
        }
        let len_bytes: usize = events.iter().map(Event::weight_bytes).sum();
        if len_bytes > REQUEST_BYTES_MAX {
            return Err(PublishError::TooLarge { len_bytes, max_bytes: REQUEST_BYTES_MAX });
        }
        let attached: usize = attachments.blobs.iter().map(|blob| blob.body.len()).sum::<usize>()
            + attachments.documents.iter().map(|document| document.body.len()).sum::<usize>();
        // Found out by the store only, it would be refused together with all that share its commit.
        if attached > BLOB_BYTES_MAX {
            return Err(PublishError::TooLarge { len_bytes: attached, max_bytes: BLOB_BYTES_MAX });
        }
        // A large blob takes all permits rather than more than there are.
        let bytes = (len_bytes + attached).clamp(REQUEST_BYTES_MIN, inner.inflight_bytes_max);
        let share = u32::try_from(bytes).unwrap_or(u32::MAX);
        let request = Request::new(events, self.producer.clone(), attachments);
        let permit =
            Arc::clone(&inner.permits).acquire_many_owned(share).await.map_err(|_| PublishError::Closed)?;
        let (reply, outcome) = oneshot::channel();
        let queued = Queued { request, reply, bytes, permit };
        inner.queue.send(Message::Publish(queued)).map_err(|_| inner.refusal())?;
        Ok(Receipt { outcome, bus: self.bus.clone() })
    }
}

impl Inner {
    /// Why the writer takes nothing.
    fn refusal(&self) -> PublishError {
        match &*self.shared.health.borrow() {
            Health::Failed { .. } => PublishError::Stopped,
            Health::Ready | Health::Closed => PublishError::Closed,
        }
    }
}

/// Tells the writer of a head beyond the tail. It keeps neither the bus nor its writer alive.
fn tell_writer(shared: &Arc<Shared>, queue: &UnboundedSender<Message>) -> HeadSeen {
    let (shared, queue) = (Arc::downgrade(shared), queue.downgrade());
    Box::new(move |head| {
        let (Some(shared), Some(queue)) = (shared.upgrade(), queue.upgrade()) else { return };
        if head > shared.tail.position() && !shared.head_seen.swap(true, Ordering::AcqRel) {
            // A writer that has ended has nothing to show any more.
            let _ = queue.send(Message::HeadSeen);
        }
    })
}

/// A promise that events will be durable. Dropping it does not withdraw them.
#[derive(Debug)]
pub struct Receipt {
    outcome: oneshot::Receiver<Outcome>,
    bus: EventBus,
}

impl Future for Receipt {
    type Output = Result<Vec<Published>, PublishError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.outcome)
            .poll(context)
            .map(|answer| answer.unwrap_or_else(|_| Err(self.bus.inner.refusal())))
    }
}
