//! What every store promises, and what those of SQLite and PostgreSQL promise beyond that.

#![expect(
    clippy::unwrap_used,
    reason = "a test that can not go on has failed; helpers are no test functions"
)]

mod author;
mod awkward;
mod block_on;
#[expect(dead_code, reason = "the tests of the program bring faults about in it")]
mod cluster;
mod conformance;
mod damage;
mod differential;
mod honest;
mod long_plans;
mod moving;
mod opening;
mod postgres_opening;
mod postgres_reading;
mod postgres_writing;
mod proxy;
mod random;
mod refusals;
mod stores;
mod verifying;
mod witness;
