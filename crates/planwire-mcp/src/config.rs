//! Which servers there are, and how each is reached.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use planwire_engine::Launcher;
use planwire_engine::tools::http::HttpConfig;

use crate::limits::{SERVERS_MAX, START_TIMEOUT_DEFAULT};

/// Bytes of a server's name.
pub const SERVER_NAME_BYTES_MAX: usize = 64;

/// The servers that documents may name.
#[derive(Clone, Debug, Default)]
pub struct McpConfig {
    /// By the name that stands in `mcp:<server>/<tool>`. Default: none.
    pub servers: BTreeMap<String, ServerConfig>,
    /// How servers are reached over HTTP: the same guards as for the tool `http`. Default: public addresses only.
    pub http: HttpConfig,
}

/// One server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where it is.
    pub reach: Reach,
    /// Time in which it must have started and listed its tools. Default: [`START_TIMEOUT_DEFAULT`].
    pub start_timeout: Duration,
    /// Time that one call may take, however long its step allows. Default: as long as the step allows.
    pub call_timeout: Option<Duration>,
}

/// How a server is reached.
#[derive(Clone, Debug)]
pub enum Reach {
    /// A program, by its standard input and output.
    Program {
        /// The program, found in `PATH` or absolute.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// Variables beside those that it takes over: `PATH`, `LANG`, `HOME` and `TMPDIR`.
        env: BTreeMap<String, Hidden>,
        /// Where it runs; `None`: in the working folder of the plan.
        folder: Option<PathBuf>,
        /// Starts it below a supervisor, within limits and a sandbox; [`SERVER_LIMITS`](crate::limits::SERVER_LIMITS)
        /// are usual ones. `None`: it leads a process group, see [`planwire_engine::program`].
        launcher: Option<Launcher>,
    },
    /// An address, by streamable HTTP.
    Address {
        /// `http://` or `https://`.
        url: String,
        /// Headers of each request.
        headers: BTreeMap<String, Hidden>,
    },
}

/// A text that `Debug` does not show, since it may hold a secret. Whoever configures a secret also gives it to the
/// engine, so that it is replaced in all that comes back.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why servers cannot be configured like this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum McpConfigError {
    /// There are too many.
    #[error("more than {SERVERS_MAX} MCP servers")]
    TooMany,
    /// A name is none.
    #[error(
        "'{}' is no name of an MCP server: letters, digits, '-' and '_', at most {SERVER_NAME_BYTES_MAX}",
        name.escape_debug()
    )]
    Name {
        /// The name.
        name: String,
    },
}

impl ServerConfig {
    /// A server with the usual times.
    #[must_use]
    pub const fn new(reach: Reach) -> Self {
        Self { reach, start_timeout: START_TIMEOUT_DEFAULT, call_timeout: None }
    }

    /// A program with its arguments.
    pub fn program<T: Into<String>>(command: impl Into<String>, args: impl IntoIterator<Item = T>) -> Self {
        let args = args.into_iter().map(Into::into).collect();
        let (env, command) = (BTreeMap::new(), command.into());
        Self::new(Reach::Program { command, args, env, folder: None, launcher: None })
    }

    /// An address.
    pub fn address(url: impl Into<String>) -> Self {
        Self::new(Reach::Address { url: url.into(), headers: BTreeMap::new() })
    }
}

impl McpConfig {
    pub(crate) fn check(&self) -> Result<(), McpConfigError> {
        if self.servers.len() > SERVERS_MAX {
            return Err(McpConfigError::TooMany);
        }
        match self.servers.keys().find(|name| !is_name(name)) {
            Some(name) => Err(McpConfigError::Name { name: name.clone() }),
            None => Ok(()),
        }
    }
}

/// Whether a text can name a server.
#[must_use]
pub fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= SERVER_NAME_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
