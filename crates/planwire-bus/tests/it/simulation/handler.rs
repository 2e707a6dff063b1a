//! Handlers: callbacks that come and go at any time, also within their own calls; they fail, panic and take their time.
//!
//! Each is a reader to the judge. What else is promised of it is looked at here: one call at a time, none that begins
//! after its subscription was ended, and a count of each failure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use planwire_bus::{
    EventBus, Handler, HandlerError, Recorded, Stage, SubscribeError, SubscriptionId, UnsubscribeError,
};
use planwire_event::Filter;

use super::judge::{AS_ASKED, ReaderId};
use super::sim::{Sim, State};

/// Handlers of one life.
const HANDLERS_MAX: usize = 12;

/// The handlers of one life of the process.
#[derive(Debug, Default)]
pub(crate) struct Handlers {
    known: BTreeMap<ReaderId, Known>,
    /// Calls that panicked and calls that failed.
    panics: u64,
    errors: u64,
}

#[derive(Debug)]
struct Known {
    subscription: SubscriptionId,
    /// A call runs.
    running: bool,
    /// Its subscription was ended.
    left: bool,
}

impl State {
    /// Handlers that are still subscribed have got everything up to the tail.
    pub(crate) fn check_handlers(&mut self, tail: planwire_event::Position) {
        let subscribed = self.handlers.known.iter().filter(|(_, known)| !known.left);
        let subscribed: Vec<_> = subscribed.map(|(id, _)| *id).collect();
        for id in subscribed {
            if let Err(finding) = self.judge.has_all(id, tail) {
                self.accuse(format_args!("handler {id}: {finding}"));
            }
        }
    }

    /// A life has ended: what its bus counted is what was seen here.
    pub(crate) fn end_handlers(&mut self, counted: &planwire_bus::Counters) {
        let Handlers { panics, errors, .. } = std::mem::take(&mut self.handlers);
        self.tally.panics += panics;
        if (counted.handler_panics, counted.handler_errors) != (panics, errors) {
            let told = (counted.handler_panics, counted.handler_errors);
            self.accuse(format_args!("handlers: {panics} panics and {errors} errors, counted {told:?}"));
        }
    }
}

/// Takes the tasks of handlers to those of the run.
pub(crate) struct SimStage(pub(crate) Sim);

impl SimStage {
    fn turns(&self, most: usize) -> BoxFuture<'static, ()> {
        let turns = self.0.lock().moods.below(most);
        Box::pin(self.0.pause(turns))
    }
}

impl Stage for SimStage {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.lock().spawned.push(task);
    }

    fn blocking(&self, call: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let turns = self.turns(12);
        Box::pin(async move {
            turns.await;
            call();
        })
    }

    fn pause(&self, _time: Duration) -> BoxFuture<'static, ()> {
        self.turns(5)
    }
}

/// Somebody who subscribes handlers and ends their subscriptions.
#[derive(Clone)]
pub(crate) struct Handling {
    pub(crate) sim: Sim,
    pub(crate) bus: EventBus,
}

/// What a call does when it has the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whim {
    Leave,
    LeaveAndWait,
    SubscribeAnother,
    Panic,
    Fail,
    Nothing,
}

impl Handling {
    pub(crate) async fn run(self) {
        let handlers = self.sim.lock().chances.handlers;
        for _ in 0..handlers {
            self.idle(25).await;
            let Some(id) = self.subscribe() else { continue };
            if self.sim.lock().moods.percent(40) {
                self.idle(400).await;
                self.leave(id).await;
            }
        }
    }

    async fn idle(&self, most: usize) {
        let turns = self.sim.lock().moods.below(most);
        self.sim.pause(turns).await;
    }

    fn accuse(&self, id: ReaderId, finding: std::fmt::Arguments<'_>) {
        self.sim.lock().accuse(format_args!("handler {id}: {finding}"));
    }

    fn subscribe(&self) -> Option<ReaderId> {
        let (id, filter, blocks) = {
            let mut state = self.sim.lock();
            if state.handlers.known.len() >= HANDLERS_MAX {
                return None;
            }
            let State { script, moods, judge, .. } = &mut *state;
            // Plans that end are behind a handler soon.
            let filter = if moods.percent(50) { Filter::all() } else { script.filter(moods) };
            (judge.new_reader(filter.clone()), filter, moods.percent(50))
        };
        let (call, tail) = (Call { by: self.clone(), id }, self.bus.tail());
        let handler = if blocks {
            Handler::blocking(move |event| call.blocking(event))
        } else {
            Handler::future(move |event| call.clone().takes_turns(event))
        };
        match self.bus.subscribe(handler, filter) {
            Ok(subscription) => {
                let mut state = self.sim.lock();
                state.tally.handlers += 1;
                state.note(format_args!("handler {id} is subscribed at {tail}"));
                let known = Known { subscription, running: false, left: false };
                state.handlers.known.insert(id, known);
                // Whatever is stored after the call is handled.
                if let Err(finding) = state.judge.opened(id, tail.position, tail) {
                    state.accuse(format_args!("handler {id}: {finding}"));
                }
                Some(id)
            }
            Err(SubscribeError::Closed) if self.sim.lock().closing => None,
            Err(error) => {
                self.accuse(id, format_args!("not subscribed: {error}"));
                None
            }
        }
    }

