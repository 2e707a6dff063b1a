//! Sessions of PostgreSQL are ended and killed, at random and in the middle of a commit.
//!
//! A commit waits in its middle while a standby that nobody has is to confirm it: by then it is on the disk, and its
//! client has not been told. Whoever ends the session there makes a commit of which nobody was told.

use super::super::chance::{Chance, count};
use super::super::crowd::survive_on;
use super::super::row::Row;
use super::{CROWD, Pair, assert_streams_stayed, refusals_of};
use crate::cluster::{Cluster, send};
use crate::harness::eventually;

const EVENTS_MAX: u64 = 60;
/// Sessions of ours that append at this moment, or did last.
const WRITERS: &str =
    "FROM pg_stat_activity WHERE application_name LIKE 'planwire %' AND query LIKE 'WITH moved%'";

/// How a session ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// `pg_terminate_backend`.
    Terminated,
    /// `kill -9`, after which PostgreSQL ends all others and recovers.
    Killed,
}

#[test]
fn soak_postgres_sessions_ended_anywhere_lose_and_double_nothing() {
    let rounds = count(3, 60);
    let Some(cluster) = Cluster::start("postgres sessions") else { return };
    let pair = Pair::on(&cluster);
    let (mut back, mut refused) = (Vec::new(), String::new());
    let survived = survive_on(pair.place(), CROWD, Chance::of(13), |stage, chance| {
        let servers = pair.begin(stage);
        stage.go_on(1);
        for _ in 0..rounds {
            for end in [End::Terminated, End::Killed] {
                stage.go_on(chance.between(1, EVENTS_MAX));
                end_writer(&cluster, end);
                back.push(stage.go_on(1));
                stage.go_on(chance.between(1, EVENTS_MAX));
                end_within_commit(&cluster, end);
                back.push(stage.go_on(1));
            }
            // All at once: those that write, read, tell and listen.
            cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'planwire %'");
            back.push(stage.go_on(1));
        }
        refused = refusals_of(stage);
        servers
    });
    pair.verify();
    assert_streams_stayed(&survived, CROWD);
    Row::new(
        "sessions of PostgreSQL ended or killed",
        format!("{} times, {} within a commit", rounds * 5, rounds * 2),
    )
    .counts(survived.counts)
    .times("next acknowledgement after", &mut back)
    .figure(refused)
    .check();
}

/// Ends a session that writes, at whatever it is.
fn end_writer(cluster: &Cluster, end: End) {
    let writer = eventually("a session that writes", || {
        cluster.try_sql(&format!("SELECT pid {WRITERS} LIMIT 1")).ok()?.parse().ok()
    });
    end_session(cluster, writer, end);
}

/// Ends a session between the commit and its answer.
fn end_within_commit(cluster: &Cluster, end: End) {
    // Those that were killed before may be recovering.
    eventually("a server", || cluster.try_sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").ok());
    cluster.sql("SELECT pg_reload_conf()");
    let waiting = "SELECT pid FROM pg_stat_activity \
        WHERE application_name LIKE 'planwire %' AND wait_event = 'SyncRep' LIMIT 1";
    let writer = eventually("a commit that waits", || cluster.try_sql(waiting).ok()?.parse().ok());
    end_session(cluster, writer, end);
    eventually("a server", || cluster.try_sql("ALTER SYSTEM RESET synchronous_standby_names").ok());
    eventually("a server", || cluster.try_sql("SELECT pg_reload_conf()").ok());
}

fn end_session(cluster: &Cluster, process: u32, end: End) {
    match end {
        End::Terminated => drop(cluster.sql(&format!("SELECT pg_terminate_backend({process}, 5000)"))),
        End::Killed => assert!(send("KILL", &[process]), "the session is there"),
    }
}
