//! `kill -9` while publishers write and clients read, and what is left of it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use planwire_event::IdGenerator;
use serde_json::{Value, json};

use crate::faults::chance::{Chance, count, percentile};
use crate::faults::checker::{Broken, Claim, Line, Reading, Told, check, digest};
use crate::faults::raw::{Raw, RawStream};
use crate::harness::{PATIENCE, Place, Server};

const PUBLISHERS: usize = 8;
const READERS: usize = 20;
/// Every so many readers, one follows a single plan instead of all.
const PLAN_READER_EVERY: usize = 3;
/// Acknowledged events between two kills, at most.
const LIFE_EVENTS_MAX: u64 = 300;
/// A server that is so slow to acknowledge is killed all the same.
const LIFE_MAX: Duration = Duration::from_millis(500);
/// Once in so many lives the kill does not wait for a server that answers.
const EARLY_KILL_ONCE_IN: u64 = 8;
/// Latest instant of such a kill, in microseconds after the start.
const EARLY_KILL_US_MAX: u64 = 60_000;
/// Once in so many broken requests a publisher does not ask again.
const GIVE_UP_ONCE_IN: u64 = 20;
const BATCH_EVENTS_MAX: u64 = 4;
/// Pause before somebody who found no server looks again.
const RETRY_PAUSE: Duration = Duration::from_millis(1);

/// What publishers, readers and the one who kills know of each other.
#[derive(Default)]
struct Stage {
    url: Mutex<Option<String>>,
    acked: AtomicU64,
    finishing: AtomicBool,
    /// Last position of the log, once it is certain.
    head: AtomicU64,
}

impl Stage {
    fn url(&self) -> Option<String> {
        self.url.lock().expect("no thread panicked").clone()
    }

    fn set_url(&self, url: Option<String>) {
        *self.url.lock().expect("no thread panicked") = url;
    }
}

#[test]
fn soak_killed_while_8_write_and_20_read_nothing_is_lost_doubled_or_missing() {
    println!("kills {}", survive(count(100, 1_000), Chance::of(20), live_and_die));
}

#[test]
fn soak_asked_to_end_while_8_write_and_20_read_nothing_is_lost_doubled_or_missing() {
    println!("ends by SIGTERM {}", survive(count(5, 100), Chance::of(21), live_and_end));
}

/// One life of a server, from its start to its end.
type Life = fn(&Place, &Stage, &mut Chance, &mut Vec<Duration>);

/// Lets a server live so many lives on one log while publishers write and readers follow; says what was counted.
fn survive(lives: u64, mut chance: Chance, live: Life) -> String {
    let place = Place::new();
    let stage = Stage::default();
    let mut recoveries = Vec::new();
    let (claims, readings) = std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|number| {
                let (stage, chance) = (&stage, chance.fork());
                scope.spawn(move || Publisher::new(stage, number, chance).run())
            })
            .collect();
        let readers: Vec<_> = (0..READERS)
            .map(|number| {
                let plan = number.is_multiple_of(PLAN_READER_EVERY).then(|| plan_of(number % PUBLISHERS));
                let stage = &stage;
                scope.spawn(move || read(stage, plan))
            })
            .collect();
        for _ in 0..lives {
            live(&place, &stage, &mut chance, &mut recoveries);
        }
        let server = begin(&place, &stage, &mut recoveries);
        stage.finishing.store(true, Ordering::Release);
        let claims: Vec<Claim> =
            publishers.into_iter().flat_map(|thread| thread.join().expect("a publisher")).collect();
        stage.head.store(head(&server), Ordering::Release);
        let readings: Vec<Reading> =
            readers.into_iter().map(|thread| thread.join().expect("a reader")).collect();
        assert_eq!(server.stop().code(), Some(0));
        (claims, readings)
    });
    let log: Vec<Line> = place.run(&["events", "--json"]).text(0).lines().map(Line::parse).collect();
    let counts = check(&log, &claims, &readings);
    let line = counts.line();
    assert_eq!(counts.broken, Broken::default(), "{line}");
    assert!(counts.acked as u64 > lives, "{line}");
    assert!(counts.delivered > counts.acked, "{line}");
    let (p50, p99) = (percentile(&mut recoveries, 50), percentile(&mut recoveries, 99));
    format!("{lives}; {line}; recovery p50 {p50:?}, p99 {p99:?}")
}

