//! The OpenAPI document at `/openapi.json`: what every route takes and gives, as the routes themselves say it.
//!
//! Each handler has an [`Operation`] beside it, and [`Routes`] takes both together or none. What an operation says is
//! what the code works with: its parameters are the tables from which requests are parsed, its bodies and answers the
//! types that serde reads and writes, its problems the kinds of [`crate::problem`], and events are described by
//! [`planwire_event::schema`]. **Invariant:** a route without a description does not exist, nor the reverse.
//!
//! - `parameter`: what may stand in path, query and head.
//! - `operation`: one method of one path.
//! - `routes`: the router and the operations, filled together.
//! - `schemas`, `document`: the document made of them.

mod document;
mod operation;
mod parameter;
mod routes;
mod schemas;

use std::sync::{Arc, LazyLock};

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use planwire_event::Digest;
use serde_json::{Value, json};

pub(crate) use operation::{Answer, Body, Content, Operation, frame};
pub(crate) use parameter::{Parameter, Place, Values};
pub(crate) use routes::{Described, Routes};
pub(crate) use schemas::Schemas;

use crate::app::App;

/// What every answer may be stored for: the document changes only with the program.
const CACHE_CONTROL: &str = "public, max-age=3600";

pub(crate) static DOCUMENT: Operation = Operation {
    id: "getOpenApi",
    summary: "This document",
    description: "What every route takes and gives, in OpenAPI 3.1. It changes only with the program.",
    parameters: &[&[IF_NONE_MATCH]],
    body: None,
    answers: &[
        Answer::new(200, "The document.", &[Content::of("application/json", any_object)]).with_headers(&[
            ("ETag", "Its name; for `If-None-Match`."),
            ("Cache-Control", "How long it may be kept."),
        ]),
        Answer::new(304, "The client has it already, by `If-None-Match`.", &[]),
    ],
    faults: &[],
    problems: &[],
};

const IF_NONE_MATCH: Parameter = Parameter {
    name: "If-None-Match",
    place: Place::Header,
    values: Values::Any,
    description: "The ETag that the client has.",
};

fn any_object(_: &mut Schemas) -> Value {
    json!({"type": "object"})
}

/// The document as it is served, and its name.
struct Served {
    text: Bytes,
    etag: HeaderValue,
}

/// The document that every server of this program serves at `/openapi.json`: OpenAPI 3.1 as JSON.
#[must_use]
pub fn openapi_json() -> &'static [u8] {
    &SERVED.text
}

/// Made when it is first asked for. The routes are the same for every server of a process.
static SERVED: LazyLock<Served> = LazyLock::new(|| {
    let text = document::of(&crate::routes::all().operations).to_string();
    let etag = format!("\"{}\"", Digest::of(text.as_bytes()));
    let etag = HeaderValue::from_str(&etag).unwrap_or_else(|_| HeaderValue::from_static("\"\""));
    Served { text: text.into(), etag }
});

pub(crate) async fn serve(State(_): State<Arc<App>>, headers: HeaderMap) -> Response {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let etag = SERVED.etag.to_str().unwrap_or_default();
    let fresh = known
        .flat_map(|tags| tags.split(','))
        .any(|tag| matches!(tag.trim(), tag if tag == "*" || tag.trim_start_matches("W/") == etag));
    let cached = [
        (header::ETAG, SERVED.etag.clone()),
        (header::CACHE_CONTROL, HeaderValue::from_static(CACHE_CONTROL)),
    ];
    if fresh {
        return (StatusCode::NOT_MODIFIED, cached).into_response();
    }
    (cached, [(header::CONTENT_TYPE, "application/json")], SERVED.text.clone()).into_response()
}
