//! Shutting down drains: what was queued is stored, readers reach the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use planwire_bus::{Handler, Health, PublishError, StartAt, StreamError, SubscribeError};
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
