//! Publishing by HTTP.

use serde_json::{Value, json};

use crate::client::{Client, get, post, request};
use crate::served::{Fault, Served};

fn note(plan: &str) -> Value {
    json!({ "event_type": "acme.note", "plan_id": plan, "payload": { "n": 1 } })
}

#[tokio::test]
async fn one_event_is_stored_and_its_place_answered() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let answer = post(served.address, "/v1/events", &note("p").to_string()).await;
    assert_eq!(answer.status, 200);
    insta::assert_snapshot!(answer.text());
    let event = get(served.address, "/v1/events?after=7Q4M2K9A-0000000000000001").await.json();
    assert_eq!(event["events"][0]["payload"], json!({ "n": 1 }));
}

#[tokio::test]
async fn producer_is_set_by_the_door() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let mut forged = note("p");
    forged["seq"] = 99.into();
    forged["position"] = 99.into();
    let answer = post(served.address, "/v1/events", &forged.to_string()).await;
    let event_id = answer.json()["events"][0]["event_id"].as_str().unwrap().parse().unwrap();
    let stored = served.bus.repository().by_event_ids(&[event_id]).await.unwrap();
    assert_eq!(stored[0].meta.producer.as_str(), "http:anonymous");
    assert_eq!((stored[0].seq.get(), stored[0].position.get()), (2, 2));
}

#[tokio::test]
async fn list_is_stored_in_its_order_and_repetition_answers_the_first_places() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let events: Vec<_> = (0..3)
        .map(|n| {
            let mut event = note("p");
            event["event_id"] = format!("01JD8C3V5K7QW9X2Y4Z6A8B0C{n}").into();
            event["payload"]["n"] = n.into();
            event
        })
        .collect();
    let body = json!({ "events": events }).to_string();
    let first = post(served.address, "/v1/events", &body).await.json();
    let again = post(served.address, "/v1/events", &body).await.json();
    for n in 0..3 {
        let (first, again) = (&first["events"][n], &again["events"][n]);
        assert_eq!((first["seq"].as_u64(), first["duplicate"].as_bool()), (Some(n as u64 + 2), Some(false)));
        assert!(first.get("retry_safe").is_none(), "a publisher that names its events can ask again");
        assert_eq!((&first["cursor"], again["duplicate"].as_bool()), (&again["cursor"], Some(true)));
    }
}

#[tokio::test]
async fn export_line_can_be_published_as_it_is() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let line = get(served.address, "/v1/events").await.json()["events"][0].clone();
    let answer = post(served.address, "/v1/events", &line.to_string()).await.json();
    assert_eq!(answer["events"][0]["duplicate"], true);
}

#[tokio::test]
async fn refused_request_names_the_event_and_stores_nothing() {
    let served = Served::start().await;
    served.start_plan("p").await;
    served.start_plan("ended").await;
    served.end_plan("ended").await;
    let completed =
        json!({ "event_type": "ToolCompleted", "plan_id": "p", "payload": { "call_id": "c", "ok": true } });
    let spawned = json!({ "event_type": "PlanStarted", "plan_id": "q", "payload": { "name": "q", "parent_plan_id": "nobody" } });
    let head = served.bus.tail();
    for (bad, refusal) in [
        (note("nobody"), "plan_not_started"),
        (note("ended"), "plan_ended"),
        (completed, "call_unknown"),
        (spawned, "parent_unknown"),
        (
            json!({ "event_type": "PlanStarted", "plan_id": "p", "payload": { "name": "p" } }),
            "already_started",
        ),
    ] {
        let body = json!({ "events": [note("p"), bad] }).to_string();
        let answer = post(served.address, "/v1/events", &body).await;
        assert_eq!((answer.status, answer.problem().as_str()), (409, "event-refused"), "{refusal}");
        assert_eq!((&answer.json()["index"], &answer.json()["refusal"]), (&json!(1), &json!(refusal)));
    }
    assert_eq!(served.bus.tail(), head);
    insta::assert_snapshot!(post(served.address, "/v1/events", &note("ended").to_string()).await.text());
}

