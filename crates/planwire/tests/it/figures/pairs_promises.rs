//! Ratios block by block.

use crate::figures::pairs::*;

fn block(rival: f64, product: f64, fdatasync_ms: (f64, f64)) -> Block {
    Block { sides: vec![vec![rival]], product: vec![product], fdatasync_ms }
}

#[test]
fn ratio_is_the_median_of_pairs_and_not_of_sides() {
    let steady = (0.14, 0.15);
    let kept = vec![block(10.0, 10.0, steady), block(20.0, 60.0, steady), block(30.0, 60.0, steady)];
    let blocks = Run::of(vec!["rival"], 1, kept, Vec::new()).blocks(0, 0);
    assert_eq!(blocks.ratio.median(), 2.0);
    assert_eq!(blocks.ratio.ends(), (1.0, 3.0));
    assert_eq!((blocks.limit.median(), blocks.product.median()), (20.0, 60.0));
    assert!(blocks.notes.is_empty());
}

#[test]
fn a_disk_that_changes_its_state_either_way_is_seen() {
    assert!(!block(1.0, 1.0, (0.14, 4.0)).is_steady());
    assert!(!block(1.0, 1.0, (4.0, 0.14)).is_steady());
    assert!(block(1.0, 1.0, (0.14, 0.2)).is_steady());
}

#[test]
fn blocks_that_were_thrown_away_are_told_and_used_only_where_there_is_no_other() {
    let moved = || block(1.0, 5.0, (0.14, 4.0));
    let some = Run::of(vec!["rival"], 1, vec![block(1.0, 2.0, (0.1, 0.1))], vec![moved()]).blocks(0, 0);
    assert_eq!((some.ratio.median(), some.notes.len()), (2.0, 1));
    let none = Run::of(vec!["rival"], 1, Vec::new(), vec![moved()]).blocks(0, 0);
    assert_eq!((none.ratio.median(), none.notes.len()), (5.0, 3));
}

#[test]
fn a_side_that_was_not_measured_has_no_blocks() {
    let run = Run::of(vec!["rival"], 1, vec![block(1.0, 2.0, (0.1, 0.1))], Vec::new());
    assert!(run.beside("rival", 0).is_some());
    assert!(run.beside("another", 0).is_none());
}

#[test]
fn fewer_blocks_than_wanted_are_told() {
    let run = Run::of(vec!["rival"], 5, vec![block(1.0, 2.0, (0.1, 0.1))], Vec::new());
    assert_eq!(run.blocks(0, 0).notes, ["1 of 5 blocks before the time was over"]);
}
