//! What publishers publish: trees of plans as they might grow, with repetitions and with events that may not follow.

use planwire_event::vocabulary::{Failure, FailureReason, Object, PlanFailed, ToolCalled, ToolCompleted};
use planwire_event::vocabulary::{PlanCompleted, SubplanCompleted, SubplanSpawned, TypedPayload};
use planwire_event::{Event, EventType, Filter, Payload, PlanId, Timestamp};

use super::model::Model;
use super::random::Random;

const TYPES: [&str; 3] = ["test.a", "test.b", "test.c"];
const PLANS_MAX: usize = 24;
const PAD_BYTES_MAX: usize = 600;

/// A plan as the script believes it to be; what became of its events is for the judge to know.
#[derive(Debug)]
struct Growing {
    id: PlanId,
    parent: Option<usize>,
    calls: Vec<String>,
    ended: bool,
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Script {
    plans: Vec<Growing>,
    published: Vec<Event>,
    ids: u128,
    numbers: u64,
}

impl Script {
    pub(crate) fn new(random: &mut Random) -> Self {
        let ids = (random.below(1 << 30) as u128) << 60;
        Self { plans: Vec::new(), published: Vec::new(), ids, numbers: 0 }
    }

    /// The events of one request, in an order in which most of them may follow.
    pub(crate) fn request(&mut self, random: &mut Random, now: Timestamp, model: &Model) -> Vec<Event> {
        let mut events = Vec::new();
        // Mostly of plans that are open on the disk, since much is refused that belongs to others.
        let known = random.percent(85);
        let open = |plan: &Growing| {
            !plan.ended && (!known || model.plans.get(&plan.id).is_some_and(|plan| plan.last.is_none()))
        };
        let open: Vec<usize> = (0..self.plans.len()).filter(|at| open(&self.plans[*at])).collect();
        for _ in 0..=*random.of(&[0, 0, 0, 1, 3]) {
            self.draw(random, now, &open, &mut events);
        }
        self.published.extend(events.iter().cloned());
        events
    }

    fn draw(&mut self, random: &mut Random, now: Timestamp, open: &[usize], events: &mut Vec<Event>) {
        let room = self.plans.len() < PLANS_MAX;
        if open.is_empty() || room && random.percent(6) {
            let root = self.grow(None);
            return events.push(self.event(now, self.plans[root].id.clone(), &crate::kit::start(None)));
        }
        let at = *random.of(open);
        match random.below(100) {
            0..15 if room => self.spawn(random, now, at, events),
            0..25 => self.call(random, now, at, events),
            25..38 => self.end(random, now, at, events),
            38..44 => self.wrong(random, now, events),
            44..53 => self.repeat(random, now, events),
            _ => {
                let event = self.tick(random, now, self.plans[at].id.clone());
                events.push(event);
            }
        }
    }

