//! Several processes with one log in PostgreSQL: each sees the events of all, in order, without a gap; a server that
//! crashes loses nothing.

use std::collections::HashSet;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use planwire_bus::{Config, EventBus, Item, Log, PublishError, StartAt};
use planwire_event::{Clock as _, Event, EventId, Filter, IdGenerator, Payload, SystemClock};
use planwire_store::{PostgresOptions, PostgresStore};

use crate::cluster::{Cluster, Stop};
use crate::kit::{id, start};
use crate::seeds::count;

/// Tells a copy of this test program that it is the second process, and where the log lies.
const SECOND_PROCESS: &str = "PLANWIRE_TEST_SECOND_PROCESS";
/// Writers in each process.
const WRITERS: usize = 4;

fn open(url: &str) -> EventBus {
    let (writer, repository) =
        PostgresStore::open(&url.parse().unwrap(), &PostgresOptions::default()).unwrap();
    let log = Log::open(Box::new(writer), repository, Arc::new(SystemClock)).unwrap();
    EventBus::open(log, Config::default()).unwrap()
}

/// One publisher: a plan of its own.
struct Publisher {
    bus: EventBus,
    ids: Arc<IdGenerator>,
    plan: String,
    published: Vec<EventId>,
}

impl Publisher {
    fn new(bus: &EventBus, ids: &Arc<IdGenerator>, plan: String) -> Self {
        Self { bus: bus.clone(), ids: Arc::clone(ids), plan, published: Vec::new() }
    }

