//! Secrets: tools get them, events never do, whatever comes back.

mod canary;
mod cuts;
mod echoes;
mod inputs;
mod unnamed;

use planwire_bus::StartError;
use planwire_engine::{EngineConfig, Secrets};
use planwire_event::vocabulary::{InputReceived, ToolCalled, ToolCompleted};
use serde_json::{Value, json};

use crate::asking::{Asked, answer};
use crate::house::House;

const TOKEN: &str = "tok-4f9a81c2e7";

fn secrets() -> Secrets {
    Secrets::new([("TOKEN".to_owned(), TOKEN.to_owned()), ("PIN".to_owned(), "918273".to_owned())]).unwrap()
}

fn house() -> House {
    House::open_with(|config| EngineConfig { secrets: secrets(), ..config })
}

#[tokio::test]
async fn tools_get_values_where_events_have_markers() {
    let house = house();
    let events = house
        .run(
            r#"
plan: use
goal: Use secrets
steps:
  all:
    tool: test.echo
    with:
      value:
        whole: "${secret('TOKEN')}"
        text: "Bearer ${ secret(\"TOKEN\") }!"
        list: ["${plan.name}-${secret('PIN')}-${1 + 1}", "***TOKEN***", { $secret: TOKEN }]
outputs: { got: "${steps.all.output}" }
"#,
        )
        .await;
    let got = house.probe.calls();
    let value = json!({
        "whole": TOKEN, "text": format!("Bearer {TOKEN}!"),
        "list": ["use-918273-2", "***TOKEN***", {"$secret": "TOKEN"}],
    });
    assert_eq!(got, [json!({"value": value})]);
    let called = &events.all::<ToolCalled>()[0];
    assert_eq!(
        Value::Object(called.arguments.clone())["value"],
        json!({
            "whole": {"$secret": "TOKEN"}, "text": "Bearer ***TOKEN***!",
            "list": ["use-***PIN***-2", "***TOKEN***", {"$secret": "TOKEN"}],
        })
    );
    let seen = json!({
        "whole": "***TOKEN***", "text": "Bearer ***TOKEN***!",
        "list": ["use-***PIN***-2", "***TOKEN***", {"$secret": "TOKEN"}],
    });
    assert_eq!(events.all::<ToolCompleted>()[0].output, Some(seen.clone()));
    assert_eq!(events.outputs()["got"], seen, "expressions see what the event says");
}

#[tokio::test]
async fn markers_that_come_from_outside_are_never_filled_in() {
    let house = house();
    house
        .run(
            r#"
plan: relay
goal: Pass on what somebody else wrote
steps:
  read: { tool: test.echo, with: { value: "***TOKEN***" } }
  object: { tool: test.echo, with: { value: { $secret: TOKEN } } }
  pass: { tool: test.echo, with: { value: ["${steps.read.output}", "${steps.object.output}"] } }
"#,
        )
        .await;
    assert!(house.probe.calls().contains(&json!({"value": ["***TOKEN***", {"$secret": "TOKEN"}]})));
    assert!(!format!("{:?}", house.probe.calls()).contains(TOKEN));
}

#[tokio::test]
async fn events_name_their_members_that_have_lost_a_value() {
    let house = house();
    let events = house
        .run(
            r#"
plan: named
goal: Use secrets, and none
steps:
  use: { tool: test.echo, with: { value: { plain: 1, whole: "${secret('TOKEN')}", "a/b": ["x", "Bearer ${secret('PIN')}"] } } }
  pass: { tool: test.echo, with: { value: "${steps.use.output.whole}" } }
  none: { tool: test.echo, with: { value: "***OTHER*** and ***" } }
  fail:
    tool: test.echo
    with: { fail: "${secret('TOKEN')}" }
    on_error:
      decide: What then?
      options: { on: { description: go on, output: "${error.code}" }, stop: { description: stop, fail: true } }
      choose: "'on'"
artifacts:
  blob: { base64: "${'KioqVE9LRU4qKio='}" }
"#,
        )
        .await;
    let named = |name: &str, step: &str| {
        let is_it = |event: &&planwire_event::StoredEvent| {
            let payload = event.event.payload().to_value();
            event.event.event_type().as_str() == name
                && [&payload["step"], &payload["artifact_id"]].contains(&&json!(step))
        };
        let event = events.0.iter().find(is_it).unwrap();
        assert!(event.event.redacted().is_empty(), "the log has it in one place");
        event.meta.redacted.clone()
    };
    let below = |member: &str, paths: &[&str]| -> Vec<String> {
        paths.iter().map(|path| format!("/{member}{path}")).collect()
    };
    assert_eq!(named("ToolCalled", "use"), below("arguments/value", &["/a~1b/1", "/whole"]));
    assert_eq!(named("ToolCompleted", "use"), below("output", &["/a~1b/1", "/whole"]));
    assert_eq!(named("ToolCalled", "pass"), ["/arguments/value"]);
    assert_eq!(named("ToolCompleted", "pass"), ["/output"]);
    assert_eq!((named("ToolCalled", "none"), named("ToolCompleted", "none")), (vec![], vec![]));
    assert_eq!(named("ToolCompleted", "fail"), ["/error/code"]);
    assert_eq!(named("DecisionMade", "fail"), ["/error/code", "/output"]);
    assert_eq!(named("ArtifactProduced", "blob"), ["/part"]);
}

