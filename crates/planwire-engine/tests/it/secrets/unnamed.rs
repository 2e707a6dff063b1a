//! What is redacted although nobody named its value: the tool gets it, events do not, and later steps see what they say.

use planwire_bus::StartError;
use planwire_engine::{EngineConfig, Rules, Secrets};
use planwire_event::LogId;
use planwire_event::vocabulary::{ArtifactProduced, InputRequested, ToolCalled, ToolCompleted};
use planwire_store::MemoryStore;
use serde_json::{Value, json};

use crate::asking::{Asked, answer};
use crate::house::House;

/// A token of the form of GitHub's, put together.
fn token() -> String {
    format!("ghp_{}", "0aB1c".repeat(8))
}

fn rules(rules: &Rules) -> House {
    let secrets = Secrets::none().with_rules(rules).unwrap();
    House::open_with(|config| EngineConfig { secrets, ..config })
}

const LOGIN: &str = r#"
plan: login
goal: Use what nobody named
steps:
  log_in:
    tool: test.echo
    with:
      value:
        user: me
        Pass-Word: "${'hunter' + string(2)}"
        credentials: { pin: 1234, list: ["a", ""], known: true }
        headers: { authorization: "${'Bearer ' + 'abc'}", "next_page_token": "p2", input_tokens: 7 }
        text: "${'ghp_' + '0aB1c0aB1c0aB1c0aB1c' + '0aB1c0aB1c0aB1c0aB1c'}, or so"
  pass: { tool: test.echo, with: { value: "${steps.log_in.output['Pass-Word']}" } }
outputs: { token: "${steps.log_in.output.user}", text: "${steps.log_in.output.text}" }
artifacts: { note: { text: "${'ghp_' + '0aB1c0aB1c0aB1c0aB1c' + '0aB1c0aB1c0aB1c0aB1c'}" } }
"#;

#[tokio::test]
async fn key_names_and_tokens_are_redacted_in_events_and_not_in_calls() {
    let house = House::open();
    let events = house.run(LOGIN).await;
    let text = format!("{}, or so", token());
    let called = &house.probe.calls()[0]["value"];
    assert_eq!(
        *called,
        json!({
            "user": "me", "Pass-Word": "hunter2", "credentials": {"pin": 1234, "list": ["a", ""], "known": true},
            "headers": {"authorization": "Bearer abc", "next_page_token": "p2", "input_tokens": 7}, "text": text,
        })
    );
    let shown = json!({
        "user": "me", "Pass-Word": "***password***",
        "credentials": {"pin": "***credentials***", "list": ["***credentials***", ""], "known": true},
        "headers": {"authorization": "***authorization***", "next_page_token": "p2", "input_tokens": 7},
        "text": "***github_token***, or so",
    });
    assert_eq!(events.all::<ToolCalled>()[0].arguments["value"], shown);
    assert_eq!(events.all::<ToolCompleted>()[0].output, Some(shown));
    assert_eq!(
        house.probe.calls()[1],
        json!({"value": "***password***"}),
        "later steps see what the event says"
    );
    assert_eq!(events.outputs(), json!({"token": "***token***", "text": "***github_token***, or so"}));
    let note = serde_json::to_value(&events.all::<ArtifactProduced>()[0].part).unwrap();
    assert!(note.to_string().contains("***github_token***"), "{note}");
    let paths = ["Pass-Word", "credentials/list/0", "credentials/pin", "headers/authorization", "text"];
    let paths = paths.map(|path| format!("/arguments/value/{path}"));
    assert_eq!(events.0[1].meta.redacted, paths);
    for event in &events.0 {
        let text = event.event.payload().as_str();
        assert!(
            !["hunter2", "1234", "Bearer abc", &token()].iter().any(|value| text.contains(value)),
            "{text}"
        );
    }
}

#[tokio::test]
async fn rules_can_be_others_or_none() {
    let house = rules(&Rules::none());
    let events = house.run(LOGIN).await;
    assert_eq!(events.all::<ToolCompleted>()[0].output, Some(house.probe.calls()[0]["value"].clone()));
    assert!(events.0.iter().all(|event| event.meta.redacted.is_empty()));

    let house = rules(&Rules { keys: vec!["user".into()], ..Rules::none() });
    let events = house.run(LOGIN).await;
    let arguments = &events.all::<ToolCalled>()[0].arguments["value"];
    assert_eq!((&arguments["user"], &arguments["Pass-Word"]), (&json!("***user***"), &json!("hunter2")));
}

