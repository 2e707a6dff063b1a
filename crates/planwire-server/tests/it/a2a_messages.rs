//! What a message of A2A leads to, and what it must not.

use std::sync::atomic::Ordering;

use planwire_event::EventType;
use planwire_server::a2a::{Route, Then};
use serde_json::{Value, json};

use crate::a2a_desk::{
    EXTENDED, EXTENSION, JSON, VERSION, ask, call, call_with, desk, events, fields, greeting, message, now,
    reason, rest, state, to,
};
use crate::client::{Answer, Client, Stream, post, request};
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

/// A root whose subplan asks `r`, which the root repeats.
async fn repeated_question(served: &Served) {
    served.start_plan("root").await;
    served.spawn_plan("root", "child").await;
    ask(served, "child", "r", json!({ "question": "Which one?" })).await;
    ask(served, "root", "r", json!({ "question": "Which one?", "for_plan_id": "child" })).await;
}

/// State of a task, and what its status says.
fn status(task: &Value) -> (&str, Option<&str>) {
    (state(task), task["status"]["message"]["parts"][0]["text"].as_str())
}

#[tokio::test]
async fn a_question_that_a_message_answered_is_not_shown_to_its_sender_although_the_root_still_repeats_it() {
    let (mut served, _) = desk(&["report"], |_| {}).await;
    repeated_question(&served).await;
    let said = to("root", message("m", "a"));
    for _ in 0..2 {
        let sent = call(&served, "SendMessage", now(said.clone())).await.unwrap();
        assert_eq!(status(&sent["task"]), ("WORKING", None));
    }
    assert_eq!(events(&served, "child", EventType::InputReceived).await.len(), 1);
    // Everybody else sees what the root says.
    let got = call(&served, "GetTask", json!({ "id": "root" })).await.unwrap();
    assert_eq!(status(&got), ("INPUT_REQUIRED", Some("Which one?")));

    // The same by a stream, after further events, and by a call that waits until the server ends.
    served.note("root", 1).await;
    let mut client = Client::connect(served.address).await;
    client
        .ask("POST", "/a2a/message:stream", &[VERSION, JSON], &json!({ "message": said }).to_string())
        .await;
    client.head().await;
    let mut stream = Stream::of(client);
    let first = stream.event().await.unwrap().data;
    assert_eq!(status(&first["task"]), ("WORKING", None));
    ask(&served, "child", "r2", json!({})).await;
    ask(&served, "root", "r2", json!({ "for_plan_id": "child" })).await;
    served.answer("root", "r").await;
    let said = json!({ "message": to("root", message("m2", "a")) }).to_string();
    let mut waiting = Client::connect(served.address).await;
    waiting.ask("POST", "/a2a/message:send", &[VERSION, JSON], &said).await;
    let mut answers =
        Stream::open(served.address, "/v1/plans/child/events?event_type=InputReceived", &[]).await;
    while answers.event().await.unwrap().data["payload"]["request_id"] != "r2" {}
    served.begin_stop();
    let answer = waiting.answer().await.json();
    assert_eq!(status(&answer["task"]), ("WORKING", None));
    served.stop().await;
}

#[tokio::test]
async fn another_open_question_is_shown_in_place_of_the_one_that_a_message_answered() {
    let (served, _) = desk(&["report"], |_| {}).await;
    served.start_plan("root").await;
    ask(&served, "root", "old", json!({ "question": "Older?" })).await;
    served.spawn_plan("root", "child").await;
    ask(&served, "child", "r", json!({})).await;
    ask(&served, "root", "r", json!({ "for_plan_id": "child" })).await;
    let mut said = to("root", message("m", "a"));
    said["metadata"] = json!({ EXTENSION: { "requestId": "r", "argumentsDigest": null } });
    let sent = call(&served, "SendMessage", json!({ "message": said })).await.unwrap();
    assert_eq!(status(&sent["task"]), ("INPUT_REQUIRED", Some("Older?")));
}

