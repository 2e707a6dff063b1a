//! The tools of all configured servers, found by name.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use planwire_engine::document::did_you_mean;
use planwire_engine::policy::Reach;
use planwire_engine::tool::{Parameters, ToolContext, ToolError, ToolOutput};
use planwire_engine::tools::http::Client;
use planwire_engine::{Tool, ToolFamily};
use planwire_event::vocabulary::Object;

use crate::call;
use crate::config::{McpConfig, McpConfigError, Reach as How};
use crate::server::{Blueprint, Server};

/// What the names of these tools begin with.
pub const PREFIX: &str = "mcp:";

/// The tools of all configured servers.
///
/// ```
/// use std::sync::Arc;
/// use planwire_engine::ToolSet;
/// use planwire_mcp::{Mcp, McpConfig, ServerConfig};
///
/// let mut config = McpConfig::default();
/// config.servers.insert("git".into(), ServerConfig::program("mcp-server-git", ["--repository", "."]));
/// let tools = ToolSet::standard().with_family(Arc::new(Mcp::new(config).unwrap()));
/// assert!(tools.get("mcp:git/git_log").is_some());
/// assert!(tools.get("mcp:other/git_log").is_none());
/// ```
#[derive(Debug)]
pub struct Mcp {
    servers: Vec<Arc<Blueprint>>,
}

impl Mcp {
    /// Starts nothing yet.
    ///
    /// # Errors
    ///
    /// [`McpConfigError`] if the configuration cannot serve.
    pub fn new(config: McpConfig) -> Result<Self, McpConfigError> {
        config.check()?;
        let McpConfig { servers, http } = config;
        let blueprint = |(name, config)| Arc::new(Blueprint { name, config, http: http.clone() });
        Ok(Self { servers: servers.into_iter().map(blueprint).collect() })
    }

    fn server(&self, name: &str) -> Option<&Arc<Blueprint>> {
        self.servers.iter().find(|server| server.name == name)
    }
}

/// Server and tool of a name.
fn parts(name: &str) -> Option<(&str, &str)> {
    let (server, tool) = name.strip_prefix(PREFIX)?.split_once('/')?;
    (!tool.is_empty()).then_some((server, tool))
}

impl ToolFamily for Mcp {
    fn prefix(&self) -> &str {
        PREFIX
    }

    fn get(&self, name: &str) -> Option<Arc<dyn Tool>> {
        let (server, tool) = parts(name)?;
        let server = Arc::clone(self.server(server)?);
        Some(Arc::new(McpTool { name: name.to_owned(), tool: tool.to_owned(), server }))
    }

    fn hint(&self, name: &str) -> Option<String> {
        let Some((server, _)) = parts(name) else {
            return Some("tools of MCP servers are named mcp:<server>/<tool>".to_owned());
        };
        if self.server(server).is_some() {
            return None;
        }
        if self.servers.is_empty() {
            return Some(format!("no MCP server is configured: see [mcp.servers.{server}]"));
        }
        let configured = self.servers.iter().map(|server| server.name.as_str());
        did_you_mean(server, configured, "configured servers")
    }
}

/// One tool of one server, whether the server has it or not: that is known when it is asked.
struct McpTool {
    name: String,
    tool: String,
    server: Arc<Blueprint>,
}

impl Tool for McpTool {
    fn name(&self) -> &str {
        &self.name
    }

    fn purpose(&self) -> &str {
        "is a tool of an MCP server"
    }

    fn arguments(&self) -> Parameters {
        Parameters::Unknown
    }

    /// The address of the server. A program is the operator's own choice, not the document's.
    fn reach(&self, _arguments: &Object, _folder: &Path) -> Reach {
        let host = match &self.server.config.reach {
            How::Address { url, .. } => Client::host_of(url).ok(),
            How::Program { .. } => None,
        };
        Reach { hosts: host.into_iter().collect(), ..Reach::default() }
    }

    fn call(&self, arguments: Object, context: ToolContext) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        Box::pin(async move {
            let kept = format!("{PREFIX}{}", self.server.name);
            let server = context
                .keep
                .get_or_keep(&kept, || Server::new(Arc::clone(&self.server), &context))
                .map_err(|error| ToolError::new("mcp_unavailable", error.to_string()))?;
            call::make(&server, &self.tool, arguments, &context).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerConfig;

    fn family(names: &[&str]) -> Result<Mcp, McpConfigError> {
        let servers = names.iter().map(|name| ((*name).to_owned(), ServerConfig::program("true", [""; 0])));
        Mcp::new(McpConfig { servers: servers.collect(), ..McpConfig::default() })
    }

    #[test]
    fn names_lead_to_configured_servers_and_say_what_is_wrong() {
        let family = family(&["git", "time"]).unwrap();
        assert_eq!(family.get("mcp:git/git_log").unwrap().name(), "mcp:git/git_log");
        assert!(family.get("mcp:git/a/b").is_some());
        for (name, hint) in [
            ("mcp:gir/log", "did you mean 'git'?"),
            ("mcp:git", "tools of MCP servers are named mcp:<server>/<tool>"),
            ("mcp:git/", "tools of MCP servers are named mcp:<server>/<tool>"),
        ] {
            assert!(family.get(name).is_none(), "{name}");
            assert_eq!(family.hint(name).as_deref(), Some(hint));
        }
    }

    #[test]
    fn names_of_servers_are_bounded() {
        for name in ["", "a/b", "a b", &"a".repeat(65)] {
            assert!(matches!(family(&[name]), Err(McpConfigError::Name { .. })), "{name}");
        }
        let many: Vec<String> = (0..51).map(|at| format!("s{at}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(family(&many).unwrap_err(), McpConfigError::TooMany);
    }
}
