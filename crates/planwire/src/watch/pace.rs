//! Which events are printed where lines scroll by: all, but what calls say of their progress only now and then.

use std::collections::HashMap;

use planwire_event::vocabulary::{ToolCompleted, ToolProgress};
use planwire_event::{EventType, PlanId, StoredEvent, Timestamp};

/// Milliseconds between two lines about the progress of one call, by the timestamps of its events.
const PROGRESS_PAUSE_MS: u64 = 5_000;

/// When calls were last heard of.
#[derive(Debug, Default)]
pub(super) struct Pace(pub(super) HashMap<(PlanId, String), Timestamp>);

impl Pace {
    /// Whether an event is printed.
    pub(super) fn lets(&mut self, stored: &StoredEvent) -> bool {
        let plan = stored.plan_id();
        match stored.event.event_type() {
            EventType::ToolProgress => {
                let Some(said) = stored.event.read::<ToolProgress>() else { return true };
                let (call, at) = ((plan.clone(), said.call_id), stored.event.timestamp());
                if self.0.get(&call).is_some_and(|last| at.millis_since(*last) < PROGRESS_PAUSE_MS) {
                    return false;
                }
                self.0.insert(call, at);
            }
            EventType::ToolCompleted => {
                if let Some(ended) = stored.event.read::<ToolCompleted>() {
                    self.0.remove(&(plan.clone(), ended.call_id));
                }
            }
            EventType::PlanCompleted | EventType::PlanFailed => self.0.retain(|(of, _), _| of != plan),
            _ => {}
        }
        true
    }
}
