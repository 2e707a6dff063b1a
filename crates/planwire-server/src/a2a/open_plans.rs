//! Open plans as lists see them: the place of the last event of each, and its state.
//!
//! A list has to know both of every open plan, which is more than the cache of folds holds. So they are kept apart, in
//! a few bytes for each plan, and take in what is new when somebody lists: by one reading of the log where little has
//! happened, by a question for each plan where much has. **Invariants:** one caller at a time reads, and what he has
//! read the others find; what was read is taken in without a break, so that a caller who goes away leaves nothing
//! half done; the table is bounded by [`PLANS_KEPT_MAX`].

use std::collections::{HashMap, HashSet};

use planwire_bus::ReadError;
use planwire_event::{EventTypes, Filter, PlanId, Position, StoredEvent};
use planwire_store::{EventRepository, PageLimits, PlanRow};

use super::fold::{Counts, Standing, TaskFold, Turn};
use super::wire::TaskState;
use crate::app::App;

/// Open plans that a list takes in, the newest.
pub(crate) const OPEN_PLANS_MAX: usize = 10_000;

/// Plans that are kept: those of a list, and as many that other lists asked for.
const PLANS_KEPT_MAX: usize = 2 * OPEN_PLANS_MAX;

/// Open questions that are kept of one plan. One with more is folded anew when one of them is answered.
const QUESTIONS_KEPT_MAX: usize = 8;

/// Events of the log that are read in about the time that the store needs to find the events of one plan.
const EVENTS_PER_PLAN: u64 = 32;

const PAGE: PageLimits =
    PageLimits { events: planwire_store::PAGE_EVENTS_MAX, bytes: planwire_store::PAGE_BYTES_MAX };

/// A plan as a list sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenPlan {
    pub(crate) plan: PlanId,
    /// The place of its last event.
    pub(crate) at: Position,
    pub(crate) state: TaskState,
}

/// Where open plans stand, as far as somebody listed them.
#[derive(Debug, Default)]
pub(crate) struct OpenPlans(tokio::sync::Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    plans: HashMap<PlanId, Entry>,
    /// Plans that are up to date are so at least up to here.
    to: Position,
}

#[derive(Debug)]
struct Entry {
    /// The plan's last event that was taken in.
    at: Position,
    /// All its events up to here were.
    seen: Position,
    /// It takes part in the readings of the whole log: nothing is missing up to [`Table::to`].
    current: bool,
    counts: Counts,
    /// None if it asks too much.
    standing: Option<Standing>,
    /// It took a turn of which the counts do not know.
    turned: bool,
}

impl OpenPlans {
    /// Where these plans stand at `tail`, or a little later.
    ///
    /// # Errors
    ///
    /// [`ReadError::Store`] if the log could not be read.
    pub(crate) async fn look_at(
        &self,
        app: &App,
        rows: Vec<PlanRow>,
        tail: Position,
    ) -> Result<Vec<OpenPlan>, ReadError> {
        let repository = &**app.bus.repository();
        let table = &mut *self.0.lock().await;
        table.catch_up(repository, rows.len(), tail).await?;
        let mut plans = Vec::with_capacity(rows.len());
        for row in rows {
            let to = table.to;
            let entry = table.plans.entry(row.plan_id.clone()).or_insert_with(|| Entry::before(&row));
            entry.catch_up(repository, &row.plan_id, to, tail).await?;
            if entry.turned
                && let Some(fold) = app.folds.latest(app, &row.plan_id).await?
            {
                entry.take_over(&fold);
            }
            plans.push(OpenPlan { plan: row.plan_id, at: entry.at, state: entry.counts.state() });
        }
        table.shrink(&plans);
        Ok(plans)
    }
}

impl Table {
    /// Takes in what is new of all plans, if that is less work than to look at `count` plans one by one.
    async fn catch_up(
        &mut self,
        repository: &dyn EventRepository,
        count: usize,
        tail: Position,
    ) -> Result<(), ReadError> {
        let behind = tail.get().saturating_sub(self.to.get());
        if self.plans.is_empty() || behind > EVENTS_PER_PLAN * count as u64 {
            // A list of few plans leaves the others where they are.
            if 2 * count >= self.plans.len() {
                self.leap(tail);
            }
            return Ok(());
        }
        let filter = Filter::all();
        while self.to < tail {
            let page = repository.read_after(self.to, &filter, PAGE).await?;
            for event in &page.events {
                if let Some(entry) = self.plans.get_mut(event.plan_id()).filter(|entry| entry.current) {
                    entry.apply(event);
                }
            }
            let read_to = page.scanned_to.max(page.events.last().map_or(self.to, |event| event.position));
            if read_to <= self.to {
                break;
            }
            self.to = read_to;
        }
        Ok(())
    }

    /// Goes on from `tail`; what the plans had until then they read for themselves.
    fn leap(&mut self, tail: Position) {
        for entry in self.plans.values_mut().filter(|entry| entry.current) {
            entry.seen = entry.seen.max(self.to);
            entry.current = entry.seen >= tail;
        }
        self.to = tail;
    }

    fn shrink(&mut self, listed: &[OpenPlan]) {
        if self.plans.len() > PLANS_KEPT_MAX {
            let listed: HashSet<_> = listed.iter().map(|listed| &listed.plan).collect();
            self.plans.retain(|plan, entry| listed.contains(plan) && !entry.counts.state().is_terminal());
        }
    }
}

impl Entry {
    /// A plan of which nothing was read.
    fn before(row: &PlanRow) -> Self {
        let (at, seen) = (row.first_position, row.first_position.previous());
        let standing = Some(Standing::default());
        Self { at, seen, current: false, counts: Counts::default(), standing, turned: false }
    }

    /// Takes in what is missing up to `tail`; the readings of the whole log have come to `to`.
    async fn catch_up(
        &mut self,
        repository: &dyn EventRepository,
        plan: &PlanId,
        to: Position,
        tail: Position,
    ) -> Result<(), ReadError> {
        if self.current {
            self.seen = self.seen.max(to);
        }
        while self.seen < tail {
            let page = repository.list_by_plan(plan, EventTypes::All, self.seen, PAGE).await?;
            page.events.iter().for_each(|event| self.apply(event));
            let goes_on = !page.at_head && page.scanned_to > self.seen;
            self.seen = self.seen.max(if goes_on { page.scanned_to } else { tail });
        }
        self.current = self.seen >= to;
        Ok(())
    }

    fn apply(&mut self, event: &StoredEvent) {
        if event.position <= self.seen {
            return;
        }
        (self.at, self.seen) = (event.position, event.position);
        if !Turn::is_one(event.event.event_type()) {
            return;
        }
        let Some(standing) = &mut self.standing else {
            self.turned = true;
            return;
        };
        standing.apply(&Turn::of(event));
        self.counts = standing.counts();
        if standing.questions().len() > QUESTIONS_KEPT_MAX {
            self.standing = None;
        }
    }

    /// Takes over what the plan's fold says.
    fn take_over(&mut self, fold: &TaskFold) {
        let (standing, position) = (fold.standing(), fold.cursor().position);
        (self.at, self.seen) = (self.at.max(position), self.seen.max(position));
        self.counts = standing.counts();
        self.standing = (standing.questions().len() <= QUESTIONS_KEPT_MAX).then(|| standing.clone());
        self.turned = false;
    }
}

#[cfg(test)]
mod tests;
