//! The documents under `plans/`, each run for what it is good for. `repo-report`, `release-notes` and `recent-changes` have
//! tests of their own (`demo`, `questions`, `mcp`).

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Place, eventually, finish};
use crate::models::stand_in;

fn document(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../plans")).join(format!("{name}.yaml"))
}

/// Runs a document in the working folder and gives the outputs of its root.
fn run(place: &Place, name: &str, inputs: &[String]) -> Value {
    outputs(&events(place, name, inputs, &[]))
}

fn events(place: &Place, name: &str, inputs: &[String], global: &[&str]) -> Vec<Value> {
    let mut command = place.command::<&str>(&["--json"]);
    command.current_dir(place.folder("work")).args(global).arg("run").arg(document(name));
    command.args(inputs.iter().flat_map(|input| ["--input", input]));
    finish(command, "").json(0)
}

fn outputs(events: &[Value]) -> Value {
    let last = events.last().expect("events");
    assert_eq!(last["event_type"], "PlanCompleted", "{last}");
    last["payload"]["outputs"].clone()
}

#[test]
fn duplicates_are_found_and_told() {
    let place = Place::new();
    for (path, text) in [("a", "the same"), ("b/c", "the same"), ("d", "another"), (".git/e", "the same")] {
        place.file(&format!("work/{path}"), text);
    }
    let found = run(&place, "duplicates", &[]);
    assert_eq!(found, json!({"worth": "no", "bytes": 8, "groups": 1}));
    let events = events(&place, "duplicates", &["worth_bytes=8".into()], &[]);
    assert_eq!(outputs(&events)["worth"], "yes");
    let is_report = |event: &&Value| event["event_type"] == "ArtifactProduced";
    let report = events.iter().find(is_report).expect("a report")["payload"]["part"]["text"].clone();
    assert!(report.as_str().expect("text").contains("- 8 bytes: a, b/c\n"), "{report}");
}

#[test]
fn packages_without_a_licence_are_told() {
    let place = Place::new();
    for path in ["one/LICENSE-MIT", "two/src/LICENSE", "three/COPYING", ".hidden/x"] {
        place.file(&format!("work/{path}"), "");
    }
    assert_eq!(run(&place, "licences", &[]), json!({"packages": 3, "unlicensed": ["two"]}));
}

#[test]
fn addresses_that_do_not_answer_are_told() {
    let place = Place::new();
    let server = Place::new().serve(&[]);
    let base = server.url.trim_end_matches('/').to_owned();
    // A port that nobody listens on.
    let nobody = format!("http://{}/", crate::harness::free_address());
    let urls = json!([format!("{base}/readyz"), format!("{base}/none"), nobody]).to_string();
    let config = place.file("planwire.toml", "[engine.http]\nallow_private = ['127.0.0.1/32']\n");
    let global = ["--config", config.to_str().expect("UTF-8")];
    let found = outputs(&events(&place, "links", &[format!("urls={urls}")], &global));
    assert_eq!(found, json!({"asked": 3, "gone": [format!("{base}/none"), nobody]}));
}

/// A program that plans: two subplans of its own, each with a call.
const PLANNER: &str = r#"#!/bin/sh
cat <<'PLAN'
plan: made
goal: Look at what lies here
steps:
  here: { tool: file.list, with: { root: "." } }
  each:
    for_each: "steps.here.output.entries"
    with: { path: "${item.path}" }
    plan:
      plan: look
      goal: Look at one
      inputs: { path: { type: string } }
      steps: { size: { tool: file.digest, with: { root: ".", path: "${inputs.path}" } } }
      outputs: { bytes: "${steps.size.output.size_bytes}" }
outputs: { files: "${size(steps.each.outputs)}" }
PLAN
"#;

#[test]
fn plan_of_a_program_runs_once_somebody_has_approved_it() {
    let place = Place::new();
    let planner = place.file("planner", PLANNER);
    std::fs::set_permissions(&planner, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    place.file("work/one", "1");
    place.file("work/two", "22");
    let planner = format!("planner={}", json!([planner]));
    let made = run(&place, "delegate", &[planner.clone(), "approval=false".into()]);
    assert_eq!(made, json!({"work": {"files": 2}}));

    let mut command = place.command::<&str>(&["--json", "run"]);
    command.current_dir(place.folder("work")).arg(document("delegate")).args(["--input", &planner]);
    let running = crate::harness::Running::start(command);
    let asked = eventually("the question", || {
        let ran = place.run(&["--json", "events", "--type", "InputRequested"]);
        serde_json::from_str::<Value>(ran.stdout.lines().next()?).ok()
    });
    // What is approved is what was planned.
    let plan = asked["payload"]["arguments"]["plan"].as_str().expect("the plan");
    assert!(plan.starts_with("plan: made\n"), "{plan}");
    let id = asked["plan_id"].as_str().expect("an id");
    place.run(&["answer", id, "yes"]).text(0);
    let (status, _) = running.end();
    assert!(status.success());
}

#[test]
fn what_is_no_plan_is_refused_with_what_is_wrong() {
    let place = Place::new();
    place.folder("work");
    let inputs = ["planner=[\"echo\", \"no plan at all\"]".to_owned(), "approval=false".to_owned()];
    let refused = run(&place, "delegate", &inputs);
    let why = refused["work"]["refused"].as_str().expect("a reason");
    assert!(why.contains("plan"), "{why}");
}

#[test]
fn model_says_what_a_report_is_about() {
    let (address, asked) = stand_in(r#"{"rationale": "it asks", "chosen": "question", "confidence": 1}"#);
    let place = Place::new();
    place.folder("work");
    let text = format!("[engine.models.default]\nbase_url = 'http://{address}/v1'\nmodel = 'm'\n");
    let config = place.file("planwire.toml", &text);
    let global = ["--config", config.to_str().expect("UTF-8")];
    let found = outputs(&events(&place, "model/triage", &["text=How do I stop it?".into()], &global));
    assert_eq!(found, json!({"kind": "question", "urgency": "none"}));
    assert!(asked.join().expect("a request").contains("How do I stop it?"));
}

const MANUAL: &str = include_str!("../../../../docs/plans.md");
/// Examples of the manual that need a program, a server, a model or somebody who answers.
const IN_NEED: [&str; 6] = ["ask-model", "where-to-begin", "decompose", "release", "report-issue", "whoami"];

#[test]
fn examples_of_the_manual_that_need_nothing_run_to_their_end() {
    let place = Place::new();
    place.file("work/a/b.txt", "text");
    let examples = MANUAL.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut ran = 0;
    for example in examples {
        let name = example.lines().next().and_then(|line| line.strip_prefix("plan: ")).expect("a name");
        if IN_NEED.contains(&name) {
            continue;
        }
        let file = place.file(&format!("{name}.yaml"), example);
        let mut command = place.command(&["--json", "run"]);
        command.current_dir(place.folder("work")).arg(file);
        outputs(&finish(command, "").json(0));
        ran += 1;
    }
    assert!(ran >= 5, "{ran} examples");
}
