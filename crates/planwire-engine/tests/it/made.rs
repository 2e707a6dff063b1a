//! Plans that are made at run time: what a step gave is checked, stored and run as a subplan.

use planwire_event::Digest;
use planwire_event::vocabulary::{
    DecisionMade, FailureReason, PlanFailed, PlanStarted, SubplanCompleted, SubplanSpawned,
};
use serde_json::{Value, json};

use crate::house::{Events, House};

/// A planner gives a list of documents; each is run.
const PLANNED: &str = r#"
plan: planned
goal: Do what the planner says
inputs: { plans: { type: list } }
limits: { parallel: 8 }
steps:
  planner: { tool: test.echo, with: { value: "${inputs.plans}" } }
  parts:
    for_each: "steps.planner.output"
    plan: "${item.plan}"
    with: "${has(item.with) ? item.with : {'n': index}}"
outputs: { parts: "${steps.parts.outputs.map(o, o.n)}" }
"#;

/// Adds `more` to its input.
fn adds(more: i64) -> Value {
    json!({
        "plan": format!("adds-{more}"), "goal": "Add", "inputs": {"n": {"type": "int"}},
        "steps": {"add": {"tool": "test.echo", "with": {"value": format!("${{inputs.n + {more}}}")}}},
        "outputs": {"n": "${steps.add.output}"},
    })
}

async fn planned(house: &House, plans: &[Value]) -> Events {
    let plans: Vec<Value> = plans.iter().map(|plan| json!({"plan": plan})).collect();
    let root = house.try_start(PLANNED, json!({"plans": plans})).await.unwrap();
    house.tree(&root).await
}

#[tokio::test]
async fn plans_that_a_step_gave_as_objects_and_texts_run_as_subplans() {
    let house = House::open();
    let text = json!(
        "plan: text\ngoal: g\ninputs: { n: { type: int } }\nsteps: { a: { tool: test.echo, with: { value: '${inputs.n}' } } }\noutputs: { n: '${steps.a.output * 10}' }"
    );
    let events = planned(&house, &[adds(5), text, adds(7)]).await;
    assert_eq!(events.outputs(), json!({"parts": [5, 10, 9]}));
    let names: Vec<_> = events.all::<PlanStarted>().into_iter().map(|started| started.name).collect();
    assert_eq!(names, ["planned", "adds-5", "text", "adds-7"]);
}

#[tokio::test]
async fn made_plan_is_stored_by_digest_with_the_event_that_announces_it() {
    let house = House::open();
    let events = planned(&house, &[adds(5), adds(5)]).await;
    let (spawned, started) = (events.all::<SubplanSpawned>(), events.all::<PlanStarted>());
    for (spawned, started) in spawned.iter().zip(&started[1..]) {
        assert_eq!(spawned.document_digest, started.document_digest);
        let digest: Digest = spawned.document_digest.as_ref().unwrap().parse().unwrap();
        let body = house.bus.repository().document(digest).await.unwrap().unwrap();
        assert_eq!(Digest::of(body.as_bytes()), digest);
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), adds(5));
    }
    assert_eq!(spawned.len(), 2);
}

#[tokio::test]
async fn hundreds_of_made_plans_run_in_one_tree() {
    let house = House::open();
    let plans: Vec<Value> = (0..300).map(adds).collect();
    let events = planned(&house, &plans).await;
    let expected: Vec<i64> = (0..300).map(|n| n * 2).collect();
    assert_eq!(events.outputs(), json!({"parts": expected}));
    assert!(events.all::<SubplanCompleted>().iter().all(|completed| completed.ok));
}

#[tokio::test]
async fn value_that_is_no_plan_fails_the_step_with_what_is_wrong() {
    let house = House::open();
    let wrong = json!({"plan": "wrong", "goal": "g", "steps": {"a": {"tool": "test.ecco"}}});
    for (value, message) in [
        (wrong, "unknown tool 'test.ecco' (did you mean 'test.echo'?)"),
        (json!(17), "plan: a plan is an object, or a text in YAML or JSON, not a number"),
        (json!("just words"), "the plan must be"),
        (json!({"plan": "p", "goal": "g", "steps": {"a": {"plan": "./b.yaml"}}}), "cannot be read here"),
    ] {
        let failed = planned(&house, &[value]).await.failed();
        assert_eq!(
            (failed.error.code.as_str(), failed.error.step.as_deref()),
            ("bad_document", Some("parts"))
        );
        assert!(failed.error.message.contains(message), "{}", failed.error.message);
    }
}

