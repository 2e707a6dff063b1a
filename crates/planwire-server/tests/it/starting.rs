//! Starting plans by HTTP.

use std::sync::Arc;

use planwire_bus::{DocumentSource, PublishError, StartError, Started};
use serde_json::json;

use crate::a2a_desk::desk;
use crate::client::{Answer, post, request};
use crate::served::{Served, Starter, id};

const JSON: &str = "Content-Type: application/json";

async fn serve(inline: bool, answers: Vec<Result<Started, StartError>>) -> (Served, Arc<Starter>) {
    let starter = Arc::new(Starter { asked: Default::default(), answers: std::sync::Mutex::new(answers) });
    let change = |config: &mut planwire_server::ServerConfig| {
        config.allow_inline_documents = inline;
        config.token = Some("s3cret".to_owned());
    };
    (Served::with(change, Some(Arc::clone(&starter) as _)).await, starter)
}

fn ok() -> Result<Started, StartError> {
    Ok(Started { plan_id: id("p"), cursor: "7Q4M2K9A-0000000000000001".parse().unwrap() })
}

async fn with_token(served: &Served, body: &str) -> Answer {
    request(served.address, "POST", "/v1/plans", &[JSON, "Authorization: Bearer s3cret"], body).await
}

#[tokio::test]
async fn registered_document_is_started_by_its_name() {
    let (served, starter) = serve(false, vec![ok()]).await;
    let body = json!({ "document": "report", "inputs": { "folder": "/tmp" }, "context_id": "c1" });
    let answer = post(served.address, "/v1/plans", &body.to_string()).await;
    assert_eq!((answer.status, answer.header("location")), (201, Some("/v1/plans/p")));
    assert_eq!(answer.json(), json!({ "plan_id": "p", "cursor": "7Q4M2K9A-0000000000000001" }));
    let asked = starter.asked.lock().unwrap().pop().unwrap();
    assert!(matches!(asked.document, DocumentSource::Registered(name) if name == "report"));
    assert_eq!((asked.inputs["folder"].as_str(), asked.context_id.as_deref()), (Some("/tmp"), Some("c1")));
    assert_eq!((asked.origin.protocol.as_str(), asked.origin.principal.as_str()), ("http", "anonymous"));
}

#[tokio::test]
async fn documents_are_sent_along_only_with_the_token_or_by_leave() {
    let object = json!({ "document": { "plan": "x" } }).to_string();
    let text = json!({ "text": "plan: x", "name": "x.yaml", "folder": "/work" }).to_string();
    let (served, starter) = serve(false, vec![ok()]).await;
    for body in [&object, &text] {
        let answer = post(served.address, "/v1/plans", body).await;
        assert_eq!((answer.status, answer.problem().as_str()), (403, "inline-document-refused"));
    }
    let wrong =
        request(served.address, "POST", "/v1/plans", &[JSON, "Authorization: Bearer no"], &text).await;
    assert_eq!((wrong.status, wrong.problem().as_str()), (401, "token-refused"));
    assert_eq!(wrong.header("www-authenticate"), Some("Bearer"));
    assert_eq!(with_token(&served, &text).await.status, 201);
    let asked = starter.asked.lock().unwrap().pop().unwrap();
    let DocumentSource::Inline { text: sent, name, folder } = asked.document else { panic!("{asked:?}") };
    assert_eq!((sent.as_str(), name.as_str(), folder), ("plan: x", "x.yaml", Some("/work".into())));

    let (served, starter) = serve(true, vec![ok()]).await;
    assert_eq!(post(served.address, "/v1/plans", &object).await.status, 201);
    let asked = starter.asked.lock().unwrap().pop().unwrap();
    assert!(matches!(asked.document, DocumentSource::Received { text, .. } if text == r#"{"plan":"x"}"#));
    // A folder of this machine is for its user alone.
    assert_eq!(post(served.address, "/v1/plans", &text).await.problem(), "inline-document-refused");
}

#[tokio::test]
async fn what_is_wrong_with_a_start_is_said() {
    let (served, _) = serve(true, vec![]).await;
    for body in [
        json!({}),
        json!(["x", null, null, null, {}, null]),
        json!({ "document": 7 }),
        json!({ "document": "x", "text": "plan: x" }),
        json!({ "document": "x", "folder": "/" }),
        json!({ "document": "x", "context_id": "" }),
        json!({ "document": "x", "context_id": "a b" }),
        json!({ "document": "x", "plan_id": "" }),
        json!({ "document": "x", "plan_id": "a/b" }),
        json!({ "document": "x", "more": 1 }),
        json!({ "document": "x".repeat(10_000) }),
        json!({ "document": "x", "m".repeat(10_000): 1 }),
    ] {
        let answer = post(served.address, "/v1/plans", &body.to_string()).await;
        assert!(answer.body.len() < 2_000, "an answer does not echo what it got: {answer:?}");
        assert_eq!((answer.status, answer.problem().as_str()), (400, "body-malformed"), "{body}");
    }
}

#[tokio::test]
async fn start_under_an_id_of_the_caller_is_done_once() {
    let (served, desk) = desk(&["report"], |_| {}).await;
    let body = json!({ "document": "report", "plan_id": "mine" }).to_string();
    let started = post(served.address, "/v1/plans", &body).await;
    assert_eq!((started.status, started.header("location")), (201, Some("/v1/plans/mine")));
    let again = post(served.address, "/v1/plans", &body).await;
    assert_eq!((again.status, again.problem().as_str()), (409, "plan-exists"));
    let (started, again) = (started.json(), again.json());
    assert_eq!((&again["plan_id"], &again["cursor"]), (&json!("mine"), &started["cursor"]));

    *desk.fault.lock().unwrap() = Some(StartError::Exists { plan_id: id("another") });
    let body = json!({ "document": "report", "plan_id": "another" }).to_string();
    let starting = post(served.address, "/v1/plans", &body).await;
    assert_eq!((starting.status, starting.problem().as_str()), (503, "plan-starting"));
    assert!(starting.header("retry-after").is_some(), "{starting:?}");
    assert_eq!(post(served.address, "/v1/plans", &body).await.status, 201);
}

#[tokio::test]
async fn failures_of_the_starter_have_their_status() {
    let invalid =
        StartError::Invalid { message: "x.yaml:1:2: no steps".into(), diagnostics: json!([{ "line": 1 }]) };
    let cases = [
        (StartError::UnknownDocument { name: "x".into() }, 422, "document-unregistered"),
        (invalid, 422, "document-invalid"),
        (StartError::Inputs { message: "folder is missing".into() }, 422, "inputs-invalid"),
        (StartError::TooMany { max: 3 }, 503, "too-many-plans"),
        (StartError::Publish(PublishError::Stopped), 503, "writer-stopped"),
        (StartError::Closed, 503, "shutting-down"),
    ];
    for (error, status, problem) in cases {
        let (served, _) = serve(false, vec![Err(error)]).await;
        let answer = post(served.address, "/v1/plans", r#"{"document":"x"}"#).await;
        assert_eq!((answer.status, answer.problem().as_str()), (status, problem));
    }
}

#[tokio::test]
async fn server_without_an_engine_says_so() {
    let served = Served::start().await;
    let answer = post(served.address, "/v1/plans", r#"{"document":"x"}"#).await;
    assert_eq!((answer.status, answer.problem().as_str()), (501, "no-engine"));
}
