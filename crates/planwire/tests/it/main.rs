//! The program `planwire` itself, over real files and real HTTP.
//!
//! - [`harness`]: places, processes, and HTTP by hand
//! - [`usage`]: help, exit codes, messages
//! - [`configuration`]: the file, variables and flags
//! - [`registering`]: documents, routes and secrets of `serve`
//! - [`canaries`]: what looks like a secret, though nobody named it
//! - [`sought`]: texts that must be nowhere
//! - [`canary`]: secrets that everything echoes
//! - [`policy`]: what documents may do
//! - [`redacting`]: payloads that are removed
//! - [`log`]: publish, events, plans, show, end
//! - [`custody`]: logs that lost their end
//! - [`examples`]: the documents under `plans/`
//! - [`export`]: events into files and back, and what files prove
//! - [`backup`]: copies of a log, and logs that go on from them
//! - [`moving`]: logs between files and PostgreSQL
//! - [`script`]: events of made-up plans
//! - [`folders`]: where plans from the network work
//! - [`following`]: streams and `--follow`
//! - [`golden`]: logs of earlier releases
//! - [`running`]: run, serve, cancel, signals
//! - [`fatal`]: a disk that fails
//! - [`readme`]: what the README shows
//! - [`terminal`]: the live tree, colours
//! - [`database`]: logs in PostgreSQL
//! - [`demo`]: the demo on folders of all kinds
//! - [`crash`]: `kill -9` at any instant
//! - [`load`]: clients that never read, and clients that come and go
//! - [`a2a_load`]: many clients that follow one task over A2A
//! - [`a2a_sdk`]: the official A2A clients
//! - [`pictures`]: graphs of plans, and what they decided
//! - [`python`]: the Python client
//! - [`langgraph`]: its example with LangGraph, seen live
//! - [`questions`]: what plans ask, and answers
//! - [`typescript`]: the TypeScript client, in Node and in a browser
//! - `mcp`: tools of MCP servers, in a build that has them
//! - [`openapi`]: what the server says of itself, and whether it keeps to it
//! - [`figures`]: the arithmetic of the benchmark
//! - [`faults`]: cut connections, a second server, signals, a browser left alone

mod a2a_load;
mod a2a_sdk;
#[expect(clippy::unwrap_used, reason = "the store's own tests expect nothing")]
#[path = "../../../planwire-store/tests/it/awkward.rs"]
mod awkward;
mod backup;
mod canaries;
mod canary;
#[expect(dead_code, clippy::unwrap_used, reason = "the store's own tests use more of it, and expect nothing")]
#[path = "../../../planwire-store/tests/it/cluster.rs"]
mod cluster;
mod configuration;
mod crash;
mod custody;
mod database;
mod demo;
mod examples;
mod export;
mod fatal;
mod faults;
mod figures;
mod folders;
mod following;
mod golden;
mod harness;
mod http;
mod langgraph;
mod load;
mod log;
#[cfg(feature = "mcp")]
mod mcp;
mod models;
mod moving;
mod openapi;
mod pictures;
mod policy;
#[expect(dead_code, clippy::unwrap_used, reason = "the store's own tests use more of it, and expect nothing")]
#[path = "../../../planwire-store/tests/it/proxy.rs"]
mod proxy;
mod python;
mod questions;
#[expect(dead_code, clippy::unwrap_used, reason = "the store's own tests use more of it, and expect nothing")]
#[path = "../../../planwire-store/tests/it/random.rs"]
mod random;
mod readme;
mod redacting;
mod registering;
mod running;
mod script;
mod sought;
mod terminal;
mod typescript;
mod usage;
