//! Handlers: isolated from each other, from publishers and from the bus's own threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};

use planwire_bus::{Config, EventBus, Handler, SubscriptionId, UnsubscribeError};
use planwire_event::Filter;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::kit::{Kit, id};

/// A handler that tells the position of each event.
fn telling() -> (Handler, UnboundedReceiver<u64>) {
    let (tell, told) = unbounded_channel();
    let handler = Handler::future(move |event| {
        let tell = tell.clone();
        async move {
            let _ = tell.send(event.position.get());
            Ok(())
        }
    });
    (handler, told)
}

async fn told(receiver: &mut UnboundedReceiver<u64>, count: usize) -> Vec<u64> {
    let mut positions = Vec::new();
    while positions.len() < count {
        positions.push(receiver.recv().await.expect("the handler lives"));
    }
    positions
}

#[tokio::test]
async fn handlers_get_what_is_stored_after_they_subscribed() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a"), kit.custom("a", 0)]).await;
    let (handler, mut all) = telling();
    kit.bus.subscribe(handler, Filter::all()).unwrap();
    let (handler, mut ticks) = telling();
    kit.bus.subscribe(handler, Filter::plan(id("later")).with_types(["test.tick".parse().unwrap()])).unwrap();
    let (handler, mut tree) = telling();
    kit.bus.subscribe(handler, Filter::tree(id("below"))).unwrap();
    kit.publish(vec![kit.started("later"), kit.custom("later", 1), kit.spawned("a", "below")]).await;
    kit.publish(vec![
        kit.child_started("below", "a"),
        kit.spawned("below", "leaf"),
        kit.child_started("leaf", "below"),
    ])
    .await;
    kit.publish(vec![kit.custom("leaf", 1), kit.custom("a", 1)]).await;
    assert_eq!(told(&mut all, 8).await, [3, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(told(&mut ticks, 1).await, [4]);
    assert_eq!(told(&mut tree, 4).await, [6, 7, 8, 9], "a plan that had not started, and no root");
}

#[tokio::test]
async fn a_handler_that_fails_panics_or_blocks_for_ever_stays_alone_with_it() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    let (block, blocked) = mpsc::channel::<()>();
    let blocked = Mutex::new(blocked);
    let stuck = Handler::blocking(move |_| {
        let _ = blocked.lock().unwrap().recv();
        Ok(())
    });
    let subscribe = |handler: Handler| kit.bus.subscribe(handler, Filter::all()).unwrap();
    subscribe(stuck);
    subscribe(Handler::blocking(|_| panic!("blocking")));
    subscribe(Handler::future(|_| async { panic!("async") }));
    subscribe(Handler::future(|_| -> std::future::Ready<_> { panic!("before the future") }));
    subscribe(Handler::blocking(|_| Err("blocking".into())));
    subscribe(Handler::future(|_| async { Err("async".into()) }));
    let (handler, mut good) = telling();
    subscribe(handler);
    let blocking = Arc::new(AtomicUsize::new(0));
    let (counted, (tell, mut done)) = (Arc::clone(&blocking), unbounded_channel());
    subscribe(Handler::blocking(move |_| {
        let _ = tell.send(counted.fetch_add(1, Ordering::SeqCst));
        Ok(())
    }));
    for number in 0..50 {
        kit.publish(vec![kit.custom("a", number)]).await;
    }
    assert_eq!(told(&mut good, 50).await, (2..=51).collect::<Vec<_>>());
    while done.recv().await != Some(49) {}
    loop {
        let counters = kit.bus.counters();
        if (counters.handler_panics, counters.handler_errors) == (150, 100) {
            break;
        }
        tokio::task::yield_now().await;
    }
    drop(block);
}

#[tokio::test]
async fn a_handler_may_publish_subscribe_and_unsubscribe_itself() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    let own: Arc<OnceLock<SubscriptionId>> = Arc::default();
    let (bus, ids, id_of) = (kit.bus.clone(), Arc::clone(&kit.ids), Arc::clone(&own));
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let (second, mut heard) = telling();
    let (finish, mut finished) = unbounded_channel();
    let handler = Handler::future(move |event| {
        let (bus, ids, id_of) = (bus.clone(), Arc::clone(&ids), Arc::clone(&id_of));
        let (second, counted, finish) = (second.clone(), Arc::clone(&counted), finish.clone());
        async move {
            counted.fetch_add(1, Ordering::SeqCst);
            bus.subscribe(second, Filter::all())?;
            let payload = planwire_event::Payload::parse("{}")?;
            let time = event.event.timestamp();
            let reply = planwire_event::Event::new(
                ids.next_id(),
                "test.reply".parse()?,
                event.plan_id().clone(),
                time,
                payload,
            )?;
            bus.publish(reply).await?;
            let own = *id_of.get().expect("set before the event");
            assert_eq!(bus.unsubscribe_and_wait(own).await, Err(UnsubscribeError::WithinHandler));
            assert_eq!(bus.unsubscribe(own), Err(UnsubscribeError::Unknown), "it is unsubscribed already");
            Ok(finish.send(())?)
        }
    });
    own.set(kit.bus.subscribe(handler, Filter::all()).unwrap()).unwrap();
    kit.publish(vec![kit.custom("a", 1), kit.custom("a", 2)]).await;
    let heard = told(&mut heard, 1).await;
    assert!(heard[0] > 2);
    finished.recv().await.unwrap();
    kit.bus.shutdown().await;
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!(kit.bus.counters().handler_panics, 0);
    assert_eq!(kit.bus.counters().handler_errors, 0);
}

