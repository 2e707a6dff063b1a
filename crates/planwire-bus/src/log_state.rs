//! What the writer knows of the log's plans: enough to say of each event whether it may follow, and where.
//!
//! A bounded cache, refilled from the store. Changes of a commit are made here first and taken back if the store
//! does not take them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use planwire_event::lifecycle::{Fact, Known, Undo};
use planwire_event::vocabulary::SubplanSpawned;
use planwire_event::{
    Event, EventType, Filter, Lineage, PlanId, PlanLifecycle, PlanStatus, Producer, Refusal, Seq, StoredEvent,
};
use planwire_store::{
    EventRepository, LogWriter, PAGE_EVENTS_MAX, PageLimits, PlanQuery, PlanRow, PlanScope, StoreError,
};

use crate::log::wait;
#[cfg(feature = "planted")]
use crate::planted::{self, Bug};

#[derive(Debug)]
struct Cached {
    lifecycle: PlanLifecycle,
    /// The commit that used it last.
    used: u64,
}

/// The plans of a log as far as they decide what may follow.
#[derive(Debug)]
pub(crate) struct LogState {
    plans: HashMap<PlanId, Cached>,
    plans_max: usize,
    commit: u64,
    /// Children that were announced and have not started, with the parent that announced them. Its word counts only
    /// as long as it is open.
    announced: HashMap<PlanId, PlanId>,
    /// Open plans per tree, for trees that this process saw start.
    open_in_tree: HashMap<PlanId, u64>,
    undo: Vec<Step>,
}

/// One change, so that it can be taken back.
#[derive(Debug)]
enum Step {
    Applied(PlanId, Undo),
    Started(PlanId),
    /// A child, and who had announced it before.
    Announced(PlanId, Option<PlanId>),
    TreeCount(PlanId, Option<u64>),
    /// A plan of a tree that was adopted, and who owned it before.
    Adopted(PlanId, Option<Arc<str>>),
}

/// Where an event that may follow stands.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) seq: Seq,
    pub(crate) lineage: Lineage,
    pub(crate) status: PlanStatus,
    pub(crate) owner: Option<Arc<str>>,
    /// Whether the whole tree ended with it, if that is known.
    pub(crate) tree_ended: Option<bool>,
}

/// A place in the list of changes to go back to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark(usize);

impl LogState {
    /// Reads the open plans of a log, newest first, as many as the cache holds.
    pub(crate) fn load(repository: &dyn EventRepository, plans_max: usize) -> Result<Self, StoreError> {
        let mut state = Self {
            plans: HashMap::new(),
            plans_max,
            commit: 0,
            announced: HashMap::new(),
            open_in_tree: HashMap::new(),
            undo: Vec::new(),
        };
        let mut query = PlanQuery { open_only: true, ..PlanQuery::default() };
        while state.plans.len() < plans_max {
            let page = wait(repository.plans(&query))?;
            state.refill(repository, page.plans)?;
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        Ok(state)
    }

    /// Changes how many plans are kept.
    pub(crate) fn limit(&mut self, plans_max: usize) {
        self.plans_max = plans_max.max(1);
        self.settle();
    }

    /// Makes sure that all that the store knows of `plans` is in the cache. The writer's store is asked first: a plan that
    /// begins, or is announced, is asked for in each case.
    pub(crate) fn prefetch<'a>(
        &mut self,
        writer: &mut dyn LogWriter,
        repository: &dyn EventRepository,
        plans: impl Iterator<Item = &'a PlanId>,
    ) -> Result<(), StoreError> {
        self.commit += 1;
        // In the order of their ids, here and below: a run can be repeated read by read.
        let mut missing = BTreeSet::new();
        for plan in plans {
            // Whether the plan that announced it is still open decides where it may start.
            for needed in [Some(plan), self.announced.get(plan)].into_iter().flatten() {
                match self.plans.get_mut(needed) {
                    Some(cached) => cached.used = self.commit,
                    None => {
                        missing.insert(needed.clone());
                    }
                }
            }
        }
        let missing: Vec<_> = missing.into_iter().collect();
        for ids in missing.chunks(PAGE_EVENTS_MAX) {
            let rows = match writer.plans_named(ids) {
                Some(rows) => rows?,
                None => {
                    let query = PlanQuery { scope: PlanScope::These(ids.to_vec()), ..PlanQuery::default() };
                    wait(repository.plans(&query))?.plans
                }
            };
            self.refill(repository, rows)?;
        }
        Ok(())
    }

