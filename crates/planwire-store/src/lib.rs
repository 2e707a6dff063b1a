//! Where the log lies.
//!
//! - [`contract`]: what every store promises: [`LogWriter`], [`EventRepository`] and what they exchange.
//! - [`merkle`]: leaves and frontier, computed by the writer, kept by the store.
//! - `row`, `scan`: what rows and pages have in common in every store: checksum, and where a read stops.
//! - [`memory`]: a log that is gone with the process.

pub mod contract;
pub mod memory;
pub mod merkle;
mod row;
mod scan;

pub use contract::*;
pub use memory::MemoryStore;
pub use merkle::{Frontier, leaf};
