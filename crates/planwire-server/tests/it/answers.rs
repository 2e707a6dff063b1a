//! Answering questions by `POST /v1/plans/{plan_id}/answer`.

use serde_json::{Value, json};

use crate::a2a_desk::{SECRET, call, desk};
use crate::client::{Answer, get, post};
use crate::served::{Fault, Served};

async fn ask(served: &Served, plan: &str, payload: Value) {
    let mut asked = json!({ "request_id": "r1", "kind": "input", "question": "Which?" });
    for (name, value) in payload.as_object().unwrap() {
        asked[name] = value.clone();
    }
    served.event(plan, "InputRequested", asked).await;
}

async fn answer(served: &Served, plan: &str, body: Value) -> Answer {
    post(served.address, &format!("/v1/plans/{plan}/answer"), &body.to_string()).await
}

/// Status and kind of an answer that was not taken.
async fn refused(served: &Served, plan: &str, body: Value) -> (u16, String) {
    let answer = answer(served, plan, body).await;
    (answer.status, answer.problem())
}

async fn received(served: &Served, plan: &str) -> Vec<Value> {
    let target = format!("/v1/plans/{plan}/events?event_type=InputReceived");
    let page = get(served.address, &target).await.json();
    page["events"].as_array().unwrap().iter().map(|event| event["payload"].clone()).collect()
}

#[tokio::test]
async fn an_answer_closes_the_question_and_says_where_it_stands() {
    let served = Served::start().await;
    served.start_plan("p").await;
    ask(&served, "p", json!({ "schema": { "type": "integer" } })).await;
    let taken = answer(&served, "p", json!({ "value": 3 })).await;
    assert_eq!(taken.status, 200, "{taken:?}");
    let taken = taken.json();
    assert_eq!(
        (&taken["plan_id"], &taken["request_id"], &taken["duplicate"]),
        (&json!("p"), &json!("r1"), &json!(false))
    );
    assert_eq!(
        (&taken["position"], &taken["seq"], &taken["cursor"]),
        (&json!(3), &json!(3), &json!("7Q4M2K9A-0000000000000003"))
    );
    let expected = json!({ "request_id": "r1", "outcome": "answered", "value": 3, "answered_by": "http:anonymous", "via": "http" });
    assert_eq!(received(&served, "p").await, [expected]);
    let plan = get(served.address, "/v1/plans/p").await.json();
    assert_eq!(plan["fold"]["questions"], json!([]));

    ask(&served, "p", json!({ "request_id": "r2" })).await;
    answer(&served, "p", json!({ "value": null, "answered_by": "ada", "via": "page" })).await;
    let last = received(&served, "p").await.pop().unwrap();
    assert_eq!(
        (&last["value"], &last["answered_by"], &last["via"]),
        (&Value::Null, &json!("ada"), &json!("page"))
    );
}

#[tokio::test]
async fn the_first_answer_wins() {
    let served = Served::start().await;
    served.start_plan("p").await;
    ask(&served, "p", json!({})).await;
    assert_eq!(answer(&served, "p", json!({ "request_id": "r1", "value": "a" })).await.status, 200);
    let second = answer(&served, "p", json!({ "request_id": "r1", "value": "b" })).await;
    assert_eq!(
        (second.status, second.problem().as_str(), &second.json()["refusal"]),
        (409, "event-refused", &json!("request_not_open"))
    );
    assert_eq!(refused(&served, "p", json!({ "value": "b" })).await, (409, "question-none".into()));
    assert_eq!(received(&served, "p").await.len(), 1);
    served.end_plan("p").await;
    let ended = answer(&served, "p", json!({ "request_id": "r1", "value": "b" })).await;
    assert_eq!((ended.status, &ended.json()["refusal"]), (409, &json!("plan_ended")));
}

