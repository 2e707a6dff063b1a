//! What one reader wants, followed along the log: which plans belong to its scope, and where the scope ends.

use std::collections::{BTreeSet, HashSet};

use planwire_event::{EventType, EventTypes, Filter, PlanId, Position, Scope};

#[cfg(feature = "planted")]
use crate::planted::{self, Bug};
use crate::recorded::Recorded;

/// The narrowest key under which a reader waits.
#[derive(Clone, Debug)]
pub(crate) enum WakeKey {
    /// Any event.
    All,
    /// Events of these types of one plan, and its end.
    Plan(PlanId, EventTypes),
    /// Events of these types of the tree below a root, and ends of its plans.
    Tree(PlanId, EventTypes),
    /// Events of these types of any plan.
    Types(BTreeSet<EventType>),
}

impl WakeKey {
    /// Whether an event that was found under this key is one to wake for.
    pub(crate) fn wakes(&self, event: &Recorded) -> bool {
        let event_type = event.event.event_type();
        match self {
            Self::All => true,
            #[cfg(feature = "planted")]
            Self::Plan(_, types) | Self::Tree(_, types) if planted::has(Bug::EndSleptThrough) => {
                types.contains(event_type)
            }
            Self::Plan(_, types) | Self::Tree(_, types) => {
                types.contains(event_type) || event_type.is_terminal()
            }
            Self::Types(types) => types.contains(event_type),
        }
    }
}

/// Whose events a reader wants, as far as they are known at its place in the log.
#[derive(Clone, Debug)]
enum Reach {
    All,
    Plan(PlanId),
    /// A whole tree: every event names its root.
    Root(PlanId),
    /// What lies below a plan that is no root: grows with each PlanStarted that has its parent in it.
    Subtree {
        root: PlanId,
        top: PlanId,
        members: HashSet<PlanId>,
    },
    /// The tree of a plan that has not started: its PlanStarted will tell whether it is a root.
    Unstarted(PlanId),
}

/// What an event means to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// Whether the reader gets it.
    pub(crate) wanted: bool,
    /// Whether the reader's scope may have ended with it.
    pub(crate) end: End,
}

/// Whether a scope ended with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    No,
    Yes,
    /// Only the store can tell.
    Ask,
}

/// One reader's filter, followed along the log.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    types: EventTypes,
    reach: Reach,
    /// Whether the plan at the top of the scope has ended at this place.
    top_ended: bool,
    /// Whether what the reader waits for has changed since it was asked.
    key_changed: bool,
}

impl Follower {
    /// A follower of a filter whose plan, if it names one, has not started.
    pub(crate) fn new(filter: &Filter) -> Self {
        let reach = match &filter.scope {
            Scope::All => Reach::All,
            Scope::Plan(plan) => Reach::Plan(plan.clone()),
            Scope::Tree(plan) => Reach::Unstarted(plan.clone()),
        };
        Self { types: filter.types.clone(), reach, top_ended: false, key_changed: false }
    }

    /// Tells the follower of a tree where its plan stands; `members` are the plans of the subtree so far.
    pub(crate) fn place(&mut self, top: &PlanId, root: &PlanId, members: HashSet<PlanId>) {
        self.reach = if top == root {
            Reach::Root(root.clone())
        } else {
            Reach::Subtree { root: root.clone(), top: top.clone(), members }
        };
        self.key_changed = true;
    }

    /// The filter with which the store is read: the reader's own and the types that it must not miss.
    pub(crate) fn store_filter(&self) -> Filter {
        let (scope, types) = match &self.reach {
            Reach::All => (Scope::All, self.types.clone()),
            Reach::Plan(plan) => (
                Scope::Plan(plan.clone()),
                self.types.with(&[EventType::PlanCompleted, EventType::PlanFailed]),
            ),
            Reach::Root(top) | Reach::Subtree { top, .. } | Reach::Unstarted(top) => {
                let needed = [EventType::PlanStarted, EventType::PlanCompleted, EventType::PlanFailed];
                (Scope::Tree(top.clone()), self.types.with(&needed))
            }
        };
        Filter { types, scope }
    }

