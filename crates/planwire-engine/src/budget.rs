//! Budgets: what the plans of a tree may use together.
//!
//! A limit of a plan holds for it and all below it. What a call may use is set aside at each of these plans before the call is
//! announced, so that no number of calls can overspend together; when it has ended, what it used takes the place of what
//! it had set aside. All of it is the sum of events: `ToolCalled` says that a call counts and what it set aside,
//! `ToolCompleted` what it used.
//!
//! - `amounts`: limits, amounts, and what is said when they are reached.
//! - `ledger`: the sums of one tree, as a pure structure.
//! - `history`: the same as the log holds it.
//! - `usage`: what a call says that it used.

pub(crate) mod amounts;
pub(crate) mod history;
mod ledger;
#[cfg(test)]
mod tests;
pub(crate) mod usage;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use planwire_event::PlanId;
use planwire_event::vocabulary::{Reserved, UsageSum};
use tokio::sync::Notify;

use amounts::{Refusal, Want, Warning};
use history::OpenPlan;
use ledger::{Ask, Ledger};

pub use amounts::TreeLimits;
pub use ledger::WARN_PERCENT;

/// The budgets of one tree.
#[derive(Debug)]
pub(crate) struct Budgets {
    /// What holds for each tree, whatever its document says.
    most: TreeLimits,
    ledger: Mutex<Ledger>,
    /// Calls that a former executor left open.
    claims: Mutex<HashMap<(PlanId, String), u64>>,
}

/// What comes of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A call may begin.
    Call(Hold),
    /// A subplan may begin.
    Plan(Seat),
    /// It has to wait.
    Wait(Ticket),
    /// There will never be enough.
    Refused(Refusal),
}

impl Budgets {
    pub(crate) fn of_root(root: PlanId, most: TreeLimits) -> Arc<Self> {
        Arc::new(Self { most, ledger: Mutex::new(Ledger::of_root(root)), claims: Mutex::default() })
    }

    /// Those of a tree that a former executor left; its open plans, parents first.
    pub(crate) fn taken_up(plans: Vec<OpenPlan>, most: TreeLimits) -> Arc<Self> {
        let (ledger, claims) = Ledger::taken_up(plans);
        Arc::new(Self { most, ledger: Mutex::new(ledger), claims: Mutex::new(claims) })
    }

    /// Says what limits the document of a plan has.
    pub(crate) fn limit(&self, plan: &PlanId, limits: TreeLimits) {
        let mut ledger = self.ledger();
        let limits = if ledger.is_root(plan) { limits.narrowed(self.most) } else { limits };
        ledger.limit(plan, limits);
    }

    /// What a plan and all below it have used.
    pub(crate) fn used(&self, plan: &PlanId) -> UsageSum {
        self.ledger().used(plan)
    }

    /// Asks for a call of a plan. Whoever has to wait is woken when there is an answer.
    pub(crate) fn call(
        self: &Arc<Self>,
        plan: &PlanId,
        tokens: Want,
        cost: Want,
        wake: &Arc<Notify>,
    ) -> Answer {
        let answer = self.ledger().ask(plan, Ask::Call { tokens, cost }, wake);
        self.answered(answer)
    }

    /// Asks for a subplan.
    pub(crate) fn plan(self: &Arc<Self>, parent: &PlanId, child: PlanId, wake: &Arc<Notify>) -> Answer {
        let answer = self.ledger().ask(parent, Ask::Plan { child }, wake);
        self.answered(answer)
    }

    /// The call of a plan that a former executor left open.
    pub(crate) fn claim(self: &Arc<Self>, plan: &PlanId, call_id: &str) -> Option<Hold> {
        let claim = (plan.clone(), call_id.to_owned());
        let id = self.claims.lock().unwrap_or_else(PoisonError::into_inner).remove(&claim)?;
        let reserved = self.ledger().set_aside(id);
        Some(Hold { budgets: Arc::clone(self), id, reserved, stage: Stage::Announced })
    }

    /// The place of a subplan that a former executor left open.
    pub(crate) fn seat(self: &Arc<Self>, child: &PlanId) -> Seat {
        Seat { budgets: Arc::clone(self), child: child.clone() }
    }

    fn answered(self: &Arc<Self>, answer: ledger::Answer) -> Answer {
        match answer {
            ledger::Answer::Call(id, reserved) => {
                Answer::Call(Hold { budgets: Arc::clone(self), id, reserved, stage: Stage::Granted })
            }
            ledger::Answer::Plan(child) => Answer::Plan(self.seat(&child)),
            ledger::Answer::Wait(id) => Answer::Wait(Ticket { budgets: Arc::clone(self), id }),
            ledger::Answer::Refused(refusal) => Answer::Refused(refusal),
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that waits. Dropping it withdraws it.
#[derive(Debug)]
pub(crate) struct Ticket {
    budgets: Arc<Budgets>,
    id: u64,
}

impl Ticket {
    /// What came of it by now.
    pub(crate) fn answer(self) -> Answer {
        let answer = self.budgets.ledger().answer(self.id);
        match answer {
            ledger::Answer::Wait(_) => Answer::Wait(self),
            other => self.budgets.answered(other),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.budgets.ledger().withdraw(self.id);
    }
}

/// The place of an open subplan, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    budgets: Arc<Budgets>,
    child: PlanId,
}

impl Seat {
    pub(crate) fn child(&self) -> &PlanId {
        &self.child
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.budgets.ledger().leave(&self.child);
    }
}

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing of it is in the log.
    Granted,
    /// Its beginning is in the log, or on the way.
    Announced,
    /// Its end is in the log, or on the way.
    Settled,
}

/// What a call has set aside. It is dropped when the end of the call is in the log; dropped before the call was
/// announced, it is given back.
#[derive(Debug)]
pub(crate) struct Hold {
    budgets: Arc<Budgets>,
    id: u64,
    reserved: Reserved,
    stage: Stage,
}

impl Hold {
    /// What was set aside.
    pub(crate) const fn reserved(&self) -> Reserved {
        self.reserved
    }

    /// The call goes into the log. Gives what is to be warned of with it.
    pub(crate) fn announce(&mut self) -> Vec<Warning> {
        self.stage = Stage::Announced;
        self.budgets.ledger().announce(self.id)
    }

    /// The call has ended and used so much. Gives what is to be warned of with it.
    pub(crate) fn settle(&mut self, used: &UsageSum) -> Vec<Warning> {
        self.stage = Stage::Settled;
        self.budgets.ledger().settle(self.id, used)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut ledger = self.budgets.ledger();
        match self.stage {
            Stage::Granted => ledger.give_back(self.id),
            // Nobody knows what it used: it may have been all.
            Stage::Announced => {
                ledger.settle(self.id, &UsageSum::from(&self.reserved.as_usage()));
                ledger.release(self.id);
            }
            Stage::Settled => ledger.release(self.id),
        }
    }
}
