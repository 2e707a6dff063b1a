//! A log that cannot be written any more: readers are answered a little longer, then the restart decides.

use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};

use crate::faults::checker::Counts;
use crate::faults::row::Row;
use crate::harness::{Place, Running};
use crate::http::Http;

/// A server whose files may not grow beyond a few MiB. The kernel then fails the write itself, as a broken disk does.
fn serve_on_a_broken_disk(place: &Place) -> (Running, Http) {
    // The signal that would end the process is ignored, so that the write returns an error.
    let line = "trap '' XFSZ; ulimit -f 6000; exec \"$0\" --json serve --listen 127.0.0.1:0";
    let plain = place.command::<&str>(&[]);
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).arg(plain.get_program());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    let mut running = Running::start(shell);
    let greeting: Value = serde_json::from_str(&running.line().expect("a greeting")).expect("JSON");
    (running, Http::new(greeting["url"].as_str().expect("an address")))
}

#[test]
fn readers_are_answered_and_then_the_server_exits_with_74() {
    let place = Place::new();
    let (running, http) = serve_on_a_broken_disk(&place);
    let started = json!({"event_type": "PlanStarted", "plan_id": "p", "payload": {"name": "n"}});
    http.post("/v1/events", &started).json(200);
    let filling =
        json!({"event_type": "acme.fill", "plan_id": "p", "payload": {"text": "x".repeat(100_000)}});
    let mut acknowledged = 1;
    let refused = loop {
        let answer = http.post("/v1/events", &filling);
        if answer.status != 200 {
            break answer;
        }
        acknowledged += 1;
        assert!(acknowledged < 1_000, "the disk never breaks");
    };
    let failed = Instant::now();
    assert!(refused.status >= 500, "{refused:?}");
    assert!(acknowledged > 10, "{acknowledged}");
    // Nothing more is taken, and what was acknowledged can be read.
    assert_eq!(http.post("/v1/events", &filling).status, 503);
    assert_eq!(http.get("/readyz").status, 503);
    assert_eq!(http.get("/healthz").status, 200);
    let page = http.get("/v1/events?limit=1000").json(200);
    assert!(page["events"].as_array().is_some_and(|events| events.len() >= acknowledged), "{acknowledged}");
    let (status, _) = running.end();
    let ended = failed.elapsed();
    assert_eq!(status.code(), Some(74), "after {ended:?}");
    // The restart decides: all that was acknowledged is there, and the log takes events again.
    let server = place.serve(&[]);
    let events = place.run(&["--json", "events"]).json(0);
    assert!(
        events.len() == acknowledged || events.len() == acknowledged + 1,
        "{acknowledged}: {}",
        events.len()
    );
    server.http.post("/v1/events", &filling).json(200);
    assert!(server.stop().success());
    let counts = Counts { stored: events.len(), acked: acknowledged, ..Counts::default() };
    Row::new("files that may not grow (EFBIG)", "1 time")
        .counts(counts)
        .figure(format!("readers answered for 10 s, exit 74 after {} ms", ended.as_millis()))
        .check();
}
