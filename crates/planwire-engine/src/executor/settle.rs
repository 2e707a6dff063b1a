//! What ended: the events of the end, and what becomes of the step.

use planwire_event::Event;
use planwire_event::vocabulary::{DecisionMade, SubplanCompleted, ToolCompleted};
use serde_json::{Value, json};

use super::run::{Done, Effect, Lost, Run};
use super::steps::{State, member_of};
use super::values::Seen;
use crate::decision::{self, Question};
use crate::document::model::{ModelDecision, Outcome, Step, StepKind, ToolStep};
use crate::failure::StepFailure;
use crate::output::fit;
use crate::policy::DENIED;
use crate::redaction::Edges;
use crate::spawner::ChildEnded;
use crate::stop::{StopReason, Stopper};
use crate::tool_runner::{Called, INTERRUPTED};

impl Run {
    /// Takes in what ended. Fails if the log has lost the plan.
    pub(super) fn settle(&mut self, done: Done) -> Result<(), Lost> {
        match done {
            Done::Called(at, called) => self.called(at, called),
            Done::Child(ended) => self.child_ended(ended),
            Done::Paused { step, attempt } => {
                self.states[step] = State::Due(attempt);
                Ok(())
            }
            Done::Asked(question, outcome) => self.asked(*question, outcome),
            Done::Broken => Err(Lost),
        }
    }

    fn called(&mut self, at: usize, called: Called) -> Result<(), Lost> {
        let attempt = called.call.attempt;
        let document = std::sync::Arc::clone(&self.plan.document);
        let step = &document.steps[at];
        let told = called.told_usage();
        let completed = called.completed(self.redactor());
        let (mut event, mut completed) = self.tool_completed(completed)?;
        if let Some(tool) = step.kind.call()
            && let Some(usage) = self.usage_of(at, tool, &completed, told)
        {
            // Worked out of what the event says, so it is made anew.
            (event, completed) = self.tool_completed(ToolCompleted { usage: Some(usage), ..completed })?;
        }
        self.batch.push(event);
        self.settle_usage(at, completed.usage.as_ref());
        match completed.error {
            None => self.called_well(at, step, completed.output.unwrap_or_default()),
            Some(error) => self.attempt_failed(at, step, attempt, error.into()),
        }
        Ok(())
    }

    /// A call gave something: the output of its step, or what a model chose.
    pub(super) fn called_well(&mut self, at: usize, step: &Step, output: Value) {
        match &step.kind {
            StepKind::AskModel(decision) => {
                let made = decision::by_model(&step.id, decision, &output, self.redactor());
                self.decided(at, step, made);
            }
            _ => self.done(at, step, Seen::Ok(output)),
        }
    }

    /// Publishes a decision of a step, and goes on with what was chosen.
    pub(super) fn decided(&mut self, at: usize, step: &Step, made: Result<DecisionMade, StepFailure>) {
        let made = made.and_then(|made| self.decision_made(&made).map(|event| (made.chosen, event)));
        match made {
            Ok((chosen, event)) => {
                self.counts.decisions += 1;
                self.batch.push(event);
                self.done(at, step, Seen::Ok(Value::String(chosen)));
            }
            Err(failure) => self.step_failed(at, step, failure),
        }
    }

    /// The event of an ended call, and what it says in normal form.
    pub(super) fn tool_completed(&self, completed: ToolCompleted) -> Result<(Event, ToolCompleted), Lost> {
        let plan_id = &self.plan.plan_id;
        let event = self.shared.event(plan_id, &completed).or_else(|error| {
            // A value that no store takes, in spite of all cutting: the call must end in the log all the same.
            let message = format!("the output cannot be stored: {error}");
            let error =
                StepFailure::new("bad_output", message).into_failure(self.redactor(), Some(&completed.step));
            let failed =
                ToolCompleted { ok: false, output: None, error: Some(error), truncated: false, ..completed };
            self.shared.event(plan_id, &failed)
        });
        event.ok().and_then(|event| event.read::<ToolCompleted>().map(|said| (event, said))).ok_or(Lost)
    }

    pub(super) fn attempt_failed(&mut self, at: usize, step: &Step, attempt: u32, failure: StepFailure) {
        if self.ending.is_some() {
            self.states[at] = State::Done;
            return;
        }
        let Some(tool) = step.kind.call() else { return };
        match self.tries_again(tool, attempt, &failure) {
            Ok(true) => {
                let pause = tool.retry.pause_after(attempt);
                let next = attempt + 1;
                if pause.is_zero() {
                    self.states[at] = State::Due(next);
                    return;
                }
                let stopper = Stopper::new();
                let stop = stopper.handle();
                self.effects.push(Effect::Pause { step: at, attempt: next, pause, stop });
                self.states[at] = State::Pausing(stopper);
            }
            Ok(false) => match &step.kind {
                StepKind::AskModel(decision @ ModelDecision { otherwise: Some(otherwise), .. }) => {
                    let made =
                        decision::without_model(&step.id, decision, otherwise, failure, self.redactor());
                    self.decided(at, step, Ok(made));
                }
                _ => self.step_failed(at, step, failure),
            },
            Err(failure) => self.step_failed(at, step, failure),
        }
    }

    fn tries_again(&self, tool: &ToolStep, attempt: u32, failure: &StepFailure) -> Result<bool, StepFailure> {
        // What the policy denied it denies again.
        if attempt >= tool.retry.attempts || failure.code == DENIED {
            return Ok(false);
        }
        // A call that may have run in part is repeated only where the document says so.
        let Some(when) = &tool.retry.when else { return Ok(failure.code != INTERRUPTED) };
        let (error, attempt) = (failure.to_value(self.redactor()), json!(attempt));
        let variables = self.values.variables().with("error", &error).with("attempt", &attempt);
        match when.evaluate(&variables) {
            Ok(Value::Bool(again)) => Ok(again),
            Ok(_) => Err(StepFailure::new("expression", "retry.when gives neither true nor false")),
            Err(error) => Err(StepFailure::expression("retry.when", error)),
        }
    }

