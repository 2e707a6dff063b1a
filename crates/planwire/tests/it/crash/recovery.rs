//! Servers that end with plans open, by a kill at any instant or because they were asked to: the next one goes on.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::survivor::{self, Traces};
use crate::faults::chance::{Chance, count};
use crate::harness::{Place, Server, eventually};

/// Latest instant of a kill after the start of the server, in microseconds.
const KILL_US_MAX: u64 = 250_000;

#[test]
fn soak_killed_at_random_instants_plans_go_on_to_the_end_of_an_undisturbed_run() {
    let kills = count(40, 200);
    let mut chance = Chance::of(31);
    let (mut done, mut plans) = (0, 0);
    while done < kills {
        let place = Place::new();
        let traces = Traces::in_folder(&place);
        done += kill_until_it_ends(&place, &traces, &mut chance, kills - done);
        plans += 1;
    }
    println!(
        "{done} kills of {plans} trees: the same outputs, ends more than once: 0, calls repeated without leave: 0"
    );
}

/// Runs one tree through at most `kills` servers that are killed; says how many were.
fn kill_until_it_ends(place: &Place, traces: &Traces, chance: &mut Chance, kills: u64) -> u64 {
    let server = place.serve_documents();
    survivor::start(&server, traces);
    let mut server = Some(server);
    let (mut killed, mut adopted) = (0, 0);
    while killed < kills {
        kill_within(KILL_US_MAX, place, server.take(), chance);
        killed += 1;
        let events = place.run(&["events", "--json"]).json(0);
        adopted = events.iter().filter(|event| event["event_type"] == "PlanAdopted").count();
        let ends = |event: &Value| event["parent_plan_id"].is_null() && is_end(event);
        if events.iter().any(ends) {
            break;
        }
    }
    let last = place.serve(&[]);
    let events = survivor::events_to_the_end(&last);
    assert_eq!(last.stop().code(), Some(0));
    let all = events.iter().filter(|event| event["event_type"] == "PlanAdopted").count();
    assert!(all == adopted || all == adopted + 1, "a server adopts a tree once: {all}, {adopted}");
    survivor::check(&events, traces, all);
    killed
}

/// Kills `server`, or one that is started for it, at an instant within so many microseconds.
pub(super) fn kill_within(us_max: u64, place: &Place, server: Option<Server>, chance: &mut Chance) {
    let begun = Instant::now();
    let instant = Duration::from_micros(chance.between(0, us_max));
    match server {
        Some(server) => {
            std::thread::sleep(instant.saturating_sub(begun.elapsed()));
            server.kill();
        }
        None => {
            // Also before it answers.
            let running = place.start(&["--json", "serve", "--listen", "127.0.0.1:0"]);
            std::thread::sleep(instant.saturating_sub(begun.elapsed()));
            running.signal(Signal::KILL);
            running.end();
        }
    }
}

fn is_end(event: &Value) -> bool {
    event["event_type"] == "PlanCompleted" || event["event_type"] == "PlanFailed"
}

/// Waits in two plans until its folder is gone; may wait again.
const WAITING: &str = r#"
plan: waits
goal: Wait
inputs: { folder: { type: path } }
steps:
  own: { tool: exec, idempotent: true, with: { argv: [sh, -c, 'while [ -d "$0" ]; do sleep 0.05; done', "${inputs.folder}"] } }
  below:
    with: { folder: "${inputs.folder}" }
    plan:
      plan: below
      goal: Wait
      inputs: { folder: { type: path } }
      steps: { wait: { tool: exec, idempotent: true, with: { argv: [sh, -c, 'while [ -d "$0" ]; do sleep 0.05; done; echo done', "${inputs.folder}"] } } }
      outputs: { said: "${steps.wait.output.stdout}" }
outputs: { said: "${steps.below.outputs.said}" }
"#;

fn start_waiting(place: &Place) -> (Server, String) {
    let server = place.serve_documents();
    let body = json!({"text": WAITING, "name": "waits.yaml", "inputs": {"folder": place.folder("open")}});
    let started = server.http.post("/v1/plans", &body);
    assert!(started.status < 300, "{started:?}");
    let started: Value = serde_json::from_str(&started.body).expect("JSON");
    let plan = started["plan_id"].as_str().expect("a plan").to_owned();
    eventually("both calls", || (of_type(&server, &plan, "ToolCalled").len() == 2).then_some(()));
    (server, plan)
}

fn of_type(server: &Server, plan: &str, event_type: &str) -> Vec<Value> {
    let path = format!("/v1/plans/{plan}/events?tree=true&event_type={event_type}");
    server.http.get(&path).json(200)["events"].as_array().expect("a list").clone()
}

#[test]
fn server_that_is_asked_to_end_leaves_its_plans_to_the_next_one() {
    let place = Place::new();
    let (server, plan) = start_waiting(&place);
    let before = place.run(&["events", "--json"]).json(0);
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(place.run(&["events", "--json"]).json(0), before, "nothing is said of them");
    let next = place.serve(&[]);
    std::fs::remove_dir(place.folder("open")).expect("the folder");
    let ended = eventually("the end", || of_type(&next, &plan, "PlanCompleted").pop());
    assert_eq!(ended["payload"]["outputs"], json!({"said": "done\n"}));
    assert_eq!(of_type(&next, &plan, "ToolCalled").len(), 2);
    assert_eq!(of_type(&next, &plan, "PlanAdopted").len(), 1);
}

#[test]
fn killed_plan_is_resumed_by_name_where_no_server_runs() {
    let place = Place::new();
    let (server, plan) = start_waiting(&place);
    server.kill();
    std::fs::remove_dir(place.folder("open")).expect("the folder");
    let resumed = place.run(&["--json", "resume", &plan]);
    let events = resumed.json(0);
    assert_eq!(events.last().expect("events")["payload"]["outputs"], json!({"said": "done\n"}));
    let again = place.run(&["resume", &plan]);
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("has ended; only open plans can be resumed"), "{}", again.stderr);
}
