//! Whether calls of a handler may begin, and whether one runs on this thread.

use std::cell::Cell;
use std::future::poll_fn;
use std::sync::PoisonError;
#[cfg(feature = "planted")]
use std::sync::atomic::Ordering;

use futures_util::future::BoxFuture;

#[cfg(feature = "planted")]
use crate::planted::{self, Bug};
use crate::sync::{Mutex, Notify, thread_local};

/// What each call of a handler passes. A call has begun once it has passed; after [`Gate::close`] returned, none does.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed: Mutex<bool>,
    /// Wakes the task, which may be waiting for events.
    closing: Notify,
    /// Whether a call has begun before.
    #[cfg(feature = "planted")]
    begun: std::sync::atomic::AtomicBool,
}

impl Gate {
    pub(crate) fn close(&self) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.closing.notify_one();
    }

    /// Whether a call may begin.
    pub(crate) fn passes(&self) -> bool {
        #[cfg(feature = "planted")]
        if planted::has(Bug::GateLookedAtOnce) && self.begun.swap(true, Ordering::Relaxed) {
            return true;
        }
        !*self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the gate is closed. One waiter is told, once: who does not end by it hands it on.
    pub(crate) async fn closing(&self) {
        self.closing.notified().await;
    }

    /// Tells the next who waits for the gate to close what this one was told.
    pub(crate) fn hand_on(&self) {
        self.closing.notify_one();
    }
}

thread_local! {
    /// Whether this thread runs a call of a handler, or the part of one between two waits.
    static WITHIN: Cell<bool> = const { Cell::new(false) };
}

/// Whether the caller is a handler.
pub(crate) fn within_handler() -> bool {
    WITHIN.with(Cell::get)
}

/// Marks this thread as running a handler while it lives.
struct Mark {
    before: bool,
}

impl Mark {
    fn set() -> Self {
        Self { before: WITHIN.with(|within| within.replace(true)) }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        WITHIN.with(|within| within.set(self.before));
    }
}

/// Runs a call of a handler that blocks.
pub(crate) fn call_blocking<T>(call: impl FnOnce() -> T) -> T {
    let _mark = Mark::set();
    call()
}

/// Runs a call of an async handler: what makes its future, too, is part of it.
pub(crate) async fn call_async<T>(call: impl FnOnce() -> BoxFuture<'static, T>) -> T {
    let mut running = call_blocking(call);
    poll_fn(|context| call_blocking(|| running.as_mut().poll(context))).await
}
