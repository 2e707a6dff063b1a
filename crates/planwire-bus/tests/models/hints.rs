//! Another process writes; the store tells where the head is.

use planwire_bus::{Item, StartAt};
use planwire_event::{Filter, Position};
use shuttle::future::block_on;

use crate::kit::{Hint, Kit};
use crate::search::models;

/// Tells the bus where the head is, as the store's own thread does.
fn tell(hint: &Hint, position: Position) {
    hint.lock().unwrap().as_ref().unwrap()(position);
}

pub(crate) fn what_another_process_wrote_is_shown_after_a_hint() {
    let there = Kit::new(usize::MAX);
    there.publish(vec![there.started("a")]);
    let hint = Hint::default();
    let here = there.beside(hint.clone());
    let reader = {
        let here = here.clone();
        shuttle::thread::spawn(move || {
            block_on(async {
                let mut stream = here.bus.stream(Filter::all(), StartAt::Start).await.unwrap();
                for position in 1..=4 {
                    let item = stream.next().await.unwrap();
                    assert!(matches!(item, Some(Item::Event(event)) if event.position.get() == position));
                }
            });
        })
    };
    let other = {
        let there = there.clone();
        shuttle::thread::spawn(move || {
            for _ in 0..2 {
                let published = there.publish(vec![there.tick("a", "x")]);
                tell(&hint, published[0].position);
            }
        })
    };
    here.publish(vec![here.tick("a", "y")]);
    other.join().unwrap();
    reader.join().unwrap();
    // What was written here is shown there only with the next commit of its own, since nobody tells it.
    there.publish(vec![there.tick("a", "x")]);
    there.shutdown();
    here.shutdown();
}

models!(what_another_process_wrote_is_shown_after_a_hint);
