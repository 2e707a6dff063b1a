//! Many clients that follow one task over A2A: nobody misses an update, and whoever resumes begins soon.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use planwire_event::IdGenerator;
use serde_json::{Value, json};

use crate::faults::chance::{Chance, count, percentile};
use crate::faults::checker::digest;
use crate::faults::raw::{Raw, RawFrame, RawStream};
use crate::harness::{PATIENCE, Place, Server};
use crate::load::memory_kib;

const PLAN: &str = "load";
const BATCH_EVENTS: u64 = 1_000;
const EXTENSION: &str = "urn:planwire:a2a:plan-events:1";

/// Updates of a burst, and how many follow it.
const BURST_UPDATES: u64 = 2_000;
const SUBSCRIBERS: usize = 100;
/// Threads that read for all of them.
const READERS: usize = 4;

/// Memory above idle that clients who resume may cost together, beside what each costs.
const MEMORY_KIB_MAX: u64 = 128 * 1024;
/// Memory that a client costs: its connection, its task of at most 60 KiB, and what is on its way.
const CLIENT_KIB_MAX: u64 = 160;

#[test]
fn soak_a_burst_of_updates_reaches_all_subscribers_completely_and_in_order() {
    let place = Place::new();
    let server = place.serve(&[]);
    start_plan(&server);
    let streams: Vec<_> = (0..SUBSCRIBERS).map(|number| subscribe(&server, number % 2 == 0, None)).collect();
    let mut streams: Vec<_> = streams.into_iter().map(RawStream::of).collect();
    for stream in &mut streams {
        assert_eq!(seq_of(&next_frames(stream)[0]), 1);
    }
    let begun = Instant::now();
    let share = streams.len().div_ceil(READERS);
    let told: Vec<(usize, u64)> = std::thread::scope(|scope| {
        let readers: Vec<_> = streams
            .chunks_mut(share)
            .map(|mine| scope.spawn(|| mine.iter_mut().map(read_to_end).collect::<Vec<_>>()))
            .collect();
        publish(&server, BURST_UPDATES - 1);
        server.http.post("/v1/events", &json!({"event_type": "PlanCompleted", "plan_id": PLAN})).json(200);
        readers.into_iter().flat_map(|reader| reader.join().expect("a reader")).collect()
    });
    let took = begun.elapsed();
    let deliveries: usize = told.iter().map(|(updates, _)| updates).sum();
    println!(
        "{SUBSCRIBERS} subscribers, {BURST_UPDATES} updates: {deliveries} deliveries in {} ms, {:.0} a second; \
         gap 0, duplicate 0, altered 0",
        took.as_millis(),
        deliveries as f64 / took.as_secs_f64(),
    );
    assert!(told.iter().all(|(updates, _)| *updates as u64 == BURST_UPDATES));
    // What each client of a binding was told is the same, byte for byte.
    for (at, (_, text)) in told.iter().enumerate() {
        assert_eq!(*text, told[at % 2].1);
    }
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn soak_a_crowd_that_resumes_anywhere_begins_soon_and_in_bounded_memory() {
    let (clients, events) = (count(100, 1_000), count(10_000, 100_000));
    let place = Place::new();
    let server = place.serve(&[]);
    start_plan(&server);
    publish(&server, events - 1);
    let head = server.http.get("/readyz").json(200)["head"].as_str().expect("a cursor").to_owned();
    let log = head.split_once('-').expect("a cursor").0;
    let idle = memory_kib(&server);
    let mut chance = Chance::of(7);
    let places: Vec<u64> = (0..clients).map(|_| chance.between(1, events - 1)).collect();
    let mut waits: Vec<Duration> = std::thread::scope(|scope| {
        let resumed: Vec<_> =
            places.iter().map(|place| scope.spawn(|| resume(&server, log, *place))).collect();
        resumed.into_iter().map(|client| client.join().expect("a client")).collect()
    });
    let grown = memory_kib(&server).saturating_sub(idle);
    println!(
        "{clients} clients resume at any of {events} events at once: first frame p50 {} ms, p99 {} ms; \
         {grown} KiB above idle ({idle} KiB)",
        percentile(&mut waits, 50).as_millis(),
        percentile(&mut waits, 99).as_millis(),
    );
    let allowed = MEMORY_KIB_MAX + CLIENT_KIB_MAX * clients;
    assert!(grown < allowed, "{grown} KiB of {allowed} KiB");
    assert_eq!(server.stop().code(), Some(0));
}

fn start_plan(server: &Server) {
    let payload = json!({"goal": "be followed", "inputs": {}, "name": PLAN});
    let event = json!({"event_type": "PlanStarted", "plan_id": PLAN, "payload": payload});
    server.http.post("/v1/events", &event).json(200);
}

/// Publishes so many updates, as fast as one connection takes them.
fn publish(server: &Server, events: u64) {
    let ids = IdGenerator::system();
    let mut connection = Raw::connect(&server.url).expect("a server that listens");
    for batch in 0..events.div_ceil(BATCH_EVENTS) {
        let event = |number: u64| {
            json!({
                "event_id": ids.next_id(), "event_type": "acme.step", "plan_id": PLAN,
                "payload": {"number": number, "text": "one more step is done"},
            })
        };
        let numbers = batch * BATCH_EVENTS..events.min((batch + 1) * BATCH_EVENTS);
        let body = json!({ "events": numbers.map(event).collect::<Vec<_>>() }).to_string();
        let (status, answer) = connection.post("/v1/events", &body).expect("an answer");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    }
}

/// Asks to follow the task, over REST or JSON-RPC, and reads nothing yet.
fn subscribe(server: &Server, rest: bool, last_event_id: Option<&str>) -> TcpStream {
    let authority = server.url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(authority).expect("a server that listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let (target, body) = if rest {
        (format!("/a2a/tasks/{PLAN}:subscribe"), "{}".to_owned())
    } else {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "SubscribeToTask", "params": {"id": PLAN}});
        ("/a2a".to_owned(), call.to_string())
    };
    let resume = last_event_id.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: {authority}\r\nA2A-Version: 1.0\r\nContent-Type: application/json\r\n\
         {resume}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("a server that listens");
    stream
}

