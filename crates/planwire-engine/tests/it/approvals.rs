//! Approvals: what is shown, what is called then, and what is not.

use planwire_bus::PublishError;
use planwire_engine::{EngineConfig, Secrets};
use planwire_event::vocabulary::{InputReceived, InputRequested, QuestionKind, ToolCalled};
use planwire_event::{Digest, LogId, Payload, Refusal};
use planwire_store::MemoryStore;
use serde_json::{Value, json};

use crate::asking::{Asked, answer, answer_of, publish, run_with};
use crate::house::House;

const DEPLOY: &str = r#"
plan: deploy
goal: g
steps:
  deploy:
    tool: test.echo
    with: { value: { "version": "1.4.2", "attempt": "${attempt}" } }
    approve: "Deploy ${plan.name}?"
    retry: { attempts: 2, backoff: 1ms }
    on_error:
      decide: q
      options: { go: { description: d, output: "${error}" }, no: { description: d, fail: true } }
      choose: "'go'"
outputs: { deploy: "${steps.deploy.output}" }
"#;

#[tokio::test]
async fn tool_is_called_with_the_arguments_that_were_approved() {
    let house = House::open();
    let root = house.start(DEPLOY).await;
    let (_, question) = Asked::of(&house, &root).await.next().await;
    let about = json!({"tool": "test.echo", "arguments": {"value": {"version": "1.4.2", "attempt": 1}}});
    assert_eq!(question.arguments.clone().map(Value::Object), Some(about.clone()));
    let digest = Digest::of(Payload::of(&about).unwrap().as_str().as_bytes()).to_string();
    assert_eq!(question.arguments_digest.as_deref(), Some(digest.as_str()));
    assert!(house.probe.calls().is_empty());
    let other = InputReceived {
        arguments_digest: Some(Digest::of(b"other").to_string()),
        ..answer_of(&question, json!(true))
    };
    let refused = publish(&house, &root, &other).await;
    assert!(
        matches!(&refused, Err(PublishError::Rejected { refusal: Refusal::ArgumentsChanged { .. }, .. })),
        "{refused:?}"
    );
    answer(&house, &root, &question, json!("approve")).await;
    let events = house.tree(&root).await;
    assert_eq!(events.outputs(), json!({"deploy": {"version": "1.4.2", "attempt": 1}}));
    let called: Vec<ToolCalled> = events.all();
    assert_eq!(Value::Object(called[0].arguments.clone()), about["arguments"]);
    assert_eq!(
        events.types(),
        ["PlanStarted", "InputRequested", "InputReceived", "ToolCalled", "ToolCompleted", "PlanCompleted"]
    );
}

#[tokio::test]
async fn retry_of_an_approved_tool_has_the_same_arguments() {
    let house = House::open();
    let document = DEPLOY
        .replace("\"version\": \"1.4.2\"", "\"n\": 1")
        .replace("with: { value:", "with: { fail: broken, value:");
    let events = run_with(&house, &document, [json!({"approved": true, "comment": "fine"})]).await;
    assert_eq!(events.outputs()["deploy"]["code"], "broken");
    let called: Vec<ToolCalled> = events.all();
    assert_eq!((called.len(), called[1].attempt), (2, 2));
    assert_eq!(called[0].arguments, called[1].arguments);
    assert_eq!(events.count("InputRequested"), 1);
}

#[tokio::test]
async fn denied_tool_is_not_called() {
    let house = House::open();
    let events = run_with(&house, DEPLOY, [json!({"approved": false, "comment": "not today"})]).await;
    let error = events.outputs()["deploy"].clone();
    assert_eq!(error, json!({"code": "denied", "message": "ann denied it: not today"}));
    assert!(house.probe.calls().is_empty());
}

#[tokio::test]
async fn approval_alone_says_who_approved_and_what_was_shown() {
    let house = House::open();
    let document = r#"
plan: gate
goal: g
steps:
  go: { approve: "Go on?", arguments: { files: 3 }, expires: 720h }
outputs: { go: "${steps.go.output}" }
"#;
    let events = run_with(&house, document, [json!({"approved": true, "comment": "fine"})]).await;
    assert_eq!(events.outputs(), json!({"go": {"approved": true, "answered_by": "ann", "comment": "fine"}}));
    let asked: Vec<InputRequested> = events.all();
    assert_eq!(
        (asked[0].kind, &asked[0].arguments.clone().unwrap()["files"]),
        (QuestionKind::Approval, &json!(3))
    );
    let events = run_with(&house, document, [json!("no")]).await;
    assert_eq!(
        (events.failed().error.code.as_str(), events.failed().error.message.as_str()),
        ("denied", "ann denied it")
    );
}

#[tokio::test]
async fn approval_shows_secrets_by_name_and_the_tool_gets_their_values() {
    let secrets = Secrets::new([("TOKEN".to_owned(), "a-long-secret-value".to_owned())]).unwrap();
    let store = MemoryStore::new(LogId::from_random(5));
    let house = House::with(store, |config| EngineConfig { secrets, ..config });
    let document = r#"
plan: deploy
goal: g
steps: { deploy: { tool: test.echo, with: { value: "Bearer ${secret('TOKEN')}" }, approve: Deploy? } }
outputs: { deploy: "${steps.deploy.output}" }
"#;
    let events = run_with(&house, document, [json!(true)]).await;
    assert_eq!(house.probe.calls(), [json!({"value": "Bearer a-long-secret-value"})]);
    assert_eq!(events.outputs(), json!({"deploy": "Bearer ***TOKEN***"}));
    let asked: Vec<InputRequested> = events.all();
    assert_eq!(asked[0].arguments.clone().unwrap()["arguments"], json!({"value": "Bearer ***TOKEN***"}));
    assert!(events.0.iter().all(|event| !event.event.payload().as_str().contains("a-long-secret")));
}

#[tokio::test]
async fn example_asks_and_writes_what_is_approved() {
    let example = include_str!("../../../../plans/release-notes.yaml");
    for (leave, written) in [(json!(true), "RELEASE.md"), (json!("deny"), "none")] {
        let house = House::open();
        house.write("a.txt", "a");
        let events = run_with(&house, example, [json!("1.4.2"), json!("repair"), leave]).await;
        assert_eq!(events.outputs(), json!({"version": "1.4.2", "written": written}));
        let text = std::fs::read_to_string(house.folder.path().join("RELEASE.md")).ok();
        assert_eq!(
            text.as_deref(),
            (written != "none").then_some("# 1.4.2\n\nA repair release of 1 files.\n")
        );
    }
}
