//! One run: a process over a modelled disk that lives several times, with its publishers and readers, until everything
//! is healed and everybody must have everything.

use std::sync::{Arc, Mutex, PoisonError};

use planwire_bus::{EventBus, Health, Log, Step, Steps};
use planwire_event::Producer;

use super::executor::Executor;
use super::handler::{Handling, SimStage};
use super::others;
use super::publisher::Publishing;
use super::reader::{Reading, Resume};
use super::sim::{Sim, State};
use super::store::{SimRepository, SimWriter, Who};
use super::tally::Tally;

/// Turns after which a run that does not come to rest has got stuck.
const TURNS_MAX: u64 = 60_000;
/// Turns in a hundred thousand in which the other process writes by itself, and in which the clock jumps.
const ASIDE: usize = 400;

/// Who subscribe handlers, in each life.
const HANDLINGS: usize = 2;

/// What came of a run.
pub(crate) struct Ran {
    /// One number for the whole record.
    pub(crate) digest: u64,
    pub(crate) tally: Tally,
    /// The first finding.
    pub(crate) verdict: Option<String>,
    /// Every line, if it was to be kept.
    pub(crate) lines: Vec<String>,
}

/// Runs a seed.
pub(crate) fn run(seed: u64, keep: bool) -> Ran {
    let sim = Sim::new(seed, keep);
    let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| World::new(&sim).live()));
    let mut state = sim.lock();
    if let Err(panic) = lived {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default().to_owned();
        state.accuse(format_args!("panic: {text}"));
    }
    state.tally.turns = state.turn;
    state.tally.stored = state.judge.head();
    Ran {
        digest: state.record.digest(),
        tally: state.tally,
        verdict: state.judge.verdict.clone(),
        lines: state.record.lines().to_vec(),
    }
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    Kill,
    PowerCut,
    Shutdown,
}

struct World<'a> {
    sim: &'a Sim,
    executor: Executor,
    other: Option<Arc<Mutex<Log>>>,
    life: usize,
}

/// The process while it lives.
struct Process {
    bus: EventBus,
    /// None once the writer has ended.
    steps: Option<Steps>,
}

impl<'a> World<'a> {
    fn new(sim: &'a Sim) -> Self {
        let shared = sim.lock().chances.shared;
        let other = shared.then(|| Arc::new(Mutex::new(others::open(sim))));
        Self { sim, executor: Executor::default(), other, life: 0 }
    }

    fn accused(&self) -> bool {
        self.sim.lock().judge.verdict.is_some()
    }

    /// All lives; in the last one nothing fails and everything is finished.
    fn live(mut self) {
        let lives = self.sim.lock().chances.lives;
        while self.life < lives && !self.accused() {
            self.life += 1;
            if self.life == lives {
                self.sim.lock().chances.heal();
            }
            let Some(mut process) = self.open() else { continue };
            self.populate(&process);
            let death = self.run(&mut process);
            self.die(process, death);
        }
        let mut state = self.sim.lock();
        state.audit();
        if let Err(finding) = state.judge.whole() {
            state.accuse(format_args!("{finding}"));
        }
    }

    /// Starts the process; none if its log could not be read, as the seed says.
    fn open(&mut self) -> Option<Process> {
        let sim = self.sim;
        let (config, plans_cached) = {
            let mut state = sim.lock();
            state.disk.open();
            state.audit();
            state.stepping = true;
            (state.chances.config(), state.chances.plans_cached)
        };
        let writer = SimWriter::new(sim.clone(), Who::Watched, self.life, self.other.clone());
        let repository = SimRepository { sim: sim.clone(), who: Who::Watched };
        let opened = Log::open(Box::new(writer), Arc::new(repository), sim.clock.clone())
            .map_err(planwire_bus::EventBusError::Open)
            .and_then(|log| {
                let stage = Arc::new(SimStage(sim.clone()));
                EventBus::open_staged(log.with_plans_cached(plans_cached), config, stage)
            });
        let mut state = sim.lock();
        state.stepping = false;
        state.closing = false;
        let life = self.life;
        match opened {
            Ok((bus, steps)) => {
                state.note(format_args!("life {life} begins at {}", bus.tail()));
                Some(Process { bus, steps: Some(steps) })
            }
            Err(error) => {
                state.note(format_args!("life {life} does not begin: {error}"));
                None
            }
        }
    }

    /// Sends the publishers and readers of this life off.
    fn populate(&mut self, process: &Process) {
        let (publishers, readers, handlers, again) = {
            let state = self.sim.lock();
            let before = (1..self.life).next_back();
            let again: Vec<_> = before.map(|life| state.judge.unheard(life)).unwrap_or_default();
            let chances = &state.chances;
            (chances.publishers, chances.readers, chances.handlers, again)
        };
        for number in 0..publishers {
            let name = format!("publisher{number}");
            let again = again.iter().filter(|request| request.producer == name);
            let again = again.map(|request| request.events.clone()).collect();
            let door = process.bus.publisher(Producer::new(name.as_str()));
            let publishing = Publishing { sim: self.sim.clone(), door, name, life: self.life };
            self.executor.spawn(publishing.run(again));
        }
        for _ in 0..HANDLINGS.min(handlers) {
            let handling = Handling { sim: self.sim.clone(), bus: process.bus.clone() };
            self.executor.spawn(handling.run());
        }
        let resumed: Vec<_> = self.sim.lock().readers.clone().into_iter().collect();
        for (id, resume) in resumed {
            self.read(process, id, resume);
        }
        for _ in 0..readers {
            let id = {
                let mut state = self.sim.lock();
                let State { script, random, judge, .. } = &mut *state;
                judge.new_reader(script.filter(random))
            };
            self.read(process, id, Resume::Fresh);
        }
    }

