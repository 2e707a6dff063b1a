//! A reader: any filter, from anywhere, event by event or in batches, slow, dropped while it waits, and resumed where
//! its cursors say.

use futures_util::future::{Either, select};
use planwire_bus::{EventBus, Item, StartAt, StreamError, Subscription};
use planwire_event::{Cursor, Position};

use super::executor::Cut;
use super::judge::{Finding, ReaderId};
use super::sim::{Sim, State};

/// Cuts and pauses of one reader in one life: afterwards it only waits, so that it must be woken.
const WHIMS_MAX: usize = 25;
/// Chance that a reader leaves its stream after a read and comes back.
const RESUME_PERCENT: usize = 6;
/// Chance that it leaves for good.
const LEAVE_PERCENT: usize = 1;

/// Where a reader goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resume {
    Fresh,
    After(Cursor),
}

/// One reader in one life of the process.
pub(crate) struct Reading {
    pub(crate) sim: Sim,
    pub(crate) bus: EventBus,
    pub(crate) id: ReaderId,
    pub(crate) whims: usize,
}

/// What came of a read.
enum Came {
    Something,
    Over,
}

impl Reading {
    pub(crate) const fn new(sim: Sim, bus: EventBus, id: ReaderId) -> Self {
        Self { sim, bus, id, whims: WHIMS_MAX }
    }

    /// Reads until the scope or the bus ends, or the reader has enough.
    pub(crate) async fn run(mut self, resume: Resume) {
        let mut resume = resume;
        loop {
            let Some(mut stream) = self.open(resume).await else { return };
            loop {
                let came = self.read(&mut stream).await;
                let (ended, accused) = {
                    let judge = &self.sim.lock().judge;
                    (judge.has_ended(self.id), judge.verdict.is_some())
                };
                if ended {
                    self.leave();
                }
                if accused || matches!(came, Some(Came::Over)) {
                    return;
                }
                if !ended {
                    if self.chance(LEAVE_PERCENT) {
                        return self.leave();
                    }
                    if self.chance(RESUME_PERCENT) {
                        break;
                    }
                }
                self.dawdle().await;
            }
            let scanned = self.sim.lock().random.percent(50);
            resume = Resume::After(if scanned { stream.scanned() } else { stream.delivered() });
            self.note(&format_args!("leaves, resumes at {resume:?}"));
            self.remember(resume);
        }
    }

    fn note(&self, what: &dyn std::fmt::Display) {
        let id = self.id;
        self.sim.lock().note(format_args!("reader {id} {what}"));
    }

    fn check(&self, finding: Finding) {
        if let Err(finding) = finding {
            let id = self.id;
            self.sim.lock().accuse(format_args!("reader {id}: {finding}"));
        }
    }

    /// Draws; true only as long as the reader has whims.
    fn chance(&mut self, percent: usize) -> bool {
        let drawn = self.whims > 0 && self.sim.lock().random.percent(percent);
        self.whims -= usize::from(drawn);
        drawn
    }

    fn leave(&self) {
        self.sim.lock().readers.remove(&self.id);
    }

    /// What a restart of the process goes on from.
    fn remember(&self, resume: Resume) {
        self.sim.lock().readers.insert(self.id, resume);
    }

    async fn dawdle(&mut self) {
        if self.chance(12) {
            let turns = 1 + self.sim.lock().random.below(60);
            self.sim.pause(turns).await;
        }
    }

    fn start(&self, resume: Resume) -> StartAt {
        let mut state = self.sim.lock();
        let head = state.disk.visible.rows.len();
        match resume {
            Resume::After(cursor) => StartAt::After(cursor),
            Resume::Fresh => match state.random.below(3) {
                0 => StartAt::Start,
                1 => StartAt::Now,
                _ => {
                    let position = Position::new(state.random.below(head + 1) as u64);
                    StartAt::After(Cursor { log_id: crate::kit::log_id(), position })
                }
            },
        }
    }

    /// Opens the stream, as often as it takes; none if the bus is closed.
    async fn open(&mut self, resume: Resume) -> Option<Subscription> {
        let filter = self.sim.lock().judge.filter(self.id).clone();
        loop {
            let from = self.start(resume);
            let (known, tail) = {
                let state = self.sim.lock();
                let known = filter.named_plan().is_none_or(|plan| state.judge.model.plans.contains_key(plan));
                (known, self.bus.tail())
            };
            let bus = self.bus.clone();
            let opened = self.cut(Box::pin(bus.stream(filter.clone(), from))).await;
            match opened {
                None => {}
                Some(Ok(stream)) => {
                    self.opened(&stream, from, tail);
                    return Some(stream);
                }
                Some(Err(StreamError::Closed)) => return None,
                Some(Err(StreamError::UnknownPlan { .. })) if !known => {
                    // Perhaps it never starts.
                    self.whims = self.whims.checked_sub(5)?;
                    self.sim.pause(20).await;
                }
                Some(Err(StreamError::Store(_))) => self.sim.pause(3).await,
                Some(Err(error)) => {
                    self.check(Err(format!("no stream of {filter:?} from {from:?}: {error}")));
                    return None;
                }
            }
        }
    }

