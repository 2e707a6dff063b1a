//! The handlers of a bus: each a task around a subscription, on threads of their own, isolated from each other.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use planwire_event::Filter;
use tokio::sync::{Semaphore, watch};

use crate::bus::Shared;
use crate::config::Config;
use crate::counters::add;
use crate::error::{SubscribeError, UnsubscribeError};
use crate::gate::{Gate, call_async, call_blocking, within_handler};
use crate::handler::{Handler, HandlerError, Kind};
#[cfg(feature = "planted")]
use crate::planted::{self, Bug};
use crate::recorded::Recorded;
use crate::stage::Crew;
use crate::subscription::{Batch, MissingPlan, StartAt, Subscription};
use crate::sync::{AtomicU64, Mutex, MutexGuard};
use crate::workers::{self, Workers};

/// Events that a handler's task takes from the log at a time.
const HANDLER_EVENTS: usize = 64;

/// How long a task waits before it reads again from a store that failed.
const RETRY_MS: u64 = 200;

/// Names a subscription of a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(u64);

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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
    crew: Crew,
    state: Arc<Mutex<State>>,
    next_id: AtomicU64,
    /// One permit per thread for blocking handlers.
    threads: Arc<Semaphore>,
    threads_max: usize,
    drain: Duration,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<SubscriptionId, Entry>,
    /// Started with the first handler.
    workers: Option<Workers>,
    closed: bool,
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers").finish_non_exhaustive()
    }
}

impl Handlers {
    pub(crate) fn new(shared: Arc<Shared>, crew: Crew, config: &Config) -> Self {
        let threads_max = config.blocking_handlers_max.max(1);
        Self {
            shared,
            crew,
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
        #[cfg(feature = "planted")]
        let from = if planted::has(Bug::PlaceTakenLate) { StartAt::Now } else { from };
        let id = SubscriptionId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let mut state = self.lock();
        if state.closed || self.shared.is_closed() {
            return Err(SubscribeError::Closed);
        }
        let (ending, ended) = watch::channel(false);
        let gate = Arc::new(Gate::default());
        let task = Task {
            id,
            handler,
            gate: Arc::clone(&gate),
            shared: Arc::clone(&self.shared),
            crew: self.crew.clone(),
            threads: Arc::clone(&self.threads),
        };
        let entries = Arc::downgrade(&self.state);
        let running = async move {
            #[cfg(feature = "planted")]
            if planted::has(Bug::EndToldEarly) {
                ending.send_replace(true);
            }
            task.run(filter, from).await;
            if let Some(state) = entries.upgrade() {
                state.lock().unwrap_or_else(PoisonError::into_inner).entries.remove(&id);
            }
            ending.send_replace(true);
        };
        match &self.crew {
            Crew::Stage(stage) => stage.spawn(Box::pin(running)),
            Crew::Threads => {
                let workers = match &mut state.workers {
                    Some(workers) => workers,
                    none => none.insert(Workers::start(self.threads_max).map_err(SubscribeError::NoThread)?),
                };
                workers.spawn(running);
            }
        }
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
        let itself = within_handler();
        #[cfg(feature = "planted")]
        let itself = itself && !planted::has(Bug::WaitsForItself);
        if itself {
            return Err(UnsubscribeError::WithinHandler);
        }
        // An error means that the task is gone, which is what is waited for.
        let _ = ended.wait_for(|ended| *ended).await;
        Ok(())
    }

    /// Lets all handlers reach the end of the log, which is closed, for a bounded time.
    pub(crate) async fn drain(&self) {
        let (workers, ended): (_, Vec<_>) = {
            let mut state = self.lock();
            state.closed = true;
            // They stay subscribed: a handler may still end one of them, itself for example.
            let ended = state.entries.values().map(|entry| entry.ended.clone()).collect();
            (state.workers.take(), ended)
        };
        // Dropped at the end: calls that run then are left behind.
        let _workers = workers;
        if ended.is_empty() {
            return;
        }
        if within_handler() {
            tracing::warn!("a handler shuts its own bus down; handlers are not waited for");
        } else {
            let (all_ended, limit) = workers::after(self.drain);
            let all = async {
                for mut ended in ended {
                    let _ = ended.wait_for(|ended| *ended).await;
                }
            };
            tokio::select! {
                biased;
                () = all => {}
                _ = limit => tracing::warn!("handlers did not reach the end of the log in time and are left behind"),
            }
            drop(all_ended);
        }
    }
}

/// One handler's task.
struct Task {
    id: SubscriptionId,
    handler: Handler,
    gate: Arc<Gate>,
    shared: Arc<Shared>,
    crew: Crew,
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
                () = self.gate.closing() => return None,
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
            biased;
            () = self.gate.closing() => None,
            () = self.crew.pause(Duration::from_millis(RETRY_MS)) => Some(()),
        }
    }

    async fn handle(&self, events: Vec<Arc<Recorded>>) {
        match &self.handler.0 {
            Kind::Async(call) => {
                for event in events {
                    if !self.gate.passes() {
                        return;
                    }
                    // The call itself may panic too, before it gives a future.
                    let outcome = AssertUnwindSafe(call_async(|| call(event))).catch_unwind().await;
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
                    biased;
                    () = self.gate.closing() => {
                        // The loop that reads has to hear of it, too.
                        #[cfg(feature = "planted")]
                        if planted::has(Bug::ClosingSwallowed) {
                            return;
                        }
                        self.gate.hand_on();
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
        let calls = move || {
            let _thread = thread;
            let Kind::Blocking(call) = &handler.0 else { return };
            for event in events {
                if !gate.passes() {
                    break;
                }
                let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| call_blocking(|| call(&event))));
                report(&shared, id, outcome);
            }
        };
        self.crew.blocking(calls).await;
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
