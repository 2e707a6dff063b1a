//! A server that is an address: streamable HTTP, over the connections of the tool `http` and under its guards.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, StatusCode};
use planwire_engine::tool::ToolError;
use planwire_engine::tools::http::Client;
use planwire_engine::tools::http::client::Response;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ErrorData, ServerJsonRpcMessage};
use rmcp::transport::common::http_header::{
    EVENT_STREAM_MIME_TYPE, HEADER_LAST_EVENT_ID, HEADER_SESSION_ID, JSON_MIME_TYPE,
};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpClientTransport, StreamableHttpClientTransportConfig,
    StreamableHttpError, StreamableHttpPostResponse, StreamableHttpResponseLimits,
};
use sse_stream::{Sse, SseStream};

use crate::config::Hidden;
use crate::limits::MESSAGE_BYTES_MAX;
use crate::server::Server;
use crate::session::BeginError;

/// Bytes of a failed response that are looked at.
const EXCERPT_BYTES_MAX: usize = 4 * 1024;

type Failed = StreamableHttpError<ToolError>;
type Events = BoxStream<'static, Result<Sse, SseError>>;

/// The HTTP of one server.
#[derive(Clone)]
pub(crate) struct Web {
    client: Arc<Client>,
    headers: HeaderMap,
}

/// Connects to nothing yet.
pub(crate) fn transport(
    url: &str,
    headers: &BTreeMap<String, Hidden>,
    server: &Server,
) -> Result<StreamableHttpClientTransport<Web>, BeginError> {
    let for_good = |error: ToolError| BeginError::for_good(error.message);
    Client::host_of(url).map_err(for_good)?;
    let mut own = HeaderMap::new();
    own.insert(USER_AGENT, HeaderValue::from_static(concat!("planwire/", env!("CARGO_PKG_VERSION"))));
    for (name, value) in headers {
        let bad = || BeginError::for_good(format!("header {name} cannot be sent"));
        let header = HeaderName::try_from(name.as_str()).map_err(|_| bad())?;
        let mut value = HeaderValue::from_str(value.reveal()).map_err(|_| bad())?;
        value.set_sensitive(true);
        own.insert(header, value);
    }
    let web = Web {
        client: Arc::new(Client::new(
            server.blueprint.http.clone(),
            server.redactor.clone(),
            server.gate.clone(),
        )),
        headers: own,
    };
    let config = StreamableHttpClientTransportConfig::with_uri(url)
        .max_sse_event_size(MESSAGE_BYTES_MAX)
        .max_json_response_size(MESSAGE_BYTES_MAX)
        .max_error_response_size(EXCERPT_BYTES_MAX);
    Ok(StreamableHttpClientTransport::with_client(web, config))
}

impl Web {
    async fn send(
        &self,
        uri: &str,
        method: Method,
        accept: &'static str,
        added: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
        body: Bytes,
    ) -> Result<Response, Failed> {
        let mut headers = self.headers.clone();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        headers.extend(added);
        self.client.send(uri, method, headers, body).await.map_err(StreamableHttpError::Client)
    }
}

/// What the transport adds to each request.
fn added(session_id: Option<&str>, custom: HashMap<HeaderName, HeaderValue>) -> Result<HeaderMap, Failed> {
    let mut headers: HeaderMap = custom.into_iter().collect();
    if let Some(id) = session_id {
        let value = HeaderValue::from_str(id).map_err(|_| unexpected("its session id is none"))?;
        headers.insert(named(HEADER_SESSION_ID)?, value);
    }
    Ok(headers)
}

fn named(name: &str) -> Result<HeaderName, Failed> {
    HeaderName::try_from(name).map_err(|_| unexpected("a header has no name"))
}

fn unexpected(what: impl Into<String>) -> Failed {
    StreamableHttpError::UnexpectedServerResponse(what.into().into())
}

/// The media type of a response, without its parameters.
fn media_type(response: &Response) -> String {
    let value = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase()
}

