//! A server that stops (`SIGSTOP`) while it holds the head: the other one goes on, and it goes on itself when it may.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::super::chance::{Chance, count};
use super::super::crowd::{Stage, survive_on};
use super::super::row::Row;
use super::{CROWD, Pair, assert_streams_stayed, refusals_of};
use crate::cluster::{Cluster, SqlSession};
use crate::harness::{PATIENCE, Server};

const EVENTS_BETWEEN: u64 = 50;
/// A session that waits for its client within a transaction: it holds the head.
const HOLDER: &str = "SELECT pid, xact_start FROM pg_stat_activity \
    WHERE application_name LIKE 'planwire %' AND state = 'idle in transaction'";
/// Longer than a server that runs holds the head between two of its statements.
const HELD: Duration = Duration::from_millis(200);

#[test]
fn soak_postgres_head_held_by_a_server_that_stopped_is_let_go_and_nothing_is_doubled_when_it_goes_on() {
    let times = count(2, 30);
    let Some(cluster) = Cluster::start("postgres half dead") else { return };
    let pair = Pair::on(&cluster);
    let (mut back, mut refused, mut tries) = (Vec::new(), String::new(), 0);
    let survived = survive_on(pair.place(), CROWD, Chance::of(8), |stage, chance| {
        let servers = pair.begin(stage);
        let mut session = cluster.session();
        for _ in 0..times {
            stage.go_on(EVENTS_BETWEEN);
            tries += stop_with_head(stage, &servers[0], &mut session, chance);
            // Only the other one can.
            back.push(stage.go_on(1));
            stage.go_on(EVENTS_BETWEEN);
            servers[0].running.signal(Signal::CONT);
            stage.go_on(EVENTS_BETWEEN);
        }
        refused = refusals_of(stage);
        servers
    });
    pair.verify();
    assert_streams_stayed(&survived, CROWD);
    Row::new("server stopped (SIGSTOP) with the head in hand", format!("{times} times, of {tries} stops"))
        .counts(survived.counts)
        .times("acknowledged by the other one after", &mut back)
        .figure(refused)
        .check();
}

/// Stops a server again and again until it holds the head; gives the number of tries.
fn stop_with_head(stage: &Stage, server: &Server, session: &mut SqlSession, chance: &mut Chance) -> u64 {
    let begun = Instant::now();
    let mut tries = 0;
    while begun.elapsed() < PATIENCE {
        tries += 1;
        stage.wait_for(chance.between(1, 20), Duration::from_millis(50));
        server.running.signal(Signal::STOP);
        let holders = session.sql(HOLDER);
        if !holders.is_empty() {
            std::thread::sleep(HELD);
            // The other one has let go meanwhile.
            let still = session.sql(HOLDER);
            if holders.lines().any(|holder| still.lines().any(|line| line == holder)) {
                return tries;
            }
        }
        server.running.signal(Signal::CONT);
    }
    panic!("the server never holds the head");
}
