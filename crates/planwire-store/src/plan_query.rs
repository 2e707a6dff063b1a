//! Which rows of `plans` a reader wants, and the page that he gets.

use std::sync::Arc;

use planwire_event::{PlanId, PlanStatus, Position};

use crate::contract::{PAGE_EVENTS_MAX, PlanRow};

/// Whose rows of `plans` a query wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PlanScope {
    /// Every plan.
    #[default]
    All,
    /// Plans without a parent.
    Roots,
    /// A plan and all below it.
    Tree(PlanId),
    /// All plans of a context: its trees, whole.
    Context(Arc<str>),
    /// These plans; at most [`PAGE_EVENTS_MAX`].
    These(Vec<PlanId>),
}

/// In which order a query answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlanOrder {
    /// By `first_position`, falling.
    #[default]
    NewestFirst,
    /// By `first_position`, rising: parents come before their children.
    OldestFirst,
    /// By `last_position`, falling; only plans that have ended.
    LastEndedFirst,
}

/// Which rows of `plans` a reader wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanQuery {
    /// Whose.
    pub scope: PlanScope,
    /// Only plans that have not ended.
    pub open_only: bool,
    /// Only plans of one of these statuses; empty: of any.
    pub statuses: Vec<PlanStatus>,
    /// Only plans that ended at this place or later.
    pub ended_from: Option<Position>,
    /// In which order.
    pub order: PlanOrder,
    /// Only plans whose place in that order, a `first_position` or a `last_position`, comes after this one.
    pub after: Option<Position>,
    /// Rows at most; clamped to 1 to [`PAGE_EVENTS_MAX`], 0 means [`PAGE_EVENTS_MAX`].
    pub limit: usize,
    /// Whether the rows of all pages are counted, which takes a look at each.
    pub count: bool,
}

impl PlanQuery {
    /// [`PlanQuery::limit`] as far as it is allowed.
    pub(crate) fn limit(&self) -> usize {
        if self.limit == 0 { PAGE_EVENTS_MAX } else { self.limit.min(PAGE_EVENTS_MAX) }
    }

    /// The place of a plan in the order; none if the order has no place for it.
    pub(crate) fn place(&self, plan: &PlanRow) -> Option<Position> {
        match self.order {
            PlanOrder::NewestFirst | PlanOrder::OldestFirst => Some(plan.first_position),
            PlanOrder::LastEndedFirst => plan.last_position,
        }
    }

    /// Whether a place is on this page or a later one.
    pub(crate) fn is_ahead(&self, place: Position) -> bool {
        self.after.is_none_or(|after| match self.order {
            PlanOrder::NewestFirst | PlanOrder::LastEndedFirst => place < after,
            PlanOrder::OldestFirst => place > after,
        })
    }

    /// Whether a plan of the scope is wanted, on whichever page.
    pub(crate) fn wants(&self, plan: &PlanRow) -> bool {
        self.place(plan).is_some()
            && (plan.status.is_open() || !self.open_only)
            && (self.statuses.is_empty() || self.statuses.contains(&plan.status))
            && self.ended_from.is_none_or(|from| plan.last_position.is_some_and(|last| last >= from))
    }

    /// Whether place and status of a plan's start are all that the query looks at.
    pub(crate) fn is_by_start(&self) -> bool {
        self.order != PlanOrder::LastEndedFirst
            && self.statuses.is_empty()
            && self.ended_from.is_none()
            && !self.count
    }
}

/// Rows of `plans`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanPage {
    /// What matched, in the order asked for.
    pub plans: Vec<PlanRow>,
    /// [`PlanQuery::after`] of the next page, if there is one.
    pub next: Option<Position>,
    /// Rows of all pages, if the query wants them counted.
    pub total: Option<u64>,
}

impl PlanPage {
    /// Makes a page of up to `limit + 1` rows; the one too many only says that there is a next page.
    pub(crate) fn cut(query: &PlanQuery, mut plans: Vec<PlanRow>, total: Option<u64>) -> Self {
        let limit = query.limit();
        let more = plans.len() > limit;
        plans.truncate(limit);
        let next = plans.last().filter(|_| more).and_then(|plan| query.place(plan));
        Self { plans, next, total }
    }

    /// Makes the page of all plans of the scope, in any order and each once.
    pub(crate) fn of<'a>(query: &PlanQuery, plans: impl Iterator<Item = &'a PlanRow>) -> Self {
        let mut wanted: Vec<_> = plans.filter(|plan| query.wants(plan)).collect();
        let total = query.count.then_some(wanted.len() as u64);
        wanted.retain(|plan| query.place(plan).is_some_and(|place| query.is_ahead(place)));
        wanted.sort_by_key(|plan| query.place(plan));
        if query.order != PlanOrder::OldestFirst {
            wanted.reverse();
        }
        Self::cut(query, wanted.into_iter().take(query.limit() + 1).cloned().collect(), total)
    }
}
