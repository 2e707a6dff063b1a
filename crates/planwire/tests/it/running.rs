//! Run, serve, cancel and signals: where plans run and how they end.

use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Place, Server, eventually};

const HELLO: &str = r#"
plan: hello
goal: Read a file of the working folder
inputs: { name: { type: string, default: world }, times: { type: int, default: 1 } }
steps:
  read: { tool: file.read, with: { root: ".", path: greeting.txt } }
outputs: { text: "${steps.read.output.text} ${inputs.name} ${inputs.times}" }
artifacts:
  card: { name: card.txt, media_type: text/plain, text: "${steps.read.output.text}" }
"#;

const SLEEP: &str = r#"
plan: sleeper
goal: Take longer than anybody waits
steps:
  inner:
    plan:
      plan: inner
      goal: Sleep
      steps:
        sleep: { tool: exec, with: { argv: [sleep, "600"] }, timeout: 20m }
"#;

/// A place with both documents in a working folder.
fn place() -> Place {
    let place = Place::new();
    place.file("work/greeting.txt", "hello");
    place.file("work/hello.yaml", HELLO);
    place.file("work/sleep.yaml", SLEEP);
    place
}

/// A command that runs in the working folder.
fn in_folder(place: &Place, arguments: &[&str]) -> std::process::Command {
    let mut command = place.command(arguments);
    command.current_dir(place.folder("work"));
    command
}

fn run(place: &Place, arguments: &[&str]) -> crate::harness::Ran {
    crate::harness::finish(in_folder(place, arguments), "")
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["event_type"].as_str()).collect()
}

/// Waits until the sleeper sleeps, and gives the id of its root.
fn sleeping(place: &Place) -> String {
    eventually("the sleeper's tool call", || {
        let ran = place.run(&["--json", "events", "--type", "ToolCalled"]);
        let event: Value = serde_json::from_str(ran.stdout.lines().next()?).ok()?;
        event["root_plan_id"].as_str().map(str::to_owned)
    })
}

/// The reasons of all plans that failed, in the order of the log.
fn reasons(place: &Place) -> Vec<(Value, Value)> {
    let failed = place.run(&["--json", "events", "--type", "PlanFailed"]).json(0);
    failed.iter().map(|event| (event["depth"].clone(), event["payload"]["reason"].clone())).collect()
}

#[test]
fn run_follows_the_plan_to_its_end() {
    let place = place();
    let ran = run(&place, &["--json", "run", "hello.yaml", "--input", "name=7", "--input", "times=2"]);
    let events = ran.json(0);
    assert_eq!(
        types(&events),
        ["PlanStarted", "ToolCalled", "ToolCompleted", "ArtifactProduced", "PlanCompleted"]
    );
    assert_eq!(events[4]["payload"]["outputs"]["text"], "hello 7 2");
    assert_eq!(place.run(&["--json", "events"]).stdout, ran.stdout);

    let text = run(&place, &["run", "hello.yaml"]);
    assert!(text.text(0).contains("[hello world] read calls file.read"), "{text:?}");
    assert!(text.stdout.contains("text: hello world 1"), "{text:?}");
}

#[test]
fn plan_that_fails_exits_with_1_and_says_why() {
    let place = place();
    std::fs::remove_file(place.folder("work").join("greeting.txt")).expect("it was there");
    let ran = run(&place, &["run", "hello.yaml"]);
    assert!(ran.text(1).contains("failed (error) at step read"), "{ran:?}");
    assert!(ran.stdout.contains("greeting.txt is not there"), "{ran:?}");
}

