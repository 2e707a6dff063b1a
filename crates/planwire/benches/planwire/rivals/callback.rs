//! Callbacks on the publisher's thread: no reader can be slow, fail or be late, since there is no reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::numbers::per_second;

type Callback = Box<dyn Fn(&Arc<String>) + Send + Sync>;

/// Events per second, each given to all of so many callbacks.
pub(crate) fn call_all(readers: usize, events: usize) -> f64 {
    let callback = |_| -> Callback {
        let read = AtomicUsize::new(0);
        Box::new(move |event| {
            read.fetch_add(event.len(), Ordering::Relaxed);
        })
    };
    let callbacks: Vec<Callback> = (0..readers).map(callback).collect();
    let event = Arc::new("x".repeat(crate::product::EVENT_BYTES));
    let begun = Instant::now();
    for _ in 0..events {
        for callback in &callbacks {
            callback(&event);
        }
    }
    per_second(events, begun.elapsed())
}
