//! `/openapi.json`: the document is valid, and the real server behaves as it says, whatever is sent.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::faults::chance::{count, skip};
use crate::harness::{Place, Server};

/// Requests of each operation that are made up, besides those for each limit of each parameter.
const EXAMPLES: (u64, u64) = (15, 500);
/// The seed of what is made up, unless `PLANWIRE_SEED` names another.
const SEED: &str = "7420";
/// The only plan document of the server, so that messages of A2A start it.
const SMALL: &str = r#"
plan: small
goal: Be over soon and leave one of everything
inputs: { message: { type: string, default: "" } }
steps:
  pick: { decide: Which?, options: { a: first, b: second }, choose: "'a'" }
  fails: { tool: file.list, with: { root: /nowhere }, on_error: { decide: And now?, options: { none: { description: go on, output: null }, stop: { description: end, fail: true } }, choose: "'none'" } }
  below:
    plan: { plan: below, goal: Be below, steps: { pick: { decide: Which?, options: { a: first, b: second }, choose: "'b'" } } }
outputs: { picked: "${steps.pick.chosen}", failed: "${steps.fails.output}", below: "${steps.below.ok}" }
artifacts:
  text: { name: a.txt, media_type: text/plain, text: "${inputs.message}" }
  bytes: { name: a.bin, media_type: application/octet-stream, base64: AAEC }
"#;
/// An open plan that has one of everything.
const OPEN_PLAN: &str = "open";

