//! Folds of plans, kept for the places at which somebody asked.
//!
//! The events of a plan are cut into segments of [`SEGMENT_EVENTS`]. Of each the cache keeps the fold before it and the
//! steps of its events, so that the fold as of any place is a clone and a walk in memory. **Invariants:** one caller
//! at a time reads a plan, and what he has read the others find, so that a crowd that comes at once costs one reading;
//! the cache is bounded by [`PLANS_MAX`] and [`BYTES_MAX`], each plan by [`PLAN_BYTES_MAX`], and what it no longer has
//! is read again.

mod segments;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use planwire_bus::ReadError;
use planwire_event::{EventTypes, PlanId, Position, Seq};
use planwire_store::{EventRepository, PageLimits, PlanQuery, PlanScope};

use self::segments::Segments;
use super::fold::{About, Step, TaskFold};
use crate::app::App;

/// Events of a segment.
pub(crate) const SEGMENT_EVENTS: usize = 1_000;

/// Plans of which folds are kept.
pub(crate) const PLANS_MAX: usize = 1_000;

/// Bytes of what is kept of all plans. What is in use at the time counts besides.
pub(crate) const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of what is kept of one plan; enough for the steps of about 200,000 events.
pub(crate) const PLAN_BYTES_MAX: usize = 24 * 1024 * 1024;

const _: () = assert!(PLAN_BYTES_MAX < BYTES_MAX);
const _: () = assert!(SEGMENT_EVENTS <= planwire_store::PAGE_EVENTS_MAX, "a segment is read as one page");

const PAGE: PageLimits = PageLimits { events: SEGMENT_EVENTS, bytes: planwire_store::PAGE_BYTES_MAX };

/// How much may be kept; the constants of this module, smaller in tests.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    plans: usize,
    bytes: usize,
    plan_bytes: usize,
}

/// Folds of plans, made when somebody asks and kept for the next.
#[derive(Debug)]
pub(crate) struct Folds {
    bounds: Bounds,
    cache: Mutex<Cache>,
}

impl Default for Folds {
    fn default() -> Self {
        let bounds = Bounds { plans: PLANS_MAX, bytes: BYTES_MAX, plan_bytes: PLAN_BYTES_MAX };
        Self { bounds, cache: Mutex::default() }
    }
}

#[derive(Debug, Default)]
struct Cache {
    plans: HashMap<PlanId, Kept>,
    /// Counts what was asked for, to know what was not asked for lately.
    clock: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    plan: Arc<Plan>,
    used: u64,
    bytes: usize,
}

/// What is known of one plan. Whoever reads it holds the lock.
#[derive(Debug)]
struct Plan {
    segments: tokio::sync::Mutex<Segments>,
}

impl Folds {
    /// The plan after its last event; none if the log does not know it.
    ///
    /// # Errors
    ///
    /// [`ReadError::Store`] if the log could not be read.
    pub(crate) async fn latest(&self, app: &App, plan: &PlanId) -> Result<Option<Arc<TaskFold>>, ReadError> {
        self.as_of(app, plan, app.bus.tail().position).await
    }

    /// The plan after its last event up to `position`, or after its first if that lies beyond.
    ///
    /// # Errors
    ///
    /// As for [`Folds::latest`].
    pub(crate) async fn as_of(
        &self,
        app: &App,
        plan: &PlanId,
        position: Position,
    ) -> Result<Option<Arc<TaskFold>>, ReadError> {
        let repository = &**app.bus.repository();
        let Some(entry) = self.entry(app, plan).await? else { return Ok(None) };
        let mut segments = entry.segments.lock().await;
        let position = position.max(segments.about().before.next());
        let found = loop {
            if let Some(found) = segments.find(position) {
                break found;
            }
            let after = segments.missing_after(position);
            let page = repository.list_by_plan(plan, EventTypes::All, after, PAGE).await?;
            let steps = page.events.iter().map(|stored| Step::of(stored)).collect();
            let at_end = page.at_head || page.scanned_to <= after;
            // Where the log has no more there is nothing up to what was asked for.
            segments.add(after, steps, if at_end { position } else { page.scanned_to });
        };
        let bytes = segments.weight_bytes();
        drop(segments);
        self.weigh(plan, bytes);
        // A plan whose events were removed has a row and nothing to show.
        Ok(Some(found.fold()).filter(|fold| fold.seq() > Seq::ZERO))
    }

    /// Keeps nothing of what it had: something was removed from the log.
    pub(crate) fn forget(&self) {
        *self.lock() = Cache::default();
    }

    /// What is known of the plan, or a new entry that knows nothing but what the plan is about.
    async fn entry(&self, app: &App, plan: &PlanId) -> Result<Option<Arc<Plan>>, ReadError> {
        if let Some(entry) = self.cached(plan) {
            return Ok(Some(entry));
        }
        let Some(row) = row(&**app.bus.repository(), plan).await? else { return Ok(None) };
        let first = TaskFold::new(Arc::new(About::from(row)), app.bus.log_id());
        Ok(Some(self.insert(plan, first)))
    }

    fn cached(&self, plan: &PlanId) -> Option<Arc<Plan>> {
        let mut cache = self.lock();
        cache.clock += 1;
        let now = cache.clock;
        let kept = cache.plans.get_mut(plan)?;
        kept.used = now;
        Some(Arc::clone(&kept.plan))
    }

    fn insert(&self, plan: &PlanId, first: TaskFold) -> Arc<Plan> {
        let mut cache = self.lock();
        let used = cache.clock;
        // Two may have asked the store at once: the first entry is the one.
        let kept = cache.plans.entry(plan.clone()).or_insert_with(|| {
            let segments = tokio::sync::Mutex::new(Segments::new(first, self.bounds.plan_bytes));
            Kept { plan: Arc::new(Plan { segments }), used, bytes: 0 }
        });
        Arc::clone(&kept.plan)
    }

    /// Notes what an entry takes up, and lets go of what was not asked for lately.
    fn weigh(&self, plan: &PlanId, bytes: usize) {
        let mut cache = self.lock();
        let Some(kept) = cache.plans.get_mut(plan) else { return };
        let before = std::mem::replace(&mut kept.bytes, bytes);
        cache.bytes = cache.bytes - before + bytes;
        while cache.bytes > self.bounds.bytes || cache.plans.len() > self.bounds.plans {
            let oldest =
                cache.plans.iter().filter(|(other, _)| *other != plan).min_by_key(|(_, kept)| kept.used);
            let Some(oldest) = oldest.map(|(plan, _)| plan.clone()) else { return };
            let freed = cache.plans.remove(&oldest).map_or(0, |kept| kept.bytes);
            cache.bytes -= freed;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        // A caller that panicked has left counts at worst.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn row(
    repository: &dyn EventRepository,
    plan: &PlanId,
) -> Result<Option<planwire_store::PlanRow>, ReadError> {
    let scope = PlanScope::These(vec![plan.clone()]);
    let page = repository.plans(&PlanQuery { scope, ..PlanQuery::default() }).await?;
    Ok(page.plans.into_iter().next())
}

#[cfg(test)]
pub(super) mod tests;
