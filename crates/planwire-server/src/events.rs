//! Reading events: `GET /v1/events`, `GET /v1/plans/{plan_id}/events`, `GET /v1/events/{event_id}`.
//!
//! The first two answer with a page of JSON or, by `Accept`, with a stream of server-sent events.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use planwire_bus::StartAt;
use planwire_event::{Cursor, EventId, PlanId, StoredEvent};
use planwire_store::PageLimits;

use crate::accept::{self, Form};
use crate::app::App;
use crate::params::{InPath, Pairs, PlanPath, ReadParams};
use crate::problem::{Kind, Problem};
use crate::sse_stream;

pub(crate) async fn of_log(
    State(app): State<Arc<App>>,
    Pairs(pairs): Pairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    read(&app, &pairs, &headers, None).await
}

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
    let options = sse_stream::Options {
        form: params.form,
        plan,
        heartbeat: app.config.limits.heartbeat,
        retry_ms: app.next_retry_ms(),
        closing: app.closing.clone(),
        replays: Arc::clone(&app.replays),
        _permit: permit,
    };
    let headers = [
        (header::CONTENT_TYPE.as_str(), "text/event-stream"),
        // no-transform: a proxy that compresses would hold frames back; nginx buffers unless it is told not to.
        (header::CACHE_CONTROL.as_str(), "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
    ];
    Ok((headers, Body::from_stream(sse_stream::body(subscription, options))).into_response())
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
