//! The store of a run: a log on the modelled disk that refuses, fails, answers nothing, is slow and is overtaken, as the
//! seed says.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use planwire_bus::Log;
use planwire_event::{Digest, EventId, EventTypes, Filter, PlanId, Position, Scope, StoredEvent};
use planwire_store::{
    AppendError, Appended, Batch, EventRepository, Head, LogInfo, LogWriter, Page, PageLimits, PlanPage,
    PlanQuery, PlanScope, StoreError,
};

use super::disk::{Disk, Lands};
use super::judge::AS_ASKED;
use super::others;
use super::sim::{Sim, State};

fn as_asked() -> StoreError {
    StoreError::Failed(AS_ASKED.into())
}

/// Who writes: the process that is watched, or another one, in whose store nothing fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Watched,
    Other,
}

pub(crate) struct SimWriter {
    sim: Sim,
    who: Who,
    number: usize,
    /// The other process, which may get ahead of an append.
    other: Option<Arc<Mutex<Log>>>,
}

impl SimWriter {
    pub(crate) const fn new(sim: Sim, who: Who, number: usize, other: Option<Arc<Mutex<Log>>>) -> Self {
        Self { sim, who, number, other }
    }

    /// Lets the other process write first, as the seed says.
    fn be_overtaken(&self) {
        let Some(other) = &self.other else { return };
        let times = {
            let mut state = self.sim.lock();
            let State { random, chances, disk, .. } = &mut *state;
            let held = disk.held_by.is_some();
            if held || !random.percent(chances.overtake) { 0 } else { 1 + random.below(3) }
        };
        let mut other = other.lock().unwrap_or_else(PoisonError::into_inner);
        (0..times).for_each(|_| others::write(&self.sim, &mut other));
    }

    /// What the seed lets an append of the watched process come to; nothing: it goes through.
    fn fault(state: &mut State) -> Option<(AppendError, Option<Lands>)> {
        let State { random, chances, .. } = state;
        if random.percent(chances.refuse) {
            let error = if random.percent(50) { StoreError::Full } else { as_asked() };
            return Some((AppendError::Refused(error), None));
        }
        if random.percent(chances.unknown) {
            // Others would see what is only in a cache: a log that is shared has it or has it not.
            let lands = match random.below(4) {
                0 => None,
                _ if chances.shared => Some(Lands::OnPlatter),
                1 => Some(Lands::OnPlatter),
                _ => Some(Lands::InCache),
            };
            return Some((AppendError::Unknown(as_asked()), lands));
        }
        None
    }
}

impl LogWriter for SimWriter {
    fn head(&mut self) -> Result<Head, StoreError> {
        let mut state = self.sim.lock();
        if self.who == Who::Watched && fails(&mut state) {
            return Err(as_asked());
        }
        Ok(state.disk.visible.head.clone())
    }

    fn lock_head(&mut self) -> Result<Head, StoreError> {
        let mut state = self.sim.lock();
        let State { random, chances, disk, .. } = &mut *state;
        if disk.held_by.is_some_and(|holder| holder != self.number) {
            return Err(StoreError::Busy);
        }
        if self.who == Who::Watched && random.percent(chances.lock_blocked) {
            return Err(as_asked());
        }
        disk.held_by = Some(self.number);
        Ok(disk.visible.head.clone())
    }

    fn append(&mut self, expected: &Head, batch: &Batch) -> Result<Appended, AppendError> {
        self.be_overtaken();
        let mut state = self.sim.lock();
        if state.disk.held_by.is_some_and(|holder| holder != self.number) {
            return Err(AppendError::Refused(StoreError::Busy));
        }
        state.disk.held_by = None;
        let fault = if self.who == Who::Watched { Self::fault(&mut state) } else { None };
        let lands = fault.as_ref().map_or(Some(Lands::OnPlatter), |(_, lands)| *lands);
        let appended = lands.map(|lands| state.disk.append(expected, batch, lands));
        let rows = batch.rows.len();
        state.note(format_args!("{:?} appends {rows}: {appended:?} {fault:?}", self.who));
        if appended == Some(Appended::HeadMoved) {
            state.tally.head_moves += 1;
        }
        match fault {
            // What cannot be stored is found out before anything can go wrong with the commit.
            Some((AppendError::Unknown(error), lands)) => match appended {
                Some(Appended::Stored) | None => {
                    state.note(format_args!("nobody hears what became of it ({lands:?})"));
                    Err(AppendError::Unknown(error))
                }
                Some(other) => Ok(other),
            },
            Some((error, _)) => Err(error),
            None => Ok(appended.unwrap_or(Appended::HeadMoved)),
        }
    }
}

