//! The program `planwire` itself, over real files and real HTTP.
//!
//! - [`harness`]: places, processes, and HTTP by hand
//! - [`usage`]: help, exit codes, messages
//! - [`log`]: publish, events, plans, show, end
//! - [`following`]: streams and `--follow`
//! - [`running`]: run, serve, cancel, signals
//! - [`demo`]: the demo on folders of all kinds

mod demo;
mod following;
mod harness;
mod http;
mod log;
mod running;
mod usage;
