//! Why an event may not follow.

use serde::{Deserialize, Serialize};

use crate::ids::PlanId;

/// Why an event may not follow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "refusal", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Refusal {
    /// The first event of a plan must be its PlanStarted.
    #[error("plan {plan_id} has not started; its first event must be PlanStarted")]
    PlanNotStarted {
        /// The plan.
        plan_id: PlanId,
    },
    /// A plan starts once.
    #[error("plan {plan_id} has already started")]
    AlreadyStarted {
        /// The plan.
        plan_id: PlanId,
    },
    /// A PlanStarted names a parent that the log does not know.
    #[error("plan {plan_id} names the parent {parent_plan_id}, which is unknown")]
    ParentUnknown {
        /// The plan.
        plan_id: PlanId,
        /// The parent that it names.
        parent_plan_id: PlanId,
    },
    /// Nothing follows the terminal event.
    #[error("plan {plan_id} has ended; nothing can follow")]
    PlanEnded {
        /// The plan.
        plan_id: PlanId,
    },
    /// The event contradicts the tree as it is.
    #[error("plan {plan_id}: {message}")]
    LineageConflict {
        /// The plan.
        plan_id: PlanId,
        /// Which contradiction.
        message: String,
    },
    /// A ToolCompleted without its open ToolCalled.
    #[error("plan {plan_id} has no open tool call '{call_id}'")]
    CallUnknown {
        /// The plan.
        plan_id: PlanId,
        /// The call.
        call_id: String,
    },
    /// A ToolCalled with the id of a call that is open.
    #[error("plan {plan_id} already has an open tool call '{call_id}'")]
    CallOpen {
        /// The plan.
        plan_id: PlanId,
        /// The call.
        call_id: String,
    },
    /// A SubplanCompleted before the child's own end.
    #[error("subplan {child_plan_id} of plan {plan_id} has not ended yet")]
    ChildOpen {
        /// The parent.
        plan_id: PlanId,
        /// The child.
        child_plan_id: PlanId,
    },
    /// An InputReceived without its open InputRequested.
    #[error("plan {plan_id} has no open question '{request_id}'; it may have been answered already")]
    RequestNotOpen {
        /// The plan.
        plan_id: PlanId,
        /// The question.
        request_id: String,
    },
    /// An InputRequested with the id of a question that is open.
    #[error("plan {plan_id} already has an open question '{request_id}'")]
    RequestOpen {
        /// The plan.
        plan_id: PlanId,
        /// The question.
        request_id: String,
    },
    /// An answer on an ancestor that only repeats the question.
    #[error("plan {plan_id} only repeats the question '{request_id}'; answer it on plan {for_plan_id}")]
    RequestElsewhere {
        /// The plan.
        plan_id: PlanId,
        /// The question.
        request_id: String,
        /// The plan that asks.
        for_plan_id: PlanId,
    },
    /// An answer that is about other arguments than the question.
    #[error(
        "the answer to '{request_id}' of plan {plan_id} is about other arguments; read the question again"
    )]
    ArgumentsChanged {
        /// The plan.
        plan_id: PlanId,
        /// The question.
        request_id: String,
        /// The digest of the arguments that the question is about; none if it has no arguments.
        arguments_digest: Option<String>,
    },
    /// Somebody who is not the owner publishes on an owned tree.
    #[error("plan {plan_id} is run by executor {owner}; only it may publish this")]
    NotOwner {
        /// The plan.
        plan_id: PlanId,
        /// Its owner.
        owner: String,
    },
    /// More calls, questions or children are open, an id is longer, or the tree is deeper, than the log keeps track of.
    #[error("plan {plan_id} exceeds the limit of {max} {what}")]
    LimitExceeded {
        /// The plan.
        plan_id: PlanId,
        /// What there is too much of.
        what: String,
        /// How much there may be.
        max: u64,
    },
}
