//! The HTTP facade of a log: publish, read pages, follow by server-sent events, start and cancel plans, and the page.
//!
//! A reader of the bus like any other: nothing here knows SQL or how plans run. **Invariants:** a request passes the
//! guard before anything else looks at it; an answer that is no success is problem+json of one of the kinds in
//! [`problem`]; a client that does not read costs a bounded buffer and nobody else's time.
//!
//! - [`config`]: what a server is told, and its limits by name.
//! - [`server`], `connection`, `write_deadline`: from the accept loop to the socket.
//! - `guard`, `accept`, `params`, `body`: what a request must be, and what it asks for.
//! - [`problem`]: every failure with its HTTP status.
//! - `routes`, `app`: which path leads where, and what the routes share.
//! - `openapi`: what every route takes and gives, as `/openapi.json`.
//! - `events`, `sse_stream`, `sse_chunks`, `sse_common`, `sse_frame`, `sse_body`, `sse_connection`, `sse_heartbeat`: reading events as pages and as streams.
//! - `publish`, `plans`, `states`, `start`, `ask`, `answer`, `blobs`, `health`, `page`: the other routes.
//!
//! # Memory
//!
//! An idle stream costs its connection's task and its cursor. A client that stops reading adds one chunk of
//! [`config::SSE_CHUNK_BYTES_MAX`] (one of HTTP/1.0 [`config::HEAD_BYTES_MAX`] more); a single event larger than that
//! counts once more. At most [`config::SSE_REPLAYS_MAX`] streams that are behind hold twice
//! [`config::SSE_REPLAY_BYTES_MAX`] besides: what is written, and the page that is read meanwhile. The kernel adds about
//! [`config::UNSENT_BYTES_MAX`].

pub mod a2a;
mod accept;
mod answer;
mod app;
mod ask;
mod blobs;
mod body;
pub mod config;
mod connection;
mod events;
mod guard;
mod health;
mod openapi;
mod page;
mod params;
mod plans;
pub mod problem;
mod publish;
mod redact;
mod routes;
pub mod server;
mod sse_body;
mod sse_chunks;
mod sse_common;
mod sse_connection;
mod sse_frame;
mod sse_heartbeat;
mod sse_stream;
mod start;
mod states;
mod write_deadline;

pub use app::Gauges;
pub use config::{BODY_BYTES_MAX, Limits, ServerConfig};
pub use connection::prepare_thread;
pub use openapi::openapi_json;
pub use server::{BindError, Server};
