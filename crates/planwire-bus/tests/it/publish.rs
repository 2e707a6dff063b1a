//! Publishing: stored, refused, unknown; ids, order, requests.

use std::sync::Arc;

use planwire_bus::{Attachments, Item, Log, PublishError, StartAt};
use planwire_event::{Digest, Event, EventType, Filter, Payload, Producer, Refusal, SystemClock};
use planwire_store::{Document, MemoryStore};

use crate::kit::{Kit, event_ids, id, log_id, take};

#[tokio::test]
async fn positions_and_seqs_have_no_gaps() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a"), kit.started("b"), kit.custom("a", 1)]).await;
    let third = kit.bus.publish(kit.custom("b", 2)).await.unwrap();
    assert_eq!((third.position.get(), third.seq.get(), third.duplicate), (4, 2, false));
    assert_eq!(third.cursor.to_string(), "7Q4M2K9A-0000000000000004");
    assert_eq!(kit.bus.tail(), third.cursor);
    assert_eq!(kit.bus.log_id(), log_id());
}

#[tokio::test]
async fn the_same_event_again_answers_with_its_first_place() {
    let kit = Kit::new();
    let (start, tick, end) = (kit.started("a"), kit.custom("a", 1), kit.completed("a"));
    let first = kit.bus.publish(start.clone()).await.unwrap();
    kit.publish(vec![tick.clone(), end.clone()]).await;
    for event in [start, tick.clone(), end] {
        let again = kit.bus.publish(event).await.unwrap();
        assert!(again.duplicate);
        assert_eq!(again.cursor.log_id, first.cursor.log_id);
    }
    assert_eq!(kit.bus.tail().position.get(), 3);
    // Also when the same request holds it twice, and beside a fresh one.
    let fresh = kit.started("b");
    let published = kit.publisher("x").publish_all(vec![fresh.clone(), tick, fresh]).await.unwrap();
    assert_eq!(
        published.iter().map(|place| (place.position.get(), place.duplicate)).collect::<Vec<_>>(),
        [(4, false), (2, true), (4, true)]
    );
}

#[tokio::test]
async fn what_was_redacted_is_stored_beside_the_event_and_does_not_make_it_another() {
    let kit = Kit::new();
    let start = kit.started("a");
    let redacted = || vec!["/goal".to_owned(), "/inputs/token".to_owned()];
    kit.publish(vec![start.clone().with_redacted(redacted())]).await;
    assert!(kit.bus.publish(start.clone()).await.unwrap().duplicate);
    let of_store = kit.bus.repository().by_event_ids(&[start.event_id()]).await.unwrap();
    let mut stream = kit.bus.stream(Filter::all(), StartAt::Start).await.unwrap();
    let Some(Item::Event(of_ring)) = stream.next().await.unwrap() else { panic!("no event") };
    for stored in [&**of_ring, &*of_store[0]] {
        assert_eq!((&stored.event, &stored.meta.redacted), (&start, &redacted()));
    }
}

