//! Where the log lies.
//!
//! - [`contract`]: what every store promises: [`LogWriter`], [`EventRepository`] and what they exchange.
//! - [`merkle`]: leaves and frontier, computed by the writer, kept by the store.

pub mod contract;
pub mod merkle;

pub use contract::*;
pub use merkle::{Frontier, leaf};
