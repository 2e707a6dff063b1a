//! Rows of PostgreSQL as what they mean; a row that does not is damage, and names its position.

use std::sync::Arc;

use planwire_event::normal::{Source, normalise};
use planwire_event::{Digest, LogId, PlanStatus, Position, Seq, StoredEvent};
use tokio_postgres::Row;

use crate::contract::{Head, PlanRow, StoreError};
use crate::decoder::{EventDecoder, damaged};
use crate::merkle::Frontier;
use crate::postgres::instant::Instant;
use crate::row::Members;

/// Columns of `plan_events` as [`event`] reads them.
macro_rules! event_columns {
    () => {
        "id, event_id, event_type, plan_id, timestamp, \
         coalesce(payload::text, '{\"$removed\":\"' || encode(payload_hash, 'hex') || '\"}'), seq, root_plan_id, parent_plan_id, depth, \
         recorded_at, meta, leaf, crc"
    };
}
pub(crate) use event_columns;

/// Columns of `plans` as [`plan`] reads them.
macro_rules! plan_columns {
    () => {
        "plan_id, root_plan_id, parent_plan_id, depth, name, context_id, document_digest, state, reason, \
         first_position, last_position, last_seq, started_at, ended_at, owner"
    };
}
pub(crate) use plan_columns;

type Wrong = Box<dyn std::error::Error + Send + Sync>;

/// A position as PostgreSQL holds it.
pub(crate) fn position(number: i64) -> Position {
    Position::new(u64::try_from(number).unwrap_or(0))
}

/// Reads the name of a log.
pub(crate) fn log_id(text: &str) -> Result<LogId, StoreError> {
    text.parse().map_err(|error| StoreError::Failed(Box::new(error)))
}

/// Reads the head and its fence, and checks that it is one.
pub(crate) fn head(row: Option<&Row>) -> Result<(Head, i64), StoreError> {
    let Some(row) = row else { return Err(damaged(0, "the log has no head")) };
    let number: i64 = row.try_get(1).map_err(|error| StoreError::Failed(Box::new(error)))?;
    head_of(row, number).map_err(|message| damaged(number, message))
}

fn head_of(row: &Row, number: i64) -> Result<(Head, i64), Wrong> {
    let leaves = u64::try_from(number)?;
    let frontier = Frontier::from_bytes(leaves, row.try_get(3)?);
    let head = Head {
        log_id: row.try_get::<_, &str>(0)?.parse()?,
        position: Position::new(leaves),
        recorded_at: row.try_get::<_, Instant>(2)?.0,
        frontier: frontier.ok_or("the frontier does not fit the head")?,
    };
    Ok((head, row.try_get(4)?))
}

/// Reads an event, with the payload in its normal form, and checks it.
pub(crate) fn event(decoder: &mut EventDecoder, row: &Row, id: i64) -> Result<Arc<StoredEvent>, StoreError> {
    let texts = Texts::of(row).map_err(|error| damaged(id, error))?;
    let (members, crc) = texts.members(row, id).map_err(|error| damaged(id, error))?;
    decoder.check(&members, crc)?;
    decoder.event(&members)
}

/// Members that PostgreSQL keeps in another form than the one that was hashed.
struct Texts {
    timestamp: String,
    payload: String,
    recorded_at: String,
}

impl Texts {
    fn of(row: &Row) -> Result<Self, Wrong> {
        let payload: Option<&str> = row.try_get(5)?;
        Ok(Self {
            timestamp: row.try_get::<_, Instant>(4)?.0.to_string(),
            payload: normalise(payload.ok_or("the payload is missing")?, Source::Store)?,
            recorded_at: row.try_get::<_, Instant>(10)?.0.to_string(),
        })
    }

    fn members<'a>(&'a self, row: &'a Row, id: i64) -> Result<(Members<'a, [u8]>, i64), Wrong> {
        let text =
            |column: usize| -> Result<&'a [u8], Wrong> { Ok(row.try_get::<_, &str>(column)?.as_bytes()) };
        let members = Members {
            id,
            event_id: text(1)?,
            event_type: text(2)?,
            plan_id: text(3)?,
            timestamp: self.timestamp.as_bytes(),
            payload: self.payload.as_bytes(),
            seq: row.try_get(6)?,
            root_plan_id: text(7)?,
            parent_plan_id: row.try_get::<_, Option<&str>>(8)?.map(str::as_bytes),
            depth: i64::from(row.try_get::<_, i32>(9)?),
            recorded_at: self.recorded_at.as_bytes(),
            meta: row.try_get::<_, Option<&str>>(11)?.ok_or("the meta is missing")?.as_bytes(),
            leaf: row.try_get(12)?,
        };
        Ok((members, row.try_get(13)?))
    }
}

/// Reads a row of `plans`.
pub(crate) fn plan(row: &Row) -> Result<PlanRow, StoreError> {
    let first: i64 = row.try_get(9).map_err(|error| StoreError::Failed(Box::new(error)))?;
    plan_of(row, first).map_err(|error| damaged(first, error))
}

fn plan_of(row: &Row, first: i64) -> Result<PlanRow, Wrong> {
    let state: &str = row.try_get(7)?;
    let status = PlanStatus::parse(state, row.try_get(8)?);
    let digest: Option<&[u8]> = row.try_get(6)?;
    let digest = digest.map(<[u8; 32]>::try_from).transpose()?;
    let place = |number: i64| u64::try_from(number).map(Position::new);
    let parent: Option<&str> = row.try_get(2)?;
    let instant = |column: usize| row.try_get::<_, Option<Instant>>(column);
    Ok(PlanRow {
        plan_id: row.try_get::<_, &str>(0)?.parse()?,
        root_plan_id: row.try_get::<_, &str>(1)?.parse()?,
        parent_plan_id: parent.map(str::parse).transpose()?,
        depth: u32::try_from(row.try_get::<_, i32>(3)?)?,
        name: row.try_get(4)?,
        context_id: row.try_get::<_, &str>(5)?.into(),
        document_digest: digest.map(Digest::from),
        status: status.ok_or_else(|| format!("the state of a plan is '{state}'"))?,
        first_position: place(first)?,
        last_position: row.try_get::<_, Option<i64>>(10)?.map(place).transpose()?,
        last_seq: row.try_get::<_, Option<i64>>(11)?.map(u64::try_from).transpose()?.map(Seq::new),
        started_at: row.try_get::<_, Instant>(12)?.0,
        ended_at: instant(13)?.map(|instant| instant.0),
        owner: row.try_get::<_, Option<&str>>(14)?.map(Into::into),
    })
}
