//! The end of the log as readers see it: the ring and those who wait, under one lock.
//!
//! The lock makes "nothing more to read" and "registered as waiting" one step: an event is either in the ring when a
//! reader looks, or finds the reader registered. It is held for at most [`SCAN_EVENTS_MAX`] entries.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use planwire_event::Position;

use crate::counters::{Live, add};
#[cfg(feature = "planted")]
use crate::planted::{self, Bug};
use crate::recorded::Recorded;
use crate::ring::Ring;
use crate::scope::WakeKey;
use crate::sync::{AtomicU64, Mutex, MutexGuard};
use crate::waiters::{Slot, Waiters};

/// Entries of the ring that one reader may take while it holds the lock.
pub(crate) const SCAN_EVENTS_MAX: usize = 256;

#[derive(Debug)]
pub(crate) struct Tail {
    state: Mutex<State>,
    /// The position of the ring's tail, for those who only ask.
    position: AtomicU64,
    next_slot: AtomicU64,
    counters: Arc<Live>,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    waiters: Waiters,
    closed: bool,
}

/// What a reader finds after its place.
#[derive(Debug)]
pub(crate) enum Found {
    /// Events directly after the place, all kinds; at most [`SCAN_EVENTS_MAX`].
    Events(Vec<Arc<Recorded>>),
    /// The ring no longer reaches back: read the store.
    Behind,
    /// Nothing; the reader is now registered and its slot will be woken.
    Waiting,
    /// Nothing, and nothing will come.
    Closed,
}

impl Tail {
    pub(crate) fn new(tail: Position, ring_bytes_max: usize, counters: Arc<Live>) -> Self {
        let state =
            State { ring: Ring::new(tail, ring_bytes_max), waiters: Waiters::default(), closed: false };
        Self {
            state: Mutex::new(state),
            position: AtomicU64::new(tail.get()),
            next_slot: AtomicU64::new(1),
            counters,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn new_slot(&self, key: WakeKey) -> Arc<Slot> {
        Arc::new(Slot::new(self.next_slot.fetch_add(1, Ordering::Relaxed), key))
    }

    /// Position of the last durable event.
    pub(crate) fn position(&self) -> Position {
        Position::new(self.position.load(Ordering::Acquire))
    }

    /// Makes durable events visible and wakes those who wait for them. Called by the writer alone.
    pub(crate) fn extend(&self, events: &[Arc<Recorded>]) {
        let mut woken = Vec::new();
        #[cfg(feature = "planted")]
        if planted::has(Bug::PushedApart) {
            let mut state = self.lock();
            events.iter().for_each(|event| state.waiters.take_matching(event, &mut woken));
        }
        {
            let mut state = self.lock();
            let State { ring, waiters, .. } = &mut *state;
            for event in events {
                ring.push(Arc::clone(event));
                #[cfg(feature = "planted")]
                if planted::has(Bug::PushedApart) {
                    continue;
                }
                waiters.take_matching(event, &mut woken);
            }
            self.position.store(ring.tail().get(), Ordering::Release);
        }
        #[cfg(feature = "planted")]
        if planted::has(Bug::WakeLost) {
            woken.truncate(1);
        }
        add(&self.counters.wakeups, woken.len() as u64);
        for slot in woken {
            slot.wake();
        }
    }

    /// Lets readers find everything so far in the store alone.
    pub(crate) fn forget(&self) {
        self.lock().ring.forget();
    }

    /// Ends the log for readers: whoever has read everything is told so.
    pub(crate) fn close(&self) {
        let woken = {
            let mut state = self.lock();
            state.closed = true;
            state.waiters.take_all()
        };
        for slot in woken {
            slot.wake();
        }
    }

    /// Looks what lies after `cursor`, and registers `slot` if there is nothing.
    pub(crate) fn after(&self, cursor: Position, slot: &Arc<Slot>) -> Found {
        let mut state = self.lock();
        #[cfg(feature = "planted")]
        if planted::has(Bug::ClosedLookedAtFirst) && state.closed {
            return Found::Closed;
        }
        if cursor >= state.ring.tail() {
            if state.closed {
                return Found::Closed;
            }
            #[cfg(feature = "planted")]
            if planted::has(Bug::RegisteredLate) {
                drop(state);
                state = self.lock();
            }
            state.waiters.register(slot);
            return Found::Waiting;
        }
        match state.ring.after(cursor) {
            Some(events) => Found::Events(events.take(SCAN_EVENTS_MAX).map(Arc::clone).collect()),
            None => Found::Behind,
        }
    }

    /// Up to where a registered reader has missed nothing, without taking anything from its slot.
    pub(crate) fn scanned(&self, slot: &Slot, scanned: Position) -> Position {
        #[cfg(feature = "planted")]
        if planted::has(Bug::ScannedWithoutLock) {
            return if slot.is_woken() { scanned } else { self.position().max(scanned) };
        }
        #[cfg(feature = "planted")]
        if planted::has(Bug::SlotReadBeforeLock) {
            let woken = slot.is_woken();
            let state = self.lock();
            return if woken { scanned } else { state.ring.tail().max(scanned) };
        }
        let state = self.lock();
        if slot.is_woken() { scanned } else { state.ring.tail().max(scanned) }
    }

    /// Takes out a reader that has waited and will not again.
    pub(crate) fn leave(&self, slot: &Slot) {
        #[cfg(feature = "planted")]
        if planted::has(Bug::LeaveForgotten) {
            return;
        }
        self.lock().waiters.leave(slot);
    }
}
