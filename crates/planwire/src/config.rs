//! The configuration: one TOML file, `PLANWIRE_*` variables and flags, from weak to strong.
//!
//! [`keys`] is the one table of all there is to set: the reader of the file, the names of the variables, `planwire
//! config` and the reference come from it. **Invariants:** a value that is not understood is an error that says
//! where it stands and what would be right, never ignored; what a secret is never gets in here, only where it lies.
//!
//! - [`keys`], [`slot`]: what can be set, and which values fit.
//! - [`database`]: the URL of a database, whose password nobody sees.
//! - [`file`]: TOML with the place of every key and value.
//! - [`layers`]: the file, the environment and the flags, on top of each other.
//! - [`tables`], [`mcp`], [`models`]: secrets, routes, MCP servers and models, which are no single values.
//! - [`policy`]: the file that says what documents may do.
//! - [`rooms`]: what each room is told; [`programs`]: how tools start programs.
//! - [`reference`]: the page that tells all this to people.

mod database;
pub(crate) mod file;
pub(crate) mod keys;
pub(crate) mod layers;
pub(crate) mod mcp;
pub(crate) mod models;
pub(crate) mod policy;
mod programs;
pub(crate) mod reference;
mod rooms;
pub(crate) mod slot;
pub(crate) mod tables;
mod texts;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use planwire_engine::Rules;
use planwire_engine::engine::{GONE_AFTER_DEFAULT, PLANS_MAX_DEFAULT, TREE_CALLS_MAX_DEFAULT};
use planwire_engine::launcher::{CPU_S_MAX, FILE_BYTES_MAX, FILES_MAX, MEMORY_BYTES_MAX, PROCESSES_MAX};
use planwire_server::a2a::A2aConfig;
use planwire_server::config::{CONNECTIONS_MAX, HEARTBEAT_MS, PORT, STREAMS_MAX};

pub(crate) use database::Database;
pub(crate) use layers::{Environment, Flags, Settings, environment};
pub(crate) use mcp::McpServer;
pub(crate) use models::ModelEntry;
pub(crate) use tables::{Route, Secret};

/// Bytes of the unit in which sizes are set.
pub(crate) const MIB: u64 = 1024 * 1024;

/// Severities of diagnostics, from none to all.
pub(crate) const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// What this process is told; the default is what it does when nobody says anything.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    /// Folder of the log; none: the usual one.
    pub(crate) data: Option<PathBuf>,
    /// The PostgreSQL database of the log; none: a file in `data`.
    pub(crate) db: Option<Database>,
    /// The least severe diagnostics that are printed, one of [`LEVELS`].
    pub(crate) log: &'static str,
    /// The HTTP server.
    pub(crate) server: ServerSettings,
    /// What runs plans.
    pub(crate) engine: EngineSettings,
    /// The servers that `mcp:<server>/<tool>` names.
    pub(crate) mcp_servers: Vec<McpServer>,
    /// What A2A clients see.
    pub(crate) a2a: A2aSettings,
}

/// `[server]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerSettings {
    pub(crate) listen: SocketAddr,
    pub(crate) hosts: Vec<String>,
    pub(crate) origins: Vec<String>,
    pub(crate) allow_inline_documents: bool,
    pub(crate) heartbeat_ms: u64,
    pub(crate) streams_max: u64,
    pub(crate) connections_max: u64,
}

/// `[engine]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EngineSettings {
    /// Folder of documents that can be started by name; none: those that come with planwire.
    pub(crate) plans: Option<PathBuf>,
    /// Where relative paths of those documents start; none: the working folder.
    pub(crate) folder: Option<PathBuf>,
    /// The file that says what documents may do; none: the operator's everything, others nothing.
    pub(crate) policy: Option<PathBuf>,
    pub(crate) plans_max: u64,
    /// Time after which an executor that was not seen may be succeeded.
    pub(crate) gone_after_ms: u64,
    /// What holds for each tree.
    pub(crate) limits: LimitSettings,
    /// Processes that tools start.
    pub(crate) tools: ToolSettings,
    /// Hosts and networks that the `http` tool may reach although they are private.
    pub(crate) http_allow_private: Vec<String>,
    pub(crate) secrets: Vec<Secret>,
    /// What is redacted beside their values.
    pub(crate) redaction: RedactionSettings,
    pub(crate) models: Vec<ModelEntry>,
}

