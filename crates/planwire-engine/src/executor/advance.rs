//! What is ready: begins steps whose needs are done, as far as there is room.

use std::sync::Arc;

use planwire_event::expression::Variables;
use planwire_event::vocabulary::{DecisionMade, FailureReason, Object, ToolCalled, TypedPayload};
use planwire_event::{Event, PlanId, Timestamp};
use planwire_store::BLOB_BYTES_MAX;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::run::{Effect, Run};
use super::steps::{Children, State};
use super::values::Seen;
use crate::budget::{Hold, Seat};
use crate::decision::{self, Question};
use crate::document::model::{
    Decision, Fail, ITEMS_MAX, Step, StepKind, SubplanSource, SubplanStep, ToolStep,
};
use crate::document::{BODY_BYTES_MAX, Resolved, made, named_like_secrets};
use crate::failure::StepFailure;
use crate::output::{TOOL_OUTPUT_BYTES_MAX, size};
use crate::secrets::slots::Slots;
use crate::shared::TREE_PLANS_MAX;
use crate::spawner::Child;
use crate::stop::Stopper;
use crate::tool_runner::{Call, INTERRUPTED};

/// Subplans of one plan, the ended ones included: the log takes no more.
const SUBPLANS_MAX: u64 = planwire_event::limits::OPEN_ITEMS_MAX as u64;

const _: () = assert!(ITEMS_MAX as u64 <= SUBPLANS_MAX);

/// Bytes of documents made at run time from which on a publish takes no further one.
const MADE_BYTES_MAX: usize = 16 * 1024 * 1024;

const _: () = assert!(MADE_BYTES_MAX + BODY_BYTES_MAX <= BLOB_BYTES_MAX);

impl Run {
    /// Begins everything that can begin; decisions and skipped steps may make further steps ready.
    pub(super) fn advance(&mut self) {
        let document = std::sync::Arc::clone(&self.plan.document);
        if self.pause.is_on() {
            // Whoever may go on meanwhile shall not wait for what is not used here.
            self.tickets.clear();
        }
        let mut moved = true;
        while moved && self.ending.is_none() && !self.pause.is_on() {
            moved = false;
            for (at, step) in document.steps.iter().enumerate() {
                if self.ending.is_some() {
                    return;
                }
                moved |= self.advance_step(at, step);
            }
        }
    }

    /// Says whether something changed.
    fn advance_step(&mut self, at: usize, step: &Step) -> bool {
        match &self.states[at] {
            State::Waiting if step.needs.iter().all(|need| matches!(self.states[*need], State::Done)) => {
                self.begin_step(at, step)
            }
            State::Due(attempt) if self.tickets.contains_key(&at) || self.has_room() => {
                let attempt = *attempt;
                self.call_tool(at, step, attempt)
            }
            State::Spawning(_) => self.spawn_more(at, step),
            _ => false,
        }
    }

    fn has_room(&self) -> bool {
        let running: usize = self.states.iter().map(State::running).sum();
        // What waits for room in the tree has taken its place here.
        running + self.tickets.len() < self.plan.document.limits.parallel
    }

    fn begin_step(&mut self, at: usize, step: &Step) -> bool {
        match step.when.as_ref().map(|when| when.evaluate(&self.values.variables())) {
            Some(Ok(Value::Bool(false))) => {
                self.done(at, step, Seen::Skipped);
                return true;
            }
            Some(Ok(Value::Bool(true))) | None => {}
            Some(Ok(other)) => {
                let message = format!("when: gives {other}, neither true nor false");
                self.step_failed(at, step, StepFailure::new("expression", message));
                return true;
            }
            Some(Err(error)) => {
                self.step_failed(at, step, StepFailure::expression("when", error));
                return true;
            }
        }
        match &step.kind {
            StepKind::Tool(tool) => {
                self.begin_tool(at, step, tool);
                true
            }
            StepKind::Ask(ask) => {
                self.ask(at, step, ask);
                true
            }
            StepKind::Fail(fail) => {
                self.fail(at, step, fail);
                true
            }
            StepKind::Artifact(artifact) => {
                match self.leave(artifact) {
                    Ok(()) => {
                        let output = json!({"artifact_id": artifact.id, "media_type": artifact.media_type});
                        self.done(at, step, Seen::Ok(output));
                    }
                    Err(failure) => self.step_failed(at, step, failure),
                }
                true
            }
            StepKind::Decide(decision) => self.decide(at, step, decision),
            StepKind::AskModel(decision) => {
                self.begin_tool(at, step, &decision.call);
                true
            }
            StepKind::Subplan(subplan) => {
                match self.items_of(subplan) {
                    Ok(items) => self.states[at] = State::Spawning(Children::new(items)),
                    Err(failure) => self.step_failed(at, step, failure),
                }
                true
            }
        }
    }