/// Ends as by a power cut, at any instant; now and then before the server answers.
fn live_and_die(place: &Place, stage: &Stage, chance: &mut Chance, recoveries: &mut Vec<Duration>) {
    if chance.once_in(EARLY_KILL_ONCE_IN) {
        let begun = Instant::now();
        let running = place.start(&["--json", "serve", "--listen", "127.0.0.1:0"]);
        let instant = Duration::from_micros(chance.between(0, EARLY_KILL_US_MAX));
        std::thread::sleep(instant.saturating_sub(begun.elapsed()));
        running.signal(rustix::process::Signal::KILL);
        running.end();
        return;
    }
    let server = live_on(place, stage, chance, recoveries);
    server.kill();
    stage.set_url(None);
}

/// Ends as a service manager does it.
fn live_and_end(place: &Place, stage: &Stage, chance: &mut Chance, recoveries: &mut Vec<Duration>) {
    let server = live_on(place, stage, chance, recoveries);
    assert_eq!(server.stop().code(), Some(0));
    stage.set_url(None);
}

/// Starts a server and gives it back after some events.
fn live_on(place: &Place, stage: &Stage, chance: &mut Chance, recoveries: &mut Vec<Duration>) -> Server {
    let server = begin(place, stage, recoveries);
    let goal = stage.acked.load(Ordering::Acquire) + chance.between(1, LIFE_EVENTS_MAX);
    let begun = Instant::now();
    while stage.acked.load(Ordering::Acquire) < goal && begun.elapsed() < LIFE_MAX {
        std::thread::sleep(Duration::from_micros(chance.between(50, 500)));
    }
    server
}

fn begin(place: &Place, stage: &Stage, recoveries: &mut Vec<Duration>) -> Server {
    let begun = Instant::now();
    let server = place.serve(&[]);
    while server.http.get("/readyz").status != 200 {
        assert!(begun.elapsed() < PATIENCE, "the server is never ready");
    }
    recoveries.push(begun.elapsed());
    stage.set_url(Some(server.url.clone()));
    server
}

fn head(server: &Server) -> u64 {
    let ready = server.http.get("/readyz").json(200);
    crate::faults::raw::position_of(ready["head"].as_str().expect("a cursor"))
}

fn plan_of(number: usize) -> String {
    format!("plan-{number}")
}

/// Writes into one plan, each event until it knows what became of it.
struct Publisher<'a> {
    stage: &'a Stage,
    plan_id: String,
    chance: Chance,
    ids: IdGenerator,
    connection: Option<Raw>,
    written: u64,
    claims: Vec<Claim>,
}

impl<'a> Publisher<'a> {
    fn new(stage: &'a Stage, number: usize, chance: Chance) -> Self {
        Self {
            stage,
            plan_id: plan_of(number),
            chance,
            ids: IdGenerator::system(),
            connection: None,
            written: 0,
            claims: Vec::new(),
        }
    }

    fn run(mut self) -> Vec<Claim> {
        self.publish_until_told(&[("PlanStarted", json!({"goal": "survive", "inputs": {}, "name": "kill"}))]);
        while !self.stage.finishing.load(Ordering::Acquire) {
            let events: Vec<_> = (0..self.chance.between(1, BATCH_EVENTS_MAX)).map(|_| self.note()).collect();
            self.publish(&events, GIVE_UP_ONCE_IN);
        }
        let counts = json!({"decisions": 0, "events": 0, "retries": 0, "subplans": 0, "tool_calls": 0});
        self.publish_until_told(&[(
            "PlanCompleted",
            json!({"counts": counts, "duration_ms": 1, "outputs": {}}),
        )]);
        self.claims
    }

