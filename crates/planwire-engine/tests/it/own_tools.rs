//! Tools of others: schemas of their arguments, progress, what they keep while a tree runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::BoxFuture;
use planwire_bus::{Item, StartAt};
use planwire_engine::keep::Kept;
use planwire_engine::tool::{Parameters, Tool, ToolContext, ToolError, ToolOutput};
use planwire_engine::{EngineConfig, ToolFamily};
use planwire_event::arguments::ArgumentSchema;
use planwire_event::vocabulary::{Object, ToolCompleted, ToolProgress};
use planwire_event::{EventType, Filter};
use serde_json::json;

use crate::house::House;

/// `own.NAME`, known only when it is asked for: counts its calls in something that the tree keeps.
struct Own(String, Arc<AtomicU32>);

/// What a tree keeps; counts how many were made and not ended.
struct Counter(AtomicU32, Arc<AtomicU32>);

impl Kept for Counter {
    fn end(&self) -> BoxFuture<'_, ()> {
        self.1.fetch_sub(1, Ordering::SeqCst);
        Box::pin(std::future::ready(()))
    }
}

impl Tool for Own {
    fn name(&self) -> &str {
        &self.0
    }

    fn purpose(&self) -> &str {
        "counts its calls"
    }

    fn arguments(&self) -> Parameters {
        let schema = json!({
            "type": "object",
            "properties": {"by": {"type": "integer", "minimum": 1}},
            "required": ["by"],
            "additionalProperties": false,
        });
        Parameters::Schema(ArgumentSchema::compile(&schema).unwrap())
    }

    fn call(&self, arguments: Object, context: ToolContext) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        Box::pin(async move {
            let made = Arc::clone(&self.1);
            let counter = context.keep.get_or_keep("own", || {
                made.fetch_add(1, Ordering::SeqCst);
                Counter(AtomicU32::new(0), Arc::clone(&made))
            });
            let counter = counter.map_err(|error| ToolError::new("failed", error.to_string()))?;
            let by = arguments["by"].as_u64().and_then(|by| u32::try_from(by).ok()).unwrap();
            let total = counter.0.fetch_add(by, Ordering::SeqCst) + by;
            let call = &context.call;
            let info = json!([call.step, call.call_id, call.attempt, call.traceparent()]);
            Ok(json!({"total": total, "kept": self.1.load(Ordering::SeqCst), "call": info}).into())
        })
    }
}

/// Finds `own.` and any name.
struct Family(Arc<AtomicU32>);

impl ToolFamily for Family {
    fn prefix(&self) -> &str {
        "own."
    }

    fn get(&self, name: &str) -> Option<Arc<dyn Tool>> {
        (name != "own.none").then(|| Arc::new(Own(name.to_owned(), Arc::clone(&self.0))) as _)
    }

    fn hint(&self, name: &str) -> Option<String> {
        Some(format!("{name} is not among its own"))
    }
}

fn house(kept: &Arc<AtomicU32>) -> House {
    let family = Family(Arc::clone(kept));
    House::open_with(|config| EngineConfig {
        tools: config.tools.clone().with_family(Arc::new(family)),
        ..config
    })
}

#[tokio::test]
async fn what_a_tool_keeps_is_shared_by_the_tree_and_ends_with_it() {
    let kept = Arc::new(AtomicU32::new(0));
    let house = house(&kept);
    let document = r#"
plan: keeps
goal: g
steps:
  a: { tool: own.a, with: { by: 1 } }
  b:
    after: [a]
    plan: { plan: below, goal: g, steps: { c: { tool: own.c, with: { by: 2 } } }, outputs: { all: "${steps.c.output}" } }
outputs: { a: "${steps.a.output}", c: "${steps.b.outputs.all}" }
"#;
    let first = house.run(document).await.outputs();
    assert_eq!((&first["a"]["total"], &first["c"]["total"]), (&json!(1), &json!(3)));
    assert_eq!(first["c"]["kept"], 1);
    // It had ended before the end of the tree was told.
    assert_eq!(kept.load(Ordering::SeqCst), 0);
    assert_eq!(first["a"]["call"].as_array().unwrap()[..3], [json!("a"), json!("a-1"), json!(1)]);
    let trace = |step: &str| first[step]["call"][3].as_str().unwrap()[..36].to_owned();
    assert_eq!(trace("a"), trace("c"));
    let second = house.run(document).await.outputs();
    assert_eq!(second["a"]["total"], 1);
    assert_ne!(second["a"]["call"][3].as_str().unwrap()[..36], trace("a"));
}

#[tokio::test]
async fn what_a_tool_keeps_ends_with_a_tree_that_is_cancelled_or_left() {
    let kept = Arc::new(AtomicU32::new(0));
    let house = house(&kept);
    let document = "{ plan: p, goal: g, steps: { a: { tool: own.a, with: { by: 1 } }, b: { after: [a], tool: test.gate } } }";
    let plan = house.start(document).await;
    house.probe.until_running(1).await;
    assert_eq!(kept.load(Ordering::SeqCst), 1);
    house.cancel(&plan, "").await;
    house.tree(&plan).await.failed();
    assert_eq!(kept.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn arguments_are_checked_against_the_schema_before_the_call() {
    let kept = Arc::new(AtomicU32::new(0));
    let house = house(&kept);
    for (with, message) in [
        ("{ by: \"${inputs.size() - 1}\" }", "/by: the value is less than the minimum of 1"),
        ("{ by: ten }", r#"/by: the value is not of type "integer""#),
    ] {
        let document = format!("{{ plan: p, goal: g, steps: {{ a: {{ tool: own.a, with: {with} }} }} }}");
        let failed = house.run(&document).await.failed();
        assert_eq!((failed.error.code.as_str(), failed.error.message.as_str()), ("bad_argument", message));
    }
    for (with, message) in [
        ("{}", "tool 'own.a' needs the argument 'by'"),
        ("{ by: 1, bye: 2 }", "tool 'own.a' has no argument 'bye'"),
    ] {
        let document = format!("{{ plan: p, goal: g, steps: {{ a: {{ tool: own.a, with: {with} }} }} }}");
        let refused = house.try_start(&document, json!({})).await.unwrap_err().to_string();
        assert!(refused.contains(message), "{refused}");
    }
    let document = "{ plan: p, goal: g, steps: { a: { tool: own.none } } }";
    let refused = house.try_start(document, json!({})).await.unwrap_err().to_string();
    assert!(refused.contains("own.none is not among its own"), "{refused}");
}

#[tokio::test]
async fn progress_is_an_event_between_call_and_end_and_the_last_text_counts() {
    let house = House::open();
    let plan = house.start("{ plan: p, goal: g, steps: { a: { tool: test.progress } } }").await;
    let filter = Filter::plan(plan.clone()).with_types([EventType::ToolProgress]);
    let mut stream = house.bus.stream(filter, StartAt::Start).await.unwrap();
    let Some(Item::Event(event)) = stream.next().await.unwrap() else { panic!("no progress was told") };
    let said = event.event.read::<ToolProgress>().unwrap();
    assert_eq!((said.call_id.as_str(), said.text.as_str()), ("a-1", "99 of 100"));
    house.probe.gate.add_permits(1);
    let events = house.tree(&plan).await;
    assert_eq!(
        events.types(),
        ["PlanStarted", "ToolCalled", "ToolProgress", "ToolCompleted", "PlanCompleted"]
    );
    assert!(events.all::<ToolCompleted>()[0].ok);
}
