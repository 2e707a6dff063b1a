//! Streams over HTTP and `events --follow`: every event once, in order, whatever happens to the server.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::harness::Place;

fn started(plan: &str) -> Value {
    json!({"event_type": "PlanStarted", "plan_id": plan, "payload": {"name": "n"}})
}

fn numbered(plan: &str, n: u64) -> Value {
    json!({"event_type": "acme.n", "plan_id": plan, "payload": {"n": n}})
}

fn completed(plan: &str) -> Value {
    json!({"event_type": "PlanCompleted", "plan_id": plan, "payload": {}})
}

#[test]
fn stream_is_the_same_before_during_and_after_a_plan() {
    let place = Place::new();
    let server = place.serve(&[]);
    server.http.post("/v1/events", &started("p")).json(200);
    let mut before = server.http.stream("/v1/plans/p/events?tree=true", None);
    for n in 0..50 {
        server.http.post("/v1/events", &numbered("p", n)).json(200);
    }
    let mut during = server.http.stream("/v1/plans/p/events?tree=true", None);
    server.http.post("/v1/events", &completed("p")).json(200);
    let mut after = server.http.stream("/v1/plans/p/events?tree=true", None);
    let all = |stream: &mut crate::http::Stream| std::iter::from_fn(|| stream.event()).collect::<Vec<_>>();
    let seen = all(&mut before);
    assert_eq!(seen.len(), 52);
    assert_eq!(seen, all(&mut during));
    assert_eq!(seen, all(&mut after));
    let exported = place.run(&["--json", "events", "--plan", "p", "--tree"]).json(0);
    assert_eq!(seen, exported);
    assert!(server.stop().success());
}

#[test]
fn client_that_is_cut_anywhere_resumes_without_loss() {
    let place = Place::new();
    let server = place.serve(&[]);
    let events: Vec<Value> = std::iter::once(started("p"))
        .chain((0..30).map(|n| numbered("p", n)))
        .chain([completed("p")])
        .collect();
    server.http.post("/v1/events", &json!({ "events": events })).json(200);
    let authority = server.url.strip_prefix("http://").expect("an address");
    // Each client reads so many bytes of the stream, then one more resumes where its last whole frame was.
    for bytes in (1..12_000).step_by(331) {
        let mut stream = TcpStream::connect(authority).expect("a server");
        let request = format!(
            "GET /v1/plans/p/events HTTP/1.1\r\nHost: {authority}\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("a request");
        let mut text = Vec::new();
        let mut limited = BufReader::new(std::io::Read::take(stream, bytes));
        while limited.read_until(b'\n', &mut text).expect("a stream") > 0 {}
        drop(limited);
        let text = String::from_utf8_lossy(&text).into_owned();
        let (whole, _) = text.rsplit_once("\n\n").unwrap_or_default();
        let last = whole.lines().filter_map(|line| line.strip_prefix("id: ")).next_back();
        let mut seen: Vec<Value> = whole
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .filter_map(|data| serde_json::from_str(data).ok())
            .filter(|event: &Value| event["event_type"].is_string())
            .collect();
        if seen.len() < events.len() {
            let mut rest = server.http.stream("/v1/plans/p/events", last);
            seen.extend(std::iter::from_fn(|| rest.event()));
        }
        let seqs: Vec<u64> = seen.iter().filter_map(|event| event["seq"].as_u64()).collect();
        assert_eq!(seqs, (1..=32).collect::<Vec<u64>>(), "cut after {bytes} bytes");
    }
    assert!(server.stop().success());
}

#[test]
fn follower_ends_with_its_plan() {
    let place = Place::new();
    let server = place.serve(&[]);
    server.http.post("/v1/events", &started("p")).json(200);
    let mut by_server = place.start(&["--json", "events", "--follow", "--plan", "p", "--tree"]);
    by_server.line_with("PlanStarted");
    server.http.post("/v1/events", &completed("p")).json(200);
    by_server.line_with("PlanCompleted");
    assert!(by_server.end().0.success());
    assert_eq!(place.run(&["events", "--follow", "--plan", "nobody"]).code, Some(1));
    assert!(server.stop().success());
    let by_file = place.run(&["--json", "events", "--follow", "--plan", "p"]).json(0);
    assert_eq!(by_file.len(), 2);
}

#[test]
fn follower_outlives_servers_and_sees_every_event_once() {
    let place = Place::new();
    // There is no log yet, and nobody who writes one.
    let mut follower = place.start(&["--json", "events", "--follow"]);
    place.run_with(&["publish", "-"], &started("p").to_string()).text(0);
    let mut seen = vec![follower.line().expect("an event")];
    for round in 0..3 {
        let server = place.serve(&[]);
        server.http.post("/v1/events", &numbered("p", round * 2)).json(200);
        seen.push(follower.line().expect("an event of the server"));
        server.kill();
        place.run_with(&["publish", "-"], &numbered("p", round * 2 + 1).to_string()).text(0);
        seen.push(follower.line().expect("an event of the file"));
    }
    follower.signal(rustix::process::Signal::INT);
    let (status, rest) = follower.end();
    assert_eq!((status.code(), rest.as_str()), (Some(130), ""));
    let exported: Vec<String> = place.run(&["--json", "events"]).stdout.lines().map(str::to_owned).collect();
    assert_eq!(seen, exported);
}
