//! PostgreSQL stands still (`SIGSTOP`), or is away for longer than anybody waits.

use std::time::{Duration, Instant};

use planwire_event::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::super::chance::{Chance, count};
use super::super::crowd::survive_on;
use super::super::row::Row;
use super::{CROWD, Pair, assert_streams_stayed, refusals_of};
use crate::cluster::{Cluster, Stop, send};
use crate::harness::Server;
use crate::http::Answer;

const EVENTS_BETWEEN: u64 = 50;
/// Longer than the writer tries to find out what became of its last batch, and then to connect once more.
const AWAY: Duration = Duration::from_secs(22);

#[test]
fn soak_postgres_that_stands_still_is_waited_for() {
    let (pauses, seconds) = (count(2, 4), count(2, 30));
    let Some(cluster) = Cluster::start("postgres stopped") else { return };
    let pair = Pair::on(&cluster);
    let (mut back, mut refused) = (Vec::new(), String::new());
    let survived = survive_on(pair.place(), CROWD, Chance::of(6), |stage, _| {
        let servers = pair.begin(stage);
        for _ in 0..pauses {
            stage.go_on(EVENTS_BETWEEN);
            let processes = cluster.hold();
            send("STOP", &processes);
            std::thread::sleep(Duration::from_secs(seconds));
            send("CONT", &processes);
            back.push(stage.go_on(1));
        }
        refused = refusals_of(stage);
        servers
    });
    pair.verify();
    assert_streams_stayed(&survived, CROWD);
    Row::new("PostgreSQL stopped (SIGSTOP)", format!("{pauses} times {seconds} s"))
        .counts(survived.counts)
        .times("acknowledged again after", &mut back)
        .figure(refused)
        .check();
}

#[test]
fn soak_postgres_that_is_away_is_told_as_such_and_writing_resumes_by_itself() {
    let times = count(1, 10);
    let Some(mut cluster) = Cluster::start("postgres away") else { return };
    let pair = Pair::on(&cluster);
    let (mut back, mut figures, mut heartbeats) = (Vec::new(), Vec::new(), 0);
    let survived = survive_on(pair.place(), CROWD, Chance::of(18), |stage, _| {
        let servers = pair.begin(stage);
        for _ in 0..times {
            stage.go_on(EVENTS_BETWEEN);
            cluster.stop(Stop::Immediate);
            heartbeats += stay_away(&servers[0]);
            cluster.run();
            back.push(stage.go_on(1));
        }
        let (_, slowest_ms) = stage.refused();
        figures = vec![refusals_of(stage), format!("no request waited longer than {slowest_ms} ms")];
        assert!(stage.kinds().contains_key("store-unreachable"), "{figures:?}");
        servers
    });
    pair.verify();
    assert_streams_stayed(&survived, CROWD);
    let row = Row::new("PostgreSQL away", format!("{times} times {} s", AWAY.as_secs()))
        .counts(survived.counts)
        .times("from being back to the first acknowledgement", &mut back)
        .figure(format!("{heartbeats} heartbeats on a stream meanwhile"));
    figures.into_iter().fold(row, Row::figure).check();
}

/// While nobody is there: what cannot be answered says so and when to ask again, what was open stays, and the server is
/// not taken for dead. Gives the heartbeats of a stream that began meanwhile.
fn stay_away(server: &Server) -> usize {
    let (begun, begun_at) = (Instant::now(), SystemClock.now().to_string());
    let mut stream = server.http.stream("/v1/events?after=now", None);
    assert_eq!(server.http.get("/healthz").status, 200);
    check_unreachable(&server.http.get("/v1/plans"));
    let event = json!({"event_type": "PlanStarted", "plan_id": "away", "payload": {"name": "away"}});
    check_unreachable(&server.http.post("/v1/events", &event));
    let mut heartbeats = 0;
    while begun.elapsed() < AWAY {
        let frame = stream.frame().expect("a stream that stays");
        if frame.data.is_empty() {
            heartbeats += 1;
            continue;
        }
        // What was stored before may be told late, if its server heard late that it was.
        let event: Value = serde_json::from_str(&frame.data).expect("an event");
        let recorded_at = event["recorded_at"].as_str().expect("a time");
        assert!(recorded_at <= begun_at.as_str(), "an event while nothing is stored: {frame:?}");
    }
    heartbeats
}

fn check_unreachable(answer: &Answer) {
    assert_eq!(answer.json(503)["type"], "urn:planwire:problem:store-unreachable");
    assert!(answer.head.to_ascii_lowercase().contains("\r\nretry-after: "), "{answer:?}");
}
