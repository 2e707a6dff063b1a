//! A store that cannot be read for a while: readers keep their place, publishers are told.

use planwire_bus::{Config, Handler, Item, PublishError, ReadError, StartAt, StreamError};
use planwire_event::{Filter, LogId, Position};

use crate::kit::{Kit, id, positions, take, take_to_end};

fn tiny_ring() -> Config {
    Config { ring_bytes_max: 1, ..Config::default() }
}

#[tokio::test]
async fn a_reader_goes_on_at_its_place_when_the_store_can_be_read_again() {
    let kit = Kit::with(tiny_ring());
    kit.publish(vec![kit.started("a"), kit.custom("a", 1), kit.completed("a")]).await;
    let mut stream = kit.stream(Filter::all()).await;
    assert!(matches!(stream.next_batch(1, 1).await.unwrap().events.len(), 1));
    kit.hand.fail_reads(2);
    assert!(matches!(stream.next().await, Err(ReadError::Store(_))));
    assert!(matches!(stream.next().await, Err(ReadError::Store(_))));
    assert_eq!(positions(&take(&mut stream, 2).await), [2, 3]);
}

#[tokio::test]
async fn next_page_is_read_while_one_is_handed_out_and_its_fault_is_told_in_its_turn() {
    let kit = Kit::with(tiny_ring());
    kit.publish(vec![kit.started("a")]).await;
    kit.publish((0..500).map(|number| kit.custom("a", number)).collect()).await;
    let mut stream = kit.stream(Filter::plan(id("a"))).await;
    let before = kit.bus.counters().store_pages;
    let mut read = positions(&stream.next_batch(100, usize::MAX).await.unwrap().events);
    assert_eq!(kit.bus.counters().store_pages - before, 2, "the second page, too");
    kit.hand.fail_reads(1);
    read.extend(positions(&stream.next_batch(100, usize::MAX).await.unwrap().events));
    assert!(!kit.hand.reads_fail(), "the third page has been asked for");
    assert!(matches!(stream.next_batch(100, usize::MAX).await, Err(ReadError::Store(_))));
    read.extend(positions(&stream.next_batch(100, usize::MAX).await.unwrap().events));
    // Who asks for other than before gets what was asked for.
    read.extend(positions(&stream.next_batch(70, usize::MAX).await.unwrap().events));
    assert_eq!(read, (1..=370).collect::<Vec<_>>());
    read.extend(positions(&take(&mut stream, 131).await));
    assert_eq!(read, (1..=501).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_end_that_cannot_be_asked_for_is_asked_for_again() {
    let kit = Kit::with(tiny_ring());
    kit.publish(vec![kit.started("a"), kit.spawned("a", "b"), kit.child_started("b", "a")]).await;
    let mut stream = kit.stream(Filter::tree(id("b"))).await;
    take(&mut stream, 1).await;
    kit.publish(vec![kit.completed("b"), kit.custom("a", 1)]).await;
    assert_eq!(positions(&take(&mut stream, 1).await), [4]);
    kit.hand.fail_reads(1);
    assert!(stream.next().await.is_err());
    assert!(matches!(stream.next().await.unwrap(), Some(Item::End(end)) if end.position.get() == 4));
}

#[tokio::test]
async fn a_stream_is_not_opened_over_a_store_that_cannot_be_read() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    kit.hand.fail_reads(1);
    assert!(matches!(
        kit.bus.stream(Filter::plan(id("a")), StartAt::Start).await,
        Err(StreamError::Store(_))
    ));
}

#[tokio::test]
async fn an_event_that_cannot_be_checked_is_refused_and_leaves_no_trace() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    for _ in 0..2 {
        kit.hand.fail_reads(1);
        let error = kit.bus.publish(kit.custom("unknown", 1)).await.unwrap_err();
        assert!(matches!(error, PublishError::Refused(_)), "{error}");
    }
    // The plan is found unknown, and the look-up of the event's id fails: nothing of the request stays.
    kit.hand.fail_reads_after(1, 1);
    let request = vec![kit.started("b"), kit.custom("unknown", 1)];
    assert!(matches!(kit.publisher("x").publish_all(request).await, Err(PublishError::Refused(_))));
    assert_eq!(kit.bus.publish(kit.started("b")).await.unwrap().position.get(), 2);
}

#[tokio::test]
async fn a_handler_tries_again_and_misses_nothing() {
    let kit = Kit::with(tiny_ring());
    kit.publish(vec![kit.started("a")]).await;
    kit.hand.fail_reads(1);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let handler = Handler::blocking(move |event| Ok(tell.send(event.position.get())?));
    kit.bus.subscribe(handler, Filter::plan(id("a"))).unwrap();
    kit.publish(vec![kit.custom("a", 1), kit.custom("a", 2)]).await;
    assert_eq!((told.recv().await, told.recv().await), (Some(2), Some(3)));
}

#[tokio::test]
async fn cursors_of_a_log_that_this_one_continues_hold_up_to_where_it_was_taken_over() {
    let old: LogId = "0000000A".parse().unwrap();
    let kit = Kit::continuing(old, Position::new(1), Position::new(1));
    kit.publish(vec![kit.started("a"), kit.completed("a")]).await;
    let at = |position: u64| {
        StartAt::After(planwire_event::Cursor { log_id: old, position: Position::new(position) })
    };
    let mut stream = kit.bus.stream(Filter::plan(id("a")), at(1)).await.unwrap();
    assert_eq!(positions(&take_to_end(&mut stream).await.0), [2]);
    assert!(matches!(kit.bus.stream(Filter::all(), at(2)).await, Err(StreamError::OtherLog { .. })));
    // What retention removed is gone for cursors before it; the start is whatever is kept.
    assert!(matches!(kit.bus.stream(Filter::all(), at(0)).await, Err(StreamError::Pruned { .. })));
    assert!(kit.bus.stream(Filter::all(), StartAt::Start).await.is_ok());
}
