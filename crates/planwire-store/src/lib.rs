//! Where the log lies.
//!
//! - [`contract`]: what every store promises: [`LogWriter`], [`EventRepository`] and what they exchange.
//! - `plan_query`: [`PlanQuery`], which plans a reader wants, and the page that he gets.
//! - [`merkle`]: leaves and frontier, computed by the writer, kept by the store.
//! - `row`, `decoder`, `scan`: what rows and pages have in common in every store: checksum, the events that rows are,
//!   and where a read stops.
//! - [`memory`]: a log that is gone with the process.
//! - [`sqlite`]: a log in a file. [`lock`]: who holds that file.
//! - `postgres` (feature): a log in a database that several processes write.

pub mod contract;
mod decoder;
pub mod lock;
pub mod memory;
pub mod merkle;
mod plan_query;
#[cfg(feature = "postgres")]
pub mod postgres;
mod row;
mod scan;
pub mod sqlite;

pub use contract::*;
pub use lock::{LockError, LockFile, LockInfo};
pub use memory::MemoryStore;
pub use merkle::{Frontier, leaf};
pub use plan_query::{PlanOrder, PlanPage, PlanQuery, PlanScope};
#[cfg(feature = "postgres")]
pub use postgres::{
    PostgresOpenError, PostgresOptions, PostgresRepository, PostgresStore, PostgresUrl, PostgresUrlError,
    PostgresWriter, Unfit,
};
pub use sqlite::{AcceptedLoss, Loss, OpenError, OpenOptions, SqliteRepository, SqliteStore, SqliteWriter};
