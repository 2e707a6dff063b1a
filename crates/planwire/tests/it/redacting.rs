//! Payloads that are removed for good: no file has them, no reader gets them, and everything still proves what it did.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Place, Ran, Server};

/// What must be nowhere once it was removed; as long as a page of the database, so that it lies in several of them.
const LEAKED: &str = "leaked-key-7f3d0a";

fn leak() -> String {
    LEAKED.repeat(600)
}

/// A log with a plan that says too much, among others that do not.
fn publish(place: &Place) -> Vec<Value> {
    let mut events = Vec::new();
    for at in 0..60 {
        events.push(
            json!({"event_type": "PlanStarted", "plan_id": format!("p{at}"), "payload": {"name": "n"}}),
        );
        let note = if at == 30 { leak() } else { "x".repeat(3_000) };
        events
            .push(json!({"event_type": "acme.note", "plan_id": format!("p{at}"), "payload": {"note": note}}));
        events.push(json!({"event_type": "PlanCompleted", "plan_id": format!("p{at}"), "payload": {}}));
    }
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    place.run_with(&["--json", "publish", "-"], &lines.join("\n")).json(0)
}

fn event_of(place: &Place, plan: &str) -> Value {
    let found = place.run(&["--json", "events", "--plan", plan, "--type", "acme.note"]);
    serde_json::from_str(found.stdout.trim()).expect("an event")
}

/// How many files hold what leaked.
fn files_with_it(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let holds = |path: &Path| {
        let bytes = std::fs::read(path).expect("a file");
        bytes.windows(LEAKED.len()).any(|window| window == LEAKED.as_bytes())
    };
    entries.map(|path| if path.is_dir() { files_with_it(&path) } else { usize::from(holds(&path)) }).sum()
}

fn redact(place: &Place, id: &str) -> Ran {
    place.run(&["--json", "redact", id, "--reason", "a key of production is in it"])
}

/// All that is promised of a log from which the payload of event `id` of plan p30 was removed.
fn check_removed(place: &Place, before: &Value, record: &str) {
    assert_eq!(files_with_it(&place.data()), 0);
    let after = event_of(place, "p30");
    for member in
        ["event_id", "event_type", "plan_id", "timestamp", "position", "cursor", "seq", "recorded_at"]
    {
        assert_eq!(after[member], before[member], "{member}");
    }
    let digest = after["payload"]["$removed"].as_str().expect("a digest");
    assert_eq!((digest.len(), after["payload"].as_object().map(serde_json::Map::len)), (64, Some(1)));
    assert!(place.run(&["events", "--plan", "p30"]).text(0).contains("acme.note: its payload was removed"));
    place.run(&["verify"]).text(0);
    place.run(&["show", "p30"]).text(0);
    let recorded = place.run(&["--json", "events", "--plan", record]).json(0);
    assert_eq!(recorded[0]["payload"]["goal"], "a key of production is in it");
    assert_eq!(recorded[0]["payload"]["inputs"]["event_id"], before["event_id"]);
    assert_eq!(recorded[1]["payload"]["outputs"]["redacted"], digest);
}

#[test]
fn payload_that_was_removed_is_in_no_file_and_all_that_proves_it_holds() {
    let place = Place::new();
    publish(&place);
    let before = event_of(&place, "p30");
    assert!(files_with_it(&place.data()) > 0, "it is there to be found");
    let id = before["event_id"].as_str().expect("an id");
    let [key, signed] =
        ["key", "checkpoint"].map(|name| place.folder("keys").join(name).to_string_lossy().into_owned());
    let verifier = place.run(&["attest", "--new-key", &key]).text(0).trim().to_owned();
    place.run(&["attest", "--key", &key, "-o", &signed]).text(0);
    let said = redact(&place, id).json(0);
    check_removed(&place, &before, said[0]["record"].as_str().expect("a record"));
    place.run(&["verify", "--from", &signed, "--key", &verifier]).text(0);
    // Again, also the plan's own events.
    assert_eq!(redact(&place, id).json(0)[0]["record"], Value::Null);
    let started = place.run(&["--json", "events", "--plan", "p30", "--type", "PlanStarted"]).json(0);
    redact(&place, started[0]["event_id"].as_str().expect("an id")).json(0);
    let ended = place.run(&["--json", "events", "--plan", "p30", "--type", "PlanCompleted"]).json(0);
    redact(&place, ended[0]["event_id"].as_str().expect("an id")).json(0);
    place.run(&["verify", "--from", &signed, "--key", &verifier]).text(0);
    assert!(place.run(&["show", "p30"]).text(0).contains("p30"));
    assert!(place.run(&["--json", "plans", "--limit", "1000"]).text(0).contains("p30"));

    let out = place.folder("out");
    let file = out.join("all.jsonl").to_string_lossy().into_owned();
    place.run(&["export", "--proofs", "--out", &file]).text(0);
    place.run(&["verify", "--against", &file]).text(0);
    let copy = out.join("copy.db").to_string_lossy().into_owned();
    place.run(&["backup", &copy]).text(0);
    assert_eq!(files_with_it(&out), 0);
}

