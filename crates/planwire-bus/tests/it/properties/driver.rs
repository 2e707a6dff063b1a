//! Does acts on a bus and compares each answer with what is expected.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_executor::block_on;
use futures_util::FutureExt as _;
use planwire_bus::{
    Config, EventBus, Handler, Item, Log, PublishError, Recorded, StartAt, StreamError, SubscribeError,
    Subscription, SubscriptionId, UnsubscribeError,
};
use planwire_event::{Cursor, Filter, Position, Producer, SystemClock};
use planwire_store::MemoryStore;

use super::acts::{Act, From, How, Scope, TYPES, Wanted, What};
use super::expected::{Answer, Expected};
use super::requests::Requests;
use crate::kit::{id, log_id};

/// Milliseconds within which handlers reach the end; they take a few.
const DRAIN_MS_MAX: u64 = 60_000;

/// How often each thing was there.
pub(crate) type Tally = BTreeMap<&'static str, usize>;

/// All that a tally may hold.
pub(crate) const TALLIED: [&str; 13] = [
    "stored",
    "duplicate",
    "rejected",
    "conflict",
    "opened",
    "no stream",
    "delivered",
    "end",
    "nothing to read",
    "handled",
    "handler ended",
    "no handler to end",
    "reopened",
];

struct Reader {
    filter: Filter,
    stream: Subscription,
    /// The last event that was handed out, or the start.
    place: u64,
    /// The end of the scope was told.
    ended: bool,
}

struct Handled {
    id: SubscriptionId,
    filter: Filter,
    after: u64,
    calls: Arc<Mutex<Vec<u64>>>,
    /// Once it is unsubscribed: how many calls it may have had in the end.
    calls_max: Option<usize>,
}

/// A bus, what is expected of it, and who reads.
pub(crate) struct Driver {
    store: MemoryStore,
    bus: EventBus,
    expected: Expected,
    requests: Requests,
    readers: Vec<Reader>,
    handlers: Vec<Handled>,
    tally: Tally,
}

fn open(
    store: &MemoryStore,
    plans_cached: usize,
    ring_bytes_max: usize,
    batch_events_max: usize,
) -> EventBus {
    let log = Log::open(store.writer(), store.repository(), Arc::new(SystemClock)).unwrap();
    let handlers_drain_ms_max = DRAIN_MS_MAX;
    let config = Config { ring_bytes_max, batch_events_max, handlers_drain_ms_max, ..Config::default() };
    EventBus::open(log.with_plans_cached(plans_cached), config).unwrap()
}

fn filter(wanted: &Wanted) -> Filter {
    let name = |plan: u8| id(&format!("p{plan}"));
    let filter = match wanted.scope {
        Scope::All => Filter::all(),
        Scope::Plan(plan) => Filter::plan(name(plan)),
        Scope::Tree(plan) => Filter::tree(name(plan)),
    };
    let Some(bits) = wanted.types else { return filter };
    let named = TYPES.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
    filter.with_types(named.map(|(_, name)| name.parse().unwrap()).collect::<Vec<_>>())
}

impl Driver {
    pub(crate) fn open() -> Self {
        let store = MemoryStore::new(log_id());
        let bus = open(&store, 1_000, 5_000, 4);
        let (expected, requests, tally) = (Expected::default(), Requests::default(), Tally::new());
        let mut driver =
            Self { store, bus, expected, requests, readers: Vec::new(), handlers: Vec::new(), tally };
        // Two trees, so that the first reader already finds something.
        let (pick, child) = (0, 2);
        let grown = [What::Start { plan: 0 }, What::Spawn { pick, child }, What::StartAnnounced { pick }];
        driver.publish(&[grown.to_vec(), vec![What::Start { plan: 1 }]]);
        driver
    }

    fn note(&mut self, what: &'static str, count: usize) {
        assert!(TALLIED.contains(&what));
        *self.tally.entry(what).or_default() += count;
    }

    pub(crate) fn take(&mut self, act: &Act) {
        match act {
            Act::Publish(requests) => self.publish(requests),
            Act::Open { wanted, from } => self.stream(filter(wanted), from),
            Act::Read { reader, how, times } => {
                if let Some(at) = reader.checked_rem(self.readers.len()) {
                    (0..*times).for_each(|_| self.read(at, how));
                }
            }
            Act::Resume { reader, scanned } => {
                if let Some(at) = reader.checked_rem(self.readers.len()) {
                    self.resume(at, *scanned);
                }
            }
            Act::Leave { reader } => {
                if let Some(at) = reader.checked_rem(self.readers.len()) {
                    self.readers.swap_remove(at);
                }
            }
            Act::Handle { wanted, blocking } => self.handle(filter(wanted), *blocking),
            Act::Unhandle { handler, waits } => {
                if let Some(at) = handler.checked_rem(self.handlers.len()) {
                    self.unhandle(at, *waits);
                }
            }
            Act::Reopen { plans_cached, ring_bytes_max, batch_events_max } => {
                self.shut_down();
                self.bus = open(&self.store, *plans_cached, *ring_bytes_max, *batch_events_max);
                self.note("reopened", 1);
                (0..self.readers.len()).for_each(|at| self.resume(at, at % 2 == 0));
            }
        }
    }

