//! Publishers and readers that go on over every fault, and the lives of the server that they talk to.
//!
//! Publishers write down what they were told, readers what they were given. After the last life the log is read from
//! the file, and the one [`checker`](super::checker) holds all of it against each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use planwire_event::IdGenerator;
use serde_json::{Value, json};

use super::chance::Chance;
use super::checker::{Claim, Counts, Line, Reading, Told, Wanted, check, digest};
use super::raw::{Raw, RawStream, position_of};
use crate::harness::{PATIENCE, Place, Server, eventually};

/// Every so many readers, one follows a single plan instead of all.
const PLAN_READER_EVERY: usize = 3;
/// Once in so many broken requests a publisher does not ask again.
const GIVE_UP_ONCE_IN: u64 = 20;
const BATCH_EVENTS_MAX: u64 = 4;
/// Pause before somebody who found no server looks again.
const RETRY_PAUSE: Duration = Duration::from_millis(1);
/// The longest pause before somebody who was refused asks again; it doubles up to here.
const REFUSED_PAUSE_MAX: Duration = Duration::from_millis(100);

/// How many write and read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(crate) publishers: usize,
    pub(crate) readers: usize,
    /// The longest pause between two requests of a publisher, in milliseconds.
    pub(crate) pause_ms_max: u64,
}

impl Crowd {
    /// The crowd of FAULTS: 8 publishers and 20 readers.
    pub(crate) const LARGE: Self = Self { publishers: 8, readers: 20, pause_ms_max: 0 };
    /// Enough to share commits, where much else costs time.
    pub(crate) const SMALL: Self = Self { publishers: 4, readers: 4, pause_ms_max: 0 };
}

/// What publishers, readers and the one who brings the fault about know of each other.
#[derive(Default)]
pub(crate) struct Stage {
    /// Servers of the log; publishers and readers share them evenly.
    urls: Mutex<Vec<String>>,
    acked: AtomicU64,
    /// The publishers that were told of an acknowledgement since somebody began to wait for all of them.
    heard: Mutex<BTreeSet<usize>>,
    /// Requests that were answered with 5xx.
    refused: AtomicU64,
    /// The kinds of problems that these answers named.
    kinds: Mutex<BTreeMap<String, u64>>,
    /// Event streams that were served.
    streams: AtomicU64,
    /// Event streams that broke off without saying that nothing follows.
    broken_off: AtomicU64,
    /// What others than the crowd published, or were told of.
    others: Mutex<Vec<Claim>>,
    /// The longest time that a request was not answered, in milliseconds.
    slowest_ms: AtomicU64,
    finishing: AtomicBool,
    /// The test failed: nobody waits for anything any more.
    abandoned: AtomicBool,
    /// Last position of the log, once it is certain.
    head: OnceLock<u64>,
    recoveries: Mutex<Vec<Duration>>,
}

impl Stage {
    /// The server of the publisher or reader with this number.
    fn url(&self, number: usize) -> Option<String> {
        let urls = self.urls.lock().expect("no thread panicked");
        urls.get(number % urls.len().max(1)).cloned()
    }

    /// Events that were acknowledged so far.
    pub(crate) fn acked(&self) -> u64 {
        self.acked.load(Ordering::Acquire)
    }

    /// Requests that were answered with 5xx so far, and the longest time in which none came, in milliseconds.
    pub(crate) fn refused(&self) -> (u64, u64) {
        (self.refused.load(Ordering::Acquire), self.slowest_ms.load(Ordering::Acquire))
    }

    /// Event streams that broke off so far, instead of ending in order.
    pub(crate) fn broken_off(&self) -> u64 {
        self.broken_off.load(Ordering::Acquire)
    }

    /// Adds what others than the crowd published into the same log, or were told of.
    pub(crate) fn claim(&self, claims: Vec<Claim>) {
        self.others.lock().expect("no thread panicked").extend(claims);
    }

    fn was_acked(&self, publisher: usize, events: u64) {
        self.acked.fetch_add(events, Ordering::AcqRel);
        self.heard.lock().expect("no thread panicked").insert(publisher);
    }

    fn was_refused(&self, kind: String) {
        self.refused.fetch_add(1, Ordering::AcqRel);
        *self.kinds.lock().expect("no thread panicked").entry(kind).or_default() += 1;
    }

    /// What was refused so far, by kind.
    pub(crate) fn kinds(&self) -> BTreeMap<String, u64> {
        self.kinds.lock().expect("no thread panicked").clone()
    }

    /// Starts a server, waits until it takes events, and lets the crowd to it.
    pub(crate) fn begin(&self, place: &Place) -> Server {
        let server = self.start(place);
        self.admit(&server);
        server
    }

    /// Starts a server and waits until it takes events.
    pub(crate) fn start(&self, place: &Place) -> Server {
        let begun = Instant::now();
        let server = place.serve(&[]);
        while server.http.get("/readyz").status != 200 {
            assert!(begun.elapsed() < PATIENCE, "the server is never ready");
        }
        self.recoveries.lock().expect("no thread panicked").push(begun.elapsed());
        server
    }

