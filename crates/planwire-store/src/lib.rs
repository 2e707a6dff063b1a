//! Where the log lies.
//!
//! - [`contract`]: what every store promises: [`LogWriter`], [`EventRepository`] and what they exchange.
//! - `plan_query`: [`PlanQuery`], which plans a reader wants, and the page that he gets.
//! - [`merkle`]: leaves and frontier, computed by the writer, kept by the store; proofs for single leaves.
//! - [`mod@verify`]: whether a log is as it was written. `statement`, `note`: what is signed of it.
//! - `copying`, `moving`: copies of logs, and logs that move between files and databases.
//! - `proven`: events in exports with what proves them.
//! - `row`, `decoder`, `scan`: what rows and pages have in common in every store: checksum, the events that rows are,
//!   and where a read stops.
//! - `executors`: who runs plans of a log that several processes write.
//! - [`memory`]: a log that is gone with the process.
//! - [`sqlite`]: a log in a file. [`lock`]: who holds that file.
//! - `postgres` (feature): a log in a database that several processes write.

pub mod contract;
mod copying;
mod decoder;
mod executors;
pub mod lock;
pub mod memory;
pub mod merkle;
mod moving;
mod note;
mod plan_query;
#[cfg(feature = "postgres")]
pub mod postgres;
mod proven;
mod row;
mod scan;
pub mod sqlite;
mod statement;
pub mod verify;

pub use contract::*;
pub use copying::{Existing, Stage, Told};
pub use executors::{Executors, SeenExecutor};
pub use lock::{LockError, LockFile, LockInfo};
pub use memory::MemoryStore;
pub use merkle::{Frontier, InclusionProof, Outline, Prover, leaf};
pub use moving::{Address, HowMoved, MoveError, Moved, move_log};
pub use note::{NoteError, SigningKey, VerifierKey};
pub use plan_query::{PlanOrder, PlanPage, PlanQuery, PlanScope};
#[cfg(feature = "postgres")]
pub use postgres::{
    PostgresOpenError, PostgresOptions, PostgresRepository, PostgresStore, PostgresUrl, PostgresUrlError,
    PostgresWriter, Unfit,
};
pub use proven::{ExportForm, Frame, Proven, ProvenError};
pub use row::Sealer;
pub use sqlite::{
    AcceptedLoss, BackedUp, CopyError, Loss, OpenError, OpenOptions, Restored, SqliteRepository, SqliteStore,
    SqliteWriter, WitnessSays,
};
pub use statement::{Statement, StatementError};
pub use verify::{Auditable, Damage, Flaw, Mark, RowPage, Verified, verify};
