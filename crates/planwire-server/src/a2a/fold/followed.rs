//! How a plan stands to one reader, event by event.

use planwire_event::vocabulary::QuestionKind;
use planwire_event::{Position, StoredEvent};

use super::{OpenQuestion, Standing, TaskFold, Turn};
use crate::a2a::wire::TaskState;

/// A question that a reader's message has answered. It no longer counts for him, although his task may still repeat
/// it: the answer stands on the plan that asked, perhaps another one.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    pub(crate) request_id: String,
    /// The place of the answer.
    pub(crate) at: Position,
}

impl Settled {
    /// Whether this is the question that was answered. The same id asked again later is another question.
    pub(crate) fn is(&self, question: &OpenQuestion) -> bool {
        question.asked_at < self.at && *question.request_id == *self.request_id
    }
}

/// How a plan stands to one reader.
#[derive(Clone, Debug)]
pub(crate) struct Followed {
    standing: Standing,
    settled: Option<Settled>,
    /// The kind of the question that is settled, while the plan still repeats it.
    repeated: Option<QuestionKind>,
    at: Position,
    /// The reader's present begins here; what stands before does not concern him any more.
    present: Position,
}

impl Followed {
    /// Starts where `start` is; `now` is the plan in the reader's present, which may lie further on.
    pub(crate) fn new(start: &TaskFold, now: &TaskFold, settled: Option<Settled>) -> Self {
        let (at, present) = (start.cursor().position, now.cursor().position);
        let repeated = settled.as_ref().and_then(|settled| {
            start.questions().iter().find(|question| settled.is(question)).map(|question| question.kind)
        });
        Self { standing: start.standing().clone(), settled, repeated, at, present }
    }

    /// Takes in the next event of the plan; the state after it, for all readers.
    pub(crate) fn apply(&mut self, stored: &StoredEvent) -> TaskState {
        self.at = stored.position;
        let turn = Turn::of(stored);
        self.standing.apply(&turn);
        if let Some(settled) = &self.settled {
            match turn {
                Turn::Asked(question) if settled.is(&question) => self.repeated = Some(question.kind),
                Turn::Closed { request_id, .. } if *request_id == *settled.request_id => self.repeated = None,
                _ => {}
            }
        }
        self.standing.counts().state()
    }

    /// Whether the task has ended or waits for somebody, in this reader's eyes.
    pub(crate) fn rests(&self) -> bool {
        let counts = self.standing.counts();
        let state = self.repeated.map_or(counts, |kind| counts.without(kind)).state();
        state.is_terminal() || (state.is_interrupted() && self.at >= self.present)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.standing.counts().state().is_terminal()
    }
}
