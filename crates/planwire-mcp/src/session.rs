//! One life of a server: from its start to its end or death.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use planwire_engine::tool::ToolError;
use rmcp::model::ProtocolVersion;
use rmcp::service::{ClientInitializeError, RunningService};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::{ClientLifecycleMode, ClientServiceExt as _, Peer, RoleClient};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::catalog::{Catalog, CatalogError};
use crate::chatter::{self, LastLine};
use crate::client::Client;
use crate::config::Reach;
use crate::limits::{CLOSE_GRACE, EOF_GRACE, LAST_WORDS_GRACE};
use crate::lines::Lines;
use crate::process::{Process, Start};
use crate::server::Server;
use crate::web;

/// One life of a server.
pub(crate) struct Session {
    pub(crate) peer: Peer<RoleClient>,
    pub(crate) client: Client,
    catalog: Mutex<Arc<Catalog>>,
    /// Ends with the session.
    service: tokio::sync::Mutex<RunningService<RoleClient, Client>>,
    program: Option<Running>,
    /// A request was not taken: whether the address still knows the session is unclear.
    in_doubt: AtomicBool,
}

/// A server that is a program.
struct Running {
    process: Process,
    last_line: LastLine,
    /// Ends with the program's standard error.
    chatter: JoinHandle<()>,
}

/// Why a session did not begin.
pub(crate) struct BeginError {
    pub(crate) why: String,
    /// Whether another try may do better.
    pub(crate) may_pass: bool,
}

impl BeginError {
    pub(crate) fn for_good(why: impl Into<String>) -> Self {
        Self { why: why.into(), may_pass: false }
    }

    fn for_now(why: impl Into<String>) -> Self {
        Self { why: why.into(), may_pass: true }
    }
}

impl Session {
    /// Starts a server, or connects to it, and learns its tools.
    pub(crate) async fn begin(server: &Server) -> Result<Self, BeginError> {
        let patience = server.blueprint.config.start_timeout;
        let late = || BeginError::for_good(format!("it did not answer within {patience:?}"));
        match &server.blueprint.config.reach {
            Reach::Program { command, args, env, folder, launcher } => {
                let (base, name) = (server.folder.as_path(), server.name());
                let folder = folder.as_deref().unwrap_or(base);
                let start =
                    Start { server: name, command, args, env, folder, base, launcher: launcher.as_ref() };
                let (process, pipes) = Process::start(&start).await.map_err(not_run)?;
                let (last_line, chatter) =
                    chatter::follow(pipes.stderr, name.into(), server.redactor.clone());
                let running = Running { process, last_line, chatter };
                let transport = AsyncRwTransport::new_client(Lines::new(pipes.stdout), pipes.stdin)
                    .with_max_line_length(usize::MAX);
                let begun = timeout(patience, unless(running.process.ended(), greet(transport))).await;
                match begun.unwrap_or_else(|_| Err(late())) {
                    Ok(begun) => Ok(begun.into_session(Some(running))),
                    Err(error) => Err(running.failed(error).await),
                }
            }
            Reach::Address { url, headers } => {
                let transport = web::transport(url, headers, server)?;
                let begun = timeout(patience, greet(transport)).await;
                Ok(begun.unwrap_or_else(|_| Err(late()))?.into_session(None))
            }
        }
    }

    /// Whether calls can be made.
    pub(crate) fn is_alive(&self) -> bool {
        let has_ended = self.program.as_ref().is_some_and(|program| program.process.has_ended());
        !has_ended && !self.in_doubt.load(Ordering::Relaxed) && !self.peer.is_transport_closed()
    }

    /// Lets the next call begin a new session.
    pub(crate) fn doubt(&self) {
        self.in_doubt.store(true, Ordering::Relaxed);
    }

    /// Waits for the end of a program; for ever where the server is none.
    pub(crate) async fn died(&self) {
        match &self.program {
            Some(program) => program.process.ended().await,
            None => std::future::pending().await,
        }
    }

