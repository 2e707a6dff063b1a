//! Rows of SQLite as what they mean; a row that does not is damage, and names its position.

use std::sync::Arc;

use planwire_event::{
    Digest, Event, EventId, LogId, Meta, Payload, PlanId, PlanStatus, Position, Seq, StoredEvent, Timestamp,
};
use rusqlite::{Connection, Row};

use crate::contract::{Head, PlanRow, StoreError};
use crate::merkle::Frontier;
use crate::row::Members;
use crate::sqlite::error::store_error;

/// Columns of `plan_events` as [`EventDecoder`] reads them.
macro_rules! event_columns {
    () => {
        "id, event_id, event_type, plan_id, timestamp, payload, seq, root_plan_id, parent_plan_id, depth, \
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

fn damaged(position: i64, message: impl ToString) -> StoreError {
    let position = Position::new(u64::try_from(position).unwrap_or(0));
    StoreError::Damaged { position, message: message.to_string() }
}

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
    members: Members<'a>,
}

impl CheckedRow<'_> {
    pub(crate) fn position(&self) -> Position {
        Position::new(u64::try_from(self.members.id).unwrap_or(0))
    }

    pub(crate) const fn plan_id(&self) -> &str {
        self.members.plan_id
    }

    pub(crate) const fn event_type(&self) -> &str {
        self.members.event_type
    }
}

/// Turns rows of one page into events; what neighbours have in common is made once and shared.
pub(crate) struct EventDecoder {
    log_id: LogId,
    scratch: Vec<u8>,
    plan: Option<PlanId>,
    root: Option<PlanId>,
    parent: Option<PlanId>,
    meta: Option<(String, Meta)>,
}

impl EventDecoder {
    pub(crate) const fn new(log_id: LogId) -> Self {
        Self { log_id, scratch: Vec::new(), plan: None, root: None, parent: None, meta: None }
    }

    /// Checks a row.
    pub(crate) fn check<'a>(&mut self, row: &'a Row<'_>) -> Result<CheckedRow<'a>, StoreError> {
        let id: i64 = row.get(0).map_err(store_error)?;
        let (members, crc) = members(row, id).map_err(|error| damaged(id, error))?;
        if i64::from(members.crc(&mut self.scratch)) != crc {
            return Err(damaged(id, "the checksum of the row is wrong"));
        }
        Ok(CheckedRow { members })
    }

    /// Makes the event of a checked row.
    pub(crate) fn event(&mut self, row: &CheckedRow<'_>) -> Result<Arc<StoredEvent>, StoreError> {
        let id = row.members.id;
        self.decode(&row.members).map(Arc::new).map_err(|error| damaged(id, error))
    }

    fn decode(&mut self, members: &Members<'_>) -> Result<StoredEvent, Box<dyn std::error::Error>> {
        let meta = self.meta(members.meta)?;
        let plan_id = shared(&mut self.plan, members.plan_id)?;
        let root_plan_id = shared(&mut self.root, members.root_plan_id)?;
        let parent_plan_id =
            members.parent_plan_id.map(|parent| shared(&mut self.parent, parent)).transpose()?;
        let event = Event::from_stored(
            members.event_id.parse::<EventId>()?,
            members.event_type.parse()?,
            plan_id,
            timestamp(members.timestamp)?,
            Payload::from_normal(members.payload),
            meta.traceparent.clone(),
        );
        Ok(StoredEvent {
            event,
            log_id: self.log_id,
            position: Position::new(u64::try_from(members.id)?),
            seq: Seq::new(u64::try_from(members.seq)?),
            root_plan_id,
            parent_plan_id,
            depth: u32::try_from(members.depth)?,
            recorded_at: timestamp(members.recorded_at)?,
            meta,
        })
    }

    fn meta(&mut self, text: &str) -> Result<Meta, serde_json::Error> {
        if let Some((known, meta)) = &self.meta
            && known == text
        {
            return Ok(meta.clone());
        }
        let meta: Meta = serde_json::from_str(text)?;
        self.meta = Some((text.to_owned(), meta.clone()));
        Ok(meta)
    }
}

fn members<'a>(row: &'a Row<'_>, id: i64) -> Result<(Members<'a>, i64), Box<dyn std::error::Error>> {
    let text =
        |column: usize| -> Result<&'a str, Box<dyn std::error::Error>> { Ok(row.get_ref(column)?.as_str()?) };
    let members = Members {
        id,
        event_id: text(1)?,
        event_type: text(2)?,
        plan_id: text(3)?,
        timestamp: text(4)?,
        payload: text(5)?,
        seq: row.get(6)?,
        root_plan_id: text(7)?,
        parent_plan_id: row.get_ref(8)?.as_str_or_null()?,
        depth: row.get(9)?,
        recorded_at: text(10)?,
        meta: text(11)?,
        leaf: row.get_ref(12)?.as_blob()?,
    };
    Ok((members, row.get(13)?))
}

/// Makes a plan id, or shares the one of the row before.
fn shared(last: &mut Option<PlanId>, text: &str) -> Result<PlanId, planwire_event::IdError> {
    match last {
        Some(plan) if plan.as_str() == text => Ok(plan.clone()),
        _ => {
            let plan: PlanId = text.parse()?;
            *last = Some(plan.clone());
            Ok(plan)
        }
    }
}

/// Reads the one form in which we write timestamps; replays spend most of their time on parsing otherwise.
fn timestamp(text: &str) -> Result<Timestamp, planwire_event::TimestampError> {
    fast_timestamp(text.as_bytes()).map_or_else(|| text.parse(), Ok)
}

fn fast_timestamp(text: &[u8]) -> Option<Timestamp> {
    let [
        y1,
        y2,
        y3,
        y4,
        b'-',
        o1,
        o2,
        b'-',
        d1,
        d2,
        b'T',
        h1,
        h2,
        b':',
        m1,
        m2,
        b':',
        s1,
        s2,
        b'.',
        f @ ..,
        b'Z',
    ] = text
    else {
        return None;
    };
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0_i64, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
        })
    };
    let (year, month, day) = (number(&[*y1, *y2, *y3, *y4])?, number(&[*o1, *o2])?, number(&[*d1, *d2])?);
    let (hour, minute, second) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?, number(&[*s1, *s2])?);
    let micros = if f.len() == 6 { number(f)? } else { return None };
    let plain = year >= 1
        && (1..=12).contains(&month)
        && (1..=28).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    // Days since 1970 in a calendar whose year begins in March; the last days of a month go the general way.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    plain.then(|| Timestamp::from_micros_clamped(seconds * 1_000_000 + micros))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_read_the_same_on_both_ways() {
        let mut micros = -62_135_596_800_000_000_i64;
        while micros < 253_402_300_799_000_000 {
            let time = Timestamp::from_micros_clamped(micros);
            assert_eq!(timestamp(&time.to_string()), Ok(time), "{time}");
            micros += 1_234_567_890_123;
        }
        for odd in
            ["2026-02-29T00:00:00.000000Z", "2026-01-01T00:00:00.00000aZ", "2026-01-01T24:00:00.000000Z"]
        {
            assert!(timestamp(odd).is_err(), "{odd}");
        }
        assert_eq!(
            timestamp("2024-02-29T00:00:00.5Z").map(|time| time.to_string()),
            Ok("2024-02-29T00:00:00.500000Z".to_owned())
        );
    }
}
