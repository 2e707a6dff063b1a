//! Streams: from any point, by any filter, live or past, to the end.

use planwire_bus::{Config, Item, StartAt, StreamError};
use planwire_event::{Cursor, EventType, Filter, Position};

use crate::kit::{Kit, id, positions, take, take_to_end};

/// A ring that holds little, so that readers have to go back to the store.
fn small_ring() -> Config {
    Config { ring_bytes_max: 8 * 1024, ..Config::default() }
}

/// root -> child -> grandchild, and a tree beside it. Positions 1 to 15.
async fn family(kit: &Kit) {
    kit.publish(vec![
        kit.started("root"),
        kit.started("other"),
        kit.spawned("root", "child"),
        kit.child_started("child", "root"),
        kit.spawned("child", "grand"),
        kit.child_started("grand", "child"),
        kit.called("grand", "k"),
        kit.custom("other", 1),
        kit.call_ended("grand", "k"),
        kit.completed("grand"),
        kit.child_ended("child", "grand"),
        kit.completed("child"),
        kit.child_ended("root", "child"),
        kit.completed("root"),
        kit.completed("other"),
    ])
    .await;
}

async fn check(config: Config, live: bool, filter: Filter, expected: &[u64], ended: bool) {
    let kit = Kit::with(config);
    let mut before = None;
    if live {
        // The plan of the filter has to exist; what came before is read all the same.
        kit.publish(vec![kit.started("zero")]).await;
        before = Some(kit.bus.stream(Filter::all(), StartAt::Now).await.unwrap());
    }
    family(&kit).await;
    let from = before.map_or(StartAt::Start, |stream| StartAt::After(stream.delivered()));
    let mut stream = kit.bus.stream(filter.clone(), from).await.unwrap();
    if !ended {
        let shift = u64::from(live);
        let events = take(&mut stream, expected.len()).await;
        assert_eq!(
            positions(&events),
            expected.iter().map(|at| at + shift).collect::<Vec<_>>(),
            "{filter:?}"
        );
        return;
    }
    let (events, end) = take_to_end(&mut stream).await;
    let shift = u64::from(live);
    assert_eq!(positions(&events), expected.iter().map(|at| at + shift).collect::<Vec<_>>(), "{filter:?}");
    assert!(end, "{filter:?}");
    assert!(stream.next().await.unwrap().is_none(), "nothing follows the end");
}

#[tokio::test]
async fn every_filter_gives_its_events_and_its_end_from_ring_and_from_store() {
    let types = [EventType::ToolCalled, "test.tick".parse().unwrap()];
    for live in [false, true] {
        for config in [Config::default, small_ring, || Config { ring_bytes_max: 1, ..Config::default() }] {
            check(config(), live, Filter::all(), &(1..=15).collect::<Vec<_>>(), false).await;
            check(config(), live, Filter::all().with_types(types.clone()), &[7, 8], false).await;
            check(config(), live, Filter::plan(id("child")), &[4, 5, 11, 12], true).await;
            check(config(), live, Filter::plan(id("child")).with_types(types.clone()), &[], true).await;
            check(config(), live, Filter::tree(id("root")), &[1, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14], true)
                .await;
            check(config(), live, Filter::tree(id("child")), &[4, 5, 6, 7, 9, 10, 11, 12], true).await;
            check(config(), live, Filter::tree(id("child")).with_types(types.clone()), &[7], true).await;
            check(config(), live, Filter::tree(id("grand")), &[6, 7, 9, 10], true).await;
            check(config(), live, Filter::tree(id("other")).with_types(types.clone()), &[8], true).await;
        }
    }
}

