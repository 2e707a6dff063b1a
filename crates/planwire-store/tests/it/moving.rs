//! A log that moves is the same log, in one place at a time, whatever interrupts it.

use std::path::{Path, PathBuf};

use planwire_store::{
    Address, HowMoved, LogWriter as _, MoveError, OpenError, PostgresOpenError, PostgresStore,
    SqliteRepository, SqliteStore, move_log,
};
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::cluster::Cluster;
use crate::honest::{self, EVENTS};
use crate::stores::{open, open_postgres, options, postgres_options};

const TABLES: [&str; 8] = [
    "planwire_log",
    "log_lineage",
    "plan_events",
    "plans",
    "executors",
    "plan_documents",
    "blobs",
    "pruned_leaves",
];

/// Rows that no event makes.
const MORE: &str = "INSERT INTO log_lineage VALUES ('00000000', 5), ('ZZZZZZZZ', 0); \
    INSERT INTO executors VALUES ('e1', NULL, '2026-11-22T14:20:01.123456Z'), ('e2', 'http://x', '0001-01-01T00:00:00.000000Z'); \
    INSERT INTO pruned_leaves VALUES (1, x'00ff'), (9, x''); UPDATE plans SET hold = 3 WHERE plan_id = 'other'";

/// Sets the mark of a log that has not arrived, as a move does.
const ARRIVING: &str = "CREATE TABLE log_move (one INTEGER PRIMARY KEY CHECK (one = 1), state TEXT NOT NULL, \
      place TEXT NOT NULL) STRICT; INSERT INTO log_move VALUES (1, 'arriving', 'there'); \
    CREATE TRIGGER log_move_head BEFORE UPDATE ON planwire_log BEGIN SELECT RAISE(ABORT, 'no'); END";

/// A folder with a log in `a.db`, and two more paths in it.
fn log() -> (tempfile::TempDir, [PathBuf; 3]) {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a.db", "b.db", "c.db"].map(|name| folder.path().join(name));
    honest::log(&paths[0]);
    sql(&paths[0], MORE);
    // The witness speaks of the logs that this one continues.
    std::fs::remove_file(folder.path().join("a.db.head")).unwrap();
    (folder, paths)
}

fn sql(path: &Path, text: &str) {
    Connection::open(path).unwrap().execute_batch(text).unwrap();
}

/// All rows of a log.
fn dump(path: &Path) -> Vec<Vec<Value>> {
    let connection = Connection::open(path).unwrap();
    let mut rows = Vec::new();
    for table in TABLES {
        let mut select = connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).unwrap();
        let columns = select.column_count();
        let found = select.query_map([], |row| (0..columns).map(|at| row.get(at)).collect()).unwrap();
        rows.extend(found.map(Result::unwrap));
    }
    rows
}

fn moved(from: &Address, to: &Address) -> Result<HowMoved, MoveError> {
    let mut told = Vec::new();
    let moved = move_log(from, to, &mut |stage, done, all| told.push((stage, done, all)))?;
    assert_eq!(moved.head.get(), EVENTS);
    assert!(told.iter().all(|(_, done, all)| done <= all && *all == EVENTS), "{told:?}");
    Ok(moved.how)
}

fn move_files(from: &Path, to: &Path) -> Result<HowMoved, MoveError> {
    moved(&Address::File(from.to_owned()), &Address::File(to.to_owned()))
}

