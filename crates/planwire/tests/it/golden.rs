//! Logs of earlier releases, as files: this release opens them, and their open plans go on.
//!
//! `golden/VERSION.db` is a log with a plan that was paused, and its witness, as that version left them. They are never
//! changed once that version is released; a release adds its own, written with `PLANWIRE_WRITE_GOLDEN=VERSION`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{Place, Server, eventually};

/// Names the version whose log is to be written.
const WRITE: &str = "PLANWIRE_WRITE_GOLDEN";
const LOG: &str = "default.db";
const WITNESS: &str = "default.db.head";
/// Steps that are done before the pause, and one that is left.
const DOCUMENT: &str = r#"
plan: golden
goal: Be finished by a later release
inputs: { words: { type: list } }
limits: { tool_calls: 10 }
steps:
  each:
    for_each: "inputs.words"
    with: { word: "${item}" }
    plan:
      plan: say
      goal: Say a word
      inputs: { word: { type: string } }
      steps: { say: { tool: exec, with: { argv: [echo, "${inputs.word}"] }, usage: { input_tokens: 7, cost: 0.01, currency: USD } } }
      outputs: { said: "${steps.say.output.stdout}" }
  way:
    decide: Which one?
    options: { first: the one before, last: the one after }
    choose: "size(steps.each.outputs) > 1 ? 'last' : 'first'"
  note: { artifact: { name: note.txt, media_type: text/plain, text: "${steps.way.chosen}" }, after: [way] }
  confirmed: { ask: "Go on?", schema: { type: boolean }, after: [note] }
  end: { tool: exec, with: { argv: [echo, "${steps.way.chosen}"] }, after: [confirmed] }
outputs:
  said: "${steps.each.outputs.map(o, o.said)}"
  end: "${steps.end.output.stdout}"
"#;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden")
}

#[test]
fn logs_of_every_release_open_and_their_plans_go_on() {
    if let Ok(version) = std::env::var(WRITE) {
        write(&version);
    }
    let entries = std::fs::read_dir(folder()).expect("a folder").map(|entry| entry.expect("a file").path());
    let logs: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "db")).collect();
    assert!(!logs.is_empty());
    for log in logs {
        println!("{}", log.display());
        goes_on(&log);
    }
}

fn goes_on(log: &Path) {
    let place = Place::new();
    std::fs::create_dir_all(place.data()).expect("a folder");
    std::fs::copy(log, place.data().join(LOG)).expect("the log");
    std::fs::copy(log.with_extension("db.head"), place.data().join(WITNESS)).expect("its witness");
    let before = place.run(&["events", "--json"]).json(0);
    let plan = before[0]["plan_id"].as_str().expect("a plan").to_owned();
    assert_eq!(place.run(&["--json", "verify"]).json(0)[0]["witness"], "whole");
    let server = place.serve_documents();
    let shown = server.http.get(&format!("/v1/plans/{plan}")).json(200);
    assert_eq!(
        (&shown["fold"]["phase"], &shown["fold"]["usage"]["total"]["tokens"]),
        (&json!("paused"), &json!(14))
    );
    let last = before.last().expect("events")["cursor"].as_str().expect("a cursor").to_owned();
    let resumed = place.run(&["--json", "resume", &plan]).json(0);
    let outputs = &resumed.last().expect("events")["payload"]["outputs"];
    assert_eq!(outputs, &json!({"said": ["one\n", "two\n"], "end": "last\n"}));
    let after = server.http.get(&format!("/v1/events?after={last}")).json(200);
    let types: Vec<&str> = members(&after["events"], "event_type");
    assert_eq!(
        types,
        ["PlanAdopted", "ResumeRequested", "ToolCalled", "ToolCompleted", "PlanCompleted"],
        "what was done is not done again"
    );
    assert_eq!(server.stop().code(), Some(0));
    let now = place.run(&["events", "--json"]).json(0);
    assert_eq!(now[..before.len()], before[..]);
    assert_eq!(place.run(&["--json", "verify"]).json(0)[0]["witness"], "whole");
}

fn members<'a>(events: &'a Value, name: &str) -> Vec<&'a str> {
    let events = events.as_array().expect("a list");
    events.iter().map(|event| event[name].as_str().expect("a text")).collect()
}

fn write(version: &str) {
    let place = Place::new();
    let server = place.serve_documents();
    let body = json!({"text": DOCUMENT, "name": "golden.yaml", "inputs": {"words": ["one", "two"]}});
    let started: Value = serde_json::from_str(&server.http.post("/v1/plans", &body).body).expect("JSON");
    let plan = started["plan_id"].as_str().expect("a plan").to_owned();
    let fold = |server: &Server| server.http.get(&format!("/v1/plans/{plan}")).json(200)["fold"].clone();
    eventually("a question", || (fold(&server)["phase"] == "input_required").then_some(()));
    place.run(&["pause", &plan, "--reason", "for later"]).text(0);
    place.run(&["answer", &plan, "true"]).text(0);
    assert_eq!(server.stop().code(), Some(0));
    // Whoever reads a log that nobody writes leaves it as one file.
    place.run(&["events"]).text(0);
    std::fs::create_dir_all(folder()).expect("a folder");
    for (from, to) in [(LOG, format!("{version}.db")), (WITNESS, format!("{version}.db.head"))] {
        std::fs::copy(place.data().join(from), folder().join(to)).expect("a copy");
    }
}
