//! Secret inputs: tools get them, no event does, and nobody has them after a restart.

use planwire_bus::{PlanStarter as _, StartError};
use planwire_engine::EngineConfig;
use planwire_engine::document::{Document, Folder};
use planwire_event::vocabulary::{
    ArtifactPart, ArtifactProduced, InputRequested, PlanStarted, ToolCalled, ToolCompleted,
};
use planwire_event::{LogId, PlanId};
use planwire_store::MemoryStore;
use serde_json::{Value, json};

use super::{TOKEN, house as with_secrets, secrets};
use crate::asking::{Asked, answer};
use crate::house::{Events, House};

/// What is given for the secret input.
const GIVEN: &str = "canary-of-an-input-42";

const DEPLOY: &str = r#"
plan: deploy
goal: Use what the caller gave
inputs: { token: { type: string, secret: true }, page: { type: string } }
steps:
  use:
    tool: test.echo
    with:
      value:
        list: ["${inputs.token}", "Bearer ${ inputs.token }", "${secret('TOKEN')}", "${inputs.page}"]
        password: "Bearer ${inputs.token}"
  pass: { tool: test.echo, with: { value: { all: "${inputs}", output: "${steps.use.output}" } } }
  loud:
    tool: exec
    with:
      argv: [sh, -c, 'for at in 1 2 3 4 5 6 7 8 9; do printf "%s %s|" "$T" "$(printf %s "$T" | od -An -tx1 | tr -d " \n")"; done']
      env: { T: "${inputs.token}" }
  below:
    plan:
      plan: below
      goal: Say it again
      inputs: { said: { type: object } }
      steps: { say: { tool: test.echo, with: { value: "${inputs.said}" } } }
      outputs: { said: "${steps.say.output}" }
    with: { said: "${steps.use.output}" }
  fail:
    tool: test.echo
    with: { fail: "no ${inputs.token}" }
    on_error:
      decide: What then?
      options: { on: { description: go on, output: "${error.code}" }, stop: { description: stop, fail: true } }
      choose: "'on'"
outputs: { used: "${steps.use.output}", below: "${steps.below.outputs.said}", failed: "${steps.fail.output}" }
artifacts: { blob: { text: "${[1,2,3,4,5,6,7,8,9].map(a, [1,2,3,4,5,6,7,8,9].map(b, [1,2,3,4,5,6,7,8].map(c, steps.loud.output.stdout)))}" } }
"#;

fn check(events: &Events, canary: &str) {
    for event in &events.0 {
        let text = event.event.payload().as_str();
        assert!(!text.contains(canary), "{text}");
    }
}

#[tokio::test]
async fn a_tool_gets_the_value_and_no_event_and_no_blob_has_it() {
    let house = with_secrets();
    let inputs = json!({"token": GIVEN, "page": format!("of {GIVEN}")});
    let root = house.try_start(DEPLOY, inputs).await.unwrap();
    let events = house.tree(&root).await;
    check(&events, GIVEN);
    check(&events, TOKEN);
    let started = &events.all::<PlanStarted>()[0];
    let shown = json!({"token": "***inputs.token***", "page": "of ***inputs.token***"});
    assert_eq!(Value::Object(started.inputs.clone()), shown);
    assert_eq!(events.0[0].meta.redacted, ["/inputs/page", "/inputs/token"]);
    let used = json!({"value": {
        "list": [GIVEN, format!("Bearer {GIVEN}"), TOKEN, "of ***inputs.token***"],
        "password": format!("Bearer {GIVEN}"),
    }});
    assert!(house.probe.calls().contains(&used), "{:?}", house.probe.calls());
    let called = events.all::<ToolCalled>().into_iter().find(|called| called.step == "use").unwrap();
    let said = &called.arguments["value"];
    assert_eq!(
        (&said["list"][0], &said["password"]),
        (&json!({"$secret": "inputs.token"}), &json!("Bearer ***inputs.token***"))
    );
    let seen = json!({
        "list": ["***inputs.token***", "Bearer ***inputs.token***", "***TOKEN***", "of ***inputs.token***"],
        "password": "Bearer ***inputs.token***",
    });
    let outputs = events.outputs();
    assert_eq!((&outputs["used"], &outputs["below"]), (&seen, &seen), "also in the plans below");
    assert!(outputs["failed"].as_str().unwrap().contains("***inputs.token***"), "{outputs}");
    let passed = house.probe.calls().into_iter().find(|call| call["value"]["all"].is_object()).unwrap();
    assert_eq!(passed["value"], json!({"all": shown, "output": seen}), "expressions see what events say");
    let loud = events.all::<ToolCompleted>().into_iter().find(|ended| ended.step == "loud").unwrap();
    let stdout = loud.output.unwrap()["stdout"].as_str().unwrap().to_owned();
    assert_eq!(stdout, "***inputs.token*** ***inputs.token***|".repeat(9));
    let ArtifactPart::Blob { digest, .. } = events.all::<ArtifactProduced>().remove(0).part else {
        panic!("no blob");
    };
    let blob = house.bus.repository().blob(digest.parse().unwrap(), 0).await.unwrap().unwrap();
    let blob = String::from_utf8_lossy(&blob);
    assert!(blob.contains("***inputs.token***") && !blob.contains(GIVEN));
}

