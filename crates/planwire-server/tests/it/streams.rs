//! Following events as they happen.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use planwire_event::vocabulary::{PlanFailed, SubplanCompleted};
use planwire_server::config::SSE_REPLAYS_MAX;
use planwire_store::MemoryStore;
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use crate::client::{Client, Stream, get, post, request};
use crate::served::{FaultyRepository, Served, eventually};

const SSE: &str = "Accept: text/event-stream";

#[tokio::test]
async fn stream_replays_and_then_follows() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let mut stream = Stream::open(served.address, "/v1/plans/p/events", &[]).await;
    let mut frames = vec![stream.frame().await.unwrap(), stream.frame().await.unwrap()];
    served.note_of("p", 1, "line one\nline two \u{2028}").await;
    frames.push(stream.frame().await.unwrap());
    served.end_plan("p").await;
    while let Some(frame) = stream.frame().await {
        frames.push(frame);
    }
    insta::assert_snapshot!(frames.join("\n\n"));
}

#[tokio::test]
async fn frames_for_onmessage_have_no_event_field() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let mut stream = Stream::open(served.address, "/v1/events?plan_id=p&event_field=off", &[]).await;
    let frame = stream.event().await.unwrap();
    assert_eq!(frame.event, None);
    assert_eq!(frame.data["event_type"], "PlanStarted");
}

#[tokio::test]
async fn proxies_are_told_to_pass_frames_on() {
    let served = Served::start().await;
    let mut client = Client::connect(served.address).await;
    client.ask("GET", "/v1/events", &[SSE], "").await;
    let head = client.head().await;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(head.header(name), Some(value));
    }
    assert_eq!(head.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn stream_has_its_connection_to_itself_and_says_so() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let mut client = Client::connect(served.address).await;
    client.ask("GET", "/healthz", &[], "").await;
    assert_eq!(client.answer().await.header("connection"), None, "before it, requests share a connection");
    client.ask("GET", "/v1/plans/p/events", &[SSE], "").await;
    let head = client.head().await;
    assert_eq!(head.header("connection"), Some("close"));
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    let date = head.header("date").unwrap();
    assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
    let mut stream = Stream::of(client);
    stream.event().await.unwrap();
    // Nobody answers what comes during a stream, and it does not disturb it.
    stream.client.ask("GET", "/healthz", &["X-Padding: more than is read at a time"], "").await;
    served.end_plan("p").await;
    assert_eq!(stream.event().await.unwrap().data["event_type"], "PlanCompleted");
    assert_eq!(stream.event().await.unwrap().event.as_deref(), Some("end"));
    assert_eq!(stream.frame().await, None);
    assert_eq!(stream.client.rest().await, b"");
}

#[tokio::test]
async fn heartbeats_carry_what_was_looked_at() {
    let heartbeat = Duration::from_millis(20);
    let served = Served::with(|config| config.limits.heartbeat = heartbeat, None).await;
    served.start_plan("quiet").await;
    let mut stream = Stream::open(served.address, "/v1/plans/quiet/events?after=now", &[]).await;
    assert!(stream.frame().await.unwrap().starts_with(": planwire\nretry: "));
    let tail = served.start_plan("loud").await;
    let wanted = format!(": hb\nid: {tail}");
    tokio::time::timeout(Duration::from_secs(10), async { while stream.frame().await.unwrap() != wanted {} })
        .await
        .unwrap();
    // A reader that was cut off here goes on without looking at the other plan's events again.
    served.note("quiet", 1).await;
    let mut again =
        Stream::open(served.address, "/v1/plans/quiet/events", &[&format!("Last-Event-ID: {tail}")]).await;
    assert_eq!(again.event().await.unwrap().data["payload"]["n"], 1);
}

#[tokio::test]
async fn stream_of_an_ended_plan_ends_and_a_reconnect_gets_204() {
    let served = Served::start().await;
    let first = served.start_plan("p").await;
    let last = served.end_plan("p").await;
    // The end does not depend on which types were asked for.
    let mut stream = Stream::open(served.address, "/v1/plans/p/events?event_type=acme.note", &[]).await;
    let end = stream.event().await.unwrap();
    assert_eq!((end.event.as_deref(), &end.id, &end.data), (Some("end"), &last, &json!({ "plan_id": "p" })));
    assert!(stream.frame().await.is_none());
    for header in [format!("Last-Event-ID: {last}"), "X-Nothing: here".to_owned()] {
        let target =
            if header.starts_with("Last") { "/v1/plans/p/events" } else { "/v1/plans/p/events?after=now" };
        let answer = request(served.address, "GET", target, &[SSE, &header], "").await;
        assert_eq!((answer.status, answer.text()), (204, ""));
    }
    let mut rest =
        Stream::open(served.address, "/v1/plans/p/events", &[&format!("Last-Event-ID: {first}")]).await;
    assert_eq!(rest.event().await.unwrap().id, last);
}