    /// Ends the plan as its document wants it.
    fn fail(&mut self, at: usize, step: &Step, fail: &Fail) {
        let message = match self.text_of(&fail.text) {
            Ok(message) => message,
            Err(failure) => return self.step_failed(at, step, failure),
        };
        let code = if fail.reason == FailureReason::Rejected { "rejected" } else { "failed" };
        self.states[at] = State::Done;
        self.fail_plan(step, StepFailure { reason: fail.reason, ..StepFailure::new(code, message) });
    }

    fn decide(&mut self, at: usize, step: &Step, decision: &Decision) -> bool {
        let question = Question {
            decision,
            decision_id: step.id.clone(),
            decision_type: decision::CHOICE,
            step: &step.id,
        };
        let made = decision::decide(&question, &self.values.variables(), self.redactor());
        self.decided(at, step, made);
        true
    }

    pub(super) fn items_of(&self, subplan: &SubplanStep) -> Result<Option<Vec<Value>>, StepFailure> {
        let Some(for_each) = &subplan.for_each else { return self.may_nest().map(|()| None) };
        let value = for_each
            .items
            .evaluate(&self.values.variables())
            .map_err(|error| StepFailure::expression("for_each", error))?;
        match value {
            Value::Array(items) if items.is_empty() => Ok(Some(items)),
            Value::Array(items) if items.len() <= ITEMS_MAX => self.may_nest().map(|()| Some(items)),
            Value::Array(items) => Err(StepFailure::limit(format!(
                "for_each gives {} items, more than {ITEMS_MAX}",
                items.len()
            ))),
            other => {
                let kind = if other.is_null() { "null" } else { "something else" };
                Err(StepFailure::new("expression", format!("for_each gives {kind}, not a list")))
            }
        }
    }

    fn may_nest(&self) -> Result<(), StepFailure> {
        match self.plan.depth_left {
            0 => Err(StepFailure::limit("plans may not be nested more deeply")),
            _ => Ok(()),
        }
    }

    fn call_tool(&mut self, at: usize, step: &Step, attempt: u32) -> bool {
        let Some(tool) = step.kind.call() else { return false };
        let mut hold = match self.room_for_call(at, tool, attempt) {
            Ok(Some(hold)) => hold,
            Ok(None) => return false,
            Err(failure) => {
                self.refused(at, step, failure);
                return true;
            }
        };
        match self.tool_called(at, step, tool, attempt, &hold) {
            Ok((event, call)) => {
                let warnings = hold.announce();
                self.holds.insert(at, hold);
                let stopper = Stopper::new();
                self.effects.push(Effect::Call(at, call, stopper.handle()));
                self.batch.push(event);
                self.warn(&warnings);
                self.counts.tool_calls += 1;
                self.states[at] = State::Calling(stopper);
            }
            Err(failure) => self.step_failed(at, step, failure),
        }
        true
    }

    /// The event of a call, and the call as the event says it.
    fn tool_called(
        &self,
        at: usize,
        step: &Step,
        tool: &ToolStep,
        attempt: u32,
        hold: &Hold,
    ) -> Result<(Event, Call), StepFailure> {
        let (made, slots) = match self.approved.get(&at) {
            Some(approved) => (approved.arguments.clone().ok_or_else(not_known)?, approved.slots.clone()),
            None => self.arguments_of(tool, attempt)?,
        };
        let called = ToolCalled {
            call_id: format!("{}-{attempt}", step.id),
            step: step.id.clone(),
            tool: tool.tool.clone(),
            arguments: made.clone(),
            attempt,
            reserved: Some(hold.reserved()).filter(|reserved| !reserved.is_empty()),
        };
        let (event, mut called) = self.said(&called)?;
        if !event.redacted().is_empty() {
            called.arguments = self.meant(&made, &called.arguments).ok_or_else(not_known)?;
        }
        let call = self.call_of(at, tool, called, event.timestamp(), slots);
        Ok((event, call))
    }