    /// Shuts the bus down; gives what the case had.
    pub(crate) fn finish(mut self) -> Tally {
        self.shut_down();
        self.tally
    }

    fn publish(&mut self, requests: &[Vec<What>]) {
        let requests: Vec<_> = requests.iter().map(|what| self.requests.make(what, &self.expected)).collect();
        let publisher = self.bus.publisher(Producer::new("test"));
        let answers: Vec<_> = block_on(async {
            let mut receipts = Vec::new();
            for events in &requests {
                receipts.push(publisher.submit(events.clone()).await.unwrap());
            }
            futures_util::future::join_all(receipts).await
        });
        for (events, answer) in requests.iter().zip(&answers) {
            let expected = self.expected.publish(events);
            assert_eq!(Answer::of(answer), expected, "publishing {events:?}");
            match expected {
                Answer::Stored(places) => {
                    let duplicates = places.iter().filter(|(_, _, duplicate)| *duplicate).count();
                    self.note("duplicate", duplicates);
                    self.note("stored", places.len() - duplicates);
                }
                Answer::Rejected(_) => self.note("rejected", 1),
                _ => self.note("conflict", 1),
            }
        }
        assert_eq!(self.bus.tail().position.get(), self.expected.head());
    }

    fn stream(&mut self, filter: Filter, from: &From) {
        let head = self.expected.head();
        let at = |position| StartAt::After(Cursor { log_id: log_id(), position: Position::new(position) });
        let (start, place) = match from {
            From::Start => (StartAt::Start, 0),
            From::Now => (StartAt::Now, head),
            From::After { pick } => {
                let place = *pick as u64 % (head + 1);
                (at(place), place)
            }
            From::Beyond { by } => (at(head + by), head + by),
            From::OtherLog => {
                let log_id = "00000000".parse().unwrap();
                (StartAt::After(Cursor { log_id, position: Position::ZERO }), 0)
            }
        };
        let known = filter.named_plan().is_none_or(|plan| self.expected.knows(plan));
        let opened = block_on(self.bus.stream(filter.clone(), start));
        match (from, opened) {
            (From::OtherLog, Err(StreamError::OtherLog { .. }))
            | (From::Beyond { .. }, Err(StreamError::BeyondHead { .. })) => self.note("no stream", 1),
            (_, Err(StreamError::UnknownPlan { .. })) if !known => self.note("no stream", 1),
            (From::Start | From::Now | From::After { .. }, Ok(stream)) if known => {
                self.note("opened", 1);
                self.readers.push(Reader { filter, stream, place, ended: false });
                self.check_place(self.readers.len() - 1);
            }
            (_, other) => panic!("{filter:?} from {start:?}, known: {known}: {other:?}"),
        }
    }

    /// What the cursors of a reader say is what it was handed.
    fn check_place(&self, at: usize) {
        let Reader { filter, stream, place, .. } = &self.readers[at];
        let (delivered, scanned) = (stream.delivered().position.get(), stream.scanned().position.get());
        assert_eq!(delivered, *place, "delivered of {filter:?}");
        assert!((*place..=self.expected.head()).contains(&scanned), "scanned {scanned} of {filter:?}");
        let missed = self.expected.due(filter, *place).into_iter().find(|position| *position <= scanned);
        assert_eq!(missed, None, "scanned {scanned} of {filter:?}");
    }

    fn resume(&mut self, at: usize, scanned: bool) {
        let Reader { filter, stream, .. } = &self.readers[at];
        let from = if scanned { stream.scanned() } else { stream.delivered() };
        let stream = block_on(self.bus.stream(filter.clone(), StartAt::After(from))).unwrap();
        let filter = filter.clone();
        self.readers[at] = Reader { filter, stream, place: from.position.get(), ended: false };
        self.check_place(at);
    }

