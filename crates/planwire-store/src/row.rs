//! One row of `plan_events`: sealed before it is stored, checked when it is read.
//!
//! The leaf proves a row to others; the checksum finds what a disk has changed, at each read, and costs next to
//! nothing.

use std::sync::Arc;

use planwire_event::ids::EVENT_ID_CHARS;
use planwire_event::timestamp::TIMESTAMP_CHARS;
use planwire_event::{Digest, Event, Meta, Payload, StoredEvent};

use crate::contract::Row;
use crate::merkle;

impl Row {
    /// The row of the same event without its payload; the leaf is the same.
    #[must_use]
    pub fn without_payload(&self) -> Self {
        let old = &self.event.event;
        let payload = Payload::removed(&old.payload().digest());
        let (event_type, plan_id) = (old.event_type().clone(), old.plan_id().clone());
        let traceparent = self.event.meta.traceparent.clone();
        let event =
            Event::from_stored(old.event_id(), event_type, plan_id, old.timestamp(), payload, traceparent);
        Self { event: Arc::new(StoredEvent { event, ..(*self.event).clone() }), ..self.clone() }
    }

    /// Makes the row of an event that has its place: meta as JSON and the Merkle leaf, each computed once.
    #[must_use]
    pub fn seal(event: Arc<StoredEvent>) -> Self {
        let payload = event.event.payload().digest();
        Sealer::default().seal(event, &payload)
    }
}

/// Makes rows one after the other; what neighbours have in common is made once.
#[derive(Debug, Default)]
pub struct Sealer {
    scratch: Vec<u8>,
    meta: Option<(Meta, Box<str>)>,
}

impl Sealer {
    /// Makes the row of an event that has its place; `payload` is the SHA-256 of its payload, which does not need the
    /// place, so that its publisher can have computed it.
    pub fn seal(&mut self, event: Arc<StoredEvent>, payload: &Digest) -> Row {
        let meta = self.meta(&event.meta);
        let leaf = merkle::leaf_over(&event, &meta, payload, &mut self.scratch);
        Row { event, meta, leaf }
    }

    fn meta(&mut self, meta: &Meta) -> Box<str> {
        if let Some((known, text)) = &self.meta
            && known == meta
        {
            return text.clone();
        }
        // A struct of texts always has a JSON form.
        let text = serde_json::to_string(meta).unwrap_or_default().into_boxed_str();
        self.meta = Some((meta.clone(), text.clone()));
        text
    }
}

/// The members of a row as they are stored, in column order; texts as `str`, or as the bytes of which nobody has said
/// yet that they are UTF-8.
#[derive(Debug)]
pub(crate) struct Members<'a, T: ?Sized> {
    pub(crate) id: i64,
    pub(crate) event_id: &'a T,
    pub(crate) event_type: &'a T,
    pub(crate) plan_id: &'a T,
    pub(crate) timestamp: &'a T,
    pub(crate) payload: &'a T,
    pub(crate) seq: i64,
    pub(crate) root_plan_id: &'a T,
    pub(crate) parent_plan_id: Option<&'a T>,
    pub(crate) depth: i64,
    pub(crate) recorded_at: &'a T,
    pub(crate) meta: &'a T,
    pub(crate) leaf: &'a [u8],
}

/// Room for those members of a row that are written as texts only to be stored.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    event_id: [u8; EVENT_ID_CHARS],
    timestamp: [u8; TIMESTAMP_CHARS],
    recorded_at: [u8; TIMESTAMP_CHARS],
}