#[tokio::test]
async fn event_id_that_is_taken_by_other_content_is_a_conflict() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let mut event = note("p");
    event["event_id"] = "01JD8C3V5K7QW9X2Y4Z6A8B0CE".into();
    assert_eq!(post(served.address, "/v1/events", &event.to_string()).await.status, 200);
    event["payload"]["n"] = 2.into();
    let answer = post(served.address, "/v1/events", &event.to_string()).await;
    assert_eq!((answer.status, answer.problem().as_str()), (409, "event-conflict"));
    insta::assert_snapshot!(answer.text());
}

#[tokio::test]
async fn bad_input_gets_its_typed_answer() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let event = |payload: &str| format!(r#"{{"event_type":"acme.note","plan_id":"p","payload":{payload}}}"#);
    let plan = |plan: &str| json!({ "event_type": "acme.note", "plan_id": plan }).to_string();
    let deep = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let large = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    let cases = [
        (String::new(), 400, "body-malformed"),
        ("{".into(), 400, "body-malformed"),
        ("[]".into(), 400, "body-malformed"),
        (r#"{"events":[]}"#.into(), 400, "body-malformed"),
        (r#"{"events":{}}"#.into(), 400, "body-malformed"),
        (r#"{"events":[],"more":1}"#.into(), 400, "body-malformed"),
        (r#"{"events":[7]}"#.into(), 400, "event-invalid"),
        ("{}".into(), 400, "event-invalid"),
        (r#"{"event_type":"Nonsense","plan_id":"p"}"#.into(), 400, "event-invalid"),
        (r#"{"event_type":"acme.note","plan_id":"p","payload":[]}"#.into(), 400, "event-invalid"),
        (r#"{"event_type":"acme.note","plan_id":"p","event_type":"acme.note"}"#.into(), 400, "event-invalid"),
        (r#"{"event_type":"acme.note","plan_id":"p","event_id":"1"}"#.into(), 400, "event-invalid"),
        (
            r#"{"event_type":"acme.note","plan_id":"p","timestamp":"2026-12-31T23:59:60Z"}"#.into(),
            400,
            "event-invalid",
        ),
        (plan("a\nb"), 400, "event-invalid"),
        (plan("a\0"), 400, "event-invalid"),
        (plan("."), 400, "event-invalid"),
        (plan("*"), 400, "event-invalid"),
        (plan(">"), 400, "event-invalid"),
        (plan("%"), 400, "event-invalid"),
        (plan("'"), 400, "event-invalid"),
        (plan("ｐ"), 400, "event-invalid"),
        (plan(&"p".repeat(1_000_000)), 400, "event-invalid"),
        (event(&deep(65)), 400, "event-invalid"),
        (event(&deep(5_000)), 400, "event-invalid"),
        (event(&large(256 * 1024 + 1)), 413, "payload-too-large"),
        (event(r#"{"a":"\u0000"}"#), 400, "event-invalid"),
        (event(r#"{"a":"\ud800"}"#), 400, "event-invalid"),
        (event(r#"{"a":1,"a":2}"#), 400, "event-invalid"),
        (event(r#"{"a":1e400}"#), 400, "event-invalid"),
        (event(r#"{"a":99999999999999999999}"#), 400, "event-invalid"),
        (event(&large(1024 * 1024)), 413, "body-too-large"),
    ];
    let head = served.bus.tail();
    for (body, status, problem) in cases {
        let answer = post(served.address, "/v1/events", &body).await;
        let excerpt: String = body.chars().take(80).collect();
        assert_eq!((answer.status, answer.problem().as_str()), (status, problem), "{excerpt}: {answer:?}");
        assert!(answer.body.len() < 2_000, "an answer does not echo what it got: {excerpt}");
    }
    assert_eq!(served.bus.tail(), head);
    for good in [r#"{"a":-0}"#, r#"{"a":9007199254740993}"#, &large(256 * 1024), &deep(63)] {
        assert_eq!(post(served.address, "/v1/events", &event(good)).await.status, 200);
    }
    let future = r#"{"event_type":"acme.note","plan_id":"p","timestamp":"9999-01-01T00:00:00Z"}"#;
    assert_eq!(post(served.address, "/v1/events", future).await.status, 200);
}

#[tokio::test]
async fn problem_of_an_event_says_which_and_what() {
    let served = Served::start().await;
    let body =
        json!({ "events": [note("p"), { "event_type": "ToolCalled", "plan_id": "p", "payload": {} }] });
    insta::assert_snapshot!(post(served.address, "/v1/events", &body.to_string()).await.text());
}

#[tokio::test]
async fn a_thousand_events_are_taken_and_not_one_more() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let body = |events: usize| json!({ "events": vec![note("p"); events] }).to_string();
    let answer = post(served.address, "/v1/events", &body(1001)).await;
    assert_eq!((answer.status, answer.problem().as_str()), (413, "too-many-events"));
    assert_eq!(answer.json()["max_events"], 1000);
    let answer = post(served.address, "/v1/events", &body(1000)).await;
    assert_eq!(answer.json()["events"].as_array().unwrap().len(), 1000);
}

#[tokio::test]
async fn body_without_length_is_read_up_to_the_limit() {
    let served = Served::start().await;
    let mut client = Client::connect(served.address).await;
    client
        .send("POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    for _ in 0..17 {
        client.send(&chunk).await;
    }
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.problem().as_str()), (413, "body-too-large"));
}

#[tokio::test]
async fn body_that_is_not_utf8_is_refused() {
    let served = Served::start().await;
    let mut client = Client::connect(served.address).await;
    client
        .send(b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n\xff\xfe")
        .await;
    assert_eq!(client.answer().await.problem(), "body-malformed");
}

#[tokio::test]
async fn full_disk_is_503_until_there_is_space_and_reads_go_on() {
    let served = Served::start().await;
    served.start_plan("p").await;
    for (fault, problem) in
        [(Fault::FULL, "store-full"), (Fault::BUSY, "store-busy"), (Fault::FAILED, "store-failed")]
    {
        served.fault.set(fault);
        let answer = post(served.address, "/v1/events", &note("p").to_string()).await;
        assert_eq!((answer.status, answer.problem().as_str()), (503, problem));
        assert_eq!(answer.header("retry-after"), Some("2"));
        assert!(!answer.text().contains("secret"), "texts of the database stay here");
        assert_eq!(get(served.address, "/readyz").await.status, 200);
        assert_eq!(get(served.address, "/v1/events").await.status, 200);
    }
    served.fault.set(Fault::NONE);
    assert_eq!(post(served.address, "/v1/events", &note("p").to_string()).await.status, 200);
}

#[tokio::test]
async fn unknown_outcome_asks_to_try_again_with_the_same_id_and_stops_the_writer() {
    let served = Served::start().await;
    served.start_plan("p").await;
    assert_eq!(get(served.address, "/readyz").await.json()["status"], "ready");
    served.fault.set(Fault::UNKNOWN);
    let answer = post(served.address, "/v1/events", &note("p").to_string()).await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "outcome-unknown"));
    insta::assert_snapshot!(answer.text());
    assert_eq!(
        answer.json()["retry_safe"],
        false,
        "it came without ids; under those of the answer it is safe"
    );
    assert_eq!(answer.json()["event_ids"].as_array().unwrap().len(), 1);
    served.fault.set(Fault::NONE);
    let answer = post(served.address, "/v1/events", &note("p").to_string()).await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "writer-stopped"));
    let ready = get(served.address, "/readyz").await;
    assert_eq!((ready.status, ready.problem().as_str()), (503, "writer-stopped"));
    assert!(!ready.text().contains("secret"));
    assert_eq!(get(served.address, "/healthz").await.json()["status"], "ok");
    assert_eq!(get(served.address, "/v1/events").await.json()["events"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn publishing_needs_a_json_content_type() {
    let served = Served::start().await;
    let body = note("p").to_string();
    for media in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let header = format!("Content-Type: {media}");
        let answer = request(served.address, "POST", "/v1/events", &[&header], &body).await;
        assert_eq!((answer.status, answer.problem().as_str()), (415, "content-type-unsupported"));
    }
    assert_eq!(request(served.address, "POST", "/v1/events", &[], &body).await.status, 415);
}
