//! A clock that jumps, also before 1970, while a server runs and between two of them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::chance::{Chance, count, skip};
use super::crowd::{Crowd, survive};
use super::row::Row;
use crate::harness::Place;

/// What `faketime` is told: a jump relative to the real time, or a time that goes on from there.
const TIMES: [&str; 5] = ["+0", "+1h", "-1h", "+400d", "@1970-01-01 00:00:01"];
/// HTTP has no `Date` for it: a server that runs goes on, and none is started.
const BEFORE_1970: &str = "@1969-06-01 00:00:00";
const EVENTS_BETWEEN: u64 = 30;
const CONNECTIONS: usize = 50;

#[test]
fn soak_clock_that_jumps_changes_no_order_and_no_recorded_time_falls() {
    let Some(library) = library() else {
        skip("clock jumps", "libfaketime is missing (Debian: faketime)");
        return;
    };
    let rounds = count(1, 20);
    let clean = Place::new();
    let mut place = Place::on(clean.data());
    let time = place.file("time", TIMES[0]);
    place.set_variable("LD_PRELOAD", library);
    place.set_variable("FAKETIME_TIMESTAMP_FILE", &time);
    place.set_variable("FAKETIME_NO_CACHE", "1");
    // As on a real machine: timers do not follow a clock that is set.
    place.set_variable("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let set = |text: &str| std::fs::write(&time, text).expect("a file");
    let survived = survive(&clean, Crowd::SMALL, Chance::of(27), |stage, _| {
        for _ in 0..rounds {
            let server = stage.begin(&place);
            for text in TIMES.into_iter().chain([BEFORE_1970]) {
                set(text);
                stage.go_on(EVENTS_BETWEEN);
            }
            // On whatever thread, also one that has answered nobody yet.
            for _ in 0..CONNECTIONS {
                assert_eq!(server.http.get("/readyz").status, 200);
            }
            server.kill();
            stage.gone();
            for text in TIMES {
                set(text);
                let server = stage.begin(&place);
                stage.go_on(EVENTS_BETWEEN);
                server.kill();
                stage.gone();
            }
        }
    });
    let recorded = recorded_at(&clean);
    assert!(recorded.is_sorted(), "recorded times fall");
    assert!(
        recorded.first().map(|time| year(time)) < recorded.last().map(|time| year(time)),
        "the clock of the server does not jump"
    );
    set(BEFORE_1970);
    publish_before_1970(&place);
    let refused = place.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("clock shows 1969-06-01"), "{refused:?}");
    Row::new(
        "clock jumps: ±1 h, +400 d, to 1970 and before",
        format!("{} jumps", rounds * (2 * TIMES.len() as u64 + 1)),
    )
    .counts(survived.counts)
    .figure("recorded_at falls 0")
    .check();
}

fn year(time: &str) -> &str {
    time.split('-').next().unwrap_or_default()
}

/// A command stores an event behind all others, and its recorded time does not fall either.
fn publish_before_1970(place: &Place) {
    let before = recorded_at(place);
    let event = json!({"event_type": "PlanStarted", "plan_id": "moon", "payload": {"name": "moon"}});
    let ran = place.run_with(&["publish", "-"], &event.to_string());
    let recorded = recorded_at(place);
    assert_eq!((ran.code, recorded.len()), (Some(0), before.len() + 1), "{ran:?}");
    assert!(recorded.is_sorted(), "recorded times fall");
}

/// RFC 3339 in UTC sorts as text within the years that are used here.
fn recorded_at(place: &Place) -> Vec<String> {
    let ran = place.run(&["events", "--json"]);
    let line = |line: &str| -> Value { serde_json::from_str(line).expect("an event in JSON") };
    let time = |event: Value| event["recorded_at"].as_str().expect("a time").to_owned();
    ran.text(0).lines().map(line).map(time).collect()
}

/// The form of libfaketime for programs with threads.
fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    let candidates = folders.chain([Path::new("/usr/lib").to_owned()]);
    candidates.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
}
