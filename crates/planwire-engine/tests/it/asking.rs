//! Follows the questions of a tree, and answers them.

use planwire_bus::{Item, PublishError, StartAt};
use planwire_event::vocabulary::{AnswerOutcome, InputReceived, InputRequested};
use planwire_event::{Event, Filter, IdGenerator, PlanId, SystemClock};
use serde_json::Value;

use crate::house::{Events, House};

/// Questions on any plan of a tree, one after the other.
pub(crate) struct Asked(planwire_bus::Subscription);

impl Asked {
    pub(crate) async fn of(house: &House, root: &PlanId) -> Self {
        Self(house.bus.stream(Filter::tree(root.clone()), StartAt::Start).await.unwrap())
    }

    /// The next question, also one that only repeats another.
    pub(crate) async fn next(&mut self) -> (PlanId, InputRequested) {
        loop {
            let Some(Item::Event(event)) = self.0.next().await.unwrap() else { panic!("no question") };
            if let Some(asked) = event.event.read() {
                return (event.plan_id().clone(), asked);
            }
        }
    }
}

pub(crate) fn answer_of(asked: &InputRequested, value: Value) -> InputReceived {
    InputReceived {
        request_id: asked.request_id.clone(),
        outcome: AnswerOutcome::Answered,
        value,
        answered_by: "ann".into(),
        via: "cli".into(),
        arguments_digest: asked.arguments_digest.clone(),
        message: None,
    }
}

pub(crate) async fn publish(
    house: &House,
    plan: &PlanId,
    answer: &InputReceived,
) -> Result<(), PublishError> {
    let event = Event::of(&IdGenerator::system(), &SystemClock, plan.clone(), answer).unwrap();
    house.bus.publish(event).await.map(drop)
}

pub(crate) async fn answer(house: &House, plan: &PlanId, asked: &InputRequested, value: Value) {
    publish(house, plan, &answer_of(asked, value)).await.unwrap();
}

/// Runs a document and answers its questions in turn.
pub(crate) async fn run_with(
    house: &House,
    document: &str,
    answers: impl IntoIterator<Item = Value>,
) -> Events {
    let root = house.start(document).await;
    let mut asked = Asked::of(house, &root).await;
    for value in answers {
        let (plan, question) = asked.next().await;
        answer(house, &plan, &question, value).await;
    }
    house.tree(&root).await
}