    /// A call as its event announces it; its arguments are what is meant by those of the event.
    pub(super) fn call_of(
        &self,
        at: usize,
        tool: &ToolStep,
        called: ToolCalled,
        called_at: Timestamp,
        slots: Slots,
    ) -> Call {
        Call {
            plan_id: self.plan.plan_id.clone(),
            root_plan_id: self.root().clone(),
            call_id: called.call_id,
            step: called.step,
            tool: called.tool,
            arguments: self.given(called.arguments),
            slots,
            attempt: called.attempt,
            called_at,
            timeout: tool.timeout,
            source: self.tree.source,
            approval: self.approval_of(at),
            announced: Instant::now(),
        }
    }

    /// The arguments of an attempt, and where they hold secrets.
    pub(super) fn arguments_of(&self, tool: &ToolStep, attempt: u32) -> Result<(Object, Slots), StepFailure> {
        let number = json!(attempt);
        let variables = self.values.variables().with("attempt", &number);
        let slots = tool.with.slots(&variables)?;
        Ok((object(tool.with.evaluate(&variables)?, "with")?, slots))
    }

    /// The event of a decision. What a recovery puts in place of the missing result is part of it, so that the event
    /// alone says what later steps see.
    pub(super) fn decision_made(&self, made: &DecisionMade) -> Result<Event, StepFailure> {
        let event = self.shared.event(&self.plan.plan_id, made);
        event.map_err(|error| StepFailure::payload("the decision", &error))
    }

    /// Makes the event of a payload, and reads back what it says in normal form: that, and nothing else, counts.
    pub(super) fn said<T: TypedPayload>(&self, payload: &T) -> Result<(Event, T), StepFailure> {
        let event = self
            .shared
            .event(&self.plan.plan_id, payload)
            .map_err(|error| StepFailure::payload("with", &error))?;
        let read = event.read::<T>().ok_or_else(|| StepFailure::new("bad_value", "with has another form"))?;
        Ok((event, read))
    }

    fn spawn_more(&mut self, at: usize, step: &Step) -> bool {
        let StepKind::Subplan(subplan) = &step.kind else { return false };
        let parallel = subplan.for_each.as_ref().map_or(1, |for_each| for_each.parallel);
        let mut moved = false;
        while self.ending.is_none() && (self.tickets.contains_key(&at) || self.has_room()) {
            let State::Spawning(children) = &self.states[at] else { return true };
            if children.all_spawned() || children.running.len() >= parallel {
                break;
            }
            // A plan that runs nothing must be able to go on, or a crowded tree would wait for itself.
            if self.tree.is_crowded() && self.states.iter().any(|state| state.running() > 0) {
                break;
            }
            // What was made begins with this publish, and its end brings the next ones.
            if self.made.iter().map(|document| document.body.len()).sum::<usize>() >= MADE_BYTES_MAX {
                break;
            }
            let Some(seat) = self.room_for_child(at) else { break };
            self.spawn_next(at, step, subplan, seat);
            moved = true;
        }
        self.end_spawning(at, step) || moved
    }

    /// Ends the step if no subplan runs or is still to come.
    pub(super) fn end_spawning(&mut self, at: usize, step: &Step) -> bool {
        match &self.states[at] {
            State::Spawning(children) if children.all_spawned() && children.running.is_empty() => {}
            _ => return false,
        }
        if let State::Spawning(children) = std::mem::replace(&mut self.states[at], State::Done) {
            self.done(at, step, children.into_seen());
        }
        true
    }

    fn spawn_next(&mut self, at: usize, step: &Step, subplan: &SubplanStep, seat: Seat) {
        let State::Spawning(children) = &mut self.states[at] else { return };
        let index = children.next;
        children.next += 1;
        let item = children.items.as_mut().and_then(|items| items.get_mut(index)).map(Value::take);
        match self.spawned(at, step, subplan, (index, seat.child()), item.as_ref()) {
            Ok((event, child)) => {
                let stopper = Stopper::new();
                if let State::Spawning(children) = &mut self.states[at] {
                    children.running.insert(child.plan_id.clone(), stopper.clone());
                }
                self.batch.push(event);
                self.counts.subplans += 1;
                if let SubplanSource::Made(_) = &subplan.plan {
                    self.made.push(child.document.clone());
                }
                self.effects.push(Effect::Spawn(child, seat, None, stopper));
            }
            Err(failure) => self.item_failed(at, step, index, failure),
        }
    }

