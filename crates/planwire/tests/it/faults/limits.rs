//! A server with little memory, and one that may start no process any more.

use serde_json::{Value, json};

use super::author::{Author, told_of};
use super::cgroup::{Cgroup, Controller};
use super::chance::{Chance, count};
use super::checker::Wanted;
use super::crowd::{Crowd, head, survive};
use super::raw::Raw;
use super::reader::Reader;
use super::row::Row;
use crate::harness::{Place, Server, eventually};
use crate::load::memory_max_kib;

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
        let mut filler = Author::of("fill");
        fill(&server, &mut filler, events);
        stage.claim(filler.claims);
        // All of them ask for the whole log, are served and read nothing of it.
        let stalled: Vec<Reader> = (0..clients)
            .map(|_| {
                let mut reader = Reader::new(&server.url, Wanted::default());
                reader.ask();
                reader
            })
            .collect();
        stage.go_on(EVENTS_BETWEEN);
        resident = memory_max_kib(&server) / 1024;
        drop(stalled);
        assert_eq!(server.stop().code(), Some(0));
        stage.gone();
    });
    assert_eq!(group.killed(), 0, "the kernel killed it");
    Row::new("memory limit of 128 MiB", format!("{events} events, {clients} stalled clients"))
        .counts(survived.counts)
        .figure(format!("resident {resident} MiB at most, killed 0"))
        .check();
}

fn fill(server: &Server, filler: &mut Author, events: u64) {
    let mut connection = Raw::connect(&server.url).expect("a server that listens");
    filler.start(&mut connection);
    for _ in 0..events / BATCH_EVENTS {
        let notes: Vec<_> = (0..BATCH_EVENTS).map(|_| filler.text(0)).collect();
        assert_eq!(filler.write(&mut connection, &notes).expect("an answer").0, 200);
    }
}

#[test]
fn server_that_may_start_no_process_says_so_in_the_plan_and_lives() {
    let Some(group) = Cgroup::new("processes and threads exhausted", Controller::Pids) else { return };
    let place = Place::new();
    let server = place.serve_documents();
    let mut author = Author::begin(&server);
    let tool = |author: &mut Author| {
        let (plan, completed) = run_tool(&server);
        author.claims.extend(told_of(&server, &plan));
        completed
    };
    assert_eq!(tool(&mut author)["payload"]["ok"], true);
    group.take(&server);
    group.limit(Some(1));
    let mut failed = 0;
    for _ in 0..5 {
        let completed = tool(&mut author);
        assert_eq!(completed["payload"]["ok"], false, "{completed}");
        assert_eq!(author.note(&server, 10).expect("an answer").0, 200);
        failed += 1;
    }
    group.limit(None);
    assert_eq!(tool(&mut author)["payload"]["ok"], true);
    let mut reader = Reader::new(&server.url, Wanted::default());
    reader.read_until(head(&server));
    assert_eq!(server.stop().code(), Some(0));
    Row::new("processes and threads exhausted", format!("{failed} tools"))
        .counts(author.check(&place, &[reader.finish()]))
        .figure(format!("ToolCompleted with an error {failed}, server lives"))
        .check();
}

/// Runs a plan with one tool to its end; gives the plan and the end of the call.
fn run_tool(server: &Server) -> (String, Value) {
    let steps = json!({"touch": {"tool": "exec", "with": {"argv": ["true"]}}});
    let document = json!({"plan": "one", "goal": "Run one tool", "steps": steps});
    let started = server.http.post("/v1/plans", &json!({"document": document})).json(201);
    let plan = started["plan_id"].as_str().expect("an id").to_owned();
    let events = eventually("the end of the plan", || {
        let page = server.http.get(&format!("/v1/plans/{plan}/events")).json(200);
        (page["ended"] == true).then(|| page["events"].as_array().expect("a list").clone())
    });
    let completed = events.into_iter().find(|event| event["event_type"] == "ToolCompleted");
    (plan, completed.expect("the call ended"))
}
