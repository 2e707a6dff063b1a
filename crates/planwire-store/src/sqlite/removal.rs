//! Removes a payload from a SQLite file: from its row, and from the pages and the WAL that held it.
//!
//! `secure_delete` writes zeros over what the row leaves behind. The WAL still has the old page, and the new one with the
//! zeros, until it is moved into the database and cut off.

use std::time::Duration;

use planwire_event::EventId;
use planwire_event::EventType;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use crate::contract::{Removal, Row, StoreError};
use crate::decoder::EventDecoder;
use crate::merkle;
use crate::row::Members;
use crate::sqlite::checkpoint::empty_wal;
use crate::sqlite::decode::{self, event_columns};
use crate::sqlite::error::{sql_number, store_error};

const FIND: &str = concat!("SELECT ", event_columns!(), " FROM plan_events WHERE event_id = ?1");
const REMOVE: &str = "UPDATE plan_events SET payload = NULL, payload_hash = ?2, crc = ?3 WHERE id = ?1";
const REMOVE_NAME: &str = "UPDATE plans SET name = '' WHERE plan_id = ?1";

/// Tries to cut the WAL off while readers look at an older state; each read is one page, so they let go soon.
const CUT_TRIES_MAX: u32 = 200;
/// Pause between two tries. The writer stores nothing meanwhile, for two seconds at most.
const CUT_PAUSE: Duration = Duration::from_millis(10);

/// Removes the payload of an event, and says so when no page of the file and of its WAL holds it.
pub(crate) fn remove(connection: &mut Connection, event_id: EventId) -> Result<Removal, StoreError> {
    // Answers with a row.
    connection.query_row("PRAGMA secure_delete = ON", [], |_| Ok(())).map_err(store_error)?;
    let removal = in_transaction(connection, event_id)?;
    if removal != Removal::Unknown {
        cut_wal(connection)?;
    }
    Ok(removal)
}

fn in_transaction(connection: &mut Connection, event_id: EventId) -> Result<Removal, StoreError> {
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(store_error)?;
    let mut decoder = EventDecoder::new(decode::head(&transaction)?.log_id);
    let read = |row: &rusqlite::Row<'_>| {
        Ok(decode::check(&mut decoder, row).and_then(|row| {
            let event = decode::event(&mut decoder, &row)?;
            Ok(Row { event, meta: row.meta()?.into(), leaf: row.leaf()? })
        }))
    };
    let found = transaction.query_row(FIND, [event_id.to_string()], read).optional().map_err(store_error)?;
    let Some(row) = found.transpose()? else { return Ok(Removal::Unknown) };
    if row.event.event.payload().removed_digest().is_some() {
        return Ok(Removal::Before);
    }
    let position = row.event.position;
    if merkle::leaf(&row.event, &row.meta) != row.leaf {
        // What does not fit its leaf would be sealed as if it did.
        let message = "the leaf of the event is another one".to_owned();
        return Err(StoreError::Damaged { position, message });
    }
    let bare = row.without_payload();
    let digest = bare.event.event.payload().digest();
    let crc = Members::crc_of(&bare);
    transaction
        .execute(REMOVE, params![sql_number(position.get()), digest.as_bytes(), crc])
        .map_err(store_error)?;
    if *row.event.event.event_type() == EventType::PlanStarted {
        transaction.execute(REMOVE_NAME, [row.event.plan_id().as_str()]).map_err(store_error)?;
    }
    transaction.commit().map_err(store_error)?;
    Ok(Removal::Removed)
}

/// Moves the WAL into the database and cuts it off.
fn cut_wal(connection: &Connection) -> Result<(), StoreError> {
    for _ in 0..CUT_TRIES_MAX {
        if !empty_wal(connection).map_err(store_error)? {
            return Ok(());
        }
        std::thread::sleep(CUT_PAUSE);
    }
    Err(StoreError::Busy)
}
