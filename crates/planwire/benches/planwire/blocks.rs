//! Blocks that alternate between the product and what stands beside it, with the disk's state around each.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::numbers::grouped;
use crate::pairs::{Block, Blocks, Run};
use crate::raw_log;
use crate::setting::Setting;

/// A row begins no further block after this time, so that a restless disk does not keep it for ever.
const ROW_MAX: Duration = Duration::from_secs(90);

/// What stands beside the product in every block: a limit of the machine, or a rival.
pub(crate) struct Side<'a> {
    name: &'static str,
    measure: Box<dyn FnMut() -> Result<Vec<f64>> + 'a>,
}

impl<'a> Side<'a> {
    /// `measure` gives one figure for each one that the product gives, in the same order.
    pub(crate) fn new(name: &'static str, measure: impl FnMut() -> Result<Vec<f64>> + 'a) -> Self {
        Self { name, measure: Box::new(measure) }
    }

    /// A side with one figure.
    pub(crate) fn one(name: &'static str, mut measure: impl FnMut() -> Result<f64> + 'a) -> Self {
        Self::new(name, move || Ok(vec![measure()?]))
    }
}

/// Measures `limit` and `product` in turns until enough blocks are steady.
pub(crate) fn alternate(
    setting: &Setting,
    limit_name: &'static str,
    limit: impl FnMut() -> Result<f64>,
    mut product: impl FnMut() -> Result<f64>,
) -> Result<Blocks> {
    let run = alternate_all(setting, &mut [Side::one(limit_name, limit)], || Ok(vec![product()?]))?;
    Ok(run.blocks(0, 0))
}

/// Measures each of `sides` and `product` in turns until enough blocks are steady.
pub(crate) fn alternate_all(
    setting: &Setting,
    sides: &mut [Side<'_>],
    product: impl FnMut() -> Result<Vec<f64>>,
) -> Result<Run> {
    in_turns(setting, sides, product, Block::is_steady)
}

/// The same where nothing waits for the disk: every block counts, whatever the disk does.
pub(crate) fn alternate_in_memory(
    setting: &Setting,
    sides: &mut [Side<'_>],
    product: impl FnMut() -> Result<Vec<f64>>,
) -> Result<Run> {
    in_turns(setting, sides, product, |_| true)
}

fn in_turns(
    setting: &Setting,
    sides: &mut [Side<'_>],
    mut product: impl FnMut() -> Result<Vec<f64>>,
    counts: impl Fn(&Block) -> bool,
) -> Result<Run> {
    let (mut kept, mut thrown) = (Vec::new(), Vec::new());
    let mut before = raw_log::fdatasync_ms(setting.folder())?;
    let begun = Instant::now();
    while kept.len() < setting.rounds() && begun.elapsed() < ROW_MAX {
        let figures: Result<Vec<Vec<f64>>> = sides.iter_mut().map(|side| (side.measure)()).collect();
        let (figures, product) = (figures?, product()?);
        let after = raw_log::fdatasync_ms(setting.folder())?;
        let block = Block { sides: figures, product, fdatasync_ms: (before, after) };
        for (side, figures) in sides.iter().zip(&block.sides) {
            ensure!(figures.len() == block.product.len(), "{} gave {} figures", side.name, figures.len());
        }
        let steady = counts(&block);
        println!("  {}{}", told(sides, &block), if steady { "" } else { DISCARDED });
        if steady {
            kept.push(block)
        } else {
            thrown.push(block)
        }
        before = after;
    }
    let names = sides.iter().map(|side| side.name).collect();
    Ok(Run::of(names, setting.rounds(), kept, thrown))
}

const DISCARDED: &str = ": the disk changed its state, thrown away";

/// One line for people.
fn told(sides: &[Side<'_>], block: &Block) -> String {
    let mut text = String::new();
    let list =
        |figures: &[f64]| figures.iter().map(|figure| grouped(*figure)).collect::<Vec<_>>().join(" / ");
    for (side, figures) in sides.iter().zip(&block.sides) {
        let ratios: Vec<f64> = block.product.iter().zip(figures).map(|(ours, other)| ours / other).collect();
        text.push_str(&format!("{} {} (x {}), ", side.name, list(figures), list(&ratios)));
    }
    let (before, after) = block.fdatasync_ms;
    text.push_str(&format!("product {}, fdatasync {before:.3} -> {after:.3} ms", list(&block.product)));
    text
}
