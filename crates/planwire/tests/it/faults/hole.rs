//! A network between clients and a server that loses everything, both ways or one way, while both ends stay open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use planwire_bus::{Config, EventBus, Log};
use planwire_event::{LogId, SystemClock};
use planwire_server::{Server as Library, ServerConfig};
use planwire_store::MemoryStore;

use super::author::Author;
use super::chance::{Chance, count};
use super::checker::{Reading, Wanted, check};
use super::crowd::log_of;
use super::link::{Hole, Link, Pace};
use super::raw::Raw;
use super::reader::Reader;
use super::row::Row;
use crate::harness::{Place, Server, eventually};
use crate::load::open_files;

const BOTH: Hole = Hole { from_clients: true, from_server: true };
const CLOSED: Hole = Hole { from_clients: false, from_server: false };
/// What a client asks may fall into it, what it is answered, or both.
const HOLES: [Hole; 3] =
    [BOTH, Hole { from_clients: true, from_server: false }, Hole { from_clients: false, from_server: true }];
const READERS: usize = 5;
/// Events that somebody else publishes while the hole is open.
const NEAR_EVENTS: u64 = 50;
const TEXT_BYTES: usize = 100;
/// How long a publisher waits for an answer.
const ANSWER_MAX: Duration = Duration::from_millis(1_500);
/// How long a reader waits for a sign of life. Every second one has no patience: it resumes while the hole is open, and
/// the others go on with the streams that they have, if it is closed in time.
const SILENCE_MAX: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];

#[test]
fn soak_nothing_is_acknowledged_through_a_hole_and_all_resumes_when_it_is_closed() {
    let rounds = count(1, 20);
    let place = Place::new();
    let server = place.serve(&[]);
    let (_, sockets_of_nobody) = open_files(&server);
    let link = Link::to(&server.url, Pace::default(), Chance::of(18));
    let (mut near, mut far) = (Author::of("near"), Author::of("far"));
    let mut connection = Raw::connect(&server.url).expect("a server that listens");
    near.start(&mut connection);
    far.start(&mut connection);
    let positions: Vec<AtomicU64> = (0..READERS).map(|_| AtomicU64::new(0)).collect();
    let end = AtomicU64::new(u64::MAX);
    let (mut failed, mut recovered, mut stored) = (Vec::new(), Vec::new(), 0);
    let readers: Vec<(u64, Reading)> = std::thread::scope(|scope| {
        let _release = Release(&end);
        let readers: Vec<_> = positions
            .iter()
            .zip(SILENCE_MAX.into_iter().cycle())
            .map(|(position, silence_max)| {
                let mut reader = Reader::new(&link.url, Wanted::default()).giving_up_after(silence_max);
                let end = &end;
                scope.spawn(move || {
                    while reader.position() < end.load(Ordering::Acquire) {
                        reader.read();
                        position.store(reader.position(), Ordering::Release);
                    }
                    let (_, resumed) = reader.refused_and_resumed();
                    (resumed, reader.finish())
                })
            })
            .collect();
        let all_read = |head: u64| {
            eventually("everything at all readers", || {
                positions.iter().all(|position| position.load(Ordering::Acquire) >= head).then_some(())
            });
        };
        for _ in 0..rounds {
            for hole in HOLES {
                all_read(near.head().max(far.head()));
                stored += u64::from(fall(&server, &link, hole, &mut near, &mut far, &mut failed));
                link.set_hole(CLOSED);
                let closed = Instant::now();
                let mut again = Raw::connect(&link.url).expect("a network that is there");
                assert_eq!(far.ask_again_over(&mut again).expect("an answer").0, 200);
                all_read(near.head().max(far.head()));
                recovered.push(closed.elapsed());
            }
        }
        end.store(near.head().max(far.head()), Ordering::Release);
        readers.into_iter().map(|reader| reader.join().expect("a reader")).collect()
    });
    let (resumed, readings): (Vec<_>, Vec<_>) = readers.into_iter().unzip();
    drop((link, connection));
    eventually("the end of all connections", || (open_files(&server).1 <= sockets_of_nobody).then_some(()));
    assert_eq!(server.stop().code(), Some(0));
    let claims: Vec<_> = near.claims.into_iter().chain(far.claims).collect();
    Row::new("network that loses everything, both ways and one way", format!("{} holes", failed.len() / 2))
        .counts(check(&log_of(&place), &claims, &readings))
        .times("a publisher gives up", &mut failed)
        .times("all read again", &mut recovered)
        .figure(format!("{stored} stored and not told of, then told to whom asks again"))
        .figure(format!("readers resumed {resumed:?} times; sockets left 0"))
        .check();
    assert!(resumed.iter().step_by(2).all(|resumed| *resumed > 0), "who gives up resumes: {resumed:?}");
    assert_eq!(stored, rounds, "a request that arrives is stored, though nobody hears of it");
}

