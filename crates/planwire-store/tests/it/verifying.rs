//! Verifying names the first bad position of a log, and whatever else in it is not as it was written.

use std::path::{Path, PathBuf};

use planwire_event::{Digest, Position};
use planwire_store::{
    Auditable as _, EventRepository as _, Flaw, Frontier, LogWriter as _, Mark, PageLimits, Row,
    SqliteRepository, Verified, WitnessSays, verify,
};
use rusqlite::Connection;

use crate::block_on::block_on;
use crate::cluster::Cluster;
use crate::honest::{self, EVENTS};
use crate::stores::{open, postgres_in};

fn log() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.db");
    honest::log(&path);
    (folder, path)
}

fn audit(path: &Path, marks: &[Mark]) -> Verified {
    let (repository, _) = SqliteRepository::open_to_verify(path).unwrap();
    block_on(verify(&*repository, marks, |_, _| ())).unwrap()
}

/// What is told after `sql` was done to the log.
fn told(sql: &str) -> Vec<String> {
    let (_folder, path) = log();
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    audit(&path, &[]).flaws.iter().map(ToString::to_string).collect()
}

/// Roots after each event.
fn marks(path: &Path) -> Vec<Mark> {
    let (repository, _) = SqliteRepository::open_to_verify(path).unwrap();
    let mut tree = Frontier::default();
    let rows = block_on(repository.rows(Position::ZERO)).unwrap().rows;
    rows.iter()
        .map(|row| {
            tree.push(row.leaf);
            Mark { size: tree.leaves(), root: tree.root() }
        })
        .collect()
}

#[test]
fn log_that_is_as_it_was_written_is_whole() {
    let (_folder, path) = log();
    let marks = marks(&path);
    let (repository, says) = SqliteRepository::open_to_verify(&path).unwrap();
    assert!(matches!(says, WitnessSays::Whole), "{says:?}");
    let mut progress = Vec::new();
    let verified = block_on(verify(&*repository, &marks, |at, end| progress.push((at.get(), end.get()))));
    let verified = verified.unwrap();
    assert_eq!(verified.flaws, []);
    assert_eq!((verified.position.get(), Some(verified.root)), (EVENTS, marks.last().map(|mark| mark.root)));
    assert_eq!(progress, [(EVENTS, EVENTS)]);
}

#[test]
fn empty_log_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.db");
    drop(open(&path));
    let verified = audit(&path, &[Mark { size: 0, root: Frontier::default().root() }]);
    assert_eq!((verified.position, &*verified.flaws), (Position::ZERO, &[][..]));
    assert_eq!(verified.root_text(), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
}

#[test]
fn first_bad_position_is_named_with_what_is_wrong() {
    let checksum = "position 4: the checksum of the row is wrong";
    for (sql, expected) in [
        ("UPDATE plan_events SET payload = '{\"n\":2}' WHERE id >= 4", checksum),
        ("DELETE FROM plan_events WHERE id = 4", "position 4: the event is missing"),
        ("DELETE FROM plan_events WHERE id >= 4", "position 4: the event is missing"),
        ("DELETE FROM plan_events", "position 1: the event is missing"),
        ("UPDATE plan_events SET id = 100 WHERE id = 8", "position 8: the event is missing"),
        ("UPDATE plan_events SET meta = NULL WHERE id = 4", "position 4: "),
        ("UPDATE planwire_log SET frontier = zeroblob(32)", "position 8: the head of the log is not where"),
        ("UPDATE planwire_log SET recorded_at = '2026-01-01T00:00:00.000000Z'", "position 8: the head of"),
        ("UPDATE planwire_log SET pruned_to = 3", "the log says that events up to position 3 were removed"),
    ] {
        let told = told(sql);
        assert!(told.first().is_some_and(|first| first.starts_with(expected)), "{sql}: {told:?}");
        assert_eq!(told.len(), 1, "{sql}: {told:?}");
    }
}

