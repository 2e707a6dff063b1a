//! Proofs that a leaf is in a tree: RFC 9162 section 2.1.3.
//!
//! A proof is the hashes beside the way from the leaf to the root. [`Prover`] makes any number of them in one pass over
//! the leaves, and [`InclusionProof::root`] needs nothing but the leaf and the proof.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::merkle::{HASH_BYTES, node};

/// Hashes of the longest path there is.
const PATH_MAX: usize = 64;

/// That a leaf is at its place in a tree of a size.
///
/// In JSON: `{"leaf_index":0,"tree_size":3,"path":["..","..]}` with hashes in Base64, from the leaf to the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InclusionProof {
    /// Place of the leaf, from zero: the position of the event less one.
    pub leaf_index: u64,
    /// Leaves of the tree.
    pub tree_size: u64,
    /// Hashes beside the way from the leaf to the root.
    #[serde(serialize_with = "write_path", deserialize_with = "read_path")]
    pub path: Vec<[u8; HASH_BYTES]>,
}

impl InclusionProof {
    /// The root of the tree that the proof leads to from `leaf`; `None` if it fits no tree of its size.
    ///
    /// The leaf is in the tree if this is the tree's root.
    #[must_use]
    pub fn root(&self, leaf: [u8; HASH_BYTES]) -> Option<[u8; HASH_BYTES]> {
        let mut last = self.tree_size.checked_sub(1)?;
        let mut at = self.leaf_index;
        if at > last {
            return None;
        }
        let mut hash = leaf;
        for beside in &self.path {
            if last == 0 {
                return None;
            }
            if at & 1 == 1 || at == last {
                hash = node(beside, &hash);
                // A node at the right edge has nothing beside it on some levels.
                let skipped = at.trailing_zeros().min(u64::BITS - 1);
                (at, last) = (at >> skipped, last >> skipped);
            } else {
                hash = node(&hash, beside);
            }
            (at, last) = (at >> 1, last >> 1);
        }
        (last == 0).then_some(hash)
    }
}

fn write_path<S: Serializer>(path: &[[u8; HASH_BYTES]], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(path.iter().map(|hash| STANDARD.encode(hash)))
}

fn read_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<[u8; HASH_BYTES]>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    if texts.len() > PATH_MAX {
        return Err(serde::de::Error::custom("a path has at most 64 hashes"));
    }
    let hash = |text: &String| STANDARD.decode(text).ok()?.try_into().ok();
    let path: Option<Vec<_>> = texts.iter().map(hash).collect();
    path.ok_or_else(|| serde::de::Error::custom("a hash of a path is 32 bytes in Base64"))
}

/// A subtree: its first leaf and the number of its leaves.
type Span = (u64, u64);

/// Makes proofs for chosen leaves of a tree in one pass over all of its leaves.
///
/// ```
/// use planwire_store::merkle::{Frontier, Prover};
/// let leaves = [[1; 32], [2; 32], [3; 32]];
/// let (mut prover, mut tree) = (Prover::new(3, &[1]), Frontier::default());
/// for leaf in leaves {
///     prover.push(leaf);
///     tree.push(leaf);
/// }
/// let proofs = prover.finish().unwrap();
/// assert_eq!(proofs[0].root(leaves[1]), Some(tree.root()));
/// ```
#[derive(Debug)]
pub struct Prover {
    tree_size: u64,
    indices: Vec<u64>,
    /// Hashes of the subtrees that some path needs: at most one for each leaf asked for and level.
    wanted: HashMap<Span, Option<[u8; HASH_BYTES]>>,
    /// Full subtrees so far, the largest first.
    peaks: Vec<(Span, [u8; HASH_BYTES])>,
    leaves: u64,
}

impl Prover {
    /// Begins a pass over `tree_size` leaves, for proofs of those at `indices`; one that is not in the tree gets none.
    #[must_use]
    pub fn new(tree_size: u64, indices: &[u64]) -> Self {
        let indices: Vec<u64> = indices.iter().copied().filter(|index| *index < tree_size).collect();
        let wanted = indices.iter().flat_map(|index| beside(*index, tree_size)).map(|span| (span, None));
        Self { tree_size, wanted: wanted.collect(), indices, peaks: Vec::new(), leaves: 0 }
    }

    /// Takes the next leaf.
    pub fn push(&mut self, leaf: [u8; HASH_BYTES]) {
        let (mut span, mut hash) = ((self.leaves, 1), leaf);
        self.leaves += 1;
        loop {
            if let Some(wanted) = self.wanted.get_mut(&span) {
                *wanted = Some(hash);
            }
            match self.peaks.last() {
                Some(((start, length), left)) if *length == span.1 => {
                    (span, hash) = ((*start, 2 * length), node(left, &hash));
                    self.peaks.pop();
                }
                _ => break,
            }
        }
        self.peaks.push((span, hash));
    }

    /// The proofs, in the order of the indices; `None` if there were more or fewer leaves than were said.
    #[must_use]
    pub fn finish(self) -> Option<Vec<InclusionProof>> {
        let tree_size = (self.leaves == self.tree_size).then_some(self.tree_size)?;
        let proof = |index: &u64| {
            let path: Option<Vec<_>> = beside(*index, tree_size).map(|span| self.hash(span)).collect();
            Some(InclusionProof { leaf_index: *index, tree_size, path: path? })
        };
        self.indices.iter().map(proof).collect()
    }