/// The whole body, of at most `bytes_max`.
async fn whole(response: &mut Response, bytes_max: usize) -> Result<Vec<u8>, Failed> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(StreamableHttpError::Client)? {
        if body.len() + chunk.len() > bytes_max {
            return Err(StreamableHttpError::ResponseBodyTooLarge { max_size: bytes_max });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The events of a response, each of at most `bytes_max`.
fn events(response: Response, bytes_max: usize) -> Events {
    let size = EventSize { bytes: 0, is_line_empty: true, bytes_max };
    let chunks = stream::unfold(Some((response, size)), async |state| {
        let (mut response, mut size) = state?;
        match response.chunk().await {
            Ok(None) => None,
            Ok(Some(chunk)) if size.take(&chunk) => Some((Ok(chunk), Some((response, size)))),
            Ok(Some(_)) => Some((Err(ToolError::new("too_large", "an event is too long")), None)),
            Err(error) => Some((Err(error), None)),
        }
    });
    SseStream::from_bytes_stream(chunks).boxed()
}

/// Counts the bytes of one event: up to an empty line.
struct EventSize {
    bytes: usize,
    is_line_empty: bool,
    bytes_max: usize,
}

impl EventSize {
    /// Whether no event is too long so far.
    fn take(&mut self, chunk: &[u8]) -> bool {
        for byte in chunk {
            match byte {
                b'\n' if self.is_line_empty => self.bytes = 0,
                b'\n' => self.is_line_empty = true,
                b'\r' => {}
                _ => self.is_line_empty = false,
            }
            self.bytes += 1;
            if self.bytes > self.bytes_max {
                return false;
            }
        }
        true
    }
}

/// What a failed response to a request means: a server that knows no `server/discover` speaks the older protocol.
async fn refused(
    message: &ClientJsonRpcMessage,
    has_session: bool,
    mut response: Response,
) -> Result<StreamableHttpPostResponse, Failed> {
    let status = response.status();
    if status == StatusCode::NOT_FOUND && has_session {
        return Err(StreamableHttpError::SessionExpired);
    }
    let body = whole(&mut response, EXCERPT_BYTES_MAX).await.unwrap_or_default();
    let error = match serde_json::from_slice::<ServerJsonRpcMessage>(&body) {
        Ok(ServerJsonRpcMessage::Error(error)) => Some(error.error),
        _ => None,
    };
    let is_forbidden = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    match (message, error) {
        (ClientJsonRpcMessage::Request(request), error)
            if matches!(request.request, ClientRequest::DiscoverRequest(_))
                && status.is_client_error()
                && !has_session
                && !is_forbidden =>
        {
            let error = error.unwrap_or_else(|| ErrorData::invalid_request(status.to_string(), None));
            let answer = ServerJsonRpcMessage::error(error, Some(request.id.clone()));
            Ok(StreamableHttpPostResponse::Json(answer, None))
        }
        (ClientJsonRpcMessage::Request(request), Some(error)) if !is_forbidden => {
            let answer = ServerJsonRpcMessage::error(error, Some(request.id.clone()));
            Ok(StreamableHttpPostResponse::Json(answer, None))
        }
        _ => Err(unexpected(format!("it gives {status}"))),
    }
}

impl StreamableHttpClient for Web {
    type Error = ToolError;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let limits = StreamableHttpResponseLimits::default();
        self.post_message_with_response_limits(uri, message, session_id, auth_header, custom_headers, limits)
            .await
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let mut added = added(session_id.as_deref(), custom_headers)?;
        added.insert(CONTENT_TYPE, HeaderValue::from_static(JSON_MIME_TYPE));
        let added = added.into_iter().filter_map(|(name, value)| name.map(|name| (name, value)));
        let body = serde_json::to_vec(&message)?.into();
        let accept = "application/json, text/event-stream";
        let mut response = self.send(&uri, Method::POST, accept, added, body).await?;
        let status = response.status();
        if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        if !status.is_success() {
            return refused(&message, session_id.is_some(), response).await;
        }
        let session_id = response.headers().get(HEADER_SESSION_ID).and_then(|value| value.to_str().ok());
        let session_id = session_id.map(str::to_owned);
        if !matches!(message, ClientJsonRpcMessage::Request(_)) {
            // Nothing is waited for, so nothing in the answer matters.
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        match media_type(&response).as_str() {
            EVENT_STREAM_MIME_TYPE => {
                Ok(StreamableHttpPostResponse::Sse(events(response, limits.max_sse_event_size), session_id))
            }
            JSON_MIME_TYPE => {
                let body = whole(&mut response, limits.max_json_response_size).await?;
                let answer = serde_json::from_slice(&body);
                let answer = answer.map_err(|_| unexpected("it sent JSON that is no message"))?;
                Ok(StreamableHttpPostResponse::Json(answer, session_id))
            }
            other => Err(StreamableHttpError::UnexpectedContentType(Some(other.to_owned()))),
        }
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Failed> {
        let added = added(Some(&*session_id), custom_headers)?;
        let added = added.into_iter().filter_map(|(name, value)| name.map(|name| (name, value)));
        let response = self.send(&uri, Method::DELETE, JSON_MIME_TYPE, added, Bytes::new()).await?;
        match response.status() {
            StatusCode::METHOD_NOT_ALLOWED => Err(StreamableHttpError::ServerDoesNotSupportDeleteSession),
            status if status.is_success() => Ok(()),
            status => Err(unexpected(format!("it gives {status}"))),
        }
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<Events, Failed> {
        self.get_stream_with_max_sse_event_size(
            uri,
            session_id,
            last_event_id,
            auth_header,
            custom_headers,
            MESSAGE_BYTES_MAX,
        )
        .await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
        max_sse_event_size: usize,
    ) -> Result<Events, Failed> {
        let mut added = added(session_id.as_deref(), custom_headers)?;
        if let Some(id) = last_event_id {
            let value = HeaderValue::from_str(&id).map_err(|_| unexpected("the id of an event is none"))?;
            added.insert(named(HEADER_LAST_EVENT_ID)?, value);
        }
        let added = added.into_iter().filter_map(|(name, value)| name.map(|name| (name, value)));
        let response = self.send(&uri, Method::GET, EVENT_STREAM_MIME_TYPE, added, Bytes::new()).await?;
        match response.status() {
            StatusCode::METHOD_NOT_ALLOWED => Err(StreamableHttpError::ServerDoesNotSupportSse),
            StatusCode::NOT_FOUND if session_id.is_some() => Err(StreamableHttpError::SessionExpired),
            status if !status.is_success() => Err(unexpected(format!("it gives {status}"))),
            _ if media_type(&response) == EVENT_STREAM_MIME_TYPE => Ok(events(response, max_sse_event_size)),
            _ => Err(StreamableHttpError::UnexpectedContentType(Some(media_type(&response)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_bounded_and_their_number_is_not() {
        let mut size = EventSize { bytes: 0, is_line_empty: true, bytes_max: 20 };
        assert!((0..100).all(|_| size.take(b"data: 123456789\r\n\r\n")));
        assert!((0..100).all(|_| size.take(b": hb\n\n")));
        assert!(size.take(b"data: 1\ndata: 2\n"));
        assert!(!size.take(b"data: 3\n"));
    }
}
