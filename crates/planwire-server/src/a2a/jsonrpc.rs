//! A2A over JSON-RPC: one path, the method in the body, HTTP 200 whatever comes of it.
//!
//! A request without id is refused: JSON-RPC calls it a notification, A2A knows none, and a task of which nobody learns
//! the id should not start. The id of an answer is the id of the request as it was written.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method as HttpMethod, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::error::{A2aError, ErrorKind};
use super::http::Streaming;
use super::methods::{self, Call, Reply};
use super::request::{self, Method};
use super::stream::Envelope;
use super::{http, version};
use crate::app::App;
use crate::body;

/// Bytes of the id of a request as it is written. It stands in each frame of a stream, and is kept as long as one.
pub(crate) const ID_BYTES_MAX: usize = 256;

/// What every request of JSON-RPC has.
#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
}

/// A request whose form is right.
struct Asked {
    id: Box<RawValue>,
    method: String,
    params: Option<Box<RawValue>>,
}

/// Why there is no answer but an error, and to which request.
struct Refused {
    id: Box<RawValue>,
    error: A2aError,
}

pub(crate) async fn call(
    State(app): State<Arc<App>>,
    method: HttpMethod,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if method != HttpMethod::POST {
        let error = A2aError::new(
            ErrorKind::MethodNotAllowed,
            "JSON-RPC is asked by POST; REST lies below this path",
        );
        let mut response = error.rest(http::media_type(&headers));
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    let extended = version::is_extended(&headers);
    let answer = async {
        let asked = read(&app, &headers, body).await?;
        let id = asked.id.clone();
        carry_out(&app, asked, &uri, &headers, extended).await.map_err(|error| Refused { id, error })
    };
    let mut response = match answer.await {
        Ok(response) => response,
        Err(Refused { id, error }) => error.json_rpc(&id),
    };
    if extended {
        version::echo(&mut response);
    }
    response
}

async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<Asked, Refused> {
    let unnamed = |error| Refused { id: null(), error };
    http::check_content_type(headers).map_err(unnamed)?;
    let text = body::text(headers, body, app.config.limits.body_read).await;
    let text = text.map_err(|problem| unnamed(problem.into()))?;
    parse(&text)
}

/// Takes a request apart.
fn parse(text: &str) -> Result<Asked, Refused> {
    let refuse = |kind, message: &str| Refused { id: null(), error: A2aError::new(kind, message) };
    let whole: &RawValue = serde_json::from_str(text)
        .map_err(|error| refuse(ErrorKind::ParseError, &format!("the body is no JSON: {error}")))?;
    match whole.get().as_bytes().first() {
        Some(b'{') => {}
        Some(b'[') => {
            return Err(refuse(ErrorKind::InvalidRequest, "batches are not taken; send one request"));
        }
        _ => return Err(refuse(ErrorKind::InvalidRequest, "a request is an object")),
    }
    let request: Request<'_> = serde_json::from_str(whole.get())
        .map_err(|error| refuse(ErrorKind::InvalidRequest, &format!("no request: {error}")))?;
    let id = id(request.id).map_err(|message| refuse(ErrorKind::InvalidRequest, &message))?;
    let refuse = |message: &str| {
        let error = A2aError::new(ErrorKind::InvalidRequest, message);
        Refused { id: id.clone(), error }
    };
    if string(request.jsonrpc).as_deref() != Some("2.0") {
        return Err(refuse("jsonrpc must be \"2.0\""));
    }
    let method = string(request.method).ok_or_else(|| refuse("method must be a string"))?;
    Ok(Asked { method, params: request.params.map(RawValue::to_owned), id })
}

/// The id, if it can be one.
fn id(id: Option<&RawValue>) -> Result<Box<RawValue>, String> {
    let Some(id) = id else { return Err("id is missing; there are no notifications in A2A".into()) };
    if !matches!(id.get().as_bytes().first(), Some(b'"' | b'-' | b'0'..=b'9' | b'n')) {
        return Err("id must be a string, a number or null".into());
    }
    if id.get().len() > ID_BYTES_MAX {
        return Err(format!("id has {} bytes, the limit is {ID_BYTES_MAX}", id.get().len()));
    }
    Ok(id.to_owned())
}

async fn carry_out(
    app: &Arc<App>,
    asked: Asked,
    uri: &Uri,
    headers: &HeaderMap,
    extended: bool,
) -> Result<Response, A2aError> {
    let query = http::query(uri)?;
    version::check(headers, &query)?;
    let Some(method) = Method::named(&asked.method) else {
        let name: String = asked.method.chars().take(64).collect();
        return Err(A2aError::new(ErrorKind::MethodNotFound, format!("there is no method {name}")));
    };
    let operation = request::parse(method, params(asked.params.as_deref())?)?;
    let Streaming { event_field, after } = Streaming::of(&operation, headers, &query)?;
    let envelope = Envelope::JsonRpc(asked.id.clone());
    let call = Call { extended, event_field, after, envelope };
    Ok(match methods::perform(app, operation, call).await? {
        Reply::Stream(response) => response,
        reply => respond(&asked.id, &reply),
    })
}

fn respond(id: &RawValue, result: &Reply) -> Response {
    #[derive(Serialize)]
    struct Answer<'a> {
        jsonrpc: &'static str,
        id: &'a RawValue,
        result: &'a Reply,
    }
    match serde_json::to_vec(&Answer { jsonrpc: "2.0", id, result }) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => A2aError::new(ErrorKind::InternalError, error.to_string()).json_rpc(id),
    }
}

/// The parameters by name; there are none by place in A2A.
fn params(params: Option<&RawValue>) -> Result<Map<String, Value>, A2aError> {
    let Some(params) = params.filter(|params| params.get() != "null") else { return Ok(Map::new()) };
    if !params.get().starts_with('{') {
        return Err(A2aError::field("params", "must be an object"));
    }
    serde_json::from_str(params.get()).map_err(|error| A2aError::field("params", error.to_string()))
}

fn string(value: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(value?.get()).ok()
}

fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

/// A null that is there is not the same as nothing.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}
