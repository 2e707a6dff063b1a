//! What the methods of A2A do, over both bindings.

use planwire_bus::DocumentSource;
use planwire_event::EventType;
use serde_json::{Value, json};

use crate::a2a_desk::{
    EXTENDED, EXTENSION, JSON, VERSION, ask, call, call_with, desk, events, fields, greeting, message, now,
    reason, rest, rest_with, state, streamed, to,
};
use crate::client::Client;
use crate::served::Served;

#[tokio::test]
async fn a_message_starts_a_plan_and_its_task_is_found() {
    let (served, desk) = desk(&["report"], |_| {}).await;
    let data = json!({
        "messageId": "m1", "role": "ROLE_USER", "contextId": "c1",
        "parts": [{ "text": "hello" }, { "data": { "folder": "/x" } }],
    });
    let sent = call(&served, "SendMessage", now(data.clone())).await.unwrap();
    let task = &sent["task"];
    assert_eq!(
        (task["id"].as_str(), task["contextId"].as_str(), state(task)),
        (Some("p1"), Some("c1"), "WORKING")
    );
    let again = rest(&served, "POST", "/message:send", now(data.clone())).await.unwrap();
    assert_eq!(again["task"]["id"], "p2", "without our extension each message starts a plan");
    let asked = desk.asked.lock().unwrap().remove(0);
    assert!(matches!(&asked.document, DocumentSource::Registered(name) if name == "report"));
    assert_eq!(Value::Object(asked.inputs), json!({ "folder": "/x", "message": "hello" }));
    assert_eq!((asked.origin.protocol.as_str(), asked.origin.principal.as_str()), ("a2a", "anonymous"));
    assert_eq!((asked.origin.message, asked.context_id.as_deref()), (Some(data), Some("c1")));

    served.end_plan("p1").await;
    let got = call(&served, "GetTask", json!({ "id": "p1" })).await.unwrap();
    assert_eq!((state(&got), got["history"][0]["parts"][0]["text"].as_str()), ("COMPLETED", Some("hello")));
    assert_eq!(rest(&served, "GET", "/tasks/p1", Value::Null).await.unwrap(), got);
    assert_eq!(rest(&served, "GET", "/default/tasks/p1/", Value::Null).await.unwrap(), got);
    let short = rest(&served, "GET", "/tasks/p1?historyLength=0", Value::Null).await.unwrap();
    assert_eq!((short.get("history"), state(&short)), (None, "COMPLETED"));
}

#[tokio::test]
async fn sending_waits_until_the_task_ends_or_asks() {
    let (served, _) = desk(&["report"], |_| {}).await;
    let (sent, ()) =
        tokio::join!(call(&served, "SendMessage", json!({ "message": message("m1", "a") })), async {
            served_plan(&served, "p1").await;
            served.note("p1", 1).await;
            served.end_plan("p1").await;
        });
    assert_eq!(state(&sent.unwrap()["task"]), "COMPLETED");
    let (sent, _) = tokio::join!(
        rest(&served, "POST", "/message:send", json!({ "message": message("m2", "a") })),
        async {
            served_plan(&served, "p2").await;
            ask(&served, "p2", "r1", json!({})).await
        }
    );
    let task = sent.unwrap();
    assert_eq!(state(&task["task"]), "INPUT_REQUIRED");
    assert_eq!(task["task"]["status"]["message"]["parts"][0]["text"], "Which?");
}

