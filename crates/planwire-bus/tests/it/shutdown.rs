//! Shutting down drains: what was queued is stored, readers reach the end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use planwire_bus::{Config, Handler, Health, PublishError, StartAt, StreamError, SubscribeError};
use planwire_event::Filter;

use crate::kit::{Kit, take_to_end};

#[tokio::test]
async fn what_was_submitted_is_stored_and_read_before_the_end() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    let handled = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&handled);
    kit.bus
        .subscribe(
            Handler::blocking(move |_| {
                counted.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }),
            Filter::all(),
        )
        .unwrap();
    let mut stream = kit.stream(Filter::all()).await;
    kit.hand.hold();
    let door = kit.publisher("x");
    let mut receipts = Vec::new();
    for number in 0..100 {
        receipts.push(door.submit(vec![kit.custom("a", number)]).await.unwrap());
    }
    let bus = kit.bus.clone();
    let shutdown = tokio::spawn(async move { bus.shutdown().await });
    kit.hand.wait_for_append();
    kit.hand.release();
    shutdown.await.unwrap();
    for receipt in receipts {
        receipt.await.unwrap();
    }
    assert_eq!(handled.load(Ordering::SeqCst), 100);
    let (events, ended) = take_to_end(&mut stream).await;
    assert_eq!((events.len(), ended), (101, false));
    assert!(stream.next_batch(1, 1).await.unwrap().closed);
}

#[tokio::test]
async fn a_bus_that_is_shut_down_refuses_everything() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    kit.bus.shutdown().await;
    kit.bus.shutdown().await;
    assert_eq!(kit.bus.health(), Health::Closed);
    assert!(matches!(kit.bus.publish(kit.custom("a", 1)).await, Err(PublishError::Closed)));
    assert!(matches!(kit.bus.stream(Filter::all(), StartAt::Start).await, Err(StreamError::Closed)));
    let subscribed = kit.bus.subscribe(Handler::future(|_| async { Ok(()) }), Filter::all());
    assert!(matches!(subscribed, Err(SubscribeError::Closed)));
}

#[tokio::test]
async fn a_reader_that_waits_is_told_of_the_end() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    let mut stream = kit.bus.stream(Filter::all(), StartAt::Now).await.unwrap();
    let mut next = Box::pin(stream.next());
    assert!(futures_util::poll!(&mut next).is_pending());
    kit.bus.shutdown().await;
    assert!(next.await.unwrap().is_none());
}

#[tokio::test]
async fn a_reader_of_no_type_at_all_is_told_of_the_end() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    let mut stream = kit.bus.stream(Filter::all().with_types([]), StartAt::Now).await.unwrap();
    let mut next = Box::pin(stream.next());
    assert!(futures_util::poll!(&mut next).is_pending());
    kit.bus.shutdown().await;
    assert!(next.await.unwrap().is_none());
}

/// Async handlers that block as many threads as their runtime has, until the sender is dropped.
async fn block_the_runtime_of_handlers(kit: &Kit) -> mpsc::Sender<()> {
    let (leave, left) = mpsc::channel::<()>();
    let left = Arc::new(Mutex::new(left));
    let (enter, mut entered) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..2 {
        let (enter, left) = (enter.clone(), Arc::clone(&left));
        let handler = Handler::future(move |_| {
            let (enter, left) = (enter.clone(), Arc::clone(&left));
            async move {
                let _ = enter.send(());
                let _ = left.lock().unwrap().recv();
                Ok(())
            }
        });
        kit.bus.subscribe(handler, Filter::all()).unwrap();
    }
    kit.publish(vec![kit.started("a")]).await;
    assert!(entered.recv().await.is_some() && entered.recv().await.is_some());
    leave
}

#[tokio::test]
async fn a_handler_that_subscribed_just_before_the_shutdown_gets_what_was_stored_since() {
    let kit = Kit::new();
    let leave = block_the_runtime_of_handlers(&kit).await;
    let handled = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&handled);
    let handler = Handler::blocking(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    kit.bus.subscribe(handler, Filter::all()).unwrap();
    kit.publish(vec![kit.custom("a", 1)]).await;
    let mut shutdown = Box::pin(kit.bus.shutdown());
    assert!(futures_util::poll!(&mut shutdown).is_pending());
    drop(leave);
    shutdown.await;
    assert_eq!(handled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn async_handlers_that_block_do_not_hold_the_shutdown_for_ever() {
    let kit = Kit::with(Config { handlers_drain_ms_max: 1, ..Config::default() });
    let _leave = block_the_runtime_of_handlers(&kit).await;
    kit.bus.shutdown().await;
}

#[tokio::test]
async fn a_shutdown_that_is_given_up_leaves_handlers_behind_and_ends_the_bus() {
    let kit = Kit::new();
    let _leave = block_the_runtime_of_handlers(&kit).await;
    let mut shutdown = Box::pin(kit.bus.shutdown());
    assert!(futures_util::poll!(&mut shutdown).is_pending());
    kit.bus.stopped().await;
    assert!(futures_util::poll!(&mut shutdown).is_pending());
    drop(shutdown);
    kit.bus.shutdown().await;
}

#[tokio::test]
async fn a_handler_can_be_ended_while_the_bus_shuts_down() {
    let kit = Kit::new();
    let leave = block_the_runtime_of_handlers(&kit).await;
    let handler = Handler::future(|_| async { panic!("it was ended before its first call") });
    let subscription = kit.bus.subscribe(handler, Filter::all()).unwrap();
    kit.publish(vec![kit.custom("a", 1)]).await;
    let mut shutdown = Box::pin(kit.bus.shutdown());
    assert!(futures_util::poll!(&mut shutdown).is_pending());
    kit.bus.stopped().await;
    assert!(futures_util::poll!(&mut shutdown).is_pending());
    kit.bus.unsubscribe(subscription).unwrap();
    drop(leave);
    shutdown.await;
    assert_eq!(kit.bus.counters().handler_panics, 0);
}

#[test]
fn a_bus_is_shut_down_without_a_runtime() {
    let kit = Kit::new();
    futures_executor::block_on(async {
        kit.publish(vec![kit.started("a")]).await;
        kit.bus.shutdown().await;
    });
}