/// Lets readers end when the test fails.
struct Release<'a>(&'a AtomicU64);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(0, Ordering::Release);
        }
    }
}

/// Publishes into the open hole, where nothing is answered, while somebody beside it goes on. Says whether the event is
/// in the log all the same.
fn fall(
    server: &Server,
    link: &Link,
    hole: Hole,
    near: &mut Author,
    far: &mut Author,
    failed: &mut Vec<Duration>,
) -> bool {
    let connect = |url: &str| Raw::connect(url).expect("a server that listens");
    let mut before = connect(&link.url);
    before.set_patience(ANSWER_MAX);
    let note = far.text(TEXT_BYTES);
    assert_eq!(far.write(&mut before, &[note]).expect("an answer").0, 200);
    link.set_hole(hole);
    // On a connection that was there, and on one that comes.
    let note = far.text(TEXT_BYTES);
    let asked = Instant::now();
    assert!(far.write(&mut before, &[note]).is_err(), "acknowledged through {hole:?}");
    failed.push(asked.elapsed());
    let mut during = connect(&link.url);
    during.set_patience(ANSWER_MAX);
    let asked = Instant::now();
    assert!(far.ask_again_over(&mut during).is_err(), "acknowledged through {hole:?}");
    failed.push(asked.elapsed());
    let mut beside = connect(&server.url);
    for _ in 0..NEAR_EVENTS {
        let note = near.text(TEXT_BYTES);
        assert_eq!(near.write(&mut beside, &[note]).expect("an answer").0, 200);
    }
    let page = server.http.get("/v1/plans/far/events?limit=1000").json(200);
    let told = far.claims.len();
    page["events"].as_array().is_some_and(|events| events.len() == told)
}

#[test]
fn soak_connections_whose_client_is_gone_without_a_word_are_freed_within_the_write_timeout() {
    let (clients, write_stall) = (count(20, 200), Duration::from_secs(count(2, 60)));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (writer, repository) = MemoryStore::open(LogId::from_random(1));
    let log = Log::open(writer, repository, Arc::new(SystemClock)).expect("a log");
    let bus = runtime.block_on(async { EventBus::open(log, Config::default()) }).expect("a bus");
    let mut config =
        ServerConfig { listen: "127.0.0.1:0".parse().expect("an address"), ..ServerConfig::default() };
    config.limits.write_stall = write_stall;
    config.limits.heartbeat = write_stall / 20;
    let library = runtime.block_on(Library::bind(config, bus.clone(), None)).expect("a server");
    let (url, gauges) = (format!("http://{}", library.address()), library.gauges());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = runtime.spawn(library.run(async move {
        let _ = stopped.await;
    }));
    let link = Link::to(&url, Pace::default(), Chance::of(21));
    // Nothing is ever published: what goes to them is heartbeats, far less than a socket holds.
    let mut silent: Vec<_> = (0..clients).map(|_| Reader::new(&link.url, Wanted::default())).collect();
    silent.iter_mut().for_each(|reader| {
        reader.ask();
    });
    let open = || (gauges.connections_open() as u64, bus.counters().subscriptions_open);
    assert_eq!(open(), (clients, clients));
    link.set_hole(BOTH);
    let begun = Instant::now();
    while open() != (0, 0) {
        assert!(begun.elapsed() < 10 * write_stall, "{:?} are open", open());
        std::thread::sleep(Duration::from_millis(10));
    }
    let freed = begun.elapsed();
    drop((silent, link));
    drop(stop);
    runtime.block_on(running).expect("the server ends");
    Row::new("half-open connections of silent streams", format!("{clients} clients"))
        .figure(format!(
            "all freed after {} ms, write timeout {} ms",
            freed.as_millis(),
            write_stall.as_millis()
        ))
        .figure("connections left 0, subscriptions left 0")
        .check();
}
