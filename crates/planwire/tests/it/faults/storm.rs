//! Clients that all drop their streams and come back at once, each from another place in the log.

use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use super::author::Author;
use super::chance::{Chance, count};
use super::checker::{Reading, Wanted};
use super::raw::Raw;
use super::reader::Reader;
use super::row::Row;
use crate::harness::{Place, Server, eventually};
use crate::load::{memory_kib, memory_max_kib, open_files};

const STORMS: u64 = 3;
const BATCH_EVENTS: u64 = 100;
const TEXT_BYTES: usize = 100;
/// Memory above idle that a storm may cost, beside what each client costs.
const MEMORY_KIB_MAX: u64 = 64 * 1024;
const CLIENT_KIB_MAX: u64 = 32;

/// What clients and the one who brings the storms about know of each other.
struct Weather {
    /// All wait here before each storm, and after it.
    gather: Barrier,
    /// Events before each storm.
    history: u64,
    /// How long the slowest client of this storm took to be live.
    slowest: Mutex<Duration>,
}

#[test]
fn soak_clients_that_all_return_at_once_from_many_places_miss_nothing_and_are_live_again() {
    let (clients, history) = (count(200, 1_000), count(500, 1_000));
    let place = Place::new();
    let server = place.serve(&[]);
    let idle = memory_kib(&server);
    let mut author = Author::of("storm");
    author.start(&mut connect(&server));
    let base = open_files(&server).0;
    let weather = Weather {
        gather: Barrier::new(usize::try_from(clients).expect("a small number") + 1),
        history,
        slowest: Mutex::default(),
    };
    let mut chance = Chance::of(22);
    let (mut readings, mut refused, mut resumed, mut times) = (Vec::new(), 0, 0, Vec::new());
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..clients)
            .map(|_| {
                let (chance, server, weather) = (chance.fork(), &server, &weather);
                scope.spawn(move || stand(server, weather, chance))
            })
            .collect();
        for _ in 0..STORMS {
            publish(&server, &mut author, history);
            weather.gather.wait();
            // They come back meanwhile.
            publish(&server, &mut author, BATCH_EVENTS);
            weather.gather.wait();
            times.push(std::mem::take(&mut *weather.slowest.lock().expect("no thread panicked")));
        }
        for reader in readers {
            let (reading, (refusals, returns)) = reader.join().expect("a reader");
            readings.push(reading);
            refused += refusals;
            resumed += returns;
        }
    });
    let grown = memory_max_kib(&server).saturating_sub(idle);
    eventually("the end of all connections", || (open_files(&server).0 <= base).then_some(()));
    assert_eq!(server.stop().code(), Some(0));
    let allowed = MEMORY_KIB_MAX + CLIENT_KIB_MAX * clients;
    Row::new("reconnect storm", format!("{STORMS} storms of {clients} clients, {} events", author.head()))
        .counts(author.check(&place, &readings))
        .times("until all are live", &mut times)
        .figure(format!("{resumed} resumed, {refused} asked to come later"))
        .figure(format!("{grown} KiB above idle ({idle} KiB), allowed {allowed} KiB"))
        .check();
    assert!(resumed >= STORMS * clients, "each of them resumes in each storm");
    assert!(grown < allowed, "{grown} KiB");
}

/// One client, over all storms. It is live when it has what is published while all come back.
fn stand(server: &Server, weather: &Weather, mut chance: Chance) -> (Reading, (u64, u64)) {
    let mut reader = Reader::new(&server.url, Wanted::default());
    for storm in 0..STORMS {
        let before = 1 + storm * (weather.history + BATCH_EVENTS);
        let live_at = before + weather.history + BATCH_EVENTS;
        reader.stop_at(chance.between(before, before + weather.history));
        weather.gather.wait();
        reader.leave();
        let left = Instant::now();
        reader.read_until(live_at);
        let mut slowest = weather.slowest.lock().expect("no thread panicked");
        *slowest = left.elapsed().max(*slowest);
        drop(slowest);
        weather.gather.wait();
    }
    let told = reader.refused_and_resumed();
    (reader.finish(), told)
}

/// Publishes so many events, each batch on a connection of its own: one that waits while all others are served is closed.
fn publish(server: &Server, author: &mut Author, events: u64) {
    for _ in 0..events / BATCH_EVENTS {
        let batch: Vec<_> = (0..BATCH_EVENTS).map(|_| author.text(TEXT_BYTES)).collect();
        assert_eq!(author.write(&mut connect(server), &batch).expect("an answer").0, 200);
    }
}

fn connect(server: &Server) -> Raw {
    Raw::connect(&server.url).expect("a server that listens")
}
