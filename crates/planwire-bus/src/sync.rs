//! What threads meet at: locks, atomics, bells and threads, named in one place.
//!
//! A product has those of std and tokio. The feature `models` has those of `shuttle` instead, whose every use is a
//! point at which a scheduler may let another thread go first, so that `tests/models` can try the orders in which real
//! threads might come. What else is of tokio (queues, permits, watches) is one step to that scheduler.

#[cfg(not(feature = "models"))]
mod real {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64};
    pub(crate) use std::sync::{Mutex, MutexGuard};
    pub(crate) use std::{thread, thread_local};

    pub(crate) use futures_executor::block_on;
    pub(crate) use futures_util::task::AtomicWaker;
    pub(crate) use tokio::sync::Notify;
    use tokio::sync::mpsc::UnboundedReceiver;

    /// Waits on this thread for the next message; `None` at the end of the queue.
    pub(crate) fn receive<T>(queue: &mut UnboundedReceiver<T>) -> Option<T> {
        queue.blocking_recv()
    }
}

#[cfg(feature = "models")]
mod modelled {
    pub(crate) use shuttle::future::block_on;
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64};
    pub(crate) use shuttle::sync::{Mutex, MutexGuard};
    pub(crate) use shuttle::{thread, thread_local};

    use std::sync::atomic::Ordering;
    use std::task::Waker;

    use tokio::sync::mpsc::UnboundedReceiver;

    /// Waits on this thread for the next message; `None` at the end of the queue.
    pub(crate) fn receive<T>(queue: &mut UnboundedReceiver<T>) -> Option<T> {
        block_on(queue.recv())
    }

    /// The waker's place of futures, with a point before each of its steps.
    #[derive(Debug, Default)]
    pub(crate) struct AtomicWaker {
        point: AtomicBool,
        place: futures_util::task::AtomicWaker,
    }

    impl AtomicWaker {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn register(&self, waker: &Waker) {
            self.point.load(Ordering::SeqCst);
            self.place.register(waker);
        }

        pub(crate) fn wake(&self) {
            self.point.load(Ordering::SeqCst);
            self.place.wake();
        }
    }

    /// The bell of tokio, with a point before each of its steps.
    #[derive(Debug, Default)]
    pub(crate) struct Notify {
        point: AtomicBool,
        bell: tokio::sync::Notify,
    }

    impl Notify {
        pub(crate) fn notify_one(&self) {
            self.point.load(Ordering::SeqCst);
            self.bell.notify_one();
        }

        pub(crate) async fn notified(&self) {
            self.point.load(Ordering::SeqCst);
            self.bell.notified().await;
        }
    }
}

#[cfg(feature = "models")]
pub(crate) use modelled::*;
#[cfg(not(feature = "models"))]
pub(crate) use real::*;