#[test]
fn run_beside_a_server_runs_there_with_the_own_folder() {
    let place = place();
    let server = place.serve(&[]);
    let events = run(&place, &["--json", "run", "hello.yaml"]).json(0);
    assert_eq!(events[4]["payload"]["outputs"]["text"], "hello world 1");
    assert_eq!(events[0]["payload"]["origin"]["protocol"], "http");
    let stored = server.http.get("/v1/events").json(200);
    assert_eq!(stored["events"].as_array().map(Vec::len), Some(5));
    let wrong = run(&place, &["run", "hello.yaml", "--input", "nmae=x"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.stderr.contains("name"), "{wrong:?}");
    assert!(server.stop().success());
}

#[test]
fn registered_document_is_started_over_http_and_others_are_refused() {
    let place = place();
    place.folder("subject");
    let server = place.serve(&[]);
    let folder = place.folder("subject");
    let start = json!({"document": "repo-report", "inputs": {"folder": folder}});
    let started = server.http.post("/v1/plans", &start).json(201);
    let plan = started["plan_id"].as_str().expect("an id");
    let mut stream = server.http.stream(&format!("/v1/plans/{plan}/events?tree=true"), None);
    let events: Vec<Value> = std::iter::from_fn(|| stream.event()).collect();
    assert_eq!(events.last().expect("events")["event_type"], "PlanCompleted");
    let inline = json!({"document": {"plan": "p", "goal": "g", "steps": {}}});
    assert_eq!(server.http.post("/v1/plans", &inline).status, 403);
    assert!(server.stop().success());
}

#[test]
fn cancel_reaches_a_plan_wherever_it_runs() {
    let place = place();
    for served in [false, true] {
        let server = served.then(|| place.serve(&[]));
        let running = crate::harness::Running::start(in_folder(&place, &["--json", "run", "sleep.yaml"]));
        let plan = eventually("an open sleeper", || {
            let open = place.run(&["--json", "plans", "--open"]);
            let plan: Value = serde_json::from_str(open.stdout.lines().next()?).ok()?;
            plan["plan_id"].as_str().map(str::to_owned)
        });
        place.run(&["cancel", &plan, "--reason", "enough"]).text(0);
        let (status, events) = running.end();
        assert_eq!(status.code(), Some(130), "served: {served}: {events}");
        assert!(events.contains("\"reason\":\"cancelled\""), "{events}");
        assert!(server.is_none_or(|server| server.stop().success()));
    }
    let cancelled = json!("cancelled");
    let expected = [(json!(1), cancelled.clone()), (json!(0), cancelled)];
    assert_eq!(reasons(&place), [expected.clone(), expected].concat(), "children end before their parents");
}

#[test]
fn ctrl_c_cancels_and_sigterm_interrupts() {
    for (signal, reason) in [(Signal::INT, "cancelled"), (Signal::TERM, "interrupted")] {
        let place = place();
        let running = crate::harness::Running::start(in_folder(&place, &["--json", "run", "sleep.yaml"]));
        sleeping(&place);
        running.signal(signal);
        let (status, _) = running.end();
        assert_eq!(status.code(), Some(130), "{reason}");
        assert_eq!(reasons(&place), [(json!(1), json!(reason)), (json!(0), json!(reason))]);
        assert_eq!(place.run(&["--json", "plans", "--open", "--all"]).json(0).len(), 0);
    }
}

#[test]
fn whoever_follows_a_plan_sees_the_next_server_go_on_with_it() {
    for kill in [false, true] {
        let place = place();
        let server = place.serve(&[]);
        let runner = crate::harness::Running::start(in_folder(&place, &["--json", "run", "sleep.yaml"]));
        let plan = sleeping(&place);
        if kill {
            server.kill();
        } else {
            assert!(server.stop().success());
        }
        let ended = place.run(&["end", &plan, "--reason", "interrupted"]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("`planwire resume`"), "{}", ended.stderr);
        let next = place.serve(&[]);
        let mut stream = next.http.stream(&format!("/v1/plans/{plan}/events?tree=true"), None);
        let events: Vec<Value> = std::iter::from_fn(|| stream.event()).collect();
        // Nothing says that the sleeper may sleep twice.
        assert_eq!(events.last().expect("events")["payload"]["error"]["code"], "interrupted");
        assert_eq!(types(&events).iter().filter(|name| **name == "PlanAdopted").count(), 1);
        let (status, seen) = runner.end();
        assert_eq!(status.code(), Some(1), "{seen}");
        assert_eq!(seen.lines().count(), events.len(), "each event once");
        assert!(next.stop().success());
    }
}

#[test]
fn warning_that_nobody_reads_any_more_harms_nothing() {
    let place = Place::new();
    let started = r#"{"event_type":"PlanStarted","plan_id":"p","payload":{"name":"n"}}"#;
    place.run_with(&["publish", "-"], started).text(0);
    // It warns of this, into a pipe whose other end is closed.
    std::fs::remove_file(place.data().join("default.db.head")).expect("a witness");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = place.command(&["publish", "-"]);
    command.stdin(std::process::Stdio::piped()).stderr(writer);
    let ran = crate::harness::finish(command, &started.replace("\"p\"", "\"q\""));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(place.data().join("default.db.head").exists());
}

#[test]
fn address_that_is_taken_is_told_with_the_flag_that_names_another() {
    let place = place();
    let server = place.serve(&[]);
    let taken = server.url.strip_prefix("http://").expect("an address");
    let other = Place::new();
    let ran = other.run(&["serve", "--listen", taken]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("--listen"), "{}", ran.stderr);
    assert!(server.stop().success());
}

#[test]
fn run_beside_a_run_is_waited_for() {
    let place = place();
    let first = crate::harness::Running::start(in_folder(&place, &["--json", "run", "sleep.yaml"]));
    let plan = sleeping(&place);
    let second = crate::harness::Running::start(in_folder(&place, &["--json", "run", "sleep.yaml"]));
    let others = eventually("a second sleeper", || {
        let open = place.run(&["--json", "plans", "--open"]).json(0);
        let ids: Vec<_> = open.iter().filter_map(|row| row["plan_id"].as_str().map(str::to_owned)).collect();
        ids.into_iter().find(|id| *id != plan)
    });
    place.run(&["cancel", &plan]).text(0);
    place.run(&["cancel", &others]).text(0);
    assert_eq!(second.end().0.code(), Some(130));
    assert_eq!(first.end().0.code(), Some(130));
}

/// Starts a plan with a call that runs as long as its folder is there, and one behind it.
pub(crate) fn start_pausing(place: &Place, server: &Server) -> (String, PathBuf) {
    let folder = place.folder("held");
    let document = r#"
plan: pausing
goal: Wait, then write
inputs: { folder: { type: path } }
steps:
  first: { tool: exec, with: { argv: [sh, -c, 'while [ -d "$0" ]; do sleep 0.05; done', "${inputs.folder}"] } }
  second: { after: [first], tool: exec, with: { argv: [echo, done] } }
outputs: { said: "${steps.second.output.stdout}" }
"#;
    let body = json!({"text": document, "name": "pausing.yaml", "inputs": {"folder": folder}});
    let started: Value = serde_json::from_str(&server.http.post("/v1/plans", &body).body).expect("JSON");
    let plan = started["plan_id"].as_str().expect("a plan").to_owned();
    (plan, folder)
}

#[test]
fn paused_plan_waits_until_it_is_resumed() {
    let place = place();
    let server = place.serve_documents();
    let (plan, folder) = start_pausing(&place, &server);
    let fold = || server.http.get(&format!("/v1/plans/{plan}")).json(200)["fold"].clone();
    assert!(
        place.run(&["pause", &plan, "--reason", "lunch"]).text(0).contains("was asked to begin nothing new")
    );
    assert_eq!(fold()["phase"], "paused");
    assert_eq!(fold()["pause_requested"]["reason"], "lunch");
    assert!(place.run(&["show", &plan]).text(0).contains("paused by http:anonymous"));
    std::fs::remove_dir(&folder).expect("the folder");
    eventually("the end of the first call", || fold()["open_calls"].as_array()?.is_empty().then_some(()));
    assert_eq!(fold()["counts"]["tool_calls"], 1);
    let resumed = place.run(&["--json", "resume", &plan]).json(0);
    assert_eq!(resumed.last().expect("events")["payload"]["outputs"], json!({"said": "done\n"}));
    server.http.post(&format!("/v1/plans/{plan}/pause"), &json!({})).json(409);
    server.http.post("/v1/plans/nobody/resume", &json!({})).json(404);
    assert_eq!(place.run(&["pause", "nobody"]).code, Some(1));
}

#[test]
fn plan_is_shown_as_it_was_after_any_of_its_events() {
    let place = place();
    let events = run(&place, &["--json", "run", "hello.yaml"]).json(0);
    let plan = events[0]["plan_id"].as_str().expect("an id");
    let server = place.serve(&[]);
    for (number, event) in (1..).zip(&events) {
        let cursor = event["cursor"].as_str().expect("a cursor");
        let shown = place.run(&["--json", "show", plan, "--at", cursor]).json(0);
        let served = server.http.get(&format!("/v1/plans/{plan}?at={cursor}")).json(200);
        assert_eq!(served["fold"], shown[0]);
        assert_eq!(shown[0]["last_cursor"], cursor);
        assert_eq!(shown[0]["counts"]["events"], number);
        let is_last = event["event_type"] == "PlanCompleted";
        assert_eq!(shown[0]["phase"], if is_last { "completed" } else { "running" });
        assert_eq!(shown[0]["outputs"].is_null(), !is_last);
    }
    let first = events[0]["cursor"].as_str().expect("a cursor");
    assert!(place.run(&["show", plan, "--at", first]).text(0).contains("running"));
    let before = format!("{}0000000000000000", &first[..first.len() - 16]);
    let early = place.run(&["show", plan, "--at", &before]);
    assert_eq!(early.code, Some(1));
    assert!(early.stderr.contains(&format!("there is no plan {plan} up to cursor")), "{}", early.stderr);
    let served = server.http.get(&format!("/v1/plans/{plan}?at={before}")).json(200);
    assert_eq!(served["fold"], Value::Null);
    let beyond = format!("{}00000000000000ff", &first[..first.len() - 16]);
    assert_eq!(place.run(&["show", plan, "--at", &beyond]).code, Some(2));
    server.http.get(&format!("/v1/plans/{plan}?at={beyond}")).json(409);
    server.http.get(&format!("/v1/plans/{plan}?at=x")).json(400);
}

#[test]
fn show_tells_what_a_plan_did() {
    let place = place();
    let events = run(&place, &["--json", "run", "hello.yaml"]).json(0);
    let plan = events[0]["plan_id"].as_str().expect("an id");
    let shown = place.run(&["show", plan]);
    for text in [
        "hello",
        "completed",
        "ok         read  file.read",
        "card.txt  text/plain  5 bytes",
        "name: \"world\"",
        "text: \"hello world 1\"",
    ] {
        assert!(shown.text(0).contains(text), "{text}: {}", shown.stdout);
    }
    place.folder("subject");
    let folder = format!("folder={}", place.folder("subject").display());
    let report = run(&place, &["--json", "run", "repo-report", "--input", &folder]).json(0);
    let id = |name: &str| {
        let started = report
            .iter()
            .find(|event| event["payload"]["name"] == name && event["event_type"] == "PlanStarted");
        started.and_then(|event| event["plan_id"].as_str()).expect("a plan").to_owned()
    };
    let root = place.run(&["show", &id("repo-report")]);
    for text in [
        "recovered  introduction",
        "history: Can the history be read? files",
        "because no .git lies in the folder",
    ] {
        assert!(root.text(0).contains(text), "{text}: {}", root.stdout);
    }
    let group = place.run(&["show", &id("group")]);
    assert!(group.text(0).contains("subplan of "), "{}", group.stdout);
    let listed = place.run(&["plans", "--all"]);
    assert!(listed.text(0).contains("    group"), "{}", listed.stdout);
    std::fs::remove_file(place.folder("work").join("greeting.txt")).expect("it was there");
    let failed = run(&place, &["--json", "run", "hello.yaml"]).json(1);
    let failed = place.run(&["show", failed[0]["plan_id"].as_str().expect("an id")]);
    assert!(failed.text(0).contains("not_found: greeting.txt is not there"), "{}", failed.stdout);
}

#[test]
fn a_plan_goes_on_when_nobody_reads_what_is_printed_of_it() {
    let place = place();
    let running = crate::harness::Running::start(in_folder(&place, &["run", "hello.yaml"]));
    assert_eq!(running.close_and_wait().code(), Some(0));
    let plans = place.run(&["--json", "plans"]).json(0);
    assert_eq!(plans[0]["state"], "completed");
}

#[test]
fn events_that_a_server_would_not_take_at_once_are_refused_with_what_to_do() {
    let place = Place::new();
    let server = place.serve(&[]);
    let text = "x".repeat(200 * 1024);
    let lines: Vec<String> = (0..6)
        .map(|_| json!({"event_type": "acme.large", "plan_id": "p", "payload": {"text": text}}).to_string())
        .collect();
    let file = place.file("large.jsonl", &lines.join("\n"));
    let ran = place.run(&["publish", file.to_str().unwrap()]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("takes 1048576 at a time"), "{}", ran.stderr);
    drop(server);
}