    /// Lets the crowd to a server.
    pub(crate) fn admit(&self, server: &Server) {
        self.admit_all(std::slice::from_ref(server));
    }

    /// Lets the crowd to servers of one log.
    pub(crate) fn admit_all(&self, servers: &[Server]) {
        *self.urls.lock().expect("no thread panicked") =
            servers.iter().map(|server| server.url.clone()).collect();
    }

    /// There is no server any more.
    pub(crate) fn gone(&self) {
        self.admit_all(&[]);
    }

    /// Waits until so many more events are acknowledged, or the time is over; says whether they are.
    pub(crate) fn wait_for(&self, events: u64, time: Duration) -> bool {
        let (goal, begun) = (self.acked() + events, Instant::now());
        while self.acked() < goal && begun.elapsed() < time {
            std::thread::sleep(Duration::from_micros(200));
        }
        self.acked() >= goal
    }

    /// Waits until each publisher, at whatever server, has heard of an acknowledgement.
    pub(crate) fn all_go_on(&self, crowd: Crowd) {
        let heard = || self.heard.lock().expect("no thread panicked");
        heard().clear();
        eventually("an acknowledgement for each publisher", || {
            (heard().len() == crowd.publishers).then_some(())
        });
    }

    /// Waits until so many more events are acknowledged.
    pub(crate) fn go_on(&self, events: u64) -> Duration {
        let begun = Instant::now();
        assert!(self.wait_for(events, PATIENCE), "nothing is acknowledged any more");
        begun.elapsed()
    }
}

/// Lets the crowd go when a life panics, so that the test ends.
struct Abandon<'a>(&'a Stage);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.abandoned.store(true, Ordering::Release);
            self.0.finishing.store(true, Ordering::Release);
        }
    }
}

/// What is left after all lives.
pub(crate) struct Survived {
    pub(crate) counts: Counts,
    /// From the start of the process to `/readyz`.
    pub(crate) recoveries: Vec<Duration>,
    /// Event streams that were served to readers, each of which needs one if none breaks.
    pub(crate) streams: u64,
}

/// Lets `live` do to servers on one log what it does, while publishers write and readers follow.
pub(crate) fn survive(
    place: &Place,
    crowd: Crowd,
    chance: Chance,
    live: impl FnOnce(&Stage, &mut Chance),
) -> Survived {
    survive_on(place, crowd, chance, |stage, chance| {
        live(stage, chance);
        vec![stage.begin(place)]
    })
}

/// The same where `live` leaves servers that the crowd may use to the end.
pub(crate) fn survive_on(
    place: &Place,
    crowd: Crowd,
    mut chance: Chance,
    live: impl FnOnce(&Stage, &mut Chance) -> Vec<Server>,
) -> Survived {
    let stage = Stage::default();
    let (claims, readings) = std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..crowd.publishers)
            .map(|number| {
                let (stage, chance) = (&stage, chance.fork());
                scope.spawn(move || Publisher::new(stage, number, crowd, chance).run())
            })
            .collect();
        let readers: Vec<_> = (0..crowd.readers)
            .map(|number| {
                let plan =
                    number.is_multiple_of(PLAN_READER_EVERY).then(|| plan_of(number % crowd.publishers));
                let stage = &stage;
                scope.spawn(move || read(stage, number, plan))
            })
            .collect();
        let _abandon = Abandon(&stage);
        let servers = live(&stage, &mut chance);
        stage.finishing.store(true, Ordering::Release);
        let claims: Vec<Claim> =
            publishers.into_iter().flat_map(|thread| thread.join().expect("a publisher")).collect();
        // One that has not heard of the others' last events yet knows less.
        stage.head.get_or_init(|| servers.iter().map(head).max().expect("a server is left"));
        let readings: Vec<Reading> =
            readers.into_iter().map(|thread| thread.join().expect("a reader")).collect();
        for server in servers {
            assert_eq!(server.stop().code(), Some(0));
        }
        (claims, readings)
    });
    let others = stage.others.into_inner().expect("no thread panicked");
    let claims: Vec<Claim> = claims.into_iter().chain(others).collect();
    let counts = check(&log_of(place), &claims, &readings);
    let recoveries = stage.recoveries.into_inner().expect("no thread panicked");
    Survived { counts, recoveries, streams: stage.streams.into_inner() }
}

/// The log as the file has it.
pub(crate) fn log_of(place: &Place) -> Vec<Line> {
    place.run(&["events", "--json"]).text(0).lines().map(Line::parse).collect()
}

/// The last position of a server that is ready.
pub(crate) fn head(server: &Server) -> u64 {
    let ready = server.http.get("/readyz").json(200);
    position_of(ready["head"].as_str().expect("a cursor"))
}

fn plan_of(number: usize) -> String {
    format!("plan-{number}")
}

/// Writes into one plan, each event until it knows what became of it.
struct Publisher<'a> {
    stage: &'a Stage,
    number: usize,
    pause_ms_max: u64,
    plan_id: String,
    chance: Chance,
    ids: IdGenerator,
    connection: Option<Raw>,
    written: u64,
    claims: Vec<Claim>,
}

