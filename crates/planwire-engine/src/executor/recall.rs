//! Takes a plan up where its events end.
//!
//! Each step is brought to where its own events left it, those that it needs first; what an event has not settled
//! goes through the same code as in a run that was never interrupted, in the order in which it happened. So the log
//! is obeyed, not compared: a later version may begin steps in another order and still go on with an old log.
//! **Invariants:** a step of which an event says the result is not run again; a call in flight is run again only if
//! its step is idempotent.

use std::sync::Arc;

use planwire_event::vocabulary::{
    AnswerOutcome, DecisionMade, Failure, InputReceived, InputRequested, Object, SubplanSpawned, ToolCalled,
    ToolCompleted,
};
use planwire_event::{PlanId, Position, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::ask::Approved;
use super::facts::{Facts, Recalled, SpawnedChild};
use super::run::{Done, Effect, Lost, Run};
use super::steps::{Children, State};
use super::values::Seen;
use super::{Past, PlanEnd};
use crate::budget::Hold;
use crate::document::model::{Ask, Step, StepKind, SubplanSource, SubplanStep, ToolStep};
use crate::failure::StepFailure;
use crate::history::{ChildEnd, ChildHistory, PlanHistory};
use crate::question::{Asker, Outcome, Place, Question};
use crate::secrets::slots::Slots;
use crate::spawner::{Child, ChildEnded};
use crate::stop::{StopReason, Stopper};
use crate::tool::ToolError;
use crate::tool_runner::{Call, Called, INTERRUPTED};

/// Something that happened and has not been settled.
enum Unsettled {
    /// An attempt failed.
    Attempt { at: usize, attempt: u32, failure: StepFailure },
    /// A model gave its choice.
    Given { at: usize, output: Value },
    /// A subplan failed.
    Item { at: usize, index: usize, child: PlanId, failure: StepFailure },
    /// A decision let a failure stand.
    Stands { at: usize, failure: StepFailure },
    /// A question came to its end.
    Asked(Box<Question>, Outcome),
    /// A subplan ended.
    Child(ChildEnded),
    /// A call ended with its executor.
    Interrupted { at: usize, call: Call },
    /// Somebody asked for the end of the plan.
    Cancelled(StopReason),
}

/// What has happened and has not been settled, with its place in the log.
#[derive(Default)]
struct ToSettle(Vec<(Position, Unsettled)>);

impl ToSettle {
    fn add(&mut self, position: Position, what: Unsettled) {
        self.0.push((position, what));
    }

    fn in_order(mut self) -> impl Iterator<Item = Unsettled> {
        self.0.sort_by_key(|(position, _)| *position);
        self.0.into_iter().map(|(_, what)| what)
    }
}

/// After everything that is in the log.
const LAST: Position = Position::new(u64::MAX);

impl Run {
    /// Brings a new run to where the events of its plan end; what is to begin again begins with the next publish.
    pub(super) fn take_up(&mut self, mut history: PlanHistory, now: Timestamp) -> Result<(), Lost> {
        self.clock.has_run(history.worked(now));
        let document = Arc::clone(&self.plan.document);
        let said = std::mem::take(&mut history.said);
        let mut recalled = Recalled::of(&document, said);
        self.counts = recalled.counts;
        self.artifact_bytes = recalled.blob_bytes;
        self.parts_produced = std::mem::take(&mut recalled.parts);
        if recalled.is_warned_of_time {
            self.clock.is_warned_of();
        }
        if recalled.is_paused {
            self.shared.pauses.pause(&self.plan.plan_id);
        }
        let mut unsettled = ToSettle::default();
        if let Some((position, cancel)) = recalled.cancel.take() {
            let reason = StopReason::Cancelled { by: cancel.requested_by, reason: cancel.reason };
            unsettled.add(position, Unsettled::Cancelled(reason));
        }
        for at in needs_first(&document.steps) {
            let facts = std::mem::take(&mut recalled.steps[at]);
            let mut log = Log { history: &mut history, unsettled: &mut unsettled, now };
            self.take_up_step(at, &document.steps[at], facts, &mut log)?;
        }
        unsettled.in_order().try_for_each(|what| self.settle_late(&document.steps, what))
    }

    fn settle_late(&mut self, steps: &[Step], what: Unsettled) -> Result<(), Lost> {
        match what {
            Unsettled::Attempt { at, attempt, failure } => {
                self.attempt_failed(at, &steps[at], attempt, failure)
            }
            Unsettled::Given { at, output } => self.called_well(at, &steps[at], output),
            Unsettled::Item { at, index, child, failure } => {
                if let State::Spawning(children) = &mut self.states[at] {
                    children.running.remove(&child);
                }
                self.item_failed(at, &steps[at], index, failure);
            }
            Unsettled::Stands { at, failure } => self.fail_plan(&steps[at], failure),
            Unsettled::Asked(question, outcome) => self.asked(*question, outcome)?,
            Unsettled::Child(ended) => self.settle(Done::Child(ended))?,
            Unsettled::Interrupted { at, call } => {
                let ended = self.interrupted(call);
                self.settle(Done::Called(at, ended))?;
            }
            Unsettled::Cancelled(reason) => {
                self.plan.stopper.stop(reason);
                let stop = self.plan.stopper.handle();
                self.notice(&stop);
            }
        }
        Ok(())
    }

    fn take_up_step(
        &mut self,
        at: usize,
        step: &Step,
        mut facts: Facts,
        log: &mut Log<'_>,
    ) -> Result<(), Lost> {
        let recovery = facts.recovery.take();
        match &step.kind {
            StepKind::Subplan(subplan) if !facts.is_empty() => {
                self.take_up_children(at, step, subplan, facts, log)?;
            }
            // What a decision put in place of the result is all that counts.
            _ if recovery.is_some() => {}
            _ if facts.is_empty() => self.pass_in_silence(at, step),
            StepKind::Tool(tool) => self.take_up_tool(at, step, tool, facts, log)?,
            StepKind::AskModel(decision) if facts.choice.is_none() => {
                self.take_up_tool(at, step, &decision.call, facts, log)?;
            }
            StepKind::Ask(ask) => self.take_up_question(at, ask, facts, log)?,
            StepKind::Decide(_) | StepKind::AskModel(_) => {
                if let Some(made) = facts.choice {
                    self.done(at, step, Seen::Ok(Value::String(made.chosen)));
                }
            }
            StepKind::Artifact(artifact) if facts.is_produced => {
                let output = json!({"artifact_id": artifact.id, "media_type": artifact.media_type});
                self.done(at, step, Seen::Ok(output));
            }
            // What is missing of an artifact follows when the step begins again.
            StepKind::Artifact(_) | StepKind::Subplan(_) | StepKind::Fail(_) => {}
        }
        if let Some((position, made)) = recovery {
            match recovered(made) {
                Ok((output, error)) => self.done(at, step, Seen::Recovered(output, error)),
                Err(failure) => log.unsettled.add(position, Unsettled::Stands { at, failure }),
            }
        }
        Ok(())
    }

    /// A step may pass without an event: if it is skipped, or has nothing to repeat. Those that need it come later.
    fn pass_in_silence(&mut self, at: usize, step: &Step) {
        if !step.needs.iter().all(|need| matches!(self.states[*need], State::Done)) {
            return;
        }
        match step.when.as_ref().map(|when| when.evaluate(&self.values.variables())) {
            Some(Ok(Value::Bool(false))) => self.done(at, step, Seen::Skipped),
            Some(Ok(Value::Bool(true))) | None => {
                let StepKind::Subplan(subplan) = &step.kind else { return };
                if let Ok(Some(items)) = self.items_of(subplan)
                    && items.is_empty()
                {
                    self.states[at] = State::Spawning(Children::new(Some(items)));
                    self.end_spawning(at, step);
                }
            }
            // It fails as before, when it begins.
            Some(_) => {}
        }
    }

    fn take_up_tool(
        &mut self,
        at: usize,
        step: &Step,
        tool: &ToolStep,
        mut facts: Facts,
        log: &mut Log<'_>,
    ) -> Result<(), Lost> {
        if let Some(asked) = facts.asked.last() {
            let (made, slots) = self.arguments_again(tool, 1)?;
            let said = asked.arguments.as_ref().and_then(|about| about.get("arguments"));
            let arguments = said.and_then(Value::as_object).and_then(|said| self.meant(&made, said));
            self.approved.insert(at, Approved { arguments, slots });
        }
        match (facts.call.take(), facts.ended.take(), &tool.approve) {
            (Some((called, called_at)), _, _) => self.take_up_call(at, tool, called, called_at, log)?,
            (None, Some((_, ended)), _) if runs_anew(tool, &ended) => {
                self.states[at] = State::Due(ended.attempt)
            }
            (None, Some((position, ended)), _) => match ended.error {
                None => {
                    let output = ended.output.unwrap_or_default();
                    match &step.kind {
                        // What it chose has still to be said.
                        StepKind::AskModel(_) => log.unsettled.add(position, Unsettled::Given { at, output }),
                        _ => self.done(at, step, Seen::Ok(output)),
                    }
                }
                Some(error) => {
                    let (attempt, failure) = (ended.attempt, error.into());
                    log.unsettled.add(position, Unsettled::Attempt { at, attempt, failure });
                }
            },
            (None, None, ask) => {
                let shared = Arc::clone(&self.shared);
                // Without one of the document, a question that was asked is that of the policy.
                self.take_up_question(at, ask.as_ref().unwrap_or(&shared.policy_ask), facts, log)?;
            }
        }
        Ok(())
    }

    /// A call that was in flight.
    fn take_up_call(
        &mut self,
        at: usize,
        tool: &ToolStep,
        called: ToolCalled,
        called_at: Timestamp,
        log: &mut Log<'_>,
    ) -> Result<(), Lost> {
        let (meant, slots) = match self.approved.get(&at) {
            Some(approved) => (approved.arguments.clone(), approved.slots.clone()),
            None => {
                let (made, slots) = self.arguments_again(tool, called.attempt)?;
                (self.meant(&made, &called.arguments), slots)
            }
        };
        // Without its arguments it cannot be made again.
        let may_repeat = tool.idempotent && meant.is_some();
        let called = ToolCalled { arguments: meant.unwrap_or_default(), ..called };
        let call = self.call_of(at, tool, called, called_at, slots);
        let hold = self.tree.budgets.claim(&self.plan.plan_id, &call.call_id);
        let is_metered = hold.as_ref().is_some_and(|hold| !hold.reserved().is_empty());
        self.holds.extend(hold.map(|hold| (at, hold)));
        if may_repeat && is_metered {
            return self.run_anew(at, call);
        }
        let stopper = Stopper::new();
        if may_repeat {
            self.effects.push(Effect::Call(at, call, stopper.handle()));
        } else {
            log.unsettled.add(LAST, Unsettled::Interrupted { at, call });
        }
        self.states[at] = State::Calling(stopper);
        Ok(())
    }

    /// A call that was in flight has used nobody knows how much of what it had set aside: it ends, and another one sets
    /// aside its own.
    fn run_anew(&mut self, at: usize, call: Call) -> Result<(), Lost> {
        let attempt = call.attempt;
        let ended = self.interrupted(call).completed(self.redactor());
        let reserved = self.holds.get(&at).map(Hold::reserved).unwrap_or_default();
        let (event, ended) =
            self.tool_completed(ToolCompleted { usage: Some(reserved.as_usage()), ..ended })?;
        self.batch.push(event);
        self.settle_usage(at, ended.usage.as_ref());
        self.states[at] = State::Due(attempt);
        Ok(())
    }

    /// How a call ends that was in flight.
    fn interrupted(&self, call: Call) -> Called {
        let message = "its executor ended while it ran; it may have run in part";
        let duration_ms = self.shared.clock.now().millis_since(call.called_at);
        Called { call, result: Err(ToolError::new(INTERRUPTED, message)), duration_ms }
    }

    /// The arguments of an attempt that was made before, and where they hold secrets.
    fn arguments_again(&self, tool: &ToolStep, attempt: u32) -> Result<(Object, Slots), Lost> {
        // They had values when the event was made of them.
        self.arguments_of(tool, attempt).map_err(|failure| self.disagrees(&failure))
    }

    fn take_up_question(
        &mut self,
        at: usize,
        ask: &Ask,
        facts: Facts,
        log: &mut Log<'_>,
    ) -> Result<(), Lost> {
        let round = u32::try_from(facts.asked.len()).unwrap_or(u32::MAX);
        let text = facts.asked.first().map_or_else(String::new, |first| first.question.clone());
        let Some(asked) = facts.asked.into_iter().next_back() else { return Ok(()) };
        let place = Place::take(&self.tree).ok_or(Lost)?;
        let deadline = Instant::now() + left(&asked, ask, log.now);
        let asker = Asker { shared: &self.shared, plan_id: &self.plan.plan_id, above: &self.plan.above };
        let question = Question::new(&asker, at, asked, deadline, place);
        let mut question = question.taken_up(text, round, &log.history.open_questions);
        match facts.answer {
            Some((position, answer)) => {
                let outcome = outcome_of(answer);
                log.unsettled.add(position, Unsettled::Asked(Box::new(question), outcome));
            }
            None => {
                let missing = question.missing_above().map_err(|_| Lost)?;
                self.batch.extend(missing);
                self.wait_for_answer(question);
            }
        }
        Ok(())
    }

    fn take_up_children(
        &mut self,
        at: usize,
        step: &Step,
        subplan: &SubplanStep,
        mut facts: Facts,
        log: &mut Log<'_>,
    ) -> Result<(), Lost> {
        let items = self.items_of(subplan).map_err(|failure| self.disagrees(&failure))?;
        let mut children = Children::new(items);
        // Items that could not be spawned, of which only a decision tells.
        let decided = facts.items.keys().map(|index| index + 1).max().unwrap_or_default();
        let spawned = facts.children.iter().map(|child| child.index + 1).max().unwrap_or_default();
        children.next = decided.max(spawned);
        if children.next > children.outputs.len() {
            let message =
                format!("the log has more subplans than the {} of the step", children.outputs.len());
            return Err(self.disagrees(&StepFailure::new(INTERRUPTED, message)));
        }
        children.items.iter_mut().for_each(|items| items[..children.next].fill(Value::Null));
        self.states[at] = State::Spawning(children);
        for child in std::mem::take(&mut facts.children) {
            let decision = facts.items.remove(&child.index);
            self.take_up_child(at, subplan, child, decision, log)?;
        }
        for (index, (position, made)) in facts.items {
            self.take_up_item(at, index, position, made, log);
        }
        self.end_spawning(at, step);
        Ok(())
    }

    fn take_up_child(
        &mut self,
        at: usize,
        subplan: &SubplanStep,
        child: SpawnedChild,
        decision: Option<(Position, DecisionMade)>,
        log: &mut Log<'_>,
    ) -> Result<(), Lost> {
        let SpawnedChild { spawned, index, at: spawned_at, ended } = child;
        let child_id = spawned.child_plan_id.clone();
        let stopper = Stopper::new();
        match (ended, decision) {
            (_, Some((position, made))) => self.take_up_item(at, index, position, made, log),
            (Some((_, completed)), None) if completed.ok => {
                self.take_up_outputs(at, index, Value::Object(completed.outputs.unwrap_or_default()));
            }
            (Some((position, completed)), None) => {
                self.note_running(at, &child_id, stopper);
                let error = completed.error.unwrap_or_else(|| unsaid(&child_id));
                let failure = StepFailure::of_plan(error, completed.limit);
                log.unsettled.add(position, Unsettled::Item { at, index, child: child_id, failure });
            }
            (None, None) => {
                let history = log.history.children.remove(&child_id).unwrap_or(ChildHistory::Announced);
                let child = self.child_of(at, subplan, spawned, index, spawned_at)?;
                self.note_running(at, &child_id, stopper.clone());
                match history {
                    ChildHistory::Announced => {
                        let seat = self.tree.budgets.seat(&child_id);
                        self.effects.push(Effect::Spawn(child, seat, None, stopper));
                    }
                    ChildHistory::Open(history) => {
                        let past = Past { history: *history, now: log.now };
                        let seat = self.tree.budgets.seat(&child_id);
                        self.effects.push(Effect::Spawn(child, seat, Some(Box::new(past)), stopper));
                    }
                    ChildHistory::Ended(end) => {
                        log.unsettled.add(end.position, Unsettled::Child(ended_child(child, *end)));
                    }
                }
            }
        }
        Ok(())
    }

    /// A decision about a subplan that failed or could not be spawned.
    fn take_up_item(
        &mut self,
        at: usize,
        index: usize,
        position: Position,
        made: DecisionMade,
        log: &mut Log<'_>,
    ) {
        match recovered(made) {
            Ok((output, error)) => {
                if let State::Spawning(children) = &mut self.states[at] {
                    children.recovered = Some(error);
                }
                self.take_up_outputs(at, index, output);
            }
            Err(failure) => log.unsettled.add(position, Unsettled::Stands { at, failure }),
        }
    }

    fn take_up_outputs(&mut self, at: usize, index: usize, outputs: Value) {
        // There was room when it came, or the plan ended by it.
        let _ = self.room.take(&outputs);
        if let State::Spawning(children) = &mut self.states[at] {
            children.outputs[index] = outputs;
        }
    }

    fn note_running(&mut self, at: usize, child: &PlanId, stopper: Stopper) {
        if let State::Spawning(children) = &mut self.states[at] {
            children.running.insert(child.clone(), stopper);
        }
    }

    fn child_of(
        &self,
        at: usize,
        subplan: &SubplanStep,
        spawned: SubplanSpawned,
        index: usize,
        spawned_at: Timestamp,
    ) -> Result<Child, Lost> {
        let document = match &subplan.plan {
            SubplanSource::Written(document) => Some(document),
            SubplanSource::Made(_) => {
                spawned.document_digest.as_deref().and_then(|digest| self.tree.made(digest))
            }
        };
        let document = document.cloned().ok_or_else(|| {
            let message = format!("the document of subplan {} is not known", spawned.child_plan_id);
            self.disagrees(&StepFailure::new(INTERRUPTED, message))
        })?;
        Ok(Child {
            plan_id: spawned.child_plan_id,
            above: Arc::clone(&self.above_children),
            waiting_above: Arc::clone(&self.waiting_below),
            depth_left: document.document.limits.depth.min(self.plan.depth_left.saturating_sub(1)),
            document,
            inputs: spawned.inputs,
            spawned_at,
            step: at,
            index,
        })
    }

    /// The log says something that the document cannot have led to.
    fn disagrees(&self, failure: &StepFailure) -> Lost {
        let plan = &self.plan.plan_id;
        tracing::error!(%plan, message = %failure.message, "the events of the plan do not fit its document");
        Lost
    }
}

/// Where the parts of a history go while steps are taken up.
struct Log<'a> {
    history: &'a mut PlanHistory,
    unsettled: &'a mut ToSettle,
    /// When the plan is taken up.
    now: Timestamp,
}

