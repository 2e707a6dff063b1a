//! What else could be used, each started, driven and stopped by the benchmark itself.
//!
//! - [`process`]: a server that runs in a process of its own, and is stopped by its id
//! - [`resp`], [`redis`]: Redis with `appendfsync always`; [`sse_starlette`]: its stream as server-sent events
//! - [`postgres`]: a server; [`table`]: the table that one would write by hand
//! - [`nchan`]: the module of nginx
//! - [`langgraph`]: graphs in Python with checkpoints in SQLite
//! - [`broadcast`], [`callback`], [`linear_scan`], [`axum_shared`]: in this program, without durability

pub(crate) mod axum_shared;
pub(crate) mod broadcast;
pub(crate) mod callback;
pub(crate) mod langgraph;
pub(crate) mod linear_scan;
pub(crate) mod nchan;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod redis;
pub(crate) mod resp;
pub(crate) mod sse_starlette;
pub(crate) mod table;