#[tokio::test]
async fn readers_that_follow_from_the_first_event_on_see_the_same_as_those_who_come_later() {
    for config in [Config::default(), small_ring()] {
        let kit = Kit::with(config);
        kit.publish(vec![
            kit.started("root"),
            kit.spawned("root", "child"),
            kit.child_started("child", "root"),
        ])
        .await;
        let filters =
            [Filter::tree(id("root")), Filter::tree(id("child")), Filter::plan(id("child")), Filter::all()];
        let mut live = Vec::new();
        for filter in &filters {
            let mut stream = kit.stream(filter.clone()).await;
            // It waits now, registered under its key.
            take(&mut stream, 1).await;
            live.push(tokio::spawn(async move { take_to_end(&mut stream).await.0 }));
        }
        for number in 0..100 {
            let child = format!("grand{number}");
            kit.publish(vec![
                kit.spawned("child", &child),
                kit.child_started(&child, "child"),
                kit.custom("root", number),
            ])
            .await;
            kit.publish(vec![kit.completed(&child), kit.child_ended("child", &child)]).await;
        }
        kit.publish(vec![kit.completed("child"), kit.child_ended("root", "child"), kit.completed("root")])
            .await;
        for (filter, task) in filters.iter().zip(live) {
            let mut replay = kit.stream(filter.clone()).await;
            if *filter == Filter::all() {
                // The log has no end of its own: the bus ends last.
                let replayed = positions(&take(&mut replay, 506).await);
                kit.bus.shutdown().await;
                assert_eq!(positions(&task.await.unwrap()), replayed[1..]);
                continue;
            }
            let (replayed, ended) = take_to_end(&mut replay).await;
            assert!(ended);
            assert_eq!(positions(&task.await.unwrap()), positions(&replayed)[1..], "{filter:?}");
        }
    }
}

#[tokio::test]
async fn a_stream_can_start_at_every_cursor() {
    let kit = Kit::with(small_ring());
    family(&kit).await;
    let all = Filter::tree(id("root"));
    let (everything, _) = take_to_end(&mut kit.stream(all.clone()).await).await;
    for start in 0..=14 {
        let cursor = Cursor { log_id: kit.bus.log_id(), position: Position::new(start) };
        let mut stream = kit.bus.stream(all.clone(), StartAt::After(cursor)).await.unwrap();
        let (events, ended) = take_to_end(&mut stream).await;
        let expected: Vec<_> = positions(&everything).into_iter().filter(|at| *at > start).collect();
        assert_eq!((positions(&events), ended), (expected, true), "after {start}");
    }
}

