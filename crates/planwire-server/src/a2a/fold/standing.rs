//! What decides the state of a task: how its plan ended, or which questions are open. So small that every stream
//! carries its own.

use std::sync::Arc;

use planwire_event::vocabulary::{FailureReason, InputReceived, InputRequested, PlanFailed, QuestionKind};
use planwire_event::{EventId, EventType, PlanId, Position, StoredEvent};

use super::TaskFold;
use crate::a2a::wire::TaskState;

/// A question that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenQuestion {
    pub(crate) request_id: Arc<str>,
    /// The plan that asks, where this plan only repeats it.
    pub(crate) for_plan_id: Option<PlanId>,
    pub(crate) kind: QuestionKind,
    /// Its InputRequested on this plan.
    pub(crate) event_id: EventId,
}

/// How a plan stands as a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    ended: Option<TaskState>,
    /// Oldest first. The writer bounds their number by [`planwire_event::limits::OPEN_ITEMS_MAX`].
    open: Arc<Vec<OpenQuestion>>,
}

/// What an event does to how a plan stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing.
    None,
    Asked(Box<OpenQuestion>),
    /// A question is not open any more.
    Closed {
        request_id: Arc<str>,
        /// Whether somebody answered it.
        answered: bool,
    },
    Ended(TaskState),
}

impl Turn {
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
                Self::Asked(Box::new(OpenQuestion {
                    request_id: asked.request_id.into(),
                    for_plan_id: asked.for_plan_id,
                    kind: asked.kind,
                    event_id: event.event_id(),
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

impl Standing {
    /// Takes in the next event of the plan.
    pub(crate) fn apply(&mut self, turn: &Turn) {
        match turn {
            Turn::None => {}
            Turn::Asked(question) => Arc::make_mut(&mut self.open).push((**question).clone()),
            Turn::Closed { request_id, .. } => {
                if self.has_open(request_id) {
                    Arc::make_mut(&mut self.open).retain(|question| question.request_id != *request_id);
                }
            }
            Turn::Ended(state) => {
                self.ended = Some(*state);
                self.open = Arc::default();
            }
        }
    }

    /// The state of the task: its end, or what an open question makes of it, or else that it works.
    pub(crate) fn state(&self) -> TaskState {
        self.state_without(None)
    }

    /// The state if the question `settled` were closed.
    pub(crate) fn state_without(&self, settled: Option<&str>) -> TaskState {
        if let Some(ended) = self.ended {
            return ended;
        }
        let mut state = TaskState::Working;
        for question in self.open.iter().filter(|question| settled != Some(&*question.request_id)) {
            match question.kind {
                QuestionKind::Auth => state = TaskState::AuthRequired,
                // Who waits for access only is told so only if nothing else is asked.
                QuestionKind::Input | QuestionKind::Approval => return TaskState::InputRequired,
            }
        }
        state
    }

    /// Open questions, oldest first.
    pub(crate) fn questions(&self) -> &[OpenQuestion] {
        &self.open
    }

    fn has_open(&self, request_id: &str) -> bool {
        self.open.iter().any(|question| *question.request_id == *request_id)
    }
}

/// How a plan stands to a reader who has answered a question: it no longer counts for him, although the plan may still
/// repeat it.
#[derive(Clone, Debug)]
pub(crate) struct Followed {
    standing: Standing,
    settled: Option<String>,
    at: Position,
    /// The reader's present begins here; what stands before does not concern him any more.
    present: Position,
}

impl Followed {
    /// Starts where `start` is; `now` is the plan in the reader's present, which may lie further on.
    pub(crate) fn new(start: &TaskFold, now: &TaskFold, settled: Option<String>) -> Self {
        // A question that is not open is settled already; the same id asked again is another question.
        let settled = settled.filter(|request_id| now.standing().has_open(request_id));
        let (at, present) = (start.cursor().position, now.cursor().position);
        Self { standing: start.standing().clone(), settled, at, present }
    }

    /// Takes in the next event of the plan; the state after it, for all readers.
    pub(crate) fn apply(&mut self, stored: &StoredEvent) -> TaskState {
        let turn = Turn::of(stored);
        self.at = stored.position;
        if let Turn::Closed { request_id, .. } = &turn
            && self.at > self.present
            && self.settled.as_deref() == Some(&**request_id)
        {
            self.settled = None;
        }
        self.standing.apply(&turn);
        self.standing.state()
    }

    /// Whether the task has ended or waits for somebody, in this reader's eyes.
    pub(crate) fn rests(&self) -> bool {
        let state = self.standing.state_without(self.settled.as_deref());
        state.is_terminal() || (state.is_interrupted() && self.at >= self.present)
    }

    pub(crate) const fn has_ended(&self) -> bool {
        self.standing.ended.is_some()
    }
}
