//! The tables of a log, so that rows can be copied between databases that write their values differently.

use planwire_event::Timestamp;

/// A table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// The key comes first.
    pub(crate) columns: &'static [Column],
    /// Columns of the key.
    pub(crate) keys: usize,
    /// Rows that are copied at a time: at most 32 MiB of them.
    pub(crate) rows_max: usize,
}

/// A column.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Text,
    Bytes,
    /// Text in SQLite, an instant in PostgreSQL.
    Time,
    /// Text in normal form in SQLite, JSONB in PostgreSQL.
    Json,
}

/// A value on its way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Int(i64),
    /// Also JSON, in normal form.
    Text(String),
    Bytes(Vec<u8>),
    Time(Timestamp),
}

const fn int(name: &'static str) -> Column {
    Column { name, kind: Kind::Int }
}

const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text }
}

const fn bytes(name: &'static str) -> Column {
    Column { name, kind: Kind::Bytes }
}

const fn time(name: &'static str) -> Column {
    Column { name, kind: Kind::Time }
}

/// The one row that says what the log is.
pub(crate) const LOG: &str = "planwire_log";
/// The events.
pub(crate) const EVENTS: &str = "plan_events";

/// All tables.
pub(crate) const TABLES: [Table; 8] = [
    Table {
        name: LOG,
        columns: &[
            int("one"),
            text("log_id"),
            int("head"),
            time("recorded_at"),
            bytes("frontier"),
            int("pruned_to"),
        ],
        keys: 1,
        rows_max: 1,
    },
    Table { name: "log_lineage", columns: &[text("log_id"), int("valid_to")], keys: 1, rows_max: 1_000 },
    Table {
        name: EVENTS,
        columns: &[
            int("id"),
            text("event_id"),
            text("event_type"),
            text("plan_id"),
            time("timestamp"),
            Column { name: "payload", kind: Kind::Json },
            int("seq"),
            text("root_plan_id"),
            text("parent_plan_id"),
            int("depth"),
            time("recorded_at"),
            text("meta"),
            bytes("payload_hash"),
            bytes("leaf"),
            int("crc"),
        ],
        keys: 1,
        rows_max: 128,
    },
    Table {
        name: "plans",
        columns: &[
            text("plan_id"),
            text("root_plan_id"),
            text("parent_plan_id"),
            int("depth"),
            text("name"),
            text("context_id"),
            bytes("document_digest"),
            text("state"),
            text("reason"),
            int("first_position"),
            int("last_position"),
            int("last_seq"),
            time("started_at"),
            time("ended_at"),
            text("owner"),
            int("hold"),
        ],
        keys: 1,
        rows_max: 64,
    },
    Table {
        name: "executors",
        columns: &[text("executor_id"), text("url"), time("seen_at")],
        keys: 1,
        rows_max: 1_000,
    },
    Table { name: "plan_documents", columns: &[bytes("digest"), text("body")], keys: 1, rows_max: 8 },
    Table { name: "blobs", columns: &[bytes("digest"), int("chunk"), bytes("body")], keys: 2, rows_max: 32 },
    Table { name: "pruned_leaves", columns: &[int("first_position"), bytes("leaves")], keys: 1, rows_max: 8 },
];

impl Table {
    /// The names of all columns.
    pub(crate) fn names(&self) -> String {
        self.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
    }

    /// The names of the key.
    pub(crate) fn key_names(&self) -> String {
        self.columns[..self.keys].iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
    }
}
