//! What the log holds of what a tree has used.

use std::collections::{HashMap, HashSet};

use planwire_event::vocabulary::{LimitWarned, Reserved, ToolCalled, ToolCompleted, UsageSum};
use planwire_event::{EventType, PlanId, StoredEvent};

/// An open plan, as the log holds it.
#[derive(Debug)]
pub(crate) struct OpenPlan {
    pub(crate) plan_id: PlanId,
    pub(crate) parent: Option<PlanId>,
    /// What it and all below it have used.
    pub(crate) used: UsageSum,
    /// Limits that were warned of.
    pub(crate) warned: Vec<String>,
    /// Its open calls, and what they have set aside.
    pub(crate) calls: Vec<(String, Option<Reserved>)>,
}

/// The fold over what a tree has used.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    plans: HashMap<PlanId, Plan>,
    order: Vec<PlanId>,
}

#[derive(Debug, Default)]
struct Plan {
    parent: Option<PlanId>,
    used: UsageSum,
    warned: Vec<String>,
    calls: HashMap<String, Option<Reserved>>,
}

impl Spent {
    /// Takes in the next event of the tree.
    pub(crate) fn take(&mut self, stored: &StoredEvent) {
        let (event, plan) = (&stored.event, stored.plan_id());
        match event.event_type() {
            EventType::PlanStarted => self.enter(plan, stored.parent_plan_id.clone()),
            EventType::ToolCalled => {
                self.use_up(plan, &UsageSum::of_call());
                let called = event.read::<ToolCalled>();
                if let Some((called, plan)) = called.zip(self.plans.get_mut(plan)) {
                    plan.calls.insert(called.call_id, called.reserved);
                }
            }
            EventType::ToolCompleted => {
                let Some(ended) = event.read::<ToolCompleted>() else { return };
                if let Some(plan) = self.plans.get_mut(plan) {
                    plan.calls.remove(&ended.call_id);
                }
                if let Some(usage) = &ended.usage {
                    self.use_up(plan, &usage.into());
                }
            }
            EventType::LimitWarned => {
                let warned = event.read::<LimitWarned>();
                if let Some((warned, plan)) = warned.zip(self.plans.get_mut(plan)) {
                    plan.warned.push(warned.limit);
                }
            }
            _ => {}
        }
    }

    /// A plan is there, or announced.
    pub(crate) fn enter(&mut self, plan: &PlanId, parent: Option<PlanId>) {
        if !self.plans.contains_key(plan) {
            self.order.push(plan.clone());
            self.plans.insert(plan.clone(), Plan { parent, ..Plan::default() });
        }
    }

    /// What a plan and all below it have used.
    pub(crate) fn used(&self, plan: &PlanId) -> UsageSum {
        self.plans.get(plan).map(|plan| plan.used.clone()).unwrap_or_default()
    }

    /// What counts for a plan counts for those above it.
    fn use_up(&mut self, plan: &PlanId, used: &UsageSum) {
        let mut next = Some(plan.clone());
        while let Some(plan) = next.and_then(|plan| self.plans.get_mut(&plan)) {
            plan.used.add(used);
            next = plan.parent.clone();
        }
    }

    /// The plans that are open, parents first.
    pub(crate) fn open(mut self, is_open: &HashSet<PlanId>) -> Vec<OpenPlan> {
        let open = self.order.into_iter().filter(|plan| is_open.contains(plan));
        open.filter_map(|plan_id| {
            let Plan { parent, used, warned, calls } = self.plans.remove(&plan_id)?;
            Some(OpenPlan { plan_id, parent, used, warned, calls: calls.into_iter().collect() })
        })
        .collect()
    }
}
