//! Faults that clients and servers meet: cut connections, a second server, signals, a browser that is left alone.
//!
//! - [`chance`]: random numbers from a seed, counts of the tier that runs
//! - [`raw`]: HTTP that may break at any byte, and what was received until then
//! - [`checker`]: what publishers were told and readers were given, held against the log

pub(crate) mod chance;
pub(crate) mod checker;
mod curl;
mod cut;
mod ending;
mod page;
pub(crate) mod raw;
