//! Negative controls: each planted bug is found by one of the models that look at what it breaks, or they prove nothing.

use std::sync::Mutex;

use planwire_bus::planted::{Bug, plant};

use crate::hand_over::readers_go_from_store_to_ring_without_gap_or_repetition as hand_over;
use crate::handling::{
    a_handler_gets_all_that_is_stored_after_it_subscribed, a_handler_may_end_itself,
    a_handler_that_waits_for_a_thread_can_be_ended, after_unsubscribe_no_call_begins,
    unsubscribe_and_wait_waits_for_the_call_that_runs,
};
use crate::hints::what_another_process_wrote_is_shown_after_a_hint;
use crate::search::{Model, find};
use crate::seeds::of_all_processors;
use crate::waiting::{each_reader_is_woken_for_what_it_waits_for, nobody_is_woken_for_what_he_does_not_want};

/// Seeds within which each bug must be found: a part of those that the models run.
const SEEDS: u64 = 40;

/// Which model finds what: all bugs that only threads show, and those of the simulation that threads show too.
const FINDS: &[(Bug, Model)] = &[
    (Bug::RingSkipsOne, hand_over),
    (Bug::HandOverOffByOne, hand_over),
    (Bug::ClosedLookedAtFirst, hand_over),
    (Bug::WakeLost, each_reader_is_woken_for_what_it_waits_for),
    (Bug::WokenOneLate, each_reader_is_woken_for_what_it_waits_for),
    (Bug::RegisteredLate, each_reader_is_woken_for_what_it_waits_for),
    (Bug::PushedApart, each_reader_is_woken_for_what_it_waits_for),
    (Bug::SlotReadBeforeLock, each_reader_is_woken_for_what_it_waits_for),
    (Bug::ScannedWithoutLock, each_reader_is_woken_for_what_it_waits_for),
    (Bug::LeavesOneListOnly, each_reader_is_woken_for_what_it_waits_for),
    (Bug::LeaveForgotten, nobody_is_woken_for_what_he_does_not_want),
    (Bug::GateLookedAtOnce, after_unsubscribe_no_call_begins),
    (Bug::EndToldEarly, unsubscribe_and_wait_waits_for_the_call_that_runs),
    (Bug::ClosingSwallowed, a_handler_that_waits_for_a_thread_can_be_ended),
    (Bug::WaitsForItself, a_handler_may_end_itself),
    (Bug::PlaceTakenLate, a_handler_gets_all_that_is_stored_after_it_subscribed),
    (Bug::HintTakenLate, what_another_process_wrote_is_shown_after_a_hint),
    (Bug::HintSwallowed, what_another_process_wrote_is_shown_after_a_hint),
];

#[test]
fn soak_models_find_each_planted_bug() {
    // A bug panics; that is what is looked for and need not be told twice.
    std::panic::set_hook(Box::new(|_| {}));
    let missed = Mutex::new(Vec::new());
    of_all_processors(0, FINDS.len() as u64, |at| {
        let (bug, model) = FINDS[usize::try_from(at).unwrap()];
        plant(Some(bug));
        let found = (0..SEEDS).find_map(|seed| Some((seed, find(seed, model)?)));
        plant(None);
        match found {
            Some((seed, finding)) => {
                println!("{bug:?}: found by seed {seed}, {}", finding.lines().next().unwrap_or_default());
            }
            None => missed.lock().unwrap().push(bug),
        }
    });
    drop(std::panic::take_hook());
    let missed = missed.into_inner().unwrap();
    println!("{} bugs planted, {} missed within {SEEDS} seeds", FINDS.len(), missed.len());
    assert!(missed.is_empty(), "missed: {missed:?}");
    let left_out = Bug::MODELLED.iter().filter(|bug| FINDS.iter().all(|(found, _)| found != *bug));
    assert_eq!(left_out.count(), 0, "no model looks for some bug");
}

#[test]
fn a_seed_tries_the_same_orders_each_time() {
    plant(Some(Bug::WakeLost));
    std::panic::set_hook(Box::new(|_| {}));
    let seeds = 0..10;
    let runs: Vec<Vec<_>> = (0..2)
        .map(|_| seeds.clone().map(|seed| find(seed, each_reader_is_woken_for_what_it_waits_for)).collect())
        .collect();
    drop(std::panic::take_hook());
    plant(None);
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].iter().any(Option::is_some));
}
