//! Eight writers in two servers whose commits take a random time while others wait, and the control.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::chance::{Chance, count};
use super::super::crowd::survive_on;
use super::super::row::Row;
use super::{CROWD, Pair, assert_streams_stayed};
use crate::cluster::Cluster;

const WRITERS: usize = 8;

/// From now on each commit that changes `table` pauses before it ends, with all its locks, up to 10 ms.
fn pause_commits_of(cluster: &Cluster, table: &str, when: &str) {
    cluster.sql(&format!(
        "CREATE OR REPLACE FUNCTION pause_commit() RETURNS trigger LANGUAGE plpgsql AS \
           $$BEGIN PERFORM pg_sleep(random() / 100); RETURN NULL; END$$; \
         CREATE CONSTRAINT TRIGGER pause AFTER {when} ON {table} DEFERRABLE INITIALLY DEFERRED \
           FOR EACH ROW EXECUTE FUNCTION pause_commit()"
    ));
}

/// Events that are waited for at a time.
const EVENTS_AT_A_TIME: u64 = 500;

#[test]
fn soak_postgres_eight_writers_of_two_servers_are_followed_without_a_gap_whatever_their_commits_take() {
    let events = count(1_500, 30_000);
    let Some(cluster) = Cluster::start("postgres writers") else { return };
    let pair = Pair::on(&cluster);
    let survived = survive_on(pair.place(), CROWD, Chance::of(15), |stage, _| {
        let servers = pair.begin(stage);
        stage.go_on(1);
        pause_commits_of(&cluster, "planwire.planwire_log", "UPDATE");
        for _ in 0..events / EVENTS_AT_A_TIME {
            stage.go_on(EVENTS_AT_A_TIME);
        }
        servers
    });
    pair.verify();
    assert_streams_stayed(&survived, CROWD);
    Row::new(
        "8 writers in 2 servers on PostgreSQL, pauses before COMMIT",
        format!("{events} events and more"),
    )
    .counts(survived.counts)
    .figure(format!("never delivered {}", survived.counts.broken.gap))
    .check();
}

/// Without this the test above would prove nothing: the usual way to follow a table loses events by the same pauses.
#[test]
fn soak_postgres_eight_writers_of_a_table_with_an_identity_column_are_followed_with_gaps() {
    let rows = count(100, 2_000);
    let Some(cluster) = Cluster::start("postgres writers, the control") else { return };
    cluster.sql("CREATE TABLE naive (id bigserial, note text)");
    pause_commits_of(&cluster, "naive", "INSERT");
    let done = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let mut session = cluster.session();
                scope.spawn(move || {
                    for _ in 0..rows {
                        session.sql("INSERT INTO naive (note) VALUES ('x')");
                    }
                })
            })
            .collect();
        let (mut session, done) = (cluster.session(), &done);
        let reader = scope.spawn(move || {
            let mut seen = BTreeSet::new();
            loop {
                let last_look = done.load(Ordering::Acquire);
                let last = seen.last().copied().unwrap_or(0);
                let new = session.sql(&format!("SELECT id FROM naive WHERE id > {last} ORDER BY id"));
                seen.extend(new.lines().map(|id| id.parse::<u64>().expect("a number")));
                if last_look {
                    return seen.len();
                }
            }
        });
        writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
        done.store(true, Ordering::Release);
        reader.join().expect("a reader")
    });
    let committed = usize::try_from(rows).expect("a small number") * WRITERS;
    let missed = committed - seen;
    Row::new("control: 8 writers of an identity column, read by `id > last`", format!("{committed} rows"))
        .figure(format!("delivered {seen}, never delivered {missed}"))
        .figure("must miss rows")
        .tell();
    assert!(missed > 0, "the pauses reorder nothing");
}