#[tokio::test]
async fn an_answer_with_an_event_id_can_be_sent_again() {
    let served = Served::start().await;
    served.start_plan("p").await;
    ask(&served, "p", json!({ "schema": { "type": "string" } })).await;
    let body = json!({ "value": "a", "event_id": "01JD8C3V5K7QW9X2Y4Z6A8B0CE" });
    let first = answer(&served, "p", body.clone()).await.json();
    ask(&served, "p", json!({ "request_id": "r2" })).await;
    let again = answer(&served, "p", body).await.json();
    assert_eq!((&first["duplicate"], &again["duplicate"]), (&json!(false), &json!(true)));
    assert_eq!((&first["cursor"], &first["request_id"]), (&again["cursor"], &again["request_id"]));
    let other = json!({ "value": "b", "event_id": "01JD8C3V5K7QW9X2Y4Z6A8B0CE" });
    assert_eq!(refused(&served, "p", other).await, (409, "event-conflict".into()));
    let elsewhere = json!({ "request_id": "r2", "value": "a", "event_id": "01JD8C3V5K7QW9X2Y4Z6A8B0CE" });
    assert_eq!(refused(&served, "p", elsewhere).await, (409, "event-conflict".into()));
    assert_eq!(received(&served, "p").await.len(), 1);
}

#[tokio::test]
async fn answers_that_do_not_fit_are_told_why() {
    let served = Served::start().await;
    served.start_plan("p").await;
    ask(&served, "p", json!({ "schema": { "type": "object", "required": ["a"], "properties": { "a": { "type": "integer" } } } })).await;
    let unfit = answer(&served, "p", json!({ "value": { "a": "b" } })).await;
    assert_eq!((unfit.status, unfit.problem().as_str()), (400, "answer-invalid"));
    let unfit = unfit.json();
    assert_eq!((&unfit["request_id"], &unfit["errors"][0]["path"]), (&json!("r1"), &json!("/a")));
    for body in [
        json!({}),
        json!({ "value": 1, "more": 1 }),
        json!({ "value": 1, "via": "x".repeat(300) }),
        json!({ "value": 1, "request_id": 7 }),
    ] {
        assert_eq!(refused(&served, "p", body).await, (400, "body-malformed".into()));
    }
    assert_eq!(
        refused(&served, "p", json!({ "value": { "a": 1 }, "event_id": "x" })).await,
        (400, "id-malformed".into())
    );
    assert_eq!(refused(&served, "none", json!({ "value": 1 })).await, (404, "plan-unknown".into()));
    assert!(received(&served, "p").await.is_empty());
}

#[tokio::test]
async fn approvals_are_yes_or_no_and_about_what_was_asked() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let approval = |request_id: &str| json!({ "request_id": request_id, "kind": "approval", "arguments": { "tool": "x" }, "arguments_digest": "d1" });
    ask(&served, "p", approval("r1")).await;
    assert_eq!(refused(&served, "p", json!({ "value": "perhaps" })).await, (400, "answer-invalid".into()));
    let changed = answer(&served, "p", json!({ "value": true, "arguments_digest": "d2" })).await;
    assert_eq!((changed.status, &changed.json()["refusal"]), (409, &json!("arguments_changed")));
    for (at, value) in
        [json!(true), json!("deny"), json!({ "approved": true, "comment": "go" })].into_iter().enumerate()
    {
        if at > 0 {
            ask(&served, "p", approval(&format!("s{at}"))).await;
        }
        let taken = answer(&served, "p", json!({ "value": value, "arguments_digest": "d1" })).await;
        assert_eq!(taken.status, 200, "{taken:?}");
    }
    assert_eq!(received(&served, "p").await.len(), 3);
}

