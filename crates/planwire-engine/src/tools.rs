//! The tools that come with the engine.
//!
//! - [`exec`]: runs a program, without a shell.
//! - [`mod@file`]: lists, reads, digests and writes files below a root folder.
//! - [`http`]: asks an HTTP server.

pub mod exec;
pub mod file;
pub mod http;
