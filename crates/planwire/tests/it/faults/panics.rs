//! A panic in the thread that writes the log of a real server: it never lives on as one that cannot write.
//!
//! The clock fails in that thread alone, which Rust's standard library answers with a panic: within a commit, or
//! between two.

use std::time::{Duration, SystemTime};

use super::author::Author;
use super::chance::count;
use super::checker::Counts;
use super::row::Row;
use super::shim::{self, Rule};
use crate::harness::{Place, eventually};

const STORAGE: i32 = 74;
/// Events within which each panic comes.
const EVENTS_MAX: u64 = 40;
/// Servers that run at a time: each answers its readers for 10 s more.
const AT_ONCE: usize = 4;

#[test]
fn soak_server_whose_writer_panics_takes_nothing_more_and_ends() {
    let panics: Vec<u64> = (1..=count(4, 40)).collect();
    let (mut sum, mut times) = (Counts::default(), Vec::new());
    for numbers in panics.chunks(AT_ONCE) {
        let ended = std::thread::scope(|scope| {
            let threads: Vec<_> = numbers.iter().map(|nth| scope.spawn(|| panic_at(*nth))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a panic")).collect::<Vec<_>>()
        });
        for (counts, detected) in ended {
            sum.add(counts);
            times.push(detected);
        }
    }
    Row::new("panic in the writer", format!("{} panics", panics.len()))
        .counts(sum)
        .times("detected after", &mut times)
        .figure(format!("exit {STORAGE} each time"))
        .check();
}

/// Lets the writer panic at its n-th look at a clock; gives what became of the events, and the time to detect it.
fn panic_at(nth: u64) -> (Counts, Duration) {
    let mut place = Place::new();
    let rule = Rule { act: "fail", call: "time", kind: "planwire-writer", nth };
    let trigger = shim::load(&mut place, rule);
    let server = place.serve(&[]);
    let mut author = Author::begin(&server);
    trigger.arm();
    let refused = author.note_until_refused(&server, 10, EVENTS_MAX);
    let panicked = trigger.hit_at().expect("the panic came");
    eventually("a server that says so", || (server.http.get("/readyz").status == 503).then_some(()));
    let detected = SystemTime::now().duration_since(panicked).unwrap_or_default();
    assert_eq!(refused, Some(503), "panic {nth}");
    assert_ne!(author.note(&server, 10).expect("an answer").0, 200, "panic {nth}");
    assert_eq!(server.http.get("/v1/events").status, 200, "readers are served on");
    assert_eq!(server.running.end().0.code(), Some(STORAGE), "panic {nth}");
    shim::unload(&mut place);
    let server = place.serve(&[]);
    assert_eq!(author.ask_again(&server), 200, "panic {nth}");
    assert!(server.stop().success());
    (author.check(&place, &[]), detected)
}