fn fails(state: &mut State) -> bool {
    let failed = state.random.percent(state.chances.read_error);
    state.tally.read_errors += u64::from(failed);
    failed
}

/// The readers' end.
pub(crate) struct SimRepository {
    pub(crate) sim: Sim,
    pub(crate) who: Who,
}

impl SimRepository {
    /// Reads, at once or after some turns, as the disk is at the beginning or at the end of these turns.
    fn read<'a, T: Send + 'a>(
        &'a self,
        mut look: impl FnMut(&Disk, &mut Draw<'_>) -> T + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        let (failed, turns, early) = {
            let mut state = self.sim.lock();
            let watched = self.who == Who::Watched;
            let failed = watched && fails(&mut state);
            let State { random, chances, stepping, .. } = &mut *state;
            let delayed = watched && !*stepping && random.percent(chances.read_delay);
            let turns = if delayed { 1 + random.below(30) } else { 0 };
            state.tally.delays += u64::from(delayed);
            let early = state.random.percent(50).then(|| state.look(&mut look));
            (failed, turns, early)
        };
        Box::pin(async move {
            if turns > 0 {
                self.sim.pause(turns).await;
            }
            if failed {
                return Err(as_asked());
            }
            Ok(early.unwrap_or_else(|| self.sim.lock().look(&mut look)))
        })
    }
}

/// What a look at the disk may draw from.
pub(crate) struct Draw<'a> {
    pub(crate) random: &'a mut super::random::Random,
    pub(crate) chances: &'a super::chances::Chances,
}

impl State {
    fn look<T>(&mut self, look: &mut impl FnMut(&Disk, &mut Draw<'_>) -> T) -> T {
        let Self { random, chances, disk, .. } = self;
        look(disk, &mut Draw { random, chances })
    }
}

impl EventRepository for SimRepository {
    fn log_info(&self) -> BoxFuture<'_, Result<LogInfo, StoreError>> {
        self.read(|disk, _| {
            let head = &disk.visible.head;
            LogInfo {
                log_id: head.log_id,
                head: head.position,
                pruned_to: Position::ZERO,
                lineage: Vec::new(),
            }
        })
    }

    fn read_after<'a>(
        &'a self,
        after: Position,
        filter: &'a Filter,
        limits: PageLimits,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        self.read(move |disk, state| {
            let most = state.chances.patience(state.random);
            disk.visible.page(after, filter, limits, most)
        })
    }

    fn reads_ahead(&self) -> bool {
        true
    }

    fn list_by_plan<'a>(
        &'a self,
        plan: &'a PlanId,
        types: EventTypes,
        after: Position,
        limits: PageLimits,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        let filter = Filter { types, scope: Scope::Plan(plan.clone()) };
        self.read(move |disk, state| {
            let most = state.chances.patience(state.random);
            disk.visible.page(after, &filter, limits, most)
        })
    }

    fn by_event_ids<'a>(
        &'a self,
        ids: &'a [EventId],
    ) -> BoxFuture<'a, Result<Vec<Arc<StoredEvent>>, StoreError>> {
        self.read(|disk, _| disk.visible.by_ids(ids))
    }

    fn plans<'a>(&'a self, query: &'a PlanQuery) -> BoxFuture<'a, Result<PlanPage, StoreError>> {
        self.read(|disk, state| {
            // Who asks for certain plans gets them on one page; other pages may be short.
            let these = matches!(query.scope, PlanScope::These(_));
            let most = if these { usize::MAX } else { state.chances.patience(state.random).events };
            disk.visible.plan_page(query, most)
        })
    }

    fn document(&self, _: Digest) -> BoxFuture<'_, Result<Option<Arc<str>>, StoreError>> {
        self.read(|_, _| None)
    }

    fn blob(&self, _: Digest, _: u32) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        self.read(|_, _| None)
    }
}
