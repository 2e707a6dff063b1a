//! One publisher that waits for each answer, for faults whose moment counts.

use std::io;

use planwire_event::IdGenerator;
use serde_json::{Value, json};

use super::checker::{Claim, Counts, Reading, Told, check, digest};
use super::crowd::{log_of, told};
use super::raw::{Raw, RawStream, position_of};
use crate::harness::{Place, Server};

const PLAN: &str = "author";
/// Events of a page that is read for what is known of a plan.
const PAGE_EVENTS: usize = 1_000;

/// Writes into one plan, one request after the other, and remembers what it was told.
pub(crate) struct Author {
    ids: IdGenerator,
    plan: String,
    written: u64,
    pub(crate) claims: Vec<Claim>,
}

impl Author {
    /// One of a plan that it has not started.
    pub(crate) fn of(plan: &str) -> Self {
        Self { ids: IdGenerator::system(), plan: plan.to_owned(), written: 0, claims: Vec::new() }
    }

    /// Starts the plan `author`.
    pub(crate) fn begin(server: &Server) -> Self {
        let mut author = Self::of(PLAN);
        author.start(&mut Raw::connect(&server.url).expect("a server that listens"));
        author
    }

    /// Starts its plan.
    pub(crate) fn start(&mut self, connection: &mut Raw) {
        let started = json!({"goal": "be told", "inputs": {}, "name": self.plan});
        let (status, answer) = self.write(connection, &[("PlanStarted", started)]).expect("an answer");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    }

    /// Publishes one more event with so many bytes of text; gives the status and the answer.
    pub(crate) fn note(&mut self, server: &Server, bytes: usize) -> io::Result<(u16, Vec<u8>)> {
        let note = [self.text(bytes)];
        let named = self.named(&note);
        self.send(Raw::connect(&server.url).as_mut(), named)
    }

    /// The next event, with so many bytes of text.
    pub(crate) fn text(&mut self, bytes: usize) -> (&'static str, Value) {
        self.written += 1;
        ("acme.note", json!({"number": self.written, "text": "x".repeat(bytes)}))
    }

    /// Publishes events until one is not stored; gives the status of that one.
    pub(crate) fn note_until_refused(
        &mut self,
        server: &Server,
        bytes: usize,
        events_max: u64,
    ) -> Option<u16> {
        (0..events_max).find_map(|_| match self.note(server, bytes) {
            Ok((200, _)) => None,
            Ok((status, _)) => Some(status),
            Err(_) => Some(0),
        })
    }

    /// Asks again about the last event, with the same id; gives the status.
    pub(crate) fn ask_again(&mut self, server: &Server) -> u16 {
        let mut connection = Raw::connect(&server.url).expect("a server that listens");
        self.ask_again_over(&mut connection).expect("an answer").0
    }

    /// Asks again about the last event, which was a note, with the same id.
    pub(crate) fn ask_again_over(&mut self, connection: &mut Raw) -> io::Result<(u16, Vec<u8>)> {
        let Claim { event_id, payload, .. } = self.claims.pop().expect("an event");
        let payload = serde_json::from_str(&payload).expect("JSON");
        self.send(Ok(connection), vec![(event_id, "acme.note".to_owned(), payload)])
    }

    /// Publishes events, each by type and payload, in one request; gives the status and the answer.
    pub(crate) fn write(
        &mut self,
        connection: &mut Raw,
        events: &[(&str, Value)],
    ) -> io::Result<(u16, Vec<u8>)> {
        let named = self.named(events);
        self.send(Ok(connection), named)
    }

    fn named(&self, events: &[(&str, Value)]) -> Vec<(String, String, Value)> {
        let named = |(event_type, payload): &(&str, Value)| {
            (self.ids.next_id().to_string(), (*event_type).to_owned(), payload.clone())
        };
        events.iter().map(named).collect()
    }

    fn send(
        &mut self,
        connection: Result<&mut Raw, &mut io::Error>,
        named: Vec<(String, String, Value)>,
    ) -> io::Result<(u16, Vec<u8>)> {
        let events = named.iter().map(|(event_id, event_type, payload)| {
            json!({
                "event_id": event_id, "event_type": event_type, "plan_id": self.plan,
                "timestamp": "2026-11-22T12:00:00Z", "payload": payload,
            })
        });
        let body = json!({ "events": events.collect::<Vec<_>>() }).to_string();
        let answer = match connection {
            Ok(connection) => connection.post("/v1/events", &body),
            Err(error) => Err(error.kind().into()),
        };
        let told = match &answer {
            Ok((200, answer)) => told(answer),
            Ok((400..500, _)) => vec![Told::Failed; named.len()],
            _ => vec![Told::Unknown; named.len()],
        };
        assert_eq!(told.len(), named.len(), "each event is told of");
        for ((event_id, _, payload), told) in named.into_iter().zip(told) {
            let payload = payload.to_string();
            self.claims.push(Claim { event_id, plan_id: self.plan.clone(), payload, told });
        }
        answer
    }

    /// The last position of which this author was told.
    pub(crate) fn head(&self) -> u64 {
        let position = |claim: &Claim| match claim.told {
            Told::Acked { position, .. } => position,
            _ => 0,
        };
        self.claims.iter().map(position).max().unwrap_or(0)
    }

    /// Holds everything against the log in the file.
    pub(crate) fn check(&self, place: &Place, readings: &[Reading]) -> Counts {
        check(&log_of(place), &self.claims, readings)
    }
}

/// What a server says of the events of a plan that nobody outside of it published.
pub(crate) fn told_of(server: &Server, plan: &str) -> Vec<Claim> {
    let mut claims = Vec::new();
    let mut after = "start".to_owned();
    loop {
        let path = format!("/v1/plans/{plan}/events?limit={PAGE_EVENTS}&after={after}");
        let page = server.http.get(&path).json(200);
        let events = page["events"].as_array().expect("a list");
        claims.extend(events.iter().map(claim_of));
        if events.len() < PAGE_EVENTS {
            return claims;
        }
        page["next"].as_str().expect("a cursor").clone_into(&mut after);
    }
}

fn claim_of(event: &Value) -> Claim {
    let text = |name: &str| event[name].as_str().expect("a text").to_owned();
    let number = |name: &str| event[name].as_u64().expect("a number");
    Claim {
        event_id: text("event_id"),
        plan_id: text("plan_id"),
        payload: event["payload"].to_string(),
        told: Told::Acked { position: number("position"), seq: number("seq") },
    }
}

/// Follows the log on a thread until its stream ends, or `until` came.
pub(crate) fn follow(server: &Server, until: Option<u64>) -> std::thread::JoinHandle<Reading> {
    let url = server.url.clone();
    std::thread::spawn(move || {
        let mut reading = Reading::default();
        let Ok(mut stream) = RawStream::open(&url, "/v1/events", None) else { return reading };
        while let Ok(Some(frames)) = stream.frames() {
            for frame in frames.iter().filter(|frame| !frame.data.is_empty()) {
                reading.delivered.push((frame.position(), digest(&frame.data)));
            }
            let position = frames.last().and_then(|frame| frame.id.as_deref()).map_or(0, position_of);
            if until.is_some_and(|until| position >= until) {
                break;
            }
        }
        reading
    })
}