#[tokio::test]
async fn variables_of_the_environment_are_looked_for_as_secrets_are() {
    let variables = [("DEPLOY_TOKEN".to_owned(), "canary-0815".to_owned())];
    let house = rules(&Rules::none().with_environment(variables));
    let document =
        "{ plan: p, goal: g, steps: { a: { tool: test.echo, with: { value: \"${'canary' + '-0815'}\" } } } }";
    let events = house.run(document).await;
    assert_eq!(events.all::<ToolCompleted>()[0].output, Some(json!("***DEPLOY_TOKEN***")));
    let unknown = "{ plan: p, goal: g, steps: { a: { tool: test.echo, with: { value: \"${secret('DEPLOY_TOKEN')}\" } } } }";
    assert!(house.try_start(unknown, json!({})).await.is_err(), "no document can name it");
}

#[tokio::test]
async fn documents_with_tokens_and_inputs_with_key_names_do_not_start() {
    let house = House::open();
    let document = format!(
        "{{ plan: p, goal: g, steps: {{ a: {{ tool: test.echo, with: {{ value: {} }} }} }} }}",
        token()
    );
    let Err(StartError::Invalid { message, .. }) = house.try_start(&document, json!({})).await else {
        panic!("it started");
    };
    assert!(message.contains("a token") && !message.contains(&token()), "{message}");
    let document = "
plan: p
goal: g
inputs: { api_key: { type: string, default: '' }, page: { type: string } }
steps: { a: { tool: test.echo, with: { value: '${inputs.page}' } } }
outputs: { page: '${steps.a.output}' }
";
    let Err(StartError::Inputs { message }) =
        house.try_start(document, json!({"api_key": "canary", "page": "1"})).await
    else {
        panic!("it started");
    };
    assert!(
        message.contains("'api_key' has the name of a secret") && !message.contains("canary"),
        "{message}"
    );
    let root = house.try_start(document, json!({"page": token()})).await.unwrap();
    let events = house.tree(&root).await;
    assert_eq!(events.outputs(), json!({"page": "***github_token***"}));
    assert_eq!(events.0[0].meta.redacted, ["/inputs/page"]);
    assert_eq!(
        house.probe.calls(),
        [json!({"value": "***github_token***"})],
        "as the event of the start says it"
    );
}

const HELD: &str = r#"
plan: held
goal: g
steps: { a: { tool: test.gate, idempotent: true, with: { value: { n: 1, password: "${'hunter' + string(2)}" } } } }
outputs: { a: "${steps.a.output}" }
"#;

async fn gone_while_calling() -> (MemoryStore, planwire_event::PlanId) {
    let store = MemoryStore::new(LogId::from_random(9));
    let former = House::with(store.clone(), |config| config);
    let root = former.start(HELD).await;
    former.probe.until_running(1).await;
    former.bus.shutdown().await;
    (store, root)
}

#[tokio::test]
async fn a_call_that_is_made_again_after_a_restart_has_its_arguments_and_no_markers() {
    let (store, root) = gone_while_calling().await;
    let house = House::with(store, |config| config);
    house.probe.gate.add_permits(1);
    house.engine.recover().await.unwrap();
    let events = house.tree(&root).await;
    assert_eq!(events.outputs(), json!({"a": {"n": 1, "password": "***password***"}}));
    assert_eq!(house.probe.calls(), [json!({"value": {"n": 1, "password": "hunter2"}})]);
}

#[tokio::test]
async fn a_call_whose_arguments_nobody_knows_any_more_is_not_made_again() {
    let (store, root) = gone_while_calling().await;
    let secrets = Secrets::none().with_rules(&Rules::none()).unwrap();
    let house = House::with(store, |config| EngineConfig { secrets, ..config });
    house.engine.recover().await.unwrap();
    assert_eq!(house.tree(&root).await.failed().error.code, "interrupted");
    assert_eq!(house.probe.calls(), [] as [Value; 0]);
}

#[tokio::test]
async fn an_approval_shows_less_than_the_tool_gets_also_after_a_restart() {
    let document = HELD.replace("test.gate", "test.echo").replace("idempotent: true,", "approve: Go on?,");
    for is_gone in [false, true] {
        let store = MemoryStore::new(LogId::from_random(9));
        let mut house = House::with(store.clone(), |config| config);
        let root = house.start(&document).await;
        let (_, question): (_, InputRequested) = Asked::of(&house, &root).await.next().await;
        let about =
            json!({"tool": "test.echo", "arguments": {"value": {"n": 1, "password": "***password***"}}});
        assert_eq!(question.arguments.clone().map(Value::Object), Some(about));
        if is_gone {
            house.bus.shutdown().await;
            house = House::with(store, |config| config);
            house.engine.recover().await.unwrap();
        }
        answer(&house, &root, &question, json!("approve")).await;
        house.tree(&root).await.outputs();
        assert_eq!(house.probe.calls(), [json!({"value": {"n": 1, "password": "hunter2"}})]);
    }
}