    /// Reads once; a read that has nothing to give waits.
    fn read(&mut self, at: usize, how: &How) {
        let reader = &mut self.readers[at];
        let due = self.expected.due(&reader.filter, reader.place);
        let end = self.expected.end_of(&reader.filter);
        let (events, end_told, over) = match how {
            How::Next => match reader.stream.next().now_or_never().map(Result::unwrap) {
                None => (Vec::new(), None, false),
                Some(Some(Item::Event(event))) => (vec![event], None, false),
                Some(Some(Item::End(end))) => (Vec::new(), Some(end), false),
                Some(None) => (Vec::new(), None, true),
            },
            How::Batch { events, bytes } => {
                match reader.stream.next_batch(*events, *bytes).now_or_never().map(Result::unwrap) {
                    None => (Vec::new(), None, false),
                    Some(batch) => {
                        assert!(batch.events.len() <= *events);
                        (batch.events, batch.end, batch.closed)
                    }
                }
            }
        };
        let positions: Vec<u64> = events.iter().map(|event| event.position.get()).collect();
        assert!(due.starts_with(&positions), "{positions:?} of {due:?} for {:?}", reader.filter);
        assert_eq!(positions.is_empty(), due.is_empty(), "{:?} for {:?}", due, reader.filter);
        let all = positions.len() == due.len();
        assert_eq!(over, reader.ended, "only a reader that was told of the end has nothing more to hear");
        match end_told {
            Some(told) => {
                assert!(all && !reader.ended, "the end is told once, after all else");
                assert_eq!(Some(told.position.get()), end, "{:?}", reader.filter);
            }
            None => assert!(!positions.is_empty() || end.is_none() || reader.ended, "{:?}", reader.filter),
        }
        reader.place = positions.last().copied().unwrap_or(reader.place);
        reader.ended |= end_told.is_some();
        self.note("delivered", positions.len());
        self.note("end", usize::from(end_told.is_some()));
        self.note("nothing to read", usize::from(positions.is_empty() && end_told.is_none() && !over));
        events.iter().for_each(|event| self.check_content(event));
        self.check_place(at);
    }

    fn check_content(&self, event: &Recorded) {
        let expected = self.expected.event(event.position.get());
        assert!(
            event.event.event_id() == expected.event_id() && event.event.same_content(expected),
            "altered: {event:?}"
        );
    }

    fn handle(&mut self, filter: Filter, blocking: bool) {
        let calls: Arc<Mutex<Vec<u64>>> = Arc::default();
        let called = Arc::clone(&calls);
        let call = move |event: &Recorded| {
            called.lock().unwrap().push(event.position.get());
            Ok(())
        };
        let handler = if blocking {
            Handler::blocking(call)
        } else {
            Handler::future(move |event| std::future::ready(call(&event)))
        };
        let id = self.bus.subscribe(handler, filter.clone()).unwrap();
        let after = self.expected.head();
        self.handlers.push(Handled { id, filter, after, calls, calls_max: None });
    }

    fn unhandle(&mut self, at: usize, waits: bool) {
        let handled = &mut self.handlers[at];
        let ended = match waits {
            true => block_on(self.bus.unsubscribe_and_wait(handled.id)),
            false => self.bus.unsubscribe(handled.id),
        };
        // A handler whose scope has ended ends by itself, sooner or later.
        let unsubscribed = handled.calls_max.is_some();
        let may_be_gone = unsubscribed || self.expected.end_of(&handled.filter).is_some();
        assert!(ended == Ok(()) && !unsubscribed || ended == Err(UnsubscribeError::Unknown) && may_be_gone);
        if ended.is_ok() {
            // One call that had begun may finish, unless that was waited for.
            let begun = usize::from(!waits);
            handled.calls_max = Some(handled.calls.lock().unwrap().len() + begun);
        }
        self.note(if ended.is_ok() { "handler ended" } else { "no handler to end" }, 1);
    }

    /// Shuts the bus down: handlers have seen everything, readers can read everything, and nothing is taken.
    fn shut_down(&mut self) {
        block_on(self.bus.shutdown());
        for handled in std::mem::take(&mut self.handlers) {
            let (calls, due) =
                (handled.calls.lock().unwrap().clone(), self.expected.due(&handled.filter, handled.after));
            assert!(due.starts_with(&calls), "handled {calls:?} of {due:?}");
            let (done, whole) = (calls.len(), calls == due);
            assert!(
                handled.calls_max.map_or(whole, |most| done <= most),
                "handled {calls:?} of {due:?}, of which {:?} may be",
                handled.calls_max
            );
            self.note("handled", calls.len());
        }
        for reader in &mut self.readers {
            let (mut due, mut end) = (self.expected.due(&reader.filter, reader.place), None);
            due.reverse();
            while let Some(item) = block_on(reader.stream.next()).unwrap() {
                match item {
                    Item::Event(event) => {
                        assert_eq!(Some(event.position.get()), due.pop(), "{:?}", reader.filter)
                    }
                    Item::End(told) => end = Some(told.position.get()),
                }
            }
            assert!(due.is_empty(), "{due:?} for {:?}", reader.filter);
            assert_eq!(end, self.expected.end_of(&reader.filter).filter(|_| !reader.ended));
            reader.place = reader.stream.delivered().position.get();
        }
        let event = self.requests.make(&[What::Start { plan: 0 }], &self.expected);
        assert!(matches!(block_on(self.bus.publish(event[0].clone())), Err(PublishError::Closed)));
        let stream = block_on(self.bus.stream(Filter::all(), StartAt::Start));
        assert!(matches!(stream, Err(StreamError::Closed)));
        let handler = self.bus.subscribe(Handler::blocking(|_| Ok(())), Filter::all());
        assert!(matches!(handler, Err(SubscribeError::Closed)));
    }
}
