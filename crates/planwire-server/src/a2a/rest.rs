//! A2A over REST: below `/a2a`, and once more below `/a2a/{tenant}`.
//!
//! Paths end in verbs (`/tasks/{id}:cancel`), which routers do not know, so they are taken apart here. What path and
//! query say becomes the parameters of the method, beside the members of the body.

use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method as HttpMethod, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use super::error::{A2aError, ErrorKind};
use super::http::Streaming;
use super::methods::{self, Call, Reply};
use super::request::{self, Method};
use super::stream::Envelope;
use super::{http, version};
use crate::app::App;
use crate::body;

/// Parameters that may stand in the query; what else stands there is ignored.
const QUERY_PARAMETERS: [&str; 9] = [
    "tenant",
    "contextId",
    "status",
    "pageSize",
    "pageToken",
    "historyLength",
    "statusTimestampAfter",
    "includeArtifacts",
    "id",
];

/// What a path means.
#[derive(Debug, PartialEq)]
struct Resource<'a> {
    tenant: Option<&'a str>,
    /// The task in the path.
    id: Option<&'a str>,
    /// Methods of HTTP that the path takes, each with what it does.
    methods: &'static [(HttpMethod, Method)],
}

pub(crate) async fn call(
    State(app): State<Arc<App>>,
    Path(path): Path<String>,
    method: HttpMethod,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let media_type = http::media_type(&headers);
    let Some(resource) = resource(&path) else {
        let path: String = path.chars().take(100).collect();
        let error = A2aError::new(ErrorKind::MethodNotFound, format!("there is nothing at /a2a/{path}"));
        return error.rest(media_type);
    };
    let Some((_, operation)) = resource.methods.iter().find(|(taken, _)| *taken == method) else {
        return not_allowed(&method, resource.methods, media_type);
    };
    let extended = version::is_extended(&headers);
    let answer = carry_out(&app, &resource, *operation, &uri, &headers, body, extended).await;
    let mut response = answer.unwrap_or_else(|error| error.rest(media_type));
    if extended {
        version::echo(&mut response);
    }
    response
}

async fn carry_out(
    app: &Arc<App>,
    resource: &Resource<'_>,
    method: Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
    extended: bool,
) -> Result<Response, A2aError> {
    let query = http::query(uri)?;
    version::check(headers, &query)?;
    let mut params = members(app, headers, body).await?;
    for (name, value) in &query {
        let name = request::of_parameter(name);
        if QUERY_PARAMETERS.contains(&name) {
            params.insert(name.to_owned(), of_query(name, value));
        }
    }
    for (name, value) in [("tenant", resource.tenant), ("id", resource.id)] {
        if let Some(value) = value {
            params.insert(name.to_owned(), value.into());
        }
    }
    let operation = request::parse(method, params)?;
    let Streaming { event_field, after } = Streaming::of(&operation, headers, &query)?;
    let call = Call { extended, event_field, after, envelope: Envelope::Rest };
    Ok(match methods::perform(app, operation, call).await? {
        Reply::Stream(response) => response,
        reply => {
            let body = serde_json::to_vec(&reply)
                .map_err(|error| A2aError::new(ErrorKind::InternalError, error.to_string()))?;
            ([(header::CONTENT_TYPE, http::media_type(headers))], body).into_response()
        }
    })
}

/// The members of the body; none if there is no body.
async fn members(app: &App, headers: &HeaderMap, body: Body) -> Result<Map<String, Value>, A2aError> {
    if body.is_end_stream() {
        // What is not there has no type, whatever a client says of it.
        return Ok(Map::new());
    }
    let typed = http::check_content_type(headers);
    if typed.is_err() && headers.contains_key(header::CONTENT_TYPE) {
        return typed.map(|()| Map::new());
    }
    let text = body::text(headers, body, app.config.limits.body_read).await?;
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    typed?;
    let parsed: Value = serde_json::from_str(&text)
        .map_err(|error| A2aError::new(ErrorKind::ParseError, format!("the body is no JSON: {error}")))?;
    match parsed {
        Value::Object(members) => Ok(members),
        _ => Err(A2aError::new(ErrorKind::InvalidRequest, "the body must be an object")),
    }
}

/// A query has texts only; the one bool among the parameters is made one here.
fn of_query(name: &str, value: &str) -> Value {
    match (name, value) {
        ("includeArtifacts", "true") => Value::Bool(true),
        ("includeArtifacts", "false") => Value::Bool(false),
        _ => Value::String(value.to_owned()),
    }
}

