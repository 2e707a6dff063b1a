//! A thousand readers, each of another plan, beside a list that is scanned for each event.
//!
//! What readers cost is what the steps of a writer take with them less what the same steps take without; the writer
//! has no thread here, so that nothing else runs meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::FutureExt as _;
use planwire_bus::{Config, EventBus, Log, StartAt, Steps, Subscription};
use planwire_event::{Event, EventType, Filter, LogId, Payload, PlanId, Producer, SystemClock};
use planwire_store::MemoryStore;

use crate::blocks::{Side, alternate_in_memory};
use crate::numbers::per_second;
use crate::product::EventMaker;
use crate::rivals::linear_scan;
use crate::row::{Row, Target};
use crate::setting::Setting;

const SCAN: &str = "linear scan";
const READERS: usize = 1_000;

/// What readers cost is not told more exactly than this part of what a step takes without them.
const RESOLUTION: f64 = 0.01;

/// Each event wakes the one reader of its plan.
pub(crate) fn each_of_another(setting: &Setting) -> Result<Vec<Row>> {
    let (passes, maker) = (setting.amount(100, 10), EventMaker::system()?);
    let (mut alone, mut followed) = (Stepped::open(&maker)?, Stepped::open(&maker)?);
    let mut readers = followed.readers(setting)?;
    let side = Side::one(SCAN, || Ok(linear_scan::wake(&followed_plans(&maker), passes * READERS)));
    let run = alternate_in_memory(setting, &mut [side], || {
        let (mut without, mut with) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..passes {
            without += alone.pass(&maker)?;
            let before = followed.bus.counters().wakeups;
            with += followed.pass(&maker)?;
            let woken = followed.bus.counters().wakeups - before;
            ensure!(woken == READERS as u64, "{woken} readers were woken instead of {READERS}");
            readers.iter_mut().try_for_each(take_and_wait)?;
        }
        let cost = with.saturating_sub(without).max(without.mul_f64(RESOLUTION));
        Ok(vec![per_second(passes * READERS, cost)])
    })?;
    let note =
        "the writer's time with readers less its time without; each event wakes one reader, as counted";
    let row = Row::new("1,000 readers, each of another plan", "events/s", run.blocks(0, 0));
    Ok(vec![row.target(Target::Times(50.0)).note(note)])
}

fn followed_plans(maker: &EventMaker) -> Vec<PlanId> {
    (0..READERS).map(|_| maker.plan_id()).collect()
}

/// A bus in memory whose writer works when it is told to.
struct Stepped {
    bus: EventBus,
    steps: Steps,
    plans: Vec<PlanId>,
}

impl Stepped {
    /// With so many plans that have started.
    fn open(maker: &EventMaker) -> Result<Self> {
        let (writer, repository) = MemoryStore::open(LogId::from_random(1));
        let log = Log::open(writer, repository, Arc::new(SystemClock))?;
        let (bus, steps) = EventBus::open_stepped(log, Config::default())?;
        let mut stepped = Self { bus, steps, plans: followed_plans(maker) };
        let started: Result<Vec<Event>> = stepped.plans.iter().map(|plan| start(maker, plan)).collect();
        stepped.publish(started?)?;
        Ok(stepped)
    }

    /// A reader of each plan that waits.
    fn readers(&self, setting: &Setting) -> Result<Vec<Subscription>> {
        let open = |plan: &PlanId| -> Result<Subscription> {
            let events = self.bus.stream(Filter::plan(plan.clone()), StartAt::Now);
            let mut reader = setting.runtime.block_on(events)?;
            ensure!(reader.next_batch(1, usize::MAX).now_or_never().is_none(), "a new reader has nothing");
            Ok(reader)
        };
        self.plans.iter().map(open).collect()
    }

    /// One event of each plan; how long the writer worked.
    fn pass(&mut self, maker: &EventMaker) -> Result<Duration> {
        let events: Result<Vec<Event>> = self.plans.iter().map(|plan| maker.make(plan)).collect();
        self.publish(events?)
    }

    fn publish(&mut self, events: Vec<Event>) -> Result<Duration> {
        let publisher = self.bus.publisher(Producer::new("bench"));
        let receipt = publisher.submit(events).now_or_never().context("the bus is full")??;
        let begun = Instant::now();
        self.steps.step();
        let worked = begun.elapsed();
        receipt.now_or_never().context("the writer did not answer")??;
        Ok(worked)
    }
}

/// Takes the one event that came, and waits for the next.
fn take_and_wait(reader: &mut Subscription) -> Result<()> {
    let batch = reader.next_batch(READERS, usize::MAX).now_or_never().context("a reader was not woken")??;
    ensure!(batch.events.len() == 1, "a reader got {} events", batch.events.len());
    ensure!(reader.next_batch(1, usize::MAX).now_or_never().is_none(), "a reader got more than it follows");
    Ok(())
}

fn start(maker: &EventMaker, plan: &PlanId) -> Result<Event> {
    let (id, payload) = (maker.make(plan)?.event_id(), Payload::parse(r#"{"name":"bench"}"#)?);
    let clock: &dyn planwire_event::Clock = &SystemClock;
    Ok(Event::new(id, EventType::PlanStarted, plan.clone(), clock.now(), payload)?)
}