    /// The tools of the server; asked for anew where they have changed, or may have since `tool` is not among them.
    pub(crate) async fn catalog(&self, tool: &str) -> Result<Arc<Catalog>, CatalogError> {
        let changed = self.client.take_tools_changed();
        let known = Arc::clone(&self.catalog.lock().unwrap_or_else(PoisonError::into_inner));
        if !changed && known.has(tool) {
            return Ok(known);
        }
        let read = Arc::new(Catalog::read(&self.peer).await?);
        *self.catalog.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&read);
        Ok(read)
    }

    /// Why a program has ended, and what it said last, as the end of a message.
    pub(crate) async fn last_words(&self) -> String {
        match &self.program {
            Some(program) => program.last_words().await,
            None => String::new(),
        }
    }

    /// Ends it in bounded time: closes the connection, and ends the program.
    pub(crate) async fn end(&self) {
        // Closing drops the writer, which closes the program's input.
        let _ = self.service.lock().await.close_with_timeout(CLOSE_GRACE).await;
        if let Some(program) = &self.program {
            program.process.end(EOF_GRACE).await;
        }
    }
}

impl Running {
    /// Ends a program with which no session began; gives why, with its last words.
    async fn failed(&self, error: BeginError) -> BeginError {
        self.process.end(EOF_GRACE).await;
        let BeginError { why, may_pass } = self.process.why_ended().map_or(error, not_run);
        BeginError { why: format!("{why}{}", self.last_line.told().await), may_pass }
    }

    async fn last_words(&self) -> String {
        // Its pipes are closed before its end is known.
        let _ = timeout(LAST_WORDS_GRACE, self.process.ended()).await;
        let why = self.process.why_ended().map(|why| format!("; {why}")).unwrap_or_default();
        why + &self.last_line.told().await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.chatter.abort();
    }
}

/// A session that has begun, without the program behind it.
struct Begun {
    service: RunningService<RoleClient, Client>,
    client: Client,
    catalog: Catalog,
}

impl Begun {
    fn into_session(self, program: Option<Running>) -> Session {
        Session {
            peer: self.service.peer().clone(),
            client: self.client,
            catalog: Mutex::new(Arc::new(self.catalog)),
            service: tokio::sync::Mutex::new(self.service),
            program,
            in_doubt: AtomicBool::new(false),
        }
    }
}

/// Agrees on a version of the protocol, old or new, and asks for the tools.
async fn greet<T, E>(transport: T) -> Result<Begun, BeginError>
where
    T: rmcp::transport::Transport<RoleClient, Error = E> + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    let client = Client::default();
    let preferred_versions = vec![ProtocolVersion::LATEST];
    let lifecycle = ClientLifecycleMode::Auto { preferred_versions, legacy_version: None };
    let service = client.clone().serve_with_lifecycle(transport, lifecycle).await;
    let service = service.map_err(|error| BeginError::for_now(told(&error)))?;
    let catalog = Catalog::read(service.peer()).await;
    let catalog = catalog.map_err(|error| BeginError::for_now(error.to_string()))?;
    Ok(Begun { service, client, catalog })
}

/// What went wrong, without what the server sent: it may be of any length.
fn told(error: &ClientInitializeError) -> String {
    match error {
        ClientInitializeError::ExpectedInitResponse(_) | ClientInitializeError::ExpectedInitResult(_) => {
            "it answered something else than the start of a session".to_owned()
        }
        ClientInitializeError::ConnectionClosed(_) => "it ended at its start".to_owned(),
        other => other.to_string(),
    }
}

/// Does something unless the program ends before.
async fn unless(
    ended: impl Future<Output = ()>,
    work: impl Future<Output = Result<Begun, BeginError>>,
) -> Result<Begun, BeginError> {
    tokio::select! {
        result = work => result,
        () = ended => Err(BeginError::for_now("it ended at its start")),
    }
}

/// A program that was not started, or was ended for what it did.
fn not_run(error: ToolError) -> BeginError {
    let for_good = ["not_found", "not_executable", "bad_cwd", "sandbox"].contains(&error.code.as_str());
    BeginError { why: error.message, may_pass: !for_good }
}
