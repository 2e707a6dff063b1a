//! Servers that are asked to end: under load, twice, before they answer, and while tools run.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::author::told_of;
use super::chance::{Chance, count, percentile};
use super::crowd::{Crowd, Stage, survive, survive_on};
use super::row::Row;
use super::tools::{started, states};
use crate::harness::{Place, Server, eventually};

const LIFE_EVENTS_MAX: u64 = 300;
const LIFE_MAX: Duration = Duration::from_millis(500);
/// Latest instant of a signal to a server that starts, in microseconds after its start.
const STARTING_US_MAX: u64 = 60_000;
/// Latest instant of a second signal, in microseconds after the first.
const AGAIN_US_MAX: u64 = 3_000;
const TERM: i32 = 15;
/// The longest that an end may take under load and with tools that run.
const END_MAX: Duration = Duration::from_secs(10);
/// Events from one end to the next.
const EVENTS_BETWEEN: u64 = 200;

/// A tool that runs until it is ended, if it is the first in its folder, and ends by itself otherwise.
const DOCUMENT: &str = r#"
plan: going-on
goal: Go on
inputs: { folder: { type: path } }
steps:
  run:
    tool: exec
    idempotent: IDEMPOTENT
    with:
      cwd: "${inputs.folder}"
      argv: [sh, -c, 'echo >> there; test "$(wc -l < there)" -gt 1 || exec sleep 1000']
"#;

/// When a server is asked to end.
#[derive(Clone, Copy)]
enum When {
    UnderLoad,
    Twice,
    Starting,
}

#[test]
fn soak_asked_to_end_while_8_write_and_20_read_nothing_is_lost_doubled_or_missing() {
    let rounds = count(4, 50);
    let place = Place::new();
    let mut ends = Vec::new();
    let survived = survive(&place, Crowd::LARGE, Chance::of(21), |stage, chance| {
        for _ in 0..rounds {
            for when in [When::UnderLoad, When::Twice, When::Starting] {
                ends.push(live_and_end(&place, stage, chance, when));
            }
        }
    });
    let slowest = percentile(&mut ends, 100).as_millis();
    Row::new("SIGTERM under load, twice, while it starts", format!("{rounds} times each"))
        .counts(survived.counts)
        .times("end", &mut ends)
        .figure(format!("slowest {slowest} ms"))
        .check();
}

/// One life of a server that a service manager ends; gives the time that its end took.
fn live_and_end(place: &Place, stage: &Stage, chance: &mut Chance, when: When) -> Duration {
    let running = if matches!(when, When::Starting) {
        let running = place.start(&["--json", "serve", "--listen", "127.0.0.1:0"]);
        std::thread::sleep(Duration::from_micros(chance.between(0, STARTING_US_MAX)));
        running
    } else {
        let server = stage.begin(place);
        stage.wait_for(chance.between(1, LIFE_EVENTS_MAX), LIFE_MAX);
        server.running
    };
    let asked = Instant::now();
    running.signal(Signal::TERM);
    if matches!(when, When::Twice) {
        std::thread::sleep(Duration::from_micros(chance.between(0, AGAIN_US_MAX)));
        running.signal(Signal::TERM);
    }
    let (status, _) = running.end();
    // Before it catches signals it ends by this one.
    let by_signal = matches!(when, When::Starting) && status.signal() == Some(TERM);
    assert!(status.code() == Some(0) || by_signal, "{status}");
    stage.gone();
    asked.elapsed()
}

#[test]
fn soak_asked_to_end_while_tools_run_it_ends_in_order_within_10_s_and_the_next_goes_on() {
    let (ends, readers) = (count(2, 20), usize::try_from(count(20, 100)).expect("a small number"));
    let place = Place::new();
    let mut took = Vec::new();
    let (mut broken_off, mut plans) = (0, 0);
    let crowd = Crowd { readers, ..Crowd::LARGE };
    let survived = survive_on(&place, crowd, Chance::of(36), |stage, _| {
        let mut server = place.serve_documents();
        stage.admit(&server);
        for number in 0..ends {
            stage.go_on(EVENTS_BETWEEN);
            let running = [true, false].map(|idempotent| {
                let folder = place.folder(format!("tools/{number}/{idempotent}"));
                let text = DOCUMENT.replace("IDEMPOTENT", &idempotent.to_string());
                let body = json!({"text": text, "name": "tool.yaml", "inputs": {"folder": folder}});
                let plan = started(&server, &body);
                eventually("the tool", || (folder.join("there").exists()).then_some(()));
                (plan, folder)
            });
            let asked = Instant::now();
            assert_eq!(server.stop().code(), Some(0));
            took.push(asked.elapsed());
            for (_, folder) in &running {
                // Those who hold the tools end them as soon as they see that the server has gone.
                eventually("the end of all that tools started", || states(folder).is_empty().then_some(()));
            }
            server = place.serve_documents();
            stage.admit(&server);
            let [again, once] = running.map(|(plan, _)| plan);
            assert_eq!(end_of(&server, &again), ("PlanCompleted".to_owned(), Value::Null));
            assert_eq!(end_of(&server, &once), ("PlanFailed".to_owned(), json!("interrupted")));
            for plan in [again, once] {
                stage.claim(told_of(&server, &plan));
                plans += 1;
            }
        }
        broken_off = stage.broken_off();
        vec![server]
    });
    Row::new(
        "SIGTERM while tools run",
        format!("{ends} times, 8 publishers, {readers} readers, {plans} plans"),
    )
    .counts(survived.counts)
    .times("end", &mut took)
    .figure(format!("streams that broke off {broken_off}; processes left 0, each plan has one end"))
    .check();
    assert_eq!(broken_off, 0, "streams end in order");
    assert!(took.iter().all(|took| *took <= END_MAX), "{took:?}");
}

/// The type and the code of the only end of a plan.
fn end_of(server: &Server, plan: &str) -> (String, Value) {
    eventually("the end of the plan", || {
        let page = server.http.get(&format!("/v1/plans/{plan}/events")).json(200);
        let events = page["events"].as_array().expect("a list").clone();
        let ends = events.iter().filter(|event| {
            ["PlanCompleted", "PlanFailed"].iter().any(|event_type| event["event_type"] == *event_type)
        });
        let ends: Vec<_> = ends
            .map(|event| {
                let event_type = event["event_type"].as_str().expect("a text").to_owned();
                (event_type, event["payload"]["error"]["code"].clone())
            })
            .collect();
        assert!(ends.len() < 2, "{ends:?}");
        ends.into_iter().next()
    })
}
