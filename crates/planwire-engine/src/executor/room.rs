//! What a plan may use: asks the budgets of its tree before it begins something, and says what was used.

use std::time::Duration;

use planwire_event::PlanId;
use planwire_event::vocabulary::{LimitWarned, Reserved, ToolCompleted, Usage, UsageSum};
use serde_json::{Number, json};

use super::clock::TIMEOUT;
use super::run::Run;
use crate::budget::amounts::{Want, Warning};
use crate::budget::{Answer, Hold, Seat, usage};
use crate::document::model::{Step, ToolStep};
use crate::failure::StepFailure;

impl Run {
    /// What an attempt of a step sets aside; none if it has to wait.
    pub(super) fn room_for_call(
        &mut self,
        at: usize,
        tool: &ToolStep,
        attempt: u32,
    ) -> Result<Option<Hold>, StepFailure> {
        let answer = match self.tickets.remove(&at) {
            Some(ticket) => ticket.answer(),
            None => {
                let (tokens, cost) = self.wants(tool, attempt)?;
                self.tree.budgets.call(&self.plan.plan_id, tokens, cost, &self.wake)
            }
        };
        match answer {
            Answer::Call(hold) => Ok(Some(hold)),
            Answer::Refused(refusal) => Err(StepFailure::refused(&refusal)),
            Answer::Wait(ticket) => {
                self.tickets.insert(at, ticket);
                Ok(None)
            }
            Answer::Plan(_) => Ok(None),
        }
    }

    /// The place of the next subplan of a step; none if it has to wait.
    pub(super) fn room_for_child(&mut self, at: usize) -> Option<Seat> {
        let answer = match self.tickets.remove(&at) {
            Some(ticket) => ticket.answer(),
            None => {
                let child = self.shared.ids.next_plan_id();
                self.tree.budgets.plan(&self.plan.plan_id, child, &self.wake)
            }
        };
        match answer {
            Answer::Plan(seat) => Some(seat),
            Answer::Wait(ticket) => {
                self.tickets.insert(at, ticket);
                None
            }
            Answer::Call(_) | Answer::Refused(_) => None,
        }
    }

    /// The tokens and the cost that a call wants to set aside.
    fn wants(&self, tool: &ToolStep, attempt: u32) -> Result<(Want, Want), StepFailure> {
        let reports = || self.shared.tools.get(&tool.tool).is_some_and(|tool| tool.reports_usage());
        if tool.usage.is_none() && tool.reserve.is_none() && !reports() {
            return Ok((Want::None, Want::None));
        }
        let number = json!(attempt);
        let reserved = usage::reserved(tool, &self.values.variables().with("attempt", &number))?;
        let cost = reserved.cost.map(planwire_event::Cost::billionths);
        Ok((reserved.tokens.map_or(Want::Rest, Want::Amount), cost.map_or(Want::Rest, Want::Amount)))
    }

    /// A call did not begin: nothing recovers from a limit of this plan or of one above.
    pub(super) fn refused(&mut self, at: usize, step: &Step, failure: StepFailure) {
        match failure.limit {
            Some(_) => self.fail_plan(step, failure),
            None => self.step_failed(at, step, failure),
        }
    }

    /// Whether a failure is for want of something that this plan, or one above, may not use any more.
    pub(super) fn is_of_own_limit(&self, failure: &StepFailure) -> bool {
        let plan = failure.limit.as_ref().map(|limit| &limit.plan_id);
        plan.is_some_and(|plan| *plan == self.plan.plan_id || self.plan.above.contains(plan))
    }

    /// Says that most of the plan's time has run.
    pub(super) fn warn_of_time(&mut self) {
        let ms = |time: Duration| Number::from(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let (used, max) = (ms(self.clock.used()), ms(self.clock.timeout()));
        self.clock.is_warned_of();
        self.say_warned(&self.plan.plan_id.clone(), &LimitWarned { limit: TIMEOUT.into(), used, max });
    }

    /// Says, on the plans whose limits they are, that most of them is used.
    pub(super) fn warn(&mut self, warnings: &[Warning]) {
        for warning in warnings {
            self.say_warned(&warning.plan, &warning.warned());
        }
    }

    fn say_warned(&mut self, plan: &PlanId, warned: &LimitWarned) {
        match self.shared.event(plan, warned) {
            Ok(event) => self.batch.push(event),
            Err(error) => tracing::error!(%plan, %error, "a warning cannot be written"),
        }
    }

    /// What an ended call used, as far as anybody knows. `said`: what its event says without that.
    pub(super) fn usage_of(
        &self,
        at: usize,
        tool: &ToolStep,
        said: &ToolCompleted,
        told: Option<Usage>,
    ) -> Option<Usage> {
        let reserved = self.holds.get(&at).map_or_else(Reserved::default, Hold::reserved);
        let attempt = json!(said.attempt);
        usage::used(tool, said, told, reserved, self.values.variables().with("attempt", &attempt))
    }

    /// The end of a call counts from now on; what it set aside beyond that is free when the end is in the log.
    pub(super) fn settle_usage(&mut self, at: usize, usage: Option<&Usage>) {
        let Some(mut hold) = self.holds.remove(&at) else { return };
        let warnings = hold.settle(&usage.map(UsageSum::from).unwrap_or_default());
        self.settled.push(hold);
        self.warn(&warnings);
    }

    /// What the plan and all below it have used; none if that is nothing.
    pub(super) fn used(&self) -> UsageSum {
        self.tree.budgets.used(&self.plan.plan_id)
    }
}