    fn child_ended(&mut self, ended: ChildEnded) -> Result<(), Lost> {
        let completed = ended.completed().ok_or(Lost)?;
        // Outputs of a completed plan fit, since they stand in its PlanCompleted.
        let event = self.shared.event(&self.plan.plan_id, &completed).map_err(|_| Lost)?;
        let completed = event.read::<SubplanCompleted>().ok_or(Lost)?;
        self.batch.push(event);
        let document = std::sync::Arc::clone(&self.plan.document);
        let step = &document.steps[ended.step];
        let State::Spawning(children) = &mut self.states[ended.step] else { return Ok(()) };
        children.running.remove(&ended.plan_id);
        match completed.error {
            None => {
                let outputs = Value::Object(completed.outputs.unwrap_or_default());
                self.item_done(ended.step, step, ended.index, outputs);
            }
            Some(error) => {
                let failure = StepFailure::of_plan(error, completed.limit);
                self.item_failed(ended.step, step, ended.index, failure);
            }
        }
        Ok(())
    }

    fn item_done(&mut self, at: usize, step: &Step, index: usize, outputs: Value) {
        if !self.room.take(&outputs) {
            self.step_failed(at, step, too_much());
            return;
        }
        if let State::Spawning(children) = &mut self.states[at] {
            children.outputs[index] = outputs;
        }
        if self.ending.is_none() {
            self.end_spawning(at, step);
        }
    }

    /// A subplan failed, or could not be started.
    pub(super) fn item_failed(&mut self, at: usize, step: &Step, index: usize, failure: StepFailure) {
        if self.ending.is_some() {
            return;
        }
        if self.is_of_own_limit(&failure) {
            return self.fail_plan(step, failure);
        }
        match self.recover(step, Some(index), &failure) {
            Some(Ok(output)) => {
                let said = failure.to_value(self.redactor());
                if let State::Spawning(children) = &mut self.states[at] {
                    children.recovered = Some(said);
                }
                self.item_done(at, step, index, output);
            }
            Some(Err(failure)) => self.fail_plan(step, failure),
            None => self.fail_plan(step, failure),
        }
    }

    /// A step failed for good: a decision recovers from it, or the plan fails.
    pub(super) fn step_failed(&mut self, at: usize, step: &Step, failure: StepFailure) {
        if self.ending.is_some() {
            return;
        }
        match self.recover(step, None, &failure) {
            Some(Ok(output)) => {
                self.done(at, step, Seen::Recovered(output, failure.to_value(self.redactor())))
            }
            Some(Err(failure)) => self.fail_plan(step, failure),
            None => self.fail_plan(step, failure),
        }
    }

    /// Decides what becomes of a failure, if the document says how: the output that takes the place of the missing
    /// one, or the failure with which the plan ends.
    fn recover(
        &mut self,
        step: &Step,
        index: Option<usize>,
        failure: &StepFailure,
    ) -> Option<Result<Value, StepFailure>> {
        let recovery = step.on_error.as_ref()?;
        let error = failure.to_value(self.redactor());
        let question = Question {
            decision: &recovery.decision,
            decision_id: decision::recovery_id(&step.id, index),
            decision_type: decision::RECOVERY,
            step: &step.id,
        };
        let variables = self.values.variables().with("error", &error);
        let decided = decision::decide(&question, &variables, self.redactor()).and_then(|made| {
            let output = match recovery.outcome(&made.chosen) {
                Some(Outcome::Output(template)) => Some(self.fitted(template.evaluate(&variables)?)),
                Some(Outcome::Fail) | None => None,
            };
            // The event alone says what later steps see.
            let error = Some(failure.clone().into_failure(self.redactor(), Some(&step.id)));
            self.decision_made(&DecisionMade { output, error, ..made })
        });
        match decided {
            Ok(event) => {
                // As the event says it, in normal form.
                let output = event.read::<DecisionMade>().and_then(|said| said.output);
                self.counts.decisions += 1;
                self.batch.push(event);
                Some(output.ok_or_else(|| failure.clone()))
            }
            Err(failure) => Some(Err(failure)),
        }
    }

    /// A step is done: expressions see it from now on.
    pub(super) fn done(&mut self, at: usize, step: &Step, seen: Seen) {
        self.states[at] = State::Done;
        let value = seen.into_value(member_of(step));
        // Subplans were counted one by one.
        if !matches!(step.kind, StepKind::Subplan(_)) && !self.room.take(&value) {
            self.fail_plan(step, too_much());
            return;
        }
        self.values.set_step(&step.id, value);
    }

    /// A value that fits into an event. No cut goes through the value of a secret.
    fn fitted(&self, mut value: Value) -> Value {
        self.redactor().value(&mut value, Edges::Whole);
        fit(value).0
    }

    pub(super) fn fail_plan(&mut self, step: &Step, failure: StepFailure) {
        if self.ending.is_some() {
            return;
        }
        let reason = failure.reason;
        self.limit = failure.limit.as_deref().cloned();
        let why = format!("step {} failed", step.id);
        self.end_early(
            (reason, failure.into_failure(self.redactor(), Some(&step.id))),
            &StopReason::ParentEnds(why),
        );
    }
}

fn too_much() -> StepFailure {
    let max = super::STATE_BYTES_MAX;
    StepFailure::limit(format!("the results of the plan's steps exceed {max} bytes"))
}
