//! Ends that come at a bad moment: asked for too early, by a task that dies, by a limit of the log.

use std::sync::{Arc, OnceLock};

use futures_util::FutureExt as _;
use planwire_bus::{Item, PublishError, StartAt};
use planwire_engine::{AtMoment, Engine, EngineConfig, Stage};
use planwire_event::vocabulary::{CancelRequested, PlanFailed, SubplanSpawned};
use planwire_event::{Event, EventType, Filter, IdGenerator, LogId, SystemClock};
use planwire_store::MemoryStore;

use crate::house::House;

/// Asks the engine to end as soon as an event of a type is durable, once there is an engine.
pub(crate) fn ending_at(announces: EventType) -> (AtMoment, Arc<OnceLock<Engine>>) {
    let engine: Arc<OnceLock<Engine>> = Arc::default();
    let asked = Arc::clone(&engine);
    let hook = AtMoment::new(move |moment| {
        if moment.stage == Stage::Durable
            && moment.event_type == announces
            && let Some(engine) = asked.get()
        {
            // Only to ask takes no waiting.
            let _ = engine.shutdown("SIGTERM").now_or_never();
        }
    });
    (hook, engine)
}

#[tokio::test]
async fn plan_that_is_asked_to_end_begins_nothing_more() {
    let document = r#"
plan: above
goal: g
steps:
  choice: { decide: q, options: { a: x, b: y }, choose: "'a'" }
  below: { when: "steps.choice.chosen == 'a'", plan: { plan: below, goal: g, steps: { a: { tool: test.echo } } } }
"#;
    for announces in
        [EventType::PlanStarted, EventType::DecisionMade, EventType::ToolCalled, EventType::SubplanSpawned]
    {
        // The request comes between an event and its effect.
        let (hook, engine) = ending_at(announces.clone());
        let store = MemoryStore::new(LogId::from_random(3));
        let house = House::with(store, |config| EngineConfig { at_moment: Some(hook), ..config });
        assert!(engine.set(house.engine.clone()).is_ok());
        let events = house.run(document).await;
        assert_eq!(events.failed().reason.as_str(), "interrupted");
        assert!(house.probe.calls().is_empty(), "{announces}");
        assert_eq!(events.count("ToolCalled"), usize::from(announces == EventType::ToolCalled));
    }
}

#[tokio::test]
async fn plan_that_waits_for_room_alone_and_is_asked_to_end_while_it_publishes_ends() {
    let document = r#"
plan: above
goal: g
limits: { parallel_calls: 1 }
steps:
  busy: { tool: test.gate }
  below:
    plan:
      plan: below
      goal: g
      steps:
        choice: { decide: q, options: { a: x, b: y }, choose: "'a'" }
        a: { after: [choice], tool: test.echo }
"#;
    // The subplan publishes this when the only call that may run is that of the plan above.
    let (hook, engine) = ending_at(EventType::DecisionMade);
    let house = House::open_with(|config| EngineConfig { at_moment: Some(hook), ..config });
    assert!(engine.set(house.engine.clone()).is_ok());
    let events = house.run(document).await;
    let ends: Vec<_> = events.all::<PlanFailed>().iter().map(|failed| failed.reason.as_str()).collect();
    assert_eq!(ends, ["interrupted", "interrupted"]);
    assert_eq!((events.count("DecisionMade"), events.count("ToolCalled")), (1, 1));
}

#[tokio::test]
async fn plan_whose_task_dies_ends_for_those_who_follow_it() {
    for announces in [EventType::DecisionMade, EventType::ToolCalled, EventType::SubplanSpawned] {
        let hook = AtMoment::new(move |moment| {
            assert!(moment.stage == Stage::Before || moment.event_type != announces, "as asked");
        });
        let store = MemoryStore::new(LogId::from_random(3));
        let house = House::with(store, |config| EngineConfig { at_moment: Some(hook), ..config });
        let document = r#"
plan: above
goal: g
steps:
  other: { plan: { plan: other, goal: g, steps: { a: { tool: test.gate } } } }
  below:
    plan:
      plan: below
      goal: g
      steps:
        choice: { decide: q, options: { a: x, b: y }, choose: "'a'" }
        a: { after: [choice], tool: test.echo }
"#;
        let root = house.start(document).await;
        let mut stream = house.bus.stream(Filter::tree(root.clone()), StartAt::Start).await.unwrap();
        while let Item::Event(_) = stream.next().await.unwrap().unwrap() {}
        let plans = house.bus.repository().plans(&Default::default()).await.unwrap().plans;
        assert!(plans.iter().all(|plan| !plan.status.is_open()), "{plans:?}");
        while house.engine.open_trees() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(house.probe.running(), 0);
    }
}

#[tokio::test]
async fn plan_that_spawns_more_than_the_log_takes_ends_by_its_limit() {
    let leaf =
        r#"{ plan: leaf, goal: g, steps: { a: { decide: q, options: { a: x, b: y }, choose: "'a'" } } }"#;
    let document = format!(
        "plan: many\ngoal: g\nlimits: {{ parallel: 64 }}\nsteps:\n  items: {{ tool: test.echo, with: {{ value: {:?} }} }}\n  first: {{ for_each: steps.items.output, parallel: 64, plan: {leaf} }}\n  second: {{ after: [first], for_each: \"[1]\", plan: {leaf} }}",
        [0; 10_000]
    );
    let events = House::open().run(&document).await;
    let failed = events.failed();
    assert_eq!((failed.reason.as_str(), failed.error.step.as_deref()), ("limit_exceeded", Some("second")));
    assert_eq!(events.count("SubplanCompleted"), 10_000);
    let items: Vec<_> = events.all::<SubplanSpawned>().into_iter().map(|spawned| spawned.item).collect();
    assert!(items.into_iter().eq((0..10_000).map(Some)));
}

#[tokio::test]
async fn plan_that_is_cancelled_between_two_attempts_makes_no_other() {
    let house = House::open();
    let document = "plan: p\ngoal: g\nsteps: { a: { tool: test.echo, with: { fail: broken }, retry: { attempts: 10, backoff: 30s } } }";
    let root = house.start(document).await;
    let mut stream = house.bus.stream(Filter::plan(root.clone()), StartAt::Start).await.unwrap();
    while let Item::Event(event) = stream.next().await.unwrap().unwrap() {
        if event.event.event_type().as_str() == "ToolCompleted" {
            house.cancel(&root, "").await;
        }
    }
    let events = house.tree(&root).await;
    assert_eq!(events.failed().reason.as_str(), "cancelled");
    assert_eq!(house.probe.calls().len(), 1);
}

#[tokio::test]
async fn request_that_comes_after_the_end_changes_nothing() {
    let house = House::open();
    let events = house.run("plan: p\ngoal: g\nsteps: { a: { tool: test.echo } }").await;
    let request = CancelRequested { requested_by: "me".into(), reason: String::new() };
    let event = Event::of(&IdGenerator::system(), &SystemClock, events.root().clone(), &request).unwrap();
    assert!(matches!(house.bus.publish(event).await, Err(PublishError::Rejected { .. })));
    assert_eq!(house.tree(events.root()).await.0.len(), events.0.len());
}
