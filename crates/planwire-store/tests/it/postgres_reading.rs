//! What a hand has changed in PostgreSQL is found when it is read; connections for reads are few and come back.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use planwire_event::{Filter, Position};
use planwire_store::{
    EventRepository as _, LogWriter as _, PageLimits, PlanQuery, PostgresOptions, PostgresRepository,
    PostgresStore, StoreError,
};

use crate::author::{Author, log_id, read_all, two_trees};
use crate::block_on::block_on;
use crate::cluster::Cluster;
use crate::stores::{open_postgres, postgres_options};

fn with_options(cluster: &Cluster, options: &PostgresOptions) -> Arc<PostgresRepository> {
    PostgresStore::open_read_only(&cluster.url("planwire").parse().unwrap(), options).unwrap()
}

fn read(repository: &PostgresRepository) -> Result<planwire_store::Page, StoreError> {
    let filter = Filter::all();
    block_on(repository.read_after(Position::ZERO, &filter, PageLimits::default()))
}

#[test]
fn every_column_is_guarded() {
    let changes = [
        "event_id = '00000000000000000000000099'",
        "event_type = 'acme.nope'",
        "plan_id = 'other'",
        "timestamp = '2026-01-01'",
        "timestamp = 'infinity'",
        "payload = '{\"n\":3}'",
        "payload = '[]'",
        "payload = NULL",
        "seq = seq + 1",
        "parent_plan_id = NULL",
        "depth = depth + 1",
        "recorded_at = timestamp",
        "meta = '{\"producer\":\"http:somebody\"}'",
        "meta = NULL",
        "leaf = ''",
        "crc = crc + 1",
        "root_plan_id = 'other'",
    ];
    let Some(cluster) = Cluster::start("postgres_reading every_column_is_guarded") else { return };
    let (mut writer, repository) = open_postgres(&cluster.url("planwire"));
    let author = two_trees();
    author.clone().commit(&mut writer);
    cluster.sql("CREATE TABLE kept AS SELECT * FROM planwire.plan_events WHERE id = 4");
    for sql in changes {
        cluster.sql(&format!("UPDATE planwire.plan_events SET {sql} WHERE id = 4"));
        match read(&repository) {
            Err(StoreError::Damaged { position, .. }) => assert_eq!(position.get(), 4, "{sql}"),
            other => panic!("{sql}: {other:?}"),
        }
        let filter = Filter::all();
        let after =
            block_on(repository.read_after(Position::new(4), &filter, PageLimits::default())).unwrap();
        assert!(after.at_head, "readers of other rows go on");
        cluster.sql("DELETE FROM planwire.plan_events WHERE id = 4; INSERT INTO planwire.plan_events SELECT * FROM kept");
    }
    let mut stored = author;
    stored.stored();
    assert_eq!(read_all(&*repository), stored.events);
}

#[test]
fn head_and_plans_that_are_none_are_found() {
    let Some(cluster) = Cluster::start("postgres_reading head_that_is_none") else { return };
    let (mut writer, repository) = open_postgres(&cluster.url("planwire"));
    two_trees().commit(&mut writer);
    cluster.sql("UPDATE planwire.plans SET state = 'dreaming' WHERE plan_id = 'left'");
    let message = block_on(repository.plans(&PlanQuery::default())).unwrap_err().to_string();
    assert_eq!(message, "the log is damaged at position 2: the state of a plan is 'dreaming'");
    cluster.sql(
        "INSERT INTO planwire.log_lineage VALUES ('00000000', 7); UPDATE planwire.planwire_log SET pruned_to = 3",
    );
    let info = block_on(repository.log_info()).unwrap();
    assert_eq!(info.lineage, [("00000000".parse().unwrap(), Position::new(7))]);
    assert_eq!((info.pruned_to.get(), info.head), (3, writer.head().unwrap().position));
    for (sql, expected) in [
        ("UPDATE planwire.planwire_log SET frontier = '\\x00'", "the frontier does not fit the head"),
        ("UPDATE planwire.planwire_log SET head = -1", "out of range"),
        ("UPDATE planwire.planwire_log SET log_id = 'short'", ""),
        ("DELETE FROM planwire.planwire_log", "the log has no head"),
    ] {
        cluster.sql(sql);
        let message = writer.head().unwrap_err().to_string();
        assert!(message.starts_with("the log is damaged at position"), "{message}");
        assert!(message.contains(expected), "{sql}: {message}");
        assert!(
            sql.starts_with("UPDATE planwire.planwire_log SET frontier")
                || read(&repository).is_err()
                || sql.contains("-1")
        );
    }
    assert!(block_on(repository.log_info()).is_err());
}

