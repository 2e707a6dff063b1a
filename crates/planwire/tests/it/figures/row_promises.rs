//! Goals, and the table.

use crate::figures::numbers::Spread;
use crate::figures::row::*;

fn row(figure: f64, ratio: f64, target: Target) -> Row {
    let one = |figure| Spread::of([figure]);
    let (figure, limit, ratio) = (one(figure), one(figure / ratio), one(ratio));
    Row { limit, ratio, ..Row::alone("a row", "events/s", figure).target(target) }
}

fn check(figure: f64, ratio: f64, target: Target, expected: &str) {
    assert_eq!(row(figure, ratio, target).verdict(), expected);
}

#[test]
fn goals_are_met_at_their_value_and_say_how_far_away_they_are() {
    check(100.0, 1.2, Target::Times(1.2), "met");
    check(100.0, 0.9, Target::Times(1.2), "MISSED: 0.75 of it");
    check(1.0, 0.6, Target::AtMostTimes(0.6), "met");
    check(1.0, 1.2, Target::AtMostTimes(0.6), "MISSED: 0.50 of it");
    check(1e6, 1.0, Target::AtLeast(1e6), "met");
    check(5e5, 1.0, Target::AtLeast(1e6), "MISSED: 0.50 of it");
    check(10.0, 1.0, Target::AtMost(10.0), "met");
    check(20.0, 1.0, Target::AtMost(10.0), "MISSED: 0.50 of it");
    check(20.0, 1.0, Target::Printed, "-");
}

#[test]
fn a_figure_that_is_missing_meets_no_goal() {
    assert_eq!(row(f64::NAN, f64::NAN, Target::Times(1.0)).met(), Some(false));
}

#[test]
fn table_shows_ratios_with_their_spread() {
    let row = Row { ratio: Spread::of([1.0, 2.0, 3.0]), ..row(6.0, 2.0, Target::Times(1.5)) };
    assert!(table(&[row]).contains("2.00 (1.00..3.00)"));
}

#[test]
fn json_has_no_ratio_where_nothing_stands_beside() {
    let json = to_json(&[Row::alone("a row", "ms", Spread::of([1.0]))]);
    assert!(json[0]["ratio"].is_null() && json[0]["fdatasync_ms"].is_null());
    assert_eq!(json[0]["figure"]["median"], 1.0);
}
