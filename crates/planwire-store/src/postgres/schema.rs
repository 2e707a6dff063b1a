//! Tables and indexes, as a list of migrations; `planwire_schema` says how many of them a schema has.
//!
//! A migration that was released is never changed. All that a schema lacks is done in one transaction under a lock of
//! its own, so that openers wait for each other and a killed one leaves nothing behind.

use planwire_event::LogId;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::contract::Head;
use crate::postgres::instant::Instant;
use crate::postgres::limits::MIGRATION_WAIT_MAX;

/// First key of the advisory lock of migrations, `PLWR` in ASCII; the second is the hash of the schema's name.
const LOCK_CLASS: i32 = 0x504C_5752;

const MIGRATIONS: &[&str] = &[FIRST];

/// The version that this program writes.
pub(crate) const VERSION: i32 = 1;

const _: () = assert!(MIGRATIONS.len() == 1 && VERSION == 1, "one version for each migration");

/// The tables of SQLite with PostgreSQL's types. `meta` is text, not JSONB: it went into the leaf as it is. Texts sort
/// by bytes, as in SQLite.
///
/// `fence` counts the times that a writer has looked what became of a batch whose connection was lost. An append
/// names the fence that its session has seen, so a statement that was still on its way then stores nothing.
const FIRST: &str = r#"
CREATE TABLE planwire_log (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  log_id TEXT NOT NULL,
  head BIGINT NOT NULL,
  recorded_at TIMESTAMPTZ NOT NULL,
  frontier BYTEA NOT NULL,
  pruned_to BIGINT NOT NULL,
  fence BIGINT NOT NULL
);
CREATE TABLE log_lineage (log_id TEXT COLLATE "C" PRIMARY KEY, valid_to BIGINT NOT NULL);
CREATE TABLE plan_events (
  id BIGINT PRIMARY KEY,
  event_id TEXT COLLATE "C" NOT NULL UNIQUE,
  event_type TEXT COLLATE "C" NOT NULL,
  plan_id TEXT COLLATE "C" NOT NULL,
  timestamp TIMESTAMPTZ NOT NULL,
  payload JSONB,
  seq BIGINT NOT NULL,
  root_plan_id TEXT COLLATE "C" NOT NULL,
  parent_plan_id TEXT COLLATE "C",
  depth INTEGER NOT NULL,
  recorded_at TIMESTAMPTZ NOT NULL,
  meta TEXT,
  payload_hash BYTEA,
  leaf BYTEA NOT NULL,
  crc BIGINT NOT NULL
);
CREATE INDEX plan_events_tree ON plan_events (root_plan_id, id);
CREATE TABLE plans (
  plan_id TEXT COLLATE "C" PRIMARY KEY,
  root_plan_id TEXT COLLATE "C" NOT NULL,
  parent_plan_id TEXT COLLATE "C",
  depth INTEGER NOT NULL,
  name TEXT NOT NULL,
  context_id TEXT COLLATE "C" NOT NULL,
  document_digest BYTEA,
  state TEXT COLLATE "C" NOT NULL,
  reason TEXT COLLATE "C",
  first_position BIGINT NOT NULL UNIQUE,
  last_position BIGINT,
  last_seq BIGINT,
  started_at TIMESTAMPTZ NOT NULL,
  ended_at TIMESTAMPTZ,
  owner TEXT COLLATE "C",
  hold INTEGER NOT NULL
);
CREATE INDEX plans_root ON plans (root_plan_id);
CREATE INDEX plans_context ON plans (context_id, first_position);
CREATE TABLE executors (executor_id TEXT COLLATE "C" PRIMARY KEY, url TEXT, seen_at TIMESTAMPTZ NOT NULL);
CREATE TABLE plan_documents (digest BYTEA PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE blobs (digest BYTEA, chunk INTEGER, body BYTEA NOT NULL, PRIMARY KEY (digest, chunk));
CREATE TABLE pruned_leaves (first_position BIGINT PRIMARY KEY, leaves BYTEA NOT NULL);
CREATE FUNCTION planwire_refuse(reason TEXT) RETURNS BIGINT LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION USING MESSAGE = reason, ERRCODE = 'PW001'; END $$;
"#;

/// What lies in a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing, or no schema.
    Nothing,
    /// A log of this version.
    Version(i32),
    /// Tables of another program.
    Foreign,
}

