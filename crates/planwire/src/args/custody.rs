//! Arguments of the commands that say whether a log is whole.

use std::path::PathBuf;

use clap::Args;
use planwire_store::VerifierKey;

/// Arguments of `accept-loss`.
#[derive(Debug, Args)]
#[command(
    after_help = "What is there becomes a log with an id of its own, which continues the old one as far as it was kept: \
cursors up to there still hold, later ones are refused. A WAL that could not be read is given up for good, so copy the \
files first if somebody may repair them."
)]
pub(crate) struct AcceptLossArguments {
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
#[command(
    after_help = "Reads every event and recomputes its leaf, the Merkle tree, and what the database keeps beside events; \
also beside a running server. With --against it reads an export with proofs instead, and no log. Exit code 0: all is whole. \
1: it is not, and the first bad position or line is named. 74: it cannot be read at all."
)]
pub(crate) struct VerifyArguments {
    /// A checkpoint that `attest` wrote: the log must continue what was signed then.
    #[arg(long, value_name = "CHECKPOINT", requires = "key")]
    pub(crate) from: Option<PathBuf>,
    /// The key that signed it, as `attest --new-key` printed it.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<VerifierKey>,
    /// An export with proofs: each of its events must be in the log that its checkpoint speaks of. `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "file"])]
    pub(crate) against: Option<PathBuf>,
    /// A database file to verify instead of the log, such as a backup.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// Arguments of `attest`.
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("what").required(true).args(["key", "new_key"]),
    after_help = "Examples:\n  planwire attest --new-key FILE            make a key; what is printed verifies what it \
signs\n  planwire attest --key FILE -o CHECKPOINT  verify the log and sign its head\n\nKeep both away from the log: who can \
write all of it could sign anything."
)]
pub(crate) struct AttestArguments {
    /// The file with the key that signs.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Make a key, write it into this file, and print the key that verifies.
    #[arg(long, value_name = "FILE")]
    pub(crate) new_key: Option<PathBuf>,
    /// Name of the new key [default: planwire/ and the id of the log].
    #[arg(long, value_name = "NAME", requires = "new_key")]
    pub(crate) name: Option<String>,
    /// Write the checkpoint into this file [default: standard output].
    #[arg(long, short, value_name = "FILE", requires = "key")]
    pub(crate) output: Option<PathBuf>,
}

/// Arguments of `backup`.
#[derive(Debug, Args)]
#[command(
    after_help = "Beside a running server too, which goes on meanwhile. The file is a database of its own with all that was \
acknowledged before, verified before it gets its name; its witness lies beside it, FILE.head. `planwire verify --file FILE` \
verifies it again, `planwire restore FILE` goes on from it."
)]
pub(crate) struct BackupArguments {
    /// The backup.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Write over a file that is there.
    #[arg(long)]
    pub(crate) force: bool,
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
#[command(
    after_help = "The log gets a new id and continues that of the backup: cursors up to the end of the backup hold, later \
ones are refused, since other events will take their places. A database that is replaced is kept beside the new one."
)]
pub(crate) struct RestoreArguments {
    /// A file that `backup` made.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Replace a database that is there, and keep it aside.
    #[arg(long)]
    pub(crate) force: bool,
}

/// Arguments of `move`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  planwire move --to 'postgres://me@host/plans?schema=planwire'\n  planwire --db \
'postgres://me@host/plans' move --to ./data\n\nAll rows are copied as they are, so positions, cursors and checkpoints hold. \
What was copied is verified; then the log takes events there and never again here. Reading what is left here stays \
possible. If it is interrupted, repeat it."
)]
pub(crate) struct MoveArguments {
    /// Where to: the URL of a PostgreSQL database, or a folder as --data names it.
    #[arg(long, value_name = "URL|DIR")]
    pub(crate) to: String,
}
