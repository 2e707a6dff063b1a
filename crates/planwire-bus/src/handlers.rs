//! The handlers of a bus: each a task around a subscription, on a runtime of their own, isolated from each other.

use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use planwire_event::Filter;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Notify, Semaphore, oneshot, watch};

use crate::bus::Shared;
use crate::config::Config;
use crate::counters::add;
use crate::error::{SubscribeError, UnsubscribeError};
use crate::handler::{Handler, HandlerError, Kind};
use crate::recorded::Recorded;
use crate::subscription::{Batch, MissingPlan, StartAt, Subscription};

/// Events that a handler's task takes from the log at a time.
const HANDLER_EVENTS: usize = 64;

/// How long a task waits before it reads again from a store that failed.
const RETRY_MS: u64 = 200;

/// Threads that drive async handlers and the tasks of all handlers.
const RUNTIME_THREADS: usize = 2;

/// Names a subscription of a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(u64);

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

thread_local! {
    /// Whether this thread runs a blocking handler.
    static IN_BLOCKING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

tokio::task_local! {
    /// Set while an async handler runs.
    static IN_ASYNC: ();
}

fn within_handler() -> bool {
    IN_BLOCKING.get() || IN_ASYNC.try_with(|()| ()).is_ok()
}

/// Whether calls of a handler may begin. Closing it is one step with the check before a call.
#[derive(Debug, Default)]
struct Gate {
    closed: Mutex<bool>,
    /// Wakes the task, which may be waiting for events.
    closing: Notify,
}

impl Gate {
    fn close(&self) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.closing.notify_one();
    }

    fn is_closed(&self) -> bool {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Entry {
    gate: Arc<Gate>,
    ended: watch::Receiver<bool>,
}

/// All handlers of one bus.
pub(crate) struct Handlers {
    shared: Arc<Shared>,
    state: Arc<Mutex<State>>,
    next_id: AtomicU64,
    /// One permit per thread for blocking handlers.
    threads: Arc<Semaphore>,
    threads_max: usize,
    drain: Duration,
}

#[derive(Default)]
struct State {
    entries: HashMap<SubscriptionId, Entry>,
    /// Started with the first handler.
    runtime: Option<OwnRuntime>,
    closed: bool,
}

/// The runtime of the handlers. Dropping it, also within another runtime, leaves calls that run behind.
struct OwnRuntime {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        // A runtime must not be dropped within another one the blocking way.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers").finish_non_exhaustive()
    }
}

impl Handlers {
    pub(crate) fn new(shared: Arc<Shared>, config: &Config) -> Self {
        let threads_max = config.blocking_handlers_max.max(1);
        Self {
            shared,
            state: Arc::default(),
            next_id: AtomicU64::new(1),
            threads: Arc::new(Semaphore::new(threads_max)),
            threads_max,
            drain: Duration::from_millis(config.handlers_drain_ms_max),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn subscribe(
        &self,
        handler: Handler,
        filter: Filter,
    ) -> Result<SubscriptionId, SubscribeError> {
        // The place is taken before anything else: whatever is stored after this call is handled.
        let from = StartAt::After(self.shared.cursor(self.shared.tail.position()));
        let id = SubscriptionId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let mut state = self.lock();
        if state.closed || self.shared.is_closed() {
            return Err(SubscribeError::Closed);
        }
        let runtime = match &mut state.runtime {
            Some(runtime) => runtime,
            none => none.insert(start_runtime(self.threads_max).map_err(SubscribeError::NoThread)?),
        };
        let (ending, ended) = watch::channel(false);
        let gate = Arc::new(Gate::default());
        let task = Task {
            id,
            handler,
            gate: Arc::clone(&gate),
            shared: Arc::clone(&self.shared),
            threads: Arc::clone(&self.threads),
        };
        let entries = Arc::downgrade(&self.state);
        runtime.handle.spawn(async move {
            task.run(filter, from).await;
            if let Some(state) = entries.upgrade() {
                state.lock().unwrap_or_else(PoisonError::into_inner).entries.remove(&id);
            }
            ending.send_replace(true);
        });
        state.entries.insert(id, Entry { gate, ended });
        Ok(id)
    }

    /// Closes the gate; gives what tells when the task has ended.
    pub(crate) fn unsubscribe(&self, id: SubscriptionId) -> Result<watch::Receiver<bool>, UnsubscribeError> {
        let entry = self.lock().entries.remove(&id).ok_or(UnsubscribeError::Unknown)?;
        entry.gate.close();
        Ok(entry.ended)
    }

    pub(crate) async fn unsubscribe_and_wait(&self, id: SubscriptionId) -> Result<(), UnsubscribeError> {
        let mut ended = self.unsubscribe(id)?;
        if within_handler() {
            return Err(UnsubscribeError::WithinHandler);
        }
        // An error means that the task is gone, which is what is waited for.
        let _ = ended.wait_for(|ended| *ended).await;
        Ok(())
    }

    /// Lets all handlers reach the end of the log, which is closed, for a bounded time.
    pub(crate) async fn drain(&self) {
        let (runtime, ended): (_, Vec<_>) = {
            let mut state = self.lock();
            state.closed = true;
            // They stay subscribed: a handler may still end one of them, itself for example.
            let ended = state.entries.values().map(|entry| entry.ended.clone()).collect();
            (state.runtime.take(), ended)
        };
        let Some(runtime) = runtime else { return };
        if within_handler() {
            tracing::warn!("a handler shuts its own bus down; handlers are not waited for");
        } else {
            let (all_ended, limit) = after(self.drain);
            let all = async {
                for mut ended in ended {
                    let _ = ended.wait_for(|ended| *ended).await;
                }
            };
            tokio::select! {
                () = all => {}
                _ = limit => tracing::warn!("handlers did not reach the end of the log in time and are left behind"),
            }
            drop(all_ended);
        }
        drop(runtime);
    }
}

/// Tells when `time` has passed, unless the sender is dropped before. On a thread of its own: the caller's runtime may
/// have no timer, and a handler that blocks may hold that of the handlers.
fn after(time: Duration) -> (std::sync::mpsc::Sender<()>, oneshot::Receiver<()>) {
    let ((needed, waits), (passed, limit)) = (std::sync::mpsc::channel(), oneshot::channel());
    let thread = std::thread::Builder::new().name("planwire-drain".into()).spawn(move || {
        if waits.recv_timeout(time).is_err() {
            let _ = passed.send(());
        }
    });
    if let Err(error) = thread {
        tracing::warn!(%error, "no thread could be started; handlers are not waited for");
    }
    (needed, limit)
}

fn start_runtime(threads_max: usize) -> std::io::Result<OwnRuntime> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .max_blocking_threads(threads_max)
        .thread_name("planwire-handlers")
        .enable_time()
        .build()?;
    Ok(OwnRuntime { handle: runtime.handle().clone(), runtime: Some(runtime) })
}

/// One handler's task.
struct Task {
    id: SubscriptionId,
    handler: Handler,
    gate: Arc<Gate>,
    shared: Arc<Shared>,
    threads: Arc<Semaphore>,
}

impl Task {
    async fn run(&self, filter: Filter, from: StartAt) {
        let Some(mut subscription) = self.open(filter, from).await else { return };
        while let Some(batch) = self.next(&mut subscription).await {
            if !batch.events.is_empty() {
                self.handle(batch.events).await;
            }
            if batch.closed || batch.end.is_some() {
                return;
            }
        }
    }

    async fn open(&self, filter: Filter, from: StartAt) -> Option<Subscription> {
        loop {
            match Subscription::open(Arc::clone(&self.shared), filter.clone(), from, MissingPlan::Wait).await
            {
                Ok(subscription) => return Some(subscription),
                Err(crate::error::StreamError::Store(error)) => self.pause(&error).await?,
                Err(_) => return None,
            }
        }
    }

    /// What lies next; `None` once the gate is closed.
    async fn next(&self, subscription: &mut Subscription) -> Option<Batch> {
        loop {
            let read = tokio::select! {
                biased;
                () = self.gate.closing.notified() => return None,
                read = subscription.next_batch(HANDLER_EVENTS, usize::MAX) => read,
            };
            match read {
                Ok(batch) => return Some(batch),
                Err(error) => self.pause(&error).await?,
            }
        }
    }

    /// Waits before the store is read again; `None` once the gate is closed.
    async fn pause(&self, error: &(dyn std::error::Error + Send + Sync)) -> Option<()> {
        tracing::warn!(subscription = %self.id, error = %error, "a handler cannot read the log; trying again");
        tokio::select! {
            () = self.gate.closing.notified() => None,
            () = tokio::time::sleep(Duration::from_millis(RETRY_MS)) => Some(()),
        }
    }

    async fn handle(&self, events: Vec<Arc<Recorded>>) {
        match &self.handler.0 {
            Kind::Async(call) => {
                for event in events {
                    if self.gate.is_closed() {
                        return;
                    }
                    // The call itself may panic too, before it gives a future.
                    let outcome = AssertUnwindSafe(IN_ASYNC.scope((), async { call(event).await }))
                        .catch_unwind()
                        .await;
                    report(&self.shared, self.id, outcome);
                }
            }
            Kind::Blocking(_) => self.handle_blocking(events).await,
        }
    }

    async fn handle_blocking(&self, events: Vec<Arc<Recorded>>) {
        let thread = match Arc::clone(&self.threads).try_acquire_owned() {
            Ok(thread) => thread,
            Err(_) => {
                add(&self.shared.counters.handler_waits, 1);
                tracing::warn!(subscription = %self.id, "all threads for blocking handlers are busy; waiting for one");
                let waited = tokio::select! {
                    () = self.gate.closing.notified() => {
                        // The notification is for the loop that reads, too.
                        self.gate.closing.notify_one();
                        return;
                    }
                    thread = Arc::clone(&self.threads).acquire_owned() => thread,
                };
                let Ok(thread) = waited else { return };
                thread
            }
        };
        let (id, handler, gate) = (self.id, self.handler.clone(), Arc::clone(&self.gate));
        let shared = Arc::clone(&self.shared);
        let calls = tokio::task::spawn_blocking(move || {
            let _thread = thread;
            let Kind::Blocking(call) = &handler.0 else { return };
            IN_BLOCKING.set(true);
            for event in events {
                if gate.is_closed() {
                    break;
                }
                let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| call(&event)));
                report(&shared, id, outcome);
            }
            IN_BLOCKING.set(false);
        });
        // Only the runtime's end cancels it, and then nobody waits here.
        let _ = calls.await;
    }
}

fn report(shared: &Shared, id: SubscriptionId, outcome: std::thread::Result<Result<(), HandlerError>>) {
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            add(&shared.counters.handler_errors, 1);
            tracing::warn!(subscription = %id, error = %error, "a handler failed with an event");
        }
        Err(_) => {
            add(&shared.counters.handler_panics, 1);
            tracing::error!(subscription = %id, "a handler panicked");
        }
    }
}
