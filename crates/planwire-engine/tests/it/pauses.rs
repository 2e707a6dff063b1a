//! Plans that are paused begin nothing new, here and after their process is gone, until somebody asks them to go on.

use std::sync::Arc;

use planwire_bus::{Item, Log, StartAt};
use planwire_engine::EngineConfig;
use planwire_event::vocabulary::{
    LimitWarned, PauseRequested, ResumeRequested, ToolCalled, ToolCompleted, TypedPayload,
};
use planwire_event::{
    Clock, Event, EventType, Filter, IdGenerator, LogId, ManualClock, PlanId, SystemClock, Timestamp,
};
use planwire_store::MemoryStore;
use serde_json::json;

use crate::ends::ending_at;
use crate::house::House;

/// One call after the other, the second in a subplan.
const TWO: &str = r#"
plan: two
goal: g
limits: { timeout: 10s }
steps:
  first: { tool: test.gate, idempotent: true }
  second:
    after: [first]
    plan: { plan: below, goal: g, steps: { a: { tool: test.echo, idempotent: true, with: { value: 2 } } }, outputs: { n: "${steps.a.output}" } }
outputs: { n: "${steps.second.outputs.n}" }
"#;

async fn publish<T: TypedPayload>(house: &House, plan: &PlanId, payload: &T) {
    let event = Event::of(&IdGenerator::system(), &SystemClock, plan.clone(), payload).unwrap();
    house.bus.publish(event).await.unwrap();
}

async fn pause(house: &House, plan: &PlanId) {
    publish(house, plan, &PauseRequested { requested_by: "ann".into(), reason: "lunch".into() }).await;
    heard(house).await;
}

async fn resume(house: &House, plan: &PlanId) {
    resume_at(house, plan, &SystemClock).await;
}

async fn resume_at(house: &House, plan: &PlanId, clock: &dyn Clock) {
    let request = ResumeRequested { requested_by: "ann".into(), reason: String::new() };
    let event = Event::of(&IdGenerator::system(), clock, plan.clone(), &request).unwrap();
    house.bus.publish(event).await.unwrap();
}

/// Waits until the engine has followed all that was asked before: it follows one request after the other.
async fn heard(house: &House) {
    let running = house.probe.running();
    let other = house.start("{ plan: other, goal: g, steps: { a: { tool: test.gate } } }").await;
    house.probe.until_running(running + 1).await;
    house.cancel(&other, "").await;
    house.tree(&other).await;
}

/// Waits for an event of the plan; what it leads to is in the same commit.
async fn seen(house: &House, plan: &PlanId, event_type: EventType) {
    let filter = Filter::plan(plan.clone()).with_types([event_type]);
    let mut stream = house.bus.stream(filter, StartAt::Start).await.unwrap();
    assert!(matches!(stream.next().await.unwrap(), Some(Item::Event(_))));
}

async fn calls(house: &House, root: &PlanId) -> usize {
    let (filter, limits) = (Filter::tree(root.clone()), planwire_store::PageLimits::default());
    let page = house.bus.repository().read_after(Default::default(), &filter, limits).await.unwrap();
    page.events.iter().filter(|stored| stored.event.read::<ToolCalled>().is_some()).count()
}

#[tokio::test]
async fn what_runs_goes_on_and_nothing_new_begins_until_it_is_asked_to() {
    let house = House::open();
    let root = house.start(TWO).await;
    house.probe.until_running(1).await;
    pause(&house, &root).await;
    house.probe.gate.add_permits(1);
    seen(&house, &root, EventType::ToolCompleted).await;
    assert_eq!(calls(&house, &root).await, 1);
    resume(&house, &root).await;
    let events = house.tree(&root).await;
    assert_eq!(events.outputs(), json!({"n": 2}));
    assert_eq!(events.count("SubplanSpawned"), 1);
}

#[tokio::test]
async fn pause_of_a_plan_holds_for_those_below_it() {
    let house = House::open();
    let document = r#"
plan: above
goal: g
steps:
  below:
    plan:
      plan: below
      goal: g
      steps:
        first: { tool: test.gate }
        second: { after: [first], tool: test.echo, with: { value: 2 } }
      outputs: { n: "${steps.second.output}" }
outputs: { n: "${steps.below.outputs.n}" }
"#;
    let root = house.start(document).await;
    house.probe.until_running(1).await;
    pause(&house, &root).await;
    house.probe.gate.add_permits(1);
    let below = house.bus.repository().plans(&Default::default()).await.unwrap().plans;
    let below = below.iter().find(|row| row.parent_plan_id.as_ref() == Some(&root)).unwrap().plan_id.clone();
    seen(&house, &below, EventType::ToolCompleted).await;
    assert_eq!(calls(&house, &root).await, 1);
    resume(&house, &root).await;
    assert_eq!(house.tree(&root).await.outputs(), json!({"n": 2}));
}

