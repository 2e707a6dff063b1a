//! Servers that are asked to end: under load, twice, and before they answer.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::chance::{Chance, count, percentile};
use super::crowd::{Crowd, Stage, survive};
use super::row::Row;
use crate::harness::Place;

const LIFE_EVENTS_MAX: u64 = 300;
const LIFE_MAX: Duration = Duration::from_millis(500);
/// Latest instant of a signal to a server that starts, in microseconds after its start.
const STARTING_US_MAX: u64 = 60_000;
/// Latest instant of a second signal, in microseconds after the first.
const AGAIN_US_MAX: u64 = 3_000;
const TERM: i32 = 15;

/// When a server is asked to end.
#[derive(Clone, Copy)]
enum When {
    UnderLoad,
    Twice,
    Starting,
}

#[test]
fn soak_asked_to_end_while_8_write_and_20_read_nothing_is_lost_doubled_or_missing() {
    let rounds = count(4, 50);
    let place = Place::new();
    let mut ends = Vec::new();
    let survived = survive(&place, Crowd::LARGE, Chance::of(21), |stage, chance| {
        for _ in 0..rounds {
            for when in [When::UnderLoad, When::Twice, When::Starting] {
                ends.push(live_and_end(&place, stage, chance, when));
            }
        }
    });
    let slowest = percentile(&mut ends, 100).as_millis();
    Row::new("SIGTERM under load, twice, while it starts", format!("{rounds} times each"))
        .counts(survived.counts)
        .times("end", &mut ends)
        .figure(format!("slowest {slowest} ms"))
        .check();
}

/// One life of a server that a service manager ends; gives the time that its end took.
fn live_and_end(place: &Place, stage: &Stage, chance: &mut Chance, when: When) -> Duration {
    let running = if matches!(when, When::Starting) {
        let running = place.start(&["--json", "serve", "--listen", "127.0.0.1:0"]);
        std::thread::sleep(Duration::from_micros(chance.between(0, STARTING_US_MAX)));
        running
    } else {
        let server = stage.begin(place);
        stage.wait_for(chance.between(1, LIFE_EVENTS_MAX), LIFE_MAX);
        server.running
    };
    let asked = Instant::now();
    running.signal(Signal::TERM);
    if matches!(when, When::Twice) {
        std::thread::sleep(Duration::from_micros(chance.between(0, AGAIN_US_MAX)));
        running.signal(Signal::TERM);
    }
    let (status, _) = running.end();
    // Before it catches signals it ends by this one.
    let by_signal = matches!(when, When::Starting) && status.signal() == Some(TERM);
    assert!(status.code() == Some(0) || by_signal, "{status}");
    stage.gone();
    asked.elapsed()
}
