//! Steps that ask people: the question, and what becomes of its answer.

use std::sync::Arc;

use planwire_event::answer::Approval as Answered;
use planwire_event::vocabulary::{InputReceived, InputRequested, Object, QuestionKind};
use planwire_event::{Digest, Payload, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::advance::object;
use super::run::{Effect, Lost, Run};
use super::steps::State;
use super::values::Seen;
use crate::document::model::{Ask, Step, StepKind, ToolStep};
use crate::failure::{StepFailure, text};
use crate::output::{TOOL_OUTPUT_BYTES_MAX, size};
use crate::policy::gate::Approval;
use crate::policy::reach::Below;
use crate::policy::{self, DENIED, Subject, Verdict};
use crate::question::{Asker, Outcome, Place, Question, ROUNDS_MAX, TREE_QUESTIONS_MAX};
use crate::secrets::slots::Slots;
use crate::stop::Stopper;

/// The arguments of a tool that were approved: with these it is called, and with no others.
pub(super) struct Approved {
    /// What is meant by what people saw; none, if that is not known any more.
    pub(super) arguments: Option<Object>,
    pub(super) slots: Slots,
}

impl Run {
    /// Begins the step of a tool: with a question, where its document or the policy wants one.
    pub(super) fn begin_tool(&mut self, at: usize, step: &Step, tool: &ToolStep) {
        let shared = Arc::clone(&self.shared);
        match (self.verdict_on(tool), &tool.approve) {
            // When it is called, it is denied: nobody is asked for nothing.
            (Verdict::Deny { .. }, _) | (Verdict::Allow, None) => self.states[at] = State::Due(1),
            (Verdict::Allow, Some(ask)) => self.ask_for_tool(at, step, tool, ask, ""),
            (Verdict::Approve { rule }, Some(ask)) => {
                let note = format!(" (the policy wants approval too: rule '{rule}')");
                self.ask_for_tool(at, step, tool, ask, &note);
            }
            (Verdict::Approve { rule }, None) => {
                let note =
                    format!("Rule '{rule}' of the policy wants approval: may {} be called?", tool.tool);
                self.ask_for_tool(at, step, tool, &shared.policy_ask, &note);
            }
        }
    }

    /// What the policy says of the first attempt, as far as it matters before the call: the tool runner has the last
    /// word, and judges what is called.
    fn verdict_on(&self, tool: &ToolStep) -> Verdict {
        let (shared, source) = (&self.shared, self.tree.source);
        // Where nobody could be asked, it is not looked at files for it: that is done when it is called.
        let may_ask = shared.policy.may_ask(source) || tool.approve.is_some();
        if shared.policy.is_open(source) || !may_ask {
            return Verdict::Allow;
        }
        // What cannot be evaluated fails when it is called.
        let Ok((arguments, slots)) = self.arguments_of(tool, 1) else { return Verdict::Allow };
        let Ok(arguments) = slots.fill(arguments, &shared.secrets) else { return Verdict::Allow };
        let Some(known) = shared.tools.get(&tool.tool) else { return Verdict::Allow };
        let reach = known.reach(&arguments, &self.tree.folder);
        let folder = policy::Place::at(&self.tree.folder, Below::Nothing);
        let call = Subject { tool: &tool.tool, arguments: &arguments, reach: &reach, folder: &folder };
        shared.policy.judge(source, &call)
    }

    /// Whether a person approved the call of a step that goes on to call.
    pub(super) fn approval_of(&self, at: usize) -> Approval {
        if self.approved.contains_key(&at) { Approval::Given } else { Approval::None }
    }

    /// Asks the question of a step of its own.
    pub(super) fn ask(&mut self, at: usize, step: &Step, ask: &Ask) {
        let arguments = ask.arguments.as_ref().map(|template| {
            let value = template.evaluate(&self.values.variables())?;
            object(value, "arguments")
        });
        match arguments.transpose() {
            Ok(arguments) => self.ask_about(at, step, ask, "", arguments),
            Err(failure) => self.step_failed(at, step, failure),
        }
    }

    /// Asks whether a tool may be called; its arguments are evaluated here, once.
    fn ask_for_tool(&mut self, at: usize, step: &Step, tool: &ToolStep, ask: &Ask, note: &str) {
        match self.arguments_of(tool, 1) {
            Ok((arguments, slots)) => {
                let about = json!({"tool": tool.tool, "arguments": arguments});
                self.approved.insert(at, Approved { arguments: Some(arguments), slots });
                let Value::Object(about) = about else { return };
                self.ask_about(at, step, ask, note, Some(about));
            }
            Err(failure) => self.step_failed(at, step, failure),
        }
    }

    fn ask_about(&mut self, at: usize, step: &Step, ask: &Ask, note: &str, arguments: Option<Object>) {
        let question = self.question(at, step, ask, note, arguments);
        if let Err(failure) = question.and_then(|question| self.put(question)) {
            self.step_failed(at, step, failure);
        }
    }

    fn question(
        &self,
        at: usize,
        step: &Step,
        ask: &Ask,
        note: &str,
        arguments: Option<Object>,
    ) -> Result<Question, StepFailure> {
        if arguments.iter().flat_map(|arguments| arguments.values()).map(size).sum::<usize>()
            > TOOL_OUTPUT_BYTES_MAX
        {
            return Err(StepFailure::limit(format!("arguments of more than {TOOL_OUTPUT_BYTES_MAX} bytes")));
        }
        let now = self.shared.clock.now();
        let expires_us = i64::try_from(ask.expires.as_micros()).unwrap_or(i64::MAX);
        let asked = InputRequested {
            request_id: self.shared.ids.next_id().to_string(),
            for_plan_id: None,
            step: step.id.clone(),
            kind: ask.kind,
            question: text(self.redactor(), &format!("{}{note}", self.text_of(&ask.question)?)),
            schema: ask.schema.clone(),
            expires_at: Some(Timestamp::from_micros_clamped(now.as_micros().saturating_add(expires_us))),
            arguments,
            arguments_digest: None,
        };
        // What is approved is what the event says.
        let (_, mut asked) = self.said(&asked)?;
        if let Some(arguments) = &asked.arguments {
            let normal =
                Payload::of(arguments).map_err(|error| StepFailure::new("bad_value", error.to_string()))?;
            asked.arguments_digest = Some(Digest::of(normal.as_str().as_bytes()).to_string());
        }
        let place = Place::take(&self.tree).ok_or_else(|| {
            StepFailure::limit(format!("the tree has {TREE_QUESTIONS_MAX} open questions already"))
        })?;
        let asker = Asker { shared: &self.shared, plan_id: &self.plan.plan_id, above: &self.plan.above };
        Ok(Question::new(&asker, at, asked, Instant::now() + ask.expires, place))
    }

    /// Announces a question; when that is durable, its step waits for the answer.
    fn put(&mut self, question: Question) -> Result<(), StepFailure> {
        let events = question.requested().map_err(|error| StepFailure::payload("the question", &error))?;
        self.batch.extend(events);
        self.wait_for_answer(question);
        Ok(())
    }

    pub(super) fn wait_for_answer(&mut self, question: Question) {
        let stopper = Stopper::new();
        self.states[question.step] = State::Asking(stopper.clone());
        self.effects.push(Effect::Ask(Box::new(question), stopper.handle()));
    }

    /// Takes in what came of a question.
    pub(super) fn asked(&mut self, question: Question, outcome: Outcome) -> Result<(), Lost> {
        let document = Arc::clone(&self.plan.document);
        let at = question.step;
        let step = &document.steps[at];
        if let Outcome::Answered(answer) = &outcome {
            self.batch.extend(question.repeated(answer).map_err(|_| Lost)?);
        }
        let answer = match outcome {
            Outcome::Lost => return Err(Lost),
            Outcome::Answered(answer) if self.ending.is_none() => answer,
            Outcome::Expired if self.ending.is_none() => {
                let message = format!("nobody answered in time: {}", question.text);
                self.step_failed(at, step, StepFailure::new("expired", message));
                return Ok(());
            }
            Outcome::Answered(_) | Outcome::Expired | Outcome::Withdrawn => {
                self.states[at] = State::Done;
                return Ok(());
            }
        };
        let shared = Arc::clone(&self.shared);
        if let Some(ask) = ask_of(step, &shared.policy_ask) {
            self.answered(at, step, ask, question, answer);
        }
        Ok(())
    }

    fn answered(&mut self, at: usize, step: &Step, ask: &Ask, question: Question, answer: InputReceived) {
        let errors: Vec<_> = ask.answer.check(&answer.value).iter().map(ToString::to_string).collect();
        if !errors.is_empty() {
            return self.ask_again(at, step, question, &errors.join("; "));
        }
        match ask.kind {
            QuestionKind::Approval => self.approval(at, step, &question, &answer),
            QuestionKind::Input | QuestionKind::Auth => {
                let how = how(&answer);
                self.done(at, step, Seen::Answered(answer.value, how));
            }
        }
    }

    fn ask_again(&mut self, at: usize, step: &Step, question: Question, why: &str) {
        if question.round >= ROUNDS_MAX {
            let message = format!("{} answers did not fit; the last: {why}", question.round);
            return self.step_failed(at, step, StepFailure::new("answer_invalid", message));
        }
        if let Err(failure) = self.put(question.again(why)) {
            self.step_failed(at, step, failure);
        }
    }

    fn approval(&mut self, at: usize, step: &Step, question: &Question, answer: &InputReceived) {
        let said =
            Answered::of(&answer.value).unwrap_or(Answered { approved: false, comment: String::new() });
        if !said.approved {
            let comment = if said.comment.is_empty() { String::new() } else { format!(": {}", said.comment) };
            let message = format!("{} denied it{comment}", answer.answered_by);
            return self.step_failed(at, step, StepFailure::new(DENIED, message));
        }
        if step.kind.call().is_none() {
            let mut output = json!({"approved": true, "answered_by": answer.answered_by});
            if !said.comment.is_empty() {
                output["comment"] = json!(said.comment);
            }
            return self.done(at, step, Seen::Answered(output, how(answer)));
        }
        let arguments = question.asked.arguments.as_ref().and_then(|about| about.get("arguments"));
        let arguments = arguments.and_then(Value::as_object);
        if let (Some(said), Some(approved)) = (arguments, self.approved.remove(&at)) {
            let arguments = approved.arguments.and_then(|made| self.meant(&made, said));
            self.approved.insert(at, Approved { arguments, ..approved });
        }
        self.states[at] = State::Due(1);
    }
}

/// What expressions see of an answer besides its value.
fn how(answer: &InputReceived) -> Value {
    json!({"by": answer.answered_by, "via": answer.via, "message": answer.message})
}

/// What a step asks; where its document asks nothing before a tool, the policy does.
fn ask_of<'a>(step: &'a Step, by_policy: &'a Ask) -> Option<&'a Ask> {
    match &step.kind {
        StepKind::Ask(ask) => Some(ask),
        kind => kind.call().map(|tool| tool.approve.as_ref().unwrap_or(by_policy)),
    }
}
