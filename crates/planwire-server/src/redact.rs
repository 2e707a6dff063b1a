//! Removing a payload that should not be in the log: `POST /v1/events/{event_id}/redact`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::{Extension, Json};
use planwire_bus::{RedactError, Redaction};
use planwire_event::vocabulary::Origin;
use planwire_event::{Digest, EventId, PlanId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::{App, PRINCIPAL};
use crate::body;
use crate::events::IN_PATH_EVENT;
use crate::guard::Caller;
use crate::openapi::{Answer, Content, Operation};
use crate::params::InPath;
use crate::problem::{Kind, Problem};

/// Why a payload is removed.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Redact", extend("examples" = [{"reason": "it holds a key that was leaked"}]))]
struct Redact {
    /// For those who look for it later; without what is removed.
    reason: String,
}

/// A payload that is gone.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Redacted {
    /// The event.
    event_id: EventId,
    /// Its plan.
    plan_id: PlanId,
    /// SHA-256 of the payload, which stays.
    payload_digest: Digest,
    /// The plan that records it; null if the payload was removed before.
    record: Option<PlanId>,
}

pub(crate) static EVENT: Operation = Operation {
    id: "redactEvent",
    summary: "Removes the payload of an event for good",
    description: "The event keeps its place, and everything that proves it; its payload becomes `{\"$removed\": DIGEST}`. \
                  The tree of its plan has to have ended. A plan `redact` records it. Needs the token of the lock file. \
                  Asking again does no harm.",
    parameters: &[IN_PATH_EVENT],
    body: Some(Content::request::<Redact>()),
    answers: &[Answer::new(200, "It is gone.", &[Content::answer::<Redacted>()])],
    faults: &[],
    problems: &[
        body::PROBLEMS,
        &[Kind::TokenRefused, Kind::IdMalformed, Kind::EventUnknown, Kind::EventRefused],
        Kind::OF_PUBLISH,
        Kind::OF_READ,
    ],
};

pub(crate) async fn event(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    InPath(id): InPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Redacted>, Problem> {
    if caller == Caller::Anonymous {
        let detail = "only the user of this log removes something from it: send the token of the lock file";
        return Err(Problem::new(Kind::TokenRefused, detail));
    }
    let event_id: EventId = id.parse()?;
    let text = body::text(&headers, body, app.config.limits.body_read).await?;
    let Redact { reason } = body::json(&text)?;
    let origin = Origin { protocol: "http".into(), principal: PRINCIPAL.into(), message: None };
    // The tree of its plan has ended, and so have secrets of its own.
    let redaction = Redaction { event_id, reason: app.redacted(None, reason).0, origin };
    let redacted = app.bus.redact(&app.publisher, &app.config.ids, &*app.config.clock, redaction).await;
    // Also if it is not certain: what is kept is made again of what the log has.
    app.forget();
    let redacted = redacted.map_err(|error| problem(error, event_id))?;
    Ok(Json(Redacted {
        event_id,
        plan_id: redacted.plan_id,
        payload_digest: redacted.digest,
        record: redacted.record,
    }))
}

fn problem(error: RedactError, event_id: EventId) -> Problem {
    let detail = error.to_string();
    match error {
        RedactError::Record(error) => error.into(),
        RedactError::Store(error) => error.into(),
        RedactError::Reason | RedactError::Payload(_) => Problem::new(Kind::BodyMalformed, detail),
        RedactError::Unknown { .. } => {
            Problem::new(Kind::EventUnknown, detail).with("event_id", event_id.to_string())
        }
        _ => Problem::new(Kind::EventRefused, detail).with("event_id", event_id.to_string()),
    }
}
