//! What a disk or a hand has changed in a SQLite log is found when it is read, and its place is named.

use std::path::{Path, PathBuf};

use planwire_event::{Filter, Position};
use planwire_store::{
    EventRepository as _, OpenError, PageLimits, PlanQuery, SqliteRepository, SqliteStore, StoreError,
};
use rusqlite::Connection;

use crate::author::{read_all, two_trees};
use crate::block_on::block_on;
use crate::stores::{open, options};

/// A closed log with the events of [`two_trees`].
fn log() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.db");
    let (mut writer, readers) = open(&path);
    two_trees().commit(&mut writer);
    drop((writer, readers));
    (folder, path)
}

fn change(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

/// The position that reading everything names, and what it says.
fn damage(path: &Path) -> (u64, String) {
    let repository = SqliteRepository::open_read_only(path).unwrap();
    let filter = Filter::all();
    match block_on(repository.read_after(Position::ZERO, &filter, PageLimits::default())) {
        Err(StoreError::Damaged { position, message }) => (position.get(), message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_column_is_guarded() {
    let changes = [
        "event_id = '00000000000000000000000099'",
        "event_type = 'acme.nope'",
        "plan_id = 'other'",
        "timestamp = '2026-01-01T00:00:00.000000Z'",
        "payload = '{\"n\":3}'",
        "payload = NULL",
        "payload = CAST(x'ff' AS TEXT)",
        "seq = seq + 1",
        "parent_plan_id = NULL",
        "depth = depth + 1",
        "recorded_at = timestamp",
        "meta = '{\"producer\":\"http:somebody\"}'",
        "meta = NULL",
        "leaf = zeroblob(32)",
        "crc = crc + 1",
        "root_plan_id = 'other'",
    ];
    for sql in changes {
        let (_folder, path) = log();
        change(&path, &format!("UPDATE plan_events SET {sql} WHERE id = 4"));
        assert_eq!(damage(&path).0, 4, "{sql}");
    }
}

#[test]
fn flipped_bit_in_the_file_is_found() {
    let (_folder, path) = log();
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(7).position(|window| window == br#"{"n":2}"#).unwrap();
    bytes[at + 5] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (position, message) = damage(&path);
    assert_eq!((position, message.as_str()), (7, "the checksum of the row is wrong"));
}

#[test]
fn readers_of_other_rows_go_on() {
    let (_folder, path) = log();
    change(&path, "UPDATE plan_events SET payload = '{}' WHERE id = 4");
    let repository = SqliteRepository::open_read_only(&path).unwrap();
    let filter = Filter::all();
    let read = |after| block_on(repository.read_after(Position::new(after), &filter, PageLimits::events(3)));
    assert_eq!(read(0).unwrap().scanned_to.get(), 3);
    assert!(read(3).is_err());
    assert_eq!(read(4).unwrap().scanned_to.get(), 7);
    let ids = [two_trees().batch.rows[3].event.event.event_id()];
    assert!(matches!(block_on(repository.by_event_ids(&ids)), Err(StoreError::Damaged { .. })));
}

#[test]
fn head_that_is_none_is_found() {
    for (sql, expected) in [
        ("UPDATE planwire_log SET frontier = x'00'", "the frontier does not fit the head"),
        ("UPDATE planwire_log SET head = -1", "out of range"),
        ("UPDATE planwire_log SET recorded_at = 'soon'", "not RFC 3339"),
        ("DELETE FROM planwire_log", "the log has no head"),
    ] {
        let (_folder, path) = log();
        change(&path, sql);
        let Err(OpenError::Store { source, .. }) = SqliteStore::open(&path, &options()) else {
            panic!("{sql}")
        };
        let message = source.to_string();
        assert!(message.starts_with("the log is damaged at position"), "{message}");
        assert!(message.contains(expected), "{sql}: {message}");
    }
}

#[test]
fn plan_whose_state_is_unknown_is_found() {
    let (_folder, path) = log();
    change(&path, "UPDATE plans SET state = 'dreaming' WHERE plan_id = 'left'");
    let repository = SqliteRepository::open_read_only(&path).unwrap();
    let message = block_on(repository.plans(&PlanQuery::default())).unwrap_err().to_string();
    assert_eq!(message, "the log is damaged at position 2: the state of a plan is 'dreaming'");
    assert!(read_all(&*repository).len() > 10);
}

#[test]
fn lineage_is_told() {
    let (_folder, path) = log();
    std::fs::remove_file(path.with_extension("db.head")).unwrap();
    change(&path, "INSERT INTO log_lineage VALUES ('00000000', 7); UPDATE planwire_log SET pruned_to = 3");
    let repository = SqliteRepository::open_read_only(&path).unwrap();
    let info = block_on(repository.log_info()).unwrap();
    assert_eq!(info.lineage, [("00000000".parse().unwrap(), Position::new(7))]);
    assert_eq!(info.pruned_to.get(), 3);
    change(&path, "UPDATE log_lineage SET log_id = 'short'");
    assert!(matches!(block_on(repository.log_info()), Err(StoreError::Failed(_))));
}
