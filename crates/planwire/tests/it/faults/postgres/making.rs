//! A log is made in PostgreSQL, and whoever makes it is killed: before and after each message that it sends.

use super::super::chance::count;
use super::super::crowd::log_of;
use super::super::points::publish;
use super::super::row::Row;
use super::super::shim::{self, Rule};
use crate::cluster::Cluster;
use crate::harness::Place;

fn place_of(cluster: &Cluster, schema: &str) -> Place {
    let mut place = Place::new();
    place.set_variable("PLANWIRE_DB", cluster.url(schema));
    place
}

#[test]
fn soak_killed_at_each_message_while_a_log_is_made_in_postgres_another_one_makes_it() {
    let Some(cluster) = Cluster::start("postgres, a log is made") else { return };
    let step = count(5, 1);
    let mut kills = 0;
    for act in ["kill-before", "kill-after"] {
        for number in 0.. {
            let rule = Rule { act, call: "write", kind: "socket", nth: 1 + number * step };
            let schema = format!("made_{kills}");
            let mut dying = place_of(&cluster, &schema);
            let trigger = shim::load(&mut dying, rule);
            trigger.arm();
            // One that finds nothing, or half of a log, or waits for the other, as they come.
            let beside = place_of(&cluster, &schema);
            let (ran, other) = std::thread::scope(|scope| {
                let other = scope.spawn(|| publish(&beside));
                (publish(&dying), other.join().expect("a command"))
            });
            // The event of the process that died may be there; then it is not stored again.
            assert_eq!((other.code, log_of(&beside).len()), (Some(0), 1), "{rule:?}: {other:?}");
            beside.run(&["verify"]).text(0);
            kills += 1;
            if !trigger.was_hit() {
                assert_eq!(ran.code, Some(0), "{ran:?}");
                break;
            }
            assert_eq!(ran.code, None, "{rule:?}: {ran:?}");
        }
    }
    assert!(kills > 6, "{kills}");
    // Each was told that its event is stored, and each log had it once.
    Row::new("kill -9 while a log is made in PostgreSQL", format!("{kills} messages, another one beside"))
        .figure("each log has its event once")
        .check();
}
