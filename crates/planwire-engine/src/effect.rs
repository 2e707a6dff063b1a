//! The moment between an event that is durable and the effect that it announces.
//!
//! A test of crashes ends the process there, to show that the effect does not happen; nothing else uses it.

use std::fmt;
use std::sync::Arc;

use planwire_event::{Event, EventType, PlanId};

/// Which module published the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Module {
    /// `PlanStarted`: no step has begun.
    Executor,
    /// `DecisionMade`: nothing that follows from it has begun.
    DecisionEngine,
    /// `ToolCalled`: the tool does not run yet.
    ToolRunner,
    /// `SubplanSpawned`: the subplan has not started.
    SubplanSpawner,
}

/// An event that is durable and whose effect has not begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectPoint {
    /// Who published the event.
    pub module: Module,
    /// The plan that it is about.
    pub plan_id: PlanId,
}

impl EffectPoint {
    /// The point that belongs to an event, if the event announces an effect.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        let module = match event.event_type() {
            EventType::PlanStarted => Module::Executor,
            EventType::DecisionMade => Module::DecisionEngine,
            EventType::ToolCalled => Module::ToolRunner,
            EventType::SubplanSpawned => Module::SubplanSpawner,
            _ => return None,
        };
        Some(Self { module, plan_id: event.plan_id().clone() })
    }
}

/// Is called at each [`EffectPoint`], on the plan's own task.
#[derive(Clone)]
pub struct BeforeEffect(Arc<dyn Fn(&EffectPoint) + Send + Sync>);

impl BeforeEffect {
    /// Makes a hook of a function.
    pub fn new(call: impl Fn(&EffectPoint) + Send + Sync + 'static) -> Self {
        Self(Arc::new(call))
    }

    pub(crate) fn call(&self, point: &EffectPoint) {
        (self.0)(point);
    }
}

impl fmt::Debug for BeforeEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BeforeEffect")
    }
}
