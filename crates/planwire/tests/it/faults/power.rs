//! The power of the disk is cut below a server under load.
//!
//! `kill -9` cannot show a missing sync, since the page cache survives it. Here ext4 lies in a file, is told to write
//! nothing any more, and is mounted anew: what was not synced is gone. Publishers and readers live elsewhere.

use std::time::Duration;

use super::chance::{Chance, count};
use super::crowd::{Crowd, Stage, Survived, survive};
use super::mount::Mounted;
use super::row::Row;
use super::shim::{self, Rule};
use crate::harness::Place;

/// Room for all events of the soak run, 1 KiB each with all their indexes.
const DISK_MIB: u64 = 512;
const LIFE_EVENTS_MAX: u64 = 300;
const LIFE_MAX: Duration = Duration::from_millis(700);

#[test]
fn soak_power_cut_loses_nothing_that_was_acknowledged_or_shown() {
    let cuts = count(20, 200);
    let Some(disk) = Mounted::ext4("power cut", DISK_MIB) else { return };
    let place = Place::on(disk.point().join("data"));
    let mut survived = cut_again_and_again(&place, &disk, cuts);
    assert!(survived.counts.acked as u64 > cuts && survived.counts.delivered > survived.counts.acked);
    Row::new("power cut below SQLite (ext4)", format!("{cuts} cuts"))
        .counts(survived.counts)
        .times("recovery", &mut survived.recoveries)
        .check();
}

/// Without this the test above would prove nothing.
#[test]
fn soak_power_cut_loses_events_where_syncs_are_put_off_as_synchronous_normal_does() {
    let cuts = count(3, 20);
    let Some(disk) = Mounted::ext4("power cut, the control", DISK_MIB) else { return };
    let mut place = Place::on(disk.point().join("data"));
    shim::load(&mut place, Rule::SYNCHRONOUS_NORMAL);
    let Survived { counts, .. } = cut_again_and_again(&place, &disk, cuts);
    Row::new("control: the same with synchronous=NORMAL", format!("{cuts} cuts"))
        .counts(counts)
        .figure("must lose")
        .tell();
    assert!(counts.broken.lost > 0, "the cut does not reach the disk: {}", counts.line());
}

fn cut_again_and_again(place: &Place, disk: &Mounted, cuts: u64) -> Survived {
    survive(place, Crowd::LARGE, Chance::of(22), |stage: &Stage, chance| {
        // The plans themselves are certain, so that events of them can be lost.
        let server = stage.begin(place);
        stage.go_on(LIFE_EVENTS_MAX);
        assert_eq!(server.stop().code(), Some(0));
        for _ in 0..cuts {
            let server = stage.begin(place);
            stage.wait_for(chance.between(1, LIFE_EVENTS_MAX), LIFE_MAX);
            disk.cut_power(&[server.running.pid()]);
            server.running.end();
            stage.gone();
            disk.remount();
        }
    })
}
