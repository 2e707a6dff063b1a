//! Members of rows as the events that they are; a row that is none is damage, and its position is named.

use std::sync::Arc;

use planwire_event::timestamp::TIMESTAMP_CHARS;
use planwire_event::{
    Event, EventId, EventType, LogId, Meta, Payload, PlanId, Position, Seq, StoredEvent, Timestamp,
};

use crate::contract::StoreError;
use crate::row::Members;

type Wrong = Box<dyn std::error::Error + Send + Sync>;

/// Turns rows of one page into events; what neighbours have in common is made once and shared.
pub(crate) struct EventDecoder {
    log_id: LogId,
    scratch: Vec<u8>,
    plan: Option<PlanId>,
    root: Option<PlanId>,
    parent: Option<PlanId>,
    event_type: Option<EventType>,
    /// The row before was recorded then: those of one commit are at the same time.
    recorded_at: Option<([u8; TIMESTAMP_CHARS], Timestamp)>,
    meta: Option<(Vec<u8>, Meta)>,
}

impl EventDecoder {
    pub(crate) const fn new(log_id: LogId) -> Self {
        Self {
            log_id,
            scratch: Vec::new(),
            plan: None,
            root: None,
            parent: None,
            event_type: None,
            recorded_at: None,
            meta: None,
        }
    }

    /// Compares the members of a row with the checksum that was stored with them.
    pub(crate) fn check(&mut self, members: &Members<'_, [u8]>, crc: i64) -> Result<(), StoreError> {
        if i64::from(members.crc(&mut self.scratch)) == crc {
            Ok(())
        } else {
            Err(damaged(members.id, "the checksum of the row is wrong"))
        }
    }

    /// Makes the event of a row that was checked.
    pub(crate) fn event(&mut self, members: &Members<'_, [u8]>) -> Result<Arc<StoredEvent>, StoreError> {
        self.decode(members).map(Arc::new).map_err(|error| damaged(members.id, error))
    }

    fn decode(&mut self, members: &Members<'_, [u8]>) -> Result<StoredEvent, Wrong> {
        let meta = self.meta(members.meta)?;
        let plan_id = shared(&mut self.plan, members.plan_id)?;
        let root_plan_id = shared(&mut self.root, members.root_plan_id)?;
        let parent_plan_id =
            members.parent_plan_id.map(|parent| shared(&mut self.parent, parent)).transpose()?;
        let event = Event::from_stored(
            str::from_utf8(members.event_id)?.parse::<EventId>()?,
            self.event_type(members.event_type)?,
            plan_id,
            timestamp(members.timestamp)?,
            Payload::from_normal(str::from_utf8(members.payload)?),
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
            recorded_at: self.recorded_at(members.recorded_at)?,
            meta,
        })
    }

    fn event_type(&mut self, text: &[u8]) -> Result<EventType, Wrong> {
        match &self.event_type {
            Some(known) if known.as_str().as_bytes() == text => Ok(known.clone()),
            _ => Ok(self.event_type.insert(str::from_utf8(text)?.parse()?).clone()),
        }
    }

    fn recorded_at(&mut self, text: &[u8]) -> Result<Timestamp, Wrong> {
        match self.recorded_at {
            Some((known, time)) if known == text => Ok(time),
            _ => {
                let time = timestamp(text)?;
                self.recorded_at = text.try_into().ok().map(|known| (known, time));
                Ok(time)
            }
        }
    }

    fn meta(&mut self, text: &[u8]) -> Result<Meta, Wrong> {
        if let Some((known, meta)) = &self.meta
            && known == text
        {
            return Ok(meta.clone());
        }
        let meta: Meta = serde_json::from_slice(text)?;
        self.meta = Some((text.to_owned(), meta.clone()));
        Ok(meta)
    }
}

/// A row that is not what it was.
pub(crate) fn damaged(position: i64, message: impl ToString) -> StoreError {
    let position = Position::new(u64::try_from(position).unwrap_or(0));
    StoreError::Damaged { position, message: message.to_string() }
}

/// Makes a plan id, or shares the one of the row before.
fn shared(last: &mut Option<PlanId>, text: &[u8]) -> Result<PlanId, Wrong> {
    match last {
        Some(plan) if plan.as_str().as_bytes() == text => Ok(plan.clone()),
        _ => {
            let plan: PlanId = str::from_utf8(text)?.parse()?;
            *last = Some(plan.clone());
            Ok(plan)
        }
    }
}

/// Reads the one form in which we write timestamps; replays spend most of their time on parsing otherwise.
fn timestamp(text: &[u8]) -> Result<Timestamp, Wrong> {
    fast_timestamp(text).map_or_else(|| Ok(str::from_utf8(text)?.parse()?), Ok)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_read_the_same_on_both_ways() {
        let mut micros = -62_135_596_800_000_000_i64;
        while micros < 253_402_300_799_000_000 {
            let time = Timestamp::from_micros_clamped(micros);
            assert_eq!(timestamp(time.to_string().as_bytes()).unwrap(), time, "{time}");
            micros += 1_234_567_890_123;
        }
        for odd in
            ["2026-02-29T00:00:00.000000Z", "2026-01-01T00:00:00.00000aZ", "2026-01-01T24:00:00.000000Z"]
        {
            assert!(timestamp(odd.as_bytes()).is_err(), "{odd}");
        }
        assert_eq!(timestamp(b"2024-02-29T00:00:00.5Z").unwrap().to_string(), "2024-02-29T00:00:00.500000Z");
    }
}
