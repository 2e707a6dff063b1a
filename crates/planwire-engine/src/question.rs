//! Questions to people: waits for the answer, and says when there is none. Publishes `InputRequested` and
//! `InputReceived`.
//!
//! A question is asked on its plan and repeated on the plans above it. Its answer comes as an event on its own plan,
//! published by anybody: the log takes the first and refuses every other, and so it decides between an answer, the
//! expiry and the end of the plan. **Invariant:** whoever waits is known before the question is visible, and a
//! question that was asked gets exactly one outcome, on its plan and on those above it, unless all of them end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use planwire_bus::{Attachments, PublishError};
use planwire_event::vocabulary::{AnswerOutcome, InputReceived, InputRequested};
use planwire_event::{Event, PayloadError, PlanId, Refusal};
use tokio::sync::oneshot::{self, Receiver, Sender};
use tokio::time::{Instant, sleep_until};

use crate::history::OpenQuestions;
use crate::shared::{Shared, Tree};
use crate::stop::Stop;

/// Questions of one tree that are open at a time; each is repeated on all plans above it.
pub const TREE_QUESTIONS_MAX: usize = 1_000;
/// How often a question is asked whose answers do not fit, the first time included.
pub const ROUNDS_MAX: u32 = 3;

/// Who says that a question expired or was withdrawn, and by what way.
const EXECUTOR: (&str, &str) = ("executor", "engine");

const _: () = assert!(TREE_QUESTIONS_MAX < planwire_event::limits::OPEN_ITEMS_MAX);

type Key = (PlanId, String);

/// Who waits for the answer to which question.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<HashMap<Key, Sender<InputReceived>>>);