impl<'a> Publisher<'a> {
    fn new(stage: &'a Stage, number: usize, crowd: Crowd, chance: Chance) -> Self {
        Self {
            stage,
            number,
            pause_ms_max: crowd.pause_ms_max,
            plan_id: plan_of(number),
            chance,
            ids: IdGenerator::system(),
            connection: None,
            written: 0,
            claims: Vec::new(),
        }
    }

    fn run(mut self) -> Vec<Claim> {
        self.publish_until_told(&[(
            "PlanStarted",
            json!({"goal": "survive", "inputs": {}, "name": "crowd"}),
        )]);
        while !self.stage.finishing.load(Ordering::Acquire) {
            let events: Vec<_> = (0..self.chance.between(1, BATCH_EVENTS_MAX)).map(|_| self.note()).collect();
            self.publish(&events, GIVE_UP_ONCE_IN);
            std::thread::sleep(Duration::from_millis(self.chance.between(0, self.pause_ms_max)));
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
        let (mut heard, mut pause) = (Instant::now(), RETRY_PAUSE);
        loop {
            if self.stage.abandoned.load(Ordering::Acquire) {
                return vec![Told::Unknown; events];
            }
            // A refusal is an answer: how long a server may refuse is for the one who knows why it does.
            assert!(heard.elapsed() < PATIENCE, "a request is never answered");
            let Some(connection) = self.connection() else {
                std::thread::sleep(RETRY_PAUSE);
                continue;
            };
            let asked = Instant::now();
            let answer = connection.post("/v1/events", body);
            let waited = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.stage.slowest_ms.fetch_max(waited, Ordering::AcqRel);
            match answer {
                Ok((200, answer)) => {
                    self.stage.was_acked(self.number, events as u64);
                    return told(&answer);
                }
                // The server ends, or its disk fails: it has not said that they are not stored.
                Ok((500.., answer)) => {
                    self.stage.was_refused(kind_of(&answer));
                    heard = Instant::now();
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(REFUSED_PAUSE_MAX);
                }
                Ok(_) => {
                    std::thread::sleep(RETRY_PAUSE);
                    return vec![Told::Failed; events];
                }
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
            self.connection = Raw::connect(&self.stage.url(self.number)?).ok();
        }
        self.connection.as_mut()
    }
}

/// The kind of problem that an answer names.
pub(crate) fn kind_of(answer: &[u8]) -> String {
    let problem: Value = serde_json::from_slice(answer).expect("a problem in JSON");
    let kind = problem["type"].as_str().and_then(|urn| urn.rsplit(':').next());
    kind.expect("a problem has a type").to_owned()
}

/// What an answer of 200 says about each event.
pub(crate) fn told(answer: &[u8]) -> Vec<Told> {
    let answer: Value = serde_json::from_slice(answer).expect("an answer in JSON");
    let number = |event: &Value, name: &str| event[name].as_u64().expect("a number");
    let events = answer["events"].as_array().expect("a list").iter();
    events
        .map(|event| Told::Acked { position: number(event, "position"), seq: number(event, "seq") })
        .collect()
}

/// Follows a plan, or all, over every break, until the end of the log or of the plan.
fn read(stage: &Stage, number: usize, plan: Option<String>) -> Reading {
    let path =
        plan.as_ref().map_or_else(|| "/v1/events".to_owned(), |plan| format!("/v1/plans/{plan}/events"));
    let wanted = Wanted { plan, ..Wanted::default() };
    let mut reading = Reading { wanted, delivered: Vec::new() };
    let mut cursor: Option<String> = None;
    while !stage.abandoned.load(Ordering::Acquire) {
        let stream = stage.url(number).map(|url| RawStream::open(&url, &path, cursor.as_deref()));
        let Some(Ok(mut stream)) = stream else {
            std::thread::sleep(RETRY_PAUSE);
            continue;
        };
        let mut counted = 0;
        while let Ok(Some(frames)) = stream.frames() {
            let served = u64::from(stream.status() == Some(200));
            stage.streams.fetch_add(served - counted, Ordering::AcqRel);
            counted = served;
            for frame in frames {
                if frame.event == "end" {
                    return reading;
                }
                if !frame.data.is_empty() {
                    reading.delivered.push((frame.position(), digest(&frame.data)));
                }
                cursor = frame.id.or(cursor);
            }
            let position = cursor.as_deref().map_or(0, position_of);
            if stage.head.get().is_some_and(|head| position >= *head) {
                return reading;
            }
        }
        let broken_off = stream.status() == Some(200) && !stream.has_ended();
        stage.broken_off.fetch_add(u64::from(broken_off), Ordering::AcqRel);
        match stream.status() {
            // The plan had ended, and so had this reading.
            Some(204) => return reading,
            // The plan is not there though its publisher has ended.
            Some(404) if stage.head.get().is_some() => return reading,
            None | Some(200 | 404 | 503) => std::thread::sleep(RETRY_PAUSE),
            // The log does not know the cursor that it gave: what comes again is counted as duplicate.
            Some(409) => cursor = None,
            Some(status) => panic!("{path}: {status}"),
        }
    }
    reading
}
