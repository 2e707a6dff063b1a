//! One call of a tool, made once.

use planwire_engine::tool::{ToolContext, ToolError, ToolOutput};
use planwire_event::vocabulary::Object;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientRequest, ErrorCode, RequestMetaObject, ServerResult,
};
use rmcp::service::{PeerRequestOptions, RequestHandle};
use rmcp::{RoleClient, ServiceError};
use tokio::time::{sleep, timeout};

use crate::catalog::CatalogError;
use crate::limits::CANCEL_GRACE;
use crate::outcome;
use crate::server::Server;
use crate::session::Session;

/// What a request came to.
type Answer = Result<ServerResult, ServiceError>;

/// Calls `tool` with arguments that fit, and waits for its end, for the request to end, or for the end of the server.
pub(crate) async fn make(
    server: &Server,
    tool: &str,
    arguments: Object,
    context: &ToolContext,
) -> Result<ToolOutput, ToolError> {
    let session = tokio::select! {
        biased;
        _ = context.stop.wait() => return Err(ToolError::stopped()),
        session = server.session() => session?,
    };
    let checked = check(server, &session, tool, &arguments);
    tokio::select! {
        biased;
        _ = context.stop.wait() => return Err(ToolError::stopped()),
        checked = checked => checked?,
    }
    let handle = send(server, &session, tool, arguments, context).await?;
    let _route = session.client.route(handle.progress_token.clone(), context.progress.clone());
    wait(server, &session, tool, handle, context).await
}

async fn check(server: &Server, session: &Session, tool: &str, arguments: &Object) -> Result<(), ToolError> {
    let patience = server.blueprint.config.start_timeout;
    let late = |_| server.unavailable(format!("it did not list its tools within {patience:?}"));
    let catalog = timeout(patience, session.catalog(tool)).await.map_err(late)?;
    match catalog {
        Ok(catalog) => catalog.check(server.name(), tool, arguments),
        Err(CatalogError::Service(error)) => Err(failed(server, session, *error).await),
        Err(error @ CatalogError::TooMany) => Err(ToolError::new("mcp_protocol", error.to_string())),
    }
}

async fn send(
    server: &Server,
    session: &Session,
    tool: &str,
    arguments: Object,
    context: &ToolContext,
) -> Result<RequestHandle<RoleClient>, ToolError> {
    let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
    let request = CallToolRequest::new(params);
    let mut meta = RequestMetaObject::default();
    if let Some(traceparent) = context.call.traceparent() {
        meta.0.set_traceparent(traceparent);
    }
    let options = PeerRequestOptions::no_options().with_meta(meta);
    let sent = session.peer.send_cancellable_request(ClientRequest::CallToolRequest(request), options);
    match sent.await {
        Ok(handle) => Ok(handle),
        Err(error) => Err(failed(server, session, error).await),
    }
}

async fn wait(
    server: &Server,
    session: &Session,
    tool: &str,
    mut handle: RequestHandle<RoleClient>,
    context: &ToolContext,
) -> Result<ToolOutput, ToolError> {
    let patience = server.blueprint.config.call_timeout;
    let late = async {
        match patience {
            Some(patience) => sleep(patience).await,
            None => std::future::pending().await,
        }
    };
    let (why, error) = tokio::select! {
        biased;
        answer = &mut handle.rx => {
            let answer = answer.unwrap_or(Err(ServiceError::TransportClosed));
            return outcome::read(server, session, tool, answer).await;
        }
        () = session.died() => {
            // Its last words may be on the way.
            let answer = timeout(CANCEL_GRACE, &mut handle.rx).await;
            let answer = answer.ok().and_then(Result::ok).unwrap_or(Err(ServiceError::TransportClosed));
            return outcome::read(server, session, tool, answer).await;
        }
        _ = context.stop.wait() => ("the plan does not want the result any more", ToolError::stopped()),
        () = late => {
            let message = format!("{tool} of MCP server {} took longer than {patience:?}", server.name());
            ("the call took too long", ToolError::new("timed_out", message))
        }
    };
    // A server that does not take the word in time is not waited for.
    let _ = timeout(CANCEL_GRACE, handle.cancel(Some(why.to_owned()))).await;
    Err(error)
}

/// The failure of a request.
pub(crate) async fn failed(server: &Server, session: &Session, error: ServiceError) -> ToolError {
    let name = server.name();
    match error {
        ServiceError::McpError(error) => {
            let code = match error.code {
                ErrorCode::INVALID_PARAMS => "bad_argument",
                _ => "mcp_error",
            };
            let message = format!("MCP server {name} refused with {}: {}", error.code.0, error.message);
            ToolError::new(code, message)
        }
        ServiceError::UnexpectedResponse | ServiceError::InputRequiredRoundsExceeded { .. } => {
            let message = format!("MCP server {name} answered something else than a result");
            ToolError::new("mcp_protocol", message)
        }
        ServiceError::TransportClosed => {
            server.unavailable(format!("it ended before it answered{}", session.last_words().await))
        }
        other => {
            session.doubt();
            server.unavailable(told(&other))
        }
    }
}

/// What went wrong with a request that was not taken: its innermost cause, which names the address.
fn told(error: &ServiceError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Server").field(&self.name()).finish()
    }
}

/// An answer of a server as the rest of this crate takes it.
pub(crate) type Answered = Answer;