#[test]
fn server_shows_what_was_removed_to_nobody_any_more() {
    let place = Place::new();
    let server = place.serve(&[]);
    publish(&place);
    let before = event_of(&place, "p30");
    let id = before["event_id"].as_str().expect("an id").to_owned();
    let paths = [
        format!("/v1/events/{id}"),
        "/v1/plans/p30/events".into(),
        "/v1/plans/p30".into(),
        "/a2a/tasks/p30".into(),
    ];
    let shown =
        |server: &Server| paths.iter().filter(|path| server.http.get(path).body.contains(LEAKED)).count();
    assert!(shown(&server) >= 2, "it is there to be shown");
    let live = |server: &Server| {
        let mut stream = server.http.stream("/v1/plans/p30/events?after=start", None);
        let mut text = String::new();
        while let Some(frame) = stream.frame() {
            text.push_str(&frame.data);
            if frame.event == "end" {
                break;
            }
        }
        text
    };
    assert!(live(&server).contains(LEAKED), "the ring has it");

    let anonymous = server.http.post(&format!("/v1/events/{id}/redact"), &json!({"reason": "mine"}));
    assert_eq!(anonymous.status, 401, "{anonymous:?}");
    let said = redact(&place, &id).json(0);
    assert_eq!(shown(&server), 0);
    assert!(live(&server).contains("$removed") && !live(&server).contains(LEAKED));
    check_removed(&place, &before, said[0]["record"].as_str().expect("a record"));
    // The event is still the one that was published: a publisher that tries again is told so.
    let again =
        json!({"event_id": id, "event_type": "acme.note", "plan_id": "p30", "payload": {"note": leak()}});
    let answer = server.http.post("/v1/events", &again).json(200);
    assert_eq!(answer["events"][0]["duplicate"], true);
    assert_eq!(files_with_it(&place.data()), 0);
    server.stop();
    assert_eq!(files_with_it(&place.data()), 0);
}

#[test]
fn what_others_need_is_not_removed_and_nothing_is_published_that_looks_removed() {
    let place = Place::new();
    publish(&place);
    let open = place.run_with(
        &["--json", "publish", "-"],
        r#"{"event_type":"PlanStarted","plan_id":"open","payload":{"name":"n"}}"#,
    );
    let id = open.json(0)[0]["event_id"].as_str().expect("an id").to_owned();
    let refused = redact(&place, &id);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("cancel it first"), "{refused:?}");
    let unknown = redact(&place, "01JD0000000000000000000007");
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.stderr.contains("no event 01JD0000000000000000000007 is stored"), "{unknown:?}");
    let id = event_of(&place, "p30")["event_id"].as_str().expect("an id").to_owned();
    assert_eq!(place.run(&["redact", &id, "--reason", " "]).code, Some(2));
    assert_eq!(place.run(&["redact", &id]).code, Some(2));
    assert!(files_with_it(&place.data()) > 0);
    let looks =
        json!({"event_type": "acme.note", "plan_id": "open", "payload": {"$removed": "0".repeat(64)}});
    let refused = place.run_with(&["publish", "-"], &looks.to_string());
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("stands for one that was removed"), "{refused:?}");
}
