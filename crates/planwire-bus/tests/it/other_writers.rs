//! Another process writes the same log: what it wrote is taken in once, and nobody is kept from writing for longer
//! than an append.

use std::collections::VecDeque;
use std::sync::Arc;

use planwire_bus::{Log, PublishError, StartAt};
use planwire_event::{Event, EventId, Filter, IdGenerator, Producer, SystemClock, Timestamp};
use planwire_store::{AppendError, Appended, Batch, Head, LogWriter, MemoryStore, StoreError};

use crate::kit::{Fault, Kit, id, log_id, positions, start, take, take_to_end};

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

#[tokio::test]
async fn readers_of_an_idle_bus_see_what_another_process_wrote_when_the_store_tells_of_it() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    let mut stream = kit.stream(Filter::all()).await;
    let mut other = other(&kit.store);
    for number in 0..3 {
        let place = other.save(&producer(), kit.custom("a", number)).unwrap();
        // Told twice, and told of what is known: nothing comes twice.
        kit.hand.head_seen(place.position.get());
        kit.hand.head_seen(place.position.get());
        kit.hand.head_seen(1);
    }
    assert_eq!(positions(&take(&mut stream, 4).await), [1, 2, 3, 4]);
    assert_eq!(kit.hand.appends(), 1, "showing takes no append");
    // What follows is placed after it.
    assert_eq!(kit.bus.publish(kit.custom("a", 9)).await.unwrap().position.get(), 5);
    assert_eq!(kit.hand.appends(), 2);
    assert_eq!(positions(&take(&mut stream, 1).await), [5]);
}

#[tokio::test]
async fn a_hint_among_requests_is_followed_too() {
    let kit = Kit::new();
    let first = kit.started("a");
    kit.publish(vec![first.clone()]).await;
    let mut stream = kit.stream(Filter::all()).await;
    kit.hand.hold();
    let door = kit.publisher("x");
    let held = door.submit(vec![kit.custom("a", 1)]).await.unwrap();
    kit.hand.wait_for_append();
    // Behind the one that is held: a repetition, which compares no head, and a hint.
    let repeated = door.submit(vec![first]).await.unwrap();
    kit.hand.head_seen(9);
    kit.hand.release();
    assert_eq!(held.await.unwrap()[0].position.get(), 2);
    assert!(repeated.await.unwrap()[0].duplicate);
    other(&kit.store).save(&producer(), kit.custom("a", 2)).unwrap();
    kit.hand.head_seen(3);
    assert_eq!(positions(&take(&mut stream, 3).await), [1, 2, 3]);
}

#[tokio::test]
async fn a_hint_that_cannot_be_followed_is_made_up_for_by_the_next() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    let mut stream = kit.stream(Filter::all()).await;
    take(&mut stream, 1).await;
    other(&kit.store).save(&producer(), kit.custom("a", 1)).unwrap();
    kit.hand.fail_reads(1);
    while kit.hand.reads_fail() {
        kit.hand.head_seen(2);
    }
    // A hint that came while the writer still looked says nothing new: the store goes on telling.
    let mut told = Box::pin(take(&mut stream, 1));
    let events = loop {
        kit.hand.head_seen(2);
        tokio::select! {
            biased;
            events = &mut told => break events,
            () = tokio::task::yield_now() => {}
        }
    };
    assert_eq!(positions(&events), [2]);
}

#[tokio::test]
async fn a_hint_after_a_fatal_error_shows_nothing() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    kit.hand.fail_next(Fault::UnknownStored);
    assert!(matches!(kit.bus.publish(kit.custom("a", 1)).await, Err(PublishError::Unknown(_))));
    kit.bus.stopped().await;
    kit.hand.head_seen(2);
    assert!(matches!(kit.bus.publish(kit.custom("a", 2)).await, Err(PublishError::Stopped)));
    assert_eq!(kit.bus.tail().position.get(), 1, "what may not be there is not shown");
    kit.bus.shutdown().await;
}
