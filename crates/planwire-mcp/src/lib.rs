//! Tools of MCP servers: `mcp:<server>/<tool>` in plan documents.
//!
//! A server is one that the operator has configured ([`config`]): a program that speaks MCP over its standard input and
//! output, or an address that speaks it over streamable HTTP. It is started, or connected to, by the first call of a tree
//! of plans that needs it, shared by all plans of that tree, and ended before the tree's end is told. **Invariants:** a
//! call is made only with arguments that fit the server's schema, and made once; a call whose server dies fails, and the
//! next one finds a new server.
//!
//! - [`config`], [`limits`]: which servers there are; how much of one is taken.
//! - [`family`]: finds tools by name; `call` makes one call, `outcome` says what came of it.
//! - `server`: one server of one tree, from its first call to its end, over several lives; `session`: one life;
//!   `client`, `catalog`: what it says meanwhile; the tools that it has.
//! - `process`, `lines`, `chatter`: a server that is a program; the size of its messages; what it says to people.
//! - `web`: a server that is an address.
//!
//! The library `rmcp` speaks the protocol. Its diagnostics hold whole messages, arguments with secrets among them: a
//! program that uses this crate shows nothing of the target `rmcp`.

mod call;
mod catalog;
mod chatter;
mod client;
pub mod config;
pub mod family;
pub mod limits;
mod lines;
mod outcome;
mod process;
mod server;
mod session;
mod web;

pub use config::{Hidden, McpConfig, McpConfigError, Reach, ServerConfig};
pub use family::{Mcp, PREFIX};
