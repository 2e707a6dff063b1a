//! The Merkle tree over the log: leaves, and the frontier that grows with each of them.
//!
//! RFC 9162 section 2.1: leaf hashes begin with 0x00, node hashes with 0x01, the tree over n leaves is split at the
//! largest power of two below n. The frontier holds the roots of the full subtrees from left to right, one per set
//! bit of the number of leaves, so that appending a leaf costs one hash on average.

use planwire_event::{Digest, StoredEvent};

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
    use std::fmt::Write as _;
    let mut text = String::with_capacity(320);
    let mut put = |part: &dyn std::fmt::Display| {
        let start = text.len();
        // A String takes every write.
        let _ = write!(text, "{part}");
        let length = text.len() - start;
        let _ = write!(text, ":{length};");
    };
    let parent = event.parent_plan_id.as_ref().map_or("", |plan| plan.as_str());
    put(&event.position);
    put(&event.event.event_id());
    put(&event.event.event_type());
    put(&event.plan_id());
    put(&event.seq);
    put(&event.root_plan_id);
    put(&parent);
    put(&event.depth);
    put(&event.event.timestamp());
    put(&event.recorded_at);
    put(&meta);
    let payload = Digest::of(event.event.payload().as_str().as_bytes());
    *Digest::of_parts([&[0][..], text.as_bytes(), payload.as_bytes()]).as_bytes()
}
