//! One row of `plan_events`: sealed before it is stored, checked when it is read.
//!
//! The leaf proves a row to others; the checksum finds what a disk has changed, at each read, and costs next to
//! nothing.

use std::sync::Arc;

use planwire_event::{Digest, Meta, StoredEvent};

use crate::contract::Row;
use crate::merkle;

impl Row {
    /// Makes the row of an event that has its place: meta as JSON and the Merkle leaf, each computed once.
    #[must_use]
    pub fn seal(event: Arc<StoredEvent>) -> Self {
        let payload = Digest::of(event.event.payload().as_str().as_bytes());
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

/// The members of a row as they are stored, in column order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Members<'a> {
    pub(crate) id: i64,
    pub(crate) event_id: &'a str,
    pub(crate) event_type: &'a str,
    pub(crate) plan_id: &'a str,
    pub(crate) timestamp: &'a str,
    pub(crate) payload: &'a str,
    pub(crate) seq: i64,
    pub(crate) root_plan_id: &'a str,
    pub(crate) parent_plan_id: Option<&'a str>,
    pub(crate) depth: i64,
    pub(crate) recorded_at: &'a str,
    pub(crate) meta: &'a str,
    pub(crate) leaf: &'a [u8],
}

impl Members<'_> {
    /// CRC-32C over all members, each with its length before it, so that no byte can move from one to the next.
    ///
    /// `scratch` holds the short members meanwhile: one pass over them is faster than one call for each.
    pub(crate) fn crc(&self, scratch: &mut Vec<u8>) -> u32 {
        scratch.clear();
        for number in [self.id, self.seq, self.depth] {
            scratch.extend_from_slice(&number.to_le_bytes());
        }
        let texts = [
            self.event_id,
            self.event_type,
            self.plan_id,
            self.timestamp,
            self.root_plan_id,
            self.parent_plan_id.unwrap_or(""),
            self.recorded_at,
            self.meta,
        ];
        for text in texts {
            put(scratch, text.as_bytes());
        }
        scratch.push(u8::from(self.parent_plan_id.is_some()));
        put(scratch, self.leaf);
        scratch.extend_from_slice(&self.payload.len().to_le_bytes());
        crc32c::crc32c_append(crc32c::crc32c(scratch), self.payload.as_bytes())
    }
}

fn put(scratch: &mut Vec<u8>, bytes: &[u8]) {
    scratch.extend_from_slice(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
    scratch.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERS: Members<'_> = Members {
        id: 1,
        event_id: "e",
        event_type: "t.a",
        plan_id: "p",
        timestamp: "1",
        payload: "{}",
        seq: 1,
        root_plan_id: "p",
        parent_plan_id: None,
        depth: 0,
        recorded_at: "2",
        meta: "{}",
        leaf: &[7; 32],
    };

    #[test]
    fn every_member_counts() {
        let others = [
            Members { id: 2, ..MEMBERS },
            Members { event_id: "f", ..MEMBERS },
            Members { event_type: "t.b", ..MEMBERS },
            Members { plan_id: "q", ..MEMBERS },
            Members { timestamp: "3", ..MEMBERS },
            Members { payload: "{ }", ..MEMBERS },
            Members { seq: 2, ..MEMBERS },
            Members { root_plan_id: "q", ..MEMBERS },
            Members { parent_plan_id: Some(""), ..MEMBERS },
            Members { depth: 1, ..MEMBERS },
            Members { recorded_at: "3", ..MEMBERS },
            Members { meta: "", ..MEMBERS },
            Members { leaf: &[8; 32], ..MEMBERS },
            Members { event_id: "et", event_type: ".a", ..MEMBERS },
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