/// Waits until the plan has started.
async fn served_plan(served: &Served, plan: &str) {
    let plan: planwire_event::PlanId = plan.parse().unwrap();
    for _ in 0..1_000 {
        let filter = planwire_event::Filter::plan(plan.clone());
        if served.bus.stream(filter, planwire_bus::StartAt::Start).await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    panic!("{plan} never started");
}

#[tokio::test]
async fn a_message_to_a_task_answers_its_question_once() {
    let (served, _) = desk(&["report"], |_| {}).await;
    served.start_plan("p").await;
    ask(&served, "p", "r1", json!({ "schema": { "type": "integer" } })).await;
    let reply = to("p", message("m1", " 42 "));
    let sent = call(&served, "SendMessage", now(reply.clone())).await.unwrap();
    assert_eq!((sent["task"]["id"].as_str(), state(&sent["task"])), (Some("p"), "WORKING"));
    let received = events(&served, "p", EventType::InputReceived).await;
    let payload = &received[0]["payload"];
    assert_eq!((&payload["value"], &payload["request_id"]), (&json!(42), &json!("r1")));
    assert_eq!(
        (&payload["via"], &payload["answered_by"], &payload["message"]),
        (&json!("a2a"), &json!("a2a:anonymous"), &reply)
    );

    // The same message after a cut: it was taken, also while another question is open, and after the end.
    ask(&served, "p", "r2", json!({})).await;
    let again = rest(&served, "POST", "/message:send", now(reply.clone())).await.unwrap();
    assert_eq!(state(&again["task"]), "INPUT_REQUIRED");
    assert_eq!(events(&served, "p", EventType::InputReceived).await.len(), 1);
    call(&served, "SendMessage", now(to("p", message("m2", "b")))).await.unwrap();
    served.end_plan("p").await;
    let ended = call(&served, "SendMessage", json!({ "message": reply })).await.unwrap();
    assert_eq!(state(&ended["task"]), "COMPLETED");
    assert_eq!(events(&served, "p", EventType::InputReceived).await.len(), 2);
    let refused = call(&served, "SendMessage", now(to("p", message("m3", "c")))).await.unwrap_err();
    assert_eq!((reason(&refused), refused["code"].as_i64()), ("UNSUPPORTED_OPERATION", Some(-32004)));
    assert!(refused["data"][0]["metadata"]["cursor"].is_string(), "{refused}");
}

#[tokio::test]
async fn the_same_message_on_two_connections_answers_once() {
    let (served, _) = desk(&["report"], |_| {}).await;
    served.start_plan("p").await;
    ask(&served, "p", "r1", json!({})).await;
    ask(&served, "p", "r2", json!({})).await;
    let reply = now(to("p", message("m1", "a")));
    let sends = (0..8).map(|_| call(&served, "SendMessage", reply.clone()));
    let answers = futures_util::future::join_all(sends).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(events(&served, "p", EventType::InputReceived).await.len(), 1);
}

#[tokio::test]
async fn answers_are_of_the_type_that_is_asked_for() {
    let (served, _) = desk(&["report"], |_| {}).await;
    served.start_plan("p").await;
    let options = json!({ "schema": { "type": "string", "enum": ["Main", "next"] } });
    let any = json!({});
    let list = json!({ "schema": { "type": "array", "items": { "type": "integer" } } });
    let approval = json!({ "kind": "approval", "arguments": { "tool": "x" }, "arguments_digest": "d1" });
    let cases = [
        (&options, json!([{ "text": "main" }]), json!("Main")),
        (&any, json!([{ "text": "a" }, { "text": "b" }]), json!("a\nb")),
        (&any, json!([{ "text": "see" }, { "data": { "a": 1 } }]), json!({ "a": 1 })),
        (&any, json!([{ "data": null }]), json!(null)),
        (&list, json!([{ "text": "[1, 2]" }]), json!([1, 2])),
        (&approval, json!([{ "text": "Yes" }]), json!(true)),
        (&approval, json!([{ "data": { "approved": false } }]), json!({ "approved": false })),
        (&approval, json!([{ "data": "deny" }]), json!("deny")),
    ];
    for (at, (question, parts, expected)) in cases.into_iter().enumerate() {
        ask(&served, "p", &format!("r{at}"), question.clone()).await;
        let mut reply = to("p", message(&format!("m{at}"), ""));
        reply["parts"] = parts.clone();
        call(&served, "SendMessage", now(reply)).await.unwrap();
        let received = events(&served, "p", EventType::InputReceived).await;
        assert_eq!((received.len(), &received[at]["payload"]["value"]), (at + 1, &expected), "{parts}");
    }
    let misfits = [
        (&options, json!([{ "text": "other" }])),
        (&list, json!([{ "data": [1, "b"] }])),
        (&approval, json!([{ "text": "perhaps" }])),
        (&approval, json!([{ "data": 7 }])),
        (&any, json!([{ "data": 1 }, { "data": 2 }])),
    ];
    for (at, (question, parts)) in misfits.into_iter().enumerate() {
        let plan = format!("q{at}");
        served.start_plan(&plan).await;
        ask(&served, &plan, "r", question.clone()).await;
        let mut reply = to(&plan, message("m", ""));
        reply["parts"] = parts.clone();
        let refused = call(&served, "SendMessage", now(reply)).await.unwrap_err();
        assert_eq!((refused["code"].as_i64(), reason(&refused)), (Some(-32602), "INVALID_PARAMS"), "{parts}");
        assert!(fields(&refused).iter().all(|field| field.starts_with("message.parts")), "{refused}");
        assert!(events(&served, &plan, EventType::InputReceived).await.is_empty());
    }
}

#[tokio::test]
async fn one_of_several_questions_is_named_or_the_oldest_is_meant() {
    let (served, _) = desk(&["report"], |_| {}).await;
    served.start_plan("p").await;
    for request_id in ["r1", "r2", "r3"] {
        ask(&served, "p", request_id, json!({})).await;
    }
    let mut named = to("p", message("m1", "second"));
    named["metadata"] = json!({ EXTENSION: { "requestId": "r2" } });
    call(&served, "SendMessage", now(named)).await.unwrap();
    call(&served, "SendMessage", now(to("p", message("m2", "first")))).await.unwrap();
    let mut gone = to("p", message("m3", "again"));
    gone["metadata"] = json!({ EXTENSION: { "requestId": "r2" } });
    let refused = call(&served, "SendMessage", now(gone)).await.unwrap_err();
    assert_eq!(reason(&refused), "UNSUPPORTED_OPERATION");
    let mut digest = to("p", message("m4", "third"));
    digest["metadata"] = json!({ EXTENSION: { "argumentsDigest": "other" } });
    let refused = call(&served, "SendMessage", now(digest)).await.unwrap_err();
    assert!(refused["message"].as_str().unwrap().contains("about other arguments"), "{refused}");
    let received = events(&served, "p", EventType::InputReceived).await;
    let told: Vec<_> =
        received.iter().map(|event| (&event["payload"]["request_id"], &event["payload"]["value"])).collect();
    assert_eq!(told, [(&json!("r2"), &json!("second")), (&json!("r1"), &json!("first"))]);
}

#[tokio::test]
async fn an_answer_on_an_ancestor_goes_to_the_plan_that_asks() {
    let (served, _) = desk(&["report"], |_| {}).await;
    served.start_plan("root").await;
    served.spawn_plan("root", "child").await;
    ask(&served, "child", "r", json!({})).await;
    ask(&served, "root", "r", json!({ "for_plan_id": "child" })).await;
    let body = json!({ "message": to("root", message("m", "a")) });
    let (sent, ()) = tokio::join!(call(&served, "SendMessage", body), async {
        for _ in 0..1_000 {
            if !events(&served, "child", EventType::InputReceived).await.is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        let mirrored = json!({ "request_id": "r", "value": "a", "answered_by": "x", "via": "engine" });
        served.event("root", "InputReceived", mirrored).await;
        served.end_plan("child").await;
        let done = json!({ "child_plan_id": "child", "ok": true, "duration_ms": 1 });
        served.event("root", "SubplanCompleted", done).await;
        served.end_plan("root").await;
    });
    let task = sent.unwrap();
    assert_eq!((task["task"]["id"].as_str(), state(&task["task"])), (Some("root"), "COMPLETED"));
    assert_eq!(events(&served, "child", EventType::InputReceived).await.len(), 1);
}

#[tokio::test]
async fn messages_to_tasks_that_take_none_are_refused() {
    let (served, _) = desk(&["report"], |_| {}).await;
    served.start_plan("p").await;
    let unknown = call(&served, "SendMessage", now(to("none", message("m", "a")))).await.unwrap_err();
    assert_eq!(reason(&unknown), "TASK_NOT_FOUND");
    let idle = call(&served, "SendMessage", now(to("p", message("m", "a")))).await.unwrap_err();
    assert_eq!(
        (reason(&idle), &idle["data"][0]["metadata"]["taskId"]),
        ("UNSUPPORTED_OPERATION", &json!("p"))
    );
    let mut other = to("p", message("m", "a"));
    other["contextId"] = "elsewhere".into();
    let mismatch = rest(&served, "POST", "/message:send", now(other)).await.unwrap_err();
    assert_eq!((reason(&mismatch), fields(&mismatch)), ("INVALID_PARAMS", vec!["message.contextId"]));
}

#[tokio::test]
async fn with_our_extension_a_message_starts_one_plan_however_often_it_is_sent() {
    let (served, desk) = desk(&["report"], |_| {}).await;
    let first = call_with(&served, &[EXTENDED], "SendMessage", now(message("m", "a"))).await.unwrap();
    let headers = [VERSION, EXTENDED];
    let again = rest_with(&served, &headers, "POST", "/message:send", now(message("m", "a"))).await.unwrap();
    assert_eq!(again["task"]["id"], first["task"]["id"]);
    let other = call_with(&served, &[EXTENDED], "SendMessage", now(message("m", "b"))).await.unwrap();
    assert_ne!(other["task"]["id"], first["task"]["id"], "another content is another message");
    let id = first["task"]["id"].as_str().unwrap();
    served.end_plan(id).await;
    let ended = call_with(&served, &[EXTENDED], "SendMessage", json!({ "message": message("m", "a") })).await;
    assert_eq!(state(&ended.unwrap()["task"]), "COMPLETED");
    assert_eq!(desk.asked.lock().unwrap().len(), 4);
    assert_eq!(events(&served, id, EventType::PlanStarted).await.len(), 1);
}

#[tokio::test]
async fn a_route_answers_at_once_without_a_task() {
    let (served, desk) = desk(&["report"], greeting).await;
    let mut said = message("m1", "hello");
    said["contextId"] = "c1".into();
    let sent = call(&served, "SendMessage", json!({ "message": said })).await.unwrap();
    let answer = &sent["message"];
    assert_eq!((&answer["role"], &answer["contextId"]), (&json!("ROLE_AGENT"), &json!("c1")));
    assert_eq!(answer["parts"], json!([{ "text": "Hello to you, m1" }]));
    let made =
        rest(&served, "POST", "/message:send", json!({ "message": message("m2", "hello") })).await.unwrap();
    assert!(made["message"]["contextId"].is_string() && made["message"]["messageId"].is_string(), "{made}");
    assert!(desk.asked.lock().unwrap().is_empty());

    for (target, body) in [
        ("/a2a/message:stream", json!({ "message": message("m3\u{2028}", "hello") })),
        (
            "/a2a",
            json!({ "jsonrpc": "2.0", "id": "x\u{2028}", "method": "SendStreamingMessage", "params": { "message": message("m3\u{2028}", "hello") } }),
        ),
    ] {
        let mut client = Client::connect(served.address).await;
        client.ask("POST", target, &[VERSION, JSON], &body.to_string()).await;
        let answer = client.answer().await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("text/event-stream")),
            "{answer:?}"
        );
        let data = answer.text().strip_prefix("data: ").unwrap().strip_suffix("\n\n").unwrap();
        assert!(!data.contains(['\n', '\u{2028}']));
        let data: Value = serde_json::from_str(data).unwrap();
        let step = if target == "/a2a" { &data["result"] } else { &data };
        assert_eq!(step["message"]["parts"][0]["text"], "Hello to you, m3\u{2028}");
    }
}