#[tokio::test]
async fn tree_is_followed_with_all_its_subplans_until_its_root_ends() {
    let served = Served::start().await;
    served.start_plan("root").await;
    let mut stream = Stream::open(served.address, "/v1/plans/root/events?tree=true", &[]).await;
    let mut plan = Stream::open(served.address, "/v1/plans/root/events", &[]).await;
    served.start_plan("other").await;
    served.spawn_plan("root", "child").await;
    served.spawn_plan("child", "grandchild").await;
    for ended in ["grandchild", "child"] {
        let failed: PlanFailed =
            serde_json::from_value(json!({ "reason": "error", "error": { "code": "x", "message": "y" } }))
                .unwrap();
        served.publish(ended, &failed).await;
    }
    let completed: SubplanCompleted =
        serde_json::from_value(json!({ "child_plan_id": "child", "ok": false })).unwrap();
    served.publish("root", &completed).await;
    served.end_plan("root").await;
    let mut seen = Vec::new();
    while let Some(frame) = stream.event().await {
        seen.push(format!("{} {}", frame.data["plan_id"].as_str().unwrap(), frame.event.unwrap()));
    }
    assert_eq!(
        seen,
        [
            "root PlanStarted",
            "root SubplanSpawned",
            "child PlanStarted",
            "child SubplanSpawned",
            "grandchild PlanStarted",
            "grandchild PlanFailed",
            "child PlanFailed",
            "root SubplanCompleted",
            "root PlanCompleted",
            "root end",
        ]
    );
    let mut own = 0;
    while let Some(frame) = plan.event().await {
        assert_eq!(frame.data["plan_id"], "root");
        own += 1;
    }
    assert_eq!(own, 5);
}

#[tokio::test]
async fn bad_cursors_are_answered_and_never_waited_on() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let long = "9".repeat(9_000);
    for (id, status, problem) in [
        ("", 400, "cursor-malformed"),
        ("-1", 400, "cursor-malformed"),
        ("9223372036854775808", 400, "cursor-malformed"),
        ("7Q4M2K9A-000000000000000é", 400, "cursor-malformed"),
        (&long, 400, "cursor-malformed"),
        ("7Q4M2K9A-0000000000000002", 409, "cursor-beyond-head"),
        ("ZZZZZZZZ-0000000000000001", 409, "cursor-other-log"),
    ] {
        for accept in [SSE, "Accept: application/json"] {
            let header = format!("Last-Event-ID: {id}");
            let answer = request(served.address, "GET", "/v1/plans/p/events", &[accept, &header], "").await;
            assert_eq!((answer.status, answer.problem().as_str()), (status, problem), "{id}");
        }
    }
    let unknown = request(served.address, "GET", "/v1/plans/nobody/events", &[SSE], "").await;
    assert_eq!((unknown.status, unknown.problem().as_str()), (404, "plan-unknown"));
}

#[tokio::test]
async fn a_client_cut_at_any_byte_resumes_with_every_event_once() {
    const EVENTS: usize = 120;
    const CUTS: usize = 150;
    let served = Served::start().await;
    served.start_plan("p").await;
    for n in 1..EVENTS {
        served.note_of("p", n, &"é".repeat(n * 7 % 300)).await;
    }
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for _ in 0..CUTS / 10 {
        let (mut cursor, mut seen) = (None, Vec::new());
        while seen.len() < EVENTS {
            let header =
                cursor.as_ref().map_or("X-First: yes".to_owned(), |id| format!("Last-Event-ID: {id}"));
            let mut client = Client::connect(served.address).await;
            client.ask("GET", "/v1/plans/p/events", &[SSE, &header, "Connection: close"], "").await;
            client.head().await;
            // The body is chunked; cutting the decoded text at any byte covers cuts within a frame.
            let wanted = usize::try_from(random(12_000)).unwrap();
            let mut text = Vec::new();
            while text.len() < wanted && !all_there(&text, seen.len(), EVENTS) {
                text.extend(client.chunk().await.unwrap());
            }
            text.truncate(wanted);
            let text = String::from_utf8_lossy(&text);
            let whole = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
            for frame in whole.split("\n\n") {
                for line in frame.lines() {
                    if let Some(id) = line.strip_prefix("id: ") {
                        cursor = Some(id.to_owned());
                    }
                    if let Some(data) = line.strip_prefix("data: ") {
                        let event: serde_json::Value = serde_json::from_str(data).unwrap();
                        seen.push(event["seq"].as_u64().unwrap());
                    }
                }
            }
        }
        let expected: Vec<_> = (1..=EVENTS as u64).collect();
        assert_eq!(seen, expected);
    }
    eventually("every cut client is unsubscribed", || served.bus.counters().subscriptions_open == 0).await;
}

