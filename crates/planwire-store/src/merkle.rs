//! The Merkle tree over the log: leaves, and the frontier that grows with each of them.
//!
//! RFC 9162 section 2.1: leaf hashes begin with 0x00, node hashes with 0x01, the tree over n leaves is split at the
//! largest power of two below n. The frontier holds the roots of the full subtrees from left to right, one per set
//! bit of the number of leaves, so that appending a leaf costs one hash on average.

mod outline;
mod proof;

use planwire_event::decimal::{DECIMAL_CHARS, decimal};
use planwire_event::ids::EVENT_ID_CHARS;
use planwire_event::timestamp::TIMESTAMP_CHARS;
use planwire_event::{Digest, StoredEvent};

pub use self::outline::{GROUP_LEAVES, Outline};
pub use self::proof::{InclusionProof, Prover};

/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;

/// Roots of the full subtrees over all leaves so far, the largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    leaves: u64,
    peaks: Vec<[u8; HASH_BYTES]>,
}

impl Frontier {
    /// Takes in one leaf.
    pub fn push(&mut self, leaf: [u8; HASH_BYTES]) {
        let mut hash = leaf;
        let mut merged = self.leaves;
        while merged & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = node(&left, &hash);
            merged >>= 1;
        }
        self.peaks.push(hash);
        self.leaves += 1;
    }

    /// How many leaves there are.
    #[must_use]
    pub const fn leaves(&self) -> u64 {
        self.leaves
    }

    /// The root of the tree: the hash that a head statement signs. SHA-256 of nothing for an empty log.
    #[must_use]
    pub fn root(&self) -> [u8; HASH_BYTES] {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return *Digest::of(b"").as_bytes() };
        peaks.fold(*last, |right, left| node(left, &right))
    }

    /// The peaks one after the other, as `planwire_log.frontier` holds them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.peaks.concat()
    }

    /// Reads what [`Frontier::to_bytes`] wrote for `leaves` leaves; `None` if the number of peaks does not fit.
    #[must_use]
    pub fn from_bytes(leaves: u64, bytes: &[u8]) -> Option<Self> {
        let (peaks, rest) = bytes.as_chunks::<HASH_BYTES>();
        let fits = rest.is_empty() && u32::try_from(peaks.len()) == Ok(leaves.count_ones());
        fits.then(|| Self { leaves, peaks: peaks.to_vec() })
    }
}

fn node(left: &[u8; HASH_BYTES], right: &[u8; HASH_BYTES]) -> [u8; HASH_BYTES] {
    *Digest::of_parts([&[1][..], left, right]).as_bytes()
}

/// The leaf of an event: SHA-256 over 0x00 and its members, each with its length before it.
///
/// The payload goes in by its own hash, so that a leaf can be checked after the payload was removed.
#[must_use]
pub fn leaf(event: &StoredEvent, meta: &str) -> [u8; HASH_BYTES] {
    let payload = event.event.payload().digest();
    leaf_over(event, meta, &payload, &mut Vec::new())
}

/// The leaf of an event whose payload has the digest `payload`; `text` holds the members meanwhile.
pub(crate) fn leaf_over(
    event: &StoredEvent,
    meta: &str,
    payload: &Digest,
    text: &mut Vec<u8>,
) -> [u8; HASH_BYTES] {
    let mut room = [0; DECIMAL_CHARS];
    let parent = event.parent_plan_id.as_ref().map_or("", |plan| plan.as_str());
    text.clear();
    text.push(0);
    put(text, decimal(event.position.get(), &mut room));
    put(text, event.event.event_id().text(&mut [0; EVENT_ID_CHARS]));
    put(text, event.event.event_type().as_str());
    put(text, event.plan_id().as_str());
    put(text, decimal(event.seq.get(), &mut room));
    put(text, event.root_plan_id.as_str());
    put(text, parent);
    put(text, decimal(u64::from(event.depth), &mut room));
    put(text, event.event.timestamp().text(&mut [0; TIMESTAMP_CHARS]));
    put(text, event.recorded_at.text(&mut [0; TIMESTAMP_CHARS]));
    put(text, meta);
    text.extend_from_slice(payload.as_bytes());
    *Digest::of(text).as_bytes()
}

