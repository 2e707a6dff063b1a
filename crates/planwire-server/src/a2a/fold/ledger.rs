//! How the plans that are followed now stand, worked out once for all who follow them.
//!
//! A ledger takes in each turn of its plan once, from whichever reader meets it first, and notes how the plan stands
//! after it. **Invariants:** a reader joins with the fold at which it starts and asks about every turn after that, so
//! that a turn beyond what the ledger knows is always the next one; a ledger lives as long as somebody follows its
//! plan.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use planwire_event::{PlanId, Position, StoredEvent};

use super::{Counts, Standing, TaskFold, Turn};

/// Turns of a plan of which the outcome is kept. Who is further behind works them out for itself until it catches up.
pub(super) const MARKS_MAX: usize = 4_096;

/// Ledgers from which on those are looked for that nobody uses any more.
pub(super) const SWEEP_MIN: usize = 64;

/// The ledgers of all plans that are followed.
#[derive(Debug, Default)]
pub(crate) struct Ledgers(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    plans: HashMap<PlanId, Weak<Ledger>>,
    /// As many ledgers are the occasion to look for those that nobody uses.
    sweep_at: usize,
}

/// How one plan stands, and stood after its last turns.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    standing: Standing,
    /// All turns up to here are taken in.
    to: Position,
    /// How the plan stood after a turn, in order; some may be missing.
    marks: VecDeque<(Position, Counts)>,
}

impl Ledgers {
    /// The ledger of a plan, for a reader who starts at `fold`; and whether it stands there too.
    pub(super) fn join(&self, fold: &TaskFold) -> (Arc<Ledger>, bool) {
        let ledger = self.of(&fold.about().plan);
        let stands_there = ledger.take_over(fold);
        (ledger, stands_there)
    }

    fn of(&self, plan: &PlanId) -> Arc<Ledger> {
        let open = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ledger) = open.plans.get(plan).and_then(Weak::upgrade) {
            return ledger;
        }
        if open.plans.len() >= open.sweep_at.max(SWEEP_MIN) {
            open.plans.retain(|_, ledger| ledger.strong_count() > 0);
            open.sweep_at = 2 * open.plans.len();
        }
        let ledger = Arc::<Ledger>::default();
        open.plans.insert(plan.clone(), Arc::downgrade(&ledger));
        ledger
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap().plans.len()
    }
}

impl Ledger {
    /// Goes on from where `fold` stands, if that is further; whether it stands there then.
    fn take_over(&self, fold: &TaskFold) -> bool {
        let told = &mut *self.lock();
        let position = fold.cursor().position;
        if position > told.to {
            told.standing = fold.standing().clone();
            told.to = position;
        }
        position == told.to
    }

    /// How the plan stands after `event`, a turn; none if that lies too far back.
    pub(super) fn after(&self, event: &StoredEvent) -> Option<Counts> {
        if let Known::Told(counts) = self.lock().find(event.position) {
            return counts;
        }
        // Not under the lock: it reads the payload. Others may do the same meanwhile.
        let turn = Turn::of(event);
        let told = &mut *self.lock();
        match told.find(event.position) {
            Known::Told(counts) => counts,
            Known::Next => Some(told.take_in(event.position, &turn)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a ledger knows of a turn.
enum Known {
    /// How the plan stood after it; none if that is kept no longer.
    Told(Option<Counts>),
    /// Nothing: it is the next.
    Next,
}

impl Told {
    fn find(&self, position: Position) -> Known {
        if position > self.to {
            return Known::Next;
        }
        let place = self.marks.binary_search_by_key(&position, |(position, _)| *position);
        Known::Told(place.ok().and_then(|place| self.marks.get(place)).map(|(_, counts)| *counts))
    }

    fn take_in(&mut self, position: Position, turn: &Turn) -> Counts {
        self.standing.apply(turn);
        self.to = position;
        if self.marks.len() == MARKS_MAX {
            self.marks.pop_front();
        }
        let counts = self.standing.counts();
        self.marks.push_back((position, counts));
        counts
    }
}
