//! The judge's own bookkeeping of plans: what may follow what, and where each event stands. It shares no code with the
//! writer.

use std::collections::{BTreeMap, BTreeSet};

use planwire_event::vocabulary::{PlanStarted, SubplanCompleted, SubplanSpawned, ToolCalled, ToolCompleted};
use planwire_event::{Event, EventId, EventType, Filter, PlanId, Position, Scope};

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) root: PlanId,
    pub(crate) parent: Option<PlanId>,
    pub(crate) depth: u32,
    pub(crate) seq: u64,
    pub(crate) first: Position,
    pub(crate) last: Option<Position>,
    calls: BTreeSet<String>,
    /// Announced children, and whether their end was reported.
    children: BTreeMap<PlanId, bool>,
}

/// Whether an event may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follows {
    Yes,
    No(&'static str),
    /// Its id says something else already.
    Conflict,
}

/// Plans as the events so far have them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) plans: BTreeMap<PlanId, Plan>,
    ids: BTreeMap<EventId, Event>,
    /// Children that were announced and have not started, with who announced them.
    pub(crate) announced: BTreeMap<PlanId, PlanId>,
}

impl Model {
    /// The event that is stored under an id.
    pub(crate) fn held(&self, id: EventId) -> Option<&Event> {
        self.ids.get(&id)
    }

    fn is_open(&self, plan: &PlanId) -> bool {
        self.plans.get(plan).is_some_and(|plan| plan.last.is_none())
    }

    pub(crate) fn follows(&self, event: &Event) -> Follows {
        let plan_id = event.plan_id();
        if let Some(started) = event.read::<PlanStarted>() {
            return self.start_follows(plan_id, started.parent_plan_id.as_ref());
        }
        let Some(plan) = self.plans.get(plan_id) else { return Follows::No("the plan has not started") };
        if plan.last.is_some() {
            return Follows::No("the plan has ended");
        }
        if let Some(called) = event.read::<ToolCalled>() {
            return no_if(plan.calls.contains(&called.call_id), "the call is open");
        }
        if let Some(completed) = event.read::<ToolCompleted>() {
            return no_if(!plan.calls.contains(&completed.call_id), "the call is not open");
        }
        if let Some(spawned) = event.read::<SubplanSpawned>() {
            let child = &spawned.child_plan_id;
            if self.plans.contains_key(child) || plan.children.contains_key(child) || child == plan_id {
                return Follows::No("the child is there already");
            }
            let open = self.announced.get(child).is_some_and(|by| self.is_open(by));
            return no_if(open, "another plan announced the child");
        }
        if let Some(ended) = event.read::<SubplanCompleted>() {
            let child = &ended.child_plan_id;
            if plan.children.get(child) != Some(&false) {
                return Follows::No("the child was not announced, or its end was reported");
            }
            let Some(child) = self.plans.get(child) else { return Follows::No("the child has not started") };
            let other = child.parent.as_ref() != Some(plan_id);
            return no_if(other || child.last.is_none(), "the child has not ended");
        }
        Follows::Yes
    }

    fn start_follows(&self, plan_id: &PlanId, parent: Option<&PlanId>) -> Follows {
        if self.plans.contains_key(plan_id) {
            return Follows::No("the plan has started");
        }
        if let Some(parent) = parent {
            let Some(above) = self.plans.get(parent) else { return Follows::No("the parent is unknown") };
            if above.last.is_some() {
                return Follows::No("the parent has ended");
            }
            if !above.children.contains_key(plan_id) {
                return Follows::No("the parent has not announced it");
            }
        }
        match self.announced.get(plan_id) {
            Some(by) if Some(by) != parent && self.is_open(by) => Follows::No("another plan announced it"),
            _ => Follows::Yes,
        }
    }

    /// Takes in an event that follows.
    pub(crate) fn take(&mut self, event: &Event, position: Position) {
        self.ids.insert(event.event_id(), event.clone());
        let plan_id = event.plan_id();
        if let Some(started) = event.read::<PlanStarted>() {
            self.announced.remove(plan_id);
            let above = started.parent_plan_id.as_ref().and_then(|parent| self.plans.get(parent));
            let plan = Plan {
                root: above.map_or_else(|| plan_id.clone(), |above| above.root.clone()),
                depth: above.map_or(0, |above| above.depth + 1),
                parent: started.parent_plan_id,
                seq: 1,
                first: position,
                last: None,
                calls: BTreeSet::new(),
                children: BTreeMap::new(),
            };
            self.plans.insert(plan_id.clone(), plan);
            return;
        }
        let Some(plan) = self.plans.get_mut(plan_id) else { return };
        plan.seq += 1;
        if event.event_type().is_terminal() {
            plan.last = Some(position);
        }
        if let Some(called) = event.read::<ToolCalled>() {
            plan.calls.insert(called.call_id);
        } else if let Some(completed) = event.read::<ToolCompleted>() {
            plan.calls.remove(&completed.call_id);
        } else if let Some(spawned) = event.read::<SubplanSpawned>() {
            plan.children.insert(spawned.child_plan_id.clone(), false);
            self.announced.insert(spawned.child_plan_id, plan_id.clone());
        } else if let Some(ended) = event.read::<SubplanCompleted>() {
            plan.children.insert(ended.child_plan_id, true);
        }
    }

    fn is_below(&self, plan: &PlanId, top: &PlanId) -> bool {
        let above = |plan: &PlanId| self.plans.get(plan)?.parent.clone();
        std::iter::successors(Some(plan.clone()), above).any(|plan| plan == *top)
    }

    /// Whether a filter wants an event, by the plain definition.
    pub(crate) fn wants(&self, filter: &Filter, event: &Event) -> bool {
        let of_type = match &filter.types {
            planwire_event::EventTypes::All => true,
            planwire_event::EventTypes::Only(types) => {
                types.iter().any(|one: &EventType| one.as_str() == event.event_type().as_str())
            }
        };
        of_type
            && match &filter.scope {
                Scope::All => true,
                Scope::Plan(plan) => plan.as_str() == event.plan_id().as_str(),
                Scope::Tree(top) => self.is_below(event.plan_id(), top),
            }
    }

    /// Where the scope of a filter has ended, if it has.
    pub(crate) fn end_of(&self, filter: &Filter) -> Option<Position> {
        match &filter.scope {
            Scope::All => None,
            Scope::Plan(plan) => self.plans.get(plan)?.last,
            Scope::Tree(top) => {
                self.plans.get(top)?.last?;
                let below = self.plans.iter().filter(|(plan, _)| self.is_below(plan, top));
                below.map(|(_, plan)| plan.last).try_fold(Position::ZERO, |end, last| Some(end.max(last?)))
            }
        }
    }
}

const fn no_if(refused: bool, why: &'static str) -> Follows {
    if refused { Follows::No(why) } else { Follows::Yes }
}