/// Appends a member and its length.
fn put(text: &mut Vec<u8>, member: &str) {
    text.extend_from_slice(member.as_bytes());
    text.push(b':');
    text.extend_from_slice(decimal(member.len() as u64, &mut [0; DECIMAL_CHARS]).as_bytes());
    text.push(b';');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use planwire_event::{Event, Meta, Payload, Position, Producer, Seq, Timestamp};

    use super::*;
    use crate::contract::Row;

    /// RFC 9162 section 2.1.1 as it is written.
    fn tree_hash(leaves: &[[u8; HASH_BYTES]]) -> [u8; HASH_BYTES] {
        match leaves {
            [] => *Digest::of(b"").as_bytes(),
            [leaf] => *leaf,
            _ => {
                let half = leaves.len().next_power_of_two() / 2;
                node(&tree_hash(&leaves[..half]), &tree_hash(&leaves[half..]))
            }
        }
    }

    fn event() -> StoredEvent {
        let event = Event::new(
            7_u128.into(),
            "acme.note".parse().unwrap(),
            "p".parse().unwrap(),
            Timestamp::from_micros_clamped(1_000_000),
            Payload::parse(r#"{"a":1}"#).unwrap(),
        );
        StoredEvent {
            event: event.unwrap(),
            log_id: "7Q4M2K9A".parse().unwrap(),
            position: Position::new(3),
            seq: Seq::new(2),
            root_plan_id: "root".parse().unwrap(),
            parent_plan_id: Some("root".parse().unwrap()),
            depth: 1,
            recorded_at: Timestamp::from_micros_clamped(2_000_000),
            meta: Meta { producer: Producer::new("engine"), traceparent: None, redacted: Vec::new() },
        }
    }

    #[test]
    fn root_is_that_of_the_whole_tree_for_every_length() {
        let leaves: Vec<_> = (0_u32..70).map(|n| *Digest::of(&n.to_le_bytes()).as_bytes()).collect();
        let mut frontier = Frontier::default();
        assert_eq!(frontier.root(), tree_hash(&[]));
        for (at, leaf) in leaves.iter().enumerate() {
            frontier.push(*leaf);
            assert_eq!(frontier.root(), tree_hash(&leaves[..=at]), "{} leaves", at + 1);
            let bytes = frontier.to_bytes();
            assert_eq!(Frontier::from_bytes(frontier.leaves(), &bytes), Some(frontier.clone()));
        }
        assert_eq!(frontier.leaves(), 70);
    }

    #[test]
    fn root_of_two_leaves_is_the_one_that_others_compute() {
        // SHA-256 of 0x01, SHA-256("a") and SHA-256("b"), computed by another program.
        let mut frontier = Frontier::default();
        frontier.push(*Digest::of(b"a").as_bytes());
        frontier.push(*Digest::of(b"b").as_bytes());
        let expected = "1fdf7b651907a893865fdf1866cf251d60d527dfafa10a663514f4f9ee34ab22";
        assert_eq!(Digest::from(frontier.root()).to_string(), expected);
    }

    #[test]
    fn frontier_that_does_not_fit_its_leaves_is_none() {
        assert_eq!(Frontier::from_bytes(0, &[]), Some(Frontier::default()));
        assert_eq!(Frontier::from_bytes(1, &[]), None);
        assert_eq!(Frontier::from_bytes(3, &[0; 32]), None);
        assert_eq!(Frontier::from_bytes(1, &[0; 33]), None);
    }

    #[test]
    fn leaf_covers_every_member() {
        let first = event();
        let meta = "{}";
        let changed = |change: &dyn Fn(&mut StoredEvent)| {
            let mut other = event();
            change(&mut other);
            leaf(&other, meta)
        };
        let remade = |id: u128, kind: &str, plan: &str, micros: i64, payload: &str| {
            changed(&|other: &mut StoredEvent| {
                let event = Event::new(
                    id.into(),
                    kind.parse().unwrap(),
                    plan.parse().unwrap(),
                    Timestamp::from_micros_clamped(micros),
                    Payload::parse(payload).unwrap(),
                );
                other.event = event.unwrap();
            })
        };
        let same = r#"{"a":1}"#;
        assert_eq!(remade(7, "acme.note", "p", 1_000_000, same), leaf(&first, meta));
        let mut leaves = vec![
            leaf(&first, meta),
            leaf(&first, "{ }"),
            remade(8, "acme.note", "p", 1_000_000, same),
            remade(7, "acme.other", "p", 1_000_000, same),
            remade(7, "acme.note", "q", 1_000_000, same),
            remade(7, "acme.note", "p", 1_000_001, same),
            remade(7, "acme.note", "p", 1_000_000, "{}"),
            changed(&|other| other.position = Position::new(4)),
            changed(&|other| other.seq = Seq::new(3)),
            changed(&|other| other.root_plan_id = "other".parse().unwrap()),
            changed(&|other| other.parent_plan_id = None),
            changed(&|other| other.depth = 2),
            changed(&|other| other.recorded_at = Timestamp::from_micros_clamped(2_000_001)),
        ];
        leaves.sort_unstable();
        leaves.dedup();
        assert_eq!(leaves.len(), 13);
    }

    #[test]
    fn leaf_of_a_stored_event_never_changes() {
        let row = Row::seal(Arc::new(event()));
        assert_eq!(&*row.meta, r#"{"producer":"engine"}"#);
        assert_eq!(row.leaf, leaf(&event(), &row.meta));
        assert_eq!(
            Digest::from(row.leaf).to_string(),
            "ef0b473448ebd934eac58c7322deb56539524409951765eed4b44f5b883831ed"
        );
    }
}
