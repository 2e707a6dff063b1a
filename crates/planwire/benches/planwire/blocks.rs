//! Blocks that alternate between the limit of the machine and the product, with the disk's state around each.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::numbers::{Spread, grouped};
use crate::raw_log;
use crate::setting::Setting;

/// A block is thrown away if an append + fdatasync takes so many times longer at one end of it than at the other.
const MOVED_MAX: f64 = 2.0;

/// A row begins no further block after this time, so that a restless disk does not keep it for ever.
const ROW_MAX: Duration = Duration::from_secs(60);

/// What one block gave.
struct Block {
    limit: f64,
    product: f64,
    /// How far the disk's state moved meanwhile; 1 if not at all.
    moved: f64,
}

/// What the blocks of one row gave.
pub(crate) struct Blocks {
    /// The limit of the machine.
    pub(crate) limit: Spread,
    /// The product.
    pub(crate) product: Spread,
    /// Product over limit, block by block.
    pub(crate) ratio: Spread,
    /// What a reader of the figures has to know.
    pub(crate) notes: Vec<String>,
}

/// Measures `limit` and `product` in turns until enough blocks are steady.
pub(crate) fn alternate(
    setting: &Setting,
    mut limit: impl FnMut() -> Result<f64>,
    mut product: impl FnMut() -> Result<f64>,
) -> Result<Blocks> {
    let (mut kept, mut thrown) = (Vec::new(), Vec::new());
    let mut before = raw_log::fdatasync_ms(setting.folder())?;
    let begun = Instant::now();
    while kept.len() < setting.rounds() && begun.elapsed() < ROW_MAX {
        let (limit, product) = (limit()?, product()?);
        let after = raw_log::fdatasync_ms(setting.folder())?;
        let block = Block { limit, product, moved: (before / after).max(after / before) };
        let steady = block.moved <= MOVED_MAX;
        println!(
            "  limit {}, product {}, ratio {:.2}, fdatasync {before:.3} -> {after:.3} ms{}",
            grouped(limit),
            grouped(product),
            product / limit,
            if steady { "" } else { ": the disk changed its state, thrown away" },
        );
        if steady {
            kept.push(block)
        } else {
            thrown.push(block)
        }
        before = after;
    }
    Ok(sum_up(kept, thrown))
}

fn sum_up(mut kept: Vec<Block>, thrown: Vec<Block>) -> Blocks {
    let mut notes = Vec::new();
    if !thrown.is_empty() {
        notes.push(format!("{} blocks thrown away, the disk changed its state", thrown.len()));
    }
    if kept.is_empty() {
        notes.push("no block was steady: these are all".to_owned());
        kept = thrown;
    }
    Blocks {
        limit: Spread::of(kept.iter().map(|block| block.limit)),
        product: Spread::of(kept.iter().map(|block| block.product)),
        ratio: Spread::of(kept.iter().map(|block| block.product / block.limit)),
        notes,
    }
}
