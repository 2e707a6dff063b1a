//! Readers register where they wait, the writer marks and wakes them.

use planwire_bus::StartAt;
use planwire_event::Filter;
use shuttle::future::block_on;

use crate::hand_over::run;
use crate::kit::{Kit, id, one_of};
use crate::reader::{Reader, at_most};
use crate::search::models;

fn of_types(types: &[&str]) -> Filter {
    Filter::all().with_types(types.iter().map(|name| name.parse().unwrap()).collect::<Vec<_>>())
}

pub(crate) fn each_reader_is_woken_for_what_it_waits_for() {
    let kit = Kit::new(one_of(&[1, usize::MAX]));
    kit.publish(vec![kit.started("a"), kit.started("b")]);
    let readers = vec![
        Reader::new(Filter::plan(id("a")), StartAt::Now),
        Reader::new(of_types(&["test.x", "test.y"]), StartAt::Now),
        Reader::new(one_of(&[Filter::all(), Filter::plan(id("a")), of_types(&["test.y"])]), StartAt::Start),
    ];
    let first = vec![vec![kit.tick("b", "x"), kit.tick("a", "y")], vec![kit.tick("a", "z")]];
    let second = vec![vec![kit.tick("a", "x")], vec![kit.tick("b", "y"), kit.tick("b", "x")]];
    run(&kit, readers, vec![first, second]);
}

pub(crate) fn nobody_is_woken_for_what_he_does_not_want() {
    let kit = Kit::new(usize::MAX);
    kit.publish(vec![kit.started("a"), kit.started("b")]);
    for filter in [Filter::plan(id("a")), of_types(&["test.x", "test.y"]), Filter::all()] {
        let mut gone = block_on(kit.bus.stream(filter, StartAt::Now)).unwrap();
        assert!(block_on(at_most(1, gone.next())).is_none(), "there is nothing to read");
    }
    let readers = vec![
        Reader::new(Filter::plan(id("b")), StartAt::Now),
        Reader::new(Filter::plan(id("a")).with_types(["test.z".parse().unwrap()]), StartAt::Now),
        Reader::new(of_types(&["test.z"]), StartAt::Now),
    ];
    let first = vec![vec![kit.tick("a", "x")], vec![kit.tick("a", "y")]];
    let second = vec![vec![kit.tick("a", "x"), kit.tick("a", "y")]];
    run(&kit, readers, vec![first, second]);
    assert_eq!(kit.bus.counters().wakeups, 0);
}

pub(crate) fn the_end_of_a_plan_is_told_to_who_waits_for_it() {
    let kit = Kit::new(one_of(&[1, usize::MAX]));
    kit.publish(vec![kit.started("a"), kit.tick("a", "x")]);
    let filters = [Filter::plan(id("a")), Filter::plan(id("a")).with_types(["test.x".parse().unwrap()])];
    let readers: Vec<_> =
        filters.into_iter().map(|filter| Reader::new(filter, StartAt::Start).spawn(&kit)).collect();
    let publisher = kit.publishing(vec![vec![kit.tick("a", "x")], vec![kit.completed("a")]]);
    publisher.join().unwrap();
    let seen: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    kit.shutdown();
    for seen in seen {
        seen.check(&kit.stored());
        assert!(seen.ended());
    }
}

models!(
    each_reader_is_woken_for_what_it_waits_for
    nobody_is_woken_for_what_he_does_not_want
    the_end_of_a_plan_is_told_to_who_waits_for_it
);