#[tokio::test]
async fn streaming_a_message_shows_every_step_from_its_start() {
    let (served, _) = desk(&["report"], |_| {}).await;
    let body = json!({ "message": message("m1", "a") });
    let (steps, ()) = tokio::join!(streamed(&served, "/a2a/message:stream", &[], &body), async {
        served_plan(&served, "p1").await;
        served.note("p1", 1).await;
        ask(&served, "p1", "r", json!({})).await;
    });
    let states: Vec<_> =
        steps.iter().map(|(_, step)| state(step.as_object().unwrap().values().next().unwrap())).collect();
    assert_eq!(states, ["WORKING", "WORKING", "INPUT_REQUIRED"]);
    assert!(steps[0].1["task"].is_object() && steps[0].0.is_none());

    let body = json!({ "jsonrpc": "2.0", "id": 1e100, "method": "SendStreamingMessage", "params": { "message": to("p1", message("m2", "b")) } });
    let (steps, _) = tokio::join!(streamed(&served, "/a2a/?event_field=off", &[], &body), async {
        for _ in 0..1_000 {
            if !events(&served, "p1", EventType::InputReceived).await.is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        served.end_plan("p1").await
    });
    let last = &steps.last().unwrap().1;
    assert_eq!((&last["id"], state(&last["result"]["statusUpdate"])), (&json!(1e100), "COMPLETED"));
    assert!(steps.iter().all(|(event, _)| event.is_none()));
    assert_eq!(
        state(&steps[0].1["result"]["task"]),
        "WORKING",
        "the question that was answered no longer counts"
    );
}

#[tokio::test]
async fn a_message_that_is_streamed_again_shows_all_that_followed_it() {
    let (served, _) = desk(&["report"], |_| {}).await;
    served.start_plan("p").await;
    for number in ["1", "2"] {
        ask(&served, "p", &format!("r{number}"), json!({})).await;
        call(&served, "SendMessage", now(to("p", message(&format!("m{number}"), "a")))).await.unwrap();
    }
    ask(&served, "p", "r3", json!({})).await;
    let body = json!({ "message": to("p", message("m1", "a")) });
    let steps = streamed(&served, "/a2a/message:stream", &[], &body).await;
    let states: Vec<_> =
        steps.iter().map(|(_, step)| state(step.as_object().unwrap().values().next().unwrap())).collect();
    assert_eq!(states, ["WORKING", "INPUT_REQUIRED", "WORKING", "INPUT_REQUIRED"]);
}

#[tokio::test]
async fn cancelling_asks_the_owner_and_answers_when_the_plan_has_ended() {
    let (served, _) = desk(&["report"], |_| {}).await;
    for (plan, binding) in [("p", "rpc"), ("q", "rest")] {
        served.start_plan(plan).await;
        let ending = async {
            for _ in 0..1_000 {
                if !events(&served, plan, EventType::CancelRequested).await.is_empty() {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            let failed =
                json!({ "reason": "cancelled", "error": { "code": "cancelled", "message": "asked" } });
            served.event(plan, "PlanFailed", failed).await;
        };
        let asking = async {
            match binding {
                "rpc" => call(&served, "CancelTask", json!({ "id": plan })).await,
                _ => rest(&served, "POST", &format!("/tasks/{plan}:cancel"), Value::Null).await,
            }
        };
        let (cancelled, ()) = tokio::join!(asking, ending);
        assert_eq!(state(&cancelled.unwrap()), "CANCELED");
        let asked = events(&served, plan, EventType::CancelRequested).await;
        assert_eq!(asked[0]["payload"]["requested_by"], "a2a:anonymous");
        let again = call(&served, "CancelTask", json!({ "id": plan })).await.unwrap_err();
        assert_eq!((reason(&again), again["code"].as_i64()), ("TASK_NOT_CANCELABLE", Some(-32002)));
    }
}

#[tokio::test]
async fn cancelling_what_nobody_ends_answers_with_the_task_as_it_is() {
    let (served, _) = desk(&["report"], |_| {}).await;
    served.start_plan("p").await;
    tokio::time::pause();
    let cancelled = call(&served, "CancelTask", json!({ "id": "p" })).await.unwrap();
    assert_eq!(state(&cancelled), "WORKING");
    tokio::time::resume();
    assert_eq!(events(&served, "p", EventType::CancelRequested).await.len(), 1);
}

/// Ids and states of a list.
fn listed(page: &Value) -> Vec<(String, String)> {
    let tasks = page["tasks"].as_array().unwrap();
    tasks.iter().map(|task| (task["id"].as_str().unwrap().to_owned(), state(task).to_owned())).collect()
}

/// A log with plans in every state; what changed last comes first.
async fn varied() -> Served {
    let (served, _) = desk(&["report"], |_| {}).await;
    for plan in ["done", "failed", "works", "asks", "gone", "late"] {
        served.start_plan(plan).await;
        served.clock.advance(1_000_000);
    }
    served.spawn_plan("works", "child").await;
    served.clock.advance(1_000_000);
    served.end_plan("done").await;
    let failed = |reason: &str| json!({ "reason": reason, "error": { "code": "x", "message": "no" } });
    served.clock.advance(1_000_000);
    served.event("failed", "PlanFailed", failed("timed_out")).await;
    served.clock.advance(1_000_000);
    served.event("gone", "PlanFailed", failed("cancelled")).await;
    served.clock.advance(1_000_000);
    ask(&served, "asks", "r", json!({})).await;
    served.clock.advance(1_000_000);
    served.event("late", "PlanFailed", failed("rejected")).await;
    served
}

#[tokio::test]
async fn tasks_are_listed_by_their_last_change_and_in_pages() {
    let served = varied().await;
    let all = call(&served, "ListTasks", json!({})).await.unwrap();
    let expected = [
        ("late", "REJECTED"),
        ("asks", "INPUT_REQUIRED"),
        ("gone", "CANCELED"),
        ("failed", "FAILED"),
        ("done", "COMPLETED"),
        ("works", "WORKING"),
    ];
    let expected: Vec<_> =
        expected.iter().map(|(id, state)| ((*id).to_owned(), (*state).to_owned())).collect();
    assert_eq!(listed(&all), expected);
    assert_eq!(
        (&all["pageSize"], &all["totalSize"], &all["nextPageToken"]),
        (&json!(50), &json!(6), &json!(""))
    );
    let times: Vec<_> =
        all["tasks"].as_array().unwrap().iter().map(|task| task["status"]["timestamp"].clone()).collect();
    assert!(times.is_sorted_by(|a, b| a.as_str() >= b.as_str()), "{times:?}");
    assert!(all["tasks"].as_array().unwrap().iter().all(|task| task.get("artifacts").is_none()));

    let (mut token, mut found) = (String::new(), Vec::new());
    loop {
        let page =
            rest(&served, "GET", &format!("/tasks?pageSize=2&pageToken={token}"), Value::Null).await.unwrap();
        assert_eq!((&page["pageSize"], &page["totalSize"]), (&json!(2), &json!(6)));
        found.extend(listed(&page));
        token = page["nextPageToken"].as_str().unwrap().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(found, expected);
    for token in ["x", "7Q4M2K9B-0000000000000001", "7Q4M2K9A-00000000000000ff"] {
        let refused = call(&served, "ListTasks", json!({ "pageToken": token })).await.unwrap_err();
        assert_eq!(fields(&refused), ["pageToken"]);
    }
}

#[tokio::test]
async fn tasks_are_filtered_by_context_state_and_time() {
    let served = varied().await;
    let ids = |page: Value| {
        assert_eq!(page["totalSize"], page["tasks"].as_array().unwrap().len());
        listed(&page).into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    let list = async |params: Value| ids(call(&served, "ListTasks", params).await.unwrap());
    for (status, expected) in [
        ("COMPLETED", &["done"][..]),
        ("FAILED", &["failed"]),
        ("CANCELED", &["gone"]),
        ("REJECTED", &["late"]),
        ("INPUT_REQUIRED", &["asks"]),
        ("WORKING", &["works"]),
        ("AUTH_REQUIRED", &[]),
        ("SUBMITTED", &[]),
    ] {
        assert_eq!(list(json!({ "status": format!("TASK_STATE_{status}") })).await, expected, "{status}");
    }
    assert_eq!(list(json!({ "contextId": "works" })).await, ["child", "works"]);
    assert_eq!(list(json!({ "contextId": "none" })).await, [""; 0]);
    let gone = call(&served, "GetTask", json!({ "id": "gone" })).await.unwrap();
    let since = &gone["status"]["timestamp"];
    assert_eq!(list(json!({ "statusTimestampAfter": since })).await, ["late", "asks", "gone"]);
    assert_eq!(list(json!({ "statusTimestampAfter": "2020-01-01T00:00:00Z" })).await.len(), 6);
    assert_eq!(list(json!({ "statusTimestampAfter": "2099-01-01T00:00:00Z" })).await, [""; 0]);
}

#[tokio::test]
async fn lists_show_artifacts_and_history_as_far_as_they_are_wanted() {
    let (served, _) = desk(&["report"], |_| {}).await;
    call(&served, "SendMessage", now(message("m", "a"))).await.unwrap();
    let produced =
        json!({ "artifact_id": "a", "name": "a", "media_type": "text/plain", "part": { "text": "one" } });
    served.event("p1", "ArtifactProduced", produced).await;
    let with =
        rest(&served, "GET", "/tasks?includeArtifacts=true&historyLength=0", Value::Null).await.unwrap();
    assert_eq!(with["tasks"][0]["artifacts"][0]["parts"][0]["text"], "one");
    assert!(with["tasks"][0].get("history").is_none());
    let plain = rest(&served, "GET", "/tasks?includeArtifacts=false", Value::Null).await.unwrap();
    assert!(plain["tasks"][0].get("artifacts").is_none());
    assert_eq!(plain["tasks"][0]["history"][0]["messageId"], "m");
}
