//! The latest state of plans that are asked for again and again.
//!
//! A plan with many events is not folded anew for each who polls it: what is kept takes in what is new. **Invariant:**
//! what is given is the fold of all events that were acknowledged before the call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use planwire_event::state::PlanState;
use planwire_event::{EventTypes, PlanId, Position};
use planwire_store::{EventRepository, PageLimits, PlanRow, StoreError};

/// Plans of which the state is kept.
const PLANS_MAX: usize = 64;

/// Records that are kept of all plans together: steps, decisions, calls, questions, subplans, artifacts. Each has at
/// most some KiB and hardly ever more than a few hundred bytes.
const RECORDS_MAX: usize = 50_000;

/// Events of a plan from which on its state is kept; a shorter one is folded in no time.
const EVENTS_MIN: u64 = 200;

/// The latest state of plans, as far as somebody asked.
#[derive(Debug, Default)]
pub(crate) struct States {
    kept: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    plans: HashMap<PlanId, Kept>,
    /// Counts what was asked for, to know what was not asked for lately.
    clock: u64,
}

#[derive(Debug)]
struct Kept {
    state: Arc<PlanState>,
    used: u64,
}

impl States {
    /// The plan's state after its last event; none if its events are gone.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the log could not be read.
    pub(crate) async fn latest(
        &self,
        repository: &dyn EventRepository,
        row: &PlanRow,
    ) -> Result<Option<Arc<PlanState>>, StoreError> {
        let kept = self.kept(&row.plan_id);
        let mut after = kept.as_ref().map_or(row.first_position.previous(), |state| state.last_position);
        let mut state = kept;
        while state.as_ref().is_none_or(|state| !state.is_ended()) {
            let page =
                repository.list_by_plan(&row.plan_id, EventTypes::All, after, PageLimits::default()).await?;
            for event in &page.events {
                match &mut state {
                    None => state = PlanState::start(event).map(Arc::new),
                    Some(state) => Arc::make_mut(state).apply(event),
                }
            }
            if page.at_head || page.scanned_to <= after {
                break;
            }
            after = page.scanned_to;
        }
        if let Some(state) = state.as_ref().filter(|state| state.counts.events >= EVENTS_MIN) {
            self.keep(state);
        }
        Ok(state)
    }

    /// Keeps nothing of what it had: something was removed from the log.
    pub(crate) fn forget(&self) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Cache::default();
    }

    fn kept(&self, plan: &PlanId) -> Option<Arc<PlanState>> {
        let cache = &mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        cache.clock += 1;
        let kept = cache.plans.get_mut(plan)?;
        kept.used = cache.clock;
        Some(Arc::clone(&kept.state))
    }

    fn keep(&self, state: &Arc<PlanState>) {
        let cache = &mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let used = cache.clock;
        let kept = cache.plans.entry(state.plan_id.clone());
        let kept = kept.or_insert_with(|| Kept { state: Arc::clone(state), used });
        // Another caller may have read further meanwhile.
        if kept.state.last_seq < state.last_seq {
            kept.state = Arc::clone(state);
        }
        while cache.plans.len() > PLANS_MAX || cache.records() > RECORDS_MAX {
            let oldest = cache.plans.iter().min_by_key(|(_, kept)| kept.used);
            let Some(oldest) = oldest.map(|(plan, _)| plan.clone()) else { return };
            cache.plans.remove(&oldest);
        }
    }
}

/// The plan's state after the last of its events up to a position; none if it had not started.
///
/// # Errors
///
/// [`StoreError`] if the log could not be read.
pub(crate) async fn at(
    repository: &dyn EventRepository,
    row: &PlanRow,
    until: Position,
) -> Result<Option<PlanState>, StoreError> {
    let (mut state, mut after) = (None, row.first_position.previous());
    loop {
        let page =
            repository.list_by_plan(&row.plan_id, EventTypes::All, after, PageLimits::default()).await?;
        for event in page.events.iter().filter(|event| event.position <= until) {
            match &mut state {
                None => state = PlanState::start(event),
                Some(state) => state.apply(event),
            }
        }
        if page.at_head || page.scanned_to >= until || page.scanned_to <= after {
            return Ok(state);
        }
        after = page.scanned_to;
    }
}

