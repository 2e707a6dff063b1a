//! Handlers that take 10 s, fail and panic, beside publishers of the same bus over a SQLite file.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use planwire_bus::{Config, EventBus, Handler, Log};
use planwire_event::vocabulary::PlanStarted;
use planwire_event::{Event, Filter, IdGenerator, Payload, PlanId, SystemClock};
use planwire_store::{OpenOptions, SqliteStore};

use super::chance::count;
use super::row::Row;
use crate::harness::Place;

/// How long a call of a slow handler takes.
const CALL: Duration = Duration::from_secs(10);
/// Slow handlers of each kind.
const SLOW: usize = 4;
/// How long the bus waits for them in the end.
const DRAIN_MS: u64 = 100;

fn open(place: &Place) -> EventBus {
    std::fs::create_dir_all(place.data()).expect("a folder");
    let (writer, repository) = SqliteStore::open(&place.database(), &OpenOptions::default()).expect("a log");
    let log = Log::open(Box::new(writer), repository, Arc::new(SystemClock)).expect("a log");
    EventBus::open(log, Config { handlers_drain_ms_max: DRAIN_MS, ..Config::default() }).expect("a bus")
}

/// Publishes events one by one; how long each took.
async fn publish(bus: &EventBus, plan: &PlanId, events: u64) -> Vec<Duration> {
    let ids = IdGenerator::system();
    let started: PlanStarted = serde_json::from_str(r#"{"name":"n"}"#).expect("a payload");
    bus.publish(Event::of(&ids, &SystemClock, plan.clone(), &started).expect("an event"))
        .await
        .expect("stored");
    let mut times = Vec::new();
    for number in 0..events {
        let payload = Payload::parse(&format!(r#"{{"number":{number}}}"#)).expect("a payload");
        let kind = "acme.note".parse().expect("a type");
        let event =
            Event::new(ids.next_id(), kind, plan.clone(), planwire_event::Clock::now(&SystemClock), payload);
        let begun = Instant::now();
        bus.publish(event.expect("an event")).await.expect("stored");
        times.push(begun.elapsed());
    }
    times
}

#[test]
fn soak_publishing_does_not_wait_for_handlers_that_take_10_s_or_panic() {
    let events = count(500, 20_000);
    let (place, handled) = (Place::new(), Arc::new(AtomicU64::new(0)));
    let bus = open(&place);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let [alone, beside] = ["alone", "beside"].map(|plan| plan.parse::<PlanId>().expect("an id"));
    let mut before = runtime.block_on(publish(&bus, &alone, events));
    for _ in 0..SLOW {
        let blocks = Handler::blocking(|_| {
            std::thread::sleep(CALL);
            Ok(())
        });
        let waits = Handler::future(|_| async {
            tokio::time::sleep(CALL).await;
            Ok(())
        });
        let panics = Handler::future(|_| async { std::panic::resume_unwind(Box::new("as the test asked")) });
        let fails = Handler::blocking(|_| Err("as the test asked".into()));
        for handler in [blocks, waits, panics, fails] {
            bus.subscribe(handler, Filter::all()).expect("subscribed");
        }
    }
    let counting = Arc::clone(&handled);
    let counts = Handler::future(move |_| {
        counting.fetch_add(1, Ordering::AcqRel);
        std::future::ready(Ok(()))
    });
    bus.subscribe(counts, Filter::all()).expect("subscribed");
    let mut times = runtime.block_on(publish(&bus, &beside, events));
    runtime.block_on(bus.shutdown());
    let (counters, handled) = (bus.counters(), handled.load(Ordering::Acquire));
    assert_eq!(handled, events + 1, "another handler gets every event");
    let each = SLOW as u64 * (events + 1);
    assert_eq!((counters.handler_panics, counters.handler_errors), (each, each));
    Row::new("handlers that take 10 s, fail and panic", format!("{} handlers, {events} events", 4 * SLOW))
        .figure(format!("{} panics and {} errors counted, another handler got all events", each, each))
        .times("publish with them", &mut times)
        .times("without", &mut before)
        .check();
}
