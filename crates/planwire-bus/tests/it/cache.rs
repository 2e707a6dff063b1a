//! A writer that keeps the state of a single plan answers as one that keeps them all.

use planwire_bus::{Config, PublishError};
use planwire_event::Refusal;

use crate::kit::{Kit, id, take_to_end};

#[tokio::test]
async fn plans_that_left_the_cache_are_read_again_from_the_store() {
    let kit = Kit::with_plans_cached(1);
    for plan in ["a", "b", "c"] {
        kit.publish(vec![kit.started(plan), kit.called(plan, "k"), kit.spawned(plan, &format!("{plan}1"))])
            .await;
    }
    for plan in ["a", "b", "c"] {
        let child = format!("{plan}1");
        kit.publish(vec![kit.child_started(&child, plan), kit.call_ended(plan, "k"), kit.completed(&child)])
            .await;
    }
    for plan in ["c", "b", "a"] {
        let error = kit.bus.publish(kit.call_ended(plan, "k")).await.unwrap_err();
        assert!(
            matches!(error, PublishError::Rejected { refusal: Refusal::CallUnknown { .. }, .. }),
            "{error}"
        );
        kit.publish(vec![kit.child_ended(plan, &format!("{plan}1"))]).await;
        assert_eq!(kit.bus.publish(kit.completed(plan)).await.unwrap().seq.get(), 6);
    }
    // Where a tree ended is found out by asking the store, since its count left the cache too.
    for plan in ["a", "b", "c"] {
        let (events, ended) =
            take_to_end(&mut kit.stream(planwire_event::Filter::tree(id(plan))).await).await;
        assert_eq!((events.len(), ended), (8, true));
    }
}

#[tokio::test]
async fn a_live_reader_of_a_tree_that_left_the_cache_sees_its_end() {
    let kit = Kit::with_plans_cached(1);
    kit.publish(vec![kit.started("a")]).await;
    let mut stream = kit.stream(planwire_event::Filter::tree(id("a"))).await;
    crate::kit::take(&mut stream, 1).await;
    let task = tokio::spawn(async move { take_to_end(&mut stream).await.1 });
    kit.publish(vec![kit.started("b"), kit.started("c"), kit.started("d"), kit.completed("a")]).await;
    assert!(task.await.unwrap());
}

#[tokio::test]
async fn a_restart_reads_no_more_open_plans_than_the_cache_holds() {
    let kit = Kit::new();
    for number in 0..20 {
        kit.publish(vec![kit.started(&format!("p{number}"))]).await;
    }
    kit.bus.shutdown().await;
    let kit = Kit::over(kit.store, Config::default());
    assert_eq!(kit.bus.publish(kit.custom("p0", 1)).await.unwrap().seq.get(), 2);
}

#[tokio::test]
async fn a_child_starts_below_the_plan_that_announced_it_though_that_left_the_cache() {
    let kit = Kit::with_plans_cached(1);
    kit.publish(vec![kit.started("a"), kit.spawned("a", "a1"), kit.started("b"), kit.started("c")]).await;
    let error = kit.bus.publish(kit.started("a1")).await.unwrap_err();
    assert!(
        matches!(error, PublishError::Rejected { refusal: Refusal::LineageConflict { .. }, .. }),
        "{error}"
    );
    kit.publish(vec![kit.child_started("a1", "a")]).await;
}

#[tokio::test]
async fn what_a_plan_announced_that_has_ended_does_not_count() {
    let kit = Kit::with_plans_cached(2);
    kit.publish(vec![kit.started("a"), kit.spawned("a", "x"), kit.spawned("a", "y"), kit.completed("a")])
        .await;
    kit.publish(vec![kit.started("x"), kit.started("b"), kit.started("c"), kit.started("d")]).await;
    kit.publish(vec![kit.spawned("b", "y"), kit.child_started("y", "b")]).await;
}
