//! Random calls of the bus, each answered as a plain list of events says.
//!
//! - `acts`: what is called, drawn and shrunk by proptest
//! - `expected`: the list, and what follows from it for each answer and each reader
//! - `requests`: events of what acts ask for
//! - `driver`: does the acts one after the other and compares

mod acts;
mod driver;
mod expected;
mod requests;

use std::cell::RefCell;

use proptest::test_runner::{Config, TestRunner};

use crate::seeds::count;
use driver::{Driver, TALLIED, Tally};

/// Acts of one case.
const ACTS_MAX: usize = 60;

#[test]
fn soak_random_calls_are_answered_as_a_plain_list_says() {
    let cases = count(400, 20_000);
    let mut runner = TestRunner::new(Config {
        cases: u32::try_from(cases).unwrap(),
        source_file: Some(file!()),
        ..Config::default()
    });
    let all = RefCell::new(Tally::default());
    let outcome = runner.run(&proptest::collection::vec(acts::any_act(), 1..ACTS_MAX), |acts| {
        let mut driver = Driver::open();
        acts.iter().for_each(|act| driver.take(act));
        let tally = driver.finish();
        tally.iter().for_each(|(what, count)| *all.borrow_mut().entry(what).or_default() += count);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let all = all.into_inner();
    println!("{cases} cases: {all:?}");
    let never = TALLIED.iter().find(|what| all.get(*what).is_none_or(|count| *count == 0));
    assert_eq!(never, None, "of this, the cases had nothing");
}