/// Steps in an order in which each comes after those that it needs.
fn needs_first(steps: &[Step]) -> Vec<usize> {
    let mut order = Vec::with_capacity(steps.len());
    let mut placed = vec![false; steps.len()];
    // A sound document has no cycle, so each round places one step at least.
    while order.len() < steps.len() {
        let before = order.len();
        for (at, step) in steps.iter().enumerate() {
            if !placed[at] && step.needs.iter().all(|need| placed[*need]) {
                placed[at] = true;
                order.push(at);
            }
        }
        if order.len() == before {
            break;
        }
    }
    order
}

/// Whether a call ended with its executor that may run twice, but not on what it had set aside.
fn runs_anew(tool: &ToolStep, ended: &ToolCompleted) -> bool {
    let is_interrupted = ended.error.as_ref().is_some_and(|error| error.code == INTERRUPTED);
    tool.idempotent && is_interrupted && ended.usage.as_ref().is_some_and(|usage| usage.estimated)
}

/// What a decision put in place of a result, and the failure; or the failure that it let stand.
fn recovered(made: DecisionMade) -> Result<(Value, Value), StepFailure> {
    let error = made.error.unwrap_or_else(|| Failure {
        code: "failed".into(),
        message: "the decision does not say what failed".into(),
        step: None,
    });
    match made.output {
        Some(output) => Ok((output, json!({"code": error.code, "message": error.message}))),
        None => Err(StepFailure::of_plan(error, None)),
    }
}

fn unsaid(child: &PlanId) -> Failure {
    Failure { code: "failed".into(), message: format!("subplan {child} failed"), step: None }
}

fn ended_child(child: Child, end: ChildEnd) -> ChildEnded {
    let duration_ms = end.at.millis_since(child.spawned_at);
    let ended = match end.outputs {
        Ok(outputs) => PlanEnd::Completed(outputs, end.used),
        Err(failed) => PlanEnd::Failed(failed.error, failed.limit, end.used),
    };
    ChildEnded { plan_id: child.plan_id, step: child.step, index: child.index, end: ended, duration_ms }
}

fn outcome_of(answer: InputReceived) -> Outcome {
    match answer.outcome {
        AnswerOutcome::Answered => Outcome::Answered(answer),
        AnswerOutcome::Expired => Outcome::Expired,
        _ => Outcome::Withdrawn,
    }
}

/// The time that is left to answer a question.
fn left(asked: &InputRequested, ask: &Ask, now: Timestamp) -> std::time::Duration {
    let left = asked.expires_at.map(|at| at.as_micros().saturating_sub(now.as_micros()).max(0));
    left.map_or(ask.expires, |micros| std::time::Duration::from_micros(micros.unsigned_abs()))
}
