//! `curl -N`, as the README says it: started before, during and after a run it shows the same events.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::chance::skip;
use crate::harness::{Place, eventually};

/// Patience of curl, which else waits for ever.
const SECONDS_MAX: &str = "60";

/// Waits at a gate in the middle, so that one client certainly begins during the run.
const DOCUMENT: &str = r#"
plan: gate
goal: Wait in the middle
inputs: { gate: { type: path } }
steps:
  before:
    for_each: "[1, 2, 3]"
    plan: { plan: item, goal: Say a number, inputs: { n: { type: int } }, steps: { say: { tool: exec, with: { argv: [echo, "number ${inputs.n}"] } } } }
    with: { n: "${item}" }
  wait: { after: [before], tool: exec, with: { argv: [sh, -c, 'until [ -e "$0" ]; do sleep 0.02; done', "${inputs.gate}"] } }
  after: { after: [wait], tool: exec, with: { argv: [echo, done] } }
"#;

#[test]
fn curl_shows_the_same_events_before_during_and_after_a_run() {
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
        skip("curl_shows_the_same_events_before_during_and_after_a_run", "curl is missing");
        return;
    }
    let place = Place::new();
    let document = place.file("gate.yaml", DOCUMENT);
    let gate = place.folder("gates").join("open");
    let server = place.serve(&[]);
    let mut before = Curl::start(&format!("{}/v1/events", server.url));
    let input = format!("gate={}", gate.display());
    let run = place.start(&["--json", "run", document.to_str().unwrap(), "--input", &input]);
    let mut events = vec![before.event().unwrap()];
    let root = events[0]["plan_id"].as_str().unwrap().to_owned();
    let is_waiting =
        |event: &Value| event["event_type"] == "ToolCalled" && event["payload"]["step"] == "wait";
    while !events.last().is_some_and(is_waiting) {
        assert_ne!(events.last().unwrap()["event_type"], "PlanFailed");
        events.push(before.event().unwrap());
    }
    let tree = format!("{}/v1/plans/{root}/events?tree=true", server.url);
    let mut during = Curl::start(&tree);
    let mut seen_during: Vec<Value> = (0..events.len()).map(|_| during.event().unwrap()).collect();
    std::fs::write(&gate, "").unwrap();
    seen_during.extend(std::iter::from_fn(|| during.event()));
    assert!(during.ended_by_itself(), "the stream of an ended plan ends");
    while events.len() < seen_during.len() {
        events.push(before.event().unwrap());
    }
    let mut after = Curl::start(&tree);
    let seen_after: Vec<Value> = std::iter::from_fn(|| after.event()).collect();
    assert!(after.ended_by_itself());
    assert_eq!(run.end().0.code(), Some(0));
    println!("curl before, during and after: {} events each", events.len());
    assert_eq!(events, seen_during);
    assert_eq!(events, seen_after);
    assert_eq!(events.last().unwrap()["event_type"], json!("PlanCompleted"));
    assert_eq!(events.last().unwrap()["plan_id"], json!(root));
    assert_eq!(server.stop().code(), Some(0));
}

struct Curl {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Curl {
    /// Starts curl and waits until the server has answered.
    fn start(url: &str) -> Self {
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--no-buffer",
            "--max-time",
            SECONDS_MAX,
            "--header",
            "Accept: text/event-stream",
            url,
        ]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("curl starts");
        let mut lines = BufReader::new(child.stdout.take().expect("standard output is piped"));
        let mut first = String::new();
        lines.read_line(&mut first).expect("a line");
        assert_eq!(first, ": planwire\n");
        Self { child, lines }
    }

    /// The next event; none at the end of the stream.
    fn event(&mut self) -> Option<Value> {
        let mut is_end = false;
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).expect("a line") == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("event", "end")) => is_end = true,
                Some(("data", _)) if is_end => return None,
                Some(("data", data)) => return Some(serde_json::from_str(data).expect("an event in JSON")),
                _ => {}
            }
        }
    }

    fn ended_by_itself(&mut self) -> bool {
        eventually("the end of curl", || self.child.try_wait().expect("a process")).success()
    }
}

impl Drop for Curl {
    fn drop(&mut self) {
        // It has ended already where its stream has.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
