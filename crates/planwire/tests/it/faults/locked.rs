//! Another program holds SQLite's own lock on the log's database.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::chance::{Chance, count};
use super::crowd::{Crowd, Stage, survive};
use super::row::Row;
use crate::harness::{Place, Server};

/// Takes the lock, says so, and holds it until it is told to let go.
const HOLD: &str = "import sqlite3, sys
log = sqlite3.connect(sys.argv[1], isolation_level=None)
log.execute('BEGIN IMMEDIATE')
print('held', flush=True)
sys.stdin.readline()
log.execute('ROLLBACK')";
const EVENTS_BETWEEN: u64 = 20;
const READ_EVERY: Duration = Duration::from_millis(20);
/// More threads than a server has that does nothing, by those that read and publish for clients.
const THREADS_MORE_MAX: usize = 16;

/// A process that holds the lock until it is dropped.
struct Holder(Child);

impl Holder {
    fn take(place: &Place) -> Self {
        let mut python = Command::new("python3");
        python.args(["-c", HOLD]).arg(place.database()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = Self(python.spawn().expect("Python starts"));
        let mut said = String::new();
        let stdout = holder.0.stdout.take().expect("standard output is piped");
        BufReader::new(stdout).read_line(&mut said).expect("it says that it holds the lock");
        assert_eq!(said, "held\n");
        holder
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.0.stdin.take() {
            // It is gone already if this fails.
            let _ = stdin.write_all(b"\n");
        }
        let _ = self.0.wait();
    }
}

#[test]
fn soak_database_that_another_program_locks_refuses_in_time_and_takes_events_afterwards() {
    let seconds: &[u64] = if count(0, 1) == 0 { &[1, 6] } else { &[1, 5, 30] };
    let place = Place::new();
    let (mut resumed, mut refused, mut slowest_ms, mut threads) = (Vec::new(), 0, 0, 0);
    let survived = survive(&place, Crowd::LARGE, Chance::of(24), |stage: &Stage, _| {
        let server = stage.begin(&place);
        for seconds in seconds {
            stage.go_on(EVENTS_BETWEEN);
            let before = threads_of(&server);
            let holder = Holder::take(&place);
            read_for(&server, Duration::from_secs(*seconds));
            threads = threads.max(threads_of(&server).saturating_sub(before));
            drop(holder);
            resumed.push(stage.go_on(1));
        }
        (refused, slowest_ms) = stage.refused();
        assert_eq!(server.stop().code(), Some(0));
        stage.gone();
    });
    assert!(refused > 0, "nobody was refused while the lock was held");
    assert!(threads < THREADS_MORE_MAX, "{threads} threads more");
    Row::new("database locked by another program", format!("{seconds:?} s"))
        .counts(survived.counts)
        .figure(format!("{refused} requests refused, none waited longer than {slowest_ms} ms"))
        .figure(format!("{threads} threads more"))
        .times("taken again after", &mut resumed)
        .check();
}

/// Reads until the time is over: readers do not wait for the lock.
fn read_for(server: &Server, time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        assert_eq!(server.http.get("/v1/events?limit=1").status, 200);
        std::thread::sleep(READ_EVERY);
    }
}

fn threads_of(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", server.running.pid())).expect("a process").count()
}