fn not_allowed(method: &HttpMethod, methods: &[(HttpMethod, Method)], media_type: &'static str) -> Response {
    let names: Vec<_> = methods.iter().map(|(name, _)| name.as_str()).collect();
    let allow = names.join(", ");
    let message = format!("the path does not take {method}, but {allow}");
    let mut response = A2aError::new(ErrorKind::MethodNotAllowed, message).rest(media_type);
    if let Ok(allow) = HeaderValue::from_str(&allow) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

/// Takes a path apart: as it is, else with a tenant before it.
fn resource(path: &str) -> Option<Resource<'_>> {
    let segments: Vec<_> = path.trim_end_matches('/').split('/').collect();
    below(&segments, None).or_else(|| match segments.split_first() {
        Some((tenant, rest)) if !tenant.is_empty() => below(rest, Some(tenant)),
        _ => None,
    })
}

fn below<'a>(segments: &[&'a str], tenant: Option<&'a str>) -> Option<Resource<'a>> {
    const GET: HttpMethod = HttpMethod::GET;
    const POST: HttpMethod = HttpMethod::POST;
    const PUSH: Method = Method::PushNotificationConfig;
    let (id, methods): (Option<&str>, &[(HttpMethod, Method)]) = match *segments {
        ["message:send"] => (None, &[(POST, Method::SendMessage)]),
        ["message:stream"] => (None, &[(POST, Method::SendStreamingMessage)]),
        ["extendedAgentCard"] => (None, &[(GET, Method::GetExtendedAgentCard)]),
        ["tasks"] => (None, &[(GET, Method::ListTasks)]),
        ["tasks", last] => match last.rsplit_once(':') {
            None => (Some(last), &[(GET, Method::GetTask)]),
            Some((id, "cancel")) => (Some(id), &[(POST, Method::CancelTask)]),
            Some((id, "subscribe")) => {
                (Some(id), &[(GET, Method::SubscribeToTask), (POST, Method::SubscribeToTask)])
            }
            Some(_) => return None,
        },
        ["tasks", id, "pushNotificationConfigs"] => (Some(id), &[(GET, PUSH), (POST, PUSH)]),
        ["tasks", id, "pushNotificationConfigs", _] => (Some(id), &[(GET, PUSH), (HttpMethod::DELETE, PUSH)]),
        _ => return None,
    };
    Some(Resource { tenant, id, methods })
}

/// Whether a path takes a method, given in lower case.
#[cfg(test)]
pub(super) fn takes(method: &str, path: &str) -> bool {
    let methods = resource(path).map_or(&[][..], |resource| resource.methods);
    methods.iter().any(|(taken, _)| taken.as_str().eq_ignore_ascii_case(method))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: Option<(Option<&str>, Option<&str>, &[Method])>) {
        let found = resource(path);
        let found = found.as_ref().map(|found| {
            let methods: Vec<_> = found.methods.iter().map(|(_, method)| *method).collect();
            (found.tenant, found.id, methods)
        });
        assert_eq!(found, expected.map(|(tenant, id, methods)| (tenant, id, methods.to_vec())), "{path}");
    }

    #[test]
    fn paths_end_in_verbs_and_may_begin_with_a_tenant() {
        check("message:send", Some((None, None, &[Method::SendMessage])));
        check("default/message:stream", Some((Some("default"), None, &[Method::SendStreamingMessage])));
        check("tasks", Some((None, None, &[Method::ListTasks])));
        check("tasks/", Some((None, None, &[Method::ListTasks])));
        check("tasks/p1", Some((None, Some("p1"), &[Method::GetTask])));
        check("t/tasks/p1", Some((Some("t"), Some("p1"), &[Method::GetTask])));
        check("tasks/p1:cancel", Some((None, Some("p1"), &[Method::CancelTask])));
        check("tasks/p1:subscribe", Some((None, Some("p1"), &[Method::SubscribeToTask; 2])));
        check(
            "t/tasks/p1/pushNotificationConfigs/c",
            Some((Some("t"), Some("p1"), &[Method::PushNotificationConfig; 2])),
        );
        check("extendedAgentCard", Some((None, None, &[Method::GetExtendedAgentCard])));
        for nothing in [
            "",
            "message",
            "message:sent",
            "tasks/p1:end",
            "a/b/tasks",
            "/tasks",
            "tasks/p1/x",
            "v1/tasks/p1/x",
        ] {
            check(nothing, None);
        }
    }
}
