//! What readers cost: wake-ups, encodings, open subscriptions. Counters, not timings.

use planwire_bus::FrameForm;
use planwire_event::Filter;

use crate::kit::{Kit, id, positions, take};

#[tokio::test]
async fn soak_an_event_wakes_only_those_who_wait_for_its_plan() {
    const READERS: usize = 1_000;
    const EVENTS: usize = 10_000;
    let kit = Kit::new();
    for number in 0..READERS {
        kit.publish(vec![kit.started(&format!("p{number}"))]).await;
    }
    let mut tasks = Vec::new();
    for number in 0..READERS {
        let mut stream = kit.stream(Filter::plan(id(&format!("p{number}")))).await;
        take(&mut stream, 1).await;
        let wanted = if number == 0 { EVENTS } else { 1 };
        tasks.push(tokio::spawn(async move { take(&mut stream, wanted).await.len() }));
    }
    tokio::task::yield_now().await;
    let before = kit.bus.counters().wakeups;
    let door = kit.publisher("x");
    let mut receipts = Vec::new();
    for number in 0..EVENTS {
        receipts.push(door.submit(vec![kit.custom("p0", number)]).await.unwrap());
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
    assert_eq!(tasks.remove(0).await.unwrap(), EVENTS);
    let woken = kit.bus.counters().wakeups - before;
    println!("{EVENTS} events for 1 of {READERS} readers: {woken} wake-ups");
    assert!(woken <= 11_000, "{woken} wake-ups");
    for (number, task) in (1..).zip(tasks) {
        kit.publish(vec![kit.custom(&format!("p{number}"), 0)]).await;
        assert_eq!(task.await.unwrap(), 1);
    }
}

#[tokio::test]
async fn an_event_is_encoded_once_whatever_the_readers() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    let mut streams = Vec::new();
    for _ in 0..50 {
        streams.push(kit.stream(Filter::all()).await);
    }
    for number in 0..100 {
        kit.publish(vec![kit.custom("a", number)]).await;
    }
    for stream in &mut streams {
        for event in take(stream, 101).await {
            assert!(event.json().starts_with(b"{\"event_id\":\""));
            let frame =
                event.frame(FrameForm::Sse, |_, json| [b"data: ", &json[..], b"\n\n"].concat().into());
            assert_eq!(frame.len(), event.json().len() + 8);
            assert_eq!(event.frame(FrameForm::SseUnnamed, |event, _| event.to_json().into()), event.json());
        }
    }
    assert_eq!(kit.bus.counters().encodes, 101);
}

#[tokio::test]
async fn subscriptions_that_are_dropped_leave_nothing() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    let types = || Filter::all().with_types(["test.a".parse().unwrap(), "test.b".parse().unwrap()]);
    for number in 0..10_000_usize {
        let filter = match number % 4 {
            0 => Filter::all(),
            1 => Filter::plan(id("a")),
            2 => Filter::tree(id("a")),
            _ => types(),
        };
        let mut stream = kit.bus.stream(filter, planwire_bus::StartAt::Now).await.unwrap();
        assert!(futures_util::poll!(Box::pin(stream.next())).is_pending());
    }
    assert_eq!(kit.bus.counters().subscriptions_open, 0);
    kit.publish(vec![kit.custom("a", 1)]).await;
    assert_eq!(kit.bus.counters().wakeups, 0);
}

#[tokio::test]
async fn readers_by_type_are_woken_once_for_any_of_their_types() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    let filter = Filter::all().with_types(["test.a".parse().unwrap(), "test.b".parse().unwrap()]);
    let mut stream = kit.bus.stream(filter, planwire_bus::StartAt::Now).await.unwrap();
    assert!(futures_util::poll!(Box::pin(stream.next())).is_pending());
    kit.publish(vec![kit.typed("a", "test.c", 0), kit.typed("a", "test.b", 1), kit.typed("a", "test.a", 2)])
        .await;
    assert_eq!(positions(&take(&mut stream, 2).await), [3, 4]);
    assert_eq!(kit.bus.counters().wakeups, 1);
}
