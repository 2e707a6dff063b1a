//! How appends to a SQLite log fail, and what is stored afterwards.

use std::path::Path;
use std::time::Duration;

use planwire_event::Filter;
use planwire_store::{
    AppendError, EventRepository as _, LogWriter as _, MemoryStore, OpenOptions, PageLimits, SqliteStore,
    StoreError,
};
use rusqlite::Connection;

use crate::author::{log_id, read_all, two_trees};
use crate::block_on::block_on;
use crate::stores::{open, options};

fn refused(result: Result<planwire_store::Appended, AppendError>) -> StoreError {
    match result {
        Err(AppendError::Refused(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn change(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn full_disk_refuses_and_writing_goes_on_when_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.db");
    let limited = OpenOptions { file_bytes_max: Some(400_000), ..options() };
    let (mut writer, repository) = SqliteStore::open(&path, &limited).unwrap();
    let mut author = two_trees();
    author.commit(&mut writer);
    let mut large = author.clone();
    for _ in 0..20 {
        large.say("root", "acme.note", &format!(r#"{{"text":"{}"}}"#, "x".repeat(60_000)));
    }
    assert!(matches!(refused(writer.append(&large.head, &large.batch)), StoreError::Full));
    assert_eq!(writer.head().unwrap(), author.head);
    assert_eq!(read_all(&*repository), author.events);
    author.say("root", "acme.note", "{}").commit(&mut writer);
    drop((writer, repository));
    let (mut writer, repository) = open(&path);
    large = author.clone();
    large.say("root", "acme.note", &format!(r#"{{"text":"{}"}}"#, "x".repeat(200_000))).commit(&mut writer);
    assert_eq!(read_all(&*repository), large.events);
}

#[test]
fn database_locked_by_another_program_refuses_after_a_bounded_wait() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.db");
    let impatient = OpenOptions { busy_timeout: Duration::from_millis(10), ..options() };
    let (mut writer, repository) = SqliteStore::open(&path, &impatient).unwrap();
    let mut author = two_trees();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(refused(writer.append(&author.head, &author.batch)), StoreError::Busy));
    assert!(matches!(writer.lock_head(), Err(StoreError::Busy)));
    assert_eq!(writer.head().unwrap(), author.head);
    other.execute_batch("ROLLBACK").unwrap();
    author.commit(&mut writer);
    assert_eq!(read_all(&*repository), author.events);
}

#[test]
fn failure_before_the_commit_is_a_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.db");
    let (mut writer, repository) = open(&path);
    change(
        &path,
        "CREATE TRIGGER no BEFORE INSERT ON plan_events WHEN new.event_type = 'acme.no' \
         BEGIN SELECT RAISE(ABORT, 'secret text'); END;",
    );
    let mut author = two_trees();
    author.commit(&mut writer);
    let mut bad = author.clone();
    bad.say("root", "acme.note", "{}").say("root", "acme.no", "{}");
    let error = refused(writer.append(&bad.head, &bad.batch));
    assert_eq!(error.to_string(), "the store failed", "database text is only in the source");
    author.say("root", "acme.note", "{}").commit(&mut writer);
    assert_eq!(read_all(&*repository), author.events);
}

#[test]
fn failure_of_the_commit_itself_is_unknown_and_closes_the_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.db");
    let (mut writer, repository) = open(&path);
    // A constraint that is checked by COMMIT alone.
    change(
        &path,
        "CREATE TABLE owner (id INTEGER PRIMARY KEY) STRICT; \
         CREATE TABLE owned (id INTEGER REFERENCES owner (id) DEFERRABLE INITIALLY DEFERRED) STRICT; \
         CREATE TRIGGER late AFTER INSERT ON plan_events WHEN new.event_type = 'acme.no' \
         BEGIN INSERT INTO owned VALUES (1); END;",
    );
    let mut author = two_trees();
    author.commit(&mut writer);
    let mut bad = author.clone();
    bad.say("root", "acme.no", "{}");
    let error = writer.append(&bad.head, &bad.batch).unwrap_err();
    assert!(matches!(error, AppendError::Unknown(StoreError::Failed(_))), "{error:?}");
    author.say("root", "acme.note", "{}");
    assert!(matches!(refused(writer.append(&author.head, &author.batch)), StoreError::Closed));
    assert!(matches!(writer.head(), Err(StoreError::Closed)));
    assert!(matches!(writer.lock_head(), Err(StoreError::Closed)));
    assert_eq!(read_all(&*repository), author.events, "readers go on");
    drop((writer, repository));
    let (mut writer, _readers) = open(&path);
    assert_eq!(writer.head().unwrap(), author.head, "the next start decides");
}

#[test]
fn reads_that_fail_say_no_more_than_that() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.db");
    let (_writer, repository) = open(&path);
    change(&path, "DROP TABLE plan_events");
    let filter = Filter::all();
    let read = repository.read_after(planwire_event::Position::ZERO, &filter, PageLimits::default());
    assert_eq!(block_on(read).unwrap_err().to_string(), "the store failed");
}

#[test]
fn head_held_by_one_writer_in_memory_is_busy_for_another() {
    let store = MemoryStore::new(log_id());
    let (mut first, mut second) = (store.writer(), store.writer());
    let mut author = two_trees();
    first.lock_head().unwrap();
    assert!(matches!(second.lock_head(), Err(StoreError::Busy)));
    assert!(matches!(refused(second.append(&author.head, &author.batch)), StoreError::Busy));
    author.commit(&mut *first);
    author.say("root", "acme.note", "{}").commit(&mut *second);
    first.lock_head().unwrap();
    drop(first);
    author.say("root", "acme.note", "{}").commit(&mut *second);
    assert_eq!(read_all(&*store.repository()), author.events);
}
