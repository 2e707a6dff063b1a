//! A client that is cut off at random bytes and resumes.

use serde_json::{Value, json};

use super::chance::{Chance, count};
use super::checker::Counts;
use super::raw::RawStream;
use super::row::Row;
use crate::harness::{Place, Server};

const PLAN: &str = "cut";
const EVENTS: usize = 1_500;
const REQUEST_EVENTS: usize = 500;
/// Bytes of the wire that a connection lives at most: a few frames.
const CUT_BYTES_MAX: u64 = 3_000;

#[test]
fn soak_client_cut_at_1000_random_bytes_has_every_event_once() {
    let cuts_min = count(1_000, 10_000);
    let place = Place::new();
    let server = place.serve(&[]);
    let expected = publish_plan(&server);
    let mut chance = Chance::of(1);
    let (mut cuts, mut readings, mut delivered) = (0, 0, 0);
    while cuts < cuts_min {
        let (given, cut) = read_in_pieces(&server, &mut chance);
        assert_eq!(given, expected);
        delivered += given.len();
        cuts += cut;
        readings += 1;
    }
    let counts = Counts { stored: EVENTS, acked: EVENTS, delivered, ..Counts::default() };
    Row::new("client cut at a random byte", format!("{cuts} cuts in {readings} readings"))
        .counts(counts)
        .check();
    assert_eq!(server.stop().code(), Some(0));
}

/// A plan that has ended; gives its events as a page has them.
fn publish_plan(server: &Server) -> Vec<String> {
    let event = |event_type: &str, payload: Value| json!({"event_type": event_type, "plan_id": PLAN, "payload": payload});
    let mut events = vec![event("PlanStarted", json!({"goal": "be cut", "inputs": {}, "name": PLAN}))];
    // Line ends that JSON allows and a stream does not, characters of several bytes, and long ones.
    let text = |number: usize| format!("é\n\r\u{85}\u{2028}\u{2029}😀{}", "x".repeat(number % 700));
    events.extend(
        (2..EVENTS).map(|number| event("acme.note", json!({"number": number, "text": text(number)}))),
    );
    let counts = json!({"decisions": 0, "events": 0, "retries": 0, "subplans": 0, "tool_calls": 0});
    events.push(event("PlanCompleted", json!({"counts": counts, "duration_ms": 1, "outputs": {}})));
    for request in events.chunks(REQUEST_EVENTS) {
        server.http.post("/v1/events", &json!({ "events": request })).json(200);
    }
    let mut stored = Vec::new();
    let mut after = "start".to_owned();
    while stored.len() < EVENTS {
        let page = server.http.get(&format!("/v1/plans/{PLAN}/events?limit=1000&after={after}")).json(200);
        stored.extend(page["events"].as_array().expect("a list").iter().map(Value::to_string));
        page["next"].as_str().expect("a cursor").clone_into(&mut after);
    }
    stored
}

/// Reads to the end of the plan, each connection a random number of bytes; gives the events and the number of cuts.
fn read_in_pieces(server: &Server, chance: &mut Chance) -> (Vec<String>, u64) {
    let mut given = Vec::new();
    let mut cursor: Option<String> = None;
    let mut cuts = 0;
    loop {
        let path = format!("/v1/plans/{PLAN}/events");
        let mut stream = RawStream::open(&server.url, &path, cursor.as_deref()).expect("a stream");
        let bytes = usize::try_from(chance.between(1, CUT_BYTES_MAX)).expect("a small number");
        for frame in stream.read_exactly(bytes).expect("a stream") {
            if frame.event == "end" {
                return (given, cuts);
            }
            if !frame.data.is_empty() {
                let event: Value = serde_json::from_str(&frame.data).expect("an event in JSON");
                given.push(event.to_string());
            }
            cursor = frame.id.or(cursor);
        }
        if stream.status() == Some(204) {
            return (given, cuts);
        }
        cuts += 1;
    }
}
