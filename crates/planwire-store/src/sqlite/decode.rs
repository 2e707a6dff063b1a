//! Rows of SQLite as what they mean; a row that does not is damage, and names its position.

use std::sync::Arc;

use planwire_event::{Digest, PlanStatus, Position, Seq, StoredEvent};
use rusqlite::{Connection, Row};

use crate::contract::{Head, PlanRow, StoreError};
use crate::decoder::{EventDecoder, damaged};
use crate::merkle::{Frontier, HASH_BYTES};
use crate::row::Members;
use crate::sqlite::error::store_error;

/// Columns of `plan_events` as [`check`] reads them. A payload that was removed is [`Payload::removed`]
/// (planwire_event::Payload::removed).
macro_rules! event_columns {
    () => {
        "id, event_id, event_type, plan_id, timestamp, \
         coalesce(payload, '{\"$removed\":\"' || lower(hex(payload_hash)) || '\"}'), seq, root_plan_id, parent_plan_id, depth, \
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

/// Reads the head, and checks that it is one.
pub(crate) fn head(connection: &Connection) -> Result<Head, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT log_id, head, recorded_at, frontier FROM planwire_log")
        .map_err(store_error)?;
    let mut rows = select.query([]).map_err(store_error)?;
    let Some(row) = rows.next().map_err(store_error)? else {
        return Err(damaged(0, "the log has no head"));
    };
    let number: i64 = row.get(1).map_err(store_error)?;
    head_of(row, number).map_err(|message| damaged(number, message))
}

fn head_of(row: &Row<'_>, number: i64) -> Result<Head, Box<dyn std::error::Error>> {
    let leaves = u64::try_from(number)?;
    let frontier = Frontier::from_bytes(leaves, row.get_ref(3)?.as_blob()?);
    Ok(Head {
        log_id: row.get_ref(0)?.as_str()?.parse()?,
        position: Position::new(leaves),
        recorded_at: row.get_ref(2)?.as_str()?.parse()?,
        frontier: frontier.ok_or("the frontier does not fit the head")?,
    })
}

/// A row of `plan_events` whose members are borrowed from SQLite and fit their checksum.
pub(crate) struct CheckedRow<'a> {
    members: Members<'a, [u8]>,
}

impl CheckedRow<'_> {
    pub(crate) fn position(&self) -> Position {
        Position::new(u64::try_from(self.members.id).unwrap_or(0))
    }

    pub(crate) const fn plan_id(&self) -> &[u8] {
        self.members.plan_id
    }

    pub(crate) const fn root_plan_id(&self) -> &[u8] {
        self.members.root_plan_id
    }

    pub(crate) const fn event_type(&self) -> &[u8] {
        self.members.event_type
    }

    pub(crate) fn meta(&self) -> Result<&str, StoreError> {
        str::from_utf8(self.members.meta).map_err(|error| damaged(self.members.id, error))
    }

    pub(crate) fn leaf(&self) -> Result<[u8; HASH_BYTES], StoreError> {
        let leaf = self.members.leaf.try_into();
        leaf.map_err(|_| damaged(self.members.id, "the leaf has another length than a hash"))
    }
}

/// Checks a row.
pub(crate) fn check<'a>(decoder: &mut EventDecoder, row: &'a Row<'_>) -> Result<CheckedRow<'a>, StoreError> {
    let id: i64 = row.get(0).map_err(store_error)?;
    let (members, crc) = members(row, id).map_err(|error| damaged(id, error))?;
    decoder.check(&members, crc)?;
    Ok(CheckedRow { members })
}

/// Makes the event of a checked row.
pub(crate) fn event(
    decoder: &mut EventDecoder,
    row: &CheckedRow<'_>,
) -> Result<Arc<StoredEvent>, StoreError> {
    decoder.event(&row.members)
}

/// Why a row has no members: a column of another type than the table's.
type Unreadable = Box<dyn std::error::Error>;

/// The members of a row, and the checksum that it was stored with.
fn members<'a>(row: &'a Row<'_>, id: i64) -> Result<(Members<'a, [u8]>, i64), Unreadable> {
    let text = |column: usize| -> Result<&'a [u8], Unreadable> { Ok(row.get_ref(column)?.as_bytes()?) };
    let members = Members {
        id,
        event_id: text(1)?,
        event_type: text(2)?,
        plan_id: text(3)?,
        timestamp: text(4)?,
        payload: text(5)?,
        seq: row.get(6)?,
        root_plan_id: text(7)?,
        parent_plan_id: row.get_ref(8)?.as_bytes_or_null()?,
        depth: row.get(9)?,
        recorded_at: text(10)?,
        meta: text(11)?,
        leaf: row.get_ref(12)?.as_blob()?,
    };
    Ok((members, row.get(13)?))
}

/// Reads a row of `plans`.
pub(crate) fn plan(row: &Row<'_>) -> Result<PlanRow, StoreError> {
    let first: i64 = row.get(9).map_err(store_error)?;
    plan_of(row, first).map_err(|error| damaged(first, error))
}

fn plan_of(row: &Row<'_>, first: i64) -> Result<PlanRow, Box<dyn std::error::Error>> {
    let state = row.get_ref(7)?.as_str()?;
    let status = PlanStatus::parse(state, row.get_ref(8)?.as_str_or_null()?);
    let digest: Option<[u8; 32]> = row.get(6)?;
    let position = |number: i64| u64::try_from(number).map(Position::new);
    Ok(PlanRow {
        plan_id: row.get_ref(0)?.as_str()?.parse()?,
        root_plan_id: row.get_ref(1)?.as_str()?.parse()?,
        parent_plan_id: row.get_ref(2)?.as_str_or_null()?.map(str::parse).transpose()?,
        depth: row.get(3)?,
        name: row.get(4)?,
        context_id: row.get(5)?,
        document_digest: digest.map(Digest::from),
        status: status.ok_or_else(|| format!("the state of a plan is '{state}'"))?,
        first_position: position(first)?,
        last_position: row.get::<_, Option<i64>>(10)?.map(position).transpose()?,
        last_seq: row.get::<_, Option<i64>>(11)?.map(u64::try_from).transpose()?.map(Seq::new),
        started_at: row.get_ref(12)?.as_str()?.parse()?,
        ended_at: row.get_ref(13)?.as_str_or_null()?.map(str::parse).transpose()?,
        owner: row.get(14)?,
    })
}