impl<'a> Members<'a, str> {
    /// The members of a row that is to be stored.
    pub(crate) fn of(row: &'a Row, texts: &'a mut Texts) -> Self {
        let stored = &*row.event;
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        Members {
            id: number(stored.position.get()),
            event_id: stored.event.event_id().text(&mut texts.event_id),
            event_type: stored.event.event_type().as_str(),
            plan_id: stored.plan_id().as_str(),
            timestamp: stored.event.timestamp().text(&mut texts.timestamp),
            payload: stored.event.payload().as_str(),
            seq: number(stored.seq.get()),
            root_plan_id: stored.root_plan_id.as_str(),
            parent_plan_id: stored.parent_plan_id.as_ref().map(|plan| plan.as_str()),
            depth: i64::from(stored.depth),
            recorded_at: stored.recorded_at.text(&mut texts.recorded_at),
            meta: &row.meta,
            leaf: &row.leaf,
        }
    }

    /// The checksum of a row.
    pub(crate) fn crc_of(row: &Row) -> u32 {
        Members::of(row, &mut Texts::default()).crc(&mut Vec::new())
    }
}

impl<T: AsRef<[u8]> + ?Sized> Members<'_, T> {
    /// CRC-32C over all members, each with its length before it, so that no byte can move from one to the next.
    ///
    /// `scratch` holds the short members meanwhile: one pass over them is faster than one call for each.
    pub(crate) fn crc(&self, scratch: &mut Vec<u8>) -> u32 {
        let payload = self.payload.as_ref();
        scratch.clear();
        for number in [self.id, self.seq, self.depth] {
            scratch.extend_from_slice(&number.to_le_bytes());
        }
        for text in [self.event_id, self.event_type, self.plan_id, self.timestamp, self.root_plan_id] {
            put(scratch, text.as_ref());
        }
        put(scratch, self.parent_plan_id.map(AsRef::as_ref).unwrap_or_default());
        put(scratch, self.recorded_at.as_ref());
        put(scratch, self.meta.as_ref());
        scratch.push(u8::from(self.parent_plan_id.is_some()));
        put(scratch, self.leaf);
        scratch.extend_from_slice(&payload.len().to_le_bytes());
        crc32c::crc32c_append(crc32c::crc32c(scratch), payload)
    }
}

fn put(scratch: &mut Vec<u8>, bytes: &[u8]) {
    scratch.extend_from_slice(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
    scratch.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERS: Members<'_, [u8]> = Members {
        id: 1,
        event_id: b"e",
        event_type: b"t.a",
        plan_id: b"p",
        timestamp: b"1",
        payload: b"{}",
        seq: 1,
        root_plan_id: b"p",
        parent_plan_id: None,
        depth: 0,
        recorded_at: b"2",
        meta: b"{}",
        leaf: &[7; 32],
    };

    #[test]
    fn every_member_counts() {
        let others = [
            Members { id: 2, ..MEMBERS },
            Members { event_id: b"f", ..MEMBERS },
            Members { event_type: b"t.b", ..MEMBERS },
            Members { plan_id: b"q", ..MEMBERS },
            Members { timestamp: b"3", ..MEMBERS },
            Members { payload: b"{ }", ..MEMBERS },
            Members { seq: 2, ..MEMBERS },
            Members { root_plan_id: b"q", ..MEMBERS },
            Members { parent_plan_id: Some(b""), ..MEMBERS },
            Members { depth: 1, ..MEMBERS },
            Members { recorded_at: b"3", ..MEMBERS },
            Members { meta: b"", ..MEMBERS },
            Members { leaf: &[8; 32], ..MEMBERS },
            Members { event_id: b"et", event_type: b".a", ..MEMBERS },
        ];
        let mut scratch = Vec::new();
        let mut sums: Vec<u32> = others.iter().map(|members| members.crc(&mut scratch)).collect();
        sums.push(MEMBERS.crc(&mut scratch));
        sums.sort_unstable();
        sums.dedup();
        assert_eq!(sums.len(), others.len() + 1);
    }

    #[test]
    fn checksum_of_a_row_never_changes() {
        assert_eq!(MEMBERS.crc(&mut Vec::new()), MEMBERS.crc(&mut vec![1, 2, 3]));
    }
}