#[tokio::test]
async fn every_attempt_gets_the_value() {
    let house = house();
    let events = house
        .run(
            r#"
plan: retry
goal: Try again with the secret
steps:
  ask:
    tool: test.echo
    with: { value: "${attempt}:${secret('TOKEN')}", fail: "${attempt == 1 ? 'again' : ''}" }
    retry: { attempts: 2, backoff: 1ms }
"#,
        )
        .await;
    let values: Vec<_> = house.probe.calls().iter().map(|call| call["value"].clone()).collect();
    assert_eq!(values, [format!("1:{TOKEN}"), format!("2:{TOKEN}")]);
    assert_eq!(events.all::<ToolCompleted>()[1].output, Some(json!("2:***TOKEN***")));
}

#[tokio::test]
async fn documents_that_name_no_secret_or_hold_one_do_not_start() {
    let house = house();
    let start = async |step: &str| {
        let document =
            format!("{{plan: p, goal: g, steps: {{a: {{tool: test.echo, with: {{value: {step}}}}}}}}}");
        house.try_start(&document, json!({})).await
    };
    let Err(StartError::Invalid { message, diagnostics }) = start("\"${secret('TOKN')}\"").await else {
        panic!("it started");
    };
    assert!(
        message.contains("unknown secret 'TOKN'") && message.contains("did you mean 'TOKEN'?"),
        "{message}"
    );
    assert_eq!((&diagnostics[0]["line"], &diagnostics[0]["column"]), (&json!(1), &json!(66)));
    let Err(StartError::Invalid { message, .. }) = start(TOKEN).await else { panic!("it started") };
    assert!(
        message.contains("the document holds the value of a secret") && !message.contains(TOKEN),
        "{message}"
    );
    assert!(house.probe.calls().is_empty());
}

#[tokio::test]
async fn registered_documents_are_checked_when_they_start() {
    use planwire_bus::{DocumentSource, PlanStarter as _, StartRequest};
    use planwire_engine::document::{Document, Folder};
    let text = "{plan: p, goal: g, steps: {a: {plan: {plan: c, goal: g, steps: {
        b: {tool: exec, with: {argv: [echo, \"${secret('OTHER')}\"]}}}}}}}";
    let resolved = Document::parse(text, "p.yaml", Folder::None).unwrap();
    assert_eq!(resolved.document.secrets().into_iter().collect::<Vec<_>>(), ["OTHER"]);
    let house = House::open_with(|config| EngineConfig {
        documents: [("p".to_owned(), resolved)].into(),
        secrets: secrets(),
        ..config
    });
    let request = StartRequest {
        document: DocumentSource::Registered("p".into()),
        inputs: serde_json::Map::new(),
        origin: planwire_event::vocabulary::Origin {
            protocol: "cli".into(),
            principal: "tester".into(),
            message: None,
        },
        context_id: None,
    };
    let Err(StartError::Invalid { message, .. }) = house.engine.start(request).await else {
        panic!("it started");
    };
    assert!(message.contains("there is no secret named 'OTHER'"), "{message}");
}

#[tokio::test]
async fn an_answer_of_somebody_else_that_is_full_of_secrets_does_not_stop_the_plan() {
    let name = format!("A{}", "_LONG_NAME".repeat(6));
    let secrets = Secrets::new([(name, "918273".to_owned())]).unwrap();
    let house = House::open_with(|config| EngineConfig { secrets, ..config });
    let document = "
plan: above
goal: g
steps: { below: { plan: { plan: below, goal: g, steps: { which: { ask: q } }, outputs: { size: \"${size(steps.which.output)}\" } } } }
outputs: { size: \"${steps.below.outputs.size}\" }
";
    let root = house.start(document).await;
    let mut asked = Asked::of(&house, &root).await;
    let (plan, question) = asked.next().await;
    answer(&house, &plan, &question, json!("918273".repeat(8_000))).await;
    let events = house.tree(&root).await;
    assert_eq!(events.outputs()["size"], 48_000);
    let received: Vec<InputReceived> = events.all();
    assert_eq!((received.len(), &received[1].value), (2, &Value::Null));
}
