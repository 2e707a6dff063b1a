//! Removes a payload from a log in PostgreSQL.
//!
//! The row has it no more once the statement is committed. PostgreSQL keeps the old version of a row until it is vacuumed,
//! and its WAL as long as it is told to; that is the business of whoever runs it.

use planwire_event::{EventId, EventType, LogId};
use tokio_postgres::Error;

use crate::contract::{Row, StoreError};
use crate::decoder::EventDecoder;
use crate::merkle;
use crate::postgres::audit::stored;
use crate::postgres::decode::event_columns;
use crate::postgres::error::sql_number;
use crate::postgres::session::Session;
use crate::row::Members;

const FIND: &str = concat!("SELECT ", event_columns!(), " FROM plan_events WHERE event_id = $1");
/// One statement, so that both change or neither.
const REMOVE: &str = "WITH gone AS (UPDATE plan_events SET payload = NULL, payload_hash = $2, crc = $3 WHERE id = $1 \
    RETURNING plan_id) UPDATE plans SET name = '' WHERE $4 AND plan_id IN (SELECT plan_id FROM gone)";

/// The row of an event.
pub(crate) async fn find(
    session: &mut Session,
    event_id: EventId,
    log_id: LogId,
) -> Result<Result<Option<Row>, StoreError>, Error> {
    let statement = session.prepared(FIND).await?;
    let row = session.client.query_opt(&statement, &[&event_id.to_string()]).await?;
    Ok(row.map(|row| stored(&mut EventDecoder::new(log_id), &row)).transpose())
}

/// The row without its payload; none if that was removed before.
pub(crate) fn bare(row: &Row) -> Result<Option<Row>, StoreError> {
    if row.event.event.payload().removed_digest().is_some() {
        return Ok(None);
    }
    if merkle::leaf(&row.event, &row.meta) == row.leaf {
        return Ok(Some(row.without_payload()));
    }
    // What does not fit its leaf would be sealed as if it did.
    let message = "the leaf of the event is another one".to_owned();
    Err(StoreError::Damaged { position: row.event.position, message })
}

/// Puts `bare` in the place of the row that it was made of.
pub(crate) async fn remove(session: &mut Session, bare: &Row) -> Result<(), Error> {
    let statement = session.prepared(REMOVE).await?;
    let event = &bare.event.event;
    let digest = event.payload().digest();
    let begins = *event.event_type() == EventType::PlanStarted;
    let (position, crc) = (sql_number(bare.event.position.get()), i64::from(Members::crc_of(bare)));
    let digest = digest.as_bytes().as_slice();
    session.client.execute(&statement, &[&position, &digest, &crc, &begins]).await.map(drop)
}