#[tokio::test]
async fn a_question_that_is_asked_again_under_its_old_name_is_another_one() {
    let (served, _) = desk(&["report"], |_| {}).await;
    served.start_plan("p").await;
    ask(&served, "p", "r", json!({})).await;
    let said = to("p", message("m", "a"));
    call(&served, "SendMessage", now(said.clone())).await.unwrap();
    ask(&served, "p", "r", json!({ "question": "Again?" })).await;
    for body in [now(said.clone()), json!({ "message": said })] {
        let sent = call(&served, "SendMessage", body).await.unwrap();
        assert_eq!(status(&sent["task"]), ("INPUT_REQUIRED", Some("Again?")));
    }
}

#[tokio::test]
async fn a_question_that_is_named_in_another_form_is_refused_and_none_is_answered() {
    let (served, _) = desk(&["report"], |_| {}).await;
    served.start_plan("p").await;
    for question in ["r1", "r2"] {
        ask(&served, "p", question, json!({})).await;
    }
    let path = format!("message.metadata[\"{EXTENSION}\"]");
    for (about, expected) in [
        (json!({ "requestId": 2 }), vec![format!("{path}.requestId")]),
        (
            json!({ "requestId": ["r2"], "argumentsDigest": true }),
            vec![format!("{path}.requestId"), format!("{path}.argumentsDigest")],
        ),
        (json!({ "requestId": "r".repeat(600) }), vec![format!("{path}.requestId")]),
        (json!("r2"), vec![path.clone()]),
    ] {
        let mut said = to("p", message("m", "a"));
        said["metadata"] = json!({ EXTENSION: about });
        let refused = call(&served, "SendMessage", now(said.clone())).await.unwrap_err();
        assert_eq!(
            (reason(&refused), fields(&refused)),
            ("INVALID_PARAMS", expected.iter().map(String::as_str).collect())
        );
        let refused = rest(&served, "POST", "/message:send", now(said)).await.unwrap_err();
        assert_eq!(fields(&refused), expected);
    }
    assert!(events(&served, "p", EventType::InputReceived).await.is_empty());
}

#[tokio::test]
async fn a_question_with_the_longest_name_is_answered_by_it() {
    let (served, _) = desk(&["report"], |_| {}).await;
    served.start_plan("p").await;
    let names = ["a", "b", "c"].map(|letter| letter.repeat(planwire_event::limits::OPEN_ID_BYTES_MAX));
    for name in &names {
        ask(&served, "p", name, json!({})).await;
    }
    let mut said = to("p", message("m", "a"));
    said["metadata"] = json!({ EXTENSION: { "requestId": names[1] } });
    call(&served, "SendMessage", now(said)).await.unwrap();
    let body = json!({ "value": "a", "request_id": names[2] }).to_string();
    assert_eq!(post(served.address, "/v1/plans/p/answer", &body).await.status, 200);
    let received = events(&served, "p", EventType::InputReceived).await;
    assert_eq!(received[0]["payload"]["request_id"], names[1]);
    assert_eq!(received[1]["payload"]["request_id"], names[2]);
}

/// Routes that hand a file, a text and an answer along.
fn routes(config: &mut planwire_server::ServerConfig) {
    let plan = |inputs: &[(&str, &str)]| Then::Plan {
        name: "report".into(),
        inputs: inputs.iter().map(|(name, source)| ((*name).to_owned(), (*source).to_owned())).collect(),
    };
    let route = |when: &str, then: Then| Route { when: Some(format!("message.text == '{when}'")), then };
    config.a2a.routes = vec![
        route("take", plan(&[("file", "message.parts[1].raw"), ("folder", "message.parts[2].url")])),
        route("drop", plan(&[])),
        Route { when: Some("size(message.text) > 100".into()), then: Then::Answer("message.text".into()) },
    ];
}

