//! The marker in a log that was moved elsewhere, or that is on its way here.
//!
//! It is a table, so that whoever opens the file reads where the log is, and a trigger, so that whoever does not look
//! writes nothing. **Invariant:** a log with a marker takes no event.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::moving::Moving;
use crate::sqlite::open::{OpenError, open_error};

const SET: &str = "CREATE TABLE log_move (one INTEGER PRIMARY KEY CHECK (one = 1), state TEXT NOT NULL, \
      place TEXT NOT NULL) STRICT; \
    CREATE TRIGGER log_move_head BEFORE UPDATE ON planwire_log BEGIN \
      SELECT RAISE(ABORT, 'the log was moved'); END";
const CLEAR: &str = "DROP TRIGGER log_move_head; DROP TABLE log_move";
const FIND: &str = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'log_move'";

/// Where the log is, if not here.
pub(crate) fn find(connection: &Connection) -> rusqlite::Result<Option<Moving>> {
    if !connection.prepare(FIND)?.exists([])? {
        return Ok(None);
    }
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    let found = connection.query_row("SELECT state, place FROM log_move", [], row).optional()?;
    Ok(found.and_then(|(state, place)| Moving::of(&state, &place)))
}

/// Sets the marker, within the caller's transaction.
pub(crate) fn set(connection: &Connection, moving: &Moving) -> rusqlite::Result<()> {
    connection.execute_batch(SET)?;
    let (state, place) = moving.parts();
    let insert = "INSERT INTO log_move (one, state, place) VALUES (1, ?1, ?2)";
    connection.execute(insert, params![state, place]).map(drop)
}

/// Takes the marker away, within the caller's transaction.
pub(crate) fn clear(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(CLEAR)
}

/// Refuses a log that must not be written.
pub(crate) fn refuse(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    match find(connection).map_err(|error| open_error(path, error))? {
        None => Ok(()),
        Some(Moving::Away { to }) => Err(OpenError::Moved { path: path.to_owned(), to }),
        Some(Moving::Here { from }) => Err(OpenError::Arriving { path: path.to_owned(), from }),
    }
}

/// Refuses a log that is not here yet.
pub(crate) fn refuse_arriving(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    match refuse(path, connection) {
        Err(OpenError::Moved { .. }) => Ok(()),
        other => other,
    }
}