    /// Reads plans: from their rows if they have ended, else from their events, each tree once.
    fn refill(&mut self, repository: &dyn EventRepository, rows: Vec<PlanRow>) -> Result<(), StoreError> {
        let mut open_of_tree: BTreeMap<PlanId, Vec<PlanRow>> = BTreeMap::new();
        for row in rows {
            if row.status.is_open() {
                open_of_tree.entry(row.root_plan_id.clone()).or_default().push(row);
            } else {
                let (lineage, seq) = (lineage_of(&row), row.last_seq.unwrap_or_default());
                self.insert(PlanLifecycle::ended(row.plan_id, lineage, seq, row.status, row.owner));
            }
        }
        open_of_tree.into_iter().try_for_each(|(root, rows)| self.refill_tree(repository, root, rows))
    }

    /// Folds the events of open plans of one tree.
    fn refill_tree(
        &mut self,
        repository: &dyn EventRepository,
        root: PlanId,
        rows: Vec<PlanRow>,
    ) -> Result<(), StoreError> {
        let first = rows.iter().map(|row| row.first_position).min().unwrap_or_default();
        let filter = match &*rows {
            [row] => Filter::plan(row.plan_id.clone()),
            _ => Filter::tree(root),
        };
        let replay = |row: PlanRow| {
            let lineage = lineage_of(&row);
            (row.plan_id.clone(), PlanLifecycle::replay(row.plan_id, lineage, row.owner))
        };
        let mut lifecycles: HashMap<PlanId, PlanLifecycle> = rows.into_iter().map(replay).collect();
        let mut after = first.previous();
        #[cfg(feature = "planted")]
        if planted::has(Bug::ReplayedOneLate) {
            after = first;
        }
        loop {
            let page = wait(repository.read_after(after, &filter, PageLimits::default()))?;
            for event in &page.events {
                if let Some(lifecycle) = lifecycles.get_mut(event.plan_id()) {
                    lifecycle.apply(&stored_fact(event)?);
                }
            }
            after = page.scanned_to;
            if page.at_head {
                break;
            }
        }
        for lifecycle in lifecycles.into_values() {
            self.insert_open(lifecycle);
        }
        Ok(())
    }

    fn insert_open(&mut self, lifecycle: PlanLifecycle) {
        for child in lifecycle.announced_children().filter(|child| !self.plans.contains_key(child)) {
            self.announced.insert(child.clone(), lifecycle.plan_id().clone());
        }
        self.announced.remove(lifecycle.plan_id());
        self.insert(lifecycle);
    }

    fn insert(&mut self, lifecycle: PlanLifecycle) {
        self.plans.insert(lifecycle.plan_id().clone(), Cached { lifecycle, used: self.commit });
    }

