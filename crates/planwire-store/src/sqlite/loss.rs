//! What a database lacks of what its witness saw.

use planwire_event::{LogId, Position};
use rusqlite::{Connection, params};

use crate::contract::{Head, StoreError};
use crate::decoder::{EventDecoder, damaged};
use crate::sqlite::decode::{self, event_columns};
use crate::sqlite::error::{sql_number, store_error};
use crate::sqlite::witness::{Found, Testimony};

const ROWS: &str =
    concat!("SELECT ", event_columns!(), " FROM plan_events WHERE id > ?1 AND id <= ?2 ORDER BY id");

/// How a database differs from what its witness, the file `<database>.head`, saw of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Loss {
    /// There is no database, or an empty one.
    #[error("there is none, and events of the log {log_id} up to position {witnessed} were stored here")]
    Gone {
        /// The log.
        log_id: LogId,
        /// Its last event.
        witnessed: Position,
    },
    /// Its end is missing: it is an older copy, or what its WAL held is lost.
    #[error(
        "its end is missing: it ends at position {found}, and events up to position {witnessed} were stored; \
         missing: {}",
        Missing(*found, *witnessed)
    )]
    Tail {
        /// The log.
        log_id: LogId,
        /// Its last event.
        found: Position,
        /// The last event that was stored.
        witnessed: Position,
    },
    /// It is another log.
    #[error(
        "it is another log: {found_log} up to position {found}; what was stored here is {witnessed_log} up to \
         position {witnessed}"
    )]
    OtherLog {
        /// The log that is there.
        found_log: LogId,
        /// Its last event.
        found: Position,
        /// The log that was there.
        witnessed_log: LogId,
        /// Its last event.
        witnessed: Position,
    },
    /// It has the same name and other events, as a copy that was written elsewhere has.
    #[error(
        "its history is another one: it ends at position {found}, and its events up to position {witnessed} are not \
         those that were stored here"
    )]
    OtherHistory {
        /// The log.
        log_id: LogId,
        /// Its last event.
        found: Position,
        /// The last event that was stored.
        witnessed: Position,
    },
    /// What it says of the logs that it continues is not what was stored.
    #[error("what it says of the logs that it continues was changed")]
    Lineage {
        /// The log.
        log_id: LogId,
        /// Its last event.
        found: Position,
    },
}

struct Missing(Position, Position);

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (first, last) = (self.0.next(), self.1);
        if first == last { write!(f, "position {last}") } else { write!(f, "positions {first} to {last}") }
    }
}

/// A log that another one continues, as it is stored.
pub(crate) struct Continued {
    pub(crate) log_id: String,
    pub(crate) valid_to: i64,
}

/// The logs that this one continues.
pub(crate) fn lineage(connection: &Connection) -> Result<Vec<Continued>, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT log_id, valid_to FROM log_lineage ORDER BY log_id")
        .map_err(store_error)?;
    let rows = select.query_map([], |row| Ok(Continued { log_id: row.get(0)?, valid_to: row.get(1)? }));
    rows.and_then(Iterator::collect).map_err(store_error)
}

/// Checksum over the logs that this one continues, for the witness.
pub(crate) fn lineage_checksum(lineage: &[Continued]) -> u32 {
    lineage.iter().fold(0, |checksum, continued| {
        let checksum = crc32c::crc32c_append(checksum, continued.log_id.as_bytes());
        crc32c::crc32c_append(checksum, &continued.valid_to.to_le_bytes())
    })
}

/// What the witness has to say of the database as it is.
pub(crate) fn testimony(connection: &Connection) -> Result<Testimony, StoreError> {
    let lineage = lineage_checksum(&lineage(connection)?);
    Ok(Testimony::of(&decode::head(connection)?, lineage))
}

/// Says what a database lacks of what its witness saw; none if it holds all of that, or there is no witness.
///
/// The witness must have been read before the database, which another process may be writing.
pub(crate) fn compare(connection: &mut Connection, seen: &Found) -> Result<Option<Loss>, StoreError> {
    let transaction = connection.transaction().map_err(store_error)?;
    let head = decode::head(&transaction)?;
    let Some(witness) = seen.of(head.log_id) else { return Ok(None) };
    let (log_id, found, witnessed) = (head.log_id, head.position, witness.position());
    if log_id != witness.log_id {
        // Whatever it says of itself: a log that went on from a part of this one elsewhere lacks the rest.
        let other = Loss::OtherLog { found_log: log_id, found, witnessed_log: witness.log_id, witnessed };
        return Ok((witnessed > Position::ZERO).then_some(other));
    }
    if lineage_checksum(&lineage(&transaction)?) != witness.lineage {
        return Ok(Some(Loss::Lineage { log_id, found }));
    }
    if found < witnessed {
        return Ok(Some(Loss::Tail { log_id, found, witnessed }));
    }
    let leads = leads(&transaction, witness, &head)?;
    Ok((!leads).then_some(Loss::OtherHistory { log_id, found, witnessed }))
}

/// Whether the events after those that the witness saw lead from there to the head. Few have come since: those of one
/// commit after a process was killed, of some seconds after a power cut.
fn leads(connection: &Connection, witness: &Testimony, head: &Head) -> Result<bool, StoreError> {
    let mut frontier = witness.frontier.clone();
    let mut decoder = EventDecoder::new(head.log_id);
    let mut select = connection.prepare_cached(ROWS).map_err(store_error)?;
    let range = params![sql_number(witness.position().get()), sql_number(head.position.get())];
    let mut rows = select.query(range).map_err(store_error)?;
    while let Some(row) = rows.next().map_err(store_error)? {
        let row = decode::check(&mut decoder, row)?;
        let expected = Position::new(frontier.leaves()).next();
        if row.position() != expected {
            return Err(damaged(sql_number(expected.get()), "the event is missing"));
        }
        frontier.push(row.leaf()?);
    }
    if frontier.leaves() < head.position.get() {
        return Err(damaged(sql_number(frontier.leaves() + 1), "the event is missing"));
    }
    Ok(frontier == head.frontier)
}
