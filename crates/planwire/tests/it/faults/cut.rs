//! A client that is cut off at random bytes and resumes.

use serde_json::json;

use super::author::Author;
use super::chance::{Chance, count};
use super::checker::{Reading, Wanted, digest};
use super::raw::{Raw, RawStream};
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
    let author = publish_plan(&server);
    let mut chance = Chance::of(1);
    let (mut cuts, mut readings) = (0, Vec::new());
    while cuts < cuts_min {
        let (reading, cut) = read_in_pieces(&server, &mut chance);
        readings.push(reading);
        cuts += cut;
    }
    assert_eq!(server.stop().code(), Some(0));
    Row::new("client cut at a random byte", format!("{cuts} cuts in {} readings", readings.len()))
        .counts(author.check(&place, &readings))
        .check();
}

/// A plan that has ended.
fn publish_plan(server: &Server) -> Author {
    let mut events = vec![("PlanStarted", json!({"goal": "be cut", "inputs": {}, "name": PLAN}))];
    // Line ends that JSON allows and a stream does not, characters of several bytes, and long ones.
    let text = |number: usize| format!("é\n\r\u{85}\u{2028}\u{2029}😀{}", "x".repeat(number % 700));
    events.extend((2..EVENTS).map(|number| ("acme.note", json!({"number": number, "text": text(number)}))));
    let counts = json!({"decisions": 0, "events": 0, "retries": 0, "subplans": 0, "tool_calls": 0});
    events.push(("PlanCompleted", json!({"counts": counts, "duration_ms": 1, "outputs": {}})));
    let (mut author, mut connection) =
        (Author::of(PLAN), Raw::connect(&server.url).expect("a server that listens"));
    for request in events.chunks(REQUEST_EVENTS) {
        assert_eq!(author.write(&mut connection, request).expect("an answer").0, 200);
    }
    author
}

/// Reads to the end of the plan, each connection a random number of bytes; gives the number of cuts too.
fn read_in_pieces(server: &Server, chance: &mut Chance) -> (Reading, u64) {
    let mut reading = Reading { wanted: Wanted::plan(PLAN), delivered: Vec::new() };
    let mut cursor: Option<String> = None;
    let mut cuts = 0;
    loop {
        let path = format!("/v1/plans/{PLAN}/events");
        let mut stream = RawStream::open(&server.url, &path, cursor.as_deref()).expect("a stream");
        let bytes = usize::try_from(chance.between(1, CUT_BYTES_MAX)).expect("a small number");
        for frame in stream.read_exactly(bytes).expect("a stream") {
            if frame.event == "end" {
                return (reading, cuts);
            }
            if !frame.data.is_empty() {
                reading.delivered.push((frame.position(), digest(&stored_form(&frame.data))));
            }
            cursor = frame.id.or(cursor);
        }
        if stream.status() == Some(204) {
            return (reading, cuts);
        }
        cuts += 1;
    }
}

/// An event as the log has it: a stream escapes characters that some readers of streams take for line ends.
fn stored_form(data: &str) -> String {
    let escaped = [("\\u0085", "\u{85}"), ("\\u2028", "\u{2028}"), ("\\u2029", "\u{2029}")];
    escaped.iter().fold(data.to_owned(), |text, (escape, character)| text.replace(escape, character))
}