    fn known(&self, plan: Option<&PlanId>) -> Known<'_> {
        match plan.and_then(|plan| self.plans.get(plan)) {
            Some(cached) => Known::Plan(&cached.lifecycle),
            None => Known::Unknown,
        }
    }

    /// Checks whether `event` may follow and, if so, takes it in.
    pub(crate) fn place(
        &mut self,
        event: &Event,
        fact: &Fact,
        producer: &Producer,
    ) -> Result<Placed, Refusal> {
        let plan = event.plan_id();
        match self.plans.get(plan) {
            Some(cached) => {
                cached.lifecycle.check(event.event_type(), fact, self.known(fact.named_plan()), producer)?
            }
            None => {
                let lifecycle = PlanLifecycle::start(plan, fact, self.known(fact.named_plan()), producer)?;
                self.check_announced(plan, lifecycle.lineage())?;
                self.count_start(lifecycle.lineage());
                if let Some(parent) = self.announced.remove(plan) {
                    self.undo.push(Step::Announced(plan.clone(), Some(parent)));
                }
                let placed = placed(&lifecycle, None);
                self.undo.push(Step::Started(plan.clone()));
                self.insert(lifecycle);
                return Ok(placed);
            }
        }
        if let Fact::Spawned(child) = fact {
            if self.announced_by(child).is_some() {
                let message = format!("subplan {child} has already been spawned by another plan");
                return Err(Refusal::LineageConflict { plan_id: plan.clone(), message });
            }
            let before = self.announced.insert(child.clone(), plan.clone());
            self.undo.push(Step::Announced(child.clone(), before));
        }
        self.apply(plan, fact)
    }

    /// The open plan that has announced `child`.
    fn announced_by(&self, child: &PlanId) -> Option<&PlanId> {
        let parent = self.announced.get(child)?;
        self.plans.get(parent).is_some_and(|cached| cached.lifecycle.status().is_open()).then_some(parent)
    }

    /// A plan that was announced starts below the plan that announced it, and nowhere else.
    fn check_announced(&self, plan: &PlanId, lineage: &Lineage) -> Result<(), Refusal> {
        match self.announced_by(plan) {
            Some(parent) if lineage.parent_plan_id.as_ref() != Some(parent) => {
                Err(Refusal::LineageConflict {
                    plan_id: plan.clone(),
                    message: format!("it was spawned by plan {parent}, which must be its parent"),
                })
            }
            _ => Ok(()),
        }
    }

    fn apply(&mut self, plan: &PlanId, fact: &Fact) -> Result<Placed, Refusal> {
        let Some(cached) = self.plans.get_mut(plan) else {
            return Err(Refusal::PlanNotStarted { plan_id: plan.clone() });
        };
        let undo = cached.lifecycle.apply(fact);
        self.undo.push(Step::Applied(plan.clone(), undo));
        let ended = !cached.lifecycle.status().is_open();
        let root = cached.lifecycle.lineage().root_plan_id.clone();
        let mut placed = placed(&cached.lifecycle, None);
        if let (Fact::Adopted { .. }, Some(owner)) = (fact, &placed.owner) {
            self.adopt_tree(plan, owner);
        }
        if ended {
            placed.tree_ended = self.count_end(&root);
        }
        Ok(placed)
    }

    /// All plans of a tree that are open have the owner of their root.
    fn adopt_tree(&mut self, root: &PlanId, owner: &Arc<str>) {
        let of_tree = self.plans.iter_mut().map(|(plan, cached)| (plan, &mut cached.lifecycle)).filter(
            |(plan, lifecycle)| {
                *plan != root && lifecycle.lineage().root_plan_id == *root && lifecycle.status().is_open()
            },
        );
        for (plan, lifecycle) in of_tree {
            let before = lifecycle.adopt(Some(Arc::clone(owner)));
            self.undo.push(Step::Adopted(plan.clone(), before));
        }
    }

    fn count_start(&mut self, lineage: &Lineage) {
        let root = &lineage.root_plan_id;
        let before = self.open_in_tree.get(root).copied();
        // A tree whose start this process has not seen stays uncounted: readers ask the store where it ends.
        let count = if lineage.parent_plan_id.is_none() { Some(1) } else { before.map(|open| open + 1) };
        if let Some(count) = count {
            self.undo.push(Step::TreeCount(root.clone(), before));
            self.open_in_tree.insert(root.clone(), count);
        }
    }

    fn count_end(&mut self, root: &PlanId) -> Option<bool> {
        let before = self.open_in_tree.get(root).copied()?;
        self.undo.push(Step::TreeCount(root.clone(), Some(before)));
        if before > 1 {
            self.open_in_tree.insert(root.clone(), before - 1);
        } else {
            self.open_in_tree.remove(root);
        }
        Some(before <= 1)
    }

    /// A place to go back to with [`LogState::revert`].
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.undo.len())
    }

    /// Takes everything since `mark` back.
    pub(crate) fn revert(&mut self, mark: Mark) {
        while self.undo.len() > mark.0 {
            match self.undo.pop() {
                Some(Step::Applied(plan, undo)) => {
                    if let Some(cached) = self.plans.get_mut(&plan) {
                        cached.lifecycle.revert(undo);
                    }
                }
                Some(Step::Adopted(plan, before)) => {
                    if let Some(cached) = self.plans.get_mut(&plan) {
                        cached.lifecycle.adopt(before);
                    }
                }
                Some(Step::Started(plan)) => {
                    self.plans.remove(&plan);
                }
                Some(Step::Announced(child, Some(parent))) => {
                    self.announced.insert(child, parent);
                }
                Some(Step::Announced(child, None)) => {
                    self.announced.remove(&child);
                }
                Some(Step::TreeCount(root, Some(count))) => {
                    self.open_in_tree.insert(root, count);
                }
                Some(Step::TreeCount(root, None)) => {
                    self.open_in_tree.remove(&root);
                }
                None => {}
            }
        }
    }

    /// Forgets how to take changes back, since they are stored; drops what was not used lately beyond the limit.
    pub(crate) fn settle(&mut self) {
        self.undo.clear();
        if self.plans.len() > self.plans_max {
            self.evict();
        }
        if self.open_in_tree.len() > self.plans_max {
            self.open_in_tree.clear();
        }
    }

    /// Drops the half of the cache that was used longest ago.
    fn evict(&mut self) {
        let mut used: Vec<u64> = self.plans.values().map(|cached| cached.used).collect();
        let middle = used.len() / 2;
        let (_, median, _) = used.select_nth_unstable(middle);
        let median = *median;
        // What an open plan announced counts though the plan itself leaves.
        let plans = &self.plans;
        let ended =
            |parent: &PlanId| plans.get(parent).is_some_and(|cached| !cached.lifecycle.status().is_open());
        self.announced.retain(|_, parent| !ended(parent));
        #[cfg(feature = "planted")]
        if planted::has(Bug::AnnouncementEvicted) {
            self.announced.clear();
        }
        self.plans.retain(|_, cached| cached.used > median);
    }

    /// Takes in an event that another process has written.
    pub(crate) fn absorb(&mut self, event: &StoredEvent) {
        #[cfg(feature = "planted")]
        if planted::has(Bug::StalePlan) {
            return;
        }
        // What it changes is read from the store when an event names the plan again.
        self.plans.remove(event.plan_id());
        if *event.event.event_type() == EventType::PlanAdopted {
            let root = event.plan_id();
            self.plans.retain(|_, cached| cached.lifecycle.lineage().root_plan_id != *root);
        }
        self.open_in_tree.remove(&event.root_plan_id);
        if let Some(parent) = &event.parent_plan_id {
            self.plans.remove(parent);
        }
        self.announced.remove(event.plan_id());
        if let Some(spawned) = event.event.read::<SubplanSpawned>() {
            self.announced.insert(spawned.child_plan_id, event.plan_id().clone());
        }
    }
}

fn lineage_of(row: &PlanRow) -> Lineage {
    Lineage {
        root_plan_id: row.root_plan_id.clone(),
        parent_plan_id: row.parent_plan_id.clone(),
        depth: row.depth,
        context_id: Arc::clone(&row.context_id),
    }
}

fn placed(lifecycle: &PlanLifecycle, tree_ended: Option<bool>) -> Placed {
    Placed {
        seq: lifecycle.seq(),
        lineage: lifecycle.lineage().clone(),
        status: lifecycle.status(),
        owner: lifecycle.owner().map(Arc::from),
        tree_ended,
    }
}

fn stored_fact(event: &StoredEvent) -> Result<Fact, StoreError> {
    Fact::of(event.event.event_type(), event.event.payload())
        .map_err(|error| StoreError::Damaged { position: event.position, message: error.to_string() })
}