#[tokio::test]
async fn decision_about_a_bad_plan_can_give_another_result() {
    let document = PLANNED.replace(
        "outputs: {",
        "    on_error:\n      decide: What now?\n      options: { none: { description: d, output: { n: -1 } }, stop: { description: d, fail: true } }\n      choose: \"error.code == 'bad_document' ? 'none' : 'stop'\"\noutputs: {",
    );
    let house = House::open();
    let plans = json!([{"plan": adds(1)}, {"plan": "no plan"}]);
    let root = house.try_start(&document, json!({"plans": plans})).await.unwrap();
    let events = house.tree(&root).await;
    assert_eq!(events.outputs(), json!({"parts": [1, -1]}));
    assert_eq!(events.all::<DecisionMade>().len(), 1);
}

#[tokio::test]
async fn made_plan_has_the_inputs_that_came_with_it() {
    let house = House::open();
    let plans = json!([{"plan": adds(1), "with": {"n": 10}}, {"plan": adds(2)}]);
    let root = house.try_start(PLANNED, json!({"plans": plans})).await.unwrap();
    assert_eq!(house.tree(&root).await.outputs(), json!({"parts": [11, 3]}));
    let none = json!([{"plan": adds(1), "with": {"n": "many"}}]);
    let root = house.try_start(PLANNED, json!({"plans": none})).await.unwrap();
    assert_eq!(house.tree(&root).await.failed().error.code, "bad_input");
}

#[tokio::test]
async fn inputs_that_a_made_plan_does_not_take_fail_the_step() {
    let house = House::open();
    let without = json!({"plan": "w", "goal": "g", "steps": {"a": {"tool": "test.echo"}}});
    let failed = planned(&house, &[without]).await.failed();
    assert_eq!(failed.error.code, "bad_input");
}

/// A plan that starts itself, as often as it may.
const ENDLESS: &str = r#"
plan: endless
goal: Start myself
inputs: { me: { type: string } }
limits: { depth: 5 }
steps:
  again: { plan: "${inputs.me}", with: { me: "${inputs.me}" } }
"#;

#[tokio::test]
async fn plan_that_makes_itself_ends_at_the_depth_that_is_left() {
    let house = House::open();
    let root = house.try_start(ENDLESS, json!({"me": ENDLESS})).await.unwrap();
    let events = house.tree(&root).await;
    let failed = events.failed();
    assert_eq!(failed.reason, FailureReason::LimitExceeded);
    // Itself and five levels below it.
    assert_eq!(events.all::<PlanStarted>().len(), 6);
    assert_eq!(events.all::<PlanFailed>().len(), 6);
}

#[tokio::test]
async fn made_plan_with_more_levels_than_are_left_is_not_started() {
    let leaf = json!({"plan": "leaf", "goal": "g", "steps": {"a": {"tool": "test.echo"}}});
    let above = |below: Value| json!({"plan": "above", "goal": "g", "steps": {"a": {"plan": below}}});
    let inputs = json!({"me": above(above(leaf)).to_string()});
    let document = ENDLESS.replace("depth: 5", "depth: 2");
    let house = House::open();
    let root = house.try_start(&document, inputs).await.unwrap();
    let events = house.tree(&root).await;
    assert_eq!(events.failed().reason, FailureReason::LimitExceeded);
    assert_eq!(events.all::<PlanStarted>().len(), 1);
}

#[tokio::test]
async fn file_name_with_an_expression_in_it_is_refused_when_it_is_read() {
    let house = House::open();
    let document = PLANNED.replace("${item.plan}", "./${item.plan}.yaml");
    let refused = house.try_start(&document, json!({"plans": []})).await.unwrap_err().to_string();
    assert!(refused.contains("one expression that gives a plan"), "{refused}");
}
