//! A log in a schema of a PostgreSQL database, which several processes may write at once.
//!
//! One connection writes ([`PostgresWriter`]), a few answer reads ([`PostgresRepository`]), one tells others of each
//! commit and one hears of theirs. Threads of our own drive all of them, so that nobody who waits needs a runtime.
//!
//! - `url`, `options`, [`limits`]: where the log lies, and how long is waited for what.
//! - `server`, `session`, `backoff`: connections, and what a server must be. `pool`: those of reads.
//! - `schema`: tables, indexes, migrations. `open`: what a schema must be before it is used.
//! - `writer`, `append`: compare and append, and what becomes of a batch whose connection is lost.
//! - `repository`, `query`, `plans`, `decode`, `instant`: what is asked and answered.
//! - `audit`: the log as it lies there, for those who verify it.
//! - `moved`, `relocation`: logs that are elsewhere, or on their way.
//! - `notify`, `watch`: hints that the head moved.
//! - `error`: what PostgreSQL's errors mean.

mod append;
mod audit;
mod backoff;
mod decode;
mod error;
mod executors;
mod instant;
pub mod limits;
mod moved;
mod notify;
mod open;
mod options;
mod plans;
mod pool;
mod query;
mod relocation;
mod removal;
mod repository;
mod schema;
mod server;
mod session;
mod url;
mod watch;
mod writer;

pub use open::{PostgresOpenError, PostgresStore};
pub use options::PostgresOptions;
pub(crate) use relocation::{PostgresDestination, PostgresOrigin};
pub use repository::PostgresRepository;
pub use session::Unfit;
pub use url::{PostgresUrl, PostgresUrlError, SCHEMA_DEFAULT};
pub use writer::PostgresWriter;
