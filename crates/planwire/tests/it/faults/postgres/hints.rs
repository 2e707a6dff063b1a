//! Notifications that nobody hears: readers learn of another server's events all the same.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::chance::{Chance, count};
use super::super::checker::Told;
use super::super::crowd::{survive_on, told};
use super::super::raw::{Raw, RawStream};
use super::super::row::Row;
use super::{CROWD, Pair, assert_streams_stayed};
use crate::cluster::Cluster;
use crate::harness::{PATIENCE, Server};
use crate::proxy::{Mode, Proxy};

/// Events of which each is seen before the next.
const HEARD: u64 = 100;
const LISTENERS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
    WHERE application_name LIKE 'planwire %' AND query LIKE 'LISTEN %'";

#[test]
fn soak_postgres_notifications_that_nobody_hears_delay_events_of_others_and_lose_none() {
    let events = count(1_500, 30_000);
    let unheard = count(8, 100);
    let Some(cluster) = Cluster::start("postgres hints") else { return };
    let proxy = Proxy::start(cluster.port());
    let url = || cluster.url_at(proxy.port(), "planwire");
    let pair = Pair::at([url(), url()]);
    let mut killed = 0;
    let survived = survive_on(pair.place(), CROWD, Chance::of(14), |stage, _| {
        let servers = pair.begin(stage);
        stage.go_on(1);
        proxy.set(Mode::Unheard);
        stage.go_on(events / 2);
        proxy.set(Mode::Pass);
        let goal = stage.acked() + events / 2;
        while stage.acked() < goal {
            // Each listener that comes back is killed again.
            killed += cluster.sql(LISTENERS).lines().count();
            stage.go_on(1);
        }
        servers
    });
    let servers = pair.0.each_ref().map(|place| place.serve(&[]));
    let mut with = delays(&servers, "heard", HEARD);
    proxy.set(Mode::Unheard);
    let mut without = delays(&servers, "unheard", unheard);
    assert!(servers.into_iter().all(|server| server.stop().success()));
    pair.verify();
    assert_streams_stayed(&survived, CROWD);
    let fault = "notifications of PostgreSQL swallowed, their listeners killed";
    Row::new(fault, format!("{events} events and more, {killed} kills"))
        .counts(survived.counts)
        .figure(format!("never delivered {}", survived.counts.broken.gap))
        .times("seen at the other server after its acknowledgement, with notifications", &mut with)
        .times("without", &mut without)
        .check();
}

/// Publishes at one server what is followed at the other, one event after the other; gives the times from the answer to
/// the event.
fn delays([here, there]: &[Server; 2], plan: &str, events: u64) -> Vec<Duration> {
    let event = |event_type: &str, payload: Value| json!({"event_type": event_type, "plan_id": plan, "payload": payload});
    here.http.post("/v1/events", &event("PlanStarted", json!({"name": plan}))).json(200);
    let mut stream = RawStream::open(&there.url, "/v1/events?after=now", None).expect("a stream");
    let (saw, seen) = mpsc::channel();
    let (begun, follows) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        while let Ok(Some(frames)) = stream.frames() {
            // The head of the answer, or a heartbeat.
            let _ = begun.send(());
            for frame in frames.iter().filter(|frame| !frame.data.is_empty()) {
                if saw.send((frame.position(), Instant::now())).is_err() {
                    return;
                }
            }
        }
    });
    follows.recv().expect("a stream that has begun");
    let mut connection = Raw::connect(&here.url).expect("a server");
    let delays = (0..events).map(|number| {
        let note = event("acme.note", json!({ "number": number })).to_string();
        let (status, answer) = connection.post("/v1/events", &note).expect("an answer");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        let (answered, position) = (Instant::now(), told(&answer)[0]);
        loop {
            // Events before it may come too.
            let (seen, at) = seen.recv_timeout(PATIENCE).expect("an event of the other server");
            if !matches!(position, Told::Acked { position, .. } if position > seen) {
                break at.saturating_duration_since(answered);
            }
        }
    });
    let delays = delays.collect();
    drop((seen, reader));
    delays
}
