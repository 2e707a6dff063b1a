//! The part of an event that decides what may follow.

use std::sync::Arc;

use crate::event_type::EventType;
use crate::ids::PlanId;
use crate::payload::{Payload, PayloadError};
use crate::vocabulary::{
    AnswerOutcome, ArtifactProduced, CancelRequested, DecisionMade, FailureReason, InputReceived,
    InputRequested, LimitWarned, PauseRequested, PlanAdopted, PlanCompleted, PlanFailed, PlanStarted,
    ResumeRequested, SubplanCompleted, SubplanSpawned, ToolCalled, ToolCompleted, ToolProgress,
};

/// The part of an event that decides what may follow.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// The plan starts.
    Started(Box<PlanStarted>),
    /// The plan ends well.
    Completed,
    /// The plan ends otherwise.
    Failed(FailureReason),
    /// A call opens.
    Called(Arc<str>),
    /// A call that is open says something.
    CallProgress(Arc<str>),
    /// A call closes.
    CallEnded(Arc<str>),
    /// A child is announced.
    Spawned(PlanId),
    /// A child's end is reported.
    ChildEnded(PlanId),
    /// A question is asked.
    Asked {
        /// The question.
        request_id: Arc<str>,
        /// What is asked.
        question: Question,
    },
    /// A question is answered, or is not open any more.
    Answered {
        /// The question.
        request_id: Arc<str>,
        /// What came of it.
        outcome: AnswerOutcome,
        /// The digest of the arguments that the answer is about.
        arguments_digest: Option<Arc<str>>,
    },
    /// Another executor takes the tree over.
    Adopted {
        /// Who runs it from now on.
        executor_id: Arc<str>,
        /// Who ran it until now.
        previous: Arc<str>,
    },
    /// Nothing that matters here.
    Other,
}

/// What matters of an open question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Where this only repeats it: the plan that asks.
    pub for_plan_id: Option<PlanId>,
    /// The digest of what is to be approved.
    pub arguments_digest: Option<Arc<str>>,
}

impl Fact {
    /// Takes the fact out of an event, and checks that the payload fits its type.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Shape`] if a member is missing or of the wrong type.
    pub fn of(event_type: &EventType, payload: &Payload) -> Result<Self, PayloadError> {
        let shape = |error: serde_json::Error| PayloadError::Shape {
            event_type: event_type.to_string(),
            message: error.to_string(),
        };
        Ok(match event_type {
            EventType::PlanStarted => Self::Started(Box::new(payload.read::<PlanStarted>().map_err(shape)?)),
            EventType::PlanCompleted => {
                payload.read::<PlanCompleted>().map_err(shape)?;
                Self::Completed
            }
            EventType::PlanFailed => Self::Failed(payload.read::<PlanFailed>().map_err(shape)?.reason),
            EventType::DecisionMade => {
                payload.read::<DecisionMade>().map_err(shape)?;
                Self::Other
            }
            EventType::ToolCalled => {
                Self::Called(payload.read::<ToolCalled>().map_err(shape)?.call_id.into())
            }
            EventType::ToolProgress => {
                Self::CallProgress(payload.read::<ToolProgress>().map_err(shape)?.call_id.into())
            }
            EventType::ToolCompleted => {
                Self::CallEnded(payload.read::<ToolCompleted>().map_err(shape)?.call_id.into())
            }
            EventType::SubplanSpawned => {
                Self::Spawned(payload.read::<SubplanSpawned>().map_err(shape)?.child_plan_id)
            }
            EventType::SubplanCompleted => {
                Self::ChildEnded(payload.read::<SubplanCompleted>().map_err(shape)?.child_plan_id)
            }
            EventType::ArtifactProduced => {
                payload.read::<ArtifactProduced>().map_err(shape)?;
                Self::Other
            }
            EventType::InputRequested => {
                let asked = payload.read::<InputRequested>().map_err(shape)?;
                let arguments_digest = asked.arguments_digest.map(Arc::from);
                let question = Question { for_plan_id: asked.for_plan_id, arguments_digest };
                Self::Asked { request_id: asked.request_id.into(), question }
            }
            EventType::InputReceived => {
                let answer = payload.read::<InputReceived>().map_err(shape)?;
                Self::Answered {
                    request_id: answer.request_id.into(),
                    outcome: answer.outcome,
                    arguments_digest: answer.arguments_digest.map(Arc::from),
                }
            }
            EventType::CancelRequested => {
                payload.read::<CancelRequested>().map_err(shape)?;
                Self::Other
            }
            EventType::PauseRequested => {
                payload.read::<PauseRequested>().map_err(shape)?;
                Self::Other
            }
            EventType::ResumeRequested => {
                payload.read::<ResumeRequested>().map_err(shape)?;
                Self::Other
            }
            EventType::PlanAdopted => {
                let adopted = payload.read::<PlanAdopted>().map_err(shape)?;
                Self::Adopted { executor_id: adopted.executor_id.into(), previous: adopted.previous.into() }
            }
            EventType::LimitWarned => {
                payload.read::<LimitWarned>().map_err(shape)?;
                Self::Other
            }
            EventType::Custom(_) => Self::Other,
        })
    }

    /// Plans other than its own that the event names.
    #[must_use]
    pub fn named_plan(&self) -> Option<&PlanId> {
        match self {
            Self::Started(started) => started.parent_plan_id.as_ref(),
            Self::Spawned(child) | Self::ChildEnded(child) => Some(child),
            _ => None,
        }
    }
}
