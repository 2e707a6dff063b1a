//! `kill -9` while publishers write and clients read, and what is left of it.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::faults::chance::{Chance, count};
use crate::faults::crowd::{Crowd, Stage, survive};
use crate::faults::row::Row;
use crate::harness::Place;

/// Acknowledged events between two kills, at most.
const LIFE_EVENTS_MAX: u64 = 300;
/// A server that is so slow to acknowledge is killed all the same.
const LIFE_MAX: Duration = Duration::from_millis(500);
/// Once in so many lives the kill does not wait for a server that answers.
const EARLY_KILL_ONCE_IN: u64 = 8;
/// Latest instant of such a kill, in microseconds after the start.
const EARLY_KILL_US_MAX: u64 = 60_000;

#[test]
fn soak_killed_while_8_write_and_20_read_nothing_is_lost_doubled_or_missing() {
    let kills = count(100, 1_000);
    let place = Place::new();
    let mut survived = survive(&place, Crowd::LARGE, Chance::of(20), |stage, chance| {
        (0..kills).for_each(|_| live_and_die(&place, stage, chance));
    });
    assert!(survived.counts.acked as u64 > kills && survived.counts.delivered > survived.counts.acked);
    Row::new("kill -9 at a random instant", format!("{kills} kills"))
        .counts(survived.counts)
        .times("recovery", &mut survived.recoveries)
        .check();
}

/// Ends at any instant; now and then before the server answers.
fn live_and_die(place: &Place, stage: &Stage, chance: &mut Chance) {
    if chance.once_in(EARLY_KILL_ONCE_IN) {
        let begun = Instant::now();
        let running = place.start(&["--json", "serve", "--listen", "127.0.0.1:0"]);
        let instant = Duration::from_micros(chance.between(0, EARLY_KILL_US_MAX));
        std::thread::sleep(instant.saturating_sub(begun.elapsed()));
        running.signal(Signal::KILL);
        running.end();
        return;
    }
    let server = stage.begin(place);
    stage.wait_for(chance.between(1, LIFE_EVENTS_MAX), LIFE_MAX);
    server.kill();
    stage.gone();
}
