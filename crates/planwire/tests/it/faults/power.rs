//! The power of the disk is cut below a server under load.
//!
//! `kill -9` cannot show a missing sync, since the page cache survives it. Here ext4 lies in a file, is told to write
//! nothing any more, and is mounted anew: what was not synced is gone. Publishers and readers live elsewhere.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
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
/// Rows that the other program is given time to write before a cut, at least.
const ROWS_MIN: usize = 1_000;
/// A program that says the number of each row once SQLite has committed it, or how many rows there are. There are no checkpoints,
/// which sync the WAL with `NORMAL` too: a cut right behind one would find nothing to take.
const OTHER: &str = "import itertools, sqlite3, sys
log = sqlite3.connect(sys.argv[1], isolation_level=None)
log.execute('PRAGMA journal_mode=WAL')
log.execute('PRAGMA wal_autocheckpoint=0')
log.execute('PRAGMA synchronous=' + sys.argv[2])
log.execute('CREATE TABLE IF NOT EXISTS row (id INTEGER PRIMARY KEY)')
count = log.execute('SELECT count(*) FROM row').fetchone()[0]
print(count, flush=True)
for id in itertools.count(count + 1) if sys.argv[3] == 'write' else []:
    log.execute('INSERT INTO row VALUES (?)', [id])
    print(id, flush=True)";

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
    Row::new("control: the same with syncs put off as by synchronous=NORMAL", format!("{cuts} cuts"))
        .counts(counts)
        .figure("must lose")
        .tell();
    assert!(counts.broken.lost > 0, "the cut does not reach the disk: {}", counts.line());
}

/// The same cuts below SQLite itself, as anybody sets it: they take what was not synced, and nothing else.
#[test]
fn soak_power_cut_below_sqlite_loses_rows_of_another_program_with_normal_and_none_with_full() {
    let cuts = count(3, 20);
    let Some(disk) = Mounted::ext4("power cut, another program", DISK_MIB) else { return };
    let lost = |setting: &str, row: &'static str, figure: &str| {
        let database = disk.point().join(format!("{setting}.db"));
        let (mut acked, mut lost) = (0, 0);
        for _ in 0..cuts {
            let (committed, found) = cut_while_another_program_writes(&disk, &database, setting);
            acked += committed;
            lost += committed.saturating_sub(found);
        }
        Row::new(row, format!("{cuts} cuts"))
            .figure(format!("committed {acked}, lost {lost}"))
            .figure(figure)
            .tell();
        lost
    };
    let full = lost("FULL", "power cut below another program, synchronous=FULL", "must lose none");
    assert_eq!(full, 0, "the cut takes what was synced");
    let normal = lost("NORMAL", "control: another program, synchronous=NORMAL", "must lose");
    assert!(normal > 0, "the cut does not reach the disk");
}

/// Rows that were committed when the power was cut, and that are there afterwards.
fn cut_while_another_program_writes(disk: &Mounted, database: &Path, setting: &str) -> (usize, usize) {
    let start = |what: &str| {
        let mut python = Command::new("python3");
        python.args(["-c", OTHER]).arg(database).args([setting, what]).stdout(Stdio::piped());
        let mut program = python.spawn().expect("Python starts");
        let said = BufReader::new(program.stdout.take().expect("standard output is piped"));
        let numbers = said.lines().map_while(|line| line.ok()?.parse::<usize>().ok());
        (program, numbers)
    };
    let (mut program, mut numbers) = start("write");
    let before = numbers.next().expect("what there is");
    disk.sync();
    let written = numbers.by_ref().take(ROWS_MIN).last();
    assert_eq!(written, Some(before + ROWS_MIN));
    disk.cut_power(&[program.id()]);
    let acked = numbers.last().unwrap_or(before + ROWS_MIN);
    program.wait().expect("it has ended");
    disk.remount();
    let (mut program, mut numbers) = start("count");
    let found = numbers.next().expect("what there is");
    program.wait().expect("it has ended");
    (acked - before, found.saturating_sub(before))
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