#[test]
fn every_row_of_every_table_is_as_it_was_after_moving_through_postgresql() {
    let (_folder, [a, b, c]) = log();
    let before = dump(&a);
    assert_eq!(before.len(), 1 + 2 + 8 + 3 + 2 + 1 + 3 + 2);
    assert_eq!(move_files(&a, &b).unwrap(), HowMoved::Copied);
    assert_eq!((dump(&a), dump(&b)), (before.clone(), before.clone()), "what is left can be read");
    let Some(cluster) = Cluster::start("moving through postgresql") else { return };
    let url = cluster.url("moved");
    let postgres = Address::Postgres(url.parse().unwrap());
    assert_eq!(moved(&Address::File(b), &postgres).unwrap(), HowMoved::Copied);
    drop(open_postgres(&url));
    assert_eq!(moved(&postgres, &Address::File(c.clone())).unwrap(), HowMoved::Copied);
    assert_eq!(dump(&c), before);
    drop(open(&c));
    // There, nobody writes any more, whether he asks or not.
    let refused = PostgresStore::open(&url.parse().unwrap(), &postgres_options()).map(drop);
    assert!(
        matches!(&refused, Err(PostgresOpenError::Moved { to, .. }) if to.ends_with("c.db")),
        "{refused:?}"
    );
    drop(PostgresStore::open_read_only(&url.parse().unwrap(), &postgres_options()).unwrap());
    cluster.sql(
        "DO $$ BEGIN UPDATE moved.planwire_log SET head = head; RAISE EXCEPTION 'it was written'; \
         EXCEPTION WHEN SQLSTATE 'PW002' THEN NULL; END $$",
    );
    assert_eq!(moved(&postgres, &Address::File(c)).unwrap(), HowMoved::Before);
}

#[test]
fn log_that_was_moved_is_closed_for_those_too_who_do_not_ask() {
    let (_folder, [a, b, c]) = log();
    let (writer, readers) = open(&a);
    let held = move_files(&a, &b).unwrap_err();
    assert!(matches!(held, MoveError::File(OpenError::Lock(_))), "{held}");
    drop((writer, readers));
    move_files(&a, &b).unwrap();
    let refused = SqliteStore::open(&a, &options()).unwrap_err();
    assert!(matches!(&refused, OpenError::Moved { to, .. } if *to == b.display().to_string()), "{refused}");
    drop(SqliteRepository::open_read_only(&a).unwrap());
    let raw = Connection::open(&a).unwrap().execute("UPDATE planwire_log SET head = head", []);
    assert!(raw.unwrap_err().to_string().contains("the log was moved"));
    let elsewhere = move_files(&a, &c).unwrap_err();
    assert!(
        matches!(&elsewhere, MoveError::Elsewhere { to, .. } if *to == b.display().to_string()),
        "{elsewhere}"
    );
    assert!(elsewhere.to_string().contains("was moved to"));
}

#[test]
fn move_that_ended_before_the_source_was_closed_begins_anew() {
    let (folder, [a, b, _]) = log();
    let before = std::fs::read(&a).unwrap();
    move_files(&a, &b).unwrap();
    sql(&b, ARRIVING);
    std::fs::write(&a, before).unwrap();
    for refused in
        [SqliteStore::open(&b, &options()).map(drop), SqliteRepository::open_read_only(&b).map(drop)]
    {
        assert!(matches!(refused, Err(OpenError::Arriving { .. })), "{refused:?}");
    }
    // What is left of a copy under way is no harm either.
    std::fs::write(folder.path().join("b.db.arriving"), "half of it").unwrap();
    let (mut writer, readers) = open(&a);
    assert_eq!(writer.head().unwrap().position.get(), EVENTS);
    drop((writer, readers));
    assert_eq!(move_files(&a, &b).unwrap(), HowMoved::Copied);
    assert_eq!(dump(&b), dump(&a));
    assert!(!folder.path().join("b.db.arriving").exists());
    drop(open(&b));
}

#[test]
fn move_that_ended_after_the_source_was_closed_is_finished() {
    let (_folder, [a, b, _]) = log();
    move_files(&a, &b).unwrap();
    sql(&b, ARRIVING);
    assert_eq!(move_files(&a, &b).unwrap(), HowMoved::Finished);
    drop(open(&b));
    assert_eq!(move_files(&a, &b).unwrap(), HowMoved::Before);
    // What arrived there is not what was moved.
    sql(&b, "DROP TABLE IF EXISTS log_move; UPDATE planwire_log SET head = 7");
    sql(&b, ARRIVING);
    assert!(move_files(&a, &b).is_err());
}

