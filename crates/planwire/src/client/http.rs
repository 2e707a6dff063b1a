//! HTTP/1.1 to a planwire server on this machine: one connection per request, answers with a limit.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::failure::{Exit, Failure, Unreachable};

/// How long a server on this machine may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a server may take to begin its answer. A publish waits for a disk, a start for a document.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of an answer: a page of 1,000 events is the largest.
const ANSWER_BYTES_MAX: usize = 300 * 1024 * 1024;

/// A server on this machine, and the token that proves that we are the same user.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    authority: String,
    token: Option<String>,
}

/// How a server answered that did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refused {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// What the server says, with its details below.
    pub(crate) message: String,
    /// The event of the request that is meant, from 0.
    pub(crate) index: Option<usize>,
}

impl Client {
    /// A client of the server at `url`, which is `http://HOST:PORT`.
    ///
    /// # Errors
    ///
    /// If `url` has another form.
    pub(crate) fn new(url: &str, token: Option<String>) -> Result<Self, Failure> {
        let authority = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        match authority.filter(|authority| !authority.is_empty() && !authority.contains('/')) {
            Some(authority) => Ok(Self { authority: authority.to_owned(), token }),
            None => Err(Failure::failed(format!("the address of the server, '{url}', is none"))),
        }
    }

    /// The server's address, as people open it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// Sends JSON and reads JSON.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.post_text(path, body.to_string()).await
    }

    /// Sends JSON as it stands and reads JSON.
    pub(crate) async fn post_text(&self, path: &str, body: String) -> Result<Value, Failure> {
        let body = Bytes::from(body);
        let headers = [(CONTENT_TYPE.as_str(), "application/json"), (ACCEPT.as_str(), "application/json")];
        let answer = self.send(Method::POST, path, &headers, Some(body)).await?;
        self.read_json(answer).await
    }

    /// Opens an event stream; any status is an answer.
    pub(crate) async fn stream(&self, path: &str, last: Option<&str>) -> Result<Response<Incoming>, Failure> {
        let mut headers = vec![(ACCEPT.as_str(), "text/event-stream")];
        headers.extend(last.map(|id| ("last-event-id", id)));
        self.send(Method::GET, path, &headers, None).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Result<Response<Incoming>, Failure> {
        let unreachable = |error: anyhow::Error| {
            Failure::new(Exit::Failed, Unreachable { url: self.url(), source: error })
                .hint("it may just have ended; try again")
        };
        let connect = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.authority)).await;
        let stream = connect.map_err(|_| unreachable(anyhow::anyhow!("no connection in time")))?;
        let stream = stream.map_err(|error| unreachable(error.into()))?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| unreachable(error.into()))?;
        // The task ends with the connection, which ends when the answer was read or dropped.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the server ended");
            }
        });
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.authority);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body.unwrap_or_default()));
        let request = request.map_err(|error| unreachable(error.into()))?;
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, sender.send_request(request)).await;
        let answer = answer.map_err(|_| unreachable(anyhow::anyhow!("no answer in time")))?;
        answer.map_err(|error| unreachable(error.into()))
    }

    async fn read_json(&self, answer: Response<Incoming>) -> Result<Value, Failure> {
        let status = answer.status();
        let body = read(answer).await?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| {
                Failure::new(Exit::Failed, error).context("the server's answer is not JSON")
            });
        }
        Err(refusal(status, &body))
    }
}

async fn read(answer: Response<Incoming>) -> Result<Bytes, Failure> {
    let body: Result<Collected<Bytes>, _> =
        Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    body.map(Collected::to_bytes)
        .map_err(|error| Failure::failed(error).context("failed to read the server's answer"))
}

/// What an answer that is no success means here.
pub(crate) async fn refused(answer: Response<Incoming>) -> Failure {
    let status = answer.status();
    match read(answer).await {
        Ok(body) => refusal(status, &body),
        Err(failure) => failure,
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    let exit = match status {
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
            Exit::Usage
        }
        StatusCode::INTERNAL_SERVER_ERROR
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::INSUFFICIENT_STORAGE => Exit::Storage,
        _ => Exit::Failed,
    };
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| problem.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let message = text("detail")
        .or_else(|| text("title"))
        .map_or_else(|| format!("the server answered {status}"), |text| text.trim_end().to_owned());
    let index = problem.get("index").and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok());
    Failure::new(exit, Refused { status, message, index })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_of_a_server_has_one_form() {
        assert_eq!(Client::new("http://127.0.0.1:7420/", None).unwrap().url(), "http://127.0.0.1:7420");
        for bad in ["", "127.0.0.1:7420", "https://127.0.0.1", "http://", "http://a/b"] {
            assert!(Client::new(bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn problem_is_told_by_its_detail() {
        let check = |status: u16, body: &str, exit: Exit, expected: &str| {
            let failure = refusal(StatusCode::from_u16(status).unwrap(), body.as_bytes());
            assert_eq!((failure.exit, failure.to_string()), (exit, format!("planwire: {expected}")));
        };
        check(
            404,
            r#"{"title":"unknown plan","detail":"plan x is unknown"}"#,
            Exit::Failed,
            "plan x is unknown",
        );
        check(422, r#"{"title":"invalid"}"#, Exit::Usage, "invalid");
        check(503, "<html>", Exit::Storage, "the server answered 503 Service Unavailable");
    }
}