#[tokio::test]
async fn another_content_under_the_same_id_is_a_conflict() {
    let kit = Kit::new();
    let start = kit.started("a");
    kit.publish(vec![start.clone()]).await;
    let other = Event::new(
        start.event_id(),
        "test.x".parse().unwrap(),
        id("a"),
        start.timestamp(),
        Payload::parse("{}").unwrap(),
    )
    .unwrap();
    let error = kit.publisher("x").publish_all(vec![kit.custom("a", 1), other.clone()]).await.unwrap_err();
    assert!(
        matches!(error, PublishError::Conflict { index: 1, event_id } if event_id == start.event_id()),
        "{error}"
    );
    assert_eq!(kit.bus.tail().position.get(), 1, "nothing of the request is stored");
    let twice = kit.custom("a", 1);
    let changed = Event::new(
        twice.event_id(),
        EventType::CancelRequested,
        id("a"),
        twice.timestamp(),
        Payload::parse(r#"{"requested_by":"x"}"#).unwrap(),
    )
    .unwrap();
    let error = kit.publisher("x").publish_all(vec![twice, changed]).await.unwrap_err();
    assert!(matches!(error, PublishError::Conflict { index: 1, .. }), "{error}");
    // The first says something else than what is stored; the second says the same and is right.
    let error = kit.publisher("x").publish_all(vec![other, start]).await.unwrap_err();
    assert!(matches!(error, PublishError::Conflict { index: 0, .. }), "{error}");
}

#[tokio::test]
async fn a_request_is_stored_whole_or_not_at_all() {
    let kit = Kit::new();
    let request = vec![
        kit.started("a"),
        kit.spawned("a", "c"),
        kit.child_started("c", "a"),
        kit.call_ended("c", "none"),
    ];
    let error = kit.publisher("x").publish_all(request).await.unwrap_err();
    assert!(
        matches!(&error, PublishError::Rejected { index: 3, refusal: Refusal::CallUnknown { .. } }),
        "{error}"
    );
    assert_eq!(kit.bus.tail().position.get(), 0);
    // What was taken back leaves no trace: the same plans can start now.
    kit.publish(vec![kit.started("a"), kit.spawned("a", "c"), kit.child_started("c", "a")]).await;
    kit.publish(vec![
        kit.called("c", "k"),
        kit.call_ended("c", "k"),
        kit.completed("c"),
        kit.child_ended("a", "c"),
    ])
    .await;
    assert_eq!(kit.bus.publish(kit.completed("a")).await.unwrap().seq.get(), 4);
}

#[tokio::test]
async fn a_refused_request_does_not_hurt_those_that_share_its_commit() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    kit.hand.hold();
    let door = kit.publisher("x");
    let first = door.submit(vec![kit.custom("a", 1)]).await.unwrap();
    kit.hand.wait_for_append();
    // These three gather behind the commit that is held, and share the next.
    let bad = door.submit(vec![kit.custom("a", 2), kit.custom("unknown", 3)]).await.unwrap();
    let good = door.submit(vec![kit.custom("a", 4)]).await.unwrap();
    let empty = door.submit(vec![]).await.unwrap();
    kit.hand.release();
    assert_eq!(first.await.unwrap()[0].seq.get(), 2);
    assert!(matches!(
        bad.await,
        Err(PublishError::Rejected { index: 1, refusal: Refusal::PlanNotStarted { .. } })
    ));
    assert_eq!(good.await.unwrap()[0].seq.get(), 3);
    assert_eq!(empty.await.unwrap(), []);
}

