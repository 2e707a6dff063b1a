//! The program `planwire` itself, over real files and real HTTP.
//!
//! - [`harness`]: places, processes, and HTTP by hand
//! - [`usage`]: help, exit codes, messages
//! - [`configuration`]: the file, variables and flags
//! - [`registering`]: documents, routes and secrets of `serve`
//! - [`canary`]: secrets that everything echoes
//! - [`log`]: publish, events, plans, show, end
//! - [`following`]: streams and `--follow`
//! - [`running`]: run, serve, cancel, signals
//! - [`fatal`]: a disk that fails
//! - [`readme`]: what the README shows
//! - [`terminal`]: the live tree, colours
//! - [`demo`]: the demo on folders of all kinds
//! - [`crash`]: `kill -9` at any instant
//! - [`load`]: clients that never read, and clients that come and go
//! - [`typescript`]: the TypeScript client, in Node and in a browser
//! - [`faults`]: cut connections, a second server, signals, a browser left alone

mod canary;
mod configuration;
mod crash;
mod demo;
mod fatal;
mod faults;
mod following;
mod harness;
mod http;
mod load;
mod log;
mod readme;
mod registering;
mod running;
mod terminal;
mod typescript;
mod usage;
