//! The model of a disk with a log on it: what readers see, and what a commit that failed may have left beside it.
//!
//! A commit whose end nobody heard of lies *latent*: it is in the page cache, no reader sees it, a process that opens
//! the log anew finds it, and a power cut takes it away. What is visible is never taken away.
//!
//! A tail is one commit and never several, since no store that keeps to `LogWriter` can have more: what was answered with
//! `Stored` is on disk, after `Unknown` nothing is written until the log is opened anew, and whoever opens it brings what
//! he finds to disk before he reads or writes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use planwire_event::{EventId, Filter, LogId, PlanId, Position, Scope, StoredEvent};
use planwire_store::{
    Appended, Batch, Head, Page, PageLimits, PlanChange, PlanOrder, PlanPage, PlanQuery, PlanRow, PlanScope,
    Row,
};

/// A log as one reader may find it.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) head: Head,
    pub(crate) rows: Vec<Row>,
    ids: HashMap<EventId, usize>,
    plans: BTreeMap<Position, PlanRow>,
    started: HashMap<PlanId, Position>,
}

/// Rows and plans that one read may look at, drawn for each read: a store may stop wherever it likes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) events: usize,
    pub(crate) rows: usize,
}

impl Content {
    fn empty(log_id: LogId) -> Self {
        Self {
            head: Head::empty(log_id),
            rows: Vec::new(),
            ids: HashMap::new(),
            plans: BTreeMap::new(),
            started: HashMap::new(),
        }
    }

    fn append(&mut self, expected: &Head, batch: &Batch) -> Appended {
        if self.head != *expected {
            return Appended::HeadMoved;
        }
        let mut seen = BTreeSet::new();
        let ids = batch.rows.iter().map(|row| row.event.event.event_id());
        let repeated: BTreeSet<_> = ids.filter(|id| self.ids.contains_key(id) || !seen.insert(*id)).collect();
        if !repeated.is_empty() {
            return Appended::Duplicate(repeated.into_iter().collect());
        }
        for row in &batch.rows {
            self.ids.insert(row.event.event.event_id(), self.rows.len());
            self.rows.push(row.clone());
        }
        batch.plans.iter().for_each(|change| self.change(change));
        self.head = batch.next.clone();
        Appended::Stored
    }

    fn change(&mut self, change: &PlanChange) {
        match change {
            PlanChange::Started(plan) => {
                self.started.insert(plan.plan_id.clone(), plan.first_position);
                self.plans.insert(plan.first_position, (**plan).clone());
            }
            PlanChange::Ended { plan_id, status, position, seq, ended_at, owner } => {
                let row = self.started.get(plan_id).and_then(|first| self.plans.get_mut(first));
                let Some(plan) = row else { return };
                plan.status = *status;
                (plan.last_position, plan.last_seq) = (Some(*position), Some(*seq));
                plan.ended_at = Some(*ended_at);
                plan.owner.clone_from(owner);
            }
            PlanChange::Adopted { root_plan_id, owner } => {
                let open = |plan: &&mut PlanRow| plan.root_plan_id == *root_plan_id && plan.status.is_open();
                self.plans.values_mut().filter(open).for_each(|plan| plan.owner = Some(Arc::clone(owner)));
            }
        }
    }

    pub(crate) fn plan(&self, plan: &PlanId) -> Option<&PlanRow> {
        self.plans.get(self.started.get(plan)?)
    }

    pub(crate) fn holds(&self, id: EventId) -> bool {
        self.ids.contains_key(&id)
    }

    pub(crate) fn by_ids(&self, ids: &[EventId]) -> Vec<Arc<StoredEvent>> {
        let found = ids.iter().filter_map(|id| self.ids.get(id));
        found.map(|at| Arc::clone(&self.rows[*at].event)).collect()
    }

    fn is_below(&self, plan: &PlanId, top: &PlanId) -> bool {
        let above = |plan: &PlanId| self.plan(plan)?.parent_plan_id.clone();
        std::iter::successors(Some(plan.clone()), above).any(|plan| plan == *top)
    }