    pub(crate) fn wake_key(&self) -> WakeKey {
        match (&self.reach, &self.types) {
            (Reach::All, EventTypes::All) => WakeKey::All,
            (Reach::All, EventTypes::Only(types)) => WakeKey::Types(types.clone()),
            (Reach::Plan(plan), types) => WakeKey::Plan(plan.clone(), types.clone()),
            (Reach::Root(root), types) => WakeKey::Tree(root.clone(), types.clone()),
            (Reach::Subtree { root, .. }, types) => {
                WakeKey::Tree(root.clone(), types.with(&[EventType::PlanStarted]))
            }
            (Reach::Unstarted(plan), types) => {
                WakeKey::Plan(plan.clone(), types.with(&[EventType::PlanStarted]))
            }
        }
    }

    /// Whether [`Follower::wake_key`] is another than when this was asked last.
    pub(crate) fn take_key_changed(&mut self) -> bool {
        std::mem::replace(&mut self.key_changed, false)
    }

    /// Takes the event at the next place of the log in.
    pub(crate) fn take_in(&mut self, event: &Recorded) -> Meaning {
        let event_type = event.event.event_type();
        if !self.reaches(event) {
            return Meaning { wanted: false, end: End::No };
        }
        let end = if event_type.is_terminal() { self.end_at(event) } else { End::No };
        Meaning { wanted: self.types.contains(event_type), end }
    }

    fn reaches(&mut self, event: &Recorded) -> bool {
        match &mut self.reach {
            Reach::All => true,
            Reach::Plan(plan) => event.plan_id() == plan,
            Reach::Root(root) => event.root_plan_id == *root,
            Reach::Subtree { root, members, .. } => {
                if event.root_plan_id != *root {
                    return false;
                }
                let below = event.parent_plan_id.as_ref().is_some_and(|parent| members.contains(parent));
                #[cfg(feature = "planted")]
                let below = below || planted::has(Bug::SubtreeLeaks);
                if below && *event.event.event_type() == EventType::PlanStarted {
                    members.insert(event.plan_id().clone());
                }
                below || members.contains(event.plan_id())
            }
            Reach::Unstarted(plan) => {
                if event.plan_id() != plan {
                    return false;
                }
                let (top, root) = (plan.clone(), event.root_plan_id.clone());
                self.place(&top, &root, HashSet::from([top.clone()]));
                true
            }
        }
    }

    fn end_at(&mut self, event: &Recorded) -> End {
        let top = match &self.reach {
            Reach::All | Reach::Unstarted(_) => return End::No,
            Reach::Plan(_) => return End::Yes,
            Reach::Root(root) => root,
            Reach::Subtree { top, .. } => top,
        };
        self.top_ended |= event.plan_id() == top;
        #[cfg(feature = "planted")]
        if planted::has(Bug::EndTooEarly) && self.top_ended {
            return End::Yes;
        }
        match (&self.reach, event.tree_ended()) {
            (_, Some(true)) => End::Yes,
            (Reach::Root(_), Some(false)) => End::No,
            _ if self.top_ended => End::Ask,
            _ => End::No,
        }
    }

    /// Tells that the top of the scope ended at or before the reader's start.
    pub(crate) fn skip_top_end(&mut self, ended_at: Option<Position>, start: Position) {
        self.top_ended = ended_at.is_some_and(|at| at <= start);
    }

    /// The plan whose scope this follows, if it follows one.
    pub(crate) const fn named_plan(&self) -> Option<&PlanId> {
        match &self.reach {
            Reach::All => None,
            Reach::Plan(plan) | Reach::Root(plan) | Reach::Unstarted(plan) => Some(plan),
            Reach::Subtree { top, .. } => Some(top),
        }
    }

    /// Whether the scope is a tree.
    pub(crate) const fn is_tree(&self) -> bool {
        !matches!(self.reach, Reach::All | Reach::Plan(_))
    }
}
