//! Ends the plans that a former process of the same log left open, and trees of our own that cannot go on.
//!
//! The newest plans come first, so that subplans end before the plans that spawned them. What a plan still has open
//! is the sum of its events.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use planwire_bus::{EventBus, PublishError};
use planwire_event::vocabulary::{
    Failure, FailureReason, PlanCompleted, PlanFailed, SubplanCompleted, SubplanSpawned, ToolCalled,
    ToolCompleted,
};
use planwire_event::{Event, EventType, EventTypes, PayloadError, PlanId, Position, Producer, Timestamp};
use planwire_store::{EventRepository, PageLimits, PlanOrder, PlanQuery, PlanRow, PlanScope, StoreError};

use crate::shared::{Shared, requests};

const CODE: &str = "interrupted";

/// Why open plans of a former process were not ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OrphansError {
    /// The log cannot be read.
    #[error("failed to read the open plans of the log")]
    Read(#[from] StoreError),
    /// The log does not take the events.
    #[error("failed to end the open plans of the log")]
    Publish(#[from] PublishError),
    /// An event has no normal form.
    #[error("failed to write the end of an open plan")]
    Payload(#[from] PayloadError),
}

impl OrphansError {
    /// Whether what is in the log is in the way, and no time changes it.
    pub(crate) const fn is_of_the_log(&self) -> bool {
        match self {
            Self::Read(error) => matches!(error, StoreError::Damaged { .. }),
            Self::Publish(error) => !matches!(error, PublishError::Refused(_) | PublishError::Unknown(_)),
            Self::Payload(_) => true,
        }
    }
}

/// Ends what is open of a tree whose root has ended, whoever owned it; says how many plans that were.
///
/// To be called when no other executor of the log is alive. Plans without owner are run from outside and stay.
pub(crate) async fn end_former(
    bus: &EventBus,
    shared: &Shared,
    root: &PlanId,
) -> Result<usize, OrphansError> {
    let scope = PlanScope::Tree(root.clone());
    match end_where(bus, shared, scope, |_| true, "its executor ended before it did").await? {
        (ended, None) => Ok(ended),
        (_, Some(error)) => Err(error),
    }
}

/// Ends what is open of a tree of our own that nobody runs any more; says how many plans that were.
pub(crate) async fn end_tree(bus: &EventBus, shared: &Shared, root: &PlanId) -> Result<usize, OrphansError> {
    let ours = |owner: &str| *owner == *shared.executor_id;
    let scope = PlanScope::Tree(root.clone());
    match end_where(bus, shared, scope, ours, "its executor could not go on").await? {
        (ended, None) => Ok(ended),
        (_, Some(error)) => Err(error),
    }
}

/// A plan whose end the log rejects keeps only those above it open; the first such error is given too.
async fn end_where(
    bus: &EventBus,
    shared: &Shared,
    scope: PlanScope,
    is_orphan_of: impl Fn(&str) -> bool,
    message: &str,
) -> Result<(usize, Option<OrphansError>), OrphansError> {
    let (mut ended, mut rejected) = (0, None);
    // Plans with an open plan below them.
    let mut held = HashSet::new();
    let order = PlanOrder::NewestFirst;
    let mut query = PlanQuery { scope, open_only: true, order, ..PlanQuery::default() };
    loop {
        let page = bus.repository().plans(&query).await?;
        for plan in &page.plans {
            let Some(owner) = plan.owner.as_deref().filter(|owner| is_orphan_of(owner)) else { continue };
            if held.contains(&plan.plan_id) {
                held.extend(plan.parent_plan_id.clone());
                continue;
            }
            match end_one(bus, shared, plan, owner, message).await {
                Ok(()) => ended += 1,
                Err(error @ OrphansError::Publish(PublishError::Rejected { .. })) => {
                    tracing::error!(plan = %plan.plan_id, %error, "an open plan does not end");
                    held.extend(plan.parent_plan_id.clone());
                    rejected.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok((ended, rejected)),
        }
    }
}

async fn end_one(
    bus: &EventBus,
    shared: &Shared,
    plan: &PlanRow,
    owner: &str,
    message: &str,
) -> Result<(), OrphansError> {
    let open = Open::read(&**bus.repository(), &plan.plan_id).await?;
    let now = shared.clock.now();
    let mut events = Vec::new();
    for call in open.calls.values() {
        let completed = interrupted(call, open.called_at(call), now);
        events.push(shared.event_at(&plan.plan_id, &completed, now)?);
    }
    for child in &open.children {
        if let Some(completed) = child_completed(&**bus.repository(), child).await? {
            events.push(shared.event_at(&plan.plan_id, &completed, now)?);
        }
    }
    let failed = PlanFailed {
        reason: FailureReason::Interrupted,
        error: interruption(message, None),
        duration_ms: now.millis_since(plan.started_at),
        limit: None,
        usage: None,
    };
    events.push(shared.event_at(&plan.plan_id, &failed, now)?);
    // Only a tree's owner may publish on it. This process holds the lock of the log, so the former owner is gone and
    // nobody but us can speak for it.
    let publisher = bus.publisher(Producer::new(owner));
    for request in requests(events) {
        publisher.publish_all(request).await?;
    }
    Ok(())
}

/// What a plan has open: the sum of its events.
#[derive(Default)]
struct Open {
    calls: BTreeMap<String, ToolCalled>,
    called_at: BTreeMap<String, Timestamp>,
    children: BTreeSet<PlanId>,
}

impl Open {
    async fn read(repository: &dyn EventRepository, plan_id: &PlanId) -> Result<Self, StoreError> {
        let types: EventTypes = [
            EventType::ToolCalled,
            EventType::ToolCompleted,
            EventType::SubplanSpawned,
            EventType::SubplanCompleted,
        ]
        .into_iter()
        .collect();
        let mut open = Self::default();
        let mut after = Position::ZERO;
        loop {
            let page = repository.list_by_plan(plan_id, types.clone(), after, PageLimits::default()).await?;
            for stored in &page.events {
                open.apply(&stored.event);
            }
            if page.at_head {
                return Ok(open);
            }
            after = page.scanned_to;
        }
    }

    fn apply(&mut self, event: &Event) {
        if let Some(called) = event.read::<ToolCalled>() {
            self.called_at.insert(called.call_id.clone(), event.timestamp());
            self.calls.insert(called.call_id.clone(), called);
        } else if let Some(completed) = event.read::<ToolCompleted>() {
            self.calls.remove(&completed.call_id);
        } else if let Some(spawned) = event.read::<SubplanSpawned>() {
            self.children.insert(spawned.child_plan_id);
        } else if let Some(completed) = event.read::<SubplanCompleted>() {
            self.children.remove(&completed.child_plan_id);
        }
    }

    fn called_at(&self, call: &ToolCalled) -> Option<Timestamp> {
        self.called_at.get(&call.call_id).copied()
    }
}

fn interruption(message: &str, step: Option<&str>) -> Failure {
    Failure { code: CODE.into(), message: message.into(), step: step.map(Into::into) }
}

fn interrupted(call: &ToolCalled, called_at: Option<Timestamp>, now: Timestamp) -> ToolCompleted {
    ToolCompleted {
        call_id: call.call_id.clone(),
        step: call.step.clone(),
        tool: call.tool.clone(),
        ok: false,
        output: None,
        error: Some(interruption("the call may have run in part", Some(&call.step))),
        truncated: false,
        duration_ms: called_at.map_or(0, |at| now.millis_since(at)),
        attempt: call.attempt,
        // Nobody knows what it used: it may have been all that it had set aside.
        usage: call.reserved.map(|reserved| reserved.as_usage()),
    }
}

/// What the parent says of a subplan that has ended; nothing of one that never started.
async fn child_completed(
    repository: &dyn EventRepository,
    child: &PlanId,
) -> Result<Option<SubplanCompleted>, StoreError> {
    let terminal: EventTypes = [EventType::PlanCompleted, EventType::PlanFailed].into_iter().collect();
    let page = repository.list_by_plan(child, terminal, Position::ZERO, PageLimits::events(1)).await?;
    let Some(stored) = page.events.first() else { return Ok(None) };
    let child_plan_id = child.clone();
    if let Some(end) = stored.event.read::<PlanCompleted>() {
        return Ok(Some(SubplanCompleted {
            child_plan_id,
            ok: true,
            outputs: Some(end.outputs),
            error: None,
            duration_ms: end.duration_ms,
            limit: None,
            usage: end.usage,
        }));
    }
    let end = stored.event.read::<PlanFailed>();
    Ok(end.map(|end| SubplanCompleted {
        child_plan_id,
        ok: false,
        outputs: None,
        error: Some(end.error),
        duration_ms: end.duration_ms,
        limit: end.limit,
        usage: end.usage,
    }))
}
