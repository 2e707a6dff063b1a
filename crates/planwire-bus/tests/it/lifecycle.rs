//! What may follow what, for every publisher, also after a restart and with a cold cache.

use planwire_bus::{Config, EventBus, Log, PublishError};
use planwire_event::vocabulary::{PlanAdopted, PlanStarted};
use planwire_event::{Event, Refusal, SystemClock};

use crate::kit::{Kit, start};

async fn refusal(bus: &EventBus, event: Event) -> Refusal {
    match bus.publish(event).await {
        Err(PublishError::Rejected { index: 0, refusal }) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// The same kit after a restart: nothing but the store is left.
async fn restarted(kit: Kit) -> Kit {
    kit.bus.shutdown().await;
    Kit::over(kit.store, Config::default())
}

async fn refuses_what_contradicts_the_tree(kit: &Kit) {
    let bus = &kit.bus;
    assert!(matches!(refusal(bus, kit.started("root")).await, Refusal::AlreadyStarted { .. }));
    assert!(matches!(refusal(bus, kit.call_ended("root", "other")).await, Refusal::CallUnknown { .. }));
    assert!(matches!(refusal(bus, kit.called("root", "open")).await, Refusal::CallOpen { .. }));
    assert!(matches!(refusal(bus, kit.child_ended("root", "announced")).await, Refusal::ChildOpen { .. }));
    assert!(matches!(refusal(bus, kit.child_ended("root", "running")).await, Refusal::ChildOpen { .. }));
    assert!(matches!(
        refusal(bus, kit.child_ended("root", "reported")).await,
        Refusal::LineageConflict { .. }
    ));
    assert!(matches!(refusal(bus, kit.child_ended("root", "never")).await, Refusal::LineageConflict { .. }));
    assert!(matches!(refusal(bus, kit.spawned("root", "running")).await, Refusal::AlreadyStarted { .. }));
    assert!(matches!(refusal(bus, kit.spawned("root", "announced")).await, Refusal::LineageConflict { .. }));
    assert!(matches!(
        refusal(bus, kit.spawned("running", "announced")).await,
        Refusal::LineageConflict { .. }
    ));
    assert!(matches!(refusal(bus, kit.started("announced")).await, Refusal::LineageConflict { .. }));
    assert!(matches!(
        refusal(bus, kit.child_started("announced", "running")).await,
        Refusal::LineageConflict { .. }
    ));
    assert!(matches!(refusal(bus, kit.child_started("x", "nobody")).await, Refusal::ParentUnknown { .. }));
    assert!(matches!(refusal(bus, kit.child_started("x", "reported")).await, Refusal::PlanEnded { .. }));
    assert!(matches!(refusal(bus, kit.custom("reported", 1)).await, Refusal::PlanEnded { .. }));
    assert!(matches!(refusal(bus, kit.failed("reported")).await, Refusal::PlanEnded { .. }));
    assert!(matches!(refusal(bus, kit.custom("x", 1)).await, Refusal::PlanNotStarted { .. }));
}

#[tokio::test]
async fn contradictions_are_refused_also_after_a_restart() {
    let kit = Kit::new();
    kit.publish(vec![
        kit.started("root"),
        kit.called("root", "open"),
        kit.spawned("root", "announced"),
        kit.spawned("root", "running"),
        kit.child_started("running", "root"),
        kit.spawned("root", "reported"),
        kit.child_started("reported", "root"),
        kit.completed("reported"),
        kit.child_ended("root", "reported"),
    ])
    .await;
    refuses_what_contradicts_the_tree(&kit).await;
    let kit = restarted(kit).await;
    refuses_what_contradicts_the_tree(&kit).await;
    // And what may follow still does, with the seq that is due.
    kit.publish(vec![
        kit.failed("running"),
        kit.child_ended("root", "running"),
        kit.call_ended("root", "open"),
    ])
    .await;
    let place = kit.bus.publish(kit.child_started("announced", "root")).await.unwrap();
    assert_eq!(place.seq.get(), 1);
    assert_eq!(kit.bus.publish(kit.completed("root")).await.unwrap().seq.get(), 9);
}

#[tokio::test]
async fn only_the_owner_publishes_on_its_tree_except_commands_and_custom_types() {
    let kit = Kit::new();
    let owned = PlanStarted { executor_id: Some("exec1".into()), ..start(None) };
    let owner = kit.publisher("exec1");
    owner.publish(kit.event("a", &owned)).await.unwrap();
    // The payload alone makes no owner: this one came through another door.
    kit.publisher("http:x").publish(kit.event("b", &owned)).await.unwrap();
    let kit = restarted(kit).await;
    let (owner, other) = (kit.publisher("exec1"), kit.publisher("http:x"));
    for event in [kit.called("a", "1"), kit.completed("a"), kit.spawned("a", "c")] {
        let error = other.publish(event).await.unwrap_err();
        assert!(
            matches!(&error, PublishError::Rejected { refusal: Refusal::NotOwner { owner, .. }, .. } if owner == "exec1"),
            "{error}"
        );
    }
    other.publish(kit.cancel("a")).await.unwrap();
    other.publish(kit.custom("a", 1)).await.unwrap();
    other.publish(kit.called("b", "1")).await.unwrap();
    owner.publish_all(vec![kit.spawned("a", "c")]).await.unwrap();
    assert!(matches!(
        other.publish(kit.child_started("c", "a")).await,
        Err(PublishError::Rejected { refusal: Refusal::NotOwner { .. }, .. })
    ));
    owner
        .publish_all(vec![
            kit.child_started("c", "a"),
            kit.completed("c"),
            kit.child_ended("a", "c"),
            kit.completed("a"),
        ])
        .await
        .unwrap();
}

/// Whether the executor may publish this now.
async fn may(kit: &Kit, executor: &str, event: Event) -> bool {
    match kit.publisher(executor).publish(event).await {
        Ok(_) => true,
        Err(PublishError::Rejected { refusal: Refusal::NotOwner { .. }, .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn adopted_tree_belongs_to_its_new_executor_to_its_leaves() {
    let kit = Kit::new();
    let owned = PlanStarted { executor_id: Some("exec1".into()), ..start(None) };
    let first = kit.publisher("exec1");
    first.publish(kit.event("a", &owned)).await.unwrap();
    first
        .publish_all(vec![kit.spawned("a", "c"), kit.child_started("c", "a"), kit.spawned("c", "d")])
        .await
        .unwrap();
    let adopted = |executor: &str, previous: &str| PlanAdopted {
        executor_id: executor.into(),
        previous: previous.into(),
        reason: String::new(),
    };
    // A request that is refused takes the adoption back that stands in it.
    let request = vec![kit.event("a", &adopted("exec2", "exec1")), kit.call_ended("a", "nothing")];
    kit.publisher("exec2").publish_all(request).await.unwrap_err();
    assert!(may(&kit, "exec1", kit.called("c", "1")).await);
    assert!(may(&kit, "exec2", kit.event("a", &adopted("exec2", "exec1"))).await);
    assert!(!may(&kit, "exec3", kit.event("a", &adopted("exec3", "exec1"))).await);
    for (plan, call) in [("a", "1"), ("c", "2")] {
        assert!(!may(&kit, "exec1", kit.called(plan, call)).await);
        assert!(may(&kit, "exec2", kit.called(plan, call)).await);
    }
    assert!(!may(&kit, "exec1", kit.child_started("d", "c")).await);
    assert!(may(&kit, "exec2", kit.child_started("d", "c")).await);
    let error = kit.publisher("exec3").publish(kit.event("c", &adopted("exec3", "exec2"))).await.unwrap_err();
    assert!(error.to_string().contains("its tree is adopted at its root a"), "{error}");
    let kit = restarted(kit).await;
    assert!(!may(&kit, "exec1", kit.called("d", "1")).await);
    assert!(may(&kit, "exec2", kit.called("d", "1")).await);
    let rows = kit.bus.repository().plans(&Default::default()).await.unwrap().plans;
    assert!(rows.iter().all(|row| row.owner.as_deref() == Some("exec2")), "{rows:?}");
}

#[tokio::test]
async fn a_log_that_is_opened_anew_goes_on_where_it_was() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a"), kit.custom("a", 1)]).await;
    let kit = restarted(kit).await;
    let place = kit.bus.publish(kit.custom("a", 2)).await.unwrap();
    assert_eq!((place.position.get(), place.seq.get()), (3, 3));
    let log =
        Log::open(kit.store.writer(), kit.store.repository(), std::sync::Arc::new(SystemClock)).unwrap();
    assert_eq!(log.head().get(), 3);
}
