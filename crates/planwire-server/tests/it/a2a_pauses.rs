//! Messages that ask a task to pause or to go on, under our extension and over both bindings.

use planwire_event::{EventType, Filter, Position};
use planwire_store::PageLimits;
use serde_json::{Value, json};

use crate::a2a_desk::{
    EXTENDED, EXTENSION, SECRET, VERSION, ask, call, call_with, desk, events, fields, message, reason,
    rest_with, state, streamed, to,
};
use crate::a2a_stream::follow;
use crate::client::post;
use crate::served::Served;

/// What a message asks of its task.
fn asks(request: &str, why: &str) -> Value {
    json!({ "request": request, "reason": why })
}

/// A message to a task with what our extension reads of it.
fn about(task: &str, message_id: &str, note: Value) -> Value {
    let mut message = to(task, message(message_id, "now"));
    message["metadata"] = json!({ EXTENSION: note });
    json!({ "message": message })
}

async fn extended(served: &Served, params: Value) -> Result<Value, Value> {
    call_with(served, &[EXTENDED], "SendMessage", params).await
}

fn paused(holder: &Value) -> &Value {
    &holder["metadata"][EXTENSION]["paused"]
}

fn said(holder: &Value) -> &str {
    holder["status"]["message"]["parts"][0]["text"].as_str().unwrap()
}

/// What goes on in a plan that is paused, until it ends.
fn decision() -> Value {
    json!({
        "decision_id": "d", "decision_type": "choice", "step": "s", "question": "Which?", "options": [{ "name": "a" }],
        "chosen": "a", "decided_by": "rule",
    })
}

#[tokio::test]
async fn a_message_pauses_a_task_and_another_lets_it_go_on() {
    let (served, _) = desk(&["report"], |_| {}).await;
    for (plan, binding) in [("p", "rpc"), ("q", "rest")] {
        let started = served.start_plan(plan).await;
        let send = async |params: Value| match binding {
            "rpc" => extended(&served, params).await.unwrap(),
            _ => {
                let headers = [VERSION, EXTENDED];
                rest_with(&served, &headers, "POST", "/message:send", params).await.unwrap()
            }
        };
        let sent = send(about(plan, "m1", asks("pause", "the disk is full"))).await;
        let task = &sent["task"];
        assert_eq!((task["id"].as_str(), state(task)), (Some(plan), "WORKING"));
        assert_eq!(paused(task), true);
        assert_eq!(said(task), "a2a:anonymous asked the task to pause: the disk is full");
        let asked = events(&served, plan, EventType::PauseRequested).await;
        let expected = json!({ "requested_by": "a2a:anonymous", "reason": "the disk is full" });
        assert_eq!(asked[0]["payload"], expected);
        served.event(plan, "DecisionMade", decision()).await;
        let seen = call(&served, "GetTask", json!({ "id": plan })).await.unwrap();
        assert_eq!(
            (paused(&seen), said(&seen)),
            (&json!(true), said(task)),
            "whoever looks later sees it too"
        );

        let sent = send(about(plan, "m2", json!({ "request": "resume" }))).await;
        assert_eq!(paused(&sent["task"]), &Value::Null);
        assert_eq!(said(&sent["task"]), "a2a:anonymous asked the task to go on: now");
        served.end_plan(plan).await;
        let mut updates = follow(&served, plan, &[EXTENDED, &format!("Last-Event-ID: {started}")]).await;
        let mut seen = Vec::new();
        while let Some(frame) = updates.event().await {
            let holder = frame.data.as_object().unwrap().values().next().unwrap().clone();
            seen.push((frame.event.unwrap_or_default(), paused(&holder).as_bool()));
        }
        let expected = [
            ("", None),
            ("PauseRequested", Some(true)),
            ("DecisionMade", None),
            ("ResumeRequested", Some(false)),
            ("PlanCompleted", None),
        ];
        assert_eq!(seen, expected.map(|(name, paused)| (name.to_owned(), paused)));
    }
}

#[tokio::test]
async fn a_pause_over_http_is_seen_over_a2a_until_the_task_ends() {
    let (served, _) = desk(&["report"], |_| {}).await;
    served.start_plan("p").await;
    let answer = post(served.address, "/v1/plans/p/pause", "").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let seen = call(&served, "GetTask", json!({ "id": "p" })).await.unwrap();
    assert_eq!((paused(&seen), said(&seen)), (&json!(true), "http:anonymous asked the task to pause"));
    served.end_plan("p").await;
    let ended = call(&served, "GetTask", json!({ "id": "p" })).await.unwrap();
    assert_eq!((paused(&ended), state(&ended)), (&Value::Null, "COMPLETED"));
}

