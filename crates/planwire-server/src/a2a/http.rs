//! What both bindings read from a request's head.

use axum::extract::Query;
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;
use planwire_event::Cursor;

use super::MEDIA_TYPE;
use super::error::{A2aError, ErrorKind};
use super::request::Operation;
use crate::accept;
use crate::problem::Problem;

/// Where a stream goes on.
const LAST_EVENT_ID: &str = "last-event-id";

/// The media type of an answer over REST: ours where the client names it in `Accept`, or sends it and names no other.
///
/// Version 1.0.1 prefers `application/a2a+json`, 1.0.0 knows nothing but `application/json`; every client reads that.
pub(super) fn media_type(headers: &HeaderMap) -> &'static str {
    const JSON: &str = "application/json";
    let named = accept::names(headers, ("application", "a2a+json"), ("application", "json"));
    let plain = accept::names(headers, ("application", "json"), ("application", "a2a+json"));
    if named || (!plain && content_type(headers).eq_ignore_ascii_case(MEDIA_TYPE)) {
        MEDIA_TYPE
    } else {
        JSON
    }
}

/// The media type of the body, without parameters; empty if none is named.
fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// A body must be JSON, by one of two names: a page of another site cannot send that without asking first. What it can
/// send without asking, such as a POST without a body, is refused by its `Origin` alone.
pub(super) fn check_content_type(headers: &HeaderMap) -> Result<(), A2aError> {
    let media = content_type(headers);
    let is_json = ["application/json", MEDIA_TYPE].iter().any(|json| json.eq_ignore_ascii_case(media));
    if is_json && headers.get_all(header::CONTENT_TYPE).iter().count() == 1 {
        return Ok(());
    }
    let message = format!("a request needs Content-Type: application/json or {MEDIA_TYPE}");
    Err(A2aError::new(ErrorKind::BodyTypeNotSupported, message))
}

/// The query as pairs.
pub(super) fn query(uri: &Uri) -> Result<Vec<(String, String)>, A2aError> {
    let Query(pairs) = Query::try_from_uri(uri)
        .map_err(|_| A2aError::new(ErrorKind::InvalidRequest, "the query is malformed"))?;
    Ok(pairs)
}

fn named<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    query.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}

/// How a stream is wanted. What answers with no stream has no use for it.
pub(super) struct Streaming {
    /// Whether frames carry `event:`.
    pub(super) event_field: bool,
    /// Where it goes on.
    pub(super) after: Option<Cursor>,
}

impl Streaming {
    pub(super) fn of(
        operation: &Operation,
        headers: &HeaderMap,
        query: &[(String, String)],
    ) -> Result<Self, A2aError> {
        match operation {
            Operation::SendStreaming(_) | Operation::Subscribe { .. } => {
                Ok(Self { event_field: event_field(query)?, after: after(headers, query)? })
            }
            Operation::Send(_) | Operation::Get { .. } | Operation::List(_) | Operation::Cancel { .. } => {
                Ok(Self { event_field: true, after: None })
            }
        }
    }
}

/// Answers a request that the guard does not let in.
pub(crate) fn refusal(problem: Problem, path: &str, headers: &HeaderMap) -> Response {
    let error = A2aError::from(problem);
    match path {
        "/a2a" | "/a2a/" => error.json_rpc_refusal(),
        _ => error.rest(media_type(headers)),
    }
}

/// The cursor in `Last-Event-ID`, else in `?after=`.
fn after(headers: &HeaderMap, query: &[(String, String)]) -> Result<Option<Cursor>, A2aError> {
    let header = headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or("?"));
    let (field, text) = match (header, named(query, "after")) {
        (Some(text), _) => ("Last-Event-ID", text),
        (None, Some(text)) => ("after", text),
        (None, None) => return Ok(None),
    };
    text.parse()
        .map(Some)
        .map_err(|error: planwire_event::CursorError| A2aError::field(field, error.to_string()))
}

/// Whether frames of a stream carry `event:`; `?event_field=off` leaves it out.
fn event_field(query: &[(String, String)]) -> Result<bool, A2aError> {
    match named(query, "event_field") {
        None | Some("on") => Ok(true),
        Some("off") => Ok(false),
        Some(_) => Err(A2aError::field("event_field", "must be on or off")),
    }
}
