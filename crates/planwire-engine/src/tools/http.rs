//! `http`: asks an HTTP server, over a connection of its own to an address that was checked.
//!
//! ```text
//!   arguments -> target -> addresses (resolved once) -> may they be reached? -> connect to one of them -> TLS
//!                  ^                                                                                    |
//!                  +--- a redirect, if the step follows them --- response <----------- request ---------+
//! ```
//!
//! **Invariants:** no connection goes to an address that was not checked, since names are never resolved twice;
//! where a redirect leads is asked of the policy like where the call began;
//! proxies, cookies and credentials of the machine are not used; dropping a call closes its connection.
//!
//! - [`address`]: which addresses may be reached.
//! - `arguments`, `target`: what is asked for, and of whom.
//! - [`connection`]: names, addresses, TLS.
//! - `redirect`, `response`: what comes back.
//! - `shown`: what is said of it.
//! - [`client`]: the same for other tools.

pub mod address;
mod arguments;
pub mod client;
pub mod connection;
mod redirect;
mod response;
mod shown;
mod target;

use std::path::Path;

use futures_util::future::BoxFuture;
use planwire_event::vocabulary::Object;
use serde_json::Value;

use crate::policy::Reach;
use crate::tool::{Argument, Parameters, Tool, ToolContext, ToolError, ToolOutput, read_arguments};
pub use address::{AddressError, AllowPrivate};
use arguments::{Arguments, Request};
pub use client::Client;
use connection::Connector;
pub use connection::{Resolver, Roots};
use redirect::Next;
use target::Target;

/// Bytes of a body when the step does not say: longer ones are cut.
pub const RESPONSE_BYTES_DEFAULT: usize = 64 * 1024;
/// Bytes of a body that a step may ask for: in Base64 it still fits into an event.
pub const RESPONSE_BYTES_MAX: usize = 90 * 1024;
/// Redirects that a step may follow.
pub const REDIRECTS_MAX: u32 = 5;

const _: () = assert!(RESPONSE_BYTES_DEFAULT <= RESPONSE_BYTES_MAX);
const _: () =
    assert!(RESPONSE_BYTES_MAX / 3 * 4 + response::HEADERS_BYTES_MAX < crate::output::TOOL_OUTPUT_BYTES_MAX);

/// How the tool reaches servers.
#[derive(Clone, Debug, Default)]
pub struct HttpConfig {
    /// Private addresses that may be reached all the same. Default: none.
    pub allow_private: AllowPrivate,
    /// How names become addresses. Default: as the machine does it.
    pub resolver: Resolver,
    /// Whose certificates are believed. Default: those that the machine believes.
    pub roots: Roots,
}

/// The tool `http`.
#[derive(Debug, Default)]
pub struct Http {
    connector: Connector,
}

impl Http {
    /// A tool that reaches servers as `config` says.
    #[must_use]
    pub fn new(config: HttpConfig) -> Self {
        Self { connector: Connector::new(config) }
    }

    async fn run(&self, arguments: Arguments, context: &ToolContext) -> Result<ToolOutput, ToolError> {
        let redactor = &context.redactor;
        let mut request = Request::of(arguments, redactor)?;
        let mut redirects_left = request.follow_redirects;
        loop {
            let mut exchange = self.connector.send(&request, &context.gate).await?;
            let next = match request.follow_redirects {
                0 => None,
                _ => redirect::next(&request, exchange.response(), redactor)?,
            };
            match next {
                None => return response::read(&request, &mut exchange, redactor).await,
                Some(_) if redirects_left == 0 => {
                    let message = format!("more than {} redirects", request.follow_redirects);
                    return Err(ToolError::new("too_many_redirects", message));
                }
                Some(Next { target, shown, method, body, headers }) => {
                    redirects_left -= 1;
                    context.gate.admit_host(&target.host, target.port)?;
                    request = Request { target, shown, method, body, headers, ..request };
                }
            }
        }
    }
}

/// The server of a URL. One that is none leads nowhere.
pub(super) fn reach_of(url: &str) -> Reach {
    Target::parse(url).map_or_else(|_| Reach::default(), |target| Reach::host(&target.host, target.port))
}

impl Tool for Http {
    fn name(&self) -> &str {
        "http"
    }

    fn purpose(&self) -> &str {
        "asks an HTTP server"
    }

    fn arguments(&self) -> Parameters {
        Parameters::listed(
            const {
                &[
                    Argument::required("url", "text", "what is asked for: http:// or https://"),
                    Argument::optional(
                        "method",
                        "text",
                        "GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS; default: GET",
                    ),
                    Argument::optional("headers", "object of texts", "headers of the request"),
                    Argument::optional("query", "object", "is added to the URL, encoded"),
                    Argument::optional("json", "anything", "the body, as JSON"),
                    Argument::optional("text", "text", "the body, as it is"),
                    Argument::optional(
                        "ok_statuses",
                        "list",
                        "statuses that are no failure, such as 404 or '4xx'; default: 2xx",
                    ),
                    Argument::optional("follow_redirects", "integer", "how many are followed; default: 0"),
                    Argument::optional("max_response_bytes", "integer", "a longer body is a failure"),
                ]
            },
        )
    }

    fn reach(&self, arguments: &Object, _folder: &Path) -> Reach {
        reach_of(arguments.get("url").and_then(Value::as_str).unwrap_or_default())
    }

    fn call(&self, arguments: Object, context: ToolContext) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        Box::pin(async move {
            let arguments: Arguments = read_arguments(arguments)?;
            tokio::select! {
                biased;
                _ = context.stop.wait() => Err(ToolError::stopped()),
                result = self.run(arguments, &context) => result,
            }
        })
    }
}
