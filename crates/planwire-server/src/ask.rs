//! Asking the owner of a plan that it end, begin nothing new, or go on: `POST /v1/plans/{plan_id}/cancel`, `/pause`,
//! `/resume`, and what A2A asks the same way.
//!
//! A request is an event that the owner reads, wherever it runs. **Invariant:** who asks is said by the door, never by
//! the client.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use planwire_bus::{PublishError, Published};
use planwire_event::vocabulary::{CancelRequested, PauseRequested, ResumeRequested, TypedPayload};
use planwire_event::{Cursor, Event, EventId, Payload, PayloadError, PlanId, Refusal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::{App, PRINCIPAL};
use crate::openapi::{Answer, Body as Taken, Content, Operation};
use crate::params::{IN_PATH_PLAN, PlanPath};
use crate::problem::{Kind, Problem};
use crate::{body, plans};

/// What is asked of a plan and all below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Cancel,
    Pause,
    Resume,
}

/// Who asks, and why.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    /// The protocol and the principal: `http:anonymous`.
    pub(crate) requested_by: String,
    /// For people; may be empty. Values of secrets are taken out.
    pub(crate) reason: String,
    /// Makes the request safe to repeat.
    pub(crate) event_id: Option<EventId>,
}

/// Why a request is not in the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskFault {
    #[error("the plan is unknown")]
    PlanUnknown,
    #[error("the plan has ended")]
    PlanEnded,
    /// No event can say it.
    #[error(transparent)]
    Malformed(#[from] PayloadError),
    #[error(transparent)]
    Publish(PublishError),
}

impl From<PublishError> for AskFault {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Rejected { refusal: Refusal::PlanNotStarted { .. }, .. } => Self::PlanUnknown,
            PublishError::Rejected { refusal: Refusal::PlanEnded { .. }, .. } => Self::PlanEnded,
            other => Self::Publish(other),
        }
    }
}

/// Where the payload of each request has its reason.
const REASON: &str = "/reason";

/// Publishes a request about `plan`; its owner acts on it.
pub(crate) async fn ask(app: &App, plan: &PlanId, ask: Ask, asker: Asker) -> Result<Published, AskFault> {
    let Asker { requested_by, reason, event_id } = asker;
    let (reason, redacted) = app.redacted(Some(plan), reason);
    let event_id = event_id.unwrap_or_else(|| app.config.ids.next_id());
    let event = match ask {
        Ask::Cancel => event(app, plan, event_id, &CancelRequested { requested_by, reason }),
        Ask::Pause => event(app, plan, event_id, &PauseRequested { requested_by, reason }),
        Ask::Resume => event(app, plan, event_id, &ResumeRequested { requested_by, reason }),
    }?;
    let redacted = if redacted { vec![REASON.to_owned()] } else { Vec::new() };
    Ok(app.publisher.publish(event.with_redacted(redacted)).await?)
}

fn event<T: TypedPayload>(
    app: &App,
    plan: &PlanId,
    event_id: EventId,
    payload: &T,
) -> Result<Event, PayloadError> {
    Event::new(event_id, T::EVENT_TYPE, plan.clone(), app.config.clock.now(), Payload::of(payload)?)
}

/// A request about a plan.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AskOfPlan")]
struct Asked {
    /// Why, for people.
    #[serde(default)]
    reason: String,
}

/// The request is in the log.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AskedAnswer {
    /// The plan.
    plan_id: PlanId,
    /// The event of the request.
    event_id: EventId,
    /// Where it is.
    cursor: Cursor,
}

const ASKED_ANSWERS: &[Answer] =
    &[Answer::new(202, "The request is on disk.", &[Content::answer::<AskedAnswer>()])];

/// What a request about a plan is like on the wire.
const fn asked(id: &'static str, summary: &'static str, description: &'static str) -> Operation {
    Operation {
        id,
        summary,
        description,
        parameters: &[IN_PATH_PLAN],
        body: Some(Taken { required: false, ..Content::request::<Asked>() }),
        answers: ASKED_ANSWERS,
        faults: &[],
        problems: &[
            body::PROBLEMS,
            &[Kind::IdMalformed, Kind::PlanUnknown, Kind::PlanEnded],
            Kind::OF_PUBLISH,
        ],
    }
}

pub(crate) static CANCEL: Operation = asked(
    "cancelPlan",
    "Asks that a plan end",
    "Publishes CancelRequested; the owner of the plan acts on it. The body may be left out.",
);

pub(crate) static PAUSE: Operation = asked(
    "pausePlan",
    "Asks that a plan begin nothing new",
    "Publishes PauseRequested: the plan and all below it begin no step until somebody asks that it go on; what runs goes \
     on to its end. The body may be left out.",
);

pub(crate) static RESUME: Operation = asked(
    "resumePlan",
    "Asks that a paused plan go on",
    "Publishes ResumeRequested. A plan below it that was paused by itself stays so. The body may be left out.",
);

/// Publishes that somebody asks for the plan's end; its owner acts on it.
pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    PlanPath(plan): PlanPath,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<AskedAnswer>), Problem> {
    over_http(&app, plan, &headers, body, Ask::Cancel).await
}

/// Publishes that somebody asks that the plan begin nothing new.
pub(crate) async fn pause(
    State(app): State<Arc<App>>,
    PlanPath(plan): PlanPath,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<AskedAnswer>), Problem> {
    over_http(&app, plan, &headers, body, Ask::Pause).await
}

/// Publishes that somebody asks that the plan go on.
pub(crate) async fn resume(
    State(app): State<Arc<App>>,
    PlanPath(plan): PlanPath,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<AskedAnswer>), Problem> {
    over_http(&app, plan, &headers, body, Ask::Resume).await
}

async fn over_http(
    app: &App,
    plan: PlanId,
    headers: &HeaderMap,
    body: Body,
    what: Ask,
) -> Result<(StatusCode, Json<AskedAnswer>), Problem> {
    let text = body::text(headers, body, app.config.limits.body_read).await?;
    let asked: Asked = if text.trim().is_empty() { Asked::default() } else { body::json(&text)? };
    let requested_by = format!("http:{PRINCIPAL}");
    let asker = Asker { requested_by, reason: asked.reason, event_id: None };
    let published = ask(app, &plan, what, asker).await.map_err(|fault| match fault {
        AskFault::PlanUnknown => plans::unknown(&plan),
        AskFault::PlanEnded => {
            Problem::new(Kind::PlanEnded, format!("plan {plan} has ended")).with("plan_id", plan.as_str())
        }
        AskFault::Malformed(error) => Problem::new(Kind::BodyMalformed, error.to_string()),
        AskFault::Publish(error) => error.into(),
    })?;
    let answer = AskedAnswer { plan_id: plan, event_id: published.event_id, cursor: published.cursor };
    Ok((StatusCode::ACCEPTED, Json(answer)))
}
