//! Shows a tree of plans while it runs: a live picture on a terminal, a line per event elsewhere.
//!
//! - [`picture`]: the tree as lines, pure
//! - [`usage`]: what calls used, in few words
//! - [`screen`]: lines drawn over those before
//! - `pace`: which events are printed where lines scroll by

mod pace;
pub(crate) mod picture;
pub(crate) mod screen;
pub(crate) mod usage;

use std::sync::Arc;
use std::time::Duration;

use planwire_event::answer;
use planwire_event::vocabulary::{
    ArtifactProduced, Failure as EventFailure, InputRequested, Object, PlanCompleted, PlanFailed,
};
use planwire_event::{Clock as _, EventType, PlanId, PlanStatus, StoredEvent, SystemClock};

use crate::commands::answer::command;
use crate::failure::{Exit, Failure};
use crate::follow::Follower;
use crate::line;
use crate::output::{Output, Paint, duration, escape, tell};
use crate::place::Place;
use crate::signals::{Asked, Signals};
use crate::wiring::{Request, Steering};
use pace::Pace;
use picture::{Frame, View};
use screen::Screen;

/// How often the live picture is drawn.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// What came of a plan that was watched.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The plan.
    pub(crate) plan_id: PlanId,
    /// How it ended; open if somebody pressed Ctrl-C twice.
    pub(crate) status: PlanStatus,
    /// Its outputs, if it completed.
    pub(crate) outputs: Object,
    /// Why it failed.
    pub(crate) error: Option<EventFailure>,
    /// Milliseconds from start to end.
    pub(crate) duration_ms: u64,
    /// Its artifacts, in order.
    pub(crate) artifacts: Vec<ArtifactProduced>,
}

impl Outcome {
    /// The exit code that tells it.
    pub(crate) const fn exit(&self) -> Exit {
        use planwire_event::vocabulary::FailureReason::Cancelled;
        match self.status {
            PlanStatus::Completed => Exit::Completed,
            PlanStatus::Open | PlanStatus::Failed(Cancelled) => Exit::Cancelled,
            PlanStatus::Failed(_) => Exit::Failed,
        }
    }
}

/// Watches a plan until it and all below it have ended.
pub(crate) struct Watch {
    output: Output,
    view: View,
    screen: Option<Screen>,
    place: Place,
    tick: usize,
    pace: Pace,
    outcome: Outcome,
}

impl Watch {
    /// Gets ready to watch `plan`.
    ///
    /// # Errors
    ///
    /// If standard output cannot be written.
    pub(crate) fn new(plan: PlanId, place: Place, output: Output) -> Result<Self, Failure> {
        let outcome = Outcome {
            plan_id: plan,
            status: PlanStatus::Open,
            outputs: Object::new(),
            error: None,
            duration_ms: 0,
            artifacts: Vec::new(),
        };
        let screen = if output.live { Some(Screen::open(output)?) } else { None };
        let mut view = View::default();
        view.flag = place.flag();
        Ok(Self { output, view, screen, place, tick: 0, pace: Pace::default(), outcome })
    }

    /// Shows what `follower` gives. The first Ctrl-C asks the plan to end by `steering`, the second ends the watch,
    /// as SIGTERM does.
    ///
    /// # Errors
    ///
    /// If events cannot be read or shown.
    pub(crate) async fn run(
        mut self,
        follower: &mut Follower,
        steering: &Steering,
        signals: &mut Signals,
    ) -> Result<Outcome, Failure> {
        let mut interval = tokio::time::interval(DRAW_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut asked_before = false;
        loop {
            tokio::select! {
                event = follower.next() => match event? {
                    Some(event) => self.take(&event)?,
                    None => break,
                },
                _ = interval.tick(), if self.screen.is_some() => self.draw()?,
                asked = signals.next() => {
                    if asked == Asked::Terminate || asked_before {
                        break;
                    }
                    asked_before = true;
                    if !self.output.live {
                        tell("planwire: asking the plan to end; Ctrl-C again ends at once");
                    }
                    // The plan may just have ended by itself.
                    if let Err(failure) = steering.ask(&self.outcome.plan_id, Request::Cancel, "Ctrl-C").await {
                        tracing::warn!("{failure}");
                    }
                }
            }
        }
        self.draw()?;
        drop(self.screen);
        Ok(self.outcome)
    }

    fn take(&mut self, stored: &Arc<StoredEvent>) -> Result<(), Failure> {
        self.view.apply(stored);
        if *stored.plan_id() == self.outcome.plan_id {
            self.note(stored);
        }
        if self.output.json {
            return self.output.line(&stored.to_json());
        }
        if self.screen.is_none() && self.pace.lets(stored) {
            let label = self.view.label(stored.plan_id());
            self.output.line(&line::in_tree(stored, label, self.output.style))?;
            if let Some(asked) =
                stored.event.read::<InputRequested>().filter(|asked| asked.for_plan_id.is_none())
            {
                let wanted = escape(&answer::wanted(asked.kind, asked.schema.as_ref()));
                tell(&format!(
                    "planwire: {wanted} is asked for: {} VALUE --request {}",
                    command(stored.plan_id(), &self.place),
                    escape(&asked.request_id)
                ));
            }
        }
        Ok(())
    }

    fn note(&mut self, stored: &StoredEvent) {
        let outcome = &mut self.outcome;
        match stored.event.event_type() {
            EventType::PlanCompleted => {
                let completed = stored.event.read::<PlanCompleted>().unwrap_or_default();
                outcome.status = PlanStatus::Completed;
                outcome.outputs = completed.outputs;
                outcome.duration_ms = completed.duration_ms;
            }
            EventType::PlanFailed => {
                if let Some(failed) = stored.event.read::<PlanFailed>() {
                    outcome.status = PlanStatus::Failed(failed.reason);
                    outcome.error = Some(failed.error);
                    outcome.duration_ms = failed.duration_ms;
                }
            }
            EventType::ArtifactProduced => outcome.artifacts.extend(stored.event.read::<ArtifactProduced>()),
            _ => {}
        }
    }

    fn draw(&mut self) -> Result<(), Failure> {
        let Some(screen) = &mut self.screen else { return Ok(()) };
        self.tick += 1;
        let (columns, rows) = Output::size();
        let style = self.output.style;
        let frame =
            Frame { now: SystemClock.now(), tick: self.tick, columns, rows: rows.saturating_sub(1), style };
        screen.draw(self.view.picture(&frame))
    }
}

/// Says in one line how a plan ended.
pub(crate) fn verdict(outcome: &Outcome, output: Output) -> String {
    let style = output.style;
    let took = duration(outcome.duration_ms);
    match (outcome.status, &outcome.error) {
        (PlanStatus::Completed, _) => {
            format!("{} plan {} completed in {took}", style.paint(Paint::Good, "✔"), outcome.plan_id)
        }
        (PlanStatus::Failed(reason), Some(error)) => {
            let step =
                error.step.as_ref().map(|step| format!(" at step {}", escape(step))).unwrap_or_default();
            let what = format!("{}: {}", escape(&error.code), escape(&error.message));
            let mark = style.paint(Paint::Bad, "✘");
            format!("{mark} plan {} failed ({}){step} after {took}: {what}", outcome.plan_id, reason.as_str())
        }
        _ => {
            format!("{} plan {} was left before it ended", style.paint(Paint::Warning, "!"), outcome.plan_id)
        }
    }
}

#[cfg(test)]
mod tests;