#[tokio::test]
async fn files_that_nothing_takes_are_refused_and_not_dropped() {
    let (served, desk) = desk(&["report"], routes).await;
    served.start_plan("p").await;
    ask(&served, "p", "r", json!({})).await;
    let with_files = |text: &str| {
        let mut said = message("m", text);
        said["parts"] = json!([{ "text": text }, { "raw": "aGk=", "filename": "a.txt" }, { "url": "https://x.example/a" }]);
        said
    };
    for said in [with_files("drop"), with_files("no route"), to("p", with_files("answer"))] {
        let refused = call(&served, "SendMessage", now(said.clone())).await.unwrap_err();
        assert_eq!((reason(&refused), &refused["code"]), ("CONTENT_TYPE_NOT_SUPPORTED", &json!(-32005)));
        assert!(refused["message"].as_str().unwrap().starts_with("message.parts[1] "), "{refused}");
        let refused = rest(&served, "POST", "/message:send", now(said)).await.unwrap_err();
        assert_eq!((reason(&refused), &refused["code"]), ("CONTENT_TYPE_NOT_SUPPORTED", &json!(400)));
    }
    assert!(desk.asked.lock().unwrap().is_empty());
    assert!(events(&served, "p", EventType::InputReceived).await.is_empty());
    call(&served, "SendMessage", now(with_files("take"))).await.unwrap();
    let inputs = desk.asked.lock().unwrap().remove(0).inputs;
    assert_eq!(Value::Object(inputs), json!({ "file": "aGk=", "folder": "https://x.example/a" }));
}

#[tokio::test]
async fn an_answer_that_is_too_large_for_a_frame_is_not_streamed() {
    let (served, _) = desk(&["report"], routes).await;
    let said = message("m", &"x".repeat(70_000));
    for (_, error) in refused(&served, &[], &said).await {
        assert_eq!(reason(&error), "INVALID_AGENT_RESPONSE");
    }
    let sent = call(&served, "SendMessage", json!({ "message": said })).await.unwrap();
    assert_eq!(sent["message"]["parts"], said["parts"]);
}

#[tokio::test]
async fn the_history_of_a_stream_is_as_long_as_it_is_asked_for() {
    let (served, _) = desk(&["report"], |_| {}).await;
    served.start_plan("p").await;
    ask(&served, "p", "r1", json!({})).await;
    for (number, length) in [(1, json!(0)), (2, json!(2)), (3, json!(null))] {
        let body = json!({
            "message": to("p", message(&format!("m{number}"), "a")), "configuration": { "historyLength": length },
        });
        let mut client = Client::connect(served.address).await;
        client.ask("POST", "/a2a/message:stream", &[VERSION, JSON], &body.to_string()).await;
        client.head().await;
        let task = Stream::of(client).event().await.unwrap().data["task"].clone();
        let expected = length.as_u64().unwrap_or(6);
        assert_eq!(task["history"].as_array().map_or(0, Vec::len) as u64, expected, "{task}");
        ask(&served, "p", &format!("r{}", number + 1), json!({})).await;
    }
}

#[tokio::test]
async fn a_message_that_comes_twice_at_the_same_moment_leads_to_one_task_twice() {
    let (served, desk) = desk(&["report"], |_| {}).await;
    // The desk has taken the id and publishes only when it is told to.
    let (reached, go_on) = desk.hold();
    let said = now(message("m", "a"));
    let first = call_with(&served, &[EXTENDED], "SendMessage", said.clone());
    let second = async {
        reached.await.unwrap();
        let (sent, ()) = tokio::join!(call_with(&served, &[EXTENDED], "SendMessage", said.clone()), async {
            while desk.refused.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            go_on.send(()).unwrap();
        });
        sent
    };
    let (first, second) = tokio::join!(first, second);
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first["task"]["id"], second["task"]["id"]);
    let id = first["task"]["id"].as_str().unwrap();
    assert_eq!(events(&served, id, EventType::PlanStarted).await.len(), 1);
}