#[tokio::test]
async fn a_request_counts_once_and_answers_no_question() {
    let (served, _) = desk(&["report"], |_| {}).await;
    served.start_plan("p").await;
    ask(&served, "p", "r1", json!({})).await;
    let pause = about("p", "m1", asks("pause", "a while"));
    for _ in 0..2 {
        let task = extended(&served, pause.clone()).await.unwrap();
        assert_eq!((state(&task["task"]), paused(&task["task"])), ("INPUT_REQUIRED", &json!(true)));
        assert_eq!(said(&task["task"]), "Which?", "what is asked stays what the task shows");
    }
    assert_eq!(events(&served, "p", EventType::PauseRequested).await.len(), 1);
    let resume = about("p", "m2", asks("resume", ""));
    let steps = streamed(&served, "/a2a/message:stream", &[EXTENDED], &resume).await;
    assert_eq!((steps.len(), state(&steps[0].1["task"])), (1, "INPUT_REQUIRED"), "it waits for an answer");
    assert!(events(&served, "p", EventType::InputReceived).await.is_empty());
    served.end_plan("p").await;
    let again = extended(&served, pause).await.unwrap();
    assert_eq!(state(&again["task"]), "COMPLETED", "the same message again is no new request");
}

#[tokio::test]
async fn a_request_that_is_streamed_begins_with_the_task_and_follows_it() {
    let (served, _) = desk(&["report"], |_| {}).await;
    served.start_plan("p").await;
    let body = about("p", "m1", asks("pause", ""));
    let (steps, ()) = tokio::join!(streamed(&served, "/a2a/message:stream", &[EXTENDED], &body), async {
        for _ in 0..1_000 {
            if !events(&served, "p", EventType::PauseRequested).await.is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        served.end_plan("p").await;
    });
    assert_eq!(paused(&steps[0].1["task"]), true);
    assert_eq!(state(&steps[1].1["statusUpdate"]), "COMPLETED");
    assert_eq!(steps.len(), 2);
}

#[tokio::test]
async fn requests_that_cannot_be_are_refused_with_what_is_wrong() {
    let (served, _) = desk(&["report"], |_| {}).await;
    served.start_plan("p").await;
    served.start_plan("gone").await;
    served.end_plan("gone").await;
    let unknown = extended(&served, about("none", "m", asks("pause", ""))).await.unwrap_err();
    assert_eq!((reason(&unknown), unknown["code"].as_i64()), ("TASK_NOT_FOUND", Some(-32001)));
    let ended = extended(&served, about("gone", "m", asks("resume", ""))).await.unwrap_err();
    assert_eq!((reason(&ended), ended["code"].as_i64()), ("UNSUPPORTED_OPERATION", Some(-32004)));
    assert_eq!(ended["data"][0]["metadata"]["taskId"], "gone");
    let member = |name: &str| format!("message.metadata[\"{EXTENSION}\"].{name}");
    for (note, field) in [
        (json!({ "request": "cancel" }), "request"),
        (json!({ "request": 1 }), "request"),
        (json!({ "request": "pause", "reason": 1 }), "reason"),
        (json!({ "request": "pause", "requestId": "r" }), "requestId"),
    ] {
        let unfit = extended(&served, about("p", "m", note)).await.unwrap_err();
        assert_eq!((reason(&unfit), fields(&unfit)), ("INVALID_PARAMS", vec![&*member(field)]));
    }
    let mut without = about("p", "m", asks("pause", ""));
    without["message"]["taskId"] = Value::Null;
    let unfit = extended(&served, without).await.unwrap_err();
    assert_eq!((reason(&unfit), fields(&unfit)), ("INVALID_PARAMS", vec!["message.taskId"]));
    assert!(events(&served, "p", EventType::PauseRequested).await.is_empty());
}

#[tokio::test]
async fn without_the_extension_a_message_asks_nothing_of_its_task() {
    let (served, _) = desk(&["report"], |_| {}).await;
    served.start_plan("p").await;
    for note in [asks("pause", ""), asks("cancel", "")] {
        let refused = call(&served, "SendMessage", about("p", "m", note)).await.unwrap_err();
        assert_eq!(
            reason(&refused),
            "UNSUPPORTED_OPERATION",
            "it would answer a question, and there is none"
        );
    }
    assert!(events(&served, "p", EventType::PauseRequested).await.is_empty());
}

#[tokio::test]
async fn the_reason_of_a_request_holds_no_secret() {
    let (served, _) = desk(&["report"], |_| {}).await;
    served.start_plan("p").await;
    let sent = extended(&served, about("p", "m", asks("pause", SECRET))).await.unwrap();
    assert!(!sent.to_string().contains(SECRET), "{sent}");
    let asked = events(&served, "p", EventType::PauseRequested).await;
    assert_eq!(asked[0]["payload"]["reason"], "***SECRET***");
    extended(&served, about("p", "m2", asks("pause", "no secret"))).await.unwrap();
    let all = Filter::all();
    let stored = served.bus.repository().read_after(Position::ZERO, &all, PageLimits::default());
    let stored = stored.await.unwrap().events;
    let redacted = stored.iter().filter(|event| *event.event.event_type() == EventType::PauseRequested);
    let redacted: Vec<_> = redacted.map(|event| event.meta.redacted.clone()).collect();
    assert_eq!(redacted, [vec!["/reason".to_owned()], vec![]]);
}
