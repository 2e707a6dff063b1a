//! What becomes of plans when the log does not take their events.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use planwire_bus::{Item, StartAt};
use planwire_event::vocabulary::{PlanCompleted, PlanStarted, SubplanSpawned};
use planwire_event::{Event, Filter, IdGenerator, LogId, PlanId, SystemClock};
use planwire_store::MemoryStore;
use serde_json::json;

use crate::away::{Away, Fate};
use crate::house::House;

/// A house whose disk is full for some appends after the first ones.
fn house_with_full_disk(appends: usize) -> House {
    let away = Away::at(2, Fate::Full, appends);
    House::over(away.log(&MemoryStore::new(LogId::from_random(5))), |config| config)
}

const DOCUMENT: &str = r#"
plan: p
goal: g
steps: { a: { tool: test.echo, with: { value: 1 } }, b: { tool: test.echo, with: { value: "${steps.a.output}" } } }
outputs: { b: "${steps.b.output}" }
"#;

#[tokio::test(start_paused = true)]
async fn full_disk_delays_a_plan_and_does_not_end_it() {
    let house = house_with_full_disk(5);
    let events = house.run(DOCUMENT).await;
    assert_eq!(events.outputs(), json!({"b": 1}));
    assert_eq!(house.probe.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn plan_that_gave_up_on_a_full_disk_ends_when_there_is_room() {
    let house = house_with_full_disk(3 * planwire_engine::shared::PUBLISH_TRIES_MAX as usize);
    let events = house.run(DOCUMENT).await;
    assert_eq!(events.failed().reason.as_str(), "interrupted");
    assert_eq!(events.failed().error.message, "its executor could not go on");
}

#[tokio::test(start_paused = true)]
async fn disk_that_stays_full_leaves_the_plan_open_for_the_next_start() {
    let house = house_with_full_disk(usize::MAX);
    house.start(DOCUMENT).await;
    tokio::time::sleep(planwire_engine::shared::PUBLISH_PAUSE * 100).await;
    assert_eq!(house.engine.open_trees(), 1);
    house.engine.shutdown("SIGTERM").await;
    while house.engine.open_trees() > 0 {
        tokio::task::yield_now().await;
    }
    let open = house.bus.repository().plans(&Default::default()).await.unwrap();
    assert!(open.plans[0].status.is_open());
}

/// Longer than a log is waited for that has no room.
const LONG: usize = 3 * planwire_engine::shared::PUBLISH_TRIES_MAX as usize;

#[tokio::test(start_paused = true)]
async fn log_that_is_away_for_long_at_any_append_ends_no_plan() {
    // Appends of a run: the start, two calls, the end.
    for (at, fate) in
        (1..4).flat_map(|at| [Fate::Stored, Fate::NotStored, Fate::Refused].map(|fate| (at, fate)))
    {
        let away = Away::at(at, fate, LONG);
        let house = House::over(away.log(&MemoryStore::new(LogId::from_random(5))), |config| config);
        let events = house.run(DOCUMENT).await;
        assert_eq!(events.outputs(), json!({"b": 1}), "append {at} {fate:?}");
        assert_eq!(house.probe.calls().len(), 2, "append {at} {fate:?}");
        assert_eq!(away.refused.load(Ordering::SeqCst), 0, "append {at} {fate:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn plan_of_which_nobody_knows_whether_it_started_runs() {
    for fate in [Fate::Stored, Fate::NotStored] {
        let away = Away::at(0, fate, LONG);
        let house = House::over(away.log(&MemoryStore::new(LogId::from_random(5))), |config| config);
        let refused = house.try_start(DOCUMENT, json!({})).await.unwrap_err();
        assert!(refused.to_string().contains("did not say whether"), "{refused}");
        let mut events = house.bus.stream(Filter::all(), StartAt::Start).await.unwrap();
        let Some(Item::Event(first)) = events.next().await.unwrap() else { panic!("{fate:?}: no event") };
        let events = house.tree(first.event.plan_id()).await;
        assert_eq!(events.outputs(), json!({"b": 1}), "{fate:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn tree_that_is_adopted_while_the_log_goes_away_is_gone_on_with() {
    for (fate, lists) in [(Fate::Stored, 0), (Fate::NotStored, 0), (Fate::Refused, 0), (Fate::Refused, LONG)]
    {
        let store = MemoryStore::new(LogId::from_random(5));
        let former = House::with(store.clone(), |config| config);
        let document = "{ plan: held, goal: g, steps: { a: { tool: test.gate, idempotent: true } } }";
        let root = former.start(document).await;
        former.probe.until_running(1).await;
        former.engine.suspend().await;
        former.bus.shutdown().await;
        // With `lists`, what was published since the tree was read cannot be read for a while.
        let away = Away::at(0, fate, if lists == 0 { LONG } else { 0 });
        away.lists.store(lists, Ordering::SeqCst);
        let house = House::over(away.log(&store), |config| config);
        let recovered = house.engine.recover().await.unwrap();
        assert_eq!(recovered.resumed + recovered.waiting, 1, "{fate:?} {lists}");
        house.probe.gate.add_permits(1);
        let events = house.tree(&root).await;
        events.outputs();
        assert_eq!(events.count("PlanAdopted"), 1, "{fate:?} {lists}");
    }
}

#[tokio::test(start_paused = true)]
async fn plan_that_gave_up_ends_however_long_the_log_cannot_be_read() {
    let store = MemoryStore::new(LogId::from_random(5));
    let away = Arc::new(Away::default());
    let house = House::over(away.log(&store), |config| config);
    let document = "{ plan: p, goal: g, steps: { a: { tool: test.gate } } }";
    let root = house.start(document).await;
    house.probe.until_running(1).await;
    away.plans.store(LONG, Ordering::SeqCst);
    *away.fate.lock().unwrap() = Fate::Full;
    away.refused.store(planwire_engine::shared::PUBLISH_TRIES_MAX as usize, Ordering::SeqCst);
    away.before.store(0, Ordering::SeqCst);
    house.probe.gate.add_permits(1);
    while house.engine.open_trees() > 0 {
        tokio::time::sleep(planwire_engine::shared::PUBLISH_PAUSE).await;
    }
    assert_eq!(house.tree(&root).await.failed().reason.as_str(), "interrupted");
}

#[tokio::test]
async fn plans_whose_log_is_gone_stop_their_tools_and_end() {
    let house = House::open();
    let document = r#"
plan: above
goal: g
steps:
  first: { tool: test.gate }
  deep: { plan: { plan: below, goal: g, steps: { a: { tool: test.gate }, b: { tool: test.gate } } } }
"#;
    house.start(document).await;
    house.probe.until_running(3).await;
    house.bus.shutdown().await;
    // The first call that ends finds the log closed; nothing goes on without it.
    house.probe.gate.add_permits(1);
    while house.engine.open_trees() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(house.probe.running(), 0);
}

#[tokio::test]
async fn plans_without_owner_are_left_to_their_publisher() {
    let house = House::open();
    let plan: PlanId = "external".parse().unwrap();
    let started = PlanStarted {
        name: "external".into(),
        goal: String::new(),
        inputs: Default::default(),
        document_digest: None,
        parent_plan_id: None,
        context_id: None,
        executor_id: Some("somebody".into()),
        folder: None,
        document_received: false,
        origin: None,
    };
    let event = Event::of(&IdGenerator::system(), &SystemClock, plan, &started).unwrap();
    house.bus.publish(event).await.unwrap();
    assert_eq!(house.engine.recover().await.unwrap(), Default::default());
}

#[tokio::test]
async fn subplan_that_was_announced_and_never_started_does_not_keep_its_parent_open() {
    let house = House::open();
    let executor = planwire_event::Producer::new("former");
    let publisher = house.bus.publisher(executor);
    let (ids, plan): (_, PlanId) = (IdGenerator::system(), "above".parse().unwrap());
    let started = PlanStarted {
        name: "above".into(),
        goal: String::new(),
        inputs: Default::default(),
        document_digest: None,
        parent_plan_id: None,
        context_id: None,
        executor_id: Some("former".into()),
        folder: None,
        document_received: false,
        origin: None,
    };
    let spawned = SubplanSpawned {
        child_plan_id: "below".parse().unwrap(),
        name: "below".into(),
        inputs: Default::default(),
        step: "s".into(),
        item: None,
        document_digest: None,
    };
    let events = vec![
        Event::of(&ids, &SystemClock, plan.clone(), &started).unwrap(),
        Event::of(&ids, &SystemClock, plan.clone(), &spawned).unwrap(),
    ];
    publisher.publish_all(events).await.unwrap();
    assert_eq!(house.engine.recover().await.unwrap().ended, 1);
    let page = house.bus.repository().plans(&Default::default()).await.unwrap();
    assert_eq!(page.plans[0].status.reason(), Some("interrupted"));
}

#[tokio::test]
async fn ends_of_orphans_go_out_however_much_their_subplans_gave() {
    let house = House::open();
    let publisher = house.bus.publisher(planwire_event::Producer::new("former"));
    let (ids, above): (_, PlanId) = (IdGenerator::system(), "above".parse().unwrap());
    let started = |parent: Option<&PlanId>| PlanStarted {
        name: "p".into(),
        goal: String::new(),
        inputs: Default::default(),
        document_digest: None,
        parent_plan_id: parent.cloned(),
        context_id: None,
        executor_id: Some("former".into()),
        folder: None,
        document_received: false,
        origin: None,
    };
    let first = Event::of(&ids, &SystemClock, above.clone(), &started(None)).unwrap();
    publisher.publish(first).await.unwrap();
    // Together more than one request may hold.
    for at in 0..40 {
        let child: PlanId = format!("child{at}").parse().unwrap();
        let inputs = Default::default();
        let spawned = SubplanSpawned {
            child_plan_id: child.clone(),
            name: "c".into(),
            inputs,
            step: "s".into(),
            item: Some(at),
            document_digest: None,
        };
        let outputs = [("text".to_owned(), json!("x".repeat(120_000)))].into_iter().collect();
        let completed = PlanCompleted { outputs, ..PlanCompleted::default() };
        let events = vec![
            Event::of(&ids, &SystemClock, above.clone(), &spawned).unwrap(),
            Event::of(&ids, &SystemClock, child.clone(), &started(Some(&above))).unwrap(),
            Event::of(&ids, &SystemClock, child, &completed).unwrap(),
        ];
        publisher.publish_all(events).await.unwrap();
    }
    assert_eq!(house.engine.recover().await.unwrap().ended, 1);
    let page = house.bus.repository().plans(&Default::default()).await.unwrap();
    assert!(page.plans.iter().all(|plan| !plan.status.is_open()));
}
