//! The end of the log in memory: a cache, never a channel. What it no longer holds is read from the store.

use std::collections::VecDeque;
use std::sync::Arc;

use planwire_event::Position;

#[cfg(feature = "planted")]
use crate::planted::{self, Bug};
use crate::recorded::Recorded;

/// The last events of the log, without a gap, up to a number of bytes.
#[derive(Debug)]
pub(crate) struct Ring {
    entries: VecDeque<Arc<Recorded>>,
    bytes: usize,
    bytes_max: usize,
    /// Position of the last event, also when the ring holds none.
    tail: Position,
}

impl Ring {
    pub(crate) fn new(tail: Position, bytes_max: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_max, tail }
    }

    pub(crate) const fn tail(&self) -> Position {
        self.tail
    }

    /// Adds the event after the tail; drops the oldest beyond the limit, but keeps the newest whatever its size.
    pub(crate) fn push(&mut self, event: Arc<Recorded>) {
        debug_assert_eq!(event.position, self.tail.next(), "the ring has no gaps");
        self.tail = event.position;
        self.bytes += event.weight_bytes();
        self.entries.push_back(event);
        while self.bytes > self.bytes_max && self.entries.len() > 1 {
            if let Some(oldest) = self.entries.pop_front() {
                self.bytes -= oldest.weight_bytes();
            }
        }
    }

    /// Holds none of the events so far any more: something of them was removed from the log, and the store has the rest.
    pub(crate) fn forget(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// The events after `cursor`, or `None` if the first of them is no longer here.
    pub(crate) fn after(&self, cursor: Position) -> Option<impl Iterator<Item = &Arc<Recorded>>> {
        let missing = self.tail.get().checked_sub(cursor.get())?;
        let missing = usize::try_from(missing).ok()?;
        #[cfg(feature = "planted")]
        if planted::has(Bug::HandOverOffByOne) && missing > 1 && missing == self.entries.len() + 1 {
            return Some(self.entries.range(0..));
        }
        let skip = self.entries.len().checked_sub(missing)?;
        #[cfg(feature = "planted")]
        let skip = skip + usize::from(planted::has(Bug::RingSkipsOne) && missing > 3);
        Some(self.entries.range(skip..))
    }
}
