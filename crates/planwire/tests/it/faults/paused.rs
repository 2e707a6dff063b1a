//! A server that is stopped (`SIGSTOP`) and goes on later.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::chance::{Chance, count};
use super::crowd::{Crowd, survive};
use super::row::Row;
use crate::harness::{Place, Server, eventually};

/// Longer than the tool below runs, so that it ends while nobody looks.
const PAUSE_CI: u64 = 3;
const PAUSE_SOAK: u64 = 30;
const EVENTS_BETWEEN: u64 = 50;

#[test]
fn soak_stopped_and_continued_server_serves_on_the_same_streams_and_its_tools_have_ended_well() {
    let (pauses, seconds) = (count(2, 4), count(PAUSE_CI, PAUSE_SOAK));
    let place = Place::new();
    let mut resumed = Vec::new();
    let survived = survive(&place, Crowd::LARGE, Chance::of(26), |stage, _| {
        let server = stage.begin(&place);
        for _ in 0..pauses {
            stage.go_on(EVENTS_BETWEEN);
            server.running.signal(Signal::STOP);
            std::thread::sleep(Duration::from_secs(seconds));
            server.running.signal(Signal::CONT);
            resumed.push(stage.go_on(1));
        }
        assert_eq!(server.stop().code(), Some(0));
        stage.gone();
    });
    tool_ends_well(seconds);
    Row::new("SIGSTOP and SIGCONT", format!("{pauses} times {seconds} s"))
        .counts(survived.counts)
        .times("acknowledged again after", &mut resumed)
        .check();
}

/// A tool that ends while the server is stopped is neither timed out nor failed.
fn tool_ends_well(seconds: u64) {
    let place = Place::new();
    let server = place.serve_documents();
    let steps = json!({"nap": {"tool": "exec", "with": {"argv": ["sleep", "1"]}}});
    let document = json!({"plan": "nap", "goal": "Sleep a little", "steps": steps});
    let started = server.http.post("/v1/plans", &json!({"document": document})).json(201);
    let plan = started["plan_id"].as_str().expect("an id").to_owned();
    eventually("the call of the tool", || has(&server, &plan, "ToolCalled"));
    server.running.signal(Signal::STOP);
    std::thread::sleep(Duration::from_secs(seconds));
    server.running.signal(Signal::CONT);
    let completed = eventually("the end of the tool", || has(&server, &plan, "ToolCompleted"));
    assert_eq!(completed["payload"]["ok"], true, "{completed}");
    assert_eq!(server.stop().code(), Some(0));
}

fn has(server: &Server, plan: &str, event_type: &str) -> Option<Value> {
    let page = server.http.get(&format!("/v1/plans/{plan}/events?event_type={event_type}")).json(200);
    page["events"].get(0).cloned()
}
