//! The loop of one plan.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use planwire_bus::{Attachments, PublishError};
use planwire_event::vocabulary::{Counts, Failure, FailureReason, LimitHit};
use planwire_event::{Event, EventType, PlanId, Position};
use planwire_store::Blob;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::ask::Approved;
use super::clock::{PlanClock, WaitingBelow, Waits};
use super::steps::{Room, State};
use super::values::Values;
use super::{Past, Plan, PlanEnd};
use crate::budget::{Hold, Seat, Ticket};
use crate::document::Resolved;
use crate::failure::of_stop;
use crate::pause::Pause;
use crate::question::{self, Outcome, Question};
use crate::redaction::Redactor;
use crate::shared::{Shared, Tree};
use crate::spawner::{self, Child, ChildEnded};
use crate::stop::{Stop, StopReason, Stopper};
use crate::tool_runner::{self, Call, Called};

/// Something that begins when the event that announces it is durable.
pub(super) enum Effect {
    Call(usize, Call, Stop),
    /// A subplan with its place, and what a former executor did of it.
    Spawn(Child, Seat, Option<Box<Past>>, Stopper),
    Pause {
        step: usize,
        attempt: u32,
        pause: Duration,
        stop: Stop,
    },
    Ask(Box<Question>, Stop),
}

/// Something that has ended.
pub(super) enum Done {
    Called(usize, Called),
    Child(ChildEnded),
    Paused {
        step: usize,
        attempt: u32,
    },
    Asked(Box<Question>, Outcome),
    /// A task of ours panicked; its end cannot be told.
    Broken,
}

/// A running plan.
pub(super) struct Run {
    pub(super) shared: Arc<Shared>,
    pub(super) tree: Arc<Tree>,
    pub(super) plan: Plan,
    pub(super) values: Values,
    pub(super) states: Vec<State>,
    pub(super) room: Room,
    pub(super) counts: Counts,
    /// Why the plan ends before all steps are done.
    pub(super) ending: Option<(FailureReason, Failure)>,
    /// The limit of which more was asked for than is left, if the plan ends for that.
    pub(super) limit: Option<LimitHit>,
    /// Steps that wait for what the plans of the tree may use together.
    pub(super) tickets: HashMap<usize, Ticket>,
    /// What the calls that run have set aside, by step.
    pub(super) holds: HashMap<usize, Hold>,
    /// What calls had set aside whose end waits to be published.
    pub(super) settled: Vec<Hold>,
    /// Is woken when a ticket has its answer.
    pub(super) wake: Arc<Notify>,
    /// Events that wait to be published together, and what they announce.
    pub(super) batch: Vec<Event>,
    /// What is kept beside the log for events of the batch.
    pub(super) blobs: Vec<Blob>,
    /// Documents that were made for subplans of the batch.
    pub(super) made: Vec<Resolved>,
    /// Bytes of all that was kept beside the log.
    pub(super) artifact_bytes: usize,
    /// Parts of artifacts that are in the log already.
    pub(super) parts_produced: HashMap<String, usize>,
    pub(super) effects: Vec<Effect>,
    /// What was asked to be approved, by step.
    pub(super) approved: HashMap<usize, Approved>,
    /// The plans above a child of this one.
    pub(super) above_children: Arc<[PlanId]>,
    /// The children that wait for nothing but people.
    pub(super) waiting_below: Arc<WaitingBelow>,
    waits: Waits,
    pub(super) clock: PlanClock,
    pub(super) pause: Pause,
    tasks: JoinSet<Done>,
}

/// Why the plan cannot go on.
#[derive(Debug)]
pub(super) struct Lost;

impl Run {
    pub(super) fn new(shared: Arc<Shared>, tree: Arc<Tree>, plan: Plan) -> Self {
        let states = plan.document.steps.iter().map(|_| State::Waiting).collect();
        let timeout = plan.document.limits.timeout;
        let is_root = plan.above.is_empty();
        let timeout = shared.timeout_max.filter(|_| is_root).map_or(timeout, |max| max.min(timeout));
        tree.budgets.limit(&plan.plan_id, plan.document.limits.tree);
        Self {
            values: Values::new(&plan),
            states,
            room: Room::default(),
            counts: Counts::default(),
            ending: None,
            limit: None,
            tickets: HashMap::new(),
            holds: HashMap::new(),
            settled: Vec::new(),
            wake: Arc::default(),
            batch: Vec::new(),
            effects: Vec::new(),
            blobs: Vec::new(),
            made: Vec::new(),
            artifact_bytes: 0,
            parts_produced: HashMap::new(),
            approved: HashMap::new(),
            above_children: [&plan.plan_id].into_iter().chain(&*plan.above).cloned().collect(),
            waiting_below: Arc::default(),
            waits: Waits::new(plan.waiting_above.clone()),
            pause: shared.pauses.enter(&plan.plan_id, &plan.above),
            clock: PlanClock::start(timeout),
            tasks: JoinSet::new(),
            shared,
            tree,
            plan,
        }
    }