#[tokio::test]
async fn requests_of_one_task_are_stored_in_the_order_of_their_submission() {
    let kit = Kit::new();
    let door = kit.publisher("x");
    let mut receipts = vec![door.submit(vec![kit.started("a")]).await.unwrap()];
    let events: Vec<_> = (0..500).map(|number| kit.custom("a", number)).collect();
    for event in events.clone() {
        receipts.push(door.submit(vec![event]).await.unwrap());
    }
    for (at, receipt) in receipts.into_iter().enumerate() {
        assert_eq!(receipt.await.unwrap()[0].seq.get(), at as u64 + 1);
    }
    let mut stream =
        kit.stream(planwire_event::Filter::plan(id("a")).with_types(["test.tick".parse().unwrap()])).await;
    assert_eq!(
        event_ids(&take(&mut stream, 500).await),
        events.iter().map(Event::event_id).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_dropped_receipt_withdraws_nothing() {
    let kit = Kit::new();
    let door = kit.publisher("x");
    drop(door.submit(vec![kit.started("a")]).await.unwrap());
    assert_eq!(kit.bus.publish(kit.custom("a", 1)).await.unwrap().seq.get(), 2);
}

#[tokio::test]
async fn requests_have_limits() {
    let kit = Kit::new();
    let door = kit.publisher("x");
    let many: Vec<_> = (0..1001).map(|number| kit.custom("a", number)).collect();
    assert!(matches!(door.submit(many).await, Err(PublishError::TooMany { events: 1001, max_events: 1000 })));
    let large = || {
        let payload = Payload::parse(&format!("{{\"x\":\"{}\"}}", "y".repeat(250 * 1024))).unwrap();
        Event::new(
            kit.ids.next_id(),
            "test.large".parse().unwrap(),
            id("a"),
            kit.started("a").timestamp(),
            payload,
        )
        .unwrap()
    };
    let error = door.submit((0..17).map(|_| large()).collect()).await.unwrap_err();
    assert!(matches!(error, PublishError::TooLarge { max_bytes: 4_194_304, .. }), "{error}");
    kit.publish(vec![kit.started("a")]).await;
    // The store takes no blob as large as this; whoever shares the commit must not be refused with it.
    let body: Arc<[u8]> = vec![0; planwire_store::BLOB_BYTES_MAX + 1].into();
    let blob = planwire_store::Blob { digest: planwire_event::Digest::of(&body), body };
    let attachments = Attachments { blobs: vec![blob], ..Attachments::default() };
    let error = door.publish_with(vec![kit.custom("a", 1)], attachments).await.unwrap_err();
    assert!(matches!(error, PublishError::TooLarge { max_bytes: 67_108_864, .. }), "{error}");
    assert_eq!(door.publish_all((0..16).map(|_| large()).collect()).await.unwrap().len(), 16);
}

#[tokio::test]
async fn documents_are_stored_with_their_event() {
    let kit = Kit::new();
    let body: Arc<str> = "{\"plan\":\"x\"}".into();
    let digest = Digest::of(body.as_bytes());
    let documents = vec![Document { digest, body: Arc::clone(&body) }];
    let attachments = Attachments { documents, ..Attachments::default() };
    kit.publisher("x").publish_with(vec![kit.started("a")], attachments).await.unwrap();
    assert_eq!(kit.bus.repository().document(digest).await.unwrap(), Some(body));
}

#[test]
fn a_log_without_a_bus_saves_and_refuses_alike() {
    let kit = Kit::new();
    let store = MemoryStore::new(log_id());
    let mut log = Log::open(store.writer(), store.repository(), Arc::new(SystemClock)).unwrap();
    let producer = Producer::new("library");
    let place = log.save(&producer, kit.started("a")).unwrap();
    assert_eq!((place.position.get(), log.head().get()), (1, 1));
    let error = log.save(&producer, kit.child_started("b", "a")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "event 0 of the request is refused: plan b: its parent a has not announced it by SubplanSpawned"
    );
    assert!(format!("{log:?}").contains("7Q4M2K9A"));
}

#[tokio::test]
async fn another_writer_of_the_same_log_is_caught_up_with() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    let mut other = Log::open(kit.store.writer(), kit.store.repository(), Arc::new(SystemClock)).unwrap();
    let producer = Producer::new("other");
    other.save(&producer, kit.custom("a", 1)).unwrap();
    other.save(&producer, kit.started("b")).unwrap();
    let mut stream = kit.stream(planwire_event::Filter::all()).await;
    let place = kit.bus.publish(kit.custom("a", 2)).await.unwrap();
    assert_eq!((place.position.get(), place.seq.get()), (4, 3));
    assert_eq!(kit.bus.publish(kit.custom("b", 3)).await.unwrap().seq.get(), 2);
    let seen = take(&mut stream, 5).await;
    assert_eq!(crate::kit::positions(&seen), [1, 2, 3, 4, 5]);
    // The other one is behind now and catches up in its turn.
    assert_eq!(other.save(&producer, kit.completed("b")).unwrap().position.get(), 6);
}

#[tokio::test]
async fn an_event_is_not_refused_for_a_repetition_before_it_in_its_request() {
    let kit = Kit::new();
    let first = kit.called("a", "k");
    kit.publish(vec![kit.started("a"), first.clone(), kit.call_ended("a", "k")]).await;
    let places = kit.publisher("x").publish_all(vec![first, kit.called("a", "k")]).await.unwrap();
    let places: Vec<_> = places.iter().map(|place| (place.position.get(), place.duplicate)).collect();
    assert_eq!(places, [(2, true), (4, false)]);
}

#[tokio::test]
async fn a_conflict_is_told_rather_than_what_would_follow_from_it() {
    let kit = Kit::new();
    kit.publish(vec![kit.started("a")]).await;
    let end = kit.completed("a");
    let (event_type, payload) = ("test.tick".parse().unwrap(), planwire_event::Payload::parse("{}").unwrap());
    let taken = planwire_event::Event::new(end.event_id(), event_type, id("a"), end.timestamp(), payload);
    kit.publish(vec![taken.unwrap()]).await;
    let error = kit.publisher("x").publish_all(vec![end, kit.custom("a", 1)]).await.unwrap_err();
    assert!(matches!(error, PublishError::Conflict { index: 0, .. }), "{error}");
}
