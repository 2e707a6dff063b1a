//! The disk of PostgreSQL is full, and has room again: that of its tables, or that of everything.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::author::{Author, follow};
use super::super::chance::count;
use super::super::checker::Counts;
use super::super::crowd::kind_of;
use super::super::mount::Mounted;
use super::super::row::Row;
use super::Pair;
use crate::cluster::{Cluster, Disks};
use crate::harness::{Server, eventually};

/// The cluster, 28 MiB, and some room.
const DISK_MIB: u64 = 64;
/// PostgreSQL's own log and some room.
const LOG_DISK_MIB: u64 = 24;
/// What is left to the log.
const FREE_BYTES: u64 = 3 << 20;
const EVENT_BYTES: usize = 50_000;
const EVENTS_MAX: u64 = 500;

#[test]
fn soak_postgres_without_space_for_tables_is_told_as_full_and_writing_resumes_by_itself() {
    let rounds = count(1, 10);
    let mut sum = Sum::default();
    for _ in 0..rounds {
        let test = "postgres space of tables";
        let (Some(disk), Some(wal)) = (Mounted::tmpfs(test, DISK_MIB), Mounted::tmpfs(test, DISK_MIB)) else {
            return;
        };
        let disks = Disks { data: Some(&disk.point()), wal: Some(&wal.point()) };
        let Some(mut cluster) = Cluster::start_on(test, disks, "") else { return };
        fill_up(&mut cluster, &disk, &["store-full"], &mut sum);
    }
    sum.row("disk of PostgreSQL's tables full (tmpfs)", rounds).check();
}

/// A server that cannot write its own log stops at once, and may end: then somebody has to start it again.
#[test]
fn soak_postgres_without_space_for_its_own_log_is_told_as_such_and_writing_resumes_with_it() {
    let rounds = count(1, 10);
    let mut sum = Sum::default();
    for _ in 0..rounds {
        let test = "postgres space of the log";
        let Some(disk) = Mounted::tmpfs(test, LOG_DISK_MIB) else { return };
        let disks = Disks { data: None, wal: Some(&disk.point()) };
        let Some(mut cluster) = Cluster::start_on(test, disks, "") else { return };
        fill_up(&mut cluster, &disk, &["store-unreachable", "outcome-unknown"], &mut sum);
    }
    sum.row("disk of PostgreSQL's own log full (tmpfs)", rounds).check();
}

/// What all rounds found.
#[derive(Default)]
struct Sum {
    counts: Counts,
    times: Vec<Duration>,
    kinds: Vec<String>,
    restarts: usize,
}

impl Sum {
    fn row(mut self, fault: &'static str, rounds: u64) -> Row {
        self.kinds.sort();
        self.kinds.dedup();
        Row::new(fault, format!("{rounds} times"))
            .counts(self.counts)
            .times("acknowledged again after there is space", &mut self.times)
            .figure(format!("told as {}; PostgreSQL ended {} times", self.kinds.join(", "), self.restarts))
    }
}

/// Publishes until the disk is full, reads and follows meanwhile, and goes on when there is space.
fn fill_up(cluster: &mut Cluster, disk: &Mounted, kinds: &[&str], sum: &mut Sum) {
    let pair = Pair::on(cluster);
    let server = pair.0[0].serve(&[]);
    // Payloads lie there as they are, so that they take space.
    cluster.sql("ALTER TABLE planwire.plan_events ALTER payload SET STORAGE EXTERNAL");
    let mut author = Author::begin(&server);
    let ballast = disk.point().join("ballast");
    write_ballast(&ballast);
    let kind = refusal(&mut author, &server);
    assert!(kinds.contains(&kind.as_str()), "{kind}");
    let head = author.head();
    let follow = || follow(&server, Some(head + 1));
    // A database that is away shows nothing.
    let reader = (kind == "store-full").then(|| {
        assert_eq!(server.http.get("/v1/events?limit=1000").status, 200);
        follow()
    });
    sum.kinds.push(kind);
    std::fs::remove_file(&ballast).expect("the ballast is there");
    let freed = Instant::now();
    if eventually("a server that lives, or has ended", || has_ended(cluster)) {
        cluster.run();
        sum.restarts += 1;
    }
    eventually("the first event that is stored again", || (author.ask_again(&server) == 200).then_some(()));
    sum.times.push(freed.elapsed());
    let reading = reader.unwrap_or_else(follow).join().expect("a reader");
    assert!(server.stop().success());
    pair.verify();
    sum.counts.add(author.check(pair.place(), &[reading]));
}

/// Publishes until an event is refused; the kind of that refusal.
fn refusal(author: &mut Author, server: &Server) -> String {
    let refused = (0..EVENTS_MAX).find_map(|_| match author.note(server, EVENT_BYTES).expect("an answer") {
        (200, _) => None,
        (status, answer) => Some((status, kind_of(&answer))),
    });
    let (status, kind) = refused.expect("the disk is small");
    assert_eq!(status, 503, "{kind}");
    kind
}

/// Takes all space, and gives a little back.
fn write_ballast(path: &Path) {
    let mut file = std::fs::File::create(path).expect("a file");
    let mebibyte = vec![0; 1 << 20];
    while file.write_all(&mebibyte).is_ok() {}
    let length = file.metadata().expect("a file").len();
    file.set_len(length - FREE_BYTES).expect("a shorter file");
}

/// Whether the server has ended; none while it is neither here nor there.
fn has_ended(cluster: &mut Cluster) -> Option<bool> {
    if cluster.has_ended() {
        return Some(true);
    }
    cluster.try_sql("SELECT 1").ok().map(|_| false)
}
