//! Faults that clients meet: cut connections, a browser that is left alone with a server that dies.
//!
//! - [`chance`]: random numbers from a seed, counts of the tier that runs
//! - [`raw`]: HTTP that may break at any byte, and what was received until then
//! - [`checker`]: what publishers were told and readers were given, held against the log
//! - [`cut`], [`curl`], [`page`]: a client cut at any byte, `curl -N`, the page in a browser
//! - [`browser`]: what drives that browser
//! - [`descriptors`]: no file descriptor is left

pub(crate) mod browser;
pub(crate) mod chance;
pub(crate) mod checker;
mod curl;
mod cut;
mod descriptors;
mod page;
pub(crate) mod raw;
