//! The executor: runs a plan from its `PlanStarted` to its one terminal event. Publishes `PlanStarted`,
//! `ArtifactProduced`, `PlanCompleted` and `PlanFailed`.
//!
//! ```text
//!   what ended (tools, subplans, pauses) -> settle: events of the end
//!                                             |
//!                                        advance: events of what is ready now
//!                                             |
//!                          ONE publish; when it is durable: begin what it announced -> wait for the next end
//! ```
//!
//! One task owns a plan; its tools and subplans are tasks of their own that only answer to it. **Invariants:** nothing
//! begins before the event that announces it is durable; before the terminal event every call has its
//! `ToolCompleted` and every subplan that started has ended and is reported.
//!
//! - `values`: what expressions see.
//! - `steps`: where each step stands.
//! - `run`: the loop; `advance`: what is ready; `settle`: what ended; `finish`: outputs and the terminal event.
//! - `facts`, `recall`: a plan that a former executor left open is taken up from its events.
//! - `room`: what the plans of its tree may use together.
//! - `ask`: questions and their answers; `artifacts`: what is left for people; `clock`: time until the timeout.

mod advance;
mod arguments;
mod artifacts;
mod ask;
mod clock;
mod facts;
mod finish;
mod recall;
mod room;
mod run;
mod settle;
mod steps;
mod values;

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use planwire_event::vocabulary::{Failure, LimitHit, Object, UsageSum};
use planwire_event::{PlanId, Timestamp};

use crate::document::Document;
use crate::history::PlanHistory;
use crate::shared::{Shared, Tree};
use crate::stop::Stopper;

pub use artifacts::{ARTIFACT_INLINE_BYTES_MAX, ARTIFACTS_BYTES_MAX, CHUNKS_MAX, URL_BYTES_MAX};
pub(crate) use artifacts::{bytes_of, url_of};
pub(crate) use clock::WaitingBelow;
pub use steps::STATE_BYTES_MAX;

/// A plan whose `PlanStarted` is durable.
pub(crate) struct Plan {
    pub(crate) plan_id: PlanId,
    pub(crate) document: Arc<Document>,
    pub(crate) inputs: Object,
    /// Levels of plans that may lie below it.
    pub(crate) depth_left: u32,
    pub(crate) started_at: Timestamp,
    /// Whoever holds a clone can ask for the plan's end.
    pub(crate) stopper: Stopper,
    /// The plans above it, its parent first.
    pub(crate) above: Arc<[PlanId]>,
    /// Where it tells its parent whether it waits for nothing but people.
    pub(crate) waiting_above: Option<Arc<WaitingBelow>>,
    /// What a former executor did of it.
    pub(crate) past: Option<Past>,
}

/// What a former executor did of a plan.
pub(crate) struct Past {
    pub(crate) history: PlanHistory,
    /// When the plan is taken up, as its event says.
    pub(crate) now: Timestamp,
}

/// How a plan ended, and what it and all below it used.
#[derive(Clone, Debug)]
pub(crate) enum PlanEnd {
    /// With these outputs.
    Completed(Object, UsageSum),
    /// Otherwise; if for want of something that is limited, the limit.
    Failed(Failure, Option<LimitHit>, UsageSum),
    /// The log takes its events no more: it is open there, and ends at the next start.
    Lost,
}

/// Runs a plan to its end.
pub(crate) fn run_plan(shared: Arc<Shared>, tree: Arc<Tree>, plan: Plan) -> BoxFuture<'static, PlanEnd> {
    // Subplans make this a recursion, which needs a box somewhere.
    run::Run::new(shared, tree, plan).until_end().boxed()
}
