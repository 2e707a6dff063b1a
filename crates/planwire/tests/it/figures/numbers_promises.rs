//! Medians, quantiles, and numbers for people.

use std::time::Duration;

use crate::figures::numbers::*;

#[test]
fn median_and_quantiles_are_figures_that_were_measured() {
    let spread = Spread::of([5.0, 1.0, 4.0, 2.0, 3.0]);
    assert_eq!(spread.median(), 3.0);
    assert_eq!(spread.quantile(99), 5.0);
    assert_eq!(spread.ends(), (1.0, 5.0));
}

#[test]
fn median_of_an_even_number_of_figures_is_between_the_two_in_the_middle() {
    assert_eq!(Spread::of([4.0, 1.0, 10.0, 2.0]).median(), 3.0);
    assert_eq!(Spread::of([2.0, 1.0]).median(), 1.5);
}

#[test]
fn no_figures_have_no_median() {
    let none = Spread::default();
    assert!(none.median().is_nan() && none.ends().0.is_nan());
}

#[test]
fn numbers_are_grouped_for_people() {
    assert_eq!(grouped(1_234_567.4), "1,234,567");
    assert_eq!(grouped(999.6), "1,000");
    assert_eq!(grouped(0.123), "0.12");
    assert_eq!(grouped(f64::NAN), "-");
}

#[test]
fn rates_are_per_second() {
    assert_eq!(per_second(500, Duration::from_millis(250)), 2_000.0);
    assert!(per_second(1, Duration::ZERO) > 0.0);
}
