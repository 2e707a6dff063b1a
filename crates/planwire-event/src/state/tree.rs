//! The fold over the events of a whole tree, for readers that show it live.

use std::collections::{HashMap, HashSet};

use serde::{Serialize, Serializer};

use super::{Detail, PlanState, TREE_ENDED_SUMMARIES_MAX, TREE_PLANS_MAX, TREE_SUMMARIES_MAX};
use crate::cursor::{Cursor, Position};
use crate::event::StoredEvent;
use crate::event_type::EventType;
use crate::ids::PlanId;
use crate::vocabulary::{ToolCompleted, UsageSum};

/// What all plans of a tree add up to; exact whatever else is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TreeTotals {
    /// Plans that have started.
    pub plans: u64,
    /// Plans that have started and not ended.
    pub open: u64,
    /// Plans that reached their goal.
    pub completed: u64,
    /// Plans that ended otherwise.
    pub failed: u64,
    /// Tool calls, each attempt counted.
    pub tool_calls: u64,
    /// Decisions.
    pub decisions: u64,
    /// Events of ArtifactProduced.
    pub artifacts: u64,
    /// Events of any type.
    pub events: u64,
    /// What all calls used.
    pub usage: UsageSum,
}

/// A tree of plans, as its events tell it, in position order: a summary of each plan (see [`Detail::Summary`]) and
/// the totals. At most [`TREE_PLANS_MAX`] plans are kept, [`TREE_SUMMARIES_MAX`] of them with their lists: plans that
/// run have precedence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TreeState {
    plans: Vec<PlanState>,
    places: HashMap<PlanId, usize>,
    children: HashMap<PlanId, Vec<usize>>,
    roots: Vec<usize>,
    /// Plans that keep their lists, and those of them that have ended.
    summaries: usize,
    ended_summaries: usize,
    totals: TreeTotals,
    last_cursor: Option<Cursor>,
}

impl TreeState {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the next event. Events up to `last_cursor` change nothing; which tree they belong to is the reader's
    /// affair, so a log of several trees is folded into several roots.
    pub fn apply(&mut self, stored: &StoredEvent) {
        if stored.position <= self.last_cursor.map_or(Position::ZERO, |cursor| cursor.position) {
            return;
        }
        self.last_cursor = Some(stored.cursor());
        self.count(stored.event.event_type());
        let used = used(stored);
        match self.places.get(stored.plan_id()) {
            Some(place) => self.update(*place, stored),
            None if self.plans.len() < TREE_PLANS_MAX => self.add(stored),
            None => {}
        }
        if let Some(used) = used {
            self.use_up(stored, &used);
        }
    }

    /// What a call used counts for all plans above it.
    fn use_up(&mut self, stored: &StoredEvent, used: &UsageSum) {
        self.totals.usage.add(used);
        let mut above = stored.parent_plan_id.clone();
        while let Some(place) = above.and_then(|above| self.places.get(&above)) {
            let plan = &mut self.plans[*place];
            plan.usage.add_below(used);
            above = plan.parent_plan_id.clone();
        }
    }

    fn update(&mut self, place: usize, stored: &StoredEvent) {
        let plan = &mut self.plans[place];
        let was_open = !plan.is_ended();
        plan.apply(stored);
        if !(was_open && plan.is_ended() && plan.detail() == Detail::Summary) {
            return;
        }
        if self.ended_summaries < TREE_ENDED_SUMMARIES_MAX {
            self.ended_summaries += 1;
        } else {
            plan.shrink();
            self.summaries -= 1;
        }
    }

    fn count(&mut self, event_type: &EventType) {
        let totals = &mut self.totals;
        totals.events += 1;
        match event_type {
            EventType::PlanStarted => {
                totals.plans += 1;
                totals.open += 1;
            }
            EventType::PlanCompleted => {
                totals.open = totals.open.saturating_sub(1);
                totals.completed += 1;
            }
            EventType::PlanFailed => {
                totals.open = totals.open.saturating_sub(1);
                totals.failed += 1;
            }
            EventType::ToolCalled => totals.tool_calls += 1,
            EventType::DecisionMade => totals.decisions += 1,
            EventType::ArtifactProduced => totals.artifacts += 1,
            _ => {}
        }
    }

