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
also beside a running server. Exit code 0: the log is whole. 1: it is not, and the first bad position is named. 74: it \
cannot be read at all."
)]
pub(crate) struct VerifyArguments {
    /// A checkpoint that `attest` wrote: the log must continue what was signed then.
    #[arg(long, value_name = "CHECKPOINT", requires = "key")]
    pub(crate) from: Option<PathBuf>,
    /// The key that signed it, as `attest --new-key` printed it.
    #[arg(long, value_name = "KEY", requires = "from")]
    pub(crate) key: Option<VerifierKey>,
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
