//! Answering the open question of a plan: `POST /v1/plans/{plan_id}/answer`, and what A2A messages do the same way.
//!
//! A question of a subplan is repeated on each ancestor; the answer is published where it was asked first, on its
//! origin. **Invariant:** the writer is the one arbiter: the first answer wins, the second gets a refusal.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use planwire_bus::{PublishError, Published, ReadError};
use planwire_event::answer::{self as check, AnswerError, SchemaError, TextError};
use planwire_event::limits::OPEN_ID_BYTES_MAX;
use planwire_event::vocabulary::{AnswerOutcome, InputReceived, InputRequested, QuestionKind};
use planwire_event::{
    Cursor, Event, EventId, EventType, Payload, PayloadError, PlanId, Position, Refusal, Seq,
};
use planwire_store::StoreError;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::a2a::fold::OpenQuestion;
use crate::app::{App, PRINCIPAL};
use crate::body;
use crate::openapi::{Answer, Content, Operation};
use crate::params::{IN_PATH_PLAN, PlanPath};
use crate::problem::{Kind, Problem};

/// Bytes of who answered, of how, and of a digest.
const NAME_BYTES_MAX: usize = 256;

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) question: Choice,
    pub(crate) value: GivenValue,
    pub(crate) answered_by: String,
    /// `http`, `a2a`, `cli`, `page` ...
    pub(crate) via: String,
    /// The digest of the arguments that the answer is about.
    pub(crate) arguments_digest: Option<String>,
    /// The message that brought the answer.
    pub(crate) message: Option<Value>,
    /// Makes the answer safe to repeat.
    pub(crate) event_id: Option<EventId>,
}

/// Which question is meant.
#[derive(Clone, Debug)]
pub(crate) enum Choice {
    /// The one of this request id.
    Named(String),
    /// The only one that is open.
    Only,
    /// The one that has been open longest.
    Oldest,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum GivenValue {
    Json(Value),
    /// What somebody typed; its type is that of the question.
    Text(String),
}

/// An answer that was taken.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    /// The plan that asked.
    pub(crate) origin: PlanId,
    pub(crate) request_id: String,
    pub(crate) published: Published,
}

/// Why an answer was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerFault {
    #[error("the plan is unknown")]
    PlanUnknown,
    #[error("the plan asks nothing")]
    NoQuestion,
    #[error("the plan asks {} questions; name one by its request_id", request_ids.len())]
    SeveralQuestions { request_ids: Vec<String> },
    #[error("the answer does not fit the question '{request_id}'")]
    Unfit { request_id: String, errors: Vec<AnswerError> },
    /// No event can say it.
    #[error(transparent)]
    Malformed(#[from] PayloadError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl From<StoreError> for AnswerFault {
    fn from(error: StoreError) -> Self {
        Self::Read(error.into())
    }
}

/// Answers a question of `plan`, wherever below it the question was asked first.
pub(crate) async fn answer(app: &Arc<App>, plan: &PlanId, given: Given) -> Result<Answered, AnswerFault> {
    let (origin, request_id, value) = match repeated(app, &given).await? {
        Some(repeated) => repeated,
        None => resolved(app, plan, &given).await?,
    };
    let payload = InputReceived {
        request_id: request_id.clone(),
        outcome: AnswerOutcome::Answered,
        value,
        answered_by: given.answered_by,
        via: given.via,
        arguments_digest: given.arguments_digest,
        message: given.message,
    };
    refuse_secrets(app, &origin, &payload)?;
    let event_id = given.event_id.unwrap_or_else(|| app.config.ids.next_id());
    let payload = Payload::of(&payload).map_err(PayloadError::from)?;
    let event =
        Event::new(event_id, EventType::InputReceived, origin.clone(), app.config.clock.now(), payload)?;
    let published = app.publisher.publish(event).await?;
    Ok(Answered { origin, request_id, published })
}

/// Refuses an answer that holds the value of a secret or what looks like one: a marker in its place would be no answer.
fn refuse_secrets(app: &App, plan: &PlanId, received: &InputReceived) -> Result<(), AnswerFault> {
    let InputReceived { value, answered_by, via, message, .. } = received;
    if !app.redact(Some(plan), &mut json!([value, answered_by, via, message])) {
        return Ok(());
    }
    let message =
        "it holds the value of a secret, or what looks like one, which would be in the log; nothing was stored".to_owned();
    let errors = vec![AnswerError { path: String::new(), message }];
    Err(AnswerFault::Unfit { request_id: received.request_id.clone(), errors })
}

