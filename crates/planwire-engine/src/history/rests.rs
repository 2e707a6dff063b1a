//! The time in which a plan waited for nothing but people, worked out of its events, of the pauses above it, and of what
//! its open subplans did meanwhile.
//!
//! A plan rests as it does while it runs: while it is paused, asks, or has nothing but subplans that rest, and no call of
//! it is in flight. Of a subplan that has ended nothing is known but that; it rests when its questions are those that
//! its parent repeats.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use planwire_event::{PlanId, Position, Timestamp};

use super::{ChildHistory, PlanHistory, Said, What};

/// When something changed. Events of two plans may have one timestamp; their positions differ.
type Moment = (Timestamp, Position);

/// From each of these moments on something holds, or no longer does, in order.
pub(super) type Turns = Vec<(Moment, bool)>;

/// What changes at a moment.
enum Turn<'a> {
    Said(&'a What),
    /// It is paused, by itself or from above, or no longer is.
    Paused(bool),
    /// A subplan that is open rests, or no longer does. It may be paused from above before it is announced.
    Rests(&'a PlanId, bool),
}

/// What a plan is about.
#[derive(Default)]
struct Standing<'a> {
    calls: HashSet<&'a str>,
    questions: HashSet<&'a str>,
    paused: bool,
    /// Subplans that are open, and those that rest.
    open: HashSet<&'a PlanId>,
    resting: HashSet<&'a PlanId>,
    /// How many are open and do not rest.
    busy: usize,
    /// Subplans that were open then and of which only the end is known.
    unknown: HashSet<&'a PlanId>,
}

impl<'a> Standing<'a> {
    fn turn(&mut self, turn: &Turn<'a>, children: &HashMap<PlanId, ChildHistory>) {
        match turn {
            Turn::Paused(paused) => self.paused = *paused,
            Turn::Rests(child, true) => {
                if self.resting.insert(child) && self.open.contains(child) {
                    self.busy -= 1;
                }
            }
            Turn::Rests(child, false) => {
                if self.resting.remove(child) && self.open.contains(child) {
                    self.busy += 1;
                }
            }
            Turn::Said(said) => self.said(said, children),
        }
    }

    fn said(&mut self, said: &'a What, children: &HashMap<PlanId, ChildHistory>) {
        match said {
            What::Called(call) => drop(self.calls.insert(&call.call_id)),
            What::CallEnded(call) => drop(self.calls.remove(&*call.call_id)),
            What::Asked(asked) => drop(self.questions.insert(&asked.request_id)),
            What::Answered(answer) => drop(self.questions.remove(&*answer.request_id)),
            What::Spawned(spawned) => self.spawned(&spawned.child_plan_id, children),
            What::ChildEnded(ended) => drop(self.unknown.remove(&ended.child_plan_id)),
            _ => {}
        }
    }

    fn spawned(&mut self, child: &'a PlanId, children: &HashMap<PlanId, ChildHistory>) {
        let is_open = matches!(children.get(child), Some(ChildHistory::Open(_)));
        if !is_open {
            self.unknown.insert(child);
        } else if self.open.insert(child) && !self.resting.contains(child) {
            self.busy += 1;
        }
    }

    fn rests(&self) -> bool {
        let waits_below = !self.open.is_empty() && self.unknown.is_empty();
        let waits = self.paused || !self.questions.is_empty() || waits_below;
        self.calls.is_empty() && self.busy == 0 && waits
    }
}

/// When a plan was paused, by itself or from above.
pub(super) fn paused(said: &[Said], above: &Turns) -> Turns {
    let own = said.iter().filter_map(|said| match said.what {
        What::PauseRequested => Some(((said.at, said.position), (true, true))),
        What::ResumeRequested => Some(((said.at, said.position), (true, false))),
        _ => None,
    });
    let mut turns: Vec<_> =
        own.chain(above.iter().map(|(moment, paused)| (*moment, (false, *paused)))).collect();
    turns.sort_by_key(|(moment, _)| *moment);
    let (mut by_itself, mut by_others) = (false, false);
    let paused = turns.into_iter().map(|(moment, (is_own, paused))| {
        *(if is_own { &mut by_itself } else { &mut by_others }) = paused;
        (moment, by_itself || by_others)
    });
    changes(paused)
}

/// When a plan rested, by what it said, by when it was [`paused`], and by its open subplans.
pub(super) fn rested(said: &[Said], paused: &Turns, children: &HashMap<PlanId, ChildHistory>) -> Turns {
    let last = said.last().map(|said| said.position);
    let below = children.iter().filter_map(|(child, history)| match history {
        ChildHistory::Open(history) => Some((child, &history.rests)),
        _ => None,
    });
    let mut turns: Vec<_> =
        said.iter().map(|said| ((said.at, said.position), Turn::Said(&said.what))).collect();
    turns.extend(paused.iter().map(|(moment, paused)| (*moment, Turn::Paused(*paused))));
    for (child, rests) in below {
        turns.extend(rests.iter().map(|(moment, rests)| (*moment, Turn::Rests(child, *rests))));
    }
    turns.sort_by_key(|(moment, _)| *moment);
    let mut standing = Standing::default();
    let rests = turns.iter().map(|(moment, turn)| {
        standing.turn(turn, children);
        if Some(moment.1) == last {
            // Calls have ended with the executor that made them.
            standing.calls.clear();
        }
        (*moment, standing.rests())
    });
    changes(rests)
}

/// Leaves out what changes nothing. At first nothing holds.
fn changes(turns: impl Iterator<Item = (Moment, bool)>) -> Turns {
    let mut now = false;
    turns.filter(|(_, holds)| std::mem::replace(&mut now, *holds) != *holds).collect()
}

impl PlanHistory {
    /// Time from its start until `now` in which it did not wait for people.
    pub(crate) fn worked(&self, now: Timestamp) -> Duration {
        let span = |from: Timestamp, to: Timestamp| to.as_micros().saturating_sub(from.as_micros()).max(0);
        let (mut worked_us, mut since, mut rests) = (0_i64, self.started_at, false);
        for ((at, _), rests_then) in &self.rests {
            // What holds above may be older than the plan.
            let at = (*at).max(since);
            if !rests {
                worked_us = worked_us.saturating_add(span(since, at));
            }
            (since, rests) = (at, *rests_then);
        }
        if !rests {
            worked_us = worked_us.saturating_add(span(since, now));
        }
        Duration::from_micros(worked_us.unsigned_abs())
    }
}
