//! Plans that run: steps, values, retries, decisions.

use planwire_event::vocabulary::{DecisionMade, PlanCompleted, PlanStarted, ToolCalled, ToolCompleted};
use serde_json::json;

use crate::house::House;

#[tokio::test]
async fn steps_run_in_the_order_of_their_references() {
    let house = House::open();
    let events = house
        .run(
            r#"
plan: sequence
goal: Hand a value on
inputs: { start: { type: int, default: 20 } }
steps:
  second: { tool: test.echo, with: { value: "${steps.first.output + 1}" } }
  first: { tool: test.echo, with: { value: "${inputs.start * 2}" } }
outputs: { result: "${steps.second.output}", text: "got ${steps.first.output} in ${plan.name}" }
"#,
        )
        .await;
    assert_eq!(events.outputs(), json!({"result": 41, "text": "got 40 in sequence"}));
    assert_eq!(
        events.types(),
        ["PlanStarted", "ToolCalled", "ToolCompleted", "ToolCalled", "ToolCompleted", "PlanCompleted"]
    );
    let started = &events.all::<PlanStarted>()[0];
    assert_eq!(started.executor_id.as_deref(), Some(house.engine.executor_id()));
    assert_eq!(started.inputs["start"], 20);
    let digest = started.document_digest.as_ref().unwrap().parse().unwrap();
    assert!(house.bus.repository().document(digest).await.unwrap().unwrap().contains("Hand a value on"));
    assert_eq!(events.all::<PlanCompleted>()[0].counts.tool_calls, 2);
}