    fn opened(&self, stream: &Subscription, from: StartAt, tail: Cursor) {
        let told = stream.delivered();
        let start = match from {
            StartAt::Start => Position::ZERO,
            StartAt::After(cursor) => cursor.position,
            // It was taken somewhere during the call.
            StartAt::Now => told.position.clamp(tail.position, self.bus.tail().position),
        };
        let finding = {
            let mut state = self.sim.lock();
            state.tally.opened += 1;
            let id = self.id;
            let filter = state.judge.filter(id).clone();
            state.note(format_args!("reader {id} opened {filter:?} at {told}"));
            state.judge.opened(id, start, told)
        };
        self.check(finding);
        self.remember(Resume::After(told));
    }

    /// Waits for `read`, or drops it while it waits, at once or after some turns.
    async fn cut<T>(&mut self, read: impl Future<Output = T> + Unpin) -> Option<T> {
        let cut = self.sim.lock().chances.cut;
        if !self.chance(cut) {
            return Some(read.await);
        }
        let (soon, turns) = {
            let random = &mut self.sim.lock().random;
            (random.percent(40), 1 + random.below(40))
        };
        let read = if soon {
            Cut::after(1 + turns / 20, read).await
        } else {
            match select(Box::pin(self.sim.pause(turns)), read).await {
                Either::Left(_) => None,
                Either::Right((read, _)) => Some(read),
            }
        };
        self.sim.lock().tally.cuts += u64::from(read.is_none());
        read
    }

    /// Reads once and has the judge look at it.
    async fn read(&mut self, stream: &mut Subscription) -> Option<Came> {
        let (single, events, bytes) = {
            let random = &mut self.sim.lock().random;
            (random.percent(50), 1 + random.below(6), *random.of(&[1, 1_500, usize::MAX]))
        };
        let came = if single {
            let read = self.cut(Box::pin(stream.next())).await;
            read.map(|read| read.map(|item| self.take_item(item)))
        } else {
            let read = self.cut(Box::pin(stream.next_batch(events, bytes))).await;
            read.map(|read| read.map(|batch| self.take_batch(batch, events)))
        };
        let (scanned, delivered) = (stream.scanned(), stream.delivered());
        let finding = self.sim.lock().judge.places(self.id, scanned, delivered);
        self.check(finding);
        let scan = self.sim.lock().random.percent(50);
        if !self.sim.lock().judge.has_ended(self.id) {
            self.remember(Resume::After(if scan { scanned } else { delivered }));
        }
        match came {
            None => None,
            Some(Ok(came)) => Some(came),
            Some(Err(error)) => {
                self.note(&error);
                self.sim.pause(3).await;
                None
            }
        }
    }

    fn take_item(&self, item: Option<Item>) -> Came {
        match item {
            Some(Item::Event(event)) => self.handed(&event),
            Some(Item::End(end)) => self.ended(end),
            None => return self.closed(),
        }
        Came::Something
    }

    fn take_batch(&self, batch: planwire_bus::Batch, events_max: usize) -> Came {
        if batch.events.len() > events_max {
            self.check(Err(format!("{} events, at most {events_max} were wanted", batch.events.len())));
        }
        batch.events.iter().for_each(|event| self.handed(event));
        if let Some(end) = batch.end {
            self.ended(end);
        }
        if batch.closed { self.closed() } else { Came::Something }
    }

    fn handed(&self, event: &planwire_bus::Recorded) {
        self.note(&format_args!("gets {}", event.position));
        let finding = {
            let State { judge, tally, .. } = &mut *self.sim.lock();
            tally.delivered += 1;
            judge.delivered(self.id, event)
        };
        self.check(finding);
    }

    fn ended(&self, end: Cursor) {
        self.note(&format_args!("is told of the end at {end}"));
        let finding = {
            let State { judge, tally, .. } = &mut *self.sim.lock();
            tally.ends += 1;
            judge.ended(self.id, end)
        };
        self.check(finding);
    }

    fn closed(&self) -> Came {
        let finding = {
            let mut state = self.sim.lock();
            if state.judge.has_ended(self.id) {
                Ok(())
            } else if state.closing {
                state.judge.complete(self.id, self.bus.tail().position)
            } else {
                Err("it is told that the bus is closed, which it is not".into())
            }
        };
        self.check(finding);
        Came::Over
    }
}
