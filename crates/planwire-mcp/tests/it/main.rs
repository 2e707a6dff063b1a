//! What documents get from MCP servers: two real ones, and one that does wrong what can be done wrong.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod faults;
mod house;
mod real;
