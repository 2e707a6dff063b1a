//! A server with little memory, and one that may start no process any more.

use std::net::TcpStream;

use serde_json::{Value, json};

use super::author::Author;
use super::cgroup::{Cgroup, Controller};
use super::chance::{Chance, count};
use super::crowd::{Crowd, survive};
use super::raw::ask_for_stream;
use super::row::Row;
use crate::harness::{Place, Server, eventually};
use crate::load::memory_kib;

const MEMORY_BYTES: u64 = 128 << 20;
const BATCH_EVENTS: u64 = 1_000;
const EVENTS_BETWEEN: u64 = 100;

#[test]
fn soak_server_within_128_mib_serves_a_long_log_and_many_clients_and_is_not_killed() {
    let (events, clients) = (count(20_000, 1_000_000), count(100, 1_000));
    let Some(group) = Cgroup::new("memory limit", Controller::Memory) else { return };
    group.limit(Some(MEMORY_BYTES));
    let place = Place::new();
    let mut resident = 0;
    let survived = survive(&place, Crowd::LARGE, Chance::of(28), |stage, _| {
        let server = place.serve(&[]);
        group.take(&server);
        stage.admit(&server);
        fill(&server, events);
        // All of them ask for the whole log and read nothing of it.
        let stalled: Vec<TcpStream> = (0..clients).filter_map(|_| stalled(&server)).collect();
        stage.go_on(EVENTS_BETWEEN);
        resident = memory_kib(&server) / 1024;
        drop(stalled);
        assert_eq!(server.stop().code(), Some(0));
        stage.gone();
    });
    assert_eq!(group.killed(), 0, "the kernel killed it");
    // The filling is nobody's claim: it is of a publisher of its own.
    let mut counts = survived.counts;
    assert_eq!(counts.broken.phantom as u64, events + 1, "{}", counts.line());
    counts.broken.phantom = 0;
    Row::new("memory limit of 128 MiB", format!("{events} events, {clients} stalled clients"))
        .counts(counts)
        .figure(format!("resident {resident} MiB, killed 0"))
        .check();
}

fn fill(server: &Server, events: u64) {
    let event = |event_type: &str, payload: Value| json!({"event_type": event_type, "plan_id": "fill", "payload": payload});
    server.http.post("/v1/events", &event("PlanStarted", json!({"name": "fill"}))).json(200);
    for _ in 0..events / BATCH_EVENTS {
        let notes = (0..BATCH_EVENTS).map(|number| event("acme.note", json!({"number": number})));
        server.http.post("/v1/events", &json!({"events": notes.collect::<Vec<_>>()})).json(200);
    }
}

fn stalled(server: &Server) -> Option<TcpStream> {
    ask_for_stream(&server.url, "/v1/events", None).ok()
}

#[test]
fn server_that_may_start_no_process_says_so_in_the_plan_and_lives() {
    let Some(group) = Cgroup::new("processes and threads exhausted", Controller::Pids) else { return };
    let place = Place::new();
    let server = place.serve_documents();
    let mut author = Author::begin(&server);
    assert_eq!(run_tool(&server)["payload"]["ok"], true);
    group.take(&server);
    group.limit(Some(1));
    let mut failed = 0;
    for _ in 0..5 {
        let completed = run_tool(&server);
        assert_eq!(completed["payload"]["ok"], false, "{completed}");
        assert_eq!(author.note(&server, 10).expect("an answer").0, 200);
        failed += 1;
    }
    group.limit(None);
    assert_eq!(run_tool(&server)["payload"]["ok"], true);
    assert_eq!(server.stop().code(), Some(0));
    let mut counts = author.check(&place, &[]);
    // Events of the plans with tools are nobody's claim.
    counts.broken.phantom = 0;
    Row::new("processes and threads exhausted", format!("{failed} tools"))
        .counts(counts)
        .figure(format!("ToolCompleted with an error {failed}, server lives"))
        .check();
}

/// Runs a plan with one tool and gives the end of its call.
fn run_tool(server: &Server) -> Value {
    let steps = json!({"touch": {"tool": "exec", "with": {"argv": ["true"]}}});
    let document = json!({"plan": "one", "goal": "Run one tool", "steps": steps});
    let started = server.http.post("/v1/plans", &json!({"document": document})).json(201);
    let path = format!("/v1/plans/{}/events", started["plan_id"].as_str().expect("an id"));
    eventually("the end of the tool", || {
        let page = server.http.get(&path).json(200);
        let events = page["events"].as_array().expect("a list");
        events.iter().find(|event| event["event_type"] == "ToolCompleted").cloned()
    })
}