#[tokio::test]
async fn a_stream_that_starts_after_the_end_says_so_at_once() {
    let kit = Kit::new();
    family(&kit).await;
    for filter in [Filter::tree(id("root")), Filter::plan(id("root")), Filter::tree(id("child"))] {
        let mut stream = kit.bus.stream(filter, StartAt::Now).await.unwrap();
        assert!(stream.ended_at().unwrap().position < kit.bus.tail().position);
        assert!(matches!(stream.next().await.unwrap(), Some(Item::End(_))));
        assert!(stream.next().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_tree_ends_when_its_last_plan_ended_even_if_the_root_ended_before() {
    for config in [Config::default(), Config { ring_bytes_max: 1, ..Config::default() }] {
        let kit = Kit::with(config);
        kit.publish(vec![kit.started("top"), kit.spawned("top", "mid"), kit.child_started("mid", "top")])
            .await;
        for child in ["x", "y"] {
            kit.publish(vec![kit.spawned("mid", child), kit.child_started(child, "mid")]).await;
        }
        let mut root = kit.stream(Filter::tree(id("top"))).await;
        let mut middle = kit.stream(Filter::tree(id("mid"))).await;
        assert_eq!(take(&mut root, 7).await.len() + take(&mut middle, 5).await.len(), 12);
        kit.publish(vec![kit.completed("top"), kit.failed("mid"), kit.completed("x")]).await;
        assert_eq!(positions(&take(&mut root, 3).await), [8, 9, 10]);
        let mut late = kit.bus.stream(Filter::tree(id("mid")), StartAt::Now).await.unwrap();
        assert_eq!(late.ended_at(), None);
        kit.publish(vec![kit.completed("y")]).await;
        assert_eq!(positions(&take_to_end(&mut root).await.0), [11]);
        assert_eq!(positions(&take_to_end(&mut middle).await.0), [9, 10, 11]);
        assert_eq!(positions(&take_to_end(&mut late).await.0), [11]);
        let (replayed, ended) = take_to_end(&mut kit.stream(Filter::tree(id("top"))).await).await;
        assert_eq!((replayed.len(), ended), (11, true));
    }
}

#[tokio::test]
async fn cursors_that_cannot_be_honoured_are_refused() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    let at = |cursor: &str| StartAt::After(cursor.parse().unwrap());
    let error = kit.bus.stream(Filter::all(), at("7Q4M2K9A-0000000000000002")).await.unwrap_err();
    assert!(matches!(error, StreamError::BeyondHead { .. }), "{error}");
    let error = kit.bus.stream(Filter::all(), at("00000000-0000000000000001")).await.unwrap_err();
    assert!(matches!(error, StreamError::OtherLog { .. }), "{error}");
    let error = kit.bus.stream(Filter::plan(id("nobody")), StartAt::Start).await.unwrap_err();
    assert!(matches!(error, StreamError::UnknownPlan { .. }), "{error}");
    assert_eq!(kit.bus.resolve(at("7Q4M2K9A-0000000000000001")).await.unwrap().get(), 1);
}

#[tokio::test]
async fn heartbeats_can_carry_how_far_a_rare_filter_has_looked() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a"), kit.started("b")]).await;
    let mut stream = kit.stream(Filter::plan(id("a"))).await;
    take(&mut stream, 1).await;
    let mut next = Box::pin(stream.next());
    assert!(futures_util::poll!(&mut next).is_pending());
    drop(next);
    for number in 0..10 {
        kit.publish(vec![kit.custom("b", number)]).await;
    }
    assert_eq!((stream.scanned().position.get(), stream.delivered().position.get()), (12, 1));
    kit.publish(vec![kit.custom("a", 1)]).await;
    assert_eq!(stream.scanned().position.get(), 2, "an event that matches is not passed over");
    assert_eq!(positions(&take(&mut stream, 1).await), [13]);
}

#[tokio::test]
async fn a_future_that_is_dropped_loses_nothing() {
    let kit = Kit::with(small_ring());
    kit.publish(vec![kit.started("a")]).await;
    let mut stream = kit.stream(Filter::tree(id("a"))).await;
    let mut seen = Vec::new();
    for number in 0..200 {
        kit.publish(vec![kit.custom("a", number)]).await;
        // Polled once and dropped, at whatever point it stands.
        if let std::task::Poll::Ready(Ok(batch)) = futures_util::poll!(Box::pin(stream.next_batch(3, 4096))) {
            seen.extend(positions(&batch.events));
        }
    }
    kit.publish(vec![kit.completed("a")]).await;
    let (rest, ended) = take_to_end(&mut stream).await;
    seen.extend(positions(&rest));
    assert_eq!(seen, (1..=202).collect::<Vec<_>>());
    assert!(ended);
}

#[tokio::test]
async fn batches_keep_to_events_and_bytes() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    for number in 0..20 {
        kit.publish(vec![kit.custom("a", number)]).await;
    }
    let mut stream = kit.stream(Filter::all()).await;
    assert_eq!(stream.next_batch(7, usize::MAX).await.unwrap().events.len(), 7);
    assert_eq!(stream.next_batch(7, 1).await.unwrap().events.len(), 1, "at least one event");
    assert_eq!(stream.next_batch(100, usize::MAX).await.unwrap().events.len(), 13);
}

#[tokio::test]
async fn a_reader_that_goes_event_by_event_has_scanned_only_what_it_was_handed() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a"), kit.custom("a", 1), kit.custom("a", 2), kit.completed("a")]).await;
    let mut stream = kit.stream(Filter::plan(id("a"))).await;
    for handed in 1..=2 {
        take(&mut stream, 1).await;
        let places = (stream.scanned().position.get(), stream.delivered().position.get());
        assert_eq!(places, (handed, handed));
    }
    let batch = stream.next_batch(1, usize::MAX).await.unwrap();
    assert_eq!((positions(&batch.events), batch.end), (vec![3], None));
    let batch = stream.next_batch(9, 0).await.unwrap();
    assert_eq!((positions(&batch.events), batch.end), (vec![4], None), "at least one event");
    assert_eq!(stream.delivered().position.get(), 4);
    let batch = stream.next_batch(9, 0).await.unwrap();
    assert!(batch.events.is_empty() && batch.end.is_some());
    assert!(stream.next().await.unwrap().is_none());
}
