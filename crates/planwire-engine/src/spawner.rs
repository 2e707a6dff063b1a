//! The subplan spawner: starts plans below a plan and says how they ended. Publishes `SubplanSpawned` and
//! `SubplanCompleted` of the parent.
//!
//! The child's id is made with `SubplanSpawned`; the child starts when that is durable, and `SubplanCompleted` goes
//! out when the child's own terminal event is durable.

use std::sync::Arc;

use planwire_event::vocabulary::{Object, Origin, PlanStarted, SubplanCompleted, SubplanSpawned};
use planwire_event::{PlanId, Timestamp};

use crate::budget::Seat;
use crate::document::Resolved;
use crate::executor::{Past, Plan, PlanEnd, WaitingBelow, run_plan};
use crate::shared::{Shared, Tree};
use crate::stop::Stopper;

/// One subplan, as its `SubplanSpawned` says it.
#[derive(Clone, Debug)]
pub(crate) struct Child {
    pub(crate) plan_id: PlanId,
    /// The plans above it, its parent first.
    pub(crate) above: Arc<[PlanId]>,
    /// Where it tells its parent whether it waits for nothing but people.
    pub(crate) waiting_above: Arc<WaitingBelow>,
    pub(crate) document: Resolved,
    pub(crate) inputs: Object,
    /// Levels of plans that may lie below it.
    pub(crate) depth_left: u32,
    /// Timestamp of its `SubplanSpawned`.
    pub(crate) spawned_at: Timestamp,
    /// The step that spawns, by its place in the parent's document.
    pub(crate) step: usize,
    /// Its place in the list of `for_each`; 0 without one.
    pub(crate) index: usize,
}

impl Child {
    /// What the parent says before the child starts.
    pub(crate) fn spawned(
        plan_id: PlanId,
        document: &Resolved,
        inputs: Object,
        step: &str,
        item: Option<usize>,
    ) -> SubplanSpawned {
        let (name, step) = (document.document.name.clone(), step.into());
        let item = item.and_then(|item| u64::try_from(item).ok());
        SubplanSpawned { child_plan_id: plan_id, name, inputs, step, item, document_digest: None }
    }

    fn started(&self, executor_id: &str) -> PlanStarted {
        PlanStarted {
            name: self.document.document.name.clone(),
            goal: self.document.document.goal.clone(),
            inputs: self.inputs.clone(),
            document_digest: Some(self.document.digest.to_string()),
            parent_plan_id: self.above.first().cloned(),
            context_id: None,
            executor_id: Some(executor_id.into()),
            folder: None,
            document_received: false,
            origin: Some(Origin { protocol: "engine".into(), principal: executor_id.into(), message: None }),
        }
    }
}

impl Child {
    fn into_plan(self, started_at: Timestamp, stopper: Stopper) -> Plan {
        Plan {
            plan_id: self.plan_id,
            document: self.document.document,
            inputs: self.inputs,
            depth_left: self.depth_left,
            started_at,
            stopper,
            above: self.above,
            waiting_above: Some(self.waiting_above),
            past: None,
        }
    }
}

/// How a subplan ended.
#[derive(Debug)]
pub(crate) struct ChildEnded {
    pub(crate) plan_id: PlanId,
    pub(crate) step: usize,
    pub(crate) index: usize,
    pub(crate) end: PlanEnd,
    pub(crate) duration_ms: u64,
}

impl ChildEnded {
    /// What the parent says about it; nothing, if the log did not take the child's end.
    pub(crate) fn completed(&self) -> Option<SubplanCompleted> {
        let (outputs, error, limit, used) = match &self.end {
            PlanEnd::Completed(outputs, used) => (Some(outputs.clone()), None, None, used),
            PlanEnd::Failed(failure, limit, used) => (None, Some(failure.clone()), limit.clone(), used),
            PlanEnd::Lost => return None,
        };
        Some(SubplanCompleted {
            child_plan_id: self.plan_id.clone(),
            ok: error.is_none(),
            outputs,
            error,
            duration_ms: self.duration_ms,
            limit,
            usage: Some(used.clone()).filter(|used| !used.is_empty()),
        })
    }
}

/// Counts the plan as ended, whatever way it ends.
struct Counted(Arc<Tree>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.plan_ended();
    }
}

/// Runs a subplan whose `SubplanSpawned` is durable to its end: from its start, or from where a former executor left
/// it.
///
/// `stopper` is the child's own: whoever holds it can ask for its end. `seat` is its place in the tree.
pub(crate) async fn run(
    shared: Arc<Shared>,
    tree: Arc<Tree>,
    child: Child,
    seat: Seat,
    past: Option<Box<Past>>,
    stopper: Stopper,
) -> ChildEnded {
    let _counted = Counted(Arc::clone(&tree));
    let _seat = seat;
    // Known before it is visible: whoever sees the plan can ask for its end.
    let _entry = shared.enter(child.plan_id.clone(), stopper.clone());
    let (plan_id, step, index, spawned_at) =
        (child.plan_id.clone(), child.step, child.index, child.spawned_at);
    let end = match past {
        None => start_and_run(Arc::clone(&shared), tree, child, stopper).await,
        Some(past) => {
            let started_at = past.history.started_at;
            let plan = Plan { past: Some(*past), ..child.into_plan(started_at, stopper) };
            run_plan(Arc::clone(&shared), tree, plan).await
        }
    };
    let duration_ms = shared.clock.now().millis_since(spawned_at);
    ChildEnded { plan_id, step, index, end, duration_ms }
}

async fn start_and_run(shared: Arc<Shared>, tree: Arc<Tree>, child: Child, stopper: Stopper) -> PlanEnd {
    let started = match shared.event(&child.plan_id, &child.started(&shared.executor_id)) {
        Ok(started) => started,
        Err(error) => {
            // The inputs went through SubplanSpawned; only a context beyond every limit comes here.
            tracing::error!(plan = %child.plan_id, %error, "subplan cannot be announced");
            return PlanEnd::Lost;
        }
    };
    let now = started.timestamp();
    let attachments = tree.attach(&child.document);
    if let Err(error) = shared.publish(vec![started], attachments).await {
        tracing::error!(plan = %child.plan_id, %error, "subplan cannot be started");
        return PlanEnd::Lost;
    }
    tree.is_stored(child.document.digest);
    run_plan(shared, tree, child.into_plan(now, stopper)).await
}
