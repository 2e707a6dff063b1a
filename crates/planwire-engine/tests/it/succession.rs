//! Executors of one log: who is gone is succeeded, who is alive is left alone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use planwire_engine::engine::{BEAT, GONE_AFTER_DEFAULT};
use planwire_engine::{AtMoment, EngineConfig, ResumeError, Stage, Succession};
use planwire_event::vocabulary::{PlanAdopted, ToolCompleted};
use planwire_event::{EventType, LogId, PlanId};
use planwire_store::{Executors, MemoryStore, SeenExecutor, StoreError};
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use crate::away::{Away, Fate};
use crate::house::House;

/// The table of executors, whose ages a test sets, and how often somebody was seen.
#[derive(Debug, Default)]
struct Roll(Mutex<BTreeMap<String, Duration>>, watch::Sender<usize>, AtomicBool);

impl Roll {
    fn set(&self, house: &House, age: Duration) {
        self.0.lock().unwrap().insert(house.engine.executor_id().to_owned(), age);
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }

    /// Nobody can read or write it, or everybody can again.
    fn set_away(&self, is_away: bool) {
        self.2.store(is_away, Ordering::SeqCst);
    }

    fn answer<T: Send + 'static>(&self, answer: T) -> BoxFuture<'_, Result<T, StoreError>> {
        let is_away = self.2.load(Ordering::SeqCst);
        let answer = if is_away { Err(StoreError::Unreachable("away".into())) } else { Ok(answer) };
        Box::pin(std::future::ready(answer))
    }

    /// Waits until somebody was seen so often again.
    async fn until_seen(&self, times: usize) {
        let mut seen = self.1.subscribe();
        let until = *seen.borrow() + times;
        seen.wait_for(|seen| *seen >= until).await.unwrap();
    }
}

impl Executors for Roll {
    fn seen<'a>(&'a self, executor_id: &'a str, _: Option<&'a str>) -> BoxFuture<'a, Result<(), StoreError>> {
        if !self.2.load(Ordering::SeqCst) {
            self.0.lock().unwrap().insert(executor_id.to_owned(), Duration::ZERO);
            self.1.send_modify(|seen| *seen += 1);
        }
        self.answer(())
    }

    fn gone<'a>(&'a self, executor_id: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        self.0.lock().unwrap().insert(executor_id.to_owned(), Duration::MAX);
        self.answer(())
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<SeenExecutor>, StoreError>> {
        let seen = self.0.lock().unwrap().clone().into_iter();
        let seen = seen.map(|(executor_id, age)| SeenExecutor { executor_id, url: None, age }).collect();
        self.answer(seen)
    }

    fn forget<'a>(&'a self, executor_id: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        self.0.lock().unwrap().remove(executor_id);
        self.answer(())
    }
}

/// Time runs fast where it is paused.
const HELD: &str = r#"
plan: held
goal: g
limits: { timeout: 168h }
steps: { a: { tool: test.gate, idempotent: true, timeout: 1h, with: { value: 1 } } }
outputs: { a: "${steps.a.output}" }
"#;

/// Two executors of one log, the first with a plan that waits.
async fn two() -> (Arc<Roll>, House, House, PlanId) {
    let (roll, first, second, roots) = two_over(&Arc::default(), 1).await;
    second.engine.join(Succession::Leaves).await.unwrap();
    (roll, first, second, roots[0].clone())
}

/// The same with some such plans, and a store that may be away for the second, which has not joined.
async fn two_over(away: &Arc<Away>, plans: usize) -> (Arc<Roll>, House, House, Vec<PlanId>) {
    let (store, roll) = (MemoryStore::new(LogId::from_random(9)), Arc::new(Roll::default()));
    let executors: Option<Arc<dyn Executors>> = Some(Arc::clone(&roll) as _);
    let house = |log| House::over(log, |config| EngineConfig { executors: executors.clone(), ..config });
    let (first, second) = (house(Arc::<Away>::default().log(&store)), house(away.log(&store)));
    first.engine.join(Succession::Leaves).await.unwrap();
    // Its first beat; the next one comes after all that is not about beats.
    roll.until_seen(1).await;
    let mut roots = Vec::new();
    for _ in 0..plans {
        roots.push(first.start(HELD).await);
    }
    first.probe.until_running(plans).await;
    (roll, first, second, roots)
}