    /// The root of the plan's tree.
    pub(super) fn root(&self) -> &PlanId {
        self.plan.above.last().unwrap_or(&self.plan.plan_id)
    }

    pub(super) fn redactor(&self) -> &Redactor {
        self.shared.secrets.redactor()
    }

    /// Runs the plan to its end.
    pub(super) async fn until_end(mut self) -> PlanEnd {
        match self.run_steps().await {
            Ok(()) => self.finish().await,
            Err(Lost) => {
                self.end_tasks().await;
                PlanEnd::Lost
            }
        }
    }

    async fn run_steps(&mut self) -> Result<(), Lost> {
        let stop = self.plan.stopper.handle();
        let waiting_below = Arc::clone(&self.waiting_below);
        let wake = Arc::clone(&self.wake);
        if let Some(past) = self.plan.past.take() {
            self.notice(&stop);
            let until = past.history.position;
            self.take_up(past.history, past.now)?;
            self.hear(until).await?;
        }
        loop {
            self.notice(&stop);
            self.advance();
            if self.tasks.is_empty() && self.effects.is_empty() && !self.is_held() {
                // What still waits to be published shares the commit of the end.
                return Ok(());
            }
            self.publish_and_begin(&stop).await?;
            if self.tasks.is_empty() && !self.is_held() {
                // It was asked to end while it published: nothing runs whose end could be waited for.
                continue;
            }
            self.set_clock();
            let done = tokio::select! {
                biased;
                _ = stop.wait(), if self.ending.is_none() => continue,
                // Before what ended: a plan in which something ends all the time must time out too.
                () = self.clock.run_out(), if self.ending.is_none() => {
                    self.stop_for(&StopReason::TimedOut);
                    continue;
                }
                () = self.clock.run_low(), if self.ending.is_none() => {
                    self.warn_of_time();
                    continue;
                }
                () = waiting_below.changed() => continue,
                () = wake.notified(), if !self.tickets.is_empty() => continue,
                () = self.pause.changed(), if self.ending.is_none() => continue,
                done = self.tasks.join_next(), if !self.tasks.is_empty() => done,
            };
            self.take(done)?;
            // Whatever ended meanwhile shares the commit.
            while let Some(done) = self.tasks.try_join_next() {
                self.take(Some(done))?;
            }
        }
    }

    /// Follows what others published between the position up to which the plan was read and now: from here on
    /// it is heard.
    async fn hear(&mut self, after: Position) -> Result<(), Lost> {
        self.shared.hear(&self.plan.plan_id, after).await.map_err(|error| {
            tracing::error!(plan = %self.plan.plan_id, %error, "the events of the plan cannot be read");
            Lost
        })
    }

    /// Whether it has more to do, but may not begin it.
    fn is_held(&self) -> bool {
        let is_open = |state: &State| !matches!(state, State::Done);
        let waits = self.pause.is_on() || !self.tickets.is_empty();
        self.ending.is_none() && waits && self.states.iter().any(is_open)
    }

    /// Time counts as long as anything but people is waited for, here or below.
    fn set_clock(&mut self) {
        let asking = self.states.iter().filter(|state| matches!(state, State::Asking(_))).count();
        let waits = self.ending.is_none()
            && self.tickets.is_empty()
            && self.tasks.len() <= asking + self.waiting_below.plans();
        self.waits.say(waits);
        if waits {
            self.clock.pause();
        } else {
            self.clock.run();
        }
    }

    fn take(&mut self, done: Option<Result<Done, tokio::task::JoinError>>) -> Result<(), Lost> {
        match done {
            None => Ok(()),
            Some(Ok(Done::Broken) | Err(_)) => {
                tracing::error!(plan = %self.plan.plan_id, "a task of the plan ended unexpectedly");
                Err(Lost)
            }
            Some(Ok(done)) => self.settle(done),
        }
    }

