//! A log in one SQLite file.
//!
//! One connection writes ([`SqliteWriter`]), a few threads with a read-only connection each answer reads
//! ([`SqliteRepository`]). WAL mode, so neither waits for the other.
//!
//! - `schema`: tables, indexes, migrations. `open`: what a file must be before it is used.
//! - `writer`: compare and append. `checkpoint`: moves the WAL into the database behind the writer's back.
//! - `readers`: threads that answer. `repository`: the readers' end. `query`, `decode`: what is asked and answered.
//! - `error`: what SQLite's errors mean.

mod checkpoint;
mod decode;
mod error;
mod open;
mod query;
mod readers;
mod repository;
mod schema;
mod writer;

pub use open::{OpenError, OpenOptions, SqliteStore};
pub use repository::SqliteRepository;
pub use schema::APPLICATION_ID;
pub use writer::SqliteWriter;
