//! Handlers are subscribed and unsubscribed while events come.
//!
//! A call has begun once it has passed the gate; what is seen here is the first step of the handler, which comes a
//! moment later. So one call, and no second, may be seen to begin after `unsubscribe` has returned.

use std::sync::Arc;

use planwire_bus::{Config, Handler, Recorded, SubscriptionId, UnsubscribeError};
use planwire_event::Filter;
use shuttle::future::{block_on, yield_now};
use shuttle::sync::Mutex;

use crate::kit::{Kit, chance, point};
use crate::search::models;

/// What was seen of a handler's calls.
#[derive(Default)]
struct Calls {
    positions: Vec<u64>,
    running: usize,
    /// The subscription has ended, as its unsubscriber knows.
    ended: bool,
    begun_late: usize,
}

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Calls>>);

impl Seen {
    fn begin(&self, event: &Recorded) {
        let mut calls = self.0.lock().unwrap();
        calls.positions.push(event.position.get());
        calls.running += 1;
        calls.begun_late += usize::from(calls.ended);
        assert_eq!(calls.running, 1, "one call at a time");
    }

    fn end(&self) {
        self.0.lock().unwrap().running -= 1;
    }

    fn unsubscribed(&self) {
        self.0.lock().unwrap().ended = true;
    }

    /// A handler whose calls take some steps.
    fn handler(&self) -> Handler {
        let seen = self.clone();
        if chance(50) {
            Handler::blocking(move |event| {
                seen.begin(event);
                point();
                seen.end();
                Ok(())
            })
        } else {
            Handler::future(move |event| {
                let seen = seen.clone();
                async move {
                    seen.begin(&event);
                    yield_now().await;
                    seen.end();
                    Ok(())
                }
            })
        }
    }

    /// Positions as they came; each once, and none left out between.
    fn positions(&self) -> Vec<u64> {
        let positions = self.0.lock().unwrap().positions.clone();
        assert!(positions.windows(2).all(|pair| pair[1] == pair[0] + 1), "handled {positions:?}");
        positions
    }
}

/// Three requests in the plan `a`, which has one event already: positions 2 to 6.
fn publishing(kit: &Kit) -> shuttle::thread::JoinHandle<()> {
    kit.publishing(vec![
        vec![kit.tick("a", "x")],
        vec![kit.tick("a", "x"), kit.tick("a", "x"), kit.tick("a", "x")],
        vec![kit.tick("a", "x")],
    ])
}

fn kit(blocking_handlers_max: usize) -> Kit {
    let kit = Kit::with(Config { blocking_handlers_max, ..Config::default() });
    kit.publish(vec![kit.started("a")]);
    kit
}

pub(crate) fn after_unsubscribe_no_call_begins() {
    let (kit, seen) = (kit(2), Seen::default());
    let id = kit.bus.subscribe(seen.handler(), Filter::all()).unwrap();
    let publisher = publishing(&kit);
    (0..crate::kit::below(6)).for_each(|_| shuttle::thread::yield_now());
    kit.bus.unsubscribe(id).unwrap();
    seen.unsubscribed();
    assert!(matches!(kit.bus.unsubscribe(id), Err(UnsubscribeError::Unknown)));
    publisher.join().unwrap();
    kit.shutdown();
    assert!(seen.0.lock().unwrap().begun_late <= 1);
    assert!(seen.positions().first().is_none_or(|first| *first == 2));
}

pub(crate) fn unsubscribe_and_wait_waits_for_the_call_that_runs() {
    let (kit, seen) = (kit(2), Seen::default());
    let id = kit.bus.subscribe(seen.handler(), Filter::all()).unwrap();
    let publisher = publishing(&kit);
    let rival = {
        let kit = kit.clone();
        let rivals = chance(30);
        shuttle::thread::spawn(move || rivals && kit.bus.unsubscribe(id).is_ok())
    };
    (0..crate::kit::below(6)).for_each(|_| shuttle::thread::yield_now());
    let waited = block_on(kit.bus.unsubscribe_and_wait(id)).is_ok();
    if waited {
        seen.unsubscribed();
        assert_eq!(seen.0.lock().unwrap().running, 0);
    }
    assert!(waited != rival.join().unwrap(), "one of them ended it");
    publisher.join().unwrap();
    kit.shutdown();
    assert_eq!(seen.0.lock().unwrap().begun_late, 0);
    seen.positions();
}

/// Two blocking handlers share one thread; whoever waits for it can be ended all the same.
pub(crate) fn a_handler_that_waits_for_a_thread_can_be_ended() {
    let kit = kit(1);
    let seen = [Seen::default(), Seen::default()];
    let ids: Vec<SubscriptionId> = seen
        .iter()
        .map(|seen| {
            let seen = seen.clone();
            let handler = Handler::blocking(move |event| {
                seen.begin(event);
                point();
                seen.end();
                Ok(())
            });
            kit.bus.subscribe(handler, Filter::all()).unwrap()
        })
        .collect();
    let publisher = publishing(&kit);
    (0..crate::kit::below(6)).for_each(|_| shuttle::thread::yield_now());
    block_on(kit.bus.unsubscribe_and_wait(ids[0])).unwrap();
    publisher.join().unwrap();
    kit.shutdown();
    assert_eq!(seen[1].positions(), [2, 3, 4, 5, 6]);
    seen[0].positions();
}

pub(crate) fn a_handler_may_end_itself() {
    let (kit, seen) = (kit(2), Seen::default());
    let own = Arc::new(Mutex::new(None::<SubscriptionId>));
    let waits = chance(50);
    let handler = {
        let (bus, seen, own) = (kit.bus.clone(), seen.clone(), Arc::clone(&own));
        Handler::future(move |event| {
            let (bus, seen, own) = (bus.clone(), seen.clone(), Arc::clone(&own));
            async move {
                seen.begin(&event);
                yield_now().await;
                let id = *own.lock().unwrap();
                if let Some(id) = id {
                    if waits {
                        let refused = bus.unsubscribe_and_wait(id).await;
                        assert!(matches!(refused, Err(UnsubscribeError::WithinHandler)));
                    } else {
                        bus.unsubscribe(id)?;
                    }
                    seen.unsubscribed();
                }
                seen.end();
                Ok(())
            }
        })
    };
    let id = kit.bus.subscribe(handler, Filter::all()).unwrap();
    *own.lock().unwrap() = Some(id);
    let publisher = publishing(&kit);
    publisher.join().unwrap();
    kit.shutdown();
    assert_eq!((seen.positions(), seen.0.lock().unwrap().begun_late), (vec![2], 0));
    assert_eq!(kit.bus.counters().handler_errors, 0);
}

pub(crate) fn a_handler_gets_all_that_is_stored_after_it_subscribed() {
    let (kit, seen) = (kit(2), Seen::default());
    let publisher = publishing(&kit);
    let before = kit.bus.tail().position.get();
    kit.bus.subscribe(seen.handler(), Filter::all()).unwrap();
    let after = kit.publish(vec![kit.tick("a", "y")])[0].position.get();
    publisher.join().unwrap();
    kit.shutdown();
    let (positions, last) = (seen.positions(), kit.bus.tail().position.get());
    assert!(positions.first().is_some_and(|first| (before + 1..=after).contains(first)), "{positions:?}");
    assert_eq!(positions.last(), Some(&last), "a shutdown lets handlers reach the end");
}

models!(
    after_unsubscribe_no_call_begins
    unsubscribe_and_wait_waits_for_the_call_that_runs
    a_handler_that_waits_for_a_thread_can_be_ended
    a_handler_may_end_itself
    a_handler_gets_all_that_is_stored_after_it_subscribed
);
