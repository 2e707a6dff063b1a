//! Commits are shared when the store is busy and never waited for when it is not.

use planwire_bus::Config;

use crate::kit::Kit;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak_sixty_four_publishers_share_commits_while_one_is_held() {
    const PUBLISHERS: usize = 64;
    const EACH: usize = 20;
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    let before = kit.bus.counters();
    kit.hand.hold();
    let mut tasks = Vec::new();
    for _ in 0..PUBLISHERS {
        let door = kit.publisher("x");
        let events: Vec<_> = (0..EACH).map(|number| kit.custom("a", number)).collect();
        tasks.push(tokio::spawn(async move {
            let mut receipts = Vec::new();
            for event in events {
                receipts.push(door.submit(vec![event]).await.unwrap());
            }
            for receipt in receipts {
                receipt.await.unwrap();
            }
        }));
    }
    kit.hand.wait_for_append();
    kit.hand.release();
    for task in tasks {
        task.await.unwrap();
    }
    let after = kit.bus.counters();
    let (events, commits) = (after.events_stored - before.events_stored, after.commits - before.commits);
    println!("{events} events of {PUBLISHERS} publishers in {commits} commits");
    assert_eq!(events, (PUBLISHERS * EACH) as u64);
    assert!(commits <= events / 8, "{commits} commits for {events} events");
}

#[tokio::test]
async fn an_idle_bus_commits_each_event_by_itself() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    for number in 0..50 {
        kit.bus.publish(kit.custom("a", number)).await.unwrap();
    }
    assert_eq!(kit.bus.counters().commits, 51);
    assert_eq!(kit.hand.appends(), 51);
}

#[tokio::test]
async fn publishers_wait_for_bytes_and_nothing_is_dropped() {
    let kit = Kit::with(Config { inflight_bytes_max: 1, ..Config::default() });
    kit.publish(vec![kit.started("a")]).await;
    kit.hand.hold();
    let door = kit.publisher("x");
    let first = door.submit(vec![kit.custom("a", 0)]).await.unwrap();
    kit.hand.wait_for_append();
    let payload =
        planwire_event::Payload::parse(&format!("{{\"x\":\"{}\"}}", "y".repeat(200 * 1024))).unwrap();
    let large = |_| {
        let (id, time) = (kit.ids.next_id(), kit.started("a").timestamp());
        planwire_event::Event::new(
            id,
            "test.large".parse().unwrap(),
            crate::kit::id("a"),
            time,
            payload.clone(),
        )
        .unwrap()
    };
    // 4 MiB may be in flight, the least that a bus allows: twenty of these fill it.
    let mut receipts = Vec::new();
    let mut blocked = None;
    for number in 0..40 {
        let submit = door.submit(vec![large(number)]);
        let mut submit = Box::pin(submit);
        match futures_util::poll!(&mut submit) {
            std::task::Poll::Ready(receipt) => receipts.push(receipt.unwrap()),
            std::task::Poll::Pending => {
                blocked = Some(number);
                drop(submit);
                break;
            }
        }
    }
    assert!(blocked.is_some_and(|number| (15..25).contains(&number)), "{blocked:?}");
    kit.hand.release();
    first.await.unwrap();
    for receipt in receipts {
        receipt.await.unwrap();
    }
    door.publish(large(99)).await.unwrap();
}
