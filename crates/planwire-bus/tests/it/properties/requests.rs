//! Makes events of what acts ask for, from what the list holds at that time.

use planwire_event::vocabulary::{
    Failure, FailureReason, Object, PlanCompleted, PlanFailed, SubplanCompleted, SubplanSpawned, ToolCalled,
    ToolCompleted, TypedPayload,
};
use planwire_event::{Event, EventType, Payload, PlanId, Timestamp};

use super::acts::What;
use super::expected::Expected;
use crate::kit::{id, start};

/// When everything happens.
const NOW: i64 = 1_795_000_000_000_000;

/// Bytes that make a ring full.
const PAD_BYTES: usize = 1_500;

/// What was published so far, and the next ids.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    published: Vec<Event>,
    ids: u128,
}

fn name(plan: u8) -> PlanId {
    id(&format!("p{plan}"))
}

impl Requests {
    pub(crate) fn make(&mut self, whats: &[What], expected: &Expected) -> Vec<Event> {
        // What a request does is known to its own later events.
        let mut known = expected.clone();
        let mut events: Vec<Event> = Vec::new();
        for what in whats {
            let Some(event) = self.event(what, &known, &events) else { continue };
            known.publish(std::slice::from_ref(&event));
            events.push(event);
        }
        self.published.extend(events.iter().cloned());
        events
    }

    fn event(&mut self, what: &What, known: &Expected, request: &[Event]) -> Option<Event> {
        let open = known.open_plans();
        let plan = |pick: &usize| Some(open[pick.checked_rem(open.len())?].clone());
        let event = match what {
            What::Start { plan } => self.typed(name(*plan), &start(None)),
            What::StartChild { plan: child, pick } => {
                self.typed(name(*child), &start(Some(plan(pick)?.as_str())))
            }
            What::StartAnnounced { pick } => {
                let announced = known.announced();
                let (child, parent) = &announced[pick.checked_rem(announced.len())?];
                self.typed(child.clone(), &start(Some(parent.as_str())))
            }
            What::Spawn { pick, child } => self.typed(plan(pick)?, &spawned(name(*child))),
            What::ChildEnded { pick, child } => self.typed(plan(pick)?, &child_ended(name(*child))),
            What::Call { pick, call } => self.typed(plan(pick)?, &called(*call)),
            What::CallEnded { pick, call } => self.typed(plan(pick)?, &call_ended(*call)),
            What::Tick { pick, kind, pad } => self.tick(plan(pick)?, *kind, *pad),
            What::End { pick, ok: true } => self.typed(plan(pick)?, &PlanCompleted::default()),
            What::End { pick, ok: false } => self.typed(plan(pick)?, &failed()),
            What::Stray { plan } => self.tick(name(*plan), 0, false),
            What::Repeat { pick, here } => self.before(*pick, *here, request)?.clone(),
            What::Conflict { pick, here } => {
                let first = self.before(*pick, *here, request)?.clone();
                let other = self.tick(first.plan_id().clone(), 2, false);
                let (event_type, payload) = (other.event_type().clone(), other.payload().clone());
                let plan = first.plan_id().clone();
                Event::new(first.event_id(), event_type, plan, now(), payload).unwrap()
            }
        };
        Some(event)
    }

    /// An event that was published before.
    fn before<'a>(&'a self, pick: usize, here: bool, request: &'a [Event]) -> Option<&'a Event> {
        let source = if here && !request.is_empty() { request } else { &self.published };
        Some(&source[pick.checked_rem(source.len())?])
    }

    fn tick(&mut self, plan: PlanId, kind: u8, pad: bool) -> Event {
        let event_type = format!("test.{}", ["a", "b", "c"][usize::from(kind)]).parse().unwrap();
        let pad = "x".repeat(if pad { PAD_BYTES } else { 0 });
        let payload = Payload::parse(&format!("{{\"n\":{},\"pad\":\"{pad}\"}}", self.ids)).unwrap();
        self.made(event_type, plan, payload)
    }

    fn typed<T: TypedPayload>(&mut self, plan: PlanId, payload: &T) -> Event {
        self.made(T::EVENT_TYPE, plan, Payload::of(payload).unwrap())
    }

    fn made(&mut self, event_type: EventType, plan: PlanId, payload: Payload) -> Event {
        self.ids += 1;
        Event::new(self.ids.into(), event_type, plan, now(), payload).unwrap()
    }
}

fn now() -> Timestamp {
    Timestamp::from_micros_clamped(NOW)
}

fn spawned(child_plan_id: PlanId) -> SubplanSpawned {
    SubplanSpawned {
        child_plan_id,
        name: "c".into(),
        inputs: Object::new(),
        step: "s".into(),
        item: None,
        document_digest: None,
    }
}

const fn child_ended(child_plan_id: PlanId) -> SubplanCompleted {
    SubplanCompleted {
        child_plan_id,
        ok: true,
        outputs: None,
        error: None,
        duration_ms: 0,
        limit: None,
        usage: None,
    }
}

fn called(call: u8) -> ToolCalled {
    let (call_id, step, tool) = (format!("c{call}"), "s".into(), "t".into());
    ToolCalled { call_id, step, tool, arguments: Object::new(), attempt: 1, reserved: None }
}

fn call_ended(call: u8) -> ToolCompleted {
    ToolCompleted {
        call_id: format!("c{call}"),
        step: "s".into(),
        tool: "t".into(),
        ok: true,
        output: None,
        error: None,
        truncated: false,
        duration_ms: 0,
        attempt: 1,
        usage: None,
    }
}

fn failed() -> PlanFailed {
    let error = Failure { code: "x".into(), message: "y".into(), step: None };
    PlanFailed { reason: FailureReason::Error, error, duration_ms: 1, limit: None, usage: None }
}
