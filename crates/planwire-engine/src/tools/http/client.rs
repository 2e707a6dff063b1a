//! HTTP for other tools, under the guards of the tool `http`: the same addresses, certificates, times and limits.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};

use super::HttpConfig;
use super::arguments::{Request, Statuses};
use super::connection::{Connector, Exchange, bad_response};
use super::shown::Shown;
use super::target::Target;
use crate::policy::{Gate, Host};
use crate::redaction::Redactor;
use crate::tool::ToolError;

/// Asks HTTP servers, over a connection of its own for each request. Redirects are not followed.
#[derive(Debug)]
pub struct Client {
    connector: Connector,
    redactor: Redactor,
    gate: Gate,
}

impl Client {
    /// A client that reaches servers as `config` says and `gate` admits, and whose errors hold no values of secrets.
    #[must_use]
    pub fn new(config: HttpConfig, redactor: Redactor, gate: Gate) -> Self {
        Self { connector: Connector::new(config), redactor, gate }
    }

    /// The server that a URL names.
    ///
    /// # Errors
    ///
    /// `bad_argument` says what is wrong with the URL.
    pub fn host_of(url: &str) -> Result<Host, ToolError> {
        Target::parse(url).map(|target| Host::new(&target.host, target.port))
    }

    /// Sends a request; returns when the head of the response is there.
    ///
    /// # Errors
    ///
    /// The failures of the tool `http`, except for those about statuses and bodies.
    pub async fn send(
        &self,
        url: &str,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response, ToolError> {
        let target = Target::parse(url)?;
        let request = Request {
            shown: Shown::of(&target, url, "", &self.redactor),
            target,
            method,
            headers,
            body,
            ok_statuses: Statuses::of(None)?,
            follow_redirects: 0,
            kept_bytes: 0,
            is_strict: false,
        };
        let exchange = self.connector.send(&request, &self.gate).await?;
        Ok(Response { request, exchange })
    }
}

/// A response whose body is still to be read. Dropping it closes the connection.
pub struct Response {
    request: Request,
    exchange: Exchange,
}

impl Response {
    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.exchange.response().status()
    }

    /// Its headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.exchange.response().headers()
    }

    /// The next bytes of the body; `None` at its end. Can be dropped and called again.
    ///
    /// # Errors
    ///
    /// `bad_response` if what the server sends is not HTTP, or ends early.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ToolError> {
        loop {
            let frame = self.exchange.with(async |response| response.body_mut().frame().await).await;
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(bad_response(&self.request, &error)),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Response").field(&self.status()).finish()
    }
}
