//! The n-th write or sync of the log fails, as on a disk that breaks.

use std::collections::BTreeMap;

use rustix::process::Signal;

use super::author::{Author, follow};
use super::chance::count;
use super::checker::{Counts, Told};
use super::crowd::log_of;
use super::row::Row;
use super::shim::{self, Rule};
use crate::harness::{Place, Server};

/// Events within which every call below comes, enough for checkpoints of the WAL at work.
const EVENTS_MAX: u64 = 40;
/// Text of an event: 40 of these are twice the pages after which the WAL is moved.
const EVENT_BYTES: usize = 200_000;
/// Servers that run at a time: each waits for its disk more than for a processor.
const AT_ONCE: usize = 4;
const STORAGE: i32 = 74;

/// What came of one failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// The call never came.
    NeverCame,
    /// Nobody noticed: the WAL holds everything all the same.
    GoesOn,
    /// Refused, certainly not stored, and the server goes on.
    Refused,
    /// Unknown, exit 74; after the restart it was found not stored.
    UnknownNotStored,
    /// Unknown, exit 74; after the restart it was found stored.
    UnknownStored,
}

#[test]
fn soak_event_whose_nth_write_or_sync_fails_is_found_once_or_never_and_not_shown_before_the_restart() {
    let last = count(3, 25);
    let rules: Vec<Rule> = [("sync", "wal"), ("write", "wal"), ("write", "db"), ("sync", "db")]
        .into_iter()
        .flat_map(|(call, kind)| (1..=last).map(move |nth| Rule { act: "fail", call, kind, nth }))
        .collect();
    let mut sum = Counts::default();
    let mut outcomes: BTreeMap<Outcome, usize> = BTreeMap::new();
    for rules in rules.chunks(AT_ONCE) {
        let ended = std::thread::scope(|scope| {
            let threads: Vec<_> = rules.iter().map(|rule| scope.spawn(|| fail_at(*rule))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a failure")).collect::<Vec<_>>()
        });
        for (outcome, counts) in ended {
            *outcomes.entry(outcome).or_default() += 1;
            sum.add(counts);
        }
    }
    let unknown = [Outcome::UnknownNotStored, Outcome::UnknownStored];
    assert!(unknown.iter().any(|outcome| outcomes.contains_key(outcome)), "{outcomes:?}");
    Row::new("write or sync fails at the n-th call", format!("{} calls", rules.len()))
        .counts(sum)
        .figure(format!("{outcomes:?}").replace(['{', '}'], ""))
        .check();
}

fn fail_at(rule: Rule) -> (Outcome, Counts) {
    let mut place = Place::new();
    let trigger = shim::load(&mut place, rule);
    let server = place.serve(&[]);
    let mut author = Author::begin(&server);
    let reader = follow(&server, None);
    trigger.arm();
    let status = author.note_until_refused(&server, EVENT_BYTES, EVENTS_MAX);
    let head = author.head();
    let stopped = status.is_some() && server.http.get("/readyz").status == 503;
    if stopped {
        // Nothing more is taken, and what was acknowledged can be read.
        let last = author.claims.len();
        assert_ne!(author.note(&server, 1).expect("an answer").0, 200, "{rule:?}");
        author.claims.truncate(last);
        assert!(server.http.get("/v1/events").status == 200, "{rule:?}");
    }
    // Whoever manages the service does not wait for readers.
    server.running.signal(Signal::TERM);
    let code = server.running.end().0.code();
    assert_eq!(code, Some(if stopped { STORAGE } else { 0 }), "{rule:?}");
    let mut reading = reader.join().expect("a reader");
    let shown = reading.delivered.iter().map(|(position, _)| *position).max();
    assert!(shown <= Some(head), "{rule:?}: {shown:?} was shown and {head} acknowledged");
    // Its stream ended with the server.
    reading.wanted.until = shown;
    shim::unload(&mut place);
    let outcome = settle(&place, &mut author, status.is_some(), stopped, trigger.was_hit());
    (outcome, author.check(&place, &[reading]))
}

/// Starts the server anew and asks about the event whose outcome is unknown.
fn settle(place: &Place, author: &mut Author, refused: bool, stopped: bool, hit: bool) -> Outcome {
    let before = log_of(place).len() as u64;
    let known = author.head();
    let server: Server = place.serve(&[]);
    if refused {
        assert_eq!(author.ask_again(&server), 200);
    }
    assert_eq!(server.stop().code(), Some(0));
    let acked = author.claims.iter().all(|claim| matches!(claim.told, Told::Acked { .. }));
    assert!(acked && before <= known + 1, "{before} stored, {known} acknowledged");
    match (hit, refused, stopped) {
        (false, ..) => Outcome::NeverCame,
        (true, false, _) => Outcome::GoesOn,
        (true, true, false) => Outcome::Refused,
        (true, true, true) if before > known => Outcome::UnknownStored,
        (true, true, true) => Outcome::UnknownNotStored,
    }
}