    fn grow(&mut self, parent: Option<usize>) -> usize {
        let id = crate::kit::id(&format!("p{}", self.plans.len()));
        self.plans.push(Growing { id, parent, calls: Vec::new(), ended: false });
        self.plans.len() - 1
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn event<T: TypedPayload>(&mut self, now: Timestamp, plan: PlanId, payload: &T) -> Event {
        let payload = Payload::of(payload).expect("the payloads here are small");
        self.made(now, T::EVENT_TYPE, plan, payload)
    }

    fn made(&mut self, now: Timestamp, event_type: EventType, plan: PlanId, payload: Payload) -> Event {
        self.ids += 1;
        Event::new(self.ids.into(), event_type, plan, now, payload).expect("the payload is of its type")
    }

    fn tick(&mut self, random: &mut Random, now: Timestamp, plan: PlanId) -> Event {
        let pad = "x".repeat(if random.percent(70) { 0 } else { random.below(PAD_BYTES_MAX) });
        let text = format!("{{\"n\":{},\"pad\":\"{pad}\"}}", self.number());
        let event_type = random.of(&TYPES).parse().expect("it is a type");
        self.made(now, event_type, plan, Payload::parse(&text).expect("it is JSON"))
    }

    /// A child is announced and starts, mostly at once.
    fn spawn(&mut self, random: &mut Random, now: Timestamp, at: usize, events: &mut Vec<Event>) {
        let child = self.grow(Some(at));
        let (parent, child_id) = (self.plans[at].id.clone(), self.plans[child].id.clone());
        let spawned = SubplanSpawned {
            child_plan_id: child_id.clone(),
            name: "c".into(),
            inputs: Object::new(),
            step: "s".into(),
            item: None,
            document_digest: None,
        };
        events.push(self.event(now, parent.clone(), &spawned));
        if random.percent(85) {
            events.push(self.event(now, child_id, &crate::kit::start(Some(parent.as_str()))));
        }
    }

    fn call(&mut self, random: &mut Random, now: Timestamp, at: usize, events: &mut Vec<Event>) {
        let plan = self.plans[at].id.clone();
        if random.percent(50) || self.plans[at].calls.is_empty() {
            let call_id = format!("k{}", self.number());
            self.plans[at].calls.push(call_id.clone());
            let (step, tool) = ("s".into(), "t".into());
            let called =
                ToolCalled { call_id, step, tool, arguments: Object::new(), attempt: 1, reserved: None };
            return events.push(self.event(now, plan, &called));
        }
        let call_id = self.plans[at].calls.pop().unwrap_or_default();
        events.push(self.call_ended(now, plan, call_id));
    }

    fn call_ended(&mut self, now: Timestamp, plan: PlanId, call_id: String) -> Event {
        let completed = ToolCompleted {
            call_id,
            step: "s".into(),
            tool: "t".into(),
            ok: true,
            output: None,
            error: None,
            truncated: false,
            duration_ms: 0,
            attempt: 1,
            usage: None,
        };
        self.event(now, plan, &completed)
    }

    /// A plan ends, and its parent may say so.
    fn end(&mut self, random: &mut Random, now: Timestamp, at: usize, events: &mut Vec<Event>) {
        let plan = self.plans[at].id.clone();
        self.plans[at].ended = true;
        if random.percent(70) {
            events.push(self.event(now, plan.clone(), &PlanCompleted::default()));
        } else {
            let error = Failure { code: "x".into(), message: "y".into(), step: None };
            let failed =
                PlanFailed { reason: FailureReason::Error, error, duration_ms: 1, limit: None, usage: None };
            events.push(self.event(now, plan.clone(), &failed));
        }
        if let Some(parent) = self.plans[at].parent.filter(|_| random.percent(60)) {
            let parent = self.plans[parent].id.clone();
            events.push(self.child_ended(now, parent, plan));
        }
    }

    fn child_ended(&mut self, now: Timestamp, parent: PlanId, child_plan_id: PlanId) -> Event {
        let ended = SubplanCompleted {
            child_plan_id,
            ok: true,
            outputs: None,
            error: None,
            duration_ms: 0,
            limit: None,
            usage: None,
        };
        self.event(now, parent, &ended)
    }

    /// An event that may not follow, if the script is right about what happened.
    fn wrong(&mut self, random: &mut Random, now: Timestamp, events: &mut Vec<Event>) {
        let any = self.plans[random.below(self.plans.len())].id.clone();
        let other = self.plans[random.below(self.plans.len())].id.clone();
        let event = match random.below(5) {
            0 => self.tick(random, now, crate::kit::id("nobody")),
            1 => self.event(now, any, &crate::kit::start(None)),
            2 => self.call_ended(now, any, "unknown".into()),
            3 => self.child_ended(now, any, other),
            _ => self.tick(random, now, any),
        };
        events.push(event);
    }

    /// What was published before, under the same id: the same, or something else.
    fn repeat(&mut self, random: &mut Random, now: Timestamp, events: &mut Vec<Event>) {
        // A third of them within their own request.
        let source = if random.percent(33) && !events.is_empty() { &*events } else { &self.published };
        let Some(first) = source.len().checked_sub(1).map(|last| &source[random.below(last + 1)]) else {
            return;
        };
        let first = first.clone();
        if random.percent(75) {
            return events.push(first);
        }
        let other = self.tick(random, now, first.plan_id().clone());
        let (event_type, payload) = (other.event_type().clone(), other.payload().clone());
        let plan = other.plan_id().clone();
        events.push(Event::new(first.event_id(), event_type, plan, now, payload).expect("it is an event"));
    }

    /// A filter that a reader may have.
    pub(crate) fn filter(&self, random: &mut Random) -> Filter {
        let plan = match self.plans.len() {
            0 => return Filter::all(),
            plans => self.plans[random.below(plans)].id.clone(),
        };
        let filter = match random.below(10) {
            0..3 => Filter::all(),
            3..5 => Filter::plan(plan),
            _ => Filter::tree(plan),
        };
        if random.percent(60) {
            return filter;
        }
        let custom = TYPES.iter().map(|name| name.parse().expect("it is a type"));
        let ours = [EventType::PlanStarted, EventType::ToolCalled, EventType::PlanCompleted];
        filter.with_types(custom.chain(ours).filter(|_| random.percent(30)).collect::<Vec<_>>())
    }
}
