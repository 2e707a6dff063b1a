//! What a message of A2A leads to, and what it must not.

use planwire_event::EventType;
use serde_json::{Value, json};

use crate::a2a_desk::{
    EXTENDED, JSON, VERSION, ask, call, call_with, desk, events, fields, greeting, message, now, reason,
    rest, state, to,
};
use crate::client::{Answer, Stream, request};
use crate::served::Served;

/// Streams a message that is refused, over both bindings; the errors with their status.
async fn refused(served: &Served, headers: &[&str], said: &Value) -> [(Answer, Value); 2] {
    let headers = [&[VERSION, JSON], headers].concat();
    let params = json!({ "message": said });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": params });
    let mut answers = Vec::new();
    for (target, body) in [("/a2a", &body), ("/a2a/message:stream", &params)] {
        let answer = request(served.address, "POST", target, &headers, &body.to_string()).await;
        let error = answer.json()["error"].take();
        answers.push((answer, error));
    }
    answers.try_into().unwrap()
}

#[tokio::test]
async fn a_streamed_message_whose_cursor_does_not_hold_has_no_effect() {
    let (served, desk) = desk(&["report"], |_| {}).await;
    served.start_plan("p").await;
    ask(&served, "p", "r", json!({})).await;
    let head = served.bus.tail();
    for cursor in ["ZZZZZZZZ-0000000000000001", "7Q4M2K9A-0000000000000003", "7Q4M2K9A-00000000000000ff"] {
        for said in [message("m", "a"), to("p", message("m", "a"))] {
            for (answer, error) in refused(&served, &[&format!("Last-Event-ID: {cursor}")], &said).await {
                assert_eq!(
                    (reason(&error), fields(&error)),
                    ("INVALID_PARAMS", vec!["Last-Event-ID"]),
                    "{answer:?}"
                );
            }
        }
    }
    assert_eq!((served.bus.tail(), desk.asked.lock().unwrap().len()), (head, 0));
}

#[tokio::test]
async fn a_streamed_message_that_finds_no_place_for_its_stream_has_no_effect() {
    let (served, desk) = desk(&["report"], |config| {
        config.limits.streams_max = 1;
        greeting(config);
    })
    .await;
    // An answer without a task holds no place.
    for number in 0..3 {
        let body = json!({ "message": message(&format!("m{number}"), "hello") });
        let answer =
            request(served.address, "POST", "/a2a/message:stream", &[VERSION, JSON], &body.to_string()).await;
        assert!(answer.text().starts_with("data: {\"message\":"), "{answer:?}");
    }
    served.start_plan("p").await;
    ask(&served, "p", "r", json!({})).await;
    let _open = Stream::open(served.address, "/a2a/tasks/p:subscribe", &[VERSION]).await;
    let head = served.bus.tail();
    for said in [message("m", "a"), to("p", message("m", "a"))] {
        for (answer, error) in refused(&served, &[], &said).await {
            assert_eq!((reason(&error), answer.header("retry-after").is_some()), ("UNAVAILABLE", true));
        }
    }
    assert_eq!((served.bus.tail(), desk.asked.lock().unwrap().len()), (head, 0));
}

#[tokio::test]
async fn a_message_by_the_names_of_the_proto_file_is_the_same_message() {
    let (served, desk) = desk(&["report"], |_| {}).await;
    served.start_plan("p").await;
    ask(&served, "p", "r", json!({})).await;
    let said = |task: &str| {
        json!({
            "message_id": "m", "task_id": task, "context_id": "p", "role": "ROLE_USER",
            "parts": [{ "data": { "task_id": 1, "media_type": 2 }, "media_type": "application/json" }],
        })
    };
    for _ in 0..2 {
        let sent = call(&served, "SendMessage", now(said("p"))).await.unwrap();
        assert_eq!((sent["task"]["id"].as_str(), state(&sent["task"])), (Some("p"), "WORKING"));
    }
    let same = json!({
        "messageId": "m", "taskId": "p", "contextId": "p", "role": "ROLE_USER",
        "parts": [{ "data": { "task_id": 1, "media_type": 2 }, "mediaType": "application/json" }],
    });
    let sent = rest(&served, "POST", "/message:send", now(same.clone())).await.unwrap();
    assert_eq!(sent["task"]["history"][1]["parts"], same["parts"]);
    let received = events(&served, "p", EventType::InputReceived).await;
    assert_eq!((received.len(), &received[0]["payload"]["message"]), (1, &same));
    let unknown = call(&served, "SendMessage", now(said("none"))).await.unwrap_err();
    assert_eq!(reason(&unknown), "TASK_NOT_FOUND");
    assert!(desk.asked.lock().unwrap().is_empty());

    let began = json!({
        "message_id": "m", "context_id": "c", "role": "ROLE_USER", "parts": [{ "text": "a" }],
        "reference_task_ids": ["p"],
    });
    let sent = call_with(&served, &[EXTENDED], "SendMessage", now(began)).await.unwrap();
    assert_eq!(sent["task"]["contextId"], "c");
    assert_eq!(sent["task"]["history"][0]["referenceTaskIds"], json!(["p"]));
    let page =
        rest(&served, "GET", "/tasks?context_id=c&page_size=7&include_artifacts=true", Value::Null).await;
    let page = page.unwrap();
    assert_eq!((&page["pageSize"], &page["tasks"][0]["id"]), (&json!(7), &sent["task"]["id"]));
    let short = rest(&served, "GET", "/tasks/p?history_length=0", Value::Null).await.unwrap();
    assert_eq!(short.get("history"), None);
}