#[tokio::test]
async fn one_of_several_questions_must_be_named() {
    let served = Served::start().await;
    served.start_plan("p").await;
    ask(&served, "p", json!({})).await;
    ask(&served, "p", json!({ "request_id": "r2" })).await;
    let unnamed = answer(&served, "p", json!({ "value": 1 })).await;
    assert_eq!((unnamed.status, unnamed.problem().as_str()), (400, "question-unnamed"));
    assert_eq!(unnamed.json()["request_ids"], json!(["r1", "r2"]));
    assert_eq!(
        answer(&served, "p", json!({ "request_id": "r2", "value": 1 })).await.json()["request_id"],
        "r2"
    );
    assert_eq!(answer(&served, "p", json!({ "value": 1 })).await.json()["request_id"], "r1");
}

#[tokio::test]
async fn a_question_of_a_subplan_is_answered_where_it_was_asked() {
    let served = Served::start().await;
    served.start_plan("root").await;
    served.spawn_plan("root", "child").await;
    ask(&served, "child", json!({ "schema": { "type": "integer" } })).await;
    ask(&served, "root", json!({ "for_plan_id": "child", "schema": { "type": "integer" } })).await;
    assert_eq!(refused(&served, "root", json!({ "value": "a" })).await, (400, "answer-invalid".into()));
    let taken = answer(&served, "root", json!({ "value": 7 })).await.json();
    assert_eq!((&taken["plan_id"], &taken["request_id"]), (&json!("child"), &json!("r1")));
    assert_eq!((received(&served, "child").await.len(), received(&served, "root").await.len()), (1, 0));
}

#[tokio::test]
async fn a_question_whose_schema_is_none_can_be_answered() {
    let served = Served::start().await;
    served.start_plan("p").await;
    ask(&served, "p", json!({ "schema": { "$ref": "#" } })).await;
    assert_eq!(answer(&served, "p", json!({ "value": "anything" })).await.status, 200);
}

#[tokio::test]
async fn what_the_log_does_not_take_is_said() {
    let served = Served::start().await;
    served.start_plan("p").await;
    ask(&served, "p", json!({})).await;
    served.fault.set(Fault::FULL);
    assert_eq!(refused(&served, "p", json!({ "value": 1 })).await, (503, "store-full".into()));
    served.fault.set(Fault::NONE);
    assert_eq!(answer(&served, "p", json!({ "value": 1 })).await.status, 200);
}

#[tokio::test]
async fn no_secret_gets_into_the_log_by_an_answer_or_a_request_to_end() {
    let (served, _desk) = desk(&["report"], |_| {}).await;
    served.start_plan("p").await;
    ask(&served, "p", json!({})).await;
    for body in [
        json!({ "value": format!("it is {SECRET}") }),
        json!({ "request_id": "r1", "value": { SECRET: [1] } }),
        json!({ "value": "a", "answered_by": SECRET }),
        json!({ "value": "a", "via": SECRET }),
    ] {
        let refused = answer(&served, "p", body).await;
        assert_eq!((refused.status, refused.problem().as_str()), (400, "answer-invalid"));
        let refused = refused.json();
        assert!(
            refused["errors"][0]["message"].as_str().unwrap().starts_with("it holds the value of a secret")
        );
        assert!(!refused.to_string().contains(SECRET), "{refused}");
    }
    let message =
        json!({ "messageId": "m1", "role": "ROLE_USER", "taskId": "p", "parts": [{ "text": SECRET }] });
    let refused = call(&served, "SendMessage", json!({ "message": message })).await.unwrap_err();
    assert!(refused.to_string().contains("it holds the value of a secret"), "{refused}");
    assert!(received(&served, "p").await.is_empty());

    let reason = json!({ "reason": format!("since {SECRET} leaked") }).to_string();
    assert_eq!(post(served.address, "/v1/plans/p/cancel", &reason).await.status, 202);
    let events = get(served.address, "/v1/plans/p/events").await.json();
    assert!(!events.to_string().contains(SECRET), "{events}");
    assert!(events.to_string().contains("since ***SECRET*** leaked"), "{events}");
    assert_eq!(answer(&served, "p", json!({ "value": "correct" })).await.status, 200);
}