    /// Publishes what waits in one request; when it is durable, begins what it announces.
    async fn publish_and_begin(&mut self, stop: &Stop) -> Result<(), Lost> {
        if !self.batch.is_empty() {
            self.publish_batch().await.map_err(|error| lost(&self.plan.plan_id, &error))?;
        }
        // Their ends are in the log: what they set aside and did not use is free again.
        self.settled.clear();
        // What was asked to end meanwhile begins as such: its tool does not run.
        self.notice(stop);
        for effect in std::mem::take(&mut self.effects) {
            self.begin(effect);
        }
        Ok(())
    }

    async fn publish_batch(&mut self) -> Result<(), PublishError> {
        let mut events = std::mem::take(&mut self.batch);
        let (blobs, made) = (std::mem::take(&mut self.blobs), std::mem::take(&mut self.made));
        let documents = self.tree.documents_of(&made);
        let (documents, blobs) = (
            Attachments { documents, ..Attachments::default() },
            Attachments { blobs, ..Attachments::default() },
        );
        if documents.documents.is_empty() || blobs.blobs.is_empty() {
            let only = if blobs.blobs.is_empty() { documents } else { blobs };
            self.shared.publish(events, only).await?;
        } else {
            // Together they may be more than one request takes; the first event needs one of them at most.
            let is_spawned =
                events.first().is_some_and(|event| *event.event_type() == EventType::SubplanSpawned);
            let (first, second) = if is_spawned { (documents, blobs) } else { (blobs, documents) };
            let rest = events.split_off(1);
            self.shared.publish(events, first).await?;
            self.shared.publish(rest, second).await?;
        }
        made.iter().for_each(|document| self.tree.is_stored(document.digest));
        Ok(())
    }

    fn begin(&mut self, effect: Effect) {
        let shared = Arc::clone(&self.shared);
        let tree = Arc::clone(&self.tree);
        let work = async move {
            match effect {
                Effect::Call(step, call, stop) => {
                    Done::Called(step, tool_runner::run(shared, tree, call, stop).await)
                }
                Effect::Spawn(child, seat, past, stopper) => {
                    Done::Child(spawner::run(shared, tree, child, seat, past, stopper).await)
                }
                Effect::Pause { step, attempt, pause, stop } => {
                    tokio::select! {
                        () = sleep(pause) => {}
                        _ = stop.wait() => {}
                    }
                    Done::Paused { step, attempt }
                }
                Effect::Ask(asked, stop) => {
                    let (asked, outcome) = question::wait(*asked, stop).await;
                    Done::Asked(Box::new(asked), outcome)
                }
            }
        };
        self.tasks.spawn(AssertUnwindSafe(work).catch_unwind().map(|done| done.unwrap_or(Done::Broken)));
    }

    /// Ends the plan early if it was asked to end.
    pub(super) fn notice(&mut self, stop: &Stop) {
        if self.ending.is_none()
            && let Some(reason) = stop.reason()
        {
            self.stop_for(&reason);
        }
    }

    /// Ends the plan early because of `reason`.
    fn stop_for(&mut self, reason: &StopReason) {
        let why = of_stop(self.redactor(), reason);
        let below = match reason {
            StopReason::TimedOut => StopReason::ParentEnds(why.1.message.clone()),
            other => other.clone(),
        };
        self.end_early(why, &below);
    }

    /// Ends the plan early: nothing new begins, and what runs is asked to end for the reason `below`.
    pub(super) fn end_early(&mut self, why: (FailureReason, Failure), below: &StopReason) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some(why);
        self.tickets.clear();
        for state in &self.states {
            match state {
                State::Calling(stopper) | State::Pausing(stopper) | State::Asking(stopper) => {
                    stopper.stop(below.clone());
                }
                State::Spawning(children) => {
                    children.running.values().for_each(|stopper| stopper.stop(below.clone()));
                }
                State::Waiting | State::Due(_) | State::Done => {}
            }
        }
    }

    /// Ends what runs although nothing can be published about it any more.
    async fn end_tasks(&mut self) {
        let why = StopReason::Interrupted("its log takes no events".into());
        self.end_early(of_stop(self.redactor(), &why), &why);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Notes that the log takes no more events of a plan.
pub(super) fn lost(plan_id: &PlanId, error: &PublishError) -> Lost {
    tracing::error!(plan = %plan_id, %error, "the plan cannot go on, since its events are not taken");
    Lost
}
