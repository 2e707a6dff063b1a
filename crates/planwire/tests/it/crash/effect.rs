//! A process that is killed right before an event is stored, or between the event and its effect: what was not stored
//! has not happened, and the next server goes on to the same end.

use planwire_engine::ToolSet;
use planwire_event::vocabulary::Object;
use serde_json::{Value, json};

use super::doomed::{Doomed, Kill, STAGES, is_killed};
use super::survivor::{self, Traces};
use crate::harness::Place;

const TEST: &str = "crash::effect::killed_before_or_after_any_event_the_plan_goes_on_to_the_same_end";
const TEST_TWICE: &str =
    "crash::effect::killed_while_it_takes_a_plan_up_the_next_process_goes_on_all_the_same";

/// All types of events that this plan has, and that its process publishes. Those of plans that talk are in `talk`.
const TYPES: [&str; 9] = [
    "PlanStarted",
    "DecisionMade",
    "ToolCalled",
    "ToolCompleted",
    "SubplanSpawned",
    "SubplanCompleted",
    "ArtifactProduced",
    "PlanFailed",
    "PlanCompleted",
];
/// The first event of a type, and a later one. A type that has no later one is left out there.
const NUMBERS: [usize; 2] = [1, 5];

#[test]
fn killed_before_or_after_any_event_the_plan_goes_on_to_the_same_end() {
    if let Some(doomed) = Doomed::of_environment() {
        return live(doomed);
    }
    let mut kills = 0;
    for event_type in TYPES {
        for (stage, _) in STAGES {
            let kills_here = NUMBERS.map(|number| Kill { event_type, stage, number });
            let killed = kills_here.into_iter().filter(|kill| check(*kill)).count();
            assert!(killed > 0, "there is no {event_type}");
            kills += killed;
        }
    }
    println!(
        "{kills} kills before and after events of {} types: the same outputs, calls repeated without leave: 0, \
         processes left: 0",
        TYPES.len()
    );
}

/// Kills a run at the moment and lets a server go on; false if it has no such moment.
fn check(kill: Kill) -> bool {
    let place = Place::new();
    let traces = Traces::in_folder(&place);
    if !is_killed(TEST, &place, traces.folder(), Some(kill)) {
        return false;
    }
    let before = place.run(&["events", "--json"]).json(0);
    check_stored(&before, kill);
    if before.is_empty() {
        // Its start was not stored: the plan has never been.
        return true;
    }
    check_end(&place, &traces, 1);
    true
}

/// A server goes on to the end; the tree was adopted so often then.
fn check_end(place: &Place, traces: &Traces, adoptions: usize) {
    let server = place.serve(&[]);
    let events = survivor::events_to_the_end(&server);
    assert_eq!(server.stop().code(), Some(0));
    survivor::check(&events, traces, adoptions);
}

/// The event is stored if the process was gone after that, and only then.
fn check_stored(stored: &[Value], Kill { event_type, stage, number }: Kill) {
    let of_type = count(stored, event_type);
    match (stage, number) {
        ("before", 1) => assert_eq!(of_type, 0, "{event_type}"),
        // Others of its type may be on their way in other plans.
        ("before", _) => {}
        _ => assert!(of_type >= number, "{event_type} {number}: {of_type}"),
    }
}

fn count(stored: &[Value], event_type: &str) -> usize {
    stored.iter().filter(|event| event["event_type"] == event_type).count()
}

#[test]
fn killed_while_it_takes_a_plan_up_the_next_process_goes_on_all_the_same() {
    if let Some(doomed) = Doomed::of_environment() {
        return live(doomed);
    }
    // Much is in flight.
    let first = Kill { event_type: "ToolCompleted", stage: "before", number: 5 };
    let mut kills = 0;
    // To say whose the tree is, to end what was in flight, to go on, to end.
    for event_type in ["PlanAdopted", "ToolCompleted", "SubplanCompleted", "PlanCompleted"] {
        for (stage, _) in STAGES {
            let place = Place::new();
            let traces = Traces::in_folder(&place);
            let again = Kill { event_type, stage, number: 1 };
            for kill in [first, again] {
                assert!(is_killed(TEST_TWICE, &place, traces.folder(), Some(kill)), "there is no {kill:?}");
            }
            let adopted = count(&place.run(&["events", "--json"]).json(0), "PlanAdopted");
            assert_eq!(adopted == 0, event_type == "PlanAdopted" && stage == "before", "{again:?}");
            check_end(&place, &traces, adopted + 1);
            kills += 1;
        }
    }
    println!(
        "{kills} kills of processes that took a tree up: the same outputs, calls repeated without leave: 0"
    );
}

/// The process that dies.
fn live(doomed: Doomed) {
    let folder = std::env::current_dir().expect("a folder");
    let inputs: Object = [("folder".to_owned(), json!(folder))].into_iter().collect();
    doomed.live(ToolSet::standard(), survivor::DOCUMENT, inputs, async |_, _| {});
}
