//! How a plan stands to one reader, event by event.

use std::sync::Arc;

use planwire_bus::ReadError;
use planwire_event::vocabulary::QuestionKind;
use planwire_event::{EventType, Position, StoredEvent};

use super::ledger::Ledger;
use super::{Counts, OpenQuestion, Standing, TaskFold, Turn};
use crate::a2a::wire::TaskState;
use crate::app::App;

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

/// How a plan stands to one reader: a few numbers. Which questions are open is known to the ledger, which all readers
/// of the plan share.
#[derive(Debug)]
pub(crate) struct Followed {
    ledger: Arc<Ledger>,
    counts: Counts,
    /// What the reader works out for itself, while it is further behind than the ledger reaches back.
    own: Option<Standing>,
    settled: Option<Settled>,
    /// The kind of the question that is settled, while the plan still repeats it.
    repeated: Option<QuestionKind>,
    at: Position,
    /// The reader's present begins here; what stands before does not concern him any more.
    present: Position,
}

impl Followed {
    /// Starts where `start` is; `now` is the plan in the reader's present, which may lie further on.
    pub(crate) fn new(app: &App, start: &TaskFold, now: &TaskFold, settled: Option<Settled>) -> Self {
        let (ledger, stands_there) = app.ledgers.join(start);
        let own = (!stands_there).then(|| start.standing().clone());
        let (at, present) = (start.cursor().position, now.cursor().position);
        let repeated = settled.as_ref().and_then(|settled| {
            start.questions().iter().find(|question| settled.is(question)).map(|question| question.kind)
        });
        Self { ledger, counts: start.standing().counts(), own, settled, repeated, at, present }
    }

    /// Takes in the next event of the plan; the state after it, for all readers.
    ///
    /// # Errors
    ///
    /// [`ReadError::Store`] if the reader is far behind, and how the plan stood there could not be read.
    pub(crate) async fn apply(&mut self, app: &App, stored: &StoredEvent) -> Result<TaskState, ReadError> {
        self.at = stored.position;
        if Turn::is_one(stored.event.event_type()) {
            self.counts = match self.ledger.after(stored) {
                Some(counts) => {
                    self.own = None;
                    counts
                }
                None => self.worked_out(app, stored).await?,
            };
            self.note_settled(stored);
        }
        Ok(self.counts.state())
    }

    /// How the plan stands after `stored`, a turn that the ledger keeps no longer.
    async fn worked_out(&mut self, app: &App, stored: &StoredEvent) -> Result<Counts, ReadError> {
        match &mut self.own {
            Some(own) => own.apply(&Turn::of(stored)),
            None => {
                let fold = app.folds.as_of(app, stored.plan_id(), stored.position).await?;
                self.own = fold.map(|fold| fold.standing().clone());
            }
        }
        Ok(self.own.as_ref().map_or(self.counts, Standing::counts))
    }

    /// Whether the plan still repeats the question that is settled.
    fn note_settled(&mut self, stored: &StoredEvent) {
        let Some(settled) = &self.settled else { return };
        match stored.event.event_type() {
            EventType::InputRequested if stored.position < settled.at => {
                if let Turn::Asked(question) = Turn::of(stored)
                    && settled.is(&question)
                {
                    self.repeated = Some(question.kind);
                }
            }
            EventType::InputReceived if self.repeated.is_some() => {
                if let Turn::Closed { request_id, .. } = Turn::of(stored)
                    && *request_id == *settled.request_id
                {
                    self.repeated = None;
                }
            }
            _ => {}
        }
    }

    /// Whether the ledger does not reach back to this reader.
    #[cfg(test)]
    pub(super) const fn works_out(&self) -> bool {
        self.own.is_some()
    }

    /// Whether the task has ended or waits for somebody, in this reader's eyes.
    pub(crate) fn rests(&self) -> bool {
        let state = self.repeated.map_or(self.counts, |kind| self.counts.without(kind)).state();
        state.is_terminal() || (state.is_interrupted() && self.at >= self.present)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.counts.state().is_terminal()
    }
}
