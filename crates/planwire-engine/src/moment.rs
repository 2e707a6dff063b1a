//! The moments around a publish: before an event is sent to the log, and between its being durable and the effect
//! that it announces.
//!
//! A test of crashes ends the process there, to show what then holds; nothing else uses it.

use std::fmt;
use std::sync::Arc;

use planwire_event::{Event, EventType, PlanId};

/// Where in the publish of an event the engine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The event has not been sent to the log.
    Before,
    /// The event is durable, and nothing that it announces has begun.
    Durable,
}

/// A moment of one event of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Where its publish stands.
    pub stage: Stage,
    /// Its type.
    pub event_type: EventType,
    /// The plan that it is about.
    pub plan_id: PlanId,
}

impl Moment {
    /// Moments of events, at a stage that all of them have reached.
    pub(crate) fn all(stage: Stage, events: &[Event]) -> Vec<Self> {
        let moment = |event: &Event| {
            let (event_type, plan_id) = (event.event_type().clone(), event.plan_id().clone());
            Self { stage, event_type, plan_id }
        };
        events.iter().map(moment).collect()
    }
}

/// Is called at each [`Moment`], on the plan's own task; for events that are published together one after the other.
#[derive(Clone)]
pub struct AtMoment(Arc<dyn Fn(&Moment) + Send + Sync>);

impl AtMoment {
    /// Makes a hook of a function.
    pub fn new(call: impl Fn(&Moment) + Send + Sync + 'static) -> Self {
        Self(Arc::new(call))
    }

    pub(crate) fn call(&self, moments: &[Moment]) {
        moments.iter().for_each(|moment| (self.0)(moment));
    }
}

impl fmt::Debug for AtMoment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AtMoment")
    }
}
