//! The tools that come with the engine.
//!
//! - [`exec`]: runs a program, without a shell.
//! - [`mod@file`]: lists, reads, digests and writes files below a root folder.
//! - [`http`]: asks an HTTP server.
//! - [`model`]: lets a language model choose between options.

pub mod exec;
pub mod file;
pub mod http;
pub mod model;
