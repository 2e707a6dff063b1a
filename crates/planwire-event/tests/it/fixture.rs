//! A log in memory that applies the lifecycle as a writer does, and nothing else.

use std::collections::HashMap;

use planwire_event::lifecycle::{Fact, Known};
use planwire_event::{
    Event, EventId, EventType, LogId, Meta, Payload, PlanId, PlanLifecycle, Position, Producer, Refusal, Seq,
    StoredEvent, Timestamp,
};
use serde_json::Value;

/// Milliseconds between the timestamps of two events.
pub(crate) const STEP_MS: u64 = 250;

pub(crate) fn plan(name: &str) -> PlanId {
    name.parse().unwrap()
}

/// A log that keeps what it accepted.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) plans: HashMap<PlanId, PlanLifecycle>,
    pub(crate) events: Vec<StoredEvent>,
}

impl Log {
    /// Publishes as somebody who owns nothing; panics if the event is refused.
    pub(crate) fn put(&mut self, plan: &str, event_type: &str, payload: Value) -> &StoredEvent {
        self.publish("http:me", plan, event_type, payload).expect("the event may follow");
        self.events.last().unwrap()
    }

    pub(crate) fn publish(
        &mut self,
        producer: &str,
        plan_id: &str,
        event_type: &str,
        payload: Value,
    ) -> Result<(), Refusal> {
        let event_type: EventType = event_type.parse().unwrap();
        let payload = Payload::of(&payload).unwrap();
        let fact = Fact::of(&event_type, &payload).expect("the payload fits its type");
        self.take(&Producer::new(producer), &plan(plan_id), event_type, payload, &fact)
    }

    fn take(
        &mut self,
        producer: &Producer,
        plan_id: &PlanId,
        event_type: EventType,
        payload: Payload,
        fact: &Fact,
    ) -> Result<(), Refusal> {
        let named = fact.named_plan().and_then(|named| self.plans.get(named));
        let named = named.map_or(Known::Unknown, Known::Plan);
        match self.plans.get(plan_id) {
            None => {
                let started = PlanLifecycle::start(plan_id, fact, named, producer)?;
                self.plans.insert(plan_id.clone(), started);
            }
            Some(open) => {
                open.check(&event_type, fact, named, producer)?;
                self.plans.get_mut(plan_id).unwrap().apply(fact);
            }
        }
        let position = self.events.len() as u64 + 1;
        let lifecycle = &self.plans[plan_id];
        self.events.push(stored(position, lifecycle, event_type, payload, producer));
        Ok(())
    }

    /// The events of one plan.
    pub(crate) fn of(&self, plan_id: &str) -> impl Iterator<Item = &StoredEvent> {
        let plan_id = plan(plan_id);
        self.events.iter().filter(move |event| *event.plan_id() == plan_id)
    }
}

fn stored(
    position: u64,
    plan: &PlanLifecycle,
    event_type: EventType,
    payload: Payload,
    producer: &Producer,
) -> StoredEvent {
    let at = Timestamp::from_micros_clamped(i64::try_from(position * STEP_MS * 1000).unwrap());
    let lineage = plan.lineage();
    let event_id = EventId::from(u128::from(position));
    StoredEvent {
        event: Event::new(event_id, event_type, plan.plan_id().clone(), at, payload).unwrap(),
        log_id: LogId::from_random(7),
        position: Position::new(position),
        seq: plan.seq(),
        root_plan_id: lineage.root_plan_id.clone(),
        parent_plan_id: lineage.parent_plan_id.clone(),
        depth: lineage.depth,
        recorded_at: at,
        meta: Meta { producer: producer.clone(), traceparent: None, redacted: vec![] },
    }
}

/// An event whose payload was removed, as retention leaves it.
pub(crate) fn without_payload(event: &StoredEvent) -> StoredEvent {
    let old = &event.event;
    let event_type = old.event_type().clone();
    let payload = Payload::from_normal("{}");
    let bare =
        Event::from_stored(old.event_id(), event_type, old.plan_id().clone(), old.timestamp(), payload, None);
    StoredEvent { event: bare, ..event.clone() }
}

/// An event as a log may hold it from a time when more was allowed.
pub(crate) fn with_payload(event: &StoredEvent, payload: &Value) -> StoredEvent {
    let old = &event.event;
    let (event_type, payload) = (old.event_type().clone(), Payload::of(payload).unwrap());
    let event_id = old.event_id();
    let event_then =
        Event::new(event_id, event_type, old.plan_id().clone(), old.timestamp(), payload).unwrap();
    StoredEvent { event: event_then, ..event.clone() }
}

/// The same event at another place of its plan.
pub(crate) fn at_seq(event: &StoredEvent, seq: u64) -> StoredEvent {
    StoredEvent { seq: Seq::new(seq), position: Position::new(1000 + seq), ..event.clone() }
}