#[tokio::test]
async fn unsubscribe_and_wait_waits_for_a_blocking_call_that_runs() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    let (enter, mut entered) = unbounded_channel();
    let (leave, left) = mpsc::channel::<()>();
    let left = Mutex::new(left);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let handler = Handler::blocking(move |_| {
        let _ = enter.send(());
        left.lock().unwrap().recv()?;
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    let subscription = kit.bus.subscribe(handler, Filter::all()).unwrap();
    for number in 0..10 {
        kit.publish(vec![kit.custom("a", number)]).await;
    }
    entered.recv().await.unwrap();
    let mut waiting = Box::pin(kit.bus.unsubscribe_and_wait(subscription));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    leave.send(()).unwrap();
    waiting.await.unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 1, "no call begins after unsubscribe");
    assert_eq!(kit.bus.unsubscribe(subscription), Err(UnsubscribeError::Unknown));
}

#[tokio::test]
async fn calls_beyond_the_limit_of_threads_wait_and_are_counted() {
    let kit = Kit::with(Config { blocking_handlers_max: 1, ..Config::default() });
    kit.publish(vec![kit.started("a")]).await;
    let (enter, mut entered) = unbounded_channel();
    let (leave, left) = mpsc::channel::<()>();
    let left = Arc::new(Mutex::new(left));
    let handler = || {
        let (enter, left) = (enter.clone(), Arc::clone(&left));
        Handler::blocking(move |_| {
            let _ = enter.send(());
            left.lock().unwrap().recv()?;
            Ok(())
        })
    };
    let first = kit.bus.subscribe(handler(), Filter::all()).unwrap();
    let second = kit.bus.subscribe(handler(), Filter::all()).unwrap();
    kit.publish(vec![kit.custom("a", 1)]).await;
    entered.recv().await.unwrap();
    while kit.bus.counters().handler_waits == 0 {
        tokio::task::yield_now().await;
    }
    leave.send(()).unwrap();
    entered.recv().await.unwrap();
    kit.publish(vec![kit.custom("a", 2)]).await;
    // One of them waits for the thread again: it is unsubscribed while it does.
    let (first, second) = (kit.bus.unsubscribe_and_wait(first), kit.bus.unsubscribe_and_wait(second));
    drop(leave);
    let (first, second) = futures_util::future::join(first, second).await;
    assert_eq!((first, second), (Ok(()), Ok(())));
}

#[tokio::test]
async fn a_handler_that_never_returns_does_not_hold_the_shutdown_for_ever() {
    let kit = Kit::with(Config { handlers_drain_ms_max: 1, ..Config::default() });
    kit.publish(vec![kit.started("a")]).await;
    let (_keep, never) = mpsc::channel::<()>();
    let never = Mutex::new(never);
    let (enter, mut entered) = unbounded_channel();
    let handler = Handler::blocking(move |_| {
        let _ = enter.send(());
        never.lock().unwrap().recv()?;
        Ok(())
    });
    kit.bus.subscribe(handler, Filter::all()).unwrap();
    kit.publish(vec![kit.custom("a", 1)]).await;
    entered.recv().await.unwrap();
    kit.bus.shutdown().await;
}

#[test]
fn a_bus_can_be_dropped_within_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let kit = Kit::new();
        kit.bus.subscribe(Handler::future(|_| async { Ok(()) }), Filter::all()).unwrap();
        let bus: EventBus = kit.bus.clone();
        drop(kit);
        drop(bus);
    });
    assert_eq!(
        format!("{:?} {:?}", Handler::blocking(|_| Ok(())), Handler::future(|_| async { Ok(()) })),
        "Handler::blocking Handler::future"
    );
}

#[tokio::test]
async fn what_is_logged_of_a_bus_names_its_log_and_its_subscriptions() {
    let kit = Kit::new();
    let subscription = kit.bus.subscribe(Handler::future(|_| async { Ok(()) }), Filter::all()).unwrap();
    assert_eq!(subscription.to_string(), "1");
    let text = format!("{:?}", kit.bus);
    assert!(text.contains("7Q4M2K9A") && text.contains("Handlers"), "{text}");
    assert!(format!("{:?}", kit.stream(Filter::all()).await).contains("scanned"));
}