/// What the event of this id says, if it is an answer that is stored: published again, it is a repetition or, with
/// another value, a conflict. The question is not open any more, so it cannot be asked about.
async fn repeated(app: &App, given: &Given) -> Result<Option<(PlanId, String, Value)>, AnswerFault> {
    let Some(event_id) = given.event_id else { return Ok(None) };
    let found = app.bus.repository().by_event_ids(&[event_id]).await?;
    let Some(stored) = found.first() else { return Ok(None) };
    let Some(received) = stored.event.read::<InputReceived>() else { return Ok(None) };
    let request_id = match &given.question {
        Choice::Named(named) => named.clone(),
        Choice::Only | Choice::Oldest => received.request_id,
    };
    let value = match &given.value {
        GivenValue::Json(value) => value.clone(),
        GivenValue::Text(_) => received.value,
    };
    Ok(Some((stored.plan_id().clone(), request_id, value)))
}

/// The plan that asks, its question, and the value as the question wants it.
async fn resolved(
    app: &Arc<App>,
    plan: &PlanId,
    given: &Given,
) -> Result<(PlanId, String, Value), AnswerFault> {
    let fold = app.folds.latest(app, plan).await?.ok_or(AnswerFault::PlanUnknown)?;
    let open = fold.questions();
    let question = match &given.question {
        Choice::Named(request_id) => open.iter().find(|question| *question.request_id == **request_id),
        Choice::Oldest => open.first(),
        Choice::Only => match open {
            [] | [_] => open.first(),
            several => {
                let request_ids = several.iter().map(|question| question.request_id.to_string()).collect();
                return Err(AnswerFault::SeveralQuestions { request_ids });
            }
        },
    };
    let Some(question) = question else {
        return match &given.question {
            // The writer says why it is not open, and it alone knows for certain.
            Choice::Named(request_id) => Ok((plan.clone(), request_id.clone(), untyped(&given.value))),
            Choice::Only | Choice::Oldest => Err(AnswerFault::NoQuestion),
        };
    };
    let value = value_for(app, question, &given.value).await?;
    let origin = question.for_plan_id.clone().unwrap_or_else(|| plan.clone());
    Ok((origin, question.request_id.to_string(), value))
}

fn untyped(value: &GivenValue) -> Value {
    match value {
        GivenValue::Json(value) => value.clone(),
        GivenValue::Text(text) => Value::String(text.clone()),
    }
}

/// The value, if it fits the question.
async fn value_for(app: &App, question: &OpenQuestion, given: &GivenValue) -> Result<Value, AnswerFault> {
    let found = app.bus.repository().by_event_ids(&[question.event_id]).await?;
    let asked = found.first().and_then(|stored| stored.event.read::<InputRequested>());
    // A question whose payload was removed has no schema any more.
    let schema = asked.and_then(|asked| asked.schema);
    let schema = schema.or_else(|| (question.kind == QuestionKind::Approval).then(check::approval_schema));
    let unfit = |errors| AnswerFault::Unfit { request_id: question.request_id.to_string(), errors };
    match given {
        GivenValue::Json(value) => match check::check(schema.as_ref(), value) {
            Ok(errors) if errors.is_empty() => Ok(value.clone()),
            Ok(errors) => Err(unfit(errors)),
            Err(error) => Ok(unchecked(question, &error, value.clone())),
        },
        GivenValue::Text(text) => match check::from_text(question.kind, schema.as_ref(), text) {
            Ok(value) => Ok(value),
            Err(TextError::Unfit { errors, .. }) => Err(unfit(errors)),
            Err(TextError::Schema(error)) => Ok(unchecked(question, &error, Value::String(text.clone()))),
            Err(error) => Err(unfit(vec![AnswerError { path: String::new(), message: error.to_string() }])),
        },
    }
}

/// A question whose schema is none must be answerable all the same: who asked has to look at what comes.
fn unchecked(question: &OpenQuestion, error: &SchemaError, value: Value) -> Value {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        request_id = &*question.request_id,
        "an answer is not checked, since the schema of its question is none"
    );
    value
}

/// An answer to an open question.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AnswerQuestion", extend("required" = ["value"], "examples" = [{"value": true}]))]
struct Request {
    /// The question; may be left out if exactly one is open.
    #[schemars(length(max = OPEN_ID_BYTES_MAX))]
    request_id: Option<String>,
    /// The answer, as the question's schema wants it.
    #[serde(default, deserialize_with = "present")]
    value: Option<Value>,
    /// Who answered.
    #[schemars(length(max = NAME_BYTES_MAX))]
    answered_by: Option<String>,
    /// How: `http`, `page` ...
    #[schemars(length(max = NAME_BYTES_MAX))]
    via: Option<String>,
    /// The digest of the arguments that the answer is about.
    #[schemars(length(max = NAME_BYTES_MAX))]
    arguments_digest: Option<String>,
    /// Makes the answer safe to repeat.
    #[schemars(with = "Option<EventId>")]
    event_id: Option<String>,
}