#[test]
fn both_ends_of_an_interrupted_move_in_postgresql_are_told_apart() {
    let (_folder, [a, _, _]) = log();
    let Some(cluster) = Cluster::start("interrupted move in postgresql") else { return };
    let url = cluster.url("there");
    let (file, there) = (Address::File(a.clone()), Address::Postgres(url.parse().unwrap()));
    let before = std::fs::read(&a).unwrap();
    moved(&file, &there).unwrap();
    let arriving = "SET search_path TO there; CREATE TABLE planwire_move (one INTEGER, state TEXT, place TEXT); \
         INSERT INTO planwire_move VALUES (1, 'arriving', 'here'); \
         CREATE FUNCTION planwire_moved() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
         CREATE TRIGGER planwire_move BEFORE UPDATE ON planwire_log EXECUTE FUNCTION planwire_moved()";
    cluster.sql(arriving);
    let refused = PostgresStore::open(&url.parse().unwrap(), &postgres_options()).map(drop);
    assert!(matches!(refused, Err(PostgresOpenError::Arriving { .. })), "{refused:?}");
    assert_eq!(moved(&file, &there).unwrap(), HowMoved::Finished);
    cluster.sql(arriving);
    std::fs::write(&a, before).unwrap();
    assert_eq!(moved(&file, &there).unwrap(), HowMoved::Copied);
    let (writer, readers) = open_postgres(&url);
    let open = moved(&there, &file).unwrap_err();
    assert!(matches!(open, MoveError::Open { .. }), "{open}");
    drop((writer, readers));
    // A log that has no event yet is nothing, unless somebody has it open.
    let used = Address::Postgres(cluster.url("used").parse().unwrap());
    let (mut writer, readers) = open_postgres(&cluster.url("used"));
    let before = writer.head().unwrap();
    let in_use = moved(&there, &used).unwrap_err();
    assert!(matches!(in_use, MoveError::InUse { .. }), "{in_use}");
    assert_eq!(writer.head().unwrap(), before, "his log is what it was");
    drop((writer, readers));
    let mut other = cluster.session();
    other.sql("SELECT pg_advisory_lock(1347180371, hashtext('elsewhere'))");
    let elsewhere = Address::Postgres(cluster.url("elsewhere").parse().unwrap());
    let busy = moved(&there, &elsewhere).unwrap_err();
    assert!(matches!(busy, MoveError::Busy { .. }), "{busy}");
    let occupied = moved(&there, &file).unwrap_err();
    assert!(matches!(&occupied, MoveError::Occupied { head, .. } if head.get() == EVENTS), "{occupied}");
}

#[test]
fn log_that_is_not_whole_stays_where_it_is() {
    let (_folder, [a, b, c]) = log();
    sql(&a, "UPDATE plan_documents SET body = 'another'");
    let refused = move_files(&a, &b).unwrap_err();
    assert!(matches!(refused, MoveError::NotWhole { .. }), "{refused}");
    assert!(refused.to_string().contains("stays the log"));
    drop(open(&a));
    honest::log(&c);
    let occupied = move_files(&a, &c).unwrap_err();
    assert!(matches!(occupied, MoveError::Occupied { .. }), "{occupied}");
    assert!(matches!(move_files(&c, &b), Ok(HowMoved::Copied)), "what did not arrive is no log");
}

#[test]
fn place_whose_log_is_gone_takes_no_other() {
    let (folder, [a, b, c]) = log();
    honest::log(&b);
    std::fs::remove_file(&b).unwrap();
    let refused = move_files(&a, &b).unwrap_err();
    assert!(matches!(refused, MoveError::File(OpenError::Loss { .. })), "{refused}");
    drop(open(&c));
    assert_eq!(move_files(&a, &c).unwrap(), HowMoved::Copied, "a log without events is nothing");
    let missing = move_files(&folder.path().join("nowhere.db"), &b).unwrap_err();
    assert!(matches!(missing, MoveError::File(OpenError::Missing { .. })), "{missing}");
}