    fn note(&mut self) -> (&'static str, Value) {
        self.written += 1;
        let length = usize::try_from(self.chance.between(0, 400)).unwrap_or(0);
        ("acme.note", json!({"number": self.written, "text": "x".repeat(length)}))
    }

    fn publish_until_told(&mut self, events: &[(&str, Value)]) {
        self.publish(events, u64::MAX);
    }

    fn publish(&mut self, events: &[(&str, Value)], give_up_once_in: u64) {
        let named: Vec<_> = events.iter().map(|event| (self.ids.next_id().to_string(), event)).collect();
        let texts = named.iter().map(|(id, (event_type, payload))| {
            json!({
                "event_id": id, "event_type": event_type, "plan_id": self.plan_id,
                "timestamp": "2026-11-22T12:00:00Z", "payload": payload,
            })
        });
        let body = json!({ "events": texts.collect::<Vec<_>>() }).to_string();
        let told = self.ask(&body, named.len(), give_up_once_in);
        for ((event_id, (_, payload)), told) in named.into_iter().zip(told) {
            let payload = payload.to_string();
            self.claims.push(Claim { event_id, plan_id: self.plan_id.clone(), payload, told });
        }
    }

    /// Sends the same request until it is answered.
    fn ask(&mut self, body: &str, events: usize, give_up_once_in: u64) -> Vec<Told> {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "a request is never answered");
            let Some(connection) = self.connection() else {
                std::thread::sleep(RETRY_PAUSE);
                continue;
            };
            match connection.post("/v1/events", body) {
                Ok((200, answer)) => {
                    self.stage.acked.fetch_add(events as u64, Ordering::AcqRel);
                    return told(&answer);
                }
                // The server ends; it says nothing about the events.
                Ok((503, _)) => {}
                Ok(_) => return vec![Told::Failed; events],
                Err(_) => {
                    self.connection = None;
                    if self.chance.once_in(give_up_once_in) {
                        return vec![Told::Unknown; events];
                    }
                }
            }
        }
    }

    fn connection(&mut self) -> Option<&mut Raw> {
        if self.connection.is_none() {
            self.connection = Raw::connect(&self.stage.url()?).ok();
        }
        self.connection.as_mut()
    }
}

fn told(answer: &[u8]) -> Vec<Told> {
    let answer: Value = serde_json::from_slice(answer).expect("an answer in JSON");
    let number = |event: &Value, name: &str| event[name].as_u64().expect("a number");
    let events = answer["events"].as_array().expect("a list").iter();
    events
        .map(|event| Told::Acked { position: number(event, "position"), seq: number(event, "seq") })
        .collect()
}

/// Follows a plan, or all, over every break, until the end of the log or of the plan.
fn read(stage: &Stage, plan: Option<String>) -> Reading {
    let path =
        plan.as_ref().map_or_else(|| "/v1/events".to_owned(), |plan| format!("/v1/plans/{plan}/events"));
    let mut reading = Reading { plan, delivered: Vec::new() };
    let mut cursor: Option<String> = None;
    loop {
        let stream = stage.url().map(|url| RawStream::open(&url, &path, cursor.as_deref()));
        let Some(Ok(mut stream)) = stream else {
            std::thread::sleep(RETRY_PAUSE);
            continue;
        };
        while let Ok(Some(frames)) = stream.frames() {
            for frame in frames {
                if frame.event == "end" {
                    return reading;
                }
                if !frame.data.is_empty() {
                    reading.delivered.push((frame.position(), digest(&frame.data)));
                }
                cursor = frame.id.or(cursor);
            }
            let head = stage.head.load(Ordering::Acquire);
            let position = cursor.as_deref().map_or(0, crate::faults::raw::position_of);
            if head > 0 && position >= head {
                return reading;
            }
        }
        match stream.status() {
            // The plan had ended, and so had this reading.
            Some(204) => return reading,
            None | Some(200 | 404 | 503) => std::thread::sleep(RETRY_PAUSE),
            // The log does not know the cursor that it gave: what comes again is counted as duplicate.
            Some(409) => cursor = None,
            Some(status) => panic!("{path}: {status}"),
        }
    }
}
