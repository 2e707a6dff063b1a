//! Negative controls: each planted bug is found by the simulation, or the simulation proves nothing.

use std::sync::Mutex;

use planwire_bus::planted::{Bug, plant};

use super::world;
use crate::seeds::of_all_processors;

/// Seeds within which each bug must be found.
const SEEDS: u64 = 2_000;

/// Bugs of handlers that take one thread only; those that take several are for the models.
const OF_HANDLERS: [Bug; 4] =
    [Bug::GateLookedAtOnce, Bug::EndToldEarly, Bug::WaitsForItself, Bug::PlaceTakenLate];

/// The first seed that finds `bug`, and what it finds.
fn find(bug: Bug) -> Option<(u64, String)> {
    plant(Some(bug));
    let found = (0..SEEDS).find_map(|seed| Some((seed, world::run(seed, false).verdict?)));
    plant(None);
    found
}

#[test]
fn soak_simulation_finds_each_planted_bug() {
    // A bug may panic; that is a finding like any other and need not be told twice.
    std::panic::set_hook(Box::new(|_| {}));
    let missed = Mutex::new(Vec::new());
    let bugs = [Bug::SIMULATED, &OF_HANDLERS].concat();
    of_all_processors(0, bugs.len() as u64, |at| {
        let bug = bugs[usize::try_from(at).unwrap()];
        match find(bug) {
            Some((seed, verdict)) => println!("{bug:?}: found by seed {seed}, {verdict}"),
            None => missed.lock().unwrap().push(bug),
        }
    });
    drop(std::panic::take_hook());
    let missed = missed.into_inner().unwrap();
    println!("{} bugs planted, {} missed within {SEEDS} seeds", bugs.len(), missed.len());
    assert!(missed.is_empty(), "missed: {missed:?}");
}

#[test]
fn a_build_that_can_plant_bugs_has_none_by_itself() {
    assert!((0..50).all(|seed| world::run(seed, false).verdict.is_none()));
}
