//! Clients over a network that takes long, and over one that carries little: nobody else notices.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::author::Author;
use super::chance::{Chance, count, percentile};
use super::checker::{Reading, Wanted};
use super::link::{Link, Pace};
use super::raw::Raw;
use super::reader::Reader;
use super::row::Row;
use crate::harness::{Place, Server};

/// 200 ms and a jitter of half as much, each way.
const FAR: Pace = Pace { delay_ms: (100, 300), bytes_per_s: 0 };
/// 10 kbit/s.
const NARROW: Pace = Pace { delay_ms: (0, 0), bytes_per_s: 1_250 };
const NEAR_PUBLISHERS: usize = 4;
/// Readers by each way.
const READERS: usize = 3;
const TEXT_BYTES: usize = 100;

#[test]
fn soak_clients_over_a_slow_network_hold_up_nobody_and_miss_nothing() {
    let (events, far_events) = (count(100, 2_000), count(8, 100));
    let place = Place::new();
    let server = place.serve(&[]);
    let mut chance = Chance::of(19);
    let far = Link::to(&server.url, FAR, chance.fork());
    let narrow = Link::to(&server.url, NARROW, chance.fork());
    let mut near: Vec<_> =
        (0..NEAR_PUBLISHERS).map(|number| begin(&server, &format!("near-{number}"))).collect();
    let mut distant = begin(&server, "far");
    let last = NEAR_PUBLISHERS as u64 * (1 + 2 * events) + 1 + far_events;
    let others_have_all = AtomicBool::new(false);
    let (mut without, mut with, mut over, mut behind) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let readings: Vec<Reading> = std::thread::scope(|scope| {
        let read = |url: &str, wanted: Wanted| {
            let mut reader = Reader::new(url, wanted);
            scope.spawn(move || {
                reader.read_until(last);
                reader.finish()
            })
        };
        let mut readers: Vec<_> = (0..READERS).map(|_| read(&server.url, Wanted::default())).collect();
        without = publish(&server, &mut near, events);
        readers.extend((0..READERS).map(|_| read(&far.url, Wanted::default())));
        let narrow_readers: Vec<_> = (0..READERS)
            .map(|_| {
                let mut reader = Reader::new(&narrow.url, Wanted::default());
                let others_have_all = &others_have_all;
                scope.spawn(move || {
                    while !others_have_all.load(Ordering::Acquire) {
                        reader.read();
                    }
                    let then = reader.position();
                    reader.read_until(last);
                    (then, reader.finish())
                })
            })
            .collect();
        let publisher = scope.spawn(|| publish_over(&far.url, &mut distant, far_events));
        with = publish(&server, &mut near, events);
        over = publisher.join().expect("a publisher");
        let mut readings: Vec<_> =
            readers.into_iter().map(|reader| reader.join().expect("a reader")).collect();
        others_have_all.store(true, Ordering::Release);
        narrow.set_pace(Pace::default());
        for reader in narrow_readers {
            let (then, reading) = reader.join().expect("a reader");
            behind = behind.max(then);
            readings.push(reading);
        }
        readings
    });
    drop((far, narrow));
    assert_eq!(server.stop().code(), Some(0));
    let mut authors = near;
    authors.push(distant);
    let claims: Vec<_> = authors.into_iter().flat_map(|author| author.claims).collect();
    let [without, with, over] = [(without, 99), (with, 99), (over, 50)]
        .map(|(mut times, percent)| percentile(&mut times, percent).as_millis());
    Row::new("slow network", format!("{last} events; 200 ms +- 100 ms, and 10 kbit/s"))
        .counts(super::checker::check(&super::crowd::log_of(&place), &claims, &readings))
        .figure(format!(
            "publish p99 of the others {without} ms without, {with} ms with; p50 over it {over} ms"
        ))
        .figure(format!("{behind} read at 10 kbit/s when the others had all"))
        .check();
    assert!(behind < last, "the network was not slow");
}

fn begin(server: &Server, plan: &str) -> Author {
    let mut author = Author::of(plan);
    author.start(&mut Raw::connect(&server.url).expect("a server that listens"));
    author
}

/// Publishes so many events by each author, one after the other; gives how long each took.
fn publish(server: &Server, authors: &mut [Author], events: u64) -> Vec<Duration> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = authors
            .iter_mut()
            .map(|author| scope.spawn(move || publish_over(&server.url, author, events)))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a publisher")).collect()
    })
}

fn publish_over(url: &str, author: &mut Author, events: u64) -> Vec<Duration> {
    let mut connection = Raw::connect(url).expect("a server that listens");
    let mut publish = |_| {
        let note = author.text(TEXT_BYTES);
        let asked = Instant::now();
        let (status, answer) = author.write(&mut connection, &[note]).expect("an answer");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        asked.elapsed()
    };
    (0..events).map(&mut publish).collect()
}
