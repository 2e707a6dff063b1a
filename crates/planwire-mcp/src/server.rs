//! One server of one tree, from its first call to its end, over as many lives as it takes.
//!
//! **Invariant:** there is one session at a time; whoever needs one while it starts waits for the same.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use planwire_engine::Redactor;
use planwire_engine::keep::Kept;
use planwire_engine::policy::Gate;
use planwire_engine::tool::{ToolContext, ToolError};
use planwire_engine::tools::http::HttpConfig;
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::config::ServerConfig;
use crate::limits::{LIVES_MAX, START_PAUSE, START_TRIES_MAX};
use crate::session::Session;

/// What a server is made from, in any tree.
#[derive(Clone, Debug)]
pub(crate) struct Blueprint {
    pub(crate) name: String,
    pub(crate) config: ServerConfig,
    pub(crate) http: HttpConfig,
}

/// A server as one tree uses it.
pub(crate) struct Server {
    pub(crate) blueprint: Arc<Blueprint>,
    /// Where a program runs, unless it is configured.
    pub(crate) folder: PathBuf,
    pub(crate) redactor: Redactor,
    /// That of the call that asked first; each call is judged by itself before.
    pub(crate) gate: Gate,
    life: Mutex<Life>,
}

#[derive(Default)]
struct Life {
    session: Option<Arc<Session>>,
    /// Sessions that were begun, in vain ones included.
    begun: u32,
}

impl Server {
    /// Starts nothing yet.
    pub(crate) fn new(blueprint: Arc<Blueprint>, context: &ToolContext) -> Self {
        let (folder, redactor) = (context.folder.clone(), context.redactor.clone());
        Self { blueprint, folder, redactor, gate: context.gate.clone(), life: Mutex::default() }
    }

    /// The name by which documents know it.
    pub(crate) fn name(&self) -> &str {
        &self.blueprint.name
    }

    /// The session that calls share; a new one if there is none that lives.
    ///
    /// Dropping the future ends a start that is under way.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, ToolError> {
        let mut life = self.life.lock().await;
        if let Some(session) = life.session.as_ref().filter(|session| session.is_alive()) {
            return Ok(Arc::clone(session));
        }
        if let Some(dead) = life.session.take() {
            tracing::warn!(
                server = self.name(),
                "an MCP server has ended{}; it is started anew",
                dead.last_words().await
            );
            dead.end().await;
        }
        let (mut attempt, mut pause) = (1, START_PAUSE);
        loop {
            if life.begun == LIVES_MAX {
                return Err(
                    self.unavailable(format!("it was started {LIVES_MAX} times for this tree of plans"))
                );
            }
            life.begun += 1;
            match Session::begin(self).await {
                Ok(session) => return Ok(Arc::clone(life.session.insert(Arc::new(session)))),
                Err(error) if attempt == START_TRIES_MAX || !error.may_pass => {
                    return Err(self.unavailable(error.why));
                }
                Err(error) => {
                    tracing::warn!(
                        server = self.name(),
                        why = error.why,
                        "an MCP server did not start; trying again"
                    );
                    sleep(pause).await;
                    (attempt, pause) = (attempt + 1, pause * 2);
                }
            }
        }
    }

    /// The failure of a call for which there is no server.
    pub(crate) fn unavailable(&self, why: impl fmt::Display) -> ToolError {
        ToolError::new("mcp_unavailable", format!("MCP server {}: {why}", self.name()))
    }
}

impl Kept for Server {
    fn end(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Some(session) = self.life.lock().await.session.take() {
                session.end().await;
            }
        })
    }
}
