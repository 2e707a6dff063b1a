//! Arguments of the commands that take events out of a log and into another.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use planwire_event::{EventType, EventTypes, Filter, PlanId, Scope};
use planwire_store::ExportForm;

use crate::args::AfterArgument;

/// Which events of a log are wanted.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Only events of this plan.
    #[arg(long, value_name = "ID")]
    pub(crate) plan: Option<PlanId>,
    /// With --plan: also those of all plans below it.
    #[arg(long, requires = "plan")]
    pub(crate) tree: bool,
    /// Only events of this type; repeatable.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<EventType>,
    /// Only events after this cursor, or `start` or `now`.
    #[arg(long, default_value = "start", value_name = "CURSOR")]
    pub(crate) after: AfterArgument,
}

impl Selection {
    /// As a filter; where it begins is said by `after`.
    pub(crate) fn filter(&self) -> Filter {
        let scope = match (&self.plan, self.tree) {
            (None, _) => Scope::All,
            (Some(plan), false) => Scope::Plan(plan.clone()),
            (Some(plan), true) => Scope::Tree(plan.clone()),
        };
        let types = match self.types.as_slice() {
            [] => EventTypes::All,
            types => types.iter().cloned().collect(),
        };
        Filter { types, scope }
    }
}

/// Arguments of `export`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  planwire export --out log.jsonl.zst\n  planwire export --plan ID --tree --format cloudevents\n  \
planwire export --proofs --checkpoint CHECKPOINT --out proven.jsonl\n\nEvents alone are exported; plan documents and \
artifacts are copied by `backup` and `move`. With --proofs each line also proves that its event is in the log: `planwire \
verify --against FILE` checks that without the log."
)]
pub(crate) struct ExportArguments {
    /// Write into this file; `-` is standard output.
    #[arg(long, short, default_value = "-", value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Which events.
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// How events are written, one in each line: in their wire form, or as CloudEvents 1.0 in JSON.
    #[arg(long, value_enum, default_value_t = Format::Jsonl, value_name = "FORMAT")]
    pub(crate) format: Format,
    /// Compress with zstd; a file that ends with .zst is compressed by itself.
    #[arg(long)]
    pub(crate) zstd: bool,
    /// Give each event a proof that it is in the log.
    #[arg(long)]
    pub(crate) proofs: bool,
    /// With --proofs: the checkpoint to which they lead, as `attest` wrote it [default: the head, unsigned].
    #[arg(long, value_name = "CHECKPOINT", requires = "proofs")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Write over a file that is there.
    #[arg(long)]
    pub(crate) force: bool,
}

/// How exported events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    // One event in each line, in the wire form.
    Jsonl,
    // CloudEvents 1.0 in their JSON format, one in each line.
    Cloudevents,
}

impl From<Format> for ExportForm {
    fn from(format: Format) -> Self {
        match format {
            Format::Jsonl => Self::JsonLines,
            Format::Cloudevents => Self::CloudEvents,
        }
    }
}

/// Arguments of `import`.
#[derive(Debug, Args)]
#[command(
    after_help = "Takes what `export` writes, in both formats, compressed or not, with or without proofs; and any other \
file with an event in each line. Events keep their ids, so importing a file again stores nothing. At the first event that \
may not follow, the import ends: what stands before it is stored, nothing behind it is, and a repeat goes on there."
)]
pub(crate) struct ImportArguments {
    /// A file, or `-` for standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}
