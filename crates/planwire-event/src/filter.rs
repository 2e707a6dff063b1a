//! Which events a reader wants.

use std::collections::BTreeSet;

use crate::event_type::EventType;
use crate::ids::PlanId;

/// Which event types a reader wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum EventTypes {
    /// All of them.
    #[default]
    All,
    /// These; an empty set matches nothing.
    Only(BTreeSet<EventType>),
}

impl EventTypes {
    /// Whether an event of `event_type` is wanted.
    #[must_use]
    pub fn contains(&self, event_type: &EventType) -> bool {
        match self {
            Self::All => true,
            Self::Only(types) => types.contains(event_type),
        }
    }

    /// The same types and `more`.
    #[must_use]
    pub fn with(&self, more: &[EventType]) -> Self {
        match self {
            Self::All => Self::All,
            Self::Only(types) => Self::Only(types.iter().chain(more).cloned().collect()),
        }
    }
}

impl FromIterator<EventType> for EventTypes {
    fn from_iter<I: IntoIterator<Item = EventType>>(types: I) -> Self {
        Self::Only(types.into_iter().collect())
    }
}

/// Whose events a reader wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Those of every plan.
    #[default]
    All,
    /// Those of one plan.
    Plan(PlanId),
    /// Those of a plan and of all below it, also of subplans that start later.
    Tree(PlanId),
}

/// Which events a reader wants: by type and by plan.
///
/// ```
/// use planwire_event::{EventType, Filter};
/// let filter = Filter::plan("p1".parse().unwrap()).with_types([EventType::ToolCalled]);
/// assert!(filter.types.contains(&EventType::ToolCalled));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Which types.
    pub types: EventTypes,
    /// Whose events.
    pub scope: Scope,
}

impl Filter {
    /// Every event of the log.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// The events of one plan.
    #[must_use]
    pub const fn plan(plan: PlanId) -> Self {
        Self { types: EventTypes::All, scope: Scope::Plan(plan) }
    }

    /// The events of a plan and of all below it.
    #[must_use]
    pub const fn tree(plan: PlanId) -> Self {
        Self { types: EventTypes::All, scope: Scope::Tree(plan) }
    }

    /// Of these, only events of `types`.
    #[must_use]
    pub fn with_types(mut self, types: impl IntoIterator<Item = EventType>) -> Self {
        self.types = types.into_iter().collect();
        self
    }

    /// The plan that the filter names, if it names one.
    #[must_use]
    pub const fn named_plan(&self) -> Option<&PlanId> {
        match &self.scope {
            Scope::All => None,
            Scope::Plan(plan) | Scope::Tree(plan) => Some(plan),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_matched_by_name() {
        let only: EventTypes = [EventType::ToolCalled].into_iter().collect();
        assert!(only.contains(&EventType::ToolCalled));
        assert!(!only.contains(&"a.b".parse().unwrap()));
        assert!(only.with(&[EventType::PlanFailed]).contains(&EventType::PlanFailed));
        assert_eq!(EventTypes::All.with(&[EventType::PlanFailed]), EventTypes::All);
        assert!(!EventTypes::from_iter([]).contains(&EventType::ToolCalled));
    }

    #[test]
    fn scopes_name_their_plan() {
        let plan: PlanId = "p".parse().unwrap();
        assert_eq!(Filter::all().named_plan(), None);
        assert_eq!(Filter::plan(plan.clone()).named_plan(), Some(&plan));
        assert_eq!(Filter::tree(plan.clone()).named_plan(), Some(&plan));
    }
}
