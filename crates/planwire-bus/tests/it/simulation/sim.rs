//! What all tasks of a run share: the seed's random numbers, the turn, timers, the disk, the judge and the record.
//!
//! One lock guards it all and is never held while the bus is called: the bus calls back through the store.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::future::BoxFuture;
use planwire_event::{ManualClock, Timestamp};

use super::chances::Chances;
use super::disk::Disk;
use super::handler::Handlers;
use super::judge::{Judge, ReaderId};
use super::random::Random;
use super::reader::Resume;
use super::script::Script;
use super::tally::Tally;

/// When the clock of a run begins; it jumps from there.
const START: i64 = 1_795_000_000_000_000;

pub(crate) struct State {
    pub(crate) random: Random,
    /// What handlers draw from: a run without them is the same whether they exist or not.
    pub(crate) moods: Random,
    pub(crate) chances: Chances,
    pub(crate) turn: u64,
    pub(crate) disk: Disk,
    pub(crate) judge: Judge,
    pub(crate) script: Script,
    pub(crate) tally: Tally,
    pub(crate) record: Record,
    /// The writer takes a step, or a log is opened: reads answer at once, since a thread waits for them.
    pub(crate) stepping: bool,
    /// The bus is being shut down: readers may be told so.
    pub(crate) closing: bool,
    /// Readers that want more, and where they go on in the next life of the process.
    pub(crate) readers: BTreeMap<ReaderId, Resume>,
    pub(crate) handlers: Handlers,
    /// Tasks of handlers that were begun in this turn.
    pub(crate) spawned: Vec<BoxFuture<'static, ()>>,
    timers: BTreeMap<(u64, u64), Waker>,
    timers_made: u64,
}

impl State {
    /// Writes a line into the record of the run.
    pub(crate) fn note(&mut self, line: fmt::Arguments<'_>) {
        let turn = self.turn;
        self.record.add(turn, line);
    }

    /// Something is wrong: the run ends with the first such finding.
    pub(crate) fn accuse(&mut self, finding: fmt::Arguments<'_>) {
        self.note(format_args!("VIOLATION {finding}"));
        if self.judge.verdict.is_none() {
            self.judge.verdict = Some(format!("turn {}: {finding}", self.turn));
        }
    }

    /// Wakes whose time has come.
    pub(crate) fn fire_timers(&mut self) {
        while let Some(first) = self.timers.first_entry() {
            if first.key().0 > self.turn {
                return;
            }
            first.remove().wake();
        }
    }

    /// The turn at which the next timer is due.
    pub(crate) fn next_timer(&self) -> Option<u64> {
        self.timers.first_key_value().map(|((due, _), _)| *due)
    }
}

/// The record of a run: hashed as it is written, kept if somebody wants to read it.
#[derive(Debug)]
pub(crate) struct Record {
    digest: u64,
    kept: Option<Vec<String>>,
    line: String,
}

impl Record {
    pub(crate) fn new(keep: bool) -> Self {
        Self { digest: 0xCBF2_9CE4_8422_2325, kept: keep.then(Vec::new), line: String::new() }
    }

    fn add(&mut self, turn: u64, line: fmt::Arguments<'_>) {
        use fmt::Write as _;
        self.line.clear();
        // A String takes every write.
        let _ = write!(self.line, "{turn:>5} {line}");
        for byte in self.line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        if let Some(kept) = &mut self.kept {
            kept.push(self.line.clone());
        }
    }

    /// One number for all lines (FNV-1a).
    pub(crate) const fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn lines(&self) -> &[String] {
        self.kept.as_deref().unwrap_or_default()
    }
}

/// A run's state, shared by its tasks and its store.
#[derive(Clone)]
pub(crate) struct Sim {
    state: Arc<Mutex<State>>,
    pub(crate) clock: Arc<ManualClock>,
}

impl Sim {
    pub(crate) fn new(seed: u64, keep: bool) -> Self {
        let (mut random, mut moods) = (Random::new(seed), Random::new(!seed));
        let chances = Chances::draw(&mut random, &mut moods);
        let state = State {
            script: Script::new(&mut random),
            random,
            moods,
            chances,
            turn: 0,
            disk: Disk::new(crate::kit::log_id()),
            judge: Judge::default(),
            tally: Tally::default(),
            record: Record::new(keep),
            stepping: false,
            closing: false,
            readers: BTreeMap::new(),
            handlers: Handlers::default(),
            spawned: Vec::new(),
            timers: BTreeMap::new(),
            timers_made: 0,
        };
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros_clamped(START)));
        Self { state: Arc::new(Mutex::new(state)), clock }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a number of turns.
    pub(crate) fn pause(&self, turns: usize) -> Pause {
        let mut state = self.lock();
        state.timers_made += 1;
        Pause { key: (state.turn + turns as u64, state.timers_made), sim: self.clone() }
    }
}

/// See [`Sim::pause`].
pub(crate) struct Pause {
    key: (u64, u64),
    sim: Sim,
}

impl Future for Pause {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.sim.lock();
        if state.turn >= self.key.0 {
            return Poll::Ready(());
        }
        state.timers.insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Pause {
    /// A timer that nobody waits for wakes nobody: it would hide a wake-up that was lost.
    fn drop(&mut self) {
        self.sim.lock().timers.remove(&self.key);
    }
}