    fn add(&mut self, stored: &StoredEvent) {
        let detail = if self.summaries < TREE_SUMMARIES_MAX { Detail::Summary } else { Detail::Header };
        let Some(plan) = PlanState::start_with(stored, detail).map(PlanState::watched) else { return };
        self.summaries += usize::from(detail == Detail::Summary);
        let place = self.plans.len();
        self.places.insert(plan.plan_id.clone(), place);
        match plan.parent_plan_id.as_ref().filter(|parent| self.places.contains_key(parent)) {
            Some(parent) => self.children.entry(parent.clone()).or_default().push(place),
            None => self.roots.push(place),
        }
        self.plans.push(plan);
    }

    /// A plan of the tree.
    #[must_use]
    pub fn plan(&self, plan: &PlanId) -> Option<&PlanState> {
        self.places.get(plan).map(|place| &self.plans[*place])
    }

    /// The plans in order of their start, parents before children.
    pub fn plans(&self) -> impl ExactSizeIterator<Item = &PlanState> {
        self.plans.iter()
    }

    /// Plans whose parent is not in the tree: the root, in most cases.
    pub fn roots(&self) -> impl ExactSizeIterator<Item = &PlanState> {
        self.roots.iter().map(|place| &self.plans[*place])
    }

    /// The subplans of `plan` in order of their start.
    pub fn children(&self, plan: &PlanId) -> impl ExactSizeIterator<Item = &PlanState> {
        self.children.get(plan).map_or(&[][..], Vec::as_slice).iter().map(|place| &self.plans[*place])
    }

    /// The plans as they are printed: each followed by what is below it.
    #[must_use]
    pub fn depth_first(&self) -> Vec<&PlanState> {
        let mut waiting: Vec<usize> = self.roots.iter().rev().copied().collect();
        let mut plans = Vec::with_capacity(self.plans.len());
        while let Some(place) = waiting.pop() {
            let plan = &self.plans[place];
            waiting.extend(self.children.get(&plan.plan_id).into_iter().flatten().rev());
            plans.push(plan);
        }
        plans
    }

    /// What all plans add up to, also those that are not kept.
    #[must_use]
    pub const fn totals(&self) -> &TreeTotals {
        &self.totals
    }

    /// Cursor of the last event: a stream from here goes on where this state ends.
    #[must_use]
    pub const fn last_cursor(&self) -> Option<Cursor> {
        self.last_cursor
    }

    /// Whether plans have started and all of them have ended.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.totals.plans > 0 && self.totals.open == 0
    }

    /// Open plans without an open subplan: what runs right now.
    #[must_use]
    pub fn open_leaves(&self) -> Vec<&PlanState> {
        let open = || self.plans.iter().filter(|plan| !plan.is_ended());
        let parents: HashSet<&PlanId> = open().filter_map(|plan| plan.parent_plan_id.as_ref()).collect();
        open().filter(|plan| !parents.contains(&plan.plan_id)).collect()
    }
}

/// What an event says was used.
fn used(stored: &StoredEvent) -> Option<UsageSum> {
    match stored.event.event_type() {
        EventType::ToolCalled => Some(UsageSum::of_call()),
        EventType::ToolCompleted => stored.event.read::<ToolCompleted>()?.usage.as_ref().map(UsageSum::from),
        _ => None,
    }
}

impl Serialize for TreeState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a> {
            totals: &'a TreeTotals,
            last_cursor: Option<Cursor>,
            plans: Vec<&'a PlanState>,
        }
        let plans = self.depth_first();
        Wire { totals: &self.totals, last_cursor: self.last_cursor, plans }.serialize(serializer)
    }
}
