//! A store that refuses, or does not say.

use planwire_bus::{Health, PublishError};
use planwire_event::Filter;
use planwire_store::StoreError;

use crate::kit::{Fault, Kit, positions, take};

#[tokio::test]
async fn a_full_disk_refuses_and_writing_resumes_by_itself() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    kit.hand.fail_next(Fault::Full);
    let event = kit.custom("a", 1);
    let error = kit.bus.publish(event.clone()).await.unwrap_err();
    assert_eq!(error.to_string(), "the store refused: no space is left for the log");
    assert_eq!(kit.bus.health(), Health::Ready);
    let place = kit.bus.publish(event).await.unwrap();
    assert_eq!((place.seq.get(), place.duplicate), (2, false));
}

async fn unknown(fault: Fault, found: u64) {
    let kit = Kit::new();
    let mut stream = kit.stream(Filter::all()).await;
    kit.publish(vec![kit.started("a")]).await;
    kit.hand.fail_next(fault);
    let event = kit.custom("a", 1);
    assert!(matches!(kit.bus.publish(event.clone()).await, Err(PublishError::Unknown(_))));
    // The bus takes nothing more, and nobody has seen what may not be there.
    assert!(matches!(kit.bus.publish(kit.custom("a", 2)).await, Err(PublishError::Stopped)));
    assert!(matches!(kit.bus.stopped().await, Health::Failed { .. }));
    assert_eq!(positions(&take(&mut stream, 1).await), [1]);
    assert_eq!(kit.bus.tail().position.get(), 1);
    // Readers go on.
    let mut replay = kit.stream(Filter::all()).await;
    assert_eq!(positions(&take(&mut replay, 1).await), [1]);
    kit.bus.shutdown().await;
    // After the restart the same event id gives one event, whatever had happened.
    let kit = Kit::over(kit.store, planwire_bus::Config::default());
    assert_eq!(kit.bus.tail().position.get(), found);
    let place = kit.bus.publish(event).await.unwrap();
    assert_eq!((place.position.get(), place.duplicate), (2, found == 2));
}

#[tokio::test]
async fn an_unknown_append_that_was_stored_is_found_once_after_a_restart() {
    unknown(Fault::UnknownStored, 2).await;
}

#[tokio::test]
async fn an_unknown_append_that_was_not_stored_is_stored_once_after_a_restart() {
    unknown(Fault::UnknownNotStored, 1).await;
}

#[tokio::test]
async fn a_panic_of_the_writer_is_not_told_as_certainly_not_stored() {
    unknown(Fault::StoredThenPanic, 2).await;
}

/// The bus has ended since another log lies where its own lay.
async fn check_displaced(kit: &Kit) {
    let Health::Failed { message } = kit.bus.stopped().await else { panic!("it goes on") };
    assert_eq!(message, "log ZZZZZZZZ has taken the place of log 7Q4M2K9A; restart the process");
    assert!(matches!(kit.bus.publish(kit.custom("a", 3)).await, Err(PublishError::Stopped)));
    assert_eq!(kit.bus.tail().position.get(), 1, "nothing of the other log is shown");
}

#[tokio::test]
async fn a_log_that_is_put_below_the_writer_takes_none_of_its_events() {
    // It is found out by a look at the head after the append, or by the one that locks the head.
    for looks in [0, 2] {
        let kit = Kit::new();
        kit.publish(vec![kit.started("a")]).await;
        kit.hand.displace(looks);
        let error = kit.bus.publish(kit.custom("a", 1)).await.unwrap_err();
        let PublishError::Refused(why) = error else { panic!("{error}") };
        assert!(matches!(*why, StoreError::Replaced { .. }), "{why}");
        check_displaced(&kit).await;
        assert_eq!(kit.hand.appends(), 1 + looks.max(1) + usize::from(looks > 0));
    }
}

#[tokio::test]
async fn an_idle_bus_ends_when_it_hears_that_another_log_is_below_it() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    kit.hand.displace(0);
    kit.hand.head_seen(9);
    check_displaced(&kit).await;
}

#[tokio::test]
async fn readers_are_told_of_the_end_of_a_bus_that_is_dropped_after_a_fatal_error() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    kit.hand.fail_next(Fault::UnknownNotStored);
    kit.bus.publish(kit.custom("a", 1)).await.unwrap_err();
    let mut stream = kit.stream(Filter::all()).await;
    drop(kit);
    take(&mut stream, 1).await;
    assert!(stream.next().await.unwrap().is_none());
}

#[tokio::test]
async fn what_waits_behind_a_fatal_error_is_refused() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    kit.hand.hold();
    kit.hand.fail_next(Fault::UnknownNotStored);
    let door = kit.publisher("x");
    let first = door.submit(vec![kit.custom("a", 1)]).await.unwrap();
    kit.hand.wait_for_append();
    let second = door.submit(vec![kit.custom("a", 2)]).await.unwrap();
    kit.hand.release();
    assert!(matches!(first.await, Err(PublishError::Unknown(_))));
    assert!(matches!(second.await, Err(PublishError::Stopped)));
}

async fn unsettled(fault: Fault, stored: bool) {
    let kit = Kit::new();
    let mut stream = kit.stream(Filter::all()).await;
    kit.publish(vec![kit.started("a")]).await;
    kit.hand.fail_next(fault);
    let event = kit.custom("a", 1);
    assert!(matches!(kit.bus.publish(event.clone()).await, Err(PublishError::Unknown(_))));
    assert_eq!(kit.bus.health(), Health::Ready);
    let place = kit.bus.publish(event).await.unwrap();
    assert_eq!((place.position.get(), place.duplicate), (2, stored));
    kit.publish(vec![kit.custom("a", 2)]).await;
    assert_eq!(positions(&take(&mut stream, 3).await), [1, 2, 3]);
}

#[tokio::test]
async fn an_unsettled_append_that_was_stored_is_shown_once_and_writing_goes_on() {
    unsettled(Fault::UnsettledStored, true).await;
}

#[tokio::test]
async fn an_unsettled_append_that_was_not_stored_is_stored_when_it_is_sent_again() {
    unsettled(Fault::UnsettledNotStored, false).await;
}
