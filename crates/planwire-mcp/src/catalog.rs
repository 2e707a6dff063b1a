//! The tools that a server has, with the schemas of their arguments.

use std::collections::BTreeMap;

use planwire_engine::document::did_you_mean;
use planwire_engine::tool::ToolError;
use planwire_event::answer::SchemaError;
use planwire_event::arguments::ArgumentSchema;
use planwire_event::vocabulary::Object;
use rmcp::model::PaginatedRequestParams;
use rmcp::{Peer, RoleClient, ServiceError};
use serde_json::Value;

use crate::limits::{PAGES_MAX, TOOLS_MAX};

/// The tools of a server, by name.
pub(crate) struct Catalog(BTreeMap<String, Result<ArgumentSchema, SchemaError>>);

/// Why the tools of a server are not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CatalogError {
    #[error(transparent)]
    Service(#[from] Box<ServiceError>),
    #[error("it has more than {TOOLS_MAX} tools, or lists them in more than {PAGES_MAX} pages")]
    TooMany,
}

impl Catalog {
    /// Asks a server for all of its tools.
    pub(crate) async fn read(peer: &Peer<RoleClient>) -> Result<Self, CatalogError> {
        let (mut tools, mut cursor) = (BTreeMap::new(), None);
        for _ in 0..PAGES_MAX {
            let params = PaginatedRequestParams::default().with_cursor(cursor);
            let page = peer.list_tools(Some(params)).await.map_err(Box::new)?;
            for tool in page.tools {
                let schema = ArgumentSchema::compile(&Value::Object((*tool.input_schema).clone()));
                tools.insert(tool.name.into_owned(), schema);
            }
            if tools.len() > TOOLS_MAX {
                break;
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(Self(tools));
            }
        }
        Err(CatalogError::TooMany)
    }

    /// Whether there is a tool of this name.
    pub(crate) fn has(&self, tool: &str) -> bool {
        self.0.contains_key(tool)
    }

    /// Checks that there is a tool and that it takes these arguments.
    pub(crate) fn check(&self, server: &str, tool: &str, arguments: &Object) -> Result<(), ToolError> {
        match self.0.get(tool) {
            Some(Ok(schema)) => ToolError::check(schema, arguments),
            Some(Err(error)) => {
                let message =
                    format!("{tool} of MCP server {server} has an inputSchema that is none: {error}");
                Err(ToolError::new("mcp_protocol", message))
            }
            None => {
                let known = self.0.keys().map(String::as_str);
                let hint = did_you_mean(tool, known, "its tools").map(|hint| format!("; {hint}"));
                let message = format!("MCP server {server} has no tool {tool}{}", hint.unwrap_or_default());
                Err(ToolError::new("unknown_tool", message))
            }
        }
    }
}