#[tokio::test]
async fn paused_plan_stays_paused_when_its_process_is_gone() {
    let store = MemoryStore::new(LogId::from_random(9));
    let former = House::with(store.clone(), |config| config);
    let root = former.start(TWO).await;
    former.probe.until_running(1).await;
    pause(&former, &root).await;
    former.bus.shutdown().await;
    let house = House::with(store, |config| config);
    house.probe.gate.add_permits(1);
    house.engine.recover().await.unwrap();
    // What was in flight may be repeated, pause or not.
    seen(&house, &root, EventType::ToolCompleted).await;
    assert_eq!(calls(&house, &root).await, 1);
    resume(&house, &root).await;
    assert_eq!(house.tree(&root).await.outputs(), json!({"n": 2}));
}

#[tokio::test]
async fn paused_plan_can_be_cancelled() {
    let house = House::open();
    let root = house.start(TWO).await;
    house.probe.until_running(1).await;
    pause(&house, &root).await;
    house.probe.gate.add_permits(1);
    seen(&house, &root, EventType::ToolCompleted).await;
    house.cancel(&root, "too late").await;
    assert_eq!(house.tree(&root).await.failed().reason.as_str(), "cancelled");
}

#[tokio::test]
async fn paused_plan_that_is_asked_to_end_while_it_publishes_ends() {
    let (hook, engine) = ending_at(EventType::ToolCompleted);
    let house = House::open_with(|config| EngineConfig { at_moment: Some(hook), ..config });
    let root = house.start(TWO).await;
    house.probe.until_running(1).await;
    pause(&house, &root).await;
    // From here on the end of the call is the last event of a plan that may begin nothing more.
    assert!(engine.set(house.engine.clone()).is_ok());
    house.probe.gate.add_permits(1);
    let events = house.tree(&root).await;
    assert_eq!(events.failed().reason.as_str(), "interrupted");
    assert_eq!((events.count("ToolCompleted"), events.count("SubplanSpawned")), (1, 0));
    assert!(events.all::<ToolCompleted>()[0].ok, "it ended by itself");
}

/// The log of a process that is gone, of a plan whose first call had ended, and its root.
async fn gone(is_paused: bool) -> (MemoryStore, PlanId) {
    let store = MemoryStore::new(LogId::from_random(9));
    let former = House::with(store.clone(), |config| config);
    let root = former.start(TWO).await;
    former.probe.until_running(1).await;
    if is_paused {
        pause(&former, &root).await;
        former.probe.gate.add_permits(1);
        seen(&former, &root, EventType::ToolCompleted).await;
    }
    former.bus.shutdown().await;
    (store, root)
}

/// A call in a subplan, and one after it.
const BELOW: &str = r#"
plan: above
goal: g
limits: { timeout: 10s }
steps:
  below:
    plan:
      plan: below
      goal: g
      limits: { timeout: 10s }
      steps:
        first: { tool: test.gate, idempotent: true }
        second: { after: [first], tool: test.echo, with: { value: 2 } }
      outputs: { n: "${steps.second.output}" }
outputs: { n: "${steps.below.outputs.n}" }
"#;

/// The log of a process that is gone, of a plan with a subplan whose first call had ended; with the root and the subplan.
/// One of them is paused.
async fn gone_below(is_root_paused: bool) -> (MemoryStore, PlanId, PlanId) {
    let store = MemoryStore::new(LogId::from_random(9));
    let former = House::with(store.clone(), |config| config);
    let root = former.start(BELOW).await;
    former.probe.until_running(1).await;
    let plans = former.bus.repository().plans(&Default::default()).await.unwrap().plans;
    let below = plans.iter().find(|row| row.parent_plan_id.as_ref() == Some(&root)).unwrap().plan_id.clone();
    pause(&former, if is_root_paused { &root } else { &below }).await;
    former.probe.gate.add_permits(1);
    seen(&former, &below, EventType::ToolCompleted).await;
    former.bus.shutdown().await;
    (store, root, below)
}

/// A process that opens the log long after the time of its plan is over.
fn much_later(store: &MemoryStore) -> House {
    after_seconds(store, 1_000)
}

/// A process that opens the log so much later.
fn after_seconds(store: &MemoryStore, seconds: i64) -> House {
    let log = Log::open(store.writer(), store.repository(), Arc::new(SystemClock)).unwrap();
    House::at(Arc::new(later(seconds)), log, |config| config)
}

fn later(seconds: i64) -> ManualClock {
    ManualClock::at(Timestamp::from_micros_clamped(SystemClock.now().as_micros() + seconds * 1_000_000))
}

