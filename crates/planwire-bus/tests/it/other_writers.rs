//! Another process writes the same log: what it wrote is taken in once, and nobody is kept from writing for longer
//! than an append.

use std::collections::VecDeque;
use std::sync::Arc;

use planwire_bus::{Log, PublishError, StartAt};
use planwire_event::{Event, EventId, Filter, IdGenerator, Producer, SystemClock, Timestamp};
use planwire_store::{AppendError, Appended, Batch, Head, LogWriter, MemoryStore, StoreError};

use crate::kit::{Kit, id, log_id, positions, start, take, take_to_end};

fn other(store: &MemoryStore) -> Log {
    Log::open(store.writer(), store.repository(), Arc::new(SystemClock)).unwrap()
}

fn producer() -> Producer {
    Producer::new("other")
}

#[tokio::test]
async fn a_cursor_that_only_the_store_knows_yet_is_not_beyond_the_head() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    // The tail of this process has not heard of it.
    let place = other(&kit.store).save(&producer(), kit.custom("a", 1)).unwrap();
    let mut stream = kit.bus.stream(Filter::plan(id("a")), StartAt::After(place.cursor)).await.unwrap();
    kit.publish(vec![kit.custom("a", 2), kit.completed("a")]).await;
    let (events, ended) = take_to_end(&mut stream).await;
    assert_eq!((positions(&events), ended), (vec![3, 4], true));
}

#[tokio::test]
async fn what_another_process_wrote_is_told_once_though_reading_it_failed_halfway() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    let mut stream = kit.stream(Filter::all()).await;
    let mut other = other(&kit.store);
    for number in 0..1_500 {
        other.save(&producer(), kit.custom("a", number)).unwrap();
    }
    // It takes two pages, of which the second fails.
    kit.hand.fail_reads_after(1, 1);
    let event = kit.custom("a", 1);
    assert!(matches!(kit.bus.publish(event.clone()).await, Err(PublishError::Refused(_))));
    assert_eq!(kit.bus.publish(event).await.unwrap().position.get(), 1_502);
    assert_eq!(positions(&take(&mut stream, 1_502).await), (1..=1_502).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_event_is_not_refused_that_follows_what_another_process_wrote() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    other(&kit.store).save(&producer(), kit.called("a", "k")).unwrap();
    assert_eq!(kit.bus.publish(kit.call_ended("a", "k")).await.unwrap().position.get(), 3);
}

#[tokio::test]
async fn a_child_that_another_process_announced_starts_nowhere_else() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a"), kit.custom("a", 1)]).await;
    other(&kit.store).save(&producer(), kit.spawned("a", "b")).unwrap();
    let error = kit.bus.publish(kit.started("b")).await.unwrap_err();
    assert!(matches!(error, PublishError::Rejected { .. }), "{error}");
    kit.publish(vec![kit.child_started("b", "a")]).await;
}

/// A writer that lets another one go first, as often as there are events for it.
struct Overtaken {
    inner: Box<dyn LogWriter>,
    other: Log,
    events: VecDeque<Event>,
}

impl LogWriter for Overtaken {
    fn head(&mut self) -> Result<Head, StoreError> {
        self.inner.head()
    }

    fn lock_head(&mut self) -> Result<Head, StoreError> {
        self.inner.lock_head()
    }

    fn append(&mut self, expected: &Head, batch: &Batch) -> Result<Appended, AppendError> {
        if let Some(event) = self.events.pop_front() {
            self.other.save(&producer(), event).unwrap();
        }
        self.inner.append(expected, batch)
    }
}

#[test]
fn a_head_that_was_locked_for_nothing_is_let_go_of() {
    let store = MemoryStore::new(log_id());
    let ids = IdGenerator::system();
    let named = |event_id: EventId| {
        let time: Timestamp = "2026-11-22T14:20:01Z".parse().unwrap();
        let payload = planwire_event::Payload::parse("{}").unwrap();
        Event::new(event_id, "test.tick".parse().unwrap(), id("a"), time, payload).unwrap()
    };
    let mut first = other(&store);
    first.save(&producer(), Event::of(&ids, &SystemClock, id("a"), &start(None)).unwrap()).unwrap();
    // Overtaken twice, the second time by the very event that is to be stored: the head is locked for nothing.
    let same = named(ids.next_id());
    let events = VecDeque::from([named(ids.next_id()), same.clone()]);
    let writer = Overtaken { inner: store.writer(), other: other(&store), events };
    let mut log = Log::open(Box::new(writer), store.repository(), Arc::new(SystemClock)).unwrap();
    let place = log.save(&producer(), same).unwrap();
    assert_eq!((place.position.get(), place.duplicate), (3, true));
    assert_eq!(first.save(&producer(), named(ids.next_id())).unwrap().position.get(), 4);
    assert_eq!(log.save(&producer(), named(ids.next_id())).unwrap().position.get(), 5);
}
