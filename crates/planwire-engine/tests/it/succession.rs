//! Executors of one log: who is gone is succeeded, who is alive is left alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use planwire_engine::engine::GONE_AFTER_DEFAULT;
use planwire_engine::{EngineConfig, ResumeError, Succession};
use planwire_event::vocabulary::{PlanAdopted, ToolCompleted};
use planwire_event::{LogId, PlanId};
use planwire_store::{Executors, MemoryStore, SeenExecutor, StoreError};
use serde_json::json;

use crate::house::House;

/// The table of executors, whose ages a test sets.
#[derive(Debug, Default)]
struct Roll(Mutex<BTreeMap<String, Duration>>);

impl Roll {
    fn set(&self, house: &House, age: Duration) {
        self.0.lock().unwrap().insert(house.engine.executor_id().to_owned(), age);
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }
}

impl Executors for Roll {
    fn seen<'a>(&'a self, executor_id: &'a str, _: Option<&'a str>) -> BoxFuture<'a, Result<(), StoreError>> {
        self.0.lock().unwrap().insert(executor_id.to_owned(), Duration::ZERO);
        Box::pin(std::future::ready(Ok(())))
    }

    fn gone<'a>(&'a self, executor_id: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        self.0.lock().unwrap().insert(executor_id.to_owned(), Duration::MAX);
        Box::pin(std::future::ready(Ok(())))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<SeenExecutor>, StoreError>> {
        let seen = self.0.lock().unwrap().clone().into_iter();
        let seen = seen.map(|(executor_id, age)| SeenExecutor { executor_id, url: None, age }).collect();
        Box::pin(std::future::ready(Ok(seen)))
    }

    fn forget<'a>(&'a self, executor_id: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        self.0.lock().unwrap().remove(executor_id);
        Box::pin(std::future::ready(Ok(())))
    }
}

const HELD: &str = r#"
plan: held
goal: g
steps: { a: { tool: test.gate, idempotent: true, with: { value: 1 } } }
outputs: { a: "${steps.a.output}" }
"#;

/// Two executors of one log, the first with a plan that waits.
async fn two() -> (Arc<Roll>, House, House, PlanId) {
    let (store, roll) = (MemoryStore::new(LogId::from_random(9)), Arc::new(Roll::default()));
    let house = |roll: &Arc<Roll>| {
        let executors: Option<Arc<dyn Executors>> = Some(Arc::clone(roll) as _);
        House::with(store.clone(), |config| EngineConfig { executors, ..config })
    };
    let (first, second) = (house(&roll), house(&roll));
    first.engine.join(Succession::Leaves).await.unwrap();
    second.engine.join(Succession::Leaves).await.unwrap();
    let root = first.start(HELD).await;
    first.probe.until_running(1).await;
    (roll, first, second, root)
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
    first.engine.suspend().await;
    second.probe.gate.add_permits(1);
    second.tree(&root).await.outputs();
    roll.set(&second, GONE_AFTER_DEFAULT);
    let is_seen = || roll.0.lock().unwrap()[second.engine.executor_id()].is_zero();
    while !is_seen() {
        tokio::time::sleep(planwire_engine::engine::BEAT).await;
    }
}