#[tokio::test]
async fn time_of_a_plan_stands_still_while_it_is_paused_and_goes_on_without_a_process() {
    let (store, root) = gone(true).await;
    let house = much_later(&store);
    house.engine.recover().await.unwrap();
    resume(&house, &root).await;
    assert_eq!(house.tree(&root).await.outputs(), json!({"n": 2}));

    let (store, root) = gone(false).await;
    let house = much_later(&store);
    house.engine.recover().await.unwrap();
    assert_eq!(house.tree(&root).await.failed().reason.as_str(), "timed_out");
}

#[tokio::test]
async fn time_of_plans_below_and_above_one_that_is_paused_stands_still_without_a_process_too() {
    for is_root_paused in [true, false] {
        let (store, root, below) = gone_below(is_root_paused).await;
        let house = much_later(&store);
        house.engine.recover().await.unwrap();
        resume(&house, if is_root_paused { &root } else { &below }).await;
        assert_eq!(house.tree(&root).await.outputs(), json!({"n": 2}), "root paused: {is_root_paused}");
    }
}

#[tokio::test(start_paused = true)]
async fn most_of_a_plans_time_is_warned_of_once_before_it_is_over() {
    let document = "{ plan: slow, goal: g, limits: { timeout: 10s }, steps: { a: { tool: test.gate } } }";
    let events = House::open().run(document).await;
    assert_eq!(events.types(), ["PlanStarted", "ToolCalled", "LimitWarned", "ToolCompleted", "PlanFailed"]);
    let warning = LimitWarned { limit: "timeout".into(), used: 8_000.into(), max: 10_000.into() };
    assert_eq!(events.all::<LimitWarned>(), [warning]);
    assert_eq!(events.failed().reason.as_str(), "timed_out");
}

/// [`TWO`] with more time than a test takes.
fn slow() -> String {
    TWO.replace("10s", "1000s")
}

#[tokio::test]
async fn time_that_ran_without_a_process_is_warned_of_by_the_next_one_and_by_none_after_it() {
    let store = MemoryStore::new(LogId::from_random(9));
    let former = House::with(store.clone(), |config| config);
    let root = former.start(&slow()).await;
    former.probe.until_running(1).await;
    former.bus.shutdown().await;
    let next = after_seconds(&store, 850);
    next.engine.recover().await.unwrap();
    seen(&next, &root, EventType::LimitWarned).await;
    next.bus.shutdown().await;
    let last = after_seconds(&store, 860);
    last.probe.gate.add_permits(1);
    last.engine.recover().await.unwrap();
    let events = last.tree(&root).await;
    let [warned] = &events.all::<LimitWarned>()[..] else { panic!("{:?}", events.types()) };
    assert!(warned.used.as_u64().is_some_and(|ms| (850_000..1_000_000).contains(&ms)), "{warned:?}");
    assert_eq!(events.outputs(), json!({"n": 2}));
}

#[tokio::test]
async fn time_in_which_a_plan_was_paused_is_not_warned_of() {
    let store = MemoryStore::new(LogId::from_random(9));
    let former = House::with(store.clone(), |config| config);
    let document =
        slow().replace("test.echo, idempotent: true, with: { value: 2 }", "test.gate, idempotent: true");
    let root = former.start(&document).await;
    former.probe.until_running(1).await;
    pause(&former, &root).await;
    former.probe.gate.add_permits(1);
    seen(&former, &root, EventType::ToolCompleted).await;
    former.bus.shutdown().await;
    let next = after_seconds(&store, 850);
    next.engine.recover().await.unwrap();
    resume_at(&next, &root, &later(850)).await;
    next.probe.until_running(1).await;
    next.bus.shutdown().await;
    // It has run for as long as it was paused before.
    let last = after_seconds(&store, 1_700);
    last.engine.recover().await.unwrap();
    seen(&last, &root, EventType::LimitWarned).await;
    last.probe.gate.add_permits(1);
    let events = last.tree(&root).await;
    assert_eq!(events.types().last(), Some(&"PlanCompleted"));
    let warned = &events.all::<LimitWarned>()[0];
    assert!(warned.used.as_u64().is_some_and(|ms| (850_000..1_000_000).contains(&ms)), "{warned:?}");
}

#[tokio::test]
async fn pause_that_is_over_counts_for_no_plan_below() {
    let (store, root, _) = gone_below(true).await;
    let house = much_later(&store);
    resume_at(&house, &root, &later(1_000)).await;
    house.bus.shutdown().await;
    let last = much_later(&store);
    last.engine.recover().await.unwrap();
    assert_eq!(last.tree(&root).await.outputs(), json!({"n": 2}));
}