#[test]
fn document_is_valid_openapi_3_1() {
    let Some(python) = python("document_is_valid_openapi_3_1") else { return };
    let place = Place::new();
    let server = place.serve(&[]);
    let document = server.http.get("/openapi.json");
    document.json(200);
    let mut command = Command::new(python);
    command.arg(file("valid.py")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("python starts");
    child
        .stdin
        .take()
        .expect("standard input is piped")
        .write_all(document.body.as_bytes())
        .expect("it reads");
    let output = child.wait_with_output().expect("python ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("the document and its {} schemas are valid", String::from_utf8_lossy(&output.stdout).trim());
    assert!(server.stop().success());
}

/// A `soak_` test: see CONTRIBUTING.md.
#[test]
fn soak_server_behaves_as_its_document_says() {
    let Some(python) = python("soak_server_behaves_as_its_document_says") else { return };
    let place = Place::new();
    place.file("plans/small.yaml", SMALL);
    let plans = place.folder("plans");
    let server = place.serve(&["--plans", plans.to_str().expect("UTF-8")]);
    let config = place.file("schemathesis.toml", &configuration(&server));
    let report = place.folder("report").join("report.json");
    let seed = std::env::var("PLANWIRE_SEED").unwrap_or_else(|_| SEED.to_owned());
    let examples = count(EXAMPLES.0, EXAMPLES.1).to_string();
    let output = Command::new(python)
        .args(["-m", "schemathesis.cli", "--no-color", "--config-file"])
        .arg(config)
        .args(["run", &format!("{}/openapi.json", server.url), "--seed", &seed, "--max-examples", &examples])
        .args(["--report", "json", "--report-json-path"])
        .arg(&report)
        .current_dir(place.folder("report"))
        .output()
        .expect("schemathesis runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let report: Value = std::fs::read(&report)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_else(|| panic!("no report: {said}{}", String::from_utf8_lossy(&output.stderr)));
    let operations = &report["operations"];
    println!(
        "{} requests to {} operations, of which {} did what was asked; {} failures (seed {seed})",
        report["test_cases"]["generated"],
        operations["tested"],
        successful(&report),
        report["test_cases"]["with_failures"],
    );
    assert!(output.status.success(), "{said}");
    assert_eq!((&report["failures"], &report["errors"]), (&json!([]), &json!([])), "{said}");
    assert_eq!(operations["tested"], operations["total"], "{said}");
    assert_eq!(server.http.get("/readyz").status, 200, "the log still takes events");
    assert!(server.stop().success());
}

/// Operations that took at least one request.
fn successful(report: &Value) -> usize {
    let accepted = |phases: &Value| {
        phases.as_object().is_some_and(|phases| {
            phases.values().any(|rates| rates["accepted"].as_u64().is_some_and(|requests| requests > 0))
        })
    };
    let operations = report["valid_rates"].as_object().into_iter().flatten();
    operations.filter(|(_, phases)| accepted(phases)).count()
}

fn python(test: &str) -> Option<PathBuf> {
    let python = std::env::var_os("PLANWIRE_PYTHON").map(PathBuf::from);
    if python.is_none() {
        skip(test, "there is no Python with schemathesis (PLANWIRE_PYTHON)");
    }
    python
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/openapi").join(name)
}

/// What schemathesis is told: which checks, and names of things that exist, so that half of what is made up finds
/// something.
fn configuration(server: &Server) -> String {
    let (plan, digest) = ended_plan(server);
    let event = open_plan(server);
    // A POST without JSON is refused before its path is looked at, so that it is left out of the unexpected methods.
    format!(
        r#"request-timeout = 20.0
max-stream-events = 20
suppress-health-check = ["all"]

[generation]
database = "none"

[phases.coverage]
unexpected-methods = ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"]

[checks]
positive_data_acceptance.enabled = false
negative_data_rejection.expected-statuses = ["4xx"]

[dictionaries]
plans.values = ["{plan}", "{OPEN_PLAN}"]
events.values = ["{event}"]
digests.values = ["{digest}"]
tasks.values = ["{plan}"]

[parameters]
"path.plan_id" = {{ dictionary = "plans", probability = 0.7 }}
"query.plan_id" = {{ dictionary = "plans", probability = 0.7 }}
"path.event_id" = {{ dictionary = "events", probability = 0.7 }}
"path.digest" = {{ dictionary = "digests", probability = 0.7 }}
"path.id" = {{ dictionary = "tasks", probability = 0.7 }}

# The stream of an open task has no end: its first frame is enough, and one that has nothing to say is not waited for.
[[operations]]
include-path-regex = ":subscribe$"
max-stream-events = 1
request-timeout = 2.0

# JSON-RPC says with 200 that something does not fit.
[[operations]]
include-operation-id = "callA2a"
request-timeout = 2.0
checks.negative_data_rejection.enabled = false
checks.missing_required_header.enabled = false
"#
    )
}

/// Runs a plan to its end. Gives it and the digest of its blob.
fn ended_plan(server: &Server) -> (String, String) {
    let started = server.http.post("/v1/plans", &json!({"document": "small"})).json(201);
    let plan = started["plan_id"].as_str().expect("an id").to_owned();
    let mut stream = server.http.stream(&format!("/v1/plans/{plan}/events?tree=true"), None);
    let events: Vec<Value> = std::iter::from_fn(|| stream.event()).collect();
    assert_eq!(events.last().expect("events")["event_type"], "PlanCompleted", "{events:?}");
    let blob = events.iter().find_map(|event| event["payload"]["part"]["blob"]["digest"].as_str());
    (plan, blob.expect("a blob").to_owned())
}

/// Publishes a plan in which everything is open that can be. Gives its first event.
fn open_plan(server: &Server) -> String {
    let event = |event_type: &str, payload: Value| json!({"event_type": event_type, "plan_id": OPEN_PLAN, "payload": payload});
    let decision = json!({
        "decision_id": "d", "decision_type": "choice", "question": "Which?", "chosen": "a", "decided_by": "person",
        "options": [{"name": "a"}, {"name": "b"}], "alternatives": [{"name": "b", "reason": "dear"}],
    });
    let artifact = |id: &str, part: Value| json!({"artifact_id": id, "name": id, "media_type": "text/plain", "part": part});
    let asked = json!({
        "request_id": "q", "step": "ask", "kind": "approval", "question": "Go on?", "schema": {"type": "boolean"},
        "arguments": {"tool": "exec", "arguments": {}}, "expires_at": "2999-01-01T00:00:00Z",
    });
    let failed = json!({"call_id": "f", "ok": false, "error": {"code": "c", "message": "m"}});
    let events = [
        event("PlanStarted", json!({"name": "open", "goal": "wait", "inputs": {"a": [1, null]}})),
        event("ToolCalled", json!({"call_id": "c", "tool": "exec", "step": "s"})),
        event("ToolCalled", json!({"call_id": "f", "tool": "exec", "step": "t"})),
        event("ToolCompleted", failed),
        event("DecisionMade", decision),
        event("SubplanSpawned", json!({"child_plan_id": "child", "name": "child", "step": "sub"})),
        event("ArtifactProduced", artifact("text", json!({"text": "t"}))),
        event("ArtifactProduced", artifact("data", json!({"data": {"a": 1}}))),
        event("ArtifactProduced", artifact("url", json!({"url": "https://example.org/a"}))),
        event("InputRequested", asked),
        event("CancelRequested", json!({"requested_by": "somebody", "reason": "enough"})),
        event("acme.note", json!({"x": 1.5})),
    ];
    let published = server.http.post("/v1/events", &json!({ "events": events })).json(200);
    published["events"][0]["event_id"].as_str().expect("an id").to_owned()
}
