//! Connections that are cut before a request arrives, and between commit and answer; and a route that is lost.

use std::time::Duration;

use super::super::chance::{Chance, count};
use super::super::crowd::{Stage, survive_on};
use super::super::row::Row;
use super::{CROWD, Pair, assert_streams_stayed, refusals_of};
use crate::cluster::Cluster;
use crate::proxy::{Mode, Proxy};

const EVENTS_MAX: u64 = 20;
/// How long a route is lost: connections over it are dead afterwards.
const ROUTE_LOST: Duration = Duration::from_secs(1);

#[test]
fn soak_postgres_connections_cut_between_commit_and_answer_lose_and_double_nothing() {
    let cuts = count(40, 1_000);
    let Some(cluster) = Cluster::start("postgres answers") else { return };
    let proxy = Proxy::start(cluster.port());
    // The other server writes past the proxy.
    let pair = Pair::at([cluster.url_at(proxy.port(), "planwire"), cluster.url("planwire")]);
    let mut refused = String::new();
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
        }
        refused = refusals_of(stage);
        servers
    });
    pair.verify();
    assert_streams_stayed(&survived, CROWD);
    Row::new(
        "connections to PostgreSQL cut around COMMIT",
        format!("{cuts} cuts, {} lost routes", cuts / 40),
    )
    .counts(survived.counts)
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
