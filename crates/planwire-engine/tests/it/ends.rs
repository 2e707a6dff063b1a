//! Ends that come at a bad moment: asked for too early, by a task that dies, by a limit of the log.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use planwire_bus::{Item, PublishError, StartAt};
use planwire_engine::{AtMoment, Engine, EngineConfig, Stage};
use planwire_event::vocabulary::{CancelRequested, PlanFailed, SubplanSpawned, ToolCompleted};
use planwire_event::{Event, EventType, Filter, IdGenerator, LogId, PlanId, SystemClock};
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

/// A root of 10 s with three subplans, each with one below it, and calls in flight in all of them: one that listens and
/// one that does not.
const DEEP: &str = r#"
plan: slow
goal: g
limits: { timeout: 10s, parallel: 8 }
steps:
  own: { tool: test.gate }
  below:
    for_each: "[0, 1, 2]"
    parallel: 3
    plan:
      plan: middle
      goal: g
      steps:
        hears: { tool: test.gate, retry: { attempts: 3 } }
        deaf: { tool: test.deaf }
        leaf: { plan: { plan: leaf, goal: g, steps: { wait: { tool: test.gate }, next: { after: [wait], tool: test.echo } } } }
    on_error: { decide: "?", options: { on: { description: d, output: {} }, off: { description: d, fail: true } }, choose: "'on'" }
"#;

#[tokio::test]
async fn tree_whose_time_is_over_ends_from_below_with_all_that_runs() {
    let house = House::open();
    let root = house.start(DEEP).await;
    house.probe.until_running(10).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(10)).await;
    let events = house.tree(&root).await;
    assert_eq!(house.probe.running(), 0, "no call outlives its tree");
    let failed = events.failed();
    assert_eq!((failed.reason.as_str(), failed.error.code.as_str()), ("timed_out", "timed_out"));
    let ends: Vec<_> = events.all::<PlanFailed>().iter().map(|failed| failed.reason.as_str()).collect();
    assert_eq!(ends, [&["cancelled"; 6][..], &["timed_out"]].concat());
    let calls: Vec<ToolCompleted> = events.all();
    assert!(calls.iter().all(|call| call.error.as_ref().unwrap().code == "cancelled"), "{calls:?}");
    assert_eq!(
        (calls.len(), events.count("DecisionMade")),
        (10, 0),
        "nothing is tried again or recovered from"
    );
    // Nothing of a plan, nor of one below it, follows its end.
    let mut ended: HashSet<&PlanId> = HashSet::new();
    for event in &events.0 {
        assert!(event.parent_plan_id.as_ref().is_none_or(|parent| !ended.contains(parent)));
        if event.event.event_type().is_terminal() {
            ended.insert(event.plan_id());
        }
    }
    assert_eq!(ended.len(), 7);
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
