//! Arguments of the commands that say whether a log is whole.

use clap::Args;

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