    fn read(&mut self, process: &Process, id: usize, resume: Resume) {
        if !self.sim.lock().judge.has_ended(id) {
            let reading = Reading::new(self.sim.clone(), process.bus.clone(), id);
            self.executor.spawn(reading.run(resume));
        }
    }

    /// Takes turns until the process dies or comes to rest.
    fn run(&mut self, process: &mut Process) -> Death {
        loop {
            let dies = {
                let mut state = self.sim.lock();
                let State { random, chances, .. } = &mut *state;
                let failed = matches!(process.bus.health(), Health::Failed { .. });
                let often = if failed { 150 } else { chances.kill };
                random.below(10_000) < often
            };
            if dies {
                return self.death();
            }
            if !self.turn(process) {
                self.rest(process);
                let last = self.sim.lock().chances.lives == self.life;
                return if last { Death::Shutdown } else { self.death() };
            }
            if self.accused() {
                return Death::Kill;
            }
        }
    }

    fn death(&self) -> Death {
        let mut state = self.sim.lock();
        match state.random.below(3) {
            0 => Death::Kill,
            1 => Death::PowerCut,
            _ => Death::Shutdown,
        }
    }

    /// One turn; false if nothing moves any more.
    fn turn(&mut self, process: &mut Process) -> bool {
        let step = {
            let mut state = self.sim.lock();
            state.turn += 1;
            state.fire_timers();
            let State { random, chances, .. } = &mut *state;
            random.percent(chances.step)
        };
        self.aside();
        self.admit();
        let drawn = self.sim.lock().random.below(1 << 20);
        if step && self.step(process) || self.executor.turn(drawn) || self.step(process) {
            return true;
        }
        let mut state = self.sim.lock();
        if state.turn > TURNS_MAX {
            state.accuse(format_args!("it does not come to rest"));
            return false;
        }
        match state.next_timer() {
            Some(due) => {
                state.turn = state.turn.max(due.saturating_sub(1));
                true
            }
            None => false,
        }
    }

    /// Takes in the tasks of handlers that were begun.
    fn admit(&mut self) {
        let spawned = std::mem::take(&mut self.sim.lock().spawned);
        spawned.into_iter().for_each(|task| self.executor.spawn(task));
    }

    /// What happens beside the process.
    fn aside(&self) {
        let (writes, jumps) = {
            let random = &mut self.sim.lock().random;
            (random.below(100_000) < ASIDE, random.below(100_000) < ASIDE)
        };
        if jumps {
            let micros = self.sim.lock().random.below(7_200_000_000);
            self.sim.clock.advance(i64::try_from(micros).expect("it is two hours") - 3_600_000_000);
        }
        if let Some(other) = self.other.as_ref().filter(|_| writes) {
            others::write(self.sim, &mut other.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// The writer takes a step; false if there was nothing to do.
    fn step(&self, process: &mut Process) -> bool {
        let Some(steps) = &mut process.steps else { return false };
        self.sim.lock().stepping = true;
        let step = steps.step();
        if step == Step::Ended {
            process.steps = None;
        }
        let mut state = self.sim.lock();
        state.stepping = false;
        state.audit();
        let tail = process.bus.tail().position.get();
        if tail > state.judge.head() {
            state.accuse(format_args!("phantom: the tail is {tail}"));
        }
        if let Some(holder) = state.disk.held_by {
            state.accuse(format_args!("writer {holder} holds the head after its step"));
        }
        step != Step::Idle
    }

    /// Nothing moves any more: whoever waits, waits for what is not there yet.
    fn rest(&self, process: &Process) {
        let mut state = self.sim.lock();
        let tail = process.bus.tail().position;
        state.note(format_args!("at rest at {tail}"));
        let readers: Vec<_> = state.readers.keys().copied().collect();
        for reader in readers {
            if let Err(finding) = state.judge.complete(reader, tail) {
                state.accuse(format_args!("at rest: {finding}"));
            }
        }
        state.check_handlers(tail);
        let unheard = state.judge.waiting(self.life);
        if let Some(request) = unheard.filter(|_| process.bus.health() == Health::Ready) {
            state.accuse(format_args!("lost: request {request} is never answered"));
        }
    }

    fn die(&mut self, mut process: Process, death: Death) {
        self.sim.lock().note(format_args!("life ends by {death:?}"));
        if death == Death::Shutdown {
            self.shut_down(&mut process);
            self.sim.lock().check_handlers(process.bus.tail().position);
        }
        self.admit();
        self.executor.clear();
        let counters = process.bus.counters();
        let (open, pages) = (counters.subscriptions_open, counters.store_pages);
        drop(process);
        let mut state = self.sim.lock();
        state.tally.store_pages += pages;
        state.end_handlers(&counters);
        if open != 0 {
            state.accuse(format_args!("{open} subscriptions are open and nobody has them"));
        }
        match death {
            Death::Kill => state.tally.kills += 1,
            Death::PowerCut => {
                state.tally.power_cuts += 1;
                state.tally.tails_lost += u64::from(state.disk.cut_power());
            }
            Death::Shutdown => state.tally.shutdowns += 1,
        }
    }

    /// Ends the bus in order: all that is queued is stored, readers reach the end and are told so.
    fn shut_down(&mut self, process: &mut Process) {
        self.sim.lock().closing = true;
        let bus = process.bus.clone();
        self.executor.spawn(async move { bus.shutdown().await });
        while self.turn(process) && !self.accused() {}
        if !self.executor.is_empty() {
            self.sim.lock().accuse(format_args!("the bus is shut down, and somebody waits"));
        }
    }
}
