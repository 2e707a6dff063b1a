//! What decides the state of a task: how its plan ended, or which questions are open.

use std::sync::Arc;

use planwire_event::vocabulary::{FailureReason, InputReceived, InputRequested, PlanFailed, QuestionKind};
use planwire_event::{EventId, EventType, PlanId, Position, StoredEvent};

use crate::a2a::wire::TaskState;

/// A question that is open.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OpenQuestion {
    pub(crate) request_id: Arc<str>,
    /// The plan that asks, where this plan only repeats it.
    pub(crate) for_plan_id: Option<PlanId>,
    pub(crate) kind: QuestionKind,
    /// Its InputRequested on this plan.
    pub(crate) event_id: EventId,
    /// The place of that.
    pub(crate) asked_at: Position,
}

/// How a plan stands as a task, in numbers: what decides its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    ended: Option<TaskState>,
    /// Open questions for access.
    auth: u32,
    /// Other open questions.
    others: u32,
}

/// How a plan stands as a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Oldest first. The writer bounds their number by [`planwire_event::limits::OPEN_ITEMS_MAX`].
    open: Arc<Vec<Arc<OpenQuestion>>>,
    counts: Counts,
}

/// What an event does to how a plan stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing.
    None,
    Asked(Arc<OpenQuestion>),
    /// A question is not open any more.
    Closed {
        request_id: Arc<str>,
        /// Whether somebody answered it.
        answered: bool,
    },
    Ended(TaskState),
}

impl Turn {
    /// Whether events of a type are turns; no other changes how a plan stands.
    pub(crate) const fn is_one(event_type: &EventType) -> bool {
        matches!(
            event_type,
            EventType::PlanCompleted
                | EventType::PlanFailed
                | EventType::InputRequested
                | EventType::InputReceived
        )
    }

    pub(crate) fn of(stored: &StoredEvent) -> Self {
        let event = &stored.event;
        match event.event_type() {
            EventType::PlanCompleted => Self::Ended(TaskState::Completed),
            EventType::PlanFailed => {
                // A payload that retention removed cannot be read; the plan has ended all the same.
                let reason = event.read::<PlanFailed>().map(|failed| failed.reason);
                Self::Ended(match reason {
                    Some(FailureReason::Cancelled) => TaskState::Canceled,
                    Some(FailureReason::Rejected) => TaskState::Rejected,
                    _ => TaskState::Failed,
                })
            }
            EventType::InputRequested => event.read::<InputRequested>().map_or(Self::None, |asked| {
                Self::Asked(Arc::new(OpenQuestion {
                    request_id: asked.request_id.into(),
                    for_plan_id: asked.for_plan_id,
                    kind: asked.kind,
                    event_id: event.event_id(),
                    asked_at: stored.position,
                }))
            }),
            EventType::InputReceived => event.read::<InputReceived>().map_or(Self::None, |received| {
                use planwire_event::vocabulary::AnswerOutcome::Answered;
                let answered = received.outcome == Answered;
                Self::Closed { request_id: received.request_id.into(), answered }
            }),
            _ => Self::None,
        }
    }
}

impl Counts {
    /// The state of the task: its end, or what an open question makes of it, or else that it works.
    pub(crate) fn state(self) -> TaskState {
        match self {
            Self { ended: Some(ended), .. } => ended,
            // Who waits for access only is told so only if nothing else is asked.
            Self { others: 1.., .. } => TaskState::InputRequired,
            Self { auth: 1.., .. } => TaskState::AuthRequired,
            _ => TaskState::Working,
        }
    }

    /// The same if an open question of this kind were closed.
    pub(crate) fn without(mut self, kind: QuestionKind) -> Self {
        let count = self.of(kind);
        *count = count.saturating_sub(1);
        self
    }

    const fn of(&mut self, kind: QuestionKind) -> &mut u32 {
        match kind {
            QuestionKind::Auth => &mut self.auth,
            QuestionKind::Input | QuestionKind::Approval => &mut self.others,
        }
    }
}

impl Standing {
    /// Takes in the next event of the plan.
    pub(crate) fn apply(&mut self, turn: &Turn) {
        match turn {
            Turn::None => {}
            Turn::Asked(question) => {
                *self.counts.of(question.kind) += 1;
                Arc::make_mut(&mut self.open).push(Arc::clone(question));
            }
            Turn::Closed { request_id, .. } => self.close(request_id),
            Turn::Ended(state) => {
                self.counts = Counts { ended: Some(*state), ..Counts::default() };
                self.open = Arc::default();
            }
        }
    }

    fn close(&mut self, request_id: &str) {
        if !self.open.iter().any(|question| *question.request_id == *request_id) {
            return;
        }
        let counts = &mut self.counts;
        Arc::make_mut(&mut self.open).retain(|question| {
            let stays = *question.request_id != *request_id;
            if !stays {
                *counts = counts.without(question.kind);
            }
            stays
        });
    }

    pub(crate) const fn counts(&self) -> Counts {
        self.counts
    }

    /// Open questions, oldest first.
    pub(crate) fn questions(&self) -> &[Arc<OpenQuestion>] {
        &self.open
    }
}