    /// The event that announces a subplan, and the subplan as the event says it.
    fn spawned(
        &self,
        at: usize,
        step: &Step,
        subplan: &SubplanStep,
        (index, child_id): (usize, &PlanId),
        item: Option<&Value>,
    ) -> Result<(Event, Child), StepFailure> {
        let number = json!(index);
        let inputs = object(subplan.with.evaluate(&self.item_variables(item, &number))?, "with")?;
        let document = self.document_of(step, subplan, item, &number)?;
        let inputs = document
            .document
            .check_inputs(&inputs, &self.tree.folder)
            .map_err(|error| StepFailure::new("bad_input", error.to_string()))?;
        if let Some(error) = named_like_secrets(self.redactor(), &document.document, &inputs) {
            return Err(StepFailure::new("bad_input", error.to_string()));
        }
        let inputs_bytes: usize = inputs.values().map(size).sum();
        if inputs_bytes > TOOL_OUTPUT_BYTES_MAX {
            let message = format!("inputs of {inputs_bytes} bytes exceed {TOOL_OUTPUT_BYTES_MAX}");
            return Err(StepFailure::limit(message));
        }
        if self.counts.subplans >= SUBPLANS_MAX {
            return Err(StepFailure::limit(format!("the plan has spawned {SUBPLANS_MAX} subplans already")));
        }
        if !self.tree.add_plan() {
            return Err(StepFailure::limit(format!("the tree has {TREE_PLANS_MAX} plans already")));
        }
        let item = subplan.for_each.is_some().then_some(index);
        let mut spawned = Child::spawned(child_id.clone(), &document, inputs, &step.id, item);
        if let SubplanSource::Made(_) = &subplan.plan {
            spawned.document_digest = Some(document.digest.to_string());
        }
        let (event, spawned) = self.said(&spawned).inspect_err(|_| self.tree.plan_ended())?;
        let child = Child {
            plan_id: child_id.clone(),
            above: Arc::clone(&self.above_children),
            waiting_above: Arc::clone(&self.waiting_below),
            depth_left: document.document.limits.depth.min(self.plan.depth_left - 1),
            document,
            inputs: spawned.inputs,
            spawned_at: event.timestamp(),
            step: at,
            index,
        };
        Ok((event, child))
    }

    /// The document of a subplan: the one that is written, or what the expression gives now.
    fn document_of(
        &self,
        step: &Step,
        subplan: &SubplanStep,
        item: Option<&Value>,
        index: &Value,
    ) -> Result<Resolved, StepFailure> {
        let made = match &subplan.plan {
            SubplanSource::Written(document) => return Ok(document.clone()),
            SubplanSource::Made(made) => made,
        };
        let value = made
            .evaluate(&self.item_variables(item, index))
            .map_err(|error| StepFailure::expression("plan", error))?;
        let document = made::read(&value, &step.id, &self.shared.tools)
            .map_err(|error| StepFailure::document(&error))?;
        let (levels, left) = (document.document.levels, self.plan.depth_left - 1);
        if levels > left {
            let message = format!("plan: its subplans go {levels} deep, where {left} are left");
            return Err(StepFailure::limit(message));
        }
        Ok(document)
    }

    /// What the expressions about one item of `for_each` see.
    pub(super) fn item_variables<'a>(&'a self, item: Option<&'a Value>, index: &'a Value) -> Variables<'a> {
        let variables = self.values.variables();
        match item {
            Some(item) => variables.with("item", item).with("index", index),
            None => variables,
        }
    }
}

/// Of a call whose approved arguments the log does not have any more.
fn not_known() -> StepFailure {
    let message =
        "its arguments were redacted, and what is redacted has changed since: they cannot be made again";
    StepFailure::new(INTERRUPTED, message)
}

/// What a template gave, if it is an object.
pub(super) fn object(value: Value, what: &str) -> Result<Object, StepFailure> {
    match value {
        Value::Object(members) => Ok(members),
        Value::Null => Ok(Object::new()),
        _ => Err(StepFailure::new("expression", format!("{what} gives something else than an object"))),
    }
}
