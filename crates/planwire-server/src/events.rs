//! Reading events: `GET /v1/events`, `GET /v1/plans/{plan_id}/events`, `GET /v1/events/{event_id}`.
//!
//! The first two answer with a page of JSON or, by `Accept`, with a stream of server-sent events.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use planwire_bus::StartAt;
use planwire_event::schema::STORED_EVENT;
use planwire_event::{Cursor, EventId, PlanId, StoredEvent};
use planwire_store::{PAGE_EVENTS_MAX, PageLimits};
use serde_json::{Value, json};

use crate::accept::{self, Form};
use crate::app::App;
use crate::openapi::{Answer, Content, Operation, Parameter, Place, Schemas, Values};
use crate::params::{IN_PATH_PLAN, InPath, Pairs, PlanPath, READ_LOG, READ_PLAN, READ_PROBLEMS, ReadParams};
use crate::problem::{Kind, Problem};
use crate::{openapi, sse_frame, sse_stream};

const READ_ANSWERS: &[Answer] = &[
    Answer::new(
        200,
        "Without `Accept: text/event-stream` a page. With it a stream: each event is a frame whose `id` is its cursor, \
         whose `event` is its type and whose `data` is its JSON on one line. A comment `: hb` with an `id` comes after \
         every 3 s without an event. `event: end` is the last frame of a plan or tree that has ended, `event: gap` of \
         a stream that retention has overtaken. Go on after the last `id` with `Last-Event-ID`.",
        &[Content::of("application/json", page_schema), Content::stream(frame_schema)],
    ),
    Answer::new(204, "Nothing will follow the cursor; only instead of a stream.", &[]),
];

pub(crate) static OF_LOG: Operation = Operation {
    id: "readEvents",
    summary: "Events of the log, as a page or a stream",
    description: "In the order of their positions; each exactly once, however often a reader comes back.",
    parameters: &[READ_LOG],
    body: None,
    answers: READ_ANSWERS,
    faults: &[],
    problems: &[READ_PROBLEMS, Kind::OF_STREAM, Kind::OF_READ, &[Kind::TooManyStreams]],
};

pub(crate) async fn of_log(
    State(app): State<Arc<App>>,
    Pairs(pairs): Pairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    read(&app, &pairs, &headers, None).await
}

pub(crate) static OF_PLAN: Operation = Operation {
    id: "readPlanEvents",
    summary: "Events of a plan or of its tree, as a page or a stream",
    description: "As `readEvents` with `plan_id`.",
    parameters: &[IN_PATH_PLAN, READ_PLAN],
    body: None,
    answers: READ_ANSWERS,
    faults: &[],
    problems: &[&[Kind::IdMalformed], READ_PROBLEMS, Kind::OF_STREAM, Kind::OF_READ, &[Kind::TooManyStreams]],
};

pub(crate) async fn of_plan(
    State(app): State<Arc<App>>,
    PlanPath(plan): PlanPath,
    Pairs(pairs): Pairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    read(&app, &pairs, &headers, Some(plan)).await
}

async fn read(
    app: &App,
    pairs: &[(String, String)],
    headers: &HeaderMap,
    plan: Option<PlanId>,
) -> Result<Response, Problem> {
    let form = accept::negotiate(headers)?;
    let params = ReadParams::parse(pairs, headers, plan, form)?;
    match form {
        Form::Json => page(app, params).await,
        Form::Sse => stream(app, params).await,
    }
}

async fn stream(app: &App, params: ReadParams) -> Result<Response, Problem> {
    let permit = app.admit_stream()?;
    let plan = params.filter.named_plan().cloned();
    let subscription = app.bus.stream(params.filter, params.start).await?;
    // Nothing follows: 204 is what stops an EventSource from coming back.
    if subscription.ended_at().is_some_and(|end| subscription.scanned() >= end) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let first = sse_frame::hello(subscription.scanned(), app.next_retry_ms());
    let frames = sse_frame::Native::new(params.form, plan, Arc::clone(&app.common));
    Ok(sse_stream::answer(subscription, frames, first, sse_stream::Options::of(app, permit)))
}

async fn page(app: &App, params: ReadParams) -> Result<Response, Problem> {
    // Opening a subscription checks the cursor and the plan; the page itself comes from the store.
    let opened = app.bus.stream(params.filter.clone(), params.start).await?;
    let from = opened.scanned();
    drop(opened);
    let limits = PageLimits::events(params.limit);
    let page = app.bus.repository().read_after(from.position, &params.filter, limits).await?;
    let next = Cursor { log_id: from.log_id, position: page.scanned_to.max(from.position) };
    // Asked after the page was read: an end that lies before `next` is certain.
    let ended = page.at_head
        && params.filter.named_plan().is_some()
        && app
            .bus
            .stream(params.filter, StartAt::After(next))
            .await?
            .ended_at()
            .is_some_and(|end| next >= end);
    Ok(json(page_json(&page.events, next, page.at_head, ended)))
}

fn page_json(events: &[Arc<StoredEvent>], next: Cursor, at_head: bool, ended: bool) -> Vec<u8> {
    let mut out = b"{\"events\":[".to_vec();
    for (at, event) in events.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        event.write_json(&mut out);
    }
    let rest = format!("],\"next\":\"{next}\",\"at_head\":{at_head},\"ended\":{ended}}}");
    out.extend_from_slice(rest.as_bytes());
    out
}

fn frame_schema(schemas: &mut Schemas) -> Value {
    let closing =
        json!({"description": "Of `end` and `gap`, which are no events of the log.", "type": "object"});
    let data = json!({"anyOf": [schemas.event(STORED_EVENT), closing]});
    openapi::frame("The event's type, or `end` or `gap` for the last frame.", &data)
}

fn page_schema(schemas: &mut Schemas) -> Value {
    let cursor = schemas.answer::<Cursor>();
    json!({
        "title": "A page of events",
        "type": "object",
        "properties": {
            "events": {"type": "array", "items": schemas.event(STORED_EVENT), "maxItems": PAGE_EVENTS_MAX},
            "next": cursor,
            "at_head": {"description": "Whether the log had no more just now.", "type": "boolean"},
            "ended": {
                "description": "Whether the plan or tree has ended, so that nothing more will come.",
                "type": "boolean",
            },
        },
        "required": ["events", "next", "at_head", "ended"],
    })
}

/// The event that a path names.
pub(crate) const IN_PATH_EVENT: &[Parameter] =
    &[Parameter { name: "event_id", place: Place::Path, values: Values::EventId, description: "The event." }];

pub(crate) static ONE: Operation = Operation {
    id: "getEvent",
    summary: "One event",
    description: "By its id.",
    parameters: &[IN_PATH_EVENT],
    body: None,
    answers: &[Answer::new(
        200,
        "The event.",
        &[Content::of("application/json", |schemas| schemas.event(STORED_EVENT))],
    )],
    faults: &[],
    problems: &[&[Kind::IdMalformed, Kind::EventUnknown], Kind::OF_READ],
};

pub(crate) async fn one(
    State(app): State<Arc<App>>,
    InPath(text): InPath<String>,
) -> Result<Response, Problem> {
    let event_id: EventId = text.parse()?;
    let found = app.bus.repository().by_event_ids(&[event_id]).await?;
    let Some(event) = found.first() else {
        let detail = format!("no event {event_id} is stored");
        return Err(Problem::new(Kind::EventUnknown, detail).with("event_id", event_id.to_string()));
    };
    Ok(json(event.to_json().into_bytes()))
}

/// An answer that already is JSON.
pub(crate) fn json(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
