//! Publishing: `POST /v1/events` with one event or with `{"events":[..]}`; all of a request is stored or nothing.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use planwire_bus::Published;
use planwire_event::{Draft, Event, EventId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::app::App;
use crate::body;
use crate::config::PUBLISH_EVENTS_MAX;
use crate::problem::{Kind, Problem};

/// Whether the body is a list: then it has this member, which no event has.
#[derive(Deserialize)]
struct Probe<'a> {
    #[serde(borrow)]
    events: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

/// The answer to a publish request, in the order of its events.
#[derive(Serialize)]
pub(crate) struct Answer {
    events: Vec<AnswerEvent>,
}

#[derive(Serialize)]
struct AnswerEvent {
    event_id: String,
    position: u64,
    cursor: String,
    seq: u64,
    duplicate: bool,
    /// Present, and false, where the publisher sent no event id: sending the request again would store the event
    /// again, under another id.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_safe: Option<bool>,
}

pub(crate) async fn events(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Answer>, Problem> {
    let text = body::text(&headers, body, app.config.limits.body_read).await?;
    let (events, named): (Vec<Event>, Vec<bool>) = read(&app, &text)?.into_iter().unzip();
    let ids: Vec<_> = events.iter().map(Event::event_id).collect();
    let published =
        app.publisher.publish_all(events).await.map_err(|error| failed(error.into(), &ids, &named))?;
    let events = published.iter().zip(named).map(|(published, named)| answer(published, named)).collect();
    Ok(Json(Answer { events }))
}

/// A request whose outcome is unknown is told its ids: it can be repeated safely under them and under no others.
fn failed(problem: Problem, ids: &[EventId], named: &[bool]) -> Problem {
    if problem.kind() != Kind::OutcomeUnknown {
        return problem;
    }
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    problem.with("event_ids", ids).with("retry_safe", named.iter().all(|named| *named))
}

fn answer(published: &Published, named: bool) -> AnswerEvent {
    AnswerEvent {
        event_id: published.event_id.to_string(),
        position: published.position.get(),
        cursor: published.cursor.to_string(),
        seq: published.seq.get(),
        duplicate: published.duplicate,
        retry_safe: if named { None } else { Some(false) },
    }
}

/// The events of a body, each with whether its publisher named it.
fn read(app: &App, text: &str) -> Result<Vec<(Event, bool)>, Problem> {
    let probe: Probe<'_> = body::json(text)?;
    let texts = match probe.events {
        Some(_) => body::json::<List<'_>>(text)?.events.into_iter().map(RawValue::get).collect(),
        None => vec![text],
    };
    if texts.is_empty() {
        return Err(Problem::new(Kind::BodyMalformed, "the list of events is empty"));
    }
    if texts.len() > PUBLISH_EVENTS_MAX {
        let detail = format!("the request has {} events, the limit is {PUBLISH_EVENTS_MAX}", texts.len());
        return Err(Problem::new(Kind::TooManyEvents, detail).with("max_events", PUBLISH_EVENTS_MAX));
    }
    let event = |(index, text): (usize, &str)| {
        let draft = Draft::parse(text).map_err(|error| Problem::of_draft(index, &error))?;
        let named = draft.has_event_id();
        let event = draft.complete(&app.config.ids, &*app.config.clock);
        Ok((event.map_err(|error| Problem::of_draft(index, &error))?, named))
    };
    texts.into_iter().enumerate().map(event).collect()
}
