//! PostgreSQL crashes and comes back, again and again, under load.

use std::time::Duration;

use super::super::chance::{Chance, count};
use super::super::crowd::survive_on;
use super::super::row::Row;
use super::{CROWD, Pair, assert_streams_stayed, refusals_of};
use crate::cluster::{Cluster, Stop};

/// From one restart to the next.
const EVERY: Duration = Duration::from_secs(3);

#[test]
fn soak_postgres_restarted_every_3_s_loses_and_doubles_nothing_and_no_stream_ends() {
    let restarts = count(4, 100);
    let Some(mut cluster) = Cluster::start("postgres restarts") else { return };
    let pair = Pair::on(&cluster);
    let (mut back, mut refused) = (Vec::new(), String::new());
    let survived = survive_on(pair.place(), CROWD, Chance::of(12), |stage, _| {
        let servers = pair.begin(stage);
        stage.go_on(1);
        for restart in 0..restarts {
            std::thread::sleep(EVERY);
            // What `pg_ctl restart -m immediate` does; once in a while in order, which sessions survive as little.
            cluster.stop(if restart % 4 == 3 { Stop::Fast } else { Stop::Immediate });
            cluster.run();
            back.push(stage.go_on(1));
        }
        refused = refusals_of(stage);
        servers
    });
    pair.verify();
    assert_streams_stayed(&survived, CROWD);
    Row::new("PostgreSQL restarted (immediate) every 3 s under load", format!("{restarts} restarts"))
        .counts(survived.counts)
        .times("from being back to the first acknowledgement", &mut back)
        .figure("all streams stayed open")
        .figure(refused)
        .check();
}
