//! What a bus counts: for metrics, and for tests that would otherwise have to measure time.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What a bus has done since it was opened; a snapshot.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counters { $($(#[$doc])* pub $name: u64,)* }

        #[derive(Debug, Default)]
        pub(crate) struct Live { $(pub(crate) $name: AtomicU64,)* }

        impl Live {
            pub(crate) fn snapshot(&self) -> Counters {
                Counters { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters!(
    /// Transactions that the store answered with stored.
    commits,
    /// Events in them.
    events_stored,
    /// Events that were encoded as JSON for readers.
    encodes,
    /// Readers that were woken.
    wakeups,
    /// Pages that readers took from the store because the ring no longer reached back to their cursor.
    store_pages,
    /// Subscriptions that are open now.
    subscriptions_open,
    /// Calls of handlers that returned an error.
    handler_errors,
    /// Calls of handlers that panicked.
    handler_panics,
    /// Calls of blocking handlers that had to wait for a thread.
    handler_waits,
);

pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

pub(crate) fn subtract(counter: &AtomicU64, amount: u64) {
    counter.fetch_sub(amount, Ordering::Relaxed);
}
