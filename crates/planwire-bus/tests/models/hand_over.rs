//! Readers page the store and go on in the ring, while the writer appends to it and evicts from it.

use planwire_bus::StartAt;
use planwire_event::{Cursor, Event, Filter, Position};

use crate::kit::{Kit, id, log_id, one_of};
use crate::reader::Reader;
use crate::search::models;

/// Lets readers and publishers go at once, shuts the bus down and looks at what readers saw.
pub(crate) fn run(kit: &Kit, readers: Vec<Reader>, publishers: Vec<Vec<Vec<Event>>>) {
    let readers: Vec<_> = readers.into_iter().map(|reader| reader.spawn(kit)).collect();
    let publishers: Vec<_> = publishers.into_iter().map(|requests| kit.publishing(requests)).collect();
    publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    kit.shutdown();
    let seen: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    let stored = kit.stored();
    let due: usize = seen.iter().map(|seen| seen.check(&stored)).sum();
    let counters = kit.bus.counters();
    assert!(counters.wakeups <= due as u64, "{} woken for {due} events", counters.wakeups);
    assert_eq!(counters.subscriptions_open, 0);
}

pub(crate) fn readers_go_from_store_to_ring_without_gap_or_repetition() {
    let kit = Kit::new(one_of(&[1, 4_000, usize::MAX]));
    kit.publish(vec![kit.started("a"), kit.started("b")]);
    kit.publish(vec![kit.tick("a", "x"), kit.tick("b", "x"), kit.tick("a", "y")]);
    let middle = StartAt::After(Cursor { log_id: log_id(), position: Position::new(3) });
    let filters = [
        Filter::all(),
        Filter::plan(id("a")),
        Filter::plan(id("b")),
        Filter::all().with_types(["test.x".parse().unwrap()]),
    ];
    let readers = vec![
        Reader::new(Filter::all(), one_of(&[StartAt::Start, middle])),
        Reader::new(one_of(&filters), one_of(&[StartAt::Start, StartAt::Now, middle])),
    ];
    let requests = vec![
        vec![kit.tick("a", "x")],
        vec![kit.tick("b", "y"), kit.tick("a", "x"), kit.tick("b", "x")],
        vec![kit.tick("b", "x")],
        vec![kit.tick("a", "y"), kit.tick("a", "x")],
    ];
    run(&kit, readers, vec![requests]);
}

models!(readers_go_from_store_to_ring_without_gap_or_repetition);
