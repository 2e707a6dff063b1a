//! Connections that are cut before a request arrives, between commit and answer, and for good; and a route that is lost.

use std::time::Duration;

use super::super::chance::{Chance, count};
use super::super::crowd::{Stage, survive_on};
use super::super::row::Row;
use super::{CROWD, Pair, assert_streams_stayed, refusals_of};
use crate::cluster::Cluster;
use crate::harness::eventually;
use crate::proxy::{Mode, Proxy};

const EVENTS_MAX: u64 = 20;
/// Answers that are cut for good, until one of them is that of a commit.
const TRIES_MAX: usize = 5;
/// How long a route is lost: connections over it are dead afterwards.
const ROUTE_LOST: Duration = Duration::from_secs(1);

#[test]
fn soak_postgres_connections_cut_between_commit_and_answer_lose_and_double_nothing() {
    let cuts = count(40, 1_000);
    let Some(cluster) = Cluster::start("postgres answers") else { return };
    let proxy = Proxy::start(cluster.port());
    // The other server writes past the proxy.
    let pair = Pair::at([cluster.url_at(proxy.port(), "planwire"), cluster.url("planwire")]);
    let (mut unknown, mut refused) = (0, String::new());
    let survived = survive_on(pair.place(), CROWD, Chance::of(16), |stage, chance| {
        let servers = pair.begin(stage);
        stage.go_on(1);
        for cut in 0..cuts {
            stage.go_on(chance.between(1, EVENTS_MAX));
            proxy.set(if cut % 3 == 2 { Mode::CutRequest } else { Mode::CutAnswer });
            // It lets everything pass again once it has cut.
            stage.go_on(chance.between(1, EVENTS_MAX));
        }
        for _ in 0..cuts / 40 {
            lose_route(stage, &proxy);
            unknown += leave_outcome_unknown(stage, &proxy);
        }
        refused = refusals_of(stage);
        servers
    });
    pair.verify();
    assert!(unknown > 0, "every outcome was found out in time");
    assert_streams_stayed(&survived, CROWD);
    Row::new(
        "connections to PostgreSQL cut around COMMIT",
        format!("{cuts} cuts, {0} lost routes, {0} for good", cuts / 40),
    )
    .counts(survived.counts)
    .figure(format!("{unknown} outcomes told as unknown and resolved by asking again"))
    .figure(refused)
    .check();
}

/// Nothing arrives for a while; then the connections break.
fn lose_route(stage: &Stage, proxy: &Proxy) {
    proxy.set(Mode::BlackHole);
    std::thread::sleep(ROUTE_LOST);
    proxy.set(Mode::Pass);
    proxy.cut_all();
    stage.go_on(1);
}

/// An answer is cut off, and nobody lets the server ask what became of it until it has told its publishers so.
fn leave_outcome_unknown(stage: &Stage, proxy: &Proxy) -> u64 {
    let told = |kind: &str| stage.kinds().get(kind).copied().unwrap_or(0);
    let before = told("outcome-unknown");
    for _ in 0..TRIES_MAX {
        let unreachable = told("store-unreachable");
        eventually("a request that is refused", || {
            // Also the connections that had nothing to answer when the first one was cut.
            proxy.set(Mode::CutAnswerForGood);
            (told("outcome-unknown") > before || told("store-unreachable") > unreachable).then_some(())
        });
        proxy.set(Mode::Pass);
        stage.go_on(1);
        // Else it was cut while it asked for the head, and nothing was on its way.
        if told("outcome-unknown") > before {
            break;
        }
    }
    told("outcome-unknown") - before
}
