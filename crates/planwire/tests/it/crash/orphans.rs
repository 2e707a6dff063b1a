//! Plans that are open when their process ends: all end as interrupted, leaves first.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::{Place, Server, eventually};

/// Plans of [`DOCUMENT`].
const PLANS: usize = 8;
/// Tool calls of it that run at a time, and end when the folder is gone.
const CALLS: usize = 6;

/// A plan, three below it at a time, and one below each of two; those without a plan below them wait.
const DOCUMENT: &str = r#"
plan: open
goal: Stay open
inputs: { folder: { type: path } }
steps:
  own: { tool: exec, with: { argv: [sh, -c, 'while [ -d "$0" ]; do sleep 0.05; done', "${inputs.folder}"] } }
  leaves:
    for_each: "[1, 2, 3]"
    with: { folder: "${inputs.folder}" }
    plan:
      plan: leaf
      goal: Wait
      inputs: { folder: { type: path } }
      steps: { wait: { tool: exec, with: { argv: [sh, -c, 'while [ -d "$0" ]; do sleep 0.05; done', "${inputs.folder}"] } } }
  branches:
    for_each: "[1, 2]"
    with: { folder: "${inputs.folder}" }
    plan:
      plan: branch
      goal: Have a leaf
      inputs: { folder: { type: path } }
      steps:
        below:
          with: { folder: "${inputs.folder}" }
          plan:
            plan: leaf
            goal: Wait
            inputs: { folder: { type: path } }
            steps: { wait: { tool: exec, with: { argv: [sh, -c, 'while [ -d "$0" ]; do sleep 0.05; done', "${inputs.folder}"] } } }
"#;

#[test]
fn open_plans_end_as_interrupted_when_the_server_is_asked_to_end() {
    let place = Place::new();
    let server = serve_open_plans(&place);
    assert_eq!(server.stop().code(), Some(0));
    check_interrupted(&place, PLANS);
    println!("SIGTERM with {PLANS} open plans: each ended once, as interrupted, after those below it");
}

#[test]
fn open_plans_of_a_killed_server_end_as_interrupted_at_the_next_start() {
    let place = Place::new();
    for killed in 1..=3 {
        let server = serve_open_plans(&place);
        server.kill();
        let next = place.serve(&[]);
        assert_eq!(next.http.get("/v1/plans?state=open").json(200)["plans"], serde_json::json!([]));
        assert_eq!(next.stop().code(), Some(0));
        check_interrupted(&place, PLANS * killed);
    }
    println!("3 kills, each with {PLANS} open plans: each ended once, as interrupted, after those below it");
}

/// A server with plans that all wait.
fn serve_open_plans(place: &Place) -> Server {
    let server = place.serve(&["--allow-inline-documents"]);
    let folder = place.folder("open");
    let body = serde_json::json!({"text": DOCUMENT, "name": "open.yaml", "inputs": {"folder": folder}});
    let started = server.http.post("/v1/plans", &body);
    assert!(started.status < 300, "{started:?}");
    let started: Value = serde_json::from_str(&started.body).expect("JSON");
    let path = format!(
        "/v1/plans/{}/events?tree=true&event_type=ToolCalled",
        started["plan_id"].as_str().expect("a plan")
    );
    eventually("all calls", || {
        let page = server.http.get(&path).json(200);
        (page["events"].as_array().expect("a list").len() == CALLS).then_some(())
    });
    server
}

fn check_interrupted(place: &Place, plans: usize) {
    let events = place.run(&["events", "--json"]).json(0);
    let of_type = |name: &'static str| events.iter().filter(move |event| event["event_type"] == name);
    assert_eq!(of_type("PlanStarted").count(), plans);
    assert!(of_type("PlanFailed").all(|event| event["payload"]["reason"] == "interrupted"));
    assert_eq!(of_type("PlanFailed").count(), plans);
    assert_eq!(of_type("ToolCalled").count(), of_type("ToolCompleted").count());
    check_ended(&events, events.len());
}

/// Every plan has one terminal event, subplans before the plans that spawned them; no effect was begun after
/// the first `before` events.
pub(super) fn check_ended(events: &[Value], before: usize) {
    let mut open: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for (event, index) in events.iter().zip(0..) {
        let plan = event["plan_id"].as_str().expect("a plan");
        match event["event_type"].as_str().expect("a type") {
            "PlanStarted" => {
                assert!(index < before, "nothing starts again");
                open.insert(plan, event["parent_plan_id"].as_str());
            }
            "PlanCompleted" | "PlanFailed" => {
                assert!(open.remove(plan).is_some(), "{plan} ends once");
                assert!(
                    open.values().all(|parent| *parent != Some(plan)),
                    "{plan} ends after those below it"
                );
                assert!(index < before || event["payload"]["reason"] == "interrupted", "{event}");
            }
            "ToolCalled" | "DecisionMade" | "SubplanSpawned" => assert!(index < before, "{event}"),
            _ => {}
        }
    }
    assert!(open.is_empty(), "{open:?}");
}
