//! Pauses: a plan that is paused begins nothing new, nor does any plan below it.
//!
//! Who is paused is said by events; this is what they add up to for the plans that run here.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use planwire_event::PlanId;
use tokio::sync::watch;

/// Plans that run here, and which of them were asked to pause.
#[derive(Debug, Default)]
pub(crate) struct Pauses(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Plans of ours, some before they are visible.
    ours: HashSet<PlanId>,
    asked: HashSet<PlanId>,
    running: HashMap<PlanId, Running>,
}

#[derive(Debug)]
struct Running {
    above: Arc<[PlanId]>,
    paused: watch::Sender<bool>,
}

/// Whether a plan is paused now.
#[derive(Clone, Debug)]
pub(crate) struct Pause(watch::Receiver<bool>);

impl Pause {
    pub(crate) fn is_on(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it has begun or ended since the last time; for ever if it cannot any more.
    pub(crate) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

impl Known {
    fn is_paused(&self, plan: &PlanId, above: &[PlanId]) -> bool {
        self.asked.contains(plan) || above.iter().any(|above| self.asked.contains(above))
    }

    /// Tells the plan, and those below it, how it is now.
    fn tell(&self, asked: &PlanId) {
        for (plan, running) in &self.running {
            if plan == asked || running.above.contains(asked) {
                let paused = self.is_paused(plan, &running.above);
                running.paused.send_if_modified(|now| std::mem::replace(now, paused) != paused);
            }
        }
    }
}

impl Pauses {
    /// A plan is about to run here. Known before it is visible: whoever sees it can ask that it pause.
    pub(crate) fn announce(&self, plan: &PlanId) {
        self.known().ours.insert(plan.clone());
    }

    /// A plan runs from now on, below those in `above`.
    pub(crate) fn enter(&self, plan: &PlanId, above: &Arc<[PlanId]>) -> Pause {
        let known = &mut *self.known();
        let (paused, pause) = watch::channel(known.is_paused(plan, above));
        known.running.insert(plan.clone(), Running { above: Arc::clone(above), paused });
        Pause(pause)
    }

    /// It runs no more.
    pub(crate) fn leave(&self, plan: &PlanId) {
        let known = &mut *self.known();
        known.ours.remove(plan);
        known.running.remove(plan);
        known.asked.remove(plan);
    }

    /// Somebody asked that a plan pause. One that does not run here is none of ours.
    pub(crate) fn pause(&self, plan: &PlanId) {
        let known = &mut *self.known();
        if known.ours.contains(plan) && known.asked.insert(plan.clone()) {
            known.tell(plan);
        }
    }

    /// Somebody asked that a plan go on.
    pub(crate) fn resume(&self, plan: &PlanId) {
        let known = &mut *self.known();
        if known.asked.remove(plan) {
            known.tell(plan);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_holds_for_all_below_until_each_that_was_asked_goes_on() {
        let pauses = Pauses::default();
        let plan = |name: &str| -> PlanId { name.parse().unwrap() };
        ["root", "child", "late"].iter().for_each(|name| pauses.announce(&plan(name)));
        let root = pauses.enter(&plan("root"), &Arc::default());
        let child = pauses.enter(&plan("child"), &[plan("root")].into());
        pauses.pause(&plan("root"));
        pauses.pause(&plan("child"));
        let late = pauses.enter(&plan("late"), &[plan("child"), plan("root")].into());
        assert!(root.is_on() && child.is_on() && late.is_on());
        pauses.resume(&plan("root"));
        assert!(!root.is_on() && child.is_on() && late.is_on());
        pauses.resume(&plan("child"));
        assert!(!child.is_on() && !late.is_on());
        pauses.pause(&plan("nobody"));
        assert!(!pauses.enter(&plan("nobody"), &Arc::default()).is_on());
        pauses.leave(&plan("root"));
        assert!(!pauses.enter(&plan("root"), &Arc::default()).is_on());
    }

    #[test]
    fn plan_that_is_paused_before_it_runs_begins_nothing() {
        let (pauses, plan) = (Pauses::default(), "root".parse::<PlanId>().unwrap());
        pauses.announce(&plan);
        pauses.pause(&plan);
        assert!(pauses.enter(&plan, &Arc::default()).is_on());
    }
}