    /// The hash of a subtree: one that was full on the way, or what is left at the right edge.
    fn hash(&self, span: Span) -> Option<[u8; HASH_BYTES]> {
        if let Some(Some(hash)) = self.wanted.get(&span) {
            return Some(*hash);
        }
        let edge = self.peaks.iter().rev().take_while(|((start, _), _)| *start >= span.0);
        edge.map(|(_, hash)| *hash).reduce(|right, left| node(&left, &right))
    }
}

/// The subtrees beside the way from a leaf to the root, lowest first.
pub(super) fn beside(index: u64, tree_size: u64) -> impl Iterator<Item = Span> {
    let (mut start, mut length) = (0, tree_size);
    let mut spans = Vec::with_capacity(PATH_MAX);
    while length > 1 {
        // The largest power of two below the length.
        let left = 1 << (u64::BITS - 1 - (length - 1).leading_zeros());
        if index < start + left {
            spans.push((start + left, length - left));
            length = left;
        } else {
            spans.push((start, left));
            (start, length) = (start + left, length - left);
        }
    }
    spans.into_iter().rev()
}

#[cfg(test)]
mod tests {
    use planwire_event::Digest;

    use super::*;
    use crate::merkle::Frontier;

    fn leaves(count: u64) -> Vec<[u8; HASH_BYTES]> {
        (0..count).map(|n| *Digest::of(&n.to_le_bytes()).as_bytes()).collect()
    }

    fn prove(leaves: &[[u8; HASH_BYTES]], indices: &[u64]) -> Vec<InclusionProof> {
        let mut prover = Prover::new(leaves.len() as u64, indices);
        leaves.iter().for_each(|leaf| prover.push(*leaf));
        prover.finish().unwrap()
    }

    fn root(leaves: &[[u8; HASH_BYTES]]) -> [u8; HASH_BYTES] {
        let mut tree = Frontier::default();
        leaves.iter().for_each(|leaf| tree.push(*leaf));
        tree.root()
    }

    /// RFC 9162 section 2.1.3.1 as it is written.
    fn path(index: usize, leaves: &[[u8; HASH_BYTES]]) -> Vec<[u8; HASH_BYTES]> {
        if leaves.len() == 1 {
            return vec![];
        }
        let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
        let (mut path, beside) = match index.checked_sub(left.len()) {
            None => (path(index, left), root(right)),
            Some(index) => (path(index, right), root(left)),
        };
        path.push(beside);
        path
    }

    #[test]
    fn every_leaf_of_every_tree_is_proven_as_the_rfc_says() {
        for count in 1..=40 {
            let leaves = leaves(count);
            let indices: Vec<u64> = (0..count).rev().collect();
            for proof in prove(&leaves, &indices) {
                let index = usize::try_from(proof.leaf_index).unwrap();
                assert_eq!(proof.path, path(index, &leaves), "leaf {index} of {count}");
                assert_eq!(proof.root(leaves[index]), Some(root(&leaves)), "leaf {index} of {count}");
            }
        }
    }

    #[test]
    fn proof_holds_for_its_leaf_its_place_and_its_tree_alone() {
        let leaves = leaves(21);
        let right = root(&leaves);
        for proof in prove(&leaves, &(0..21).collect::<Vec<_>>()) {
            let leaf = leaves[usize::try_from(proof.leaf_index).unwrap()];
            let changed = |change: &dyn Fn(&mut InclusionProof)| {
                let mut other = proof.clone();
                change(&mut other);
                other.root(leaf)
            };
            assert_ne!(proof.root([7; HASH_BYTES]), Some(right));
            for index in (0..30).filter(|index| *index != proof.leaf_index) {
                assert_ne!(changed(&|other| other.leaf_index = index), Some(right), "{proof:?} at {index}");
            }
            for at in 0..proof.path.len() {
                assert_ne!(changed(&|other| other.path[at][0] ^= 1), Some(right));
            }
            assert_ne!(changed(&|other| other.path.truncate(other.path.len() - 1)), Some(right));
            assert_eq!(changed(&|other| other.path.push([0; HASH_BYTES])), None);
            assert_eq!(changed(&|other| other.tree_size = 0), None);
        }
    }

    #[test]
    fn proof_of_what_is_not_there_is_none() {
        assert_eq!(prove(&leaves(3), &[3, 1]).len(), 1);
        let mut short = Prover::new(3, &[0]);
        short.push([1; HASH_BYTES]);
        assert_eq!(short.finish(), None);
    }

    #[test]
    fn proof_in_json_never_changes() {
        let proof = InclusionProof { leaf_index: 2, tree_size: 5, path: vec![[0xFF; HASH_BYTES]] };
        let json = serde_json::to_string(&proof).unwrap();
        let hash = "//////////////////////////////////////////8=";
        assert_eq!(json, format!(r#"{{"leaf_index":2,"tree_size":5,"path":["{hash}"]}}"#));
        assert_eq!(serde_json::from_str::<InclusionProof>(&json).unwrap(), proof);
        for bad in [r#"["AA=="]"#.to_owned(), r#"["*"]"#.to_owned(), format!("{:?}", vec![hash; 65])] {
            let json = format!(r#"{{"leaf_index":2,"tree_size":5,"path":{bad}}}"#);
            assert!(serde_json::from_str::<InclusionProof>(&json).is_err(), "{bad}");
        }
    }
}
