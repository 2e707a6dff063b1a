//! A log in one SQLite file.
//!
//! One connection writes ([`SqliteWriter`]), a few threads with a read-only connection each answer reads
//! ([`SqliteRepository`]). WAL mode, so neither waits for the other.
//!
//! - `schema`: tables, indexes, migrations. `open`: what a file must be before it is used.
//! - `witness`: how far the log reached, noted outside of it. `loss`: what the database lacks of that; `heed` looks at
//!   it when the log is opened, `accept` goes on without it.
//! - `writer`: compare and append. `checkpoint`: moves the WAL into the database behind the writer's back.
//! - `readers`: threads that answer. `repository`: the readers' end. `query`, `decode`: what is asked and answered.
//! - `audit`: the log as it lies in its file, for those who verify it.
//! - `backup`, `restore`: copies of the log, and logs that go on from one. `moved`, `relocation`: logs that are elsewhere.
//! - `error`: what SQLite's errors mean.

mod accept;
mod audit;
mod backup;
mod checkpoint;
mod decode;
mod error;
mod heed;
mod loss;
mod moved;
mod open;
mod page;
mod query;
mod readers;
mod relocation;
mod removal;
mod repository;
mod restore;
mod schema;
mod witness;
mod writer;

pub use accept::AcceptedLoss;
pub use audit::WitnessSays;
pub use backup::{BackedUp, CopyError};
pub use loss::Loss;
pub use open::{OpenError, OpenOptions, SqliteStore};
pub(crate) use relocation::{SqliteDestination, SqliteOrigin};
pub use repository::SqliteRepository;
pub use restore::Restored;
pub use schema::APPLICATION_ID;
pub use writer::SqliteWriter;
