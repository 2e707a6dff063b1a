//! Starting plans: `POST /v1/plans`, through [`PlanStarter`](planwire_bus::PlanStarter); what follows are events.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use planwire_bus::{DocumentSource, StartError, StartRequest};
use planwire_event::vocabulary::{Object, Origin};
use planwire_event::{Cursor, PlanId};
use planwire_store::{PlanQuery, PlanScope, StoreError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::{App, PRINCIPAL};
use crate::body;
use crate::guard::Caller;
use crate::openapi::{Answer, Content, Operation};
use crate::problem::{Kind, Problem};

/// Bytes of a name under which a document can be registered.
const DOCUMENT_NAME_BYTES_MAX: usize = 256;

/// Characters of a context id.
const CONTEXT_ID_CHARS_MAX: usize = 128;

/// What is to be started.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "StartPlan", extend("examples" = [{"document": "repo-report", "inputs": {"folder": "."}}]))]
struct Start {
    /// The name of a registered document, or a document as a JSON object.
    #[schemars(extend("type" = ["string", "object", "null"]))]
    document: Option<Value>,
    /// A document as YAML or JSON text, instead of `document`.
    text: Option<String>,
    /// What to call a document that is sent along in messages: its file name.
    name: Option<String>,
    /// The folder to which its relative files and paths refer; only with the token.
    folder: Option<PathBuf>,
    /// Inputs by name.
    #[serde(default)]
    inputs: Object,
    /// Groups several trees; 1 to 128 printable ASCII characters without spaces.
    #[schemars(extend("pattern" = format!("^[!-~]{{1,{CONTEXT_ID_CHARS_MAX}}}$")))]
    context_id: Option<String>,
    /// The id of the plan, made by the caller (a ULID, say): asking again starts nothing, it is answered with
    /// `plan-exists`. Without it, a request whose answer was lost cannot be repeated safely.
    plan_id: Option<PlanId>,
}

/// A plan that was started.
#[derive(Serialize, JsonSchema)]
struct Started {
    /// The plan.
    plan_id: PlanId,
    /// Its PlanStarted: a stream from here has what follows.
    cursor: Cursor,
}

pub(crate) static PLAN: Operation = Operation {
    id: "startPlan",
    summary: "Starts a plan",
    description: "Answers once PlanStarted is on disk; everything after that are events. Documents of one's own need \
                  `--allow-inline-documents` or the token of the lock file. With a `plan_id` of your own a request whose \
                  answer was lost can be sent again: if it was carried out, the answer is `plan-exists` with the \
                  `cursor` of PlanStarted.",
    parameters: &[],
    body: Some(Content::request::<Start>()),
    answers: &[Answer::new(201, "It runs.", &[Content::answer::<Started>()])
        .with_headers(&[("Location", "Where the plan is.")])],
    faults: &[],
    problems: &[
        body::PROBLEMS,
        &[Kind::InlineRefused, Kind::NoEngine, Kind::PlanExists, Kind::PlanStarting],
        Kind::OF_START,
        Kind::OF_PUBLISH,
        Kind::OF_READ,
    ],
};

pub(crate) async fn plan(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let text = body::text(&headers, body, app.config.limits.body_read).await?;
    let start: Start = body::json(&text)?;
    let starter = app.starter.as_ref().ok_or_else(|| {
        Problem::new(Kind::NoEngine, "this server serves a log; it was started without an engine")
    })?;
    let origin = Origin { protocol: "http".into(), principal: PRINCIPAL.into(), message: None };
    let context_id = start.context_id.clone().map(check_context_id).transpose()?;
    let (inputs, chosen) = (start.inputs.clone(), start.plan_id.clone());
    let document = source(start, caller, app.config.allow_inline_documents)?;
    let request = StartRequest { document, inputs, origin, context_id };
    let started = match chosen {
        Some(plan_id) => match starter.start_as(plan_id, request).await {
            Err(StartError::Exists { plan_id }) => return Err(exists(&app, plan_id).await?),
            outcome => outcome?,
        },
        None => starter.start(request).await?,
    };
    let location = format!("/v1/plans/{}", started.plan_id);
    let answer = Started { plan_id: started.plan_id, cursor: started.cursor };
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(answer)).into_response())
}

/// Why a plan is not started under an id that has one.
async fn exists(app: &App, plan_id: PlanId) -> Result<Problem, Problem> {
    let Some(cursor) = started_at(app, &plan_id).await? else {
        let detail = format!("plan {plan_id} is being started by another request");
        return Ok(Problem::new(Kind::PlanStarting, detail).with("plan_id", plan_id.as_str()));
    };
    Ok(Problem::new(Kind::PlanExists, StartError::Exists { plan_id: plan_id.clone() }.to_string())
        .with("plan_id", plan_id.as_str())
        .with("cursor", cursor.to_string()))
}

/// The place of a plan's PlanStarted; none if there is none yet.
pub(crate) async fn started_at(app: &App, plan: &PlanId) -> Result<Option<Cursor>, StoreError> {
    let scope = PlanScope::These(vec![plan.clone()]);
    let page = app.bus.repository().plans(&PlanQuery { scope, ..PlanQuery::default() }).await?;
    let cursor = |position| Cursor { log_id: app.bus.log_id(), position };
    Ok(page.plans.first().map(|row| cursor(row.first_position)))
}

fn check_context_id(text: String) -> Result<String, Problem> {
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    if printable && (1..=CONTEXT_ID_CHARS_MAX).contains(&text.len()) {
        return Ok(text);
    }
    let detail =
        format!("context_id must be 1 to {CONTEXT_ID_CHARS_MAX} printable ASCII characters without spaces");
    Err(Problem::new(Kind::BodyMalformed, detail))
}

fn source(start: Start, caller: Caller, inline_allowed: bool) -> Result<DocumentSource, Problem> {
    let malformed = |detail: &str| Problem::new(Kind::BodyMalformed, detail);
    let text = match (start.document, start.text) {
        (Some(Value::String(name)), None) => {
            if start.name.is_some() || start.folder.is_some() {
                return Err(malformed("name and folder belong to a document that is sent along"));
            }
            if name.len() > DOCUMENT_NAME_BYTES_MAX {
                let detail = format!("the name of a document has at most {DOCUMENT_NAME_BYTES_MAX} bytes");
                return Err(malformed(&detail));
            }
            return Ok(DocumentSource::Registered(name));
        }
        (Some(object @ Value::Object(_)), None) => object.to_string(),
        (None, Some(text)) => text,
        (None, None) => return Err(malformed("either document or text must be given")),
        (Some(_), Some(_)) => return Err(malformed("document and text cannot both be given")),
        (Some(_), None) => return Err(malformed("document must be a name or an object")),
    };
    if caller == Caller::Anonymous && !inline_allowed {
        let detail =
            "only registered documents can be started by HTTP; --allow-inline-documents changes that";
        return Err(Problem::new(Kind::InlineRefused, detail));
    }
    let name = start.name.unwrap_or_else(|| "document".to_owned());
    if caller == Caller::Anonymous {
        if start.folder.is_some() {
            let detail = "a working folder needs the token of the lock file";
            return Err(Problem::new(Kind::InlineRefused, detail));
        }
        return Ok(DocumentSource::Received { text, name });
    }
    Ok(DocumentSource::Inline { text, name, folder: start.folder })
}