/// Looks what lies in `schema`.
pub(crate) async fn find(client: &Client, schema: &str) -> Result<Found, tokio_postgres::Error> {
    let sql = "SELECT count(*), count(*) FILTER (WHERE relname = 'planwire_schema') FROM pg_class \
               JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = $1";
    let row = client.query_typed_one(sql, &[(&schema, Type::TEXT)]).await?;
    let (relations, ours): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    if ours == 0 {
        return Ok(if relations == 0 { Found::Nothing } else { Found::Foreign });
    }
    // By its full name, so that who may not enter the schema is told that and not that nothing is there.
    let row =
        client.query_typed_one(&format!("SELECT version FROM \"{schema}\".planwire_schema"), &[]).await?;
    Ok(Found::Version(row.try_get(0)?))
}

/// The rights that the session's role lacks to write the log, as people write them; none if it has all.
pub(crate) async fn missing_rights(client: &Client) -> Result<Option<String>, tokio_postgres::Error> {
    let sql = "SELECT string_agg(need || ' on ' || relation, ', ') FROM (VALUES ('planwire_log', 'UPDATE'), \
                 ('plan_events', 'INSERT'), ('plans', 'INSERT'), ('plans', 'UPDATE'), ('plan_documents', 'INSERT'), \
                 ('blobs', 'INSERT')) AS needed (relation, need) WHERE NOT has_table_privilege(relation, need)";
    client.query_typed_one(sql, &[]).await?.try_get(0)
}

/// Brings `schema` to [`VERSION`], waits for others that do, and says what it found: `new_log` is the id of a log that
/// is not there yet. What is foreign or newer is left as it is.
pub(crate) async fn migrate(
    client: &mut Client,
    schema: &str,
    new_log: LogId,
) -> Result<Found, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    let wait = MIGRATION_WAIT_MAX.as_millis();
    // It holds the head of no log that others write, so a moment in which it is slow keeps nobody waiting.
    transaction
        .batch_execute(&format!(
            "SET LOCAL lock_timeout TO {wait}; SET LOCAL statement_timeout TO {wait};\
             SET LOCAL idle_in_transaction_session_timeout TO {wait};\
             SELECT pg_advisory_xact_lock({LOCK_CLASS}, hashtext('{schema}'))"
        ))
        .await?;
    let found = find(transaction.client(), schema).await?;
    let done = match found {
        Found::Nothing => 0,
        Found::Version(version) => version,
        Found::Foreign => return Ok(found),
    };
    let steps = MIGRATIONS.get(usize::try_from(done).unwrap_or(usize::MAX)..).unwrap_or_default();
    if steps.is_empty() {
        return Ok(found);
    }
    if done == 0 {
        // Whoever may not make schemas may be given one.
        let missing = "SELECT to_regnamespace($1) IS NULL";
        if transaction.query_typed_one(missing, &[(&schema, Type::TEXT)]).await?.try_get(0)? {
            transaction.batch_execute(&format!("CREATE SCHEMA \"{schema}\"")).await?;
        }
    }
    for sql in steps {
        transaction.batch_execute(sql).await?;
    }
    if done == 0 {
        let head = Head::empty(new_log);
        let first = "INSERT INTO planwire_log (one, log_id, head, recorded_at, frontier, pruned_to, fence) \
                     VALUES (1, $1, 0, $2, '', 0, 0)";
        transaction.execute(first, &[&head.log_id.as_str(), &Instant(head.recorded_at)]).await?;
    }
    transaction
        .batch_execute(&format!(
            "CREATE TABLE IF NOT EXISTS planwire_schema (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL);\
             INSERT INTO planwire_schema VALUES (1, {VERSION}) ON CONFLICT (one) DO UPDATE SET version = {VERSION}"
        ))
        .await?;
    transaction.commit().await?;
    Ok(Found::Version(VERSION))
}
