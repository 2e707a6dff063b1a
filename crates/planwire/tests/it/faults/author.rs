//! One publisher that waits for each answer, for faults whose moment counts.

use std::io;

use planwire_event::IdGenerator;
use serde_json::{Value, json};

use super::checker::{Claim, Counts, Reading, Told, check, digest};
use super::crowd::{log_of, told};
use super::raw::{Raw, RawStream, position_of};
use crate::harness::{Place, Server};

const PLAN: &str = "author";

/// Writes into one plan, one event after the other, and remembers what it was told.
pub(crate) struct Author {
    ids: IdGenerator,
    written: u64,
    pub(crate) claims: Vec<Claim>,
}

impl Author {
    /// Starts the plan.
    pub(crate) fn begin(server: &Server) -> Self {
        let mut author = Self { ids: IdGenerator::system(), written: 0, claims: Vec::new() };
        let started = json!({"goal": "be told", "inputs": {}, "name": PLAN});
        let (status, _) = author.publish(server, "PlanStarted", &started, "").expect("an answer");
        assert_eq!(status, 200);
        author
    }

    /// Publishes one more event with so many bytes of text; gives the status and the answer.
    pub(crate) fn note(&mut self, server: &Server, bytes: usize) -> io::Result<(u16, Vec<u8>)> {
        self.written += 1;
        let payload = json!({"number": self.written, "text": "x".repeat(bytes)});
        self.publish(server, "acme.note", &payload, "")
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

    /// Asks again about the last event, with the same id.
    pub(crate) fn ask_again(&mut self, server: &Server) -> u16 {
        let Claim { event_id, payload, .. } = self.claims.pop().expect("an event");
        let payload: Value = serde_json::from_str(&payload).expect("JSON");
        self.publish(server, "acme.note", &payload, &event_id).expect("an answer").0
    }

    fn publish(
        &mut self,
        server: &Server,
        event_type: &str,
        payload: &Value,
        event_id: &str,
    ) -> io::Result<(u16, Vec<u8>)> {
        let event_id = if event_id.is_empty() { self.ids.next_id().to_string() } else { event_id.to_owned() };
        let body = json!({
            "event_id": event_id, "event_type": event_type, "plan_id": PLAN,
            "timestamp": "2026-11-22T12:00:00Z", "payload": payload,
        });
        let answer = Raw::connect(&server.url).and_then(|mut raw| raw.post("/v1/events", &body.to_string()));
        let told = match &answer {
            Ok((200, answer)) => told(answer)[0],
            Ok((400..500, _)) => Told::Failed,
            _ => Told::Unknown,
        };
        self.claims.push(Claim { event_id, plan_id: PLAN.to_owned(), payload: payload.to_string(), told });
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