    /// Ends a subscription from outside of its calls, and waits for the call that runs, perhaps.
    async fn leave(&self, id: ReaderId) {
        let (subscription, waits) = {
            let mut state = self.sim.lock();
            let waits = state.moods.percent(50);
            let Some(known) = state.handlers.known.get(&id) else { return };
            (known.subscription, waits)
        };
        if !waits {
            let left = self.bus.unsubscribe(subscription);
            return self.left(id, left);
        }
        // No call begins from the first step on.
        let mut leaving = Box::pin(self.bus.unsubscribe_and_wait(subscription));
        let first = futures_util::poll!(&mut leaving);
        let waited = first.is_pending();
        self.left(id, if let Poll::Ready(told) = first { told } else { Ok(()) });
        let told = if let Poll::Ready(told) = first { told } else { leaving.await };
        let runs = self.sim.lock().handlers.known.get(&id).is_some_and(|known| known.running);
        if told.is_ok() && runs || told.is_err() && waited {
            self.accuse(id, format_args!("its end was waited for: {told:?}, a call runs: {runs}"));
        }
    }

    /// From now on no call begins. An end that is told as one of nothing was one: the handler has left, or its task has
    /// come to the end of its plan or of the bus.
    fn left(&self, id: ReaderId, told: Result<(), UnsubscribeError>) {
        let mut state = self.sim.lock();
        let State { judge, handlers, closing, .. } = &mut *state;
        let Some(known) = handlers.known.get_mut(&id) else { return };
        let before = std::mem::replace(&mut known.left, true);
        let true_to_say = match told {
            Ok(()) => !before,
            Err(UnsubscribeError::Unknown) => before || *closing || judge.is_over(id),
            Err(_) => known.running && !before,
        };
        state.note(format_args!("handler {id} leaves: {told:?}"));
        state.tally.left += 1;
        if !true_to_say {
            state.accuse(format_args!("handler {id}: its end is told as {told:?}, it had left: {before}"));
        }
    }
}

/// The calls of one handler.
#[derive(Clone)]
struct Call {
    by: Handling,
    id: ReaderId,
}

impl Call {
    fn blocking(&self, event: &Recorded) -> Result<(), HandlerError> {
        let (whim, subscription) = self.begin(event);
        if whim == Whim::LeaveAndWait {
            match self.by.bus.unsubscribe_and_wait(subscription).now_or_never() {
                Some(told) => self.by.left(self.id, told),
                None => self.by.accuse(self.id, format_args!("it waits for itself")),
            }
        }
        self.end(whim, subscription)
    }

    async fn takes_turns(self, event: Arc<Recorded>) -> Result<(), HandlerError> {
        let (whim, subscription) = self.begin(&event);
        let slow = self.by.sim.lock().moods.percent(30);
        if slow {
            self.by.idle(40).await;
        }
        if whim == Whim::LeaveAndWait {
            let told = self.by.bus.unsubscribe_and_wait(subscription).await;
            self.by.left(self.id, told);
        }
        self.end(whim, subscription)
    }

    fn begin(&self, event: &Recorded) -> (Whim, SubscriptionId) {
        let (id, at) = (self.id, event.position);
        let mut state = self.by.sim.lock();
        state.note(format_args!("handler {id} gets {at}"));
        state.tally.handled += 1;
        let State { judge, handlers, moods, .. } = &mut *state;
        let known = handlers.known.get_mut(&id).expect("it was subscribed");
        let found = match (known.left, known.running) {
            (true, _) => Err(format!("a call with {at} begins after its subscription was ended")),
            (_, true) => Err(format!("a call with {at} begins while another one runs")),
            _ => judge.delivered(id, event),
        };
        known.running = true;
        let whim = match moods.below(100) {
            0 => Whim::Leave,
            1 => Whim::LeaveAndWait,
            2..4 => Whim::SubscribeAnother,
            4..9 => Whim::Panic,
            9..14 => Whim::Fail,
            _ => Whim::Nothing,
        };
        let subscription = known.subscription;
        if let Err(finding) = found {
            state.accuse(format_args!("handler {id}: {finding}"));
        }
        (whim, subscription)
    }

    fn end(&self, whim: Whim, subscription: SubscriptionId) -> Result<(), HandlerError> {
        match whim {
            Whim::Leave => self.by.left(self.id, self.by.bus.unsubscribe(subscription)),
            Whim::SubscribeAnother => drop(self.by.subscribe()),
            _ => {}
        }
        {
            let handlers = &mut self.by.sim.lock().handlers;
            handlers.known.get_mut(&self.id).expect("it was subscribed").running = false;
            handlers.panics += u64::from(whim == Whim::Panic);
            handlers.errors += u64::from(whim == Whim::Fail);
        }
        match whim {
            // As a panic does, and nothing is printed.
            Whim::Panic => std::panic::resume_unwind(Box::new(AS_ASKED)),
            Whim::Fail => Err(AS_ASKED.into()),
            _ => Ok(()),
        }
    }
}