#[test]
fn payloads_that_take_a_page_by_their_bytes_take_several_statements() {
    let Some(cluster) = Cluster::start("postgres_reading payloads_that_take_a_page") else { return };
    let (mut writer, repository) = open_postgres(&cluster.url("planwire"));
    let mut author = Author::new(log_id());
    author.start("p", None);
    for number in 0..700 {
        author.say("p", "acme.note", &format!(r#"{{"text":"{}"}}"#, "x".repeat(number % 7 * 3_000)));
    }
    // As long as a payload may be, and 50 times that as JSONB writes it.
    author.say("p", "acme.note", &format!(r#"{{"n":[{}]}}"#, vec!["1e308"; 40_000].join(",")));
    author.commit(&mut writer);
    assert_eq!(read_all(&*repository), author.events);
}

#[test]
fn read_that_finds_all_connections_taken_is_told_so_after_a_bounded_wait() {
    let Some(cluster) = Cluster::start("postgres_reading all_connections_taken") else { return };
    let (mut writer, _readers) = open_postgres(&cluster.url("planwire"));
    let mut author = two_trees();
    author.commit(&mut writer);
    let narrow = PostgresOptions {
        readers_max: 1,
        reader_wait_max: Duration::from_millis(100),
        lock_wait_max: Duration::from_millis(1_500),
        ..postgres_options()
    };
    let repository = with_options(&cluster, &narrow);
    let mut other = cluster.session();
    other.sql("BEGIN; LOCK TABLE planwire.plan_events IN ACCESS EXCLUSIVE MODE");
    let (tell, told) = channel();
    for _ in 0..2 {
        let (repository, tell) = (Arc::clone(&repository), tell.clone());
        std::thread::spawn(move || tell.send(read(&repository).unwrap_err()).unwrap());
    }
    let errors = [told.recv().unwrap(), told.recv().unwrap()];
    assert!(matches!(errors[0], StoreError::Exhausted { connections: 1 }), "{errors:?}");
    assert!(matches!(errors[1], StoreError::Busy), "{errors:?}");
    other.sql("ROLLBACK");
    assert_eq!(read_all(&*repository), author.events);
}

#[test]
fn reads_go_on_when_their_connections_were_ended_meanwhile() {
    let Some(cluster) = Cluster::start("postgres_reading connections_ended") else { return };
    let (mut writer, repository) = open_postgres(&cluster.url("planwire"));
    let mut author = two_trees();
    author.commit(&mut writer);
    for _ in 0..5 {
        assert_eq!(read_all(&*repository), author.events);
        cluster.sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE 'planwire %'");
        assert_eq!(read_all(&*repository), author.events);
    }
}

#[test]
fn read_that_is_given_up_leaves_the_others_alone() {
    let Some(cluster) = Cluster::start("postgres_reading read_given_up") else { return };
    let (mut writer, repository) = open_postgres(&cluster.url("planwire"));
    let mut author = two_trees();
    author.commit(&mut writer);
    let filter = Filter::all();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..50 {
        let mut read = repository.read_after(Position::ZERO, &filter, PageLimits::default());
        let _ = read.as_mut().poll(&mut context);
    }
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let repository = Arc::clone(&repository);
            std::thread::spawn(move || (0..10).map(|_| read_all(&*repository).len()).sum::<usize>())
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), 10 * author.events.len());
    }
}

#[test]
fn reads_of_a_server_that_is_gone_say_so_and_resume_when_it_is_back() {
    let Some(mut cluster) = Cluster::start("postgres_reading server_gone") else { return };
    let (mut writer, repository) = open_postgres(&cluster.url("planwire"));
    let mut author = two_trees();
    author.commit(&mut writer);
    cluster.stop(crate::cluster::Stop::Immediate);
    let error = read(&repository).unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
    assert_eq!(error.to_string(), "the database does not answer");
    cluster.run();
    assert_eq!(read_all(&*repository), author.events);
}

#[test]
fn head_that_another_process_moves_is_seen_by_notification_and_without_it() {
    let Some(cluster) = Cluster::start("postgres_reading head_is_watched") else { return };
    let watcher = |poll: Duration| {
        let options = PostgresOptions { head_poll_interval: poll, ..postgres_options() };
        let repository = with_options(&cluster, &options);
        let (tell, told) = channel();
        let watch = repository.watch_head(Box::new(move |head| tell.send(head).unwrap_or(()))).unwrap();
        (repository, watch, told)
    };
    let (mut writer, _readers) = open_postgres(&cluster.url("planwire"));
    let mut author = two_trees();
    let listening = || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
        while cluster.sql(sql) == "0" {}
    };
    // One that never looks, one that never hears.
    let (_hearing, _first, heard) = watcher(Duration::from_secs(3_600));
    listening();
    let (_looking, _second, seen) = watcher(Duration::from_millis(20));
    author.commit(&mut writer);
    assert!(heard.iter().any(|head| head == author.head.position));
    cluster.sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'");
    author.say("root", "acme.note", "{}").commit(&mut writer);
    assert!(seen.iter().any(|head| head == author.head.position));
    // The listener comes back by itself.
    listening();
    author.say("root", "acme.note", "{}").commit(&mut writer);
    assert!(heard.iter().any(|head| head == author.head.position));
}