#[test]
fn list_of_plans_must_agree_with_the_events() {
    for (change, expected) in [
        (
            "root_plan_id = 'root' WHERE plan_id = 'other'",
            "position 6: the list of plans does not agree with plan other: its place",
        ),
        (
            "depth = 2 WHERE plan_id = 'child'",
            "position 3: the list of plans does not agree with plan child: its place",
        ),
        ("name = 'x' WHERE plan_id = 'child'", "plan child: its name"),
        ("context_id = 'x' WHERE plan_id = 'child'", "plan child: its context"),
        ("context_id = 'x' WHERE plan_id = 'other'", "plan other: its context"),
        ("document_digest = zeroblob(32) WHERE plan_id = 'root'", "plan root: its document"),
        ("owner = NULL WHERE plan_id = 'child'", "plan child: its owner"),
        ("owner = 'x' WHERE plan_id = 'other'", "plan other: its owner"),
        ("started_at = '2026-01-01T00:00:00.000000Z' WHERE plan_id = 'root'", "plan root: its start"),
        (
            "ended_at = '2026-01-01T00:00:00.000000Z' WHERE plan_id = 'root'",
            "position 7: the list of plans does not agree with plan root: its end",
        ),
        (
            "ended_at = NULL WHERE plan_id = 'root'",
            "position 1: the list of plans does not agree with plan root: its end",
        ),
        (
            "reason = 'cancelled' WHERE plan_id = 'child'",
            "position 5: the list of plans does not agree with plan child: its end",
        ),
        (
            "last_seq = 9 WHERE plan_id = 'child'",
            "position 5: the list of plans does not agree with plan child: its end",
        ),
        (
            "state = 'completed', last_position = 8, last_seq = 2, ended_at = started_at WHERE plan_id = 'other'",
            "position 8: the list of plans does not agree with plan other: it has not ended",
        ),
        ("plan_id = 'x' WHERE plan_id = 'other'", "plan other: another plan stands in its place"),
        ("first_position = 2 WHERE plan_id = 'child'", "plan child: another plan stands"),
        ("state = 'dreaming' WHERE plan_id = 'other'", "the state of a plan is 'dreaming'"),
    ] {
        let told = told(&format!("UPDATE plans SET {change}"));
        assert_eq!(told.len(), 1, "{change}: {told:?}");
        assert!(told[0].contains(expected), "{change}: {told:?}");
    }
    assert!(
        told("DELETE FROM plans WHERE plan_id = 'other'")[0].contains("plan other: it is not in the list")
    );
    let more = "INSERT INTO plans SELECT 'x', 'x', NULL, 0, name, 'x', NULL, 'open', NULL, 8, NULL, NULL, started_at, \
                NULL, NULL, 0 FROM plans WHERE plan_id = 'other'";
    assert!(told(more)[0].contains("plan x: it never started"));
}

