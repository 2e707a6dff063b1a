//! Two servers of one database, of which one is killed or stopped: the other goes on with its plans, and what the
//! first says afterwards does not count. With three of them, one that has no plans is killed too.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::survivor::{self, Traces};
use crate::cluster::Cluster;
use crate::faults::chance::{Chance, count, percentile};
use crate::harness::{Place, Server, eventually};

/// Latest instant after the start of the plan at which its server is killed or stopped, in microseconds.
const INSTANT_US_MAX: u64 = 250_000;
/// Time after which a server that shows no life may be succeeded: the shortest there is.
const GONE_AFTER_MS: &str = "2000";
/// Time within which the plans of a server that is gone are those of another, where nothing else is configured.
const TAKEN_OVER_MAX: Duration = Duration::from_secs(15);
/// A call that lasts as long as the folder is there.
const HELD: &str = r#"
plan: held
goal: Wait until the folder is gone
inputs: { folder: { type: path } }
steps:
  wait: { tool: exec, idempotent: true, with: { argv: [sh, -c, 'while [ -d "$0" ]; do sleep 0.05; done', "${inputs.folder}"] } }
"#;

#[test]
fn soak_plans_of_a_server_that_is_killed_or_stopped_are_the_other_one_s() {
    let rounds = count(6, 100);
    let Some(cluster) = Cluster::start("crash succession") else { return };
    let mut chance = Chance::of(47);
    let mut taken = Vec::new();
    let mut adopted = 0;
    for round in 0..rounds {
        let stop = round % 2 == 0;
        let outcome = check_round(&cluster, &format!("round_{round}"), stop, &mut chance);
        adopted += usize::from(outcome.is_some());
        taken.extend(outcome);
    }
    assert!(adopted > 0, "no plan was open when its server was gone");
    println!(
        "{rounds} servers of two killed or stopped, {adopted} with an open tree: owners at a time 1, the same outputs, \
         calls repeated without leave: 0; taken over after p50 {:?}, max {:?}",
        percentile(&mut taken, 50),
        percentile(&mut taken, 100)
    );
}

/// The time until another server had taken the tree over; none if it had ended before.
fn check_round(cluster: &Cluster, schema: &str, stop: bool, chance: &mut Chance) -> Option<Duration> {
    let [first, second] = [(); 2].map(|()| {
        let mut place = Place::new();
        place.set_variable("PLANWIRE_DB", cluster.url(schema));
        place.set_variable("PLANWIRE_ENGINE_GONE_AFTER_MS", GONE_AFTER_MS);
        place
    });
    let traces = Traces::in_folder(&first);
    let (leaving, staying) = (first.serve_documents(), second.serve_documents());
    survivor::start(&leaving, &traces);
    std::thread::sleep(Duration::from_micros(chance.between(0, INSTANT_US_MAX)));
    let begun = Instant::now();
    let stopped = match stop {
        true => {
            leaving.running.signal(Signal::STOP);
            Some(leaving)
        }
        false => {
            leaving.kill();
            None
        }
    };
    let events = survivor::events_to_the_end(&staying);
    let taken = begun.elapsed();
    if let Some(stopped) = stopped {
        wake_and_end(stopped);
    }
    let after = survivor::events_to_the_end(&staying);
    assert_eq!(after, events, "what it says too late is not stored");
    assert!(staying.stop().success());
    let producers =
        cluster.sql(&format!("SELECT meta::jsonb ->> 'producer' FROM {schema}.plan_events ORDER BY id"));
    let adoptions = owners(&events, &producers);
    survivor::check(&events, &traces, adoptions);
    (adoptions > 0).then_some(taken)
}

#[test]
fn soak_plans_of_a_killed_server_are_taken_over_within_15_s_and_those_of_others_stay() {
    let rounds = count(1, 20);
    let Some(cluster) = Cluster::start("crash taken over") else { return };
    let mut taken: Vec<_> =
        (0..rounds).map(|round| check_taken_over(&cluster, &format!("kept_{round}"))).collect();
    println!(
        "{rounds} servers killed with a plan: taken over after p50 {:?}, max {:?}; of {rounds} without one: 0",
        percentile(&mut taken, 50),
        percentile(&mut taken, 100)
    );
}

/// Of three servers, first one without plans is killed, then the one with a plan; gives the time until that was taken
/// over.
fn check_taken_over(cluster: &Cluster, schema: &str) -> Duration {
    let places = [(); 3].map(|()| {
        let mut place = Place::new();
        place.set_variable("PLANWIRE_DB", cluster.url(schema));
        place
    });
    let folder = places[0].folder("held");
    let [owner, idle, staying] = places.each_ref().map(Place::serve_documents);
    let body = json!({"text": HELD, "name": "held.yaml", "inputs": {"folder": folder}});
    let started = owner.http.post("/v1/plans", &body);
    assert!(started.status < 300, "{started:?}");
    let of_type = |name: &str| {
        let page = staying.http.get(&format!("/v1/events?event_type={name}")).json(200);
        page["events"].as_array().expect("events").len()
    };
    eventually("the call", || (of_type("ToolCalled") == 1).then_some(()));

    idle.kill();
    let executors = || cluster.sql(&format!("SELECT count(*) FROM {schema}.executors")).trim().to_owned();
    eventually("the other one is forgotten", || (executors() == "2").then_some(()));
    assert_eq!(of_type("PlanAdopted"), 0);

    let begun = Instant::now();
    owner.kill();
    eventually("the plan is taken over", || (of_type("PlanAdopted") == 1).then_some(()));
    let taken = begun.elapsed();
    assert!(taken <= TAKEN_OVER_MAX, "{taken:?}");
    std::fs::remove_dir(&folder).expect("the folder");
    let events = survivor::events_to_the_end(&staying);
    assert_eq!(events.last().expect("an end")["event_type"], "PlanCompleted");
    assert!(staying.stop().success());
    taken
}

/// Lets a server go on that was stopped; it must find out that its plans are not its own.
fn wake_and_end(server: Server) {
    server.running.signal(Signal::CONT);
    server.http.get("/v1/plans?state=open").json(200);
    assert!(server.stop().success());
}

/// Every event of the tree has the owner as its producer that the tree has at that position; gives how often that
/// changed.
fn owners(events: &[Value], producers: &str) -> usize {
    let producers: Vec<&str> = producers.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(producers.len(), events.len());
    let mut owner = &events[0]["payload"]["executor_id"];
    let mut adoptions = 0;
    for (event, producer) in events.iter().zip(producers) {
        if event["event_type"] == "PlanAdopted" {
            assert_eq!(event["payload"]["previous"], *owner);
            owner = &event["payload"]["executor_id"];
            adoptions += 1;
        }
        assert_eq!(producer, owner, "{event}");
    }
    adoptions
}