fn all_there(text: &[u8], before: usize, all: usize) -> bool {
    before + String::from_utf8_lossy(text).matches("\ndata: ").count() >= all && text.ends_with(b"\n\n")
}

#[tokio::test]
async fn clients_that_leave_are_unsubscribed() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let mut streams = Vec::new();
    for _ in 0..40 {
        streams.push(Stream::open(served.address, "/v1/plans/p/events", &[]).await);
    }
    assert_eq!(served.bus.counters().subscriptions_open, 40);
    // Half leave politely, half with a reset.
    for (n, stream) in streams.into_iter().enumerate() {
        if n % 2 == 0 {
            let socket = stream.client.stream.into_inner();
            socket.set_zero_linger().unwrap();
        }
    }
    eventually("all are unsubscribed", || served.bus.counters().subscriptions_open == 0).await;
    eventually("all connections are closed", || served.gauges.connections_open() == 0).await;
}

#[tokio::test]
async fn client_that_does_not_read_is_cut_off_and_resumes_by_its_cursor() {
    const EVENTS: usize = 60;
    let served = Served::with(|config| config.limits.write_stall = Duration::from_millis(100), None).await;
    served.start_plan("p").await;
    let mut stalled = Client::connect(served.address).await;
    stalled.ask("GET", "/v1/events", &[SSE], "").await;
    let mut other = Stream::open(served.address, "/v1/events", &[]).await;
    for n in 1..EVENTS {
        served.note_of("p", n, &"x".repeat(200_000)).await;
        other.event().await.unwrap();
    }
    eventually("the stalled client is cut off", || served.gauges.connections_open() == 1).await;
    assert_eq!(served.bus.counters().subscriptions_open, 1);
    let mut got = Vec::new();
    let _ = stalled.stream.read_to_end(&mut got).await;
    let got = String::from_utf8_lossy(&got);
    let mut seen: BTreeSet<u64> = BTreeSet::new();
    let whole = got.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
    let last = whole.rsplit("id: ").next().unwrap().lines().next().unwrap();
    let last_position = u64::from_str_radix(last.split_once('-').unwrap().1, 16).unwrap();
    seen.extend(1..=last_position);
    let header = format!("Last-Event-ID: {last}");
    let mut again = Stream::open(served.address, "/v1/events", &[&header]).await;
    while seen.len() < EVENTS {
        assert!(seen.insert(again.event().await.unwrap().data["position"].as_u64().unwrap()));
    }
}

#[tokio::test]
async fn more_streams_than_may_be_open_are_asked_to_come_back() {
    let served = Served::with(|config| config.limits.streams_max = 1, None).await;
    let first = Stream::open(served.address, "/v1/events", &[]).await;
    let answer = request(served.address, "GET", "/v1/events", &[SSE], "").await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "too-many-streams"));
    assert_eq!(answer.header("retry-after"), Some("2"));
    assert_eq!(request(served.address, "GET", "/v1/events", &[], "").await.status, 200);
    drop(first);
    eventually("the place is free", || served.bus.counters().subscriptions_open == 0).await;
    eventually("the connection is closed", || served.gauges.connections_open() == 0).await;
    Stream::open(served.address, "/v1/events", &[]).await;
}

#[tokio::test]
async fn each_event_is_encoded_once_however_many_read() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = Stream::open(served.address, "/v1/events?after=now", &[]).await;
        stream.frame().await.unwrap();
        streams.push(stream);
    }
    let before = served.bus.counters().encodes;
    for n in 0..10 {
        served.note("p", n).await;
    }
    for stream in &mut streams {
        for n in 0..10 {
            assert_eq!(stream.event().await.unwrap().data["payload"]["n"], n);
        }
    }
    assert_eq!(served.bus.counters().encodes - before, 10);
}

