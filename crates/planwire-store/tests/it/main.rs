//! What every store promises, and what the SQLite store promises beyond that.

mod author;
mod block_on;
mod conformance;
mod damage;
mod differential;
mod opening;
mod refusals;
mod stores;
