//! The official A2A clients for Python and JavaScript against the real program, over both bindings.
//!
//! The scripts run the scenarios and check what they see; here are the server, its plans, a task that is published
//! while they follow it, and `kill -9` when they ask for it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use planwire_event::IdGenerator;
use serde_json::{Value, json};

use crate::faults::chance::skip;
use crate::harness::{Place, Running, Server, free_address};

/// What each script prints a line about.
const SCENARIOS: [&str; 9] = [
    "send",
    "stream",
    "second_subscriber",
    "multi_turn",
    "subplan_question",
    "cancel",
    "pause",
    "listing",
    "resume",
];

/// Events that the followed task gets before its first reader and after each kill; the last batch ends it.
const BATCH: usize = 12;
const BATCHES: usize = 6;

const GREET: &str = r#"
plan: greet
goal: Greet somebody
inputs: { message: { type: string } }
steps:
  card: { artifact: { name: card.txt, media_type: text/plain, text: "Dear ${inputs.message}" } }
outputs: { message: "Hello, ${inputs.message}" }
"#;

const ASK: &str = r#"
plan: ask
goal: Ask for a colour
steps:
  colour: { ask: "Which colour?", answer: { type: string } }
outputs: { message: "It is ${steps.colour.output}" }
"#;

const TWICE: &str = r#"
plan: twice
goal: Ask for a colour, then for a size
steps:
  colour: { ask: "Which colour?", answer: { type: string } }
  size: { after: [colour], ask: "Which size?", answer: { type: string } }
"#;

const PARENT: &str = r#"
plan: parent
goal: Let a subplan ask
steps:
  below:
    plan:
      plan: below
      goal: Ask for a colour
      steps:
        colour: { ask: "Which colour?", answer: { type: string } }
      outputs: { colour: "${steps.colour.output}" }
outputs: { message: "It is ${steps.below.outputs.colour}" }
"#;

const CONFIG: &str = r#"
[engine]
plans = "plans"

[[a2a.routes]]
when = "message.text == 'ping'"
answer = "'pong'"
"#;

#[test]
fn python_client_over_json_rpc() {
    if let Some(client) = python("python_client_over_json_rpc") {
        check(&client, "JSONRPC");
    }
}

#[test]
fn python_client_over_rest() {
    if let Some(client) = python("python_client_over_rest") {
        check(&client, "HTTP+JSON");
    }
}

#[test]
fn javascript_client_over_json_rpc() {
    if let Some(client) = javascript("javascript_client_over_json_rpc") {
        check(&client, "JSONRPC");
    }
}

#[test]
fn javascript_client_over_rest() {
    if let Some(client) = javascript("javascript_client_over_rest") {
        check(&client, "HTTP+JSON");
    }
}

/// A program, its script, and what stands behind the server's address and the binding.
struct Client {
    program: OsString,
    script: PathBuf,
    rest: Option<OsString>,
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/a2a_sdk").join(name)
}

fn python(test: &str) -> Option<Client> {
    let Some(program) = std::env::var_os("PLANWIRE_PYTHON") else {
        skip(test, "there is no Python with the official A2A client (PLANWIRE_PYTHON)");
        return None;
    };
    Some(Client { program, script: script("client.py"), rest: None })
}

fn javascript(test: &str) -> Option<Client> {
    let Some(modules) = std::env::var_os("PLANWIRE_NODE_MODULES") else {
        skip(test, "there is no official A2A client for JavaScript (PLANWIRE_NODE_MODULES)");
        return None;
    };
    Some(Client { program: "node".into(), script: script("client.mjs"), rest: Some(modules) })
}

/// A server that is killed and started again at the same place, and the task that it is asked for.
struct Host<'a> {
    place: &'a Place,
    address: String,
    config: String,
    server: Option<Server>,
    ids: IdGenerator,
    batches: usize,
}

impl<'a> Host<'a> {
    fn start(place: &'a Place) -> Self {
        for (name, text) in [("greet", GREET), ("ask", ASK), ("twice", TWICE), ("parent", PARENT)] {
            place.file(&format!("plans/{name}.yaml"), text);
        }
        let config = place.file("planwire.toml", CONFIG).display().to_string();
        let ids = IdGenerator::system();
        let mut host = Self { place, address: free_address(), config, server: None, ids, batches: 0 };
        host.serve();
        host.publish("PlanStarted", &json!({"name": "resumed", "goal": "be followed"}));
        host.publish_batch();
        host
    }

    fn serve(&mut self) {
        self.server = Some(self.place.serve_at(&self.address, &["--config", &self.config]));
    }

    fn publish(&self, event_type: &str, payload: &Value) {
        let event = json!({"event_id": self.ids.next_id(), "event_type": event_type, "plan_id": "resumed", "payload": payload});
        let server = self.server.as_ref().expect("the server runs");
        server.http.post("/v1/events", &event).json(200);
    }

    fn publish_batch(&mut self) {
        for number in 0..BATCH {
            self.publish("acme.note", &json!({ "number": number }));
        }
        self.batches += 1;
        if self.batches == BATCHES {
            self.publish("PlanCompleted", &json!({}));
        }
    }

    /// Kills the server, starts it again, and lets the task go on as long as it is open.
    fn cut(&mut self) {
        self.server.take().expect("the server runs").kill();
        self.serve();
        if self.batches < BATCHES {
            self.publish_batch();
        }
    }
}

#[expect(clippy::print_stdout, reason = "what was counted is told")]
fn check(client: &Client, binding: &str) {
    let place = Place::new();
    let mut host = Host::start(&place);
    let url = host.server.as_ref().expect("the server runs").url.clone();
    let mut command = Command::new(&client.program);
    command.arg(&client.script).args([&url, binding]).args(&client.rest);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = Running::start(command);
    let mut seen = Vec::new();
    while let Some(line) = running.line() {
        if line == "cut" {
            host.cut();
            running.tell("done");
            continue;
        }
        let report: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        println!("{binding}: {report}");
        seen.push(report["scenario"].as_str().expect("each has a name").to_owned());
    }
    let (status, _) = running.end();
    assert!(status.success(), "{status} after {seen:?}");
    assert_eq!(seen, SCENARIOS);
    assert_eq!(host.server.take().expect("the server runs").stop().code(), Some(0));
}