#[tokio::test]
async fn what_streams_have_in_common_is_shared_by_those_alone_who_get_the_same() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let open = async |query: &str| {
        let target = format!("/v1/plans/p/events?after=now{query}");
        let mut stream = Stream::open(served.address, &target, &[]).await;
        stream.frame().await.unwrap();
        stream
    };
    let mut all = [open("").await, open("").await];
    let mut notes = [open("&event_type=acme.note").await, open("&event_type=acme.note").await];
    let mut unnamed = [open("&event_field=off").await, open("&event_field=off").await];
    for round in 0..20 {
        let event = |event_type: &str, n: usize| json!({"event_type": event_type, "plan_id": "p", "payload": {"n": n}});
        // The first and the last are the same for everybody.
        let events = [event("acme.note", round), event("acme.other", round), event("acme.note", round)];
        post(served.address, "/v1/events", &json!({ "events": events }).to_string()).await;
        for stream in all.iter_mut().chain(&mut notes).chain(&mut unnamed) {
            assert_eq!(stream.event().await.unwrap().data["event_type"], "acme.note");
        }
        for stream in all.iter_mut().chain(&mut unnamed) {
            assert_eq!(stream.event().await.unwrap().data["event_type"], "acme.other");
        }
        for stream in &mut all {
            assert_eq!(stream.event().await.unwrap().event.as_deref(), Some("acme.note"));
        }
        for stream in &mut unnamed {
            assert_eq!(stream.event().await.unwrap().event, None);
        }
        for stream in &mut notes {
            assert_eq!(stream.event().await.unwrap().data["payload"]["n"], round);
        }
    }
}

#[tokio::test]
async fn streams_end_cleanly_when_the_server_shuts_down() {
    let mut served = Served::start().await;
    served.start_plan("p").await;
    let mut stream = Stream::open(served.address, "/v1/events", &[]).await;
    let event = stream.event().await.unwrap();
    assert_eq!(event.data["seq"], 1);
    served.stop().await;
    assert!(stream.frame().await.is_none(), "a clean end, no event is missing");
    assert_eq!(served.bus.counters().subscriptions_open, 0);
}

#[tokio::test]
async fn stream_that_is_behind_ends_cleanly_when_the_server_shuts_down() {
    let mut served = Served::start().await;
    served.start_plan("p").await;
    for n in 0..600 {
        served.note_of("p", n, &"x".repeat(10_000)).await;
    }
    let mut client = Client::connect(served.address).await;
    client.ask("GET", "/v1/events", &[SSE], "").await;
    assert_eq!(client.head().await.status, 200);
    let ((), rest) = tokio::join!(served.stop(), client.rest());
    assert!(rest.ends_with(b"\n\n\r\n0\r\n\r\n"), "the last frame is whole");
    assert_eq!(served.bus.counters().subscriptions_open, 0);
}

#[tokio::test]
async fn more_clients_than_may_take_large_steps_get_every_event_in_order() {
    let served = Served::start().await;
    served.start_plan("p").await;
    for n in 0..500 {
        served.note_of("p", n, &"x".repeat(1_000)).await;
    }
    let mut streams = Vec::new();
    for _ in 0..SSE_REPLAYS_MAX + 4 {
        streams.push(Stream::open(served.address, "/v1/plans/p/events", &[]).await);
    }
    served.end_plan("p").await;
    for stream in &mut streams {
        for seq in 1..=502 {
            assert_eq!(stream.event().await.unwrap().data["seq"], seq);
        }
        assert_eq!(stream.event().await.unwrap().event.as_deref(), Some("end"));
        assert!(stream.frame().await.is_none());
    }
}

#[tokio::test]
async fn streams_end_cleanly_when_the_bus_shuts_down() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let mut stream = Stream::open(served.address, "/v1/events", &[]).await;
    stream.event().await.unwrap();
    served.bus.shutdown().await;
    while stream.frame().await.is_some() {}
    let answer = request(served.address, "GET", "/v1/events", &[SSE], "").await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "shutting-down"));
}

#[tokio::test]
async fn stream_that_cannot_be_read_breaks_off_and_goes_on_later() {
    let (writer, repository) = MemoryStore::open("7Q4M2K9A".parse().unwrap());
    let broken = Arc::new(AtomicBool::new(false));
    let repository = Arc::new(FaultyRepository(repository, Arc::clone(&broken)));
    let served = Served::over(writer, repository, |_| {}, None).await;
    served.start_plan("p").await;
    // More than the ring holds, so that the first events come from the store.
    for n in 0..40 {
        served.note_of("p", n, &"x".repeat(250_000)).await;
    }
    broken.store(true, Ordering::SeqCst);
    let mut client = Client::connect(served.address).await;
    client.ask("GET", "/v1/events", &[SSE], "").await;
    assert_eq!(client.head().await.status, 200);
    let rest = client.rest().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a break is no clean end");
    let page = get(served.address, "/v1/events").await;
    assert_eq!(
        (page.status, page.problem().as_str(), &page.json()["position"]),
        (500, "read-failed", &json!(2))
    );
    assert!(!page.text().contains("secret"));
    broken.store(false, Ordering::SeqCst);
    let mut again = Stream::open(served.address, "/v1/events", &[]).await;
    for seq in 1..=41 {
        assert_eq!(again.event().await.unwrap().data["seq"], seq);
    }
}