/// `[engine.redaction]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RedactionSettings {
    pub(crate) keys: Vec<String>,
    pub(crate) patterns: bool,
    pub(crate) environment: bool,
}

impl Default for RedactionSettings {
    fn default() -> Self {
        let Rules { keys, patterns, .. } = Rules::standard();
        Self { keys, patterns, environment: true }
    }
}

/// `[engine.limits]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LimitSettings {
    pub(crate) tool_calls: Option<u64>,
    pub(crate) tokens: Option<u64>,
    pub(crate) cost: Option<String>,
    pub(crate) parallel_calls: Option<u64>,
    pub(crate) parallel_plans: Option<u64>,
    pub(crate) timeout_ms: Option<u64>,
}

/// `[engine.tools]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToolSettings {
    /// One of [`SANDBOXES`].
    pub(crate) sandbox: &'static str,
    pub(crate) read: Vec<String>,
    pub(crate) write: Vec<String>,
    pub(crate) hide: Vec<String>,
    /// One of [`CONTAINMENTS`].
    pub(crate) containment: &'static str,
    pub(crate) memory_mib: u64,
    pub(crate) processes_max: u64,
    pub(crate) files_max: u64,
    pub(crate) file_mib: u64,
    pub(crate) cpu_s: u64,
}

/// Whether tools are put into a sandbox: never, where the kernel has one, or not started without.
pub(crate) const SANDBOXES: [&str; 3] = ["off", "best-effort", "required"];
/// How what tools start is ended; the first stands for the first of the others that can be had.
pub(crate) const CONTAINMENTS: [&str; 4] = ["auto", "cgroup", "pid-namespace", "subreaper"];

impl Default for ToolSettings {
    fn default() -> Self {
        Self {
            sandbox: SANDBOXES[1],
            read: vec!["/".to_owned()],
            write: Vec::new(),
            hide: Vec::new(),
            containment: CONTAINMENTS[0],
            memory_mib: MEMORY_BYTES_MAX / MIB,
            processes_max: PROCESSES_MAX,
            files_max: FILES_MAX,
            file_mib: FILE_BYTES_MAX / MIB,
            cpu_s: CPU_S_MAX,
        }
    }
}

/// `[a2a]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct A2aSettings {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) version: Option<String>,
    /// The public base address; none: where the server listens.
    pub(crate) url: Option<String>,
    pub(crate) documentation_url: Option<String>,
    pub(crate) icon_url: Option<String>,
    pub(crate) extension_required: bool,
    pub(crate) provider_organization: Option<String>,
    pub(crate) provider_url: Option<String>,
    pub(crate) routes: Vec<Route>,
}

#[expect(clippy::cast_possible_truncation, reason = "some seconds")]
const GONE_AFTER_MS_DEFAULT: u64 = GONE_AFTER_DEFAULT.as_millis() as u64;

impl Default for Config {
    fn default() -> Self {
        let server = ServerSettings {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
            hosts: Vec::new(),
            origins: Vec::new(),
            allow_inline_documents: false,
            heartbeat_ms: HEARTBEAT_MS,
            streams_max: STREAMS_MAX as u64,
            connections_max: CONNECTIONS_MAX as u64,
        };
        let engine = EngineSettings {
            plans: None,
            folder: None,
            policy: None,
            plans_max: PLANS_MAX_DEFAULT as u64,
            gone_after_ms: GONE_AFTER_MS_DEFAULT,
            limits: LimitSettings { tool_calls: Some(TREE_CALLS_MAX_DEFAULT), ..LimitSettings::default() },
            tools: ToolSettings::default(),
            http_allow_private: Vec::new(),
            secrets: Vec::new(),
            redaction: RedactionSettings::default(),
            models: Vec::new(),
        };
        Self {
            data: None,
            db: None,
            log: "warn",
            server,
            engine,
            mcp_servers: Vec::new(),
            a2a: A2aSettings::default(),
        }
    }
}

impl Default for A2aSettings {
    fn default() -> Self {
        let A2aConfig { name, description, version, extension_required, .. } = A2aConfig::default();
        Self {
            name: Some(name),
            description: Some(description),
            version: Some(version),
            url: None,
            documentation_url: None,
            icon_url: None,
            extension_required,
            provider_organization: None,
            provider_url: None,
            routes: Vec::new(),
        }
    }
}
