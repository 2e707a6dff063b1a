//! A list of readers with the plan that each wants: every event is held against all of them.

use std::time::Instant;

use planwire_event::PlanId;
use tokio::sync::Notify;

use crate::numbers::per_second;

struct Reader {
    plan: PlanId,
    woken: Notify,
}

/// Events per second, each waking the one reader of its plan.
pub(crate) fn wake(plans: &[PlanId], events: usize) -> f64 {
    let readers: Vec<Reader> =
        plans.iter().map(|plan| Reader { plan: plan.clone(), woken: Notify::new() }).collect();
    let begun = Instant::now();
    for plan in plans.iter().cycle().take(events) {
        for reader in readers.iter().filter(|reader| reader.plan == *plan) {
            reader.woken.notify_one();
        }
    }
    per_second(events, begun.elapsed())
}
