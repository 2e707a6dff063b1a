//! What the events of a plan add up to: one fold for all who need it.
//!
//! [`PlanState`] folds the events of one plan, [`TreeState`] those of a whole tree. `planwire show`, the page's
//! snapshot, recovery and the protocol facades all read these; there is no second truth. **Invariant:** a fold is
//! total: it takes every event that the writer accepted, in seq order, and never fails. Event types that it does not
//! know are counted, events of other plans and events that it has already seen change nothing.
//!
//! What a fold keeps is bounded by the limits below, whatever the events hold: lists have a length, texts are cut,
//! and what was left out is counted in [`Omitted`].

mod counts;
mod kept;
mod plan;
mod question;
mod record;
mod step;
mod tree;
mod usage;

pub use counts::{Counts, Omitted};
pub use kept::Kept;
pub use plan::PlanState;
pub use question::{QuestionRecord, Questions};
pub use record::{
    ArtifactRecord, ArtifactSource, CallRecord, CancelNote, ChildRecord, ChildState, DecisionRecord,
};
pub use step::{Items, StepKind, StepRecord, StepState};
pub use tree::{TreeState, TreeTotals};
pub use usage::PlanUsage;

use schemars::JsonSchema;
use serde::Serialize;

use crate::lifecycle::PlanStatus;
use crate::vocabulary::{Failure, FailureReason};

/// Steps that the fold of one plan keeps; events of further steps are counted only.
pub const STEPS_MAX: usize = 2_000;

/// Decisions that the fold of one plan keeps.
pub const DECISIONS_MAX: usize = 500;

/// Alternatives that the fold keeps of one decision.
pub const ALTERNATIVES_MAX: usize = 16;

/// Artifacts that the fold of one plan keeps.
pub const ARTIFACTS_MAX: usize = 500;

/// Limits of one plan of which the fold keeps that they are nearly used up.
pub const LIMITS_MAX: usize = 16;

/// Open questions that the fold of one plan keeps.
pub const QUESTIONS_MAX: usize = 100;

/// Bytes of a question's schema, and of what it wants approved, that a fold keeps; larger ones are only in the event.
pub const QUESTION_BYTES_MAX: usize = 16 * 1024;

/// Characters of a text that a fold keeps; a longer one is cut and ends in `…`.
pub const TEXT_CHARS_MAX: usize = 500;

/// Characters of a text that the fold of a tree keeps of each plan.
pub const SUMMARY_TEXT_CHARS_MAX: usize = 120;

/// Entries of each list that the fold of a tree keeps of each plan.
pub const SUMMARY_ITEMS_MAX: usize = 64;

/// Plans that the fold of a tree keeps; further ones are only in the totals.
pub const TREE_PLANS_MAX: usize = 10_000;

/// Plans of which the fold of a tree keeps a summary; of further ones it keeps a header. So a tree of plans that do
/// all they can to be large stays below some hundred MiB, and any real one far below.
pub const TREE_SUMMARIES_MAX: usize = 1_000;

/// Plans that have ended and keep their summary, so that there is room for those that run.
const TREE_ENDED_SUMMARIES_MAX: usize = TREE_SUMMARIES_MAX / 2;

const _: () = assert!(TREE_SUMMARIES_MAX <= TREE_PLANS_MAX);
const _: () = assert!(SUMMARY_TEXT_CHARS_MAX <= TEXT_CHARS_MAX);
const _: () = assert!(SUMMARY_ITEMS_MAX <= STEPS_MAX && SUMMARY_ITEMS_MAX <= DECISIONS_MAX);

/// How much a fold keeps of one plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Inputs and outputs as they are, long lists.
    #[default]
    Full,
    /// No inputs and outputs, short lists and texts: for many plans at a time.
    Summary,
    /// No lists either: what the first and the last event say, and the counts.
    Header,
}

impl Detail {
    /// The length of a list that may have `full` entries.
    const fn items(self, full: usize) -> usize {
        match self {
            Self::Full => full,
            Self::Summary => {
                if full < SUMMARY_ITEMS_MAX {
                    full
                } else {
                    SUMMARY_ITEMS_MAX
                }
            }
            Self::Header => 0,
        }
    }

    /// Cuts a text to its limit.
    fn text(self, text: &str) -> String {
        let chars_max = match self {
            Self::Full => TEXT_CHARS_MAX,
            Self::Summary | Self::Header => SUMMARY_TEXT_CHARS_MAX,
        };
        match text.char_indices().nth(chars_max) {
            None => text.to_owned(),
            Some((end, _)) => format!("{}…", &text[..end]),
        }
    }

    fn failure(self, failure: &Failure) -> Failure {
        Failure {
            code: self.text(&failure.code),
            message: self.text(&failure.message),
            step: failure.step.as_deref().map(|step| self.text(step)),
        }
    }
}

/// How a plan stands, in one word for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// It runs.
    Running,
    /// It waits for an answer or an approval; other steps may go on.
    InputRequired,
    /// It waits for access to something; other steps may go on.
    AuthRequired,
    /// It begins nothing new until somebody asks that it go on.
    Paused,
    /// It runs, and somebody asked that it end.
    Cancelling,
    /// It reached its goal.
    Completed,
    /// A step failed and nothing recovered from it.
    Failed,
    /// It ended because somebody asked for it.
    Cancelled,
    /// It took too long.
    TimedOut,
    /// It was not allowed to run.
    Rejected,
    /// It used more than it may.
    LimitExceeded,
    /// Its executor ended before it did.
    Interrupted,
}

impl Phase {
    /// `asked`: whether somebody asked that it end, and that it pause.
    fn of(status: PlanStatus, asked: (bool, bool), questions: &Questions) -> Self {
        match status {
            PlanStatus::Open if asked.0 => Self::Cancelling,
            PlanStatus::Open if asked.1 => Self::Paused,
            PlanStatus::Open if questions.is_only_auth_open() => Self::AuthRequired,
            PlanStatus::Open if questions.is_any_open() => Self::InputRequired,
            PlanStatus::Open => Self::Running,
            PlanStatus::Completed => Self::Completed,
            PlanStatus::Failed(FailureReason::Error) => Self::Failed,
            PlanStatus::Failed(FailureReason::Cancelled) => Self::Cancelled,
            PlanStatus::Failed(FailureReason::TimedOut) => Self::TimedOut,
            PlanStatus::Failed(FailureReason::Rejected) => Self::Rejected,
            PlanStatus::Failed(FailureReason::LimitExceeded) => Self::LimitExceeded,
            PlanStatus::Failed(FailureReason::Interrupted) => Self::Interrupted,
        }
    }

    /// The name in JSON, also what people read.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::InputRequired => "input_required",
            Self::AuthRequired => "auth_required",
            Self::Paused => "paused",
            Self::Cancelling => "cancelling",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::Rejected => "rejected",
            Self::LimitExceeded => "limit_exceeded",
            Self::Interrupted => "interrupted",
        }
    }
}