impl Waiters {
    /// Takes an answer to whoever waits for it.
    pub(crate) fn answered(&self, plan_id: &PlanId, answer: InputReceived) {
        // The other outcomes are our own, and known to the one who published them.
        if answer.outcome != AnswerOutcome::Answered {
            return;
        }
        let key = (plan_id.clone(), answer.request_id.clone());
        if let Some(waiter) = self.all().remove(&key) {
            let _ = waiter.send(answer);
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Key, Sender<InputReceived>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An entry among those who wait, until it is dropped.
struct Waiter {
    shared: Arc<Shared>,
    key: Key,
    answer: Receiver<InputReceived>,
}

impl Waiter {
    fn enter(shared: &Arc<Shared>, key: Key) -> Self {
        let (sender, answer) = oneshot::channel();
        shared.waiters.all().insert(key.clone(), sender);
        Self { shared: Arc::clone(shared), key, answer }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.shared.waiters.all().remove(&self.key);
    }
}

/// A place among the questions of a tree, until it is dropped.
pub(crate) struct Place(Arc<Tree>);

impl Place {
    /// Takes a place, if there is one.
    pub(crate) fn take(tree: &Arc<Tree>) -> Option<Self> {
        tree.add_question().then(|| Self(Arc::clone(tree)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.question_closed();
    }
}

/// A question that is asked by a step.
pub(crate) struct Question {
    /// The step, by its place in the document.
    pub(crate) step: usize,
    /// As its event says it; the id is that of this round.
    pub(crate) asked: InputRequested,
    /// What is asked, whatever was wrong with an earlier answer.
    pub(crate) text: String,
    /// 1, 2, ..: how often it was asked.
    pub(crate) round: u32,
    pub(crate) deadline: Instant,
    plan_id: PlanId,
    above: Arc<[PlanId]>,
    /// Where this round is repeated.
    repeated_on: Arc<[PlanId]>,
    waiter: Waiter,
    _place: Place,
}

/// Where a question is asked.
pub(crate) struct Asker<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) plan_id: &'a PlanId,
    /// The plans above it, the next one first.
    pub(crate) above: &'a Arc<[PlanId]>,
}

impl Question {
    /// A question for the first time.
    pub(crate) fn new(
        asker: &Asker<'_>,
        step: usize,
        asked: InputRequested,
        deadline: Instant,
        place: Place,
    ) -> Self {
        let (plan_id, above) = (asker.plan_id.clone(), Arc::clone(asker.above));
        let waiter = Waiter::enter(asker.shared, (plan_id.clone(), asked.request_id.clone()));
        let text = asked.question.clone();
        let repeated_on = Arc::clone(&above);
        Self { step, asked, text, round: 1, deadline, plan_id, above, repeated_on, waiter, _place: place }
    }

    /// A question that was asked by a former executor, first with `text` and now in this round. It is closed where it
    /// is open.
    pub(crate) fn taken_up(mut self, text: String, round: u32, open: &OpenQuestions) -> Self {
        let is_open = |plan: &&PlanId| open.contains(&((*plan).clone(), self.asked.request_id.clone()));
        self.repeated_on = self.above.iter().filter(is_open).cloned().collect();
        (self.text, self.round) = (text, round);
        self
    }

    /// The events that repeat it on the plans above where it is not open, for one whose own event is all that was
    /// stored.
    pub(crate) fn missing_above(&mut self) -> Result<Vec<Event>, PayloadError> {
        let missing: Vec<_> =
            self.above.iter().filter(|plan| !self.repeated_on.contains(plan)).cloned().collect();
        self.repeated_on = Arc::clone(&self.above);
        self.repeats_on(&missing)
    }

    /// The same question once more, with what was wrong with the last answer.
    pub(crate) fn again(self, why: &str) -> Self {
        let shared = Arc::clone(&self.waiter.shared);
        let request_id = shared.ids.next_id().to_string();
        let question = format!("{} (the last answer did not fit: {why})", self.text);
        let question = crate::failure::text(shared.secrets.redactor(), &question);
        let asked = InputRequested { request_id: request_id.clone(), question, ..self.asked };
        let waiter = Waiter::enter(&shared, (self.plan_id.clone(), request_id));
        let repeated_on = Arc::clone(&self.above);
        Self { asked, round: self.round + 1, repeated_on, waiter, ..self }
    }

    /// The events that ask it: on its own plan, then on those above.
    pub(crate) fn requested(&self) -> Result<Vec<Event>, PayloadError> {
        let mut events = vec![self.waiter.shared.event(&self.plan_id, &self.asked)?];
        events.extend(self.repeats_on(&self.repeated_on)?);
        Ok(events)
    }

    fn repeats_on(&self, plans: &[PlanId]) -> Result<Vec<Event>, PayloadError> {
        let repeated = InputRequested { for_plan_id: Some(self.plan_id.clone()), ..self.asked.clone() };
        plans.iter().map(|plan| self.waiter.shared.event(plan, &repeated)).collect()
    }

    /// The events that repeat the answer above.
    pub(crate) fn repeated(&self, answer: &InputReceived) -> Result<Vec<Event>, PayloadError> {
        let repeat = |answer: &InputReceived| -> Result<Vec<Event>, PayloadError> {
            self.repeated_on.iter().map(|plan| self.waiter.shared.event(plan, answer)).collect()
        };
        // What fits on its own plan fits above, unless it is full of secrets: markers are longer.
        repeat(answer).or_else(|_| {
            let (value, message) = (serde_json::Value::Null, None);
            repeat(&InputReceived { value, message, ..answer.clone() })
        })
    }

    /// The events that say that nobody will answer any more.
    fn closed(&self, outcome: AnswerOutcome) -> Result<Vec<Event>, PayloadError> {
        let received = InputReceived {
            request_id: self.asked.request_id.clone(),
            outcome,
            value: serde_json::Value::Null,
            answered_by: EXECUTOR.0.into(),
            via: EXECUTOR.1.into(),
            arguments_digest: None,
            message: None,
        };
        let mut events = vec![self.waiter.shared.event(&self.plan_id, &received)?];
        events.extend(self.repeated(&received)?);
        Ok(events)
    }
}

/// What came of a question.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Its event is durable; it is not repeated above yet.
    Answered(InputReceived),
    /// Nobody answered in time; all events of it are durable.
    Expired,
    /// Its plan ends; all events of it are durable.
    Withdrawn,
    /// The log takes no more events.
    Lost,
}

/// Waits for what comes of a question whose events are durable.
pub(crate) async fn wait(mut question: Question, stop: Stop) -> (Question, Outcome) {
    let outcome = tokio::select! {
        biased;
        Ok(answer) = &mut question.waiter.answer => return (question, Outcome::Answered(answer)),
        _ = stop.wait() => AnswerOutcome::Withdrawn,
        () = sleep_until(question.deadline) => AnswerOutcome::Expired,
    };
    let outcome = close(&mut question, outcome).await;
    (question, outcome)
}

/// Closes a question, unless an answer came first: the log knows.
async fn close(question: &mut Question, outcome: AnswerOutcome) -> Outcome {
    let Ok(events) = question.closed(outcome) else { return Outcome::Lost };
    let published = question.waiter.shared.publish(events, Attachments::default()).await;
    match (published, outcome) {
        (Ok(_), AnswerOutcome::Expired) => Outcome::Expired,
        (Ok(_), _) => Outcome::Withdrawn,
        (Err(PublishError::Rejected { refusal: Refusal::RequestNotOpen { .. }, .. }), _) => {
            (&mut question.waiter.answer).await.map_or(Outcome::Lost, Outcome::Answered)
        }
        (Err(error), _) => {
            tracing::error!(plan = %question.plan_id, %error, "a question cannot be closed");
            Outcome::Lost
        }
    }
}
