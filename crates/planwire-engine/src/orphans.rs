//! Ends the plans that a former process of the same log left open.
//!
//! The newest plans come first, so that subplans end before the plans that spawned them. What a plan still has open
//! is the sum of its events.

use std::collections::{BTreeMap, BTreeSet};

use planwire_bus::{EventBus, PublishError};
use planwire_event::vocabulary::{
    FailureReason, PlanCompleted, PlanFailed, SubplanCompleted, SubplanSpawned, ToolCalled, ToolCompleted,
};
use planwire_event::{Event, EventType, EventTypes, PayloadError, PlanId, Position, Producer, Timestamp};
use planwire_store::{EventRepository, PageLimits, PlanOrder, PlanQuery, PlanRow, StoreError};

use crate::failure::failure;
use crate::shared::Shared;

/// Events of one request.
const REQUEST_EVENTS: usize = 100;

const CODE: &str = "interrupted";
const MESSAGE: &str = "its executor ended before it did";

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

/// Ends all open plans of other executors; says how many. Plans without owner are run from outside and stay.
pub(crate) async fn end_all(bus: &EventBus, shared: &Shared) -> Result<usize, OrphansError> {
    let mut ended = 0;
    let mut query = PlanQuery { open_only: true, order: PlanOrder::NewestFirst, ..PlanQuery::default() };
    loop {
        let page = bus.repository().plans(&query).await?;
        for plan in &page.plans {
            match plan.owner.as_deref() {
                Some(owner) if owner != &*shared.executor_id => {
                    end_one(bus, shared, plan, owner).await?;
                    ended += 1;
                }
                _ => {}
            }
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(ended),
        }
    }
}

async fn end_one(bus: &EventBus, shared: &Shared, plan: &PlanRow, owner: &str) -> Result<(), OrphansError> {
    let open = Open::read(&**bus.repository(), &plan.plan_id).await?;
    let now = shared.clock.now();
    let mut events = Vec::new();
    for call in open.calls.values() {
        events.push(shared.event(&plan.plan_id, &interrupted(call, open.called_at(call), now))?);
    }
    for child in &open.children {
        if let Some(completed) = child_completed(&**bus.repository(), child).await? {
            events.push(shared.event(&plan.plan_id, &completed)?);
        }
    }
    events.push(shared.event(
        &plan.plan_id,
        &PlanFailed {
            reason: FailureReason::Interrupted,
            error: failure(CODE, MESSAGE, None),
            duration_ms: now.millis_since(plan.started_at),
        },
    )?);
    // Only a tree's owner may publish on it. This process holds the lock of the log, so the former owner is gone and
    // nobody but us can speak for it.
    let publisher = bus.publisher(Producer::new(owner));
    for request in in_requests(events) {
        publisher.publish_all(request).await?;
    }
    Ok(())
}

fn in_requests(events: Vec<Event>) -> Vec<Vec<Event>> {
    events.chunks(REQUEST_EVENTS).map(<[Event]>::to_vec).collect()
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

fn interrupted(call: &ToolCalled, called_at: Option<Timestamp>, now: Timestamp) -> ToolCompleted {
    ToolCompleted {
        call_id: call.call_id.clone(),
        step: call.step.clone(),
        tool: call.tool.clone(),
        ok: false,
        output: None,
        error: Some(failure(CODE, "the call may have run in part", Some(&call.step))),
        truncated: false,
        duration_ms: called_at.map_or(0, |at| now.millis_since(at)),
        attempt: call.attempt,
        usage: None,
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
        let (outputs, duration_ms) = (Some(end.outputs), end.duration_ms);
        return Ok(Some(SubplanCompleted { child_plan_id, ok: true, outputs, error: None, duration_ms }));
    }
    let end = stored.event.read::<PlanFailed>();
    Ok(end.map(|end| SubplanCompleted {
        child_plan_id,
        ok: false,
        outputs: None,
        error: Some(end.error),
        duration_ms: end.duration_ms,
    }))
}
