//! Connections that are cut before a request arrives, between commit and answer, and for good; and a route that is lost.

use std::time::Duration;

use super::super::chance::{Chance, count};
use super::super::crowd::{Stage, survive_on};
use super::super::row::Row;
use super::{CROWD, Pair, refusals_of};
use crate::cluster::Cluster;
use crate::harness::eventually;
use crate::proxy::{Mode, Proxy};

const EVENTS_MAX: u64 = 20;
/// Every request is answered within 30 s; the rest is for a machine that has much else to do.
const ANSWERED_WITHIN_MS: u64 = 40_000;
/// How long a route is lost: connections over it are dead afterwards.
const ROUTE_LOST: Duration = Duration::from_secs(1);

#[test]
fn soak_postgres_connections_cut_between_commit_and_answer_lose_and_double_nothing() {
    let cuts = count(40, 1_000);
    let Some(cluster) = Cluster::start("postgres answers") else { return };
    let proxy = Proxy::start(cluster.port());
    // The other server writes past the proxy.
    let pair = Pair::at([cluster.url_at(proxy.port(), "planwire"), cluster.url("planwire")]);
    let (mut unknown, mut refused, mut slowest_ms) = (0, String::new(), 0);
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
        (refused, slowest_ms) = (refusals_of(stage), stage.refused().1);
        servers
    });
    pair.verify();
    assert!(slowest_ms < ANSWERED_WITHIN_MS, "a request waited for {slowest_ms} ms");
    Row::new(
        "connections to PostgreSQL cut around COMMIT",
        format!("{cuts} cuts, {0} lost routes, {0} for good", cuts / 40),
    )
    .counts(survived.counts)
    .figure(format!(
        "{unknown} requests told that their outcome is unknown, and told it when they asked again"
    ))
    .figure(format!("no request waited longer than {slowest_ms} ms"))
    // One that has to read the store while nobody is let through breaks off, and its reader comes back.
    .figure(format!("{} streams for {} readers", survived.streams, CROWD.readers))
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

/// The answer of a commit is cut off, and nobody lets the server ask what became of it until it has told its publishers
/// that it does not know. Gives to how many requests it did.
fn leave_outcome_unknown(stage: &Stage, proxy: &Proxy) -> u64 {
    let told = || stage.kinds().get("outcome-unknown").copied().unwrap_or(0);
    let before = told();
    proxy.set(Mode::CutCommitForGood);
    eventually("an outcome that is not known", || (told() > before).then_some(()));
    proxy.set(Mode::Pass);
    // They ask again, and the server finds out what it could not tell them.
    stage.all_go_on(CROWD);
    told() - before
}