impl Cache {
    fn records(&self) -> usize {
        self.plans.values().map(|kept| records(&kept.state)).sum()
    }
}

fn records(state: &PlanState) -> usize {
    state.steps.len()
        + state.decisions.len()
        + state.open_calls.len()
        + state.questions.len()
        + state.children.len()
        + state.artifacts.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use planwire_bus::{Config, EventBus, Log};
    use planwire_event::{Draft, Event, IdGenerator, SystemClock};
    use planwire_store::{MemoryStore, PlanQuery, PlanScope};
    use serde_json::json;

    fn bus() -> EventBus {
        let (writer, repository) = MemoryStore::open("7Q4M2K9A".parse().unwrap());
        let log = Log::open(writer, repository, Arc::new(SystemClock)).unwrap();
        EventBus::open(log, Config::default()).unwrap()
    }

    async fn publish(bus: &EventBus, plan: &str, event_types: &[&str]) {
        let ids = IdGenerator::system();
        let event = |event_type: &&str| -> Event {
            let payload =
                json!({ "name": plan, "reason": "error", "error": { "code": "c", "message": "m" } });
            let draft = json!({ "event_type": event_type, "plan_id": plan, "payload": payload }).to_string();
            Draft::parse(&draft).unwrap().complete(&ids, &SystemClock).unwrap()
        };
        let events = event_types.iter().map(event).collect();
        bus.publisher(planwire_event::Producer::new("test")).publish_all(events).await.unwrap();
    }

    async fn latest(bus: &EventBus, states: &States, plan: &str) -> Arc<PlanState> {
        let repository = &**bus.repository();
        let scope = PlanScope::These(vec![plan.parse().unwrap()]);
        let page = repository.plans(&PlanQuery { scope, ..PlanQuery::default() }).await.unwrap();
        states.latest(repository, &page.plans[0]).await.unwrap().unwrap()
    }

    fn start_and_notes(notes: u64) -> Vec<&'static str> {
        let notes = usize::try_from(notes).unwrap();
        std::iter::once("PlanStarted").chain(std::iter::repeat_n("acme.note", notes)).collect()
    }

    #[tokio::test]
    async fn what_is_kept_takes_in_what_is_new() {
        let (bus, states) = (bus(), States::default());
        publish(&bus, "p", &start_and_notes(EVENTS_MIN)).await;
        let first = latest(&bus, &states, "p").await;
        assert!(Arc::ptr_eq(&first, &latest(&bus, &states, "p").await), "nothing new: the same state");
        for more in [&["acme.note"][..], &["acme.note", "PlanFailed"]] {
            publish(&bus, "p", more).await;
            let state = latest(&bus, &states, "p").await;
            assert_eq!(*state, *latest(&bus, &States::default(), "p").await, "as if folded anew");
        }
        assert!(latest(&bus, &states, "p").await.is_ended());
        assert_eq!(first.counts.events, EVENTS_MIN + 1, "who has an older state keeps it");
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded() {
        let (bus, states) = (bus(), States::default());
        for plan in 0..=PLANS_MAX {
            let plan = plan.to_string();
            publish(&bus, &plan, &start_and_notes(EVENTS_MIN)).await;
            latest(&bus, &states, &plan).await;
        }
        publish(&bus, "short", &["PlanStarted"]).await;
        latest(&bus, &states, "short").await;
        let cache = states.kept.lock().unwrap();
        assert_eq!(cache.plans.len(), PLANS_MAX);
        let gone = ["0", "short"].map(|plan| cache.plans.contains_key(&plan.parse::<PlanId>().unwrap()));
        assert_eq!(gone, [false, false]);
    }
}