/// The tree ends well, by the second of two executors that took it over once.
async fn check_adopted_once(first: &House, second: &House, root: &PlanId) {
    let events = second.tree(root).await;
    assert_eq!(events.outputs(), json!({"a": 1}));
    let adopted = events.all::<PlanAdopted>();
    assert_eq!(adopted.len(), 1);
    assert_eq!(adopted[0].previous, first.engine.executor_id());
    assert_eq!(adopted[0].executor_id, second.engine.executor_id());
}

#[tokio::test]
async fn executor_that_was_not_seen_for_long_is_succeeded_and_its_late_words_do_not_count() {
    let (roll, first, second, root) = two().await;
    for age in [Duration::ZERO, GONE_AFTER_DEFAULT - Duration::from_millis(1)] {
        roll.set(&first, age);
        assert_eq!(second.engine.succeed().await.unwrap(), Default::default());
        assert_eq!(second.engine.recover().await.unwrap(), Default::default());
    }
    roll.set(&first, GONE_AFTER_DEFAULT);
    assert_eq!(second.engine.succeed().await.unwrap().resumed, 1);
    assert_eq!(roll.names(), [second.engine.executor_id()], "it owns nothing any more");
    second.probe.until_running(1).await;
    first.probe.gate.add_permits(1);
    while first.engine.open_trees() > 0 {
        tokio::task::yield_now().await;
    }
    second.probe.gate.add_permits(1);
    let events = second.tree(&root).await;
    assert_eq!(events.outputs(), json!({"a": 1}));
    assert_eq!(events.all::<ToolCompleted>().len(), 1);
    let adopted = events.all::<PlanAdopted>();
    assert_eq!(adopted.len(), 1);
    assert_eq!(adopted[0].previous, first.engine.executor_id());
    assert_eq!(adopted[0].executor_id, second.engine.executor_id());
}

#[tokio::test]
async fn executor_that_ends_is_succeeded_at_once() {
    let (_, first, second, root) = two().await;
    first.engine.suspend().await;
    assert_eq!(second.engine.succeed().await.unwrap().resumed, 1);
    second.probe.gate.add_permits(1);
    second.tree(&root).await.outputs();
}

#[tokio::test]
async fn plan_of_an_executor_that_is_alive_is_not_resumed_by_another() {
    let (roll, first, second, root) = two().await;
    let refused = second.engine.resume(&root).await.unwrap_err();
    assert!(
        matches!(&refused, ResumeError::Runs { owner, .. } if owner == first.engine.executor_id()),
        "{refused}"
    );
    // Nobody ever said that it is gone, and nobody knows it.
    roll.0.lock().unwrap().remove(first.engine.executor_id());
    assert_eq!(second.engine.resume(&root).await.unwrap(), root);
    second.probe.gate.add_permits(1);
    second.tree(&root).await.outputs();
}

#[tokio::test(start_paused = true)]
async fn engine_that_has_joined_looks_after_others_by_itself() {
    let (roll, first, second, root) = two().await;
    second.engine.join(Succession::Adopts).await.unwrap();
    assert_eq!(second.engine.recover().await.unwrap(), Default::default());
    first.engine.suspend().await;
    second.probe.gate.add_permits(1);
    second.tree(&root).await.outputs();
    roll.set(&second, GONE_AFTER_DEFAULT);
    let is_seen = || roll.0.lock().unwrap()[second.engine.executor_id()].is_zero();
    while !is_seen() {
        sleep(BEAT).await;
    }
}

#[tokio::test]
async fn executor_that_starts_takes_each_tree_over_once() {
    const PLANS: usize = 8;
    let (_, first, second, roots) = two_over(&Arc::default(), PLANS).await;
    first.engine.suspend().await;
    second.engine.join(Succession::Adopts).await.unwrap();
    let (recovered, succeeded) = tokio::join!(second.engine.recover(), second.engine.succeed());
    assert_eq!((recovered.unwrap().resumed, succeeded.unwrap().resumed), (PLANS, 0));
    second.probe.gate.add_permits(PLANS);
    for root in &roots {
        check_adopted_once(&first, &second, root).await;
    }
}