    pub(crate) fn page(&self, after: Position, filter: &Filter, limits: PageLimits, most: Patience) -> Page {
        let mut page = Page { events: Vec::new(), scanned_to: after, at_head: true };
        let mut bytes = 0;
        let first = usize::try_from(after.get()).expect("positions are small here");
        for (looked, row) in self.rows.iter().skip(first).enumerate() {
            let full = page.events.len() >= limits.events.min(most.events) || bytes >= limits.bytes;
            if looked >= most.rows || (full && !page.events.is_empty()) {
                page.at_head = false;
                return page;
            }
            page.scanned_to = row.event.position;
            let in_scope = match &filter.scope {
                Scope::All => true,
                Scope::Plan(plan) => row.event.plan_id() == plan,
                Scope::Tree(top) => self.is_below(row.event.plan_id(), top),
            };
            if in_scope && filter.types.contains(row.event.event.event_type()) {
                bytes += row.event.event.payload().as_str().len();
                page.events.push(Arc::clone(&row.event));
            }
        }
        page
    }

    pub(crate) fn plan_page(&self, query: &PlanQuery, most: usize) -> PlanPage {
        let of_scope = |plan: &PlanRow| match &query.scope {
            PlanScope::All => true,
            PlanScope::Roots => plan.parent_plan_id.is_none(),
            PlanScope::Tree(top) => self.is_below(&plan.plan_id, top),
            PlanScope::Context(context) => plan.context_id == *context,
            PlanScope::These(plans) => plans.contains(&plan.plan_id),
        };
        let wanted = |plan: &&PlanRow| of_scope(plan) && (plan.status.is_open() || !query.open_only);
        let mut plans: Vec<PlanRow> = self.plans.values().filter(wanted).cloned().collect();
        if query.order == PlanOrder::NewestFirst {
            plans.reverse();
        }
        let newest_first = query.order == PlanOrder::NewestFirst;
        plans.retain(|plan| {
            query.after.is_none_or(|after| {
                (plan.first_position < after) == newest_first && plan.first_position != after
            })
        });
        let limit = if query.limit == 0 { most } else { query.limit.min(most) };
        let more = plans.len() > limit;
        plans.truncate(limit);
        PlanPage { next: plans.last().filter(|_| more).map(|plan| plan.first_position), plans, total: None }
    }
}

/// The disk.
#[derive(Debug)]
pub(crate) struct Disk {
    /// What every reader sees; it is on the platter.
    pub(crate) visible: Content,
    /// What a commit that failed has left in the page cache.
    latent: Option<Content>,
    /// Number of the writer that holds the head.
    pub(crate) held_by: Option<usize>,
}

/// How an append leaves the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lands {
    OnPlatter,
    InCache,
}

impl Disk {
    pub(crate) fn new(log_id: LogId) -> Self {
        Self { visible: Content::empty(log_id), latent: None, held_by: None }
    }

    pub(crate) fn append(&mut self, expected: &Head, batch: &Batch, lands: Lands) -> Appended {
        match lands {
            Lands::OnPlatter => self.visible.append(expected, batch),
            Lands::InCache => {
                let mut latent = self.visible.clone();
                let appended = latent.append(expected, batch);
                self.latent = Some(latent).filter(|_| appended == Appended::Stored);
                appended
            }
        }
    }

    /// Whether an event is anywhere: a process that opens the log may find it.
    pub(crate) fn may_hold(&self, id: EventId) -> bool {
        self.visible.holds(id) || self.latent.as_ref().is_some_and(|latent| latent.holds(id))
    }

    /// A process opens the log: what it finds, it puts on the platter before the first read.
    pub(crate) fn open(&mut self) {
        self.held_by = None;
        if let Some(latent) = self.latent.take() {
            self.visible = latent;
        }
    }

    /// The power is cut; true if something was lost.
    pub(crate) fn cut_power(&mut self) -> bool {
        self.held_by = None;
        self.latent.take().is_some()
    }
}
