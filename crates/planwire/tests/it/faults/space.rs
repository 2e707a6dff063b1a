//! A disk that is full, and has room again.

use std::time::{Duration, Instant};

use serde_json::json;

use super::author::{Author, follow};
use super::chance::count;
use super::checker::{Counts, Told};
use super::mount::Mounted;
use super::row::Row;
use crate::harness::{Place, eventually};

const DISK_MIB: u64 = 8;
/// Space that is taken from the log, and given back.
const BALLAST_BYTES: usize = 4 << 20;
const EVENT_BYTES: usize = 20_000;
const EVENTS_MAX: u64 = 2_000;

#[test]
fn soak_full_disk_is_refused_read_and_followed_and_writing_resumes_when_there_is_space() {
    let rounds = count(3, 20);
    let mut times = Vec::new();
    let mut sum = Counts::default();
    for _ in 0..rounds {
        let Some(disk) = Mounted::tmpfs("disk full", DISK_MIB) else { return };
        let place = Place::on(disk.point().join("data"));
        let server = place.serve(&[]);
        let ballast = disk.point().join("ballast");
        std::fs::write(&ballast, vec![0; BALLAST_BYTES]).expect("there is space for it");
        let mut author = Author::begin(&server);
        assert_eq!(author.note_until_refused(&server, EVENT_BYTES, EVENTS_MAX), Some(503));
        let event = json!({
            "event_type": "acme.note", "plan_id": "author", "payload": {"text": "x".repeat(EVENT_BYTES)},
        });
        let answer = server.http.post("/v1/events", &event);
        assert!(answer.status == 503 && answer.body.contains("store-full"), "{answer:?}");
        assert!(answer.head.to_ascii_lowercase().contains("\r\nretry-after: "), "{answer:?}");
        assert_eq!(server.http.get("/v1/events?limit=1000").status, 200);
        let head = author.head();
        let reader = follow(&server, Some(head + 1));
        std::fs::remove_file(&ballast).expect("the ballast is there");
        let freed = Instant::now();
        eventually("the first event that is stored again", || {
            (author.ask_again(&server) == 200).then_some(())
        });
        times.push(freed.elapsed());
        let reading = reader.join().expect("a reader");
        assert_eq!(reading.delivered.len() as u64, head + 1);
        assert_eq!(server.stop().code(), Some(0));
        // Of what was refused, only what was asked again is stored.
        author.claims.retain(|claim| claim.told != Told::Unknown);
        sum.add(author.check(&place, &[reading]));
    }
    let slowest = times.iter().max().copied().unwrap_or(Duration::MAX).as_millis();
    Row::new("disk full (tmpfs)", format!("{rounds} times"))
        .counts(sum)
        .figure(format!("acknowledged again {slowest} ms after there is space, at most"))
        .check();
}
