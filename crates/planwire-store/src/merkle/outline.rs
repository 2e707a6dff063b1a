//! Proofs for any number of leaves of a large tree in two passes over them, with little memory.
//!
//! The first pass keeps the roots of groups of leaves. A group is a full subtree, or what is left at the right edge, so
//! the tree over these roots is the upper part of the tree over all leaves. The second pass looks at one group at a
//! time: the way within it, then the way above it. **Invariant:** a group whose leaves are not those of the first pass
//! gets no proofs.

use crate::merkle::{HASH_BYTES, InclusionProof, node, proof};

/// Leaves of a group: a power of two. Whoever reads for the second pass holds so many rows at most, and the outline
/// itself takes 64 bytes for each group.
pub const GROUP_LEAVES: usize = 256;

const _: () = assert!(GROUP_LEAVES.is_power_of_two());

type Hash = [u8; HASH_BYTES];

/// All full subtrees over some hashes, by level.
#[derive(Debug, Default)]
struct Levels(Vec<Vec<Hash>>);

impl Levels {
    fn push(&mut self, hash: Hash) {
        let mut hash = hash;
        for level in 0.. {
            if self.0.len() == level {
                self.0.push(Vec::new());
            }
            let hashes = &mut self.0[level];
            hashes.push(hash);
            match hashes.as_slice() {
                [.., left, right] if hashes.len().is_multiple_of(2) => hash = node(left, right),
                _ => return,
            }
        }
    }

    fn len(&self) -> u64 {
        self.0.first().map_or(0, |hashes| hashes.len() as u64)
    }

    /// The root of the subtree over `length` hashes from `start` on; one that is no subtree has none.
    fn subtree(&self, start: u64, length: u64) -> Option<Hash> {
        if length == 0 {
            return None;
        }
        if length.is_power_of_two() {
            let level = self.0.get(length.trailing_zeros() as usize)?;
            return level.get(usize::try_from(start / length).ok()?).copied();
        }
        let left = length.checked_next_power_of_two()? / 2;
        Some(node(&self.subtree(start, left)?, &self.subtree(start + left, length - left)?))
    }

    fn root(&self) -> Option<Hash> {
        self.subtree(0, self.len())
    }

    /// The hashes beside the way from one of them to the root.
    fn path(&self, index: u64) -> Option<Vec<Hash>> {
        proof::beside(index, self.len()).map(|(start, length)| self.subtree(start, length)).collect()
    }
}

/// What the first pass keeps: the upper part of the tree.
///
/// ```
/// use planwire_store::merkle::{GROUP_LEAVES, Outline};
/// let leaves = [[7; 32]; 600];
/// let mut outline = Outline::default();
/// leaves.iter().for_each(|leaf| outline.push(*leaf));
/// let outline = outline.finish();
/// let root = outline.root();
/// for (group, leaves) in (0..).zip(leaves.chunks(GROUP_LEAVES)) {
///     let proofs = outline.proofs(group, leaves).unwrap();
///     assert!(proofs.iter().zip(leaves).all(|(proof, leaf)| proof.root(*leaf) == root));
/// }
/// ```
#[derive(Debug, Default)]
pub struct Outline {
    upper: Levels,
    group: Levels,
    size: u64,
}

impl Outline {
    /// Takes the next leaf.
    pub fn push(&mut self, leaf: Hash) {
        self.group.push(leaf);
        self.size += 1;
        if self.group.len() == GROUP_LEAVES as u64 {
            self.close_group();
        }
    }

    fn close_group(&mut self) {
        if let Some(root) = std::mem::take(&mut self.group).root() {
            self.upper.push(root);
        }
    }

    /// Ends the first pass.
    #[must_use]
    pub fn finish(mut self) -> Self {
        self.close_group();
        self
    }

    /// Leaves so far.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree, after [`Outline::finish`]; none if it has no leaf.
    #[must_use]
    pub fn root(&self) -> Option<Hash> {
        self.upper.root()
    }

    /// The proofs of all leaves of a group, counted from zero, after [`Outline::finish`]; `None` if these are not its
    /// leaves.
    #[must_use]
    pub fn proofs(&self, group: u64, leaves: &[Hash]) -> Option<Vec<InclusionProof>> {
        let mut levels = Levels::default();
        leaves.iter().for_each(|leaf| levels.push(*leaf));
        if levels.root()? != self.upper.subtree(group, 1)? {
            return None;
        }
        let above = self.upper.path(group)?;
        let first = group * GROUP_LEAVES as u64;
        let proof = |index: u64| {
            let mut path = levels.path(index)?;
            path.extend_from_slice(&above);
            Some(InclusionProof { leaf_index: first + index, tree_size: self.size, path })
        };
        (0..levels.len()).map(proof).collect()
    }
}

#[cfg(test)]
mod tests {
    use planwire_event::Digest;

    use super::*;
    use crate::merkle::Prover;

    #[test]
    fn proofs_are_those_that_one_pass_makes() {
        let group = GROUP_LEAVES as u64;
        for count in [1, 2, 3, group - 1, group, group + 1, 3 * group, 5 * group + 77] {
            let leaves: Vec<Hash> = (0..count).map(|n| *Digest::of(&n.to_le_bytes()).as_bytes()).collect();
            let indices: Vec<u64> = (0..count).collect();
            let (mut prover, mut outline) = (Prover::new(count, &indices), Outline::default());
            for leaf in &leaves {
                prover.push(*leaf);
                outline.push(*leaf);
            }
            let outline = outline.finish();
            let groups = (0..).zip(leaves.chunks(GROUP_LEAVES));
            let proofs: Vec<_> =
                groups.flat_map(|(at, leaves)| outline.proofs(at, leaves).unwrap()).collect();
            assert_eq!(proofs, prover.finish().unwrap(), "{count} leaves");
            assert_eq!((outline.size(), outline.root()), (count, proofs[0].root(leaves[0])));
        }
    }

    #[test]
    fn group_of_other_leaves_gets_no_proofs() {
        let mut outline = Outline::default();
        (0..300).for_each(|_| outline.push([1; HASH_BYTES]));
        let outline = outline.finish();
        assert!(outline.proofs(1, &[[1; HASH_BYTES]; 44]).is_some());
        assert_eq!(outline.proofs(1, &[[1; HASH_BYTES]; 43]), None);
        assert_eq!(outline.proofs(1, &[[2; HASH_BYTES]; 44]), None);
        assert_eq!(outline.proofs(2, &[[1; HASH_BYTES]]), None);
        assert_eq!(outline.proofs(0, &[]), None);
        assert_eq!(Outline::default().finish().root(), None);
    }
}
