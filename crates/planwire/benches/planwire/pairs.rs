//! What blocks give: figures of both sides, block by block, and their ratios.

use super::numbers::Spread;

/// A block is thrown away if an append + fdatasync takes so many times longer at one end of it than at the other.
const MOVED_MAX: f64 = 2.0;

/// What one block gave: figures of each side, and of the product.
pub(crate) struct Block {
    /// Of each side, in the order of the product's.
    pub(crate) sides: Vec<Vec<f64>>,
    /// Of the product.
    pub(crate) product: Vec<f64>,
    /// Milliseconds of an append + fdatasync before and after it.
    pub(crate) fdatasync_ms: (f64, f64),
}

impl Block {
    /// Whether the disk was in the same state before and after it.
    pub(crate) fn is_steady(&self) -> bool {
        self.moved() <= MOVED_MAX
    }

    /// How far the disk's state moved meanwhile; 1 if not at all.
    fn moved(&self) -> f64 {
        let (before, after) = self.fdatasync_ms;
        (before / after).max(after / before)
    }
}

/// The blocks of one run.
pub(crate) struct Run {
    names: Vec<&'static str>,
    kept: Vec<Block>,
    notes: Vec<String>,
}

/// What the blocks of one row gave.
pub(crate) struct Blocks {
    /// What stands beside the product.
    pub(crate) limit_name: &'static str,
    /// Its figures.
    pub(crate) limit: Spread,
    /// The product.
    pub(crate) product: Spread,
    /// Product over limit, block by block.
    pub(crate) ratio: Spread,
    /// Milliseconds of an append + fdatasync around the blocks.
    pub(crate) fdatasync_ms: Spread,
    /// What a reader of the figures has to know.
    pub(crate) notes: Vec<String>,
}

impl Run {
    /// Takes the steady blocks; the others only where there is no steady one.
    pub(crate) fn of(
        names: Vec<&'static str>,
        wanted: usize,
        mut kept: Vec<Block>,
        thrown: Vec<Block>,
    ) -> Self {
        let mut notes = Vec::new();
        if kept.len() < wanted {
            notes.push(format!("{} of {wanted} blocks before the time was over", kept.len()));
        }
        if !thrown.is_empty() {
            notes.push(format!("{} blocks thrown away, the disk changed its state", thrown.len()));
        }
        if kept.is_empty() {
            notes.push("no block was steady: these are all".to_owned());
            kept = thrown;
        }
        Self { names, kept, notes }
    }

    /// The product beside one side, in one of their figures.
    pub(crate) fn blocks(&self, side: usize, figure: usize) -> Blocks {
        let spread = |of: &dyn Fn(&Block) -> f64| Spread::of(self.kept.iter().map(of));
        Blocks {
            limit_name: self.names[side],
            limit: spread(&|block| block.sides[side][figure]),
            product: spread(&|block| block.product[figure]),
            ratio: spread(&|block| block.product[figure] / block.sides[side][figure]),
            fdatasync_ms: Spread::of(
                self.kept.iter().flat_map(|block| [block.fdatasync_ms.0, block.fdatasync_ms.1]),
            ),
            notes: self.notes.clone(),
        }
    }

    /// The same by the name of the side; `None` if it was not measured.
    pub(crate) fn beside(&self, name: &str, figure: usize) -> Option<Blocks> {
        let side = self.names.iter().position(|side| *side == name)?;
        Some(self.blocks(side, figure))
    }
}