#[test]
fn what_is_kept_beside_events_is_verified_too() {
    let document = Digest::of(br#"{"plan":"nightly"}"#);
    let one = |sql: &str| {
        let told = told(sql);
        assert_eq!(told.len(), 1, "{sql}: {told:?}");
        told[0].clone()
    };
    let is_not = |what: &str| format!("{what} is not what it was");
    assert_eq!(one("UPDATE plan_documents SET body = '{}'"), is_not(&format!("document {document}")));
    let blob = Digest::of(&vec![7; 1_500_000]);
    let blob = is_not(&format!("blob {blob}"));
    let flip = "UPDATE blobs SET body = zeroblob(length(body)) WHERE chunk = 1";
    for sql in [flip, "DELETE FROM blobs WHERE chunk = 1", "UPDATE blobs SET chunk = 2 WHERE chunk = 1"] {
        assert_eq!(one(sql), blob, "{sql}");
    }
    let empty = Digest::of(b"");
    assert_eq!(one("UPDATE blobs SET body = x'00' WHERE length(body) = 0"), is_not(&format!("blob {empty}")));
    let strange = one("UPDATE plan_documents SET digest = x'aa'");
    assert!(strange.starts_with("document aa00"), "{strange}");
    assert_eq!(one("DROP TABLE blobs"), "the database is damaged: no such table: blobs");
}

/// Writes zeros over the first page of a table.
fn wipe(path: &Path, table: &str) {
    let other = Connection::open(path).unwrap();
    let number = |sql: &str| other.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap();
    let page = number(&format!("SELECT rootpage FROM sqlite_schema WHERE name = '{table}'"));
    let size = number("PRAGMA page_size");
    drop(other);
    let mut bytes = std::fs::read(path).unwrap();
    let (start, size) = (((page - 1) * size) as usize, size as usize);
    bytes[start..start + size].fill(0);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn page_that_is_no_page_any_more_is_told_and_no_failure() {
    for (table, first) in [("plan_events", "position 1: "), ("plans", "the database is damaged: ")] {
        let (_folder, path) = log();
        wipe(&path, table);
        let flaws = audit(&path, &[]).flaws;
        assert!(flaws[0].to_string().starts_with(first), "{table}: {flaws:?}");
        assert_eq!(flaws[0].position().is_some(), table == "plan_events");
    }
}

#[test]
fn index_that_does_not_fit_its_table_is_found() {
    let without_index = "PRAGMA writable_schema = ON; \
        UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'plans_root') \
        WHERE name = 'plan_events_tree'; PRAGMA writable_schema = RESET;";
    let told = told(without_index);
    assert!(told.iter().any(|told| told.starts_with("the database is damaged: ")), "{told:?}");
}

#[test]
fn events_behind_the_head_are_found() {
    let (_folder, path) = log();
    let frontier = |size: usize| {
        let mut tree = Frontier::default();
        let (repository, _) = SqliteRepository::open_to_verify(&path).unwrap();
        let rows = block_on(repository.rows(Position::ZERO)).unwrap().rows;
        rows[..size].iter().for_each(|row: &Row| tree.push(row.leaf));
        (tree.to_bytes(), rows[size - 1].event.recorded_at.to_string())
    };
    let (bytes, recorded_at) = frontier(7);
    let other = Connection::open(&path).unwrap();
    let sql = "UPDATE planwire_log SET head = 7, frontier = ?1, recorded_at = ?2";
    other.execute(sql, rusqlite::params![bytes, recorded_at]).unwrap();
    drop(other);
    let (repository, says) = SqliteRepository::open_to_verify(&path).unwrap();
    assert!(matches!(says, WitnessSays::Missing(_)), "{says:?}");
    let verified = block_on(verify(&*repository, &[], |_, _| ())).unwrap();
    assert_eq!(verified.flaws, [Flaw::Beyond { position: Position::new(8) }]);
}

#[test]
fn log_that_does_not_continue_what_was_signed_is_told() {
    let (_folder, path) = log();
    let mut marks = marks(&path);
    marks[2].root[0] ^= 1;
    let signed = Flaw::Mark { position: Position::new(3) };
    assert_eq!(audit(&path, &marks).flaws, std::slice::from_ref(&signed));
    assert_eq!(audit(&path, &marks).position.get(), 2, "good up to here");
    let later = Mark { size: EVENTS + 3, ..marks[0] };
    let short = Flaw::Short { position: Position::new(EVENTS + 1), size: EVENTS + 3 };
    assert_eq!(audit(&path, &[later]).flaws, [short]);
    let empty = Mark { size: 0, root: [7; 32] };
    assert_eq!(audit(&path, &[empty]).flaws, [Flaw::Mark { position: Position::ZERO }]);
}

#[test]
fn head_that_cannot_be_read_is_an_error_with_its_position() {
    let (_folder, path) = log();
    Connection::open(&path).unwrap().execute_batch("UPDATE planwire_log SET frontier = x'00'").unwrap();
    let (repository, says) = SqliteRepository::open_to_verify(&path).unwrap();
    assert!(matches!(says, WitnessSays::Unsure(_)), "{says:?}");
    let error = block_on(verify(&*repository, &[], |_, _| ())).unwrap_err().to_string();
    assert_eq!(error, "the log is damaged at position 8: the frontier does not fit the head");
}

#[test]
fn witness_is_told_and_left_as_it_is() {
    let (_folder, path) = log();
    let witness = path.with_extension("db.head");
    let says = || SqliteRepository::open_to_verify(&path).unwrap().1;
    std::fs::write(&witness, "").unwrap();
    assert!(matches!(says(), WitnessSays::Damaged));
    std::fs::remove_file(&witness).unwrap();
    assert!(matches!(says(), WitnessSays::Absent));
    assert!(!witness.exists());
    std::fs::remove_file(&path).unwrap();
    assert!(SqliteRepository::open_to_verify(&path).is_err());
}

#[test]
fn log_is_verified_while_it_is_written() {
    let (_folder, path) = log();
    let (mut writer, repository) = open(&path);
    let (reader, _) = SqliteRepository::open_to_verify(&path).unwrap();
    let mut head = writer.head().unwrap();
    for more in 1..=20 {
        let page = block_on(repository.list_by_plan(
            &crate::author::plan_id("other"),
            planwire_event::EventTypes::All,
            Position::ZERO,
            PageLimits::default(),
        ));
        let mut event = (**page.unwrap().events.last().unwrap()).clone();
        event.event = planwire_event::Event::new(
            (more + (1_u128 << 90)).into(),
            event.event.event_type().clone(),
            event.plan_id().clone(),
            event.event.timestamp(),
            event.event.payload().clone(),
        )
        .unwrap();
        event.position = head.position.next();
        event.seq = event.seq.next();
        event.recorded_at = head.recorded_at;
        let row = Row::seal(std::sync::Arc::new(event));
        let mut next = head.clone();
        next.position = row.event.position;
        next.frontier.push(row.leaf);
        let batch = planwire_store::Batch {
            rows: vec![row],
            plans: vec![],
            documents: vec![],
            blobs: vec![],
            next: next.clone(),
        };
        writer.append(&head, &batch).unwrap();
        head = next;
        let verified = block_on(verify(&*reader, &[], |_, _| ())).unwrap();
        assert_eq!((verified.position, verified.flaws), (head.position, vec![]));
    }
}

#[test]
fn postgres_log_is_verified_the_same() {
    let Some(cluster) = Cluster::start("postgres_log_is_verified_the_same") else { return };
    let mut store = postgres_in(&cluster, "planwire");
    let head = store.writer.head().unwrap();
    let batch = honest::batch(&head);
    store.writer.append(&head, &batch).unwrap();
    let url = cluster.url("planwire").parse().unwrap();
    let repository = planwire_store::PostgresStore::open_read_only(&url, &Default::default()).unwrap();
    let audit = || block_on(verify(&*repository, &[], |_, _| ())).unwrap();
    let verified = audit();
    assert_eq!((verified.position.get(), verified.flaws), (EVENTS, vec![]));
    assert_eq!(verified.root, batch.next.frontier.root());
    for (sql, expected) in [
        ("UPDATE planwire.plan_events SET payload = '{\"n\":2}' WHERE id = 4", "position 4: the checksum"),
        ("UPDATE planwire.plan_documents SET body = '{}'", "document "),
        ("UPDATE planwire.blobs SET chunk = 2 WHERE chunk = 1", "blob "),
        ("DELETE FROM planwire.plan_events WHERE id = 3", "position 3: the event is missing"),
    ] {
        cluster.sql(sql);
        let told: Vec<_> = audit().flaws.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|told| told.starts_with(expected)), "{sql}: {told:?}");
    }
}
