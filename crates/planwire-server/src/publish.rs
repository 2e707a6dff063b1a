//! Publishing: `POST /v1/events` with one event or with `{"events":[..]}`; all of a request is stored or nothing.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use planwire_bus::Published;
use planwire_event::schema::PUBLISHED_EVENT;
use planwire_event::{Cursor, Draft, Event, EventId, Position, Seq};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::app::App;
use crate::body;
use crate::config::PUBLISH_EVENTS_MAX;
use crate::openapi::{Answer, Body as Taken, Content, Operation, Schemas};
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
#[derive(Serialize, JsonSchema)]
pub(crate) struct PublishAnswer {
    /// Where each event of the request is.
    events: Vec<PublishAnswerEvent>,
}

/// Where an event is.
#[derive(Serialize, JsonSchema)]
struct PublishAnswerEvent {
    /// Its id, also if the publisher sent none.
    event_id: EventId,
    /// Its place in the log.
    position: Position,
    /// The same in a form that also names the log.
    cursor: Cursor,
    /// Its place in its plan.
    seq: Seq,
    /// Whether it was stored before, by an earlier request.
    duplicate: bool,
    /// Present, and false, where the publisher sent no event id: sending the request again would store the event
    /// again, under another id.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_safe: Option<bool>,
}

pub(crate) static EVENTS: Operation = Operation {
    id: "publishEvents",
    summary: "Publishes events",
    description: "One event, or a list of which all are stored or none. Sending an event again with the same `event_id` \
                  and content is always safe. `outcome-unknown` says that the events may be stored or not: send them \
                  again under the ids of its `event_ids`. After every other problem nothing is stored.",
    parameters: &[],
    body: Some(Taken { content: Content::of("application/json", body_schema), required: true }),
    answers: &[Answer::new(200, "They are on disk.", &[Content::answer::<PublishAnswer>()])],
    faults: &[],
    problems: &[body::PROBLEMS, &[Kind::EventInvalid, Kind::PayloadTooLarge], Kind::OF_PUBLISH],
};

fn body_schema(schemas: &mut Schemas) -> Value {
    let event = schemas.event(PUBLISHED_EVENT);
    json!({
        "anyOf": [
            event,
            {
                "title": "Events of which all are stored or none",
                "type": "object",
                "properties": {
                    "events": {"type": "array", "items": event, "minItems": 1, "maxItems": PUBLISH_EVENTS_MAX},
                },
                "required": ["events"],
                "additionalProperties": false,
            },
        ],
        "examples": [
            {"event_type": "PlanStarted", "plan_id": "nightly-1", "payload": {"name": "nightly"}},
            {"events": [
                {"event_type": "PlanStarted", "plan_id": "nightly-2", "payload": {"name": "nightly"}},
                {"event_type": "PlanCompleted", "plan_id": "nightly-2"},
            ]},
        ],
    })
}

pub(crate) async fn events(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PublishAnswer>, Problem> {
    let text = body::text(&headers, body, app.config.limits.body_read).await?;
    let (events, named): (Vec<Event>, Vec<bool>) = read(&app, &text)?.into_iter().unzip();
    let ids: Vec<_> = events.iter().map(Event::event_id).collect();
    let published =
        app.publisher.publish_all(events).await.map_err(|error| failed(error.into(), &ids, &named))?;
    let events = published.iter().zip(named).map(|(published, named)| answer(published, named)).collect();
    Ok(Json(PublishAnswer { events }))
}

/// A request whose outcome is unknown is told its ids: it can be repeated safely under them and under no others.
fn failed(problem: Problem, ids: &[EventId], named: &[bool]) -> Problem {
    if problem.kind() != Kind::OutcomeUnknown {
        return problem;
    }
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    problem.with("event_ids", ids).with("retry_safe", named.iter().all(|named| *named))
}

fn answer(published: &Published, named: bool) -> PublishAnswerEvent {
    PublishAnswerEvent {
        event_id: published.event_id,
        position: published.position,
        cursor: published.cursor,
        seq: published.seq,
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