#[tokio::test]
async fn executor_that_saw_nobody_for_long_gives_others_time_to_show_that_they_are_alive() {
    let (roll, first, second, roots) = two_over(&Arc::default(), 1).await;
    tokio::time::pause();
    second.engine.join(Succession::Adopts).await.unwrap();
    second.engine.recover().await.unwrap();
    second.probe.gate.add_permits(1);
    sleep(2 * GONE_AFTER_DEFAULT).await;
    // The table is away for a minute, for everybody; the other one takes longer to reach it again.
    roll.set_away(true);
    first.engine.suspend().await;
    sleep(6 * GONE_AFTER_DEFAULT).await;
    roll.set(&first, 6 * GONE_AFTER_DEFAULT);
    roll.set_away(false);
    roll.until_seen(GONE_AFTER_DEFAULT.as_secs() as usize - 1).await;
    assert_eq!(second.engine.open_trees(), 0);
    // It shows no life in all that time, and is gone.
    check_adopted_once(&first, &second, &roots[0]).await;
}

#[tokio::test]
async fn executor_shows_that_it_is_alive_while_it_takes_trees_over() {
    let away = Arc::new(Away { histories: Semaphore::new(0), ..Away::default() });
    let (roll, first, second, roots) = two_over(&away, 3).await;
    tokio::time::pause();
    second.engine.join(Succession::Adopts).await.unwrap();
    second.engine.recover().await.unwrap();
    second.probe.gate.add_permits(3);
    first.engine.suspend().await;
    // No tree can be read, and all are adopted.
    let is_ours = |row: &planwire_store::PlanRow| row.owner.as_deref() == Some(second.engine.executor_id());
    while !second.bus.repository().plans(&Default::default()).await.unwrap().plans.iter().all(is_ours) {
        sleep(BEAT).await;
    }
    roll.until_seen(2 * GONE_AFTER_DEFAULT.as_secs() as usize).await;
    away.histories.add_permits(1);
    for root in &roots {
        check_adopted_once(&first, &second, root).await;
    }
}

#[tokio::test]
async fn tree_that_cannot_be_read_keeps_no_other_and_is_tried_again() {
    let away = Arc::new(Away::default());
    let (roll, first, second, roots) = two_over(&away, 3).await;
    tokio::time::pause();
    first.engine.suspend().await;
    second.engine.join(Succession::Adopts).await.unwrap();
    second.probe.gate.add_permits(3);
    *away.unread.lock().unwrap() = Some(roots[1].clone());
    let recovered = second.engine.recover().await.unwrap();
    assert_eq!((recovered.resumed, recovered.ended, recovered.waiting), (2, 0, 1));
    check_adopted_once(&first, &second, &roots[0]).await;
    check_adopted_once(&first, &second, &roots[2]).await;
    roll.until_seen(GONE_AFTER_DEFAULT.as_secs() as usize).await;
    assert_eq!(second.engine.open_trees(), 1);
    *away.unread.lock().unwrap() = None;
    check_adopted_once(&first, &second, &roots[1]).await;
}

#[tokio::test(start_paused = true)]
async fn call_waits_while_nobody_can_say_who_owns_its_plan() {
    // The log takes the call late, so that its owner is asked for, and then answers no reads.
    let (store, roll, away) =
        (MemoryStore::new(LogId::from_random(9)), Arc::new(Roll::default()), Away::at(1, Fate::Refused, 2));
    let unread = Arc::clone(&away);
    let hook = AtMoment::new(move |moment| {
        if (moment.stage, &moment.event_type) == (Stage::Durable, &EventType::ToolCalled) {
            unread.plans.store(5, Ordering::SeqCst);
        }
    });
    let house = House::over(away.log(&store), |config| EngineConfig {
        executors: Some(roll as _),
        at_moment: Some(hook),
        ..config
    });
    house.engine.join(Succession::Leaves).await.unwrap();
    house.probe.gate.add_permits(1);
    assert_eq!(house.run(HELD).await.outputs(), json!({"a": 1}));
    assert_eq!(away.plans.load(Ordering::SeqCst), 0);
}