#[tokio::test]
async fn a_value_is_looked_for_in_the_tree_of_its_plan_alone() {
    let house = House::open();
    let document = "
plan: p
goal: g
inputs: { token: { type: string, secret: true }, page: { type: string } }
steps: { a: { tool: test.gate, with: { value: '${inputs.page}' } } }
outputs: { page: '${steps.a.output}' }
";
    let first = house.try_start(document, json!({"token": GIVEN, "page": GIVEN})).await.unwrap();
    let other = "canary-of-another-plan";
    let second = house.try_start(document, json!({"token": other, "page": GIVEN})).await.unwrap();
    for (plan, value) in [(&first, GIVEN), (&second, other)] {
        let mut value = json!(value);
        assert!(
            house.engine.redact(Some(plan), &mut value),
            "what others say of the plan is looked through too"
        );
        assert_eq!(value, "***inputs.token***");
    }
    assert!(!house.engine.redact(None, &mut json!(GIVEN)));
    house.probe.gate.add_permits(2);
    assert_eq!(house.tree(&first).await.outputs(), json!({"page": "***inputs.token***"}));
    assert_eq!(house.tree(&second).await.outputs(), json!({"page": GIVEN}));
    assert!(!house.engine.redact(Some(&first), &mut json!(GIVEN)), "it is over");
}

#[tokio::test]
async fn values_that_cannot_be_kept_out_of_events_start_nothing() {
    let house = House::open();
    let long = "x".repeat(16 * 1024 + 1);
    let start = async |token: Value| match house.try_start(DEPLOY_ALONE, json!({"token": token})).await {
        Err(StartError::Inputs { message }) => message,
        other => panic!("{other:?}"),
    };
    for (given, told) in [
        (json!("canar"), "the value of secret inputs.token has 5 bytes, fewer than 6"),
        (json!(long), "the value of secret inputs.token has 16385 bytes, more than 16384"),
        (json!("inputs"), "the value of secret inputs.token is part of the markers that stand for secrets"),
        (json!(918_273), "the secret input 'token' must be a text"),
        (json!([GIVEN]), "the secret input 'token' must be a text"),
        (json!("test.echo"), "the value of a secret input is a part of the document, which is stored"),
    ] {
        assert_eq!(start(given).await, told);
    }
    let Err(StartError::Inputs { message }) = house.try_start(DEPLOY_ALONE, json!({})).await else {
        panic!("it started");
    };
    assert_eq!(message, "plan 'alone' needs the input 'token' (a text)");
    assert_eq!(house.probe.calls(), [] as [Value; 0]);
}

const DEPLOY_ALONE: &str = "
plan: alone
goal: g
inputs: { token: { type: string, secret: true } }
steps: { a: { tool: test.echo, with: { value: '${inputs.token}' } } }
";

