//! `kill -9` at chosen system calls: in the middle of an insert, between commit and answer, within a frame of a stream.
//!
//! A random instant rarely hits the gaps that matter. The shim counts the calls of a real server and ends it before,
//! within or after the n-th, so that a point needs no seam in the product.

use std::os::unix::process::ExitStatusExt as _;

use serde_json::json;

use super::chance::{Chance, count};
use super::crowd::{Crowd, Stage, head, log_of, survive};
use super::row::Row;
use super::shim::{self, Rule};
use crate::harness::{Place, Ran, eventually};

/// Where the process ends, and up to which n at random.
const POINTS: [(&str, Rule, u64); 14] = [
    ("before the insert", rule("kill-before", "write", "wal"), 30),
    ("within a frame of the WAL", rule("kill-half", "write", "wal"), 60),
    ("after the insert, before the commit", rule("kill-before", "sync", "wal"), 10),
    ("after the commit, before the answer", rule("kill-after", "sync", "wal"), 10),
    ("after the commit, before the witness", rule("kill-before", "write", "head"), 10),
    ("within the witness", rule("kill-half", "write", "head"), 10),
    ("before an answer or a frame is sent", rule("kill-before", "write", "socket"), 60),
    ("within an answer or a frame", rule("kill-half", "write", "socket"), 60),
    ("after an answer, before others are told", rule("kill-after", "write", "socket"), 60),
    ("checkpoint, a page half written", rule("kill-half", "write", "db"), 3),
    ("checkpoint, before its sync", rule("kill-before", "sync", "db"), 1),
    ("checkpoint, after its sync", rule("kill-after", "sync", "db"), 1),
    ("checkpoint, before the WAL is cut", rule("kill-before", "cut", "wal"), 1),
    ("checkpoint, after the WAL is cut", rule("kill-after", "cut", "wal"), 1),
];

/// The signal of `kill -9`.
const KILLED: i32 = 9;
/// Events that a checkpoint at the next opening finds in the WAL.
const WAL_EVENTS: u64 = 10;

const fn rule(act: &'static str, call: &'static str, kind: &'static str) -> Rule {
    Rule { act, call, kind, nth: 1 }
}

#[test]
fn soak_killed_at_each_point_nothing_is_lost_doubled_or_missing() {
    let times = count(3, 50);
    let clean = Place::new();
    let mut place = Place::on(clean.data());
    let mut survived = survive(&clean, Crowd::SMALL, Chance::of(23), |stage, chance| {
        for _ in 0..times {
            for (name, rule, nth_max) in POINTS {
                let rule = Rule { nth: chance.between(1, nth_max), ..rule };
                die_at(&clean, &mut place, stage, name, rule);
            }
        }
    });
    Row::new("kill -9 at each point", format!("{} points, {times} times each", POINTS.len()))
        .counts(survived.counts)
        .times("recovery", &mut survived.recoveries)
        .check();
}

/// Ends a server at the n-th call. Checkpoints happen when it opens the log, all else while it serves.
fn die_at(clean: &Place, place: &mut Place, stage: &Stage, name: &str, rule: Rule) {
    let trigger = shim::load(place, rule);
    let running = if rule.kind == "db" || rule.call == "cut" {
        let server = stage.begin(clean);
        // Answers to what was sent again leave nothing in the WAL, so they do not count.
        let goal = head(&server) + WAL_EVENTS;
        eventually("more events are stored", || (head(&server) >= goal).then_some(()));
        server.kill();
        stage.gone();
        trigger.arm();
        place.start(&["--json", "serve", "--listen", "127.0.0.1:0"])
    } else {
        let server = place.serve(&[]);
        stage.admit(&server);
        trigger.arm();
        server.running
    };
    eventually(name, || trigger.was_hit().then_some(()));
    stage.gone();
    assert_eq!(running.end().0.signal(), Some(KILLED), "{name}: {rule:?}");
}

#[test]
fn soak_killed_at_each_call_while_a_log_is_made_the_next_start_makes_it() {
    let step = count(4, 1);
    let mut kills = 0;
    for nth in (0..).map(|number| 1 + number * step) {
        let mut place = Place::new();
        let trigger = shim::load(&mut place, Rule { act: "kill-half", call: "any", kind: "file", nth });
        trigger.arm();
        let ran = publish(&place);
        if !trigger.was_hit() {
            assert_eq!(ran.code, Some(0), "{ran:?}");
            break;
        }
        assert_eq!(ran.code, None, "{ran:?}");
        shim::unload(&mut place);
        // The event of the process that died may be there; then it is not stored again.
        let stored = publish(&place);
        assert_eq!((stored.code, log_of(&place).len()), (Some(0), 1), "{stored:?}");
        kills += 1;
    }
    assert!(kills > 10, "{kills}");
    Row::new("kill -9 at each call while a log is made", format!("{kills} calls, every {step}. one")).check();
}

/// Publishes one event, each time the same, and makes the log if there is none.
pub(super) fn publish(place: &Place) -> Ran {
    let event = json!({
        "event_id": "01KAW9E3R5Y6Z7M8N9P0Q1R2S3", "event_type": "PlanStarted", "plan_id": "p",
        "timestamp": "2026-11-22T12:00:00Z", "payload": {"name": "p"},
    });
    place.run_with(&["publish", "-"], &event.to_string())
}