/// Frames with data; at least one.
fn next_frames(stream: &mut RawStream) -> Vec<RawFrame> {
    loop {
        let mut frames = stream.frames().expect("a stream").expect("a stream without end");
        assert_eq!(stream.status(), Some(200));
        frames.retain(|frame| !frame.data.is_empty());
        if !frames.is_empty() {
            return frames;
        }
    }
}

/// The place in its task that a frame tells.
fn seq_of(frame: &RawFrame) -> u64 {
    let data: Value = serde_json::from_str(&frame.data).expect("JSON");
    let step = data.get("result").unwrap_or(&data).as_object().expect("a step");
    let step = step.values().next().expect("a step");
    step["metadata"][EXTENSION]["seq"].as_u64().expect("a seq")
}

/// Reads all updates after the task to the stream's end: how many, and a digest of what they say.
fn read_to_end(stream: &mut RawStream) -> (usize, u64) {
    let (mut updates, mut text, mut position) = (0, String::new(), 1);
    while let Some(frames) = stream.frames().expect("a stream") {
        for frame in frames.iter().filter(|frame| !frame.data.is_empty()) {
            updates += 1;
            // The log has no other events: the places follow each other.
            position += 1;
            assert_eq!(frame.position(), position, "each update once, in order");
            text.push_str(&digest(&frame.data).to_string());
        }
    }
    (updates, digest(&text))
}

/// Resumes after a place: how long it took until the task was there. The task and what follows are those of the place.
fn resume(server: &Server, log: &str, place: u64) -> Duration {
    let begun = Instant::now();
    let mut stream =
        RawStream::of(subscribe(server, place.is_multiple_of(2), Some(&format!("{log}-{place:016x}"))));
    let mut frames = next_frames(&mut stream);
    let waited = begun.elapsed();
    while frames.len() < 2 {
        frames.extend(next_frames(&mut stream));
    }
    for (frame, seq) in frames.iter().zip(place..) {
        assert_eq!((frame.position(), seq_of(frame)), (seq, seq));
    }
    waited
}