#[test]
fn a_secret_input_may_stand_where_a_secret_may_and_nowhere_else() {
    let parsed = |text: &str| Document::parse(text, "test.yaml", Folder::None);
    let broken = |text: &str| {
        let found = parsed(text).unwrap_err();
        let told =
            |it: &planwire_engine::document::Diagnostic| format!("{}:{} {}", it.line, it.column, it.message);
        found.list().iter().map(told).collect::<Vec<_>>().join("\n")
    };
    let inputs = "inputs: { t: { type: string, secret: true }, o: { type: string, secret: false } }";
    let with = |step: &str| format!("plan: p\ngoal: g\n{inputs}\nsteps:\n  a: {step}\n");
    let no_value = "the secret input 't' has no value in expressions";
    for step in [
        "{ tool: exec, with: { argv: [\"${inputs.t + '!'}\"] } }",
        "{ tool: exec, with: { argv: [\"${size(inputs.t)}\"] } }",
        "{ tool: exec, with: { argv: [\"${inputs['t']}\"] } }",
        "{ tool: exec, with: { argv: [a] }, when: \"inputs.t == 'a'\" }",
        "{ tool: exec, with: { argv: [a] }, usage: { tokens: \"${inputs.t}\" } }",
        "{ ask: \"${inputs.t}\" }",
        "{ fail: \"${inputs.t}\" }",
        "{ plan: { plan: c, goal: g, inputs: { i: { type: string } }, steps: { b: { fail: no } } }, with: { i: \"${inputs.t}\" } }",
    ] {
        let at = step.find("inputs.t").or_else(|| step.find("inputs['t']")).unwrap();
        let column = "  a: ".len() + at + 1;
        assert_eq!(broken(&with(step)), format!("5:{column} {no_value}"), "{step}");
    }
    let sound = with("{ tool: exec, with: { argv: [\"${inputs.t}\", \"a ${ inputs.t } ${inputs.o}\"] } }");
    let document = parsed(&sound).unwrap().document;
    assert_eq!(document.secret_inputs().collect::<Vec<_>>(), ["t"]);
    assert!(document.secrets().is_empty(), "nothing that would have to be configured");

    let declared = |input: &str| {
        broken(&format!("plan: p\ngoal: g\ninputs:\n  t: {input}\nsteps: {{ a: {{ fail: no }} }}\n"))
    };
    assert_eq!(
        declared("{ type: int, secret: true }"),
        "4:14 input 't' is secret, so its type must be string, not int"
    );
    assert_eq!(
        declared("{ type: string, secret: true, default: abc }"),
        "4:45 input 't' is secret and can have no default"
    );
    assert_eq!(declared("{ type: string, secret: 1 }"), "4:30 'secret' must be true or false, not a number");
    let many: String = (0..11).map(|at| format!("  t{at}: {{ type: string, secret: true }}\n")).collect();
    assert_eq!(
        broken(&format!("plan: p\ngoal: g\ninputs:\n{many}steps: {{ a: {{ fail: no }} }}\n")),
        "4:3 'inputs' has more than 10 secret ones"
    );
    let child = "{ plan: { plan: c, goal: g, inputs: { t: { type: string, secret: true } }, steps: { b: { fail: no } } } }";
    assert_eq!(broken(&with(child)), "5:14 input 't' of plan 'c' is secret: it cannot run as a subplan");
}

const HELD: &str = r#"
plan: held
goal: g
inputs: { token: { type: string, secret: true } }
steps:
  hold: { tool: test.gate, idempotent: true, with: { value: { password: "Bearer ${inputs.token}" } }, RECOVERY }
  after: { tool: test.echo, after: [hold], with: { value: "${inputs.token}" }, RECOVERY }
outputs: { hold: "${steps.hold.output}", after: "${steps.after.output}" }
"#;
const RECOVERY: &str = "on_error: { decide: And now?, options: { on: { description: d, output: \"${error}\" }, stop: { description: d, fail: true } }, choose: \"'on'\" }";

async fn gone(document: &str) -> (MemoryStore, PlanId) {
    let store = MemoryStore::new(LogId::from_random(9));
    let former = House::with(store.clone(), |config| EngineConfig { secrets: secrets(), ..config });
    let root = former.try_start(document, json!({"token": GIVEN})).await.unwrap();
    former.probe.until_running(1).await;
    former.bus.shutdown().await;
    (store, root)
}

#[tokio::test]
async fn after_a_restart_a_call_that_needs_the_value_fails_and_the_plan_may_decide() {
    let (store, root) = gone(&HELD.replace("RECOVERY", RECOVERY)).await;
    let house = House::with(store, |config| EngineConfig { secrets: secrets(), ..config });
    house.engine.recover().await.unwrap();
    let events = house.tree(&root).await;
    check(&events, GIVEN);
    let outputs = events.outputs();
    for step in ["hold", "after"] {
        assert_eq!(outputs[step]["code"], "unknown_secret", "{outputs}");
        let told = "the value of the secret input token was not stored";
        assert!(outputs[step]["message"].as_str().unwrap().starts_with(told), "{outputs}");
    }
    assert_eq!(house.probe.calls(), [] as [Value; 0], "no tool got a marker");
    let (store, root) = gone(&HELD.replace(", RECOVERY", "")).await;
    let house = House::with(store, |config| config);
    house.engine.recover().await.unwrap();
    assert_eq!(house.tree(&root).await.failed().error.code, "unknown_secret");
}

#[tokio::test]
async fn an_approval_shows_a_marker_and_the_tool_gets_the_value() {
    let house = House::open();
    let document = DEPLOY_ALONE.replace("tool: test.echo,", "tool: test.echo, approve: 'Go on?',");
    let root = house.try_start(&document, json!({"token": GIVEN})).await.unwrap();
    let (_, question): (_, InputRequested) = Asked::of(&house, &root).await.next().await;
    let about = json!({"tool": "test.echo", "arguments": {"value": {"$secret": "inputs.token"}}});
    assert_eq!(question.arguments.clone().map(Value::Object), Some(about));
    answer(&house, &root, &question, json!("approve")).await;
    let events = house.tree(&root).await;
    events.outputs();
    check(&events, GIVEN);
    assert_eq!(house.probe.calls(), [json!({"value": GIVEN})]);
}