    /// Publishes the next event until it is taken: with the same id, so that it is stored once.
    async fn next(&mut self) -> EventId {
        let event = if self.published.is_empty() {
            Event::of(&self.ids, &SystemClock, id(&self.plan), &start(None))
        } else {
            let payload = Payload::parse("{}").unwrap();
            Event::new(
                self.ids.next_id(),
                "test.tick".parse().unwrap(),
                id(&self.plan),
                SystemClock.now(),
                payload,
            )
        };
        let event = event.unwrap();
        self.published.push(event.event_id());
        loop {
            match self.bus.publish(event.clone()).await {
                Ok(_) => return event.event_id(),
                Err(PublishError::Refused(_) | PublishError::Unknown(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Reads `total` events from the start: their ids, and how late those of others came. Positions are without a gap.
async fn follow(bus: &EventBus, total: usize, own: &str) -> (Vec<EventId>, Vec<u64>) {
    let mut stream = bus.stream(Filter::all(), StartAt::Start).await.unwrap();
    let (mut read, mut lags_ms) = (Vec::new(), Vec::new());
    while read.len() < total {
        let event = match stream.next().await {
            Ok(Some(Item::Event(event))) => event,
            Ok(other) => panic!("{other:?}"),
            // The server is away; the place is kept.
            Err(_) => continue,
        };
        read.push(event.event.event_id());
        assert_eq!(event.position.get(), read.len() as u64, "a gap, or out of order");
        if !event.plan_id().as_str().starts_with(own) {
            lags_ms.push(SystemClock.now().millis_since(event.recorded_at));
        }
    }
    (read, lags_ms)
}

/// What one process does: the ids that it has published and those that it has read.
async fn take_part(url: &str, own: &str, events: usize) -> (Vec<EventId>, Vec<EventId>, Vec<u64>) {
    let bus = open(url);
    let ids = Arc::new(IdGenerator::system());
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let mut publisher = Publisher::new(&bus, &ids, format!("{own}-{number}"));
            tokio::spawn(async move {
                for _ in 0..events {
                    // Pauses of up to 3 ms, by the random bits of the id before.
                    let bits = publisher.next().await.as_u128() % 4;
                    tokio::time::sleep(Duration::from_millis(u64::try_from(bits).unwrap())).await;
                }
                publisher.published
            })
        })
        .collect();
    let (read, lags_ms) = follow(&bus, 2 * WRITERS * events, own).await;
    let mut published = Vec::new();
    for writer in writers {
        published.extend(writer.await.unwrap());
    }
    bus.shutdown().await;
    (published, read, lags_ms)
}

fn line(ids: &[EventId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_writers_in_two_processes_are_read_whole_by_both_soak_events() {
    let name = "postgres::eight_writers_in_two_processes_are_read_whole_by_both_soak_events";
    let events = count(60, 2_000);
    if let Ok(url) = std::env::var(SECOND_PROCESS) {
        let (published, read, _) = take_part(&url, "second", events).await;
        println!("\nPUBLISHED {}\nREAD {}", line(&published), line(&read));
        return;
    }
    let Some(cluster) = Cluster::start(name) else { return };
    let url = cluster.url("planwire");
    let second = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(SECOND_PROCESS, &url)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut published, read, mut lags_ms) = take_part(&url, "first", events).await;
    let output = tokio::task::spawn_blocking(move || second.wait_with_output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let output = String::from_utf8(output.stdout).unwrap();
    let told = |name: &str| -> Vec<EventId> {
        let line = output.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().map(|id| id.parse().unwrap()).collect()
    };
    assert_eq!(told("READ"), read, "both readers see the same log");
    published.extend(told("PUBLISHED"));
    let delivered: HashSet<_> = read.iter().collect();
    let missing = published.iter().filter(|id| !delivered.contains(id)).count();
    assert_eq!((missing, delivered.len(), read.len()), (0, published.len(), published.len()));
    lags_ms.sort_unstable();
    let at = |percent: usize| lags_ms[(lags_ms.len() * percent / 100).min(lags_ms.len() - 1)];
    println!(
        "{} events of {} writers in 2 processes: never delivered 0; lag p50 {} ms, p99 {} ms",
        published.len(),
        2 * WRITERS,
        at(50),
        at(99)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_under_load_loses_nothing_and_streams_stay_open_soak_crashes() {
    let name = "postgres::a_server_that_crashes_under_load_loses_nothing_and_streams_stay_open_soak_crashes";
    let Some(mut cluster) = Cluster::start(name) else { return };
    let crashes = count(3, 100);
    let bus = open(&cluster.url("planwire"));
    let ids = Arc::new(IdGenerator::system());
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let mut publisher = Publisher::new(&bus, &ids, format!("p{number}"));
            let done = Arc::clone(&done);
            tokio::spawn(async move {
                while !done.load(Ordering::Acquire) {
                    publisher.next().await;
                }
                publisher.published
            })
        })
        .collect();
    let mut waits = Vec::new();
    for crash in 1..=crashes {
        // Some are stored before each crash.
        reach(&bus, 40 * crash as u64).await;
        cluster = tokio::task::spawn_blocking(move || {
            cluster.stop(Stop::Immediate);
            cluster.run();
            cluster
        })
        .await
        .unwrap();
        let back = Instant::now();
        reach(&bus, bus.tail().position.get() + 1).await;
        waits.push(back.elapsed());
    }
    done.store(true, Ordering::Release);
    let mut published = Vec::new();
    for writer in writers {
        published.extend(writer.await.unwrap());
    }
    let (read, _) = follow(&bus, published.len(), "p").await;
    let (stored, wanted): (HashSet<_>, HashSet<_>) = (read.iter().collect(), published.iter().collect());
    assert_eq!(stored, wanted, "lost or made up");
    assert_eq!(bus.tail().position.get(), published.len() as u64, "duplicates");
    bus.shutdown().await;
    waits.sort_unstable();
    println!(
        "{crashes} crashes, {} events: lost 0, duplicates 0; first event after the server is back: median {:?}, at most {:?}",
        published.len(),
        waits[waits.len() / 2],
        waits[waits.len() - 1]
    );
}

/// Waits until the log reaches `position`, in one stream that stays open.
async fn reach(bus: &EventBus, position: u64) {
    let mut stream = bus.stream(Filter::all(), StartAt::Now).await.unwrap();
    while bus.tail().position.get() < position {
        if let Ok(None) = stream.next().await {
            panic!("the bus is closed");
        }
    }
}