/// An answer that is in the log.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Taken {
    /// The plan that asked.
    plan_id: PlanId,
    /// The question.
    request_id: String,
    /// The InputReceived.
    event_id: EventId,
    /// Its place in the log.
    position: Position,
    /// The same in a form that also names the log.
    cursor: Cursor,
    /// Its place in the plan that asked.
    seq: Seq,
    /// Whether it was stored before, by an earlier request.
    duplicate: bool,
}

pub(crate) static PLAN: Operation = Operation {
    id: "answerPlan",
    summary: "Answers an open question of a plan",
    description: "The answer is published on the plan that asked first; the first answer wins. With an `event_id` of \
                  one's own the request can be repeated safely.",
    parameters: &[IN_PATH_PLAN],
    body: Some(Content::request::<Request>()),
    answers: &[Answer::new(200, "The answer is on disk.", &[Content::answer::<Taken>()])],
    faults: &[],
    problems: &[
        body::PROBLEMS,
        &[
            Kind::IdMalformed,
            Kind::PlanUnknown,
            Kind::QuestionNone,
            Kind::QuestionUnnamed,
            Kind::AnswerInvalid,
        ],
        Kind::OF_READ,
        Kind::OF_PUBLISH,
    ],
};

/// A null that is there is an answer.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Answers an open question of the plan.
pub(crate) async fn plan(
    State(app): State<Arc<App>>,
    PlanPath(plan): PlanPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Taken>, Problem> {
    let text = body::text(&headers, body, app.config.limits.body_read).await?;
    let given = given(body::json(&text)?)?;
    let answered = answer(&app, &plan, given).await.map_err(|fault| problem(&plan, fault))?;
    let published = answered.published;
    Ok(Json(Taken {
        plan_id: answered.origin,
        request_id: answered.request_id,
        event_id: published.event_id,
        position: published.position,
        cursor: published.cursor,
        seq: published.seq,
        duplicate: published.duplicate,
    }))
}

fn given(request: Request) -> Result<Given, Problem> {
    let names = [
        ("request_id", &request.request_id, OPEN_ID_BYTES_MAX),
        ("answered_by", &request.answered_by, NAME_BYTES_MAX),
        ("via", &request.via, NAME_BYTES_MAX),
        ("arguments_digest", &request.arguments_digest, NAME_BYTES_MAX),
    ];
    for (name, value, bytes_max) in names {
        if value.as_ref().is_some_and(|text| text.len() > bytes_max) {
            let detail = format!("{name} has more than {bytes_max} bytes");
            return Err(Problem::new(Kind::BodyMalformed, detail));
        }
    }
    let Some(value) = request.value else {
        return Err(Problem::new(Kind::BodyMalformed, "value, the answer, is missing"));
    };
    Ok(Given {
        question: request.request_id.map_or(Choice::Only, Choice::Named),
        value: GivenValue::Json(value),
        answered_by: request.answered_by.unwrap_or_else(|| format!("http:{PRINCIPAL}")),
        via: request.via.unwrap_or_else(|| "http".to_owned()),
        arguments_digest: request.arguments_digest,
        message: None,
        event_id: request.event_id.map(|text| text.parse()).transpose()?,
    })
}

fn problem(plan: &PlanId, fault: AnswerFault) -> Problem {
    let detail = fault.to_string();
    match fault {
        AnswerFault::PlanUnknown => crate::plans::unknown(plan),
        AnswerFault::NoQuestion => Problem::new(Kind::QuestionNone, format!("plan {plan} asks nothing"))
            .with("plan_id", plan.as_str()),
        AnswerFault::SeveralQuestions { request_ids } => {
            Problem::new(Kind::QuestionUnnamed, detail).with("request_ids", request_ids)
        }
        AnswerFault::Unfit { request_id, errors } => {
            let errors = serde_json::to_value(errors).unwrap_or_default();
            Problem::new(Kind::AnswerInvalid, detail).with("request_id", request_id).with("errors", errors)
        }
        AnswerFault::Malformed(error) => Problem::new(Kind::BodyMalformed, error.to_string()),
        AnswerFault::Read(ReadError::Store(source)) => Problem::of_read(&source),
        AnswerFault::Publish(PublishError::Rejected { refusal: Refusal::PlanNotStarted { .. }, .. }) => {
            crate::plans::unknown(plan)
        }
        AnswerFault::Publish(error) => error.into(),
        AnswerFault::Read(_) => Problem::new(Kind::Internal, detail),
    }
}
