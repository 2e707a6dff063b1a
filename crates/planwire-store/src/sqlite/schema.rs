//! Tables and indexes, as a list of migrations; `user_version` says how many of them a file has.
//!
//! A migration that was released is never changed. A file with more migrations than we know is refused when it is
//! opened, so nothing here has to cope with tables of a later version.

use rusqlite::{Connection, TransactionBehavior};

/// Marks a SQLite file as ours: `PLWR` in ASCII.
pub const APPLICATION_ID: i32 = 0x504C_5752;

const MIGRATIONS: &[&str] = &[FIRST];

/// The version that this program writes.
pub(crate) const VERSION: i32 = 1;

const _: () = assert!(MIGRATIONS.len() == 1 && VERSION == 1, "one version for each migration");

/// `id` is the position. Payload NULL with `payload_hash` set means that the payload was removed. `meta` is JSON.
///
/// One secondary index beside `event_id`: dirty index pages are what a commit costs, and the rows of a tree lie close
/// together in this one. A plan is read as a range of its tree.
const FIRST: &str = "
CREATE TABLE planwire_log (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  log_id TEXT NOT NULL,
  head INTEGER NOT NULL,
  recorded_at TEXT NOT NULL,
  frontier BLOB NOT NULL,
  pruned_to INTEGER NOT NULL
) STRICT;
CREATE TABLE log_lineage (log_id TEXT PRIMARY KEY, valid_to INTEGER NOT NULL) STRICT;
CREATE TABLE plan_events (
  id INTEGER PRIMARY KEY,
  event_id TEXT NOT NULL UNIQUE,
  event_type TEXT NOT NULL,
  plan_id TEXT NOT NULL,
  timestamp TEXT NOT NULL,
  payload TEXT,
  seq INTEGER NOT NULL,
  root_plan_id TEXT NOT NULL,
  parent_plan_id TEXT,
  depth INTEGER NOT NULL,
  recorded_at TEXT NOT NULL,
  meta TEXT,
  payload_hash BLOB,
  leaf BLOB NOT NULL,
  crc INTEGER NOT NULL
) STRICT;
CREATE INDEX plan_events_tree ON plan_events (root_plan_id, id);
CREATE TABLE plans (
  plan_id TEXT PRIMARY KEY,
  root_plan_id TEXT NOT NULL,
  parent_plan_id TEXT,
  depth INTEGER NOT NULL,
  name TEXT NOT NULL,
  context_id TEXT NOT NULL,
  document_digest BLOB,
  state TEXT NOT NULL,
  reason TEXT,
  first_position INTEGER NOT NULL,
  last_position INTEGER,
  last_seq INTEGER,
  started_at TEXT NOT NULL,
  ended_at TEXT,
  owner TEXT,
  hold INTEGER NOT NULL
) STRICT;
CREATE INDEX plans_root ON plans (root_plan_id);
CREATE INDEX plans_context ON plans (context_id, first_position);
CREATE TABLE executors (executor_id TEXT PRIMARY KEY, url TEXT, seen_at TEXT NOT NULL) STRICT;
CREATE TABLE plan_documents (digest BLOB PRIMARY KEY, body TEXT NOT NULL) STRICT;
CREATE TABLE blobs (digest BLOB, chunk INTEGER, body BLOB NOT NULL, PRIMARY KEY (digest, chunk)) STRICT;
CREATE TABLE pruned_leaves (first_position INTEGER PRIMARY KEY, leaves BLOB NOT NULL) STRICT;
";

/// Brings a file from `version` to [`VERSION`], each step in a transaction of its own, so that a killed process leaves
/// a whole version behind. `new_log` gives the first row of `planwire_log` for a file that has none.
pub(crate) fn migrate(
    connection: &mut Connection,
    version: i32,
    new_log: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut new_log = (version == 0).then_some(new_log);
    let done = usize::try_from(version).unwrap_or(0);
    for (step, sql) in (done + 1..).zip(&MIGRATIONS[done.min(MIGRATIONS.len())..]) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        if let Some(new_log) = new_log.take() {
            new_log(&transaction)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", i64::try_from(step).unwrap_or(i64::MAX))?;
        transaction.commit()?;
    }
    Ok(())
}
