//! The power of PostgreSQL's disk is cut while two servers write through it.
//!
//! The servers are on another machine, as it were: they stay, with their streams and what they know of the log.

use std::time::Duration;

use super::super::chance::{Chance, count};
use super::super::crowd::survive_on;
use super::super::mount::Mounted;
use super::super::row::Row;
use super::{CROWD, Pair, assert_streams_stayed};
use crate::cluster::{Cluster, Disks};

/// Room for the cluster and all events of the soak run.
const DISK_MIB: u64 = 1_024;
const LIFE_EVENTS_MAX: u64 = 300;
const LIFE_MAX: Duration = Duration::from_millis(700);
/// Commits that wait for no disk are written by the next 200 ms at the latest, by PostgreSQL's own writer.
const CONTROL_LIFE: Duration = Duration::from_millis(500);
/// Whatever the server, the database and the role say, a session of ours waits for the disk.
const COMMITS_DO_NOT_WAIT: [&str; 4] = [
    "ALTER SYSTEM SET synchronous_commit = off",
    "ALTER DATABASE postgres SET synchronous_commit = off",
    "ALTER ROLE planwire SET synchronous_commit = off",
    "SELECT pg_reload_conf()",
];

/// A cluster on a disk whose power can be cut. It ends before its disk goes.
struct Machine {
    cluster: Cluster,
    disk: Mounted,
}

impl Machine {
    fn start(test: &str, settings: &[&str]) -> Option<Self> {
        let disk = Mounted::ext4(test, DISK_MIB)?;
        let cluster = Cluster::start_on(test, Disks { data: Some(&disk.point()), wal: None }, "")?;
        settings.iter().for_each(|sql| drop(cluster.sql(sql)));
        // Its files were copied, and nobody has waited for them.
        disk.sync();
        Some(Self { cluster, disk })
    }

    /// Loses its power, and is started again.
    fn cut_power(&mut self) {
        let processes = self.cluster.hold();
        self.disk.cut_power(&processes);
        self.cluster.was_killed(&processes);
        self.disk.remount();
        self.cluster.run();
    }
}

fn cut_again_and_again(machine: &mut Machine, fault: &'static str, cuts: u64) {
    let pair = Pair::on(&machine.cluster);
    let mut back = Vec::new();
    let survived = survive_on(pair.place(), CROWD, Chance::of(4), |stage, chance| {
        let servers = pair.begin(stage);
        stage.go_on(1);
        for _ in 0..cuts {
            stage.wait_for(chance.between(1, LIFE_EVENTS_MAX), LIFE_MAX);
            machine.cut_power();
            back.push(stage.go_on(1));
        }
        servers
    });
    pair.verify();
    assert_streams_stayed(&survived, CROWD);
    Row::new(fault, format!("{cuts} cuts"))
        .counts(survived.counts)
        .times("from being back to the first acknowledgement", &mut back)
        .check();
}

#[test]
fn soak_power_cut_below_postgres_loses_nothing_that_was_acknowledged_or_shown() {
    let Some(mut machine) = Machine::start("postgres power", &[]) else { return };
    cut_again_and_again(&mut machine, "power cut below PostgreSQL (ext4)", count(5, 200));
}

#[test]
fn soak_power_cut_below_postgres_loses_nothing_where_commits_do_not_wait_but_those_of_others() {
    let test = "postgres power, the control";
    let Some(mut machine) = Machine::start(test, &COMMITS_DO_NOT_WAIT) else { return };
    cut_again_and_again(&mut machine, "power cut below PostgreSQL, synchronous_commit=off", count(3, 50));
    let cuts = count(3, 20);
    let (acked, lost) = lose_rows_of_others(&mut machine, cuts);
    Row::new("control: another client of PostgreSQL, synchronous_commit=off", format!("{cuts} cuts"))
        .figure(format!("acked {acked}, lost {lost}"))
        .figure("must lose")
        .tell();
    assert!(lost > 0, "the cut does not reach the disk");
}

/// A client that is content with what the server is set to; gives how much it was told is stored, and is not there.
fn lose_rows_of_others(machine: &mut Machine, cuts: u64) -> (usize, usize) {
    machine.cluster.sql("CREATE TABLE others (id bigint)");
    machine.cluster.sql("CHECKPOINT");
    let (mut acked, mut lost) = (0_usize, 0);
    for _ in 0..cuts {
        let mut session = machine.cluster.session();
        let mut insert =
            move |id: &usize| session.try_sql(&format!("INSERT INTO others VALUES ({id})")).is_some();
        let writer = std::thread::spawn(move || (acked + 1..).take_while(|id| insert(id)).last());
        std::thread::sleep(CONTROL_LIFE);
        machine.cut_power();
        let until = writer.join().expect("a writer").unwrap_or(acked);
        let count = "SELECT count(DISTINCT id) FROM others WHERE";
        let found = machine.cluster.sql(&format!("{count} id > {acked} AND id <= {until}"));
        lost += until - acked - found.parse::<usize>().expect("a number");
        acked = until;
    }
    (acked, lost)
}
