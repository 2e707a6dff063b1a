//! What every store promises, and what the SQLite store promises beyond that.

#![expect(
    clippy::unwrap_used,
    reason = "a test that can not go on has failed; helpers are no test functions"
)]

mod author;
mod block_on;
mod conformance;
mod damage;
mod differential;
mod opening;
mod refusals;
mod stores;
