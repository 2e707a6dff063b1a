//! How appends to a log in PostgreSQL end when others write, stop, or the connection goes.

use std::time::Duration;

use planwire_store::{
    AppendError, Appended, LogWriter as _, PostgresOptions, PostgresStore, PostgresWriter, StoreError,
};

use crate::author::{Author, read_all, two_trees};
use crate::cluster::{Cluster, Stop};
use crate::proxy::{Mode, Proxy};
use crate::stores::{open_postgres, postgres_options};

fn refused(result: Result<Appended, AppendError>) -> StoreError {
    match result {
        Err(AppendError::Refused(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn impatient() -> PostgresOptions {
    let ms = Duration::from_millis;
    PostgresOptions {
        head_hold_max: ms(300),
        lock_wait_max: ms(400),
        answer_max: ms(2_000),
        connect_max: ms(1_000),
        settle_max: ms(1_500),
        ..postgres_options()
    }
}

fn writer(url: &str, options: &PostgresOptions) -> PostgresWriter {
    PostgresStore::open(&url.parse().unwrap(), options).unwrap().0
}

/// Appends as the bus does: a head that moved without rows is a reason to send the batch again.
fn commit(author: &mut Author, writer: &mut PostgresWriter) {
    loop {
        match writer.append(&author.head, &author.batch).unwrap() {
            Appended::Stored => return author.stored(),
            Appended::HeadMoved => assert_eq!(writer.head().unwrap(), author.head),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn writers_of_two_processes_take_turns() {
    let Some(cluster) = Cluster::start("postgres_writing writers_take_turns") else { return };
    let (mut one, repository) = open_postgres(&cluster.url("planwire"));
    let (mut two, _readers) = open_postgres(&cluster.url("planwire"));
    let mut author = two_trees();
    author.commit(&mut one);
    let mut late = two_trees();
    assert_eq!(two.append(&late.head, &late.batch).unwrap(), Appended::HeadMoved);
    late.stored();
    // The head that one holds is waited for by the other.
    assert_eq!(two.lock_head().unwrap(), author.head);
    let mut first = author.clone();
    first.say("root", "acme.first", "{}");
    author.say("root", "acme.second", "{}");
    let waiting = std::thread::spawn(move || (one.append(&author.head, &author.batch).unwrap(), one));
    while cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == "0" {}
    first.commit(&mut two);
    let (appended, mut one) = waiting.join().unwrap();
    assert_eq!(appended, Appended::HeadMoved);
    assert_eq!(one.head().unwrap(), first.head);
    first.say("root", "acme.third", "{}").commit(&mut one);
    assert_eq!(read_all(&*repository), first.events);
}

#[test]
fn writer_that_stops_with_the_head_in_hand_is_thrown_out() {
    let Some(cluster) = Cluster::start("postgres_writing writer_that_stops") else { return };
    let mut stopped = writer(&cluster.url("planwire"), &impatient());
    let mut other = writer(&cluster.url("planwire"), &postgres_options());
    let mut author = two_trees();
    stopped.lock_head().unwrap();
    // Waits until the server has ended the other session, and is not refused.
    author.commit(&mut other);
    // It goes on as if it had never held the head.
    let mut late = two_trees();
    assert_eq!(stopped.append(&late.head, &late.batch).unwrap(), Appended::HeadMoved);
    late.stored();
    assert_eq!(stopped.head().unwrap(), author.head);
    commit(author.say("root", "acme.note", "{}"), &mut stopped);
    let messages = "SELECT count(*) FROM planwire.plan_events WHERE event_type = 'acme.note'";
    assert!(cluster.sql(messages).parse::<u64>().unwrap() > 0);
}

#[test]
fn head_held_by_another_program_refuses_after_a_bounded_wait() {
    let Some(cluster) = Cluster::start("postgres_writing head_held") else { return };
    let mut writer = writer(&cluster.url("planwire"), &impatient());
    let mut author = two_trees();
    author.commit(&mut writer);
    let mut other = cluster.session();
    other.sql("BEGIN; SELECT 1 FROM planwire.planwire_log FOR UPDATE");
    author.say("root", "acme.note", "{}");
    assert!(matches!(refused(writer.append(&author.head, &author.batch)), StoreError::Busy));
    assert!(matches!(writer.lock_head(), Err(StoreError::Busy)));
    other.sql("ROLLBACK");
    author.commit(&mut writer);
    // A batch that is refused lets go of the head.
    writer.lock_head().unwrap();
    let mut torn = author.clone();
    torn.say("root", "acme.note", "{}").batch.rows.clear();
    assert!(matches!(refused(writer.append(&torn.head, &torn.batch)), StoreError::Failed(_)));
    writer.lock_head().unwrap();
    let mut unknown = author.clone();
    unknown.end("late", None);
    cluster.session().sql("BEGIN");
    if let Some(planwire_store::PlanChange::Ended { plan_id, .. }) = unknown.batch.plans.last_mut() {
        *plan_id = crate::author::plan_id("nobody");
    }
    assert!(matches!(refused(writer.append(&unknown.head, &unknown.batch)), StoreError::Failed(_)));
    other.sql("BEGIN; SELECT 1 FROM planwire.planwire_log FOR UPDATE NOWAIT; ROLLBACK");
    author.say("root", "acme.note", "{}").commit(&mut writer);
}

#[test]
fn batch_takes_one_turn() {
    let Some(cluster) = Cluster::start("postgres_writing turns") else { return };
    let proxy = Proxy::start(cluster.port());
    let mut writer = writer(&cluster.url_at(proxy.port(), "planwire"), &postgres_options());
    let mut author = two_trees();
    author.commit(&mut writer);
    author.say("root", "acme.note", "{}").commit(&mut writer);
    // The connection of the hints goes over the same proxy; it is there before anything is counted.
    let hints = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_notify($1%'";
    while cluster.sql(hints) == "0" {}
    for number in 0..20 {
        proxy.turns();
        let plan = format!("p{number}");
        author.say("root", "acme.note", "{}");
        if number % 2 == 0 {
            author.start(&plan, None).end(&plan, None).attach("{}", b"x");
        }
        author.commit(&mut writer);
        let turns = proxy.turns();
        assert_eq!(turns, 1);
    }
    // Lock and statement, each with what begins and ends the transaction.
    proxy.turns();
    writer.lock_head().unwrap();
    author.say("root", "acme.note", "{}").commit(&mut writer);
    println!(
        "turns of a batch: 1; messages with the head locked first, two of them sent along: {}",
        proxy.turns()
    );
}

#[test]
fn commit_whose_answer_is_lost_is_found_to_be_stored_once() {
    let Some(cluster) = Cluster::start("postgres_writing answer_lost") else { return };
    let proxy = Proxy::start(cluster.port());
    let url = cluster.url_at(proxy.port(), "planwire");
    let (mut writer, _) = PostgresStore::open(&url.parse().unwrap(), &postgres_options()).unwrap();
    let reader =
        PostgresStore::open_read_only(&cluster.url("planwire").parse().unwrap(), &postgres_options())
            .unwrap();
    let mut author = two_trees();
    author.commit(&mut writer);
    for number in 0..10 {
        // A new session prepares its statement first, which is a turn of its own.
        commit(author.say("root", "acme.note", "{}"), &mut writer);
        author.say("root", "acme.note", &format!(r#"{{"n":{number}}}"#));
        // The answer that is lost may be that of a hint; then the batch is answered as ever.
        if number % 3 == 2 {
            // The statement is answered before its COMMIT, which the server may then do or not.
            writer.lock_head().unwrap();
            proxy.set(Mode::CutAnswer);
            commit(&mut author, &mut writer);
        } else {
            proxy.set(Mode::CutAnswer);
            author.commit(&mut writer);
        }
        proxy.set(Mode::Pass);
    }
    assert_eq!(read_all(&*reader), author.events);
}

#[test]
fn batch_that_never_arrived_is_sent_again_and_stored_once() {
    let Some(cluster) = Cluster::start("postgres_writing request_lost") else { return };
    let proxy = Proxy::start(cluster.port());
    let url = cluster.url_at(proxy.port(), "planwire");
    let (mut writer, _) = PostgresStore::open(&url.parse().unwrap(), &postgres_options()).unwrap();
    let reader =
        PostgresStore::open_read_only(&cluster.url("planwire").parse().unwrap(), &postgres_options())
            .unwrap();
    let mut author = two_trees();
    author.commit(&mut writer);
    for number in 0..10 {
        author.say("root", "acme.note", &format!(r#"{{"n":{number}}}"#));
        proxy.set(Mode::CutRequest);
        commit(&mut author, &mut writer);
        proxy.set(Mode::Pass);
    }
    assert_eq!(read_all(&*reader), author.events);
}

#[test]
fn commit_that_nobody_can_tell_about_is_unsettled_and_writing_goes_on_by_itself() {
    let Some(cluster) = Cluster::start("postgres_writing unsettled") else { return };
    let proxy = Proxy::start(cluster.port());
    let mut writer = writer(&cluster.url_at(proxy.port(), "planwire"), &impatient());
    let reader =
        PostgresStore::open_read_only(&cluster.url("planwire").parse().unwrap(), &postgres_options())
            .unwrap();
    let mut author = two_trees();
    author.commit(&mut writer);
    // A route is lost: the statement does not arrive, and nobody answers.
    proxy.set(Mode::BlackHole);
    let mut lost = author.clone();
    lost.say("root", "acme.lost", "{}");
    let error = writer.append(&lost.head, &lost.batch).unwrap_err();
    assert!(matches!(error, AppendError::Unsettled(StoreError::Unreachable(_))), "{error:?}");
    assert!(matches!(refused(writer.append(&lost.head, &lost.batch)), StoreError::Unreachable(_)));
    assert!(matches!(writer.head(), Err(StoreError::Unreachable(_))));
    assert!(matches!(writer.lock_head(), Err(StoreError::Unreachable(_))));
    proxy.set(Mode::Pass);
    commit(author.say("root", "acme.note", "{}"), &mut writer);
    assert_eq!(read_all(&*reader), author.events);
    // The answer is lost, and nobody answers afterwards.
    proxy.cut_all();
    commit(author.say("root", "acme.note", "{}"), &mut writer);
    author.say("root", "acme.kept", "{}");
    proxy.set(Mode::CutCommitForGood);
    let error = writer.append(&author.head, &author.batch).unwrap_err();
    assert!(matches!(error, AppendError::Unsettled(_)), "{error:?}");
    proxy.set(Mode::Pass);
    author.stored();
    assert_eq!(writer.head().unwrap(), author.head);
    commit(author.say("root", "acme.note", "{}"), &mut writer);
    assert_eq!(read_all(&*reader), author.events);
}

#[test]
fn batch_that_is_lost_each_time_is_refused_instead_of_sent_for_ever() {
    let Some(cluster) = Cluster::start("postgres_writing lost_each_time") else { return };
    let proxy = Proxy::start(cluster.port());
    let mut writer = writer(&cluster.url_at(proxy.port(), "planwire"), &postgres_options());
    let mut author = two_trees();
    author.commit(&mut writer);
    author.say("root", "acme.note", "{}");
    proxy.set(Mode::CutEvents);
    assert_eq!(writer.append(&author.head, &author.batch).unwrap(), Appended::HeadMoved);
    assert_eq!(writer.head().unwrap(), author.head);
    assert!(matches!(refused(writer.append(&author.head, &author.batch)), StoreError::Unreachable(_)));
    // It is known not to be stored, and nothing stands in the way of the next one.
    proxy.set(Mode::Pass);
    commit(&mut author, &mut writer);
}

#[test]
fn server_that_answers_nothing_is_waited_for_once() {
    let Some(cluster) = Cluster::start("postgres_writing answers_nothing") else { return };
    let proxy = Proxy::start(cluster.port());
    let url = cluster.url_at(proxy.port(), "planwire");
    let mut writer = writer(&url, &impatient());
    let mut author = two_trees();
    author.commit(&mut writer);
    author.say("root", "acme.note", "{}");
    // Connections are begun and never answered, as by a server that stands still.
    proxy.set(Mode::Silent);
    let begun = std::time::Instant::now();
    let error = writer.append(&author.head, &author.batch).unwrap_err();
    assert!(matches!(error, AppendError::Unsettled(StoreError::Unreachable(_))), "{error:?}");
    println!("unsettled after {} ms", begun.elapsed().as_millis());
    assert!(matches!(refused(writer.append(&author.head, &author.batch)), StoreError::Unreachable(_)));
    proxy.set(Mode::Pass);
    proxy.cut_all();
    commit(&mut author, &mut writer);
}

#[test]
fn statement_of_a_former_session_stores_nothing_once_the_fence_has_moved() {
    let Some(cluster) = Cluster::start("postgres_writing fence") else { return };
    let (mut writer, repository) = open_postgres(&cluster.url("planwire"));
    let mut author = two_trees();
    author.commit(&mut writer);
    cluster.sql("UPDATE planwire.planwire_log SET fence = fence + 1");
    author.say("root", "acme.note", "{}");
    assert_eq!(writer.append(&author.head, &author.batch).unwrap(), Appended::HeadMoved);
    assert_eq!(writer.head().unwrap(), author.head);
    author.commit(&mut writer);
    assert_eq!(read_all(&*repository), author.events);
}

#[test]
fn writer_whose_sessions_are_ended_stores_everything_once() {
    let Some(cluster) = Cluster::start("postgres_writing sessions_ended") else { return };
    let (mut writer, repository) = open_postgres(&cluster.url("planwire"));
    let mut author = two_trees();
    author.commit(&mut writer);
    for number in 0..10 {
        if number % 2 == 0 {
            writer.lock_head().unwrap();
        }
        cluster.sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE 'planwire %'");
        if number == 4 {
            assert_eq!(writer.head().unwrap(), author.head);
        }
        commit(author.say("root", "acme.note", "{}"), &mut writer);
    }
    assert_eq!(read_all(&*repository), author.events);
}

#[test]
fn server_that_crashes_keeps_what_was_stored_and_writing_resumes_by_itself() {
    let Some(mut cluster) = Cluster::start("postgres_writing server_crashes") else { return };
    let (_unused, repository) = open_postgres(&cluster.url("planwire"));
    let mut writer = writer(&cluster.url("planwire"), &impatient());
    let mut author = two_trees();
    author.commit(&mut writer);
    for _ in 0..3 {
        cluster.stop(Stop::Immediate);
        author.say("root", "acme.note", "{}");
        assert!(writer.append(&author.head, &author.batch).is_err());
        cluster.run();
        commit(&mut author, &mut writer);
        assert_eq!(read_all(&*repository), author.events);
    }
}

#[test]
fn writer_works_within_a_runtime() {
    let Some(cluster) = Cluster::start("postgres_writing within_a_runtime") else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (mut writer, repository) = open_postgres(&cluster.url("planwire"));
        let mut author = two_trees();
        author.commit(&mut writer);
        assert_eq!(read_all(&*repository), author.events);
    });
}
