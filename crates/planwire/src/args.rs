//! The command line: commands, flags and their help.

mod custody;
mod exchange;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use planwire_event::{Cursor, EventId, PlanId};

pub(crate) use self::custody::{
    AcceptLossArguments, AttestArguments, BackupArguments, MoveArguments, RestoreArguments, VerifyArguments,
};
pub(crate) use self::exchange::{ExportArguments, ImportArguments, Selection};
use crate::config::Flags;

/// Planwire: the durable event log of plan execution.
///
/// Runs plans, stores each of their events before anybody sees it, and lets any number of readers follow live.
#[derive(Debug, Parser)]
#[command(
    name = "planwire",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Exit codes: 0 completed, 1 failed, 2 bad usage or document, 74 storage, 130 cancelled."
)]
pub(crate) struct Arguments {
    /// What all commands share.
    #[command(flatten)]
    pub(crate) global: GlobalArguments,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArguments {
    /// Folder of the log [default: $PLANWIRE_DATA, else $XDG_DATA_HOME/planwire].
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The PostgreSQL database in which the log lies, instead of a file: postgres://user@host/database?schema=planwire
    /// [default: $PLANWIRE_DB].
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) db: Option<String>,
    /// The configuration [default: $PLANWIRE_CONFIG, else $XDG_CONFIG_HOME/planwire/planwire.toml if there is one].
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Write JSON Lines: events in their wire form, plans as objects.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colours; NO_COLOR turns them off too.
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub(crate) color: ColorChoice,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    // On a terminal, unless NO_COLOR is set.
    Auto,
    Always,
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Inspect a folder with a real plan, live in the terminal and on a page, with a report.
    Demo(DemoArguments),
    /// Run a plan and follow it until it ends.
    Run(RunArguments),
    /// Go on with a plan that was paused or whose process is gone, and show it until it ends.
    Resume(ResumeArguments),
    /// Serve the log over HTTP: publish, follow by SSE, start plans, see them on a page.
    Serve(ServeArguments),
    /// List plans, newest first.
    Plans(PlansArguments),
    /// Show one plan and all below it, as its events tell it.
    Show(ShowArguments),
    /// Print events in the order of the log.
    Events(EventsArguments),
    /// Publish events from a file or from standard input.
    Publish(PublishArguments),
    /// Write events into a file: JSON Lines or CloudEvents, with proofs if wanted.
    Export(ExportArguments),
    /// Publish the events of an export.
    Import(ImportArguments),
    /// Answer a question of a plan, or show what it asks.
    Answer(AnswerArguments),
    /// Ask a plan and all below it to end.
    Cancel(AskArguments),
    /// Ask a plan and all below it to begin nothing new until it is resumed.
    Pause(AskArguments),
    /// End a plan whose publisher is gone.
    End(EndArguments),
    /// Remove the payload of an event for good; its place and its proofs stay.
    Redact(RedactArguments),
    /// Verify that the log is as it was written, from its first event to the last.
    Verify(VerifyArguments),
    /// Sign what the log is now, so that it can be held against it later.
    Attest(AttestArguments),
    /// Go on with a log that lost its end, or that stands in the place of another one.
    AcceptLoss(AcceptLossArguments),
    /// Copy the log into a file, also while it is written.
    Backup(BackupArguments),
    /// Go on from a backup, as a log of its own.
    Restore(RestoreArguments),
    /// Move the log from a file into PostgreSQL or back, and close it where it was.
    Move(MoveArguments),
    /// Draw a plan document, or a plan as it ran, as a Mermaid flowchart.
    Graph(GraphArguments),
    /// Show what was decided in a plan and all below it, by whom and why.
    Decisions(DecisionsArguments),
    /// Check a plan document without running it.
    Check(CheckArguments),
    /// Print the JSON Schema of event payloads, or of plan documents.
    Schema(SchemaArguments),
    /// Print the configuration that holds, and where each value comes from.
    Config(ConfigArguments),
    /// Print what a shell needs to complete the command line.
    Completions(CompletionsArguments),
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// The folder to inspect; nothing is written into it.
    #[arg(default_value = ".", value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// End with the plan instead of serving until Ctrl-C.
    #[arg(long)]
    pub(crate) exit: bool,
    /// Address of the page and the streams; port 0 takes a free one, as does a taken default port.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// A plan document (YAML or JSON), or the name of one that comes with planwire (`repo-report`).
    #[arg(value_name = "PLAN")]
    pub(crate) plan: String,
    /// An input of the plan; repeatable. Read as JSON where the document does not say string or path.
    #[arg(long = "input", short = 'i', value_name = "NAME=VALUE")]
    pub(crate) inputs: Vec<String>,
    /// What documents may do [default: everything; those that come over the network nothing].
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
}

/// Arguments of `resume`.
#[derive(Debug, Args)]
#[command(
    after_help = "Steps that are done are not run again. A call that was in flight is repeated if its step is \
`idempotent`, else it ends as `interrupted`, and `on_error` decides. `planwire serve` goes on with all open plans by itself."
)]
pub(crate) struct ResumeArguments {
    /// A plan; its whole tree goes on.
    #[arg(value_name = "PLAN")]
    pub(crate) plan: PlanId,
}

/// Arguments of `serve`.
#[derive(Debug, Args)]
#[command(
    after_help = "More can be set in the configuration: `planwire config --reference` lists all, `planwire config` \
what holds."
)]
pub(crate) struct ServeArguments {
    /// What the configuration says too.
    #[command(flatten)]
    pub(crate) flags: ServeFlags,
}

/// Flags of `serve`, which `config` takes to show what `serve` would do.
#[derive(Debug, Default, Args)]
pub(crate) struct ServeFlags {
    /// Address to listen on; port 0 takes a free one. Only loopback addresses are served [default: 127.0.0.1:7420].
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Folder of plan documents that can be started by name [default: those that come with planwire].
    #[arg(long, value_name = "DIR")]
    pub(crate) plans: Option<PathBuf>,
    /// What documents may do [default: everything; those that come over the network nothing].
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Let any local client start documents that it sends along; they may do what the policy allows to them.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) allow_inline_documents: Option<bool>,
}

/// Arguments of `plans`.
#[derive(Debug, Args)]
pub(crate) struct PlansArguments {
    /// Also list subplans.
    #[arg(long)]
    pub(crate) all: bool,
    /// Only plans that have not ended.
    #[arg(long)]
    pub(crate) open: bool,
    /// At most so many, newest first.
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub(crate) limit: usize,
}

/// Arguments of `show`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  planwire show ID              as it is now\n  planwire show ID --at CURSOR  \
as it was then; `planwire --json events --plan ID --tree` has the cursor of each event"
)]
pub(crate) struct ShowArguments {
    /// The plan.
    #[arg(value_name = "ID")]
    pub(crate) plan: PlanId,
    /// As it was after this event, and not as it is now.
    #[arg(long, value_name = "CURSOR")]
    pub(crate) at: Option<Cursor>,
}

/// Arguments of `events`.
#[derive(Debug, Args)]
pub(crate) struct EventsArguments {
    /// Which events.
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Go on with what is published from now on; ends with the plan, if one is named.
    #[arg(long)]
    pub(crate) follow: bool,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterArgument {
    /// At the first event.
    Start,
    /// With what comes from now on.
    Now,
    /// After this place.
    Cursor(Cursor),
}

impl std::str::FromStr for AfterArgument {
    type Err = planwire_event::cursor::CursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "start" => Ok(Self::Start),
            "now" => Ok(Self::Now),
            text => text.parse().map(Self::Cursor),
        }
    }
}

/// Arguments of `publish`.
#[derive(Debug, Args)]
#[command(
    after_help = "One event, {\"events\":[..]}, a JSON array, or JSON Lines. All are stored, or none.\n\
Example: echo '{\"event_type\":\"PlanStarted\",\"plan_id\":\"p1\",\"payload\":{\"name\":\"nightly\"}}' | planwire publish -"
)]
pub(crate) struct PublishArguments {
    /// A file, or `-` for standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// Arguments of `answer`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  planwire answer ID                    show what the plan asks; on a terminal, answer it\n  \
planwire answer ID approve\n  planwire answer ID --as-json '{\"approved\":false,\"comment\":\"not today\"}'"
)]
pub(crate) struct AnswerArguments {
    /// The plan, or one above it.
    #[arg(value_name = "ID")]
    pub(crate) plan: PlanId,
    /// The answer, read as the question wants it [default: show what is asked].
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    pub(crate) value: Option<String>,
    /// The question, where the plan asks several.
    #[arg(long, value_name = "REQUEST")]
    pub(crate) request: Option<String>,
    /// Read the answer as JSON.
    #[arg(long, requires = "value")]
    pub(crate) as_json: bool,
    /// Who answers [default: $USER].
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

/// Arguments of `cancel` and `pause`.
#[derive(Debug, Args)]
pub(crate) struct AskArguments {
    /// The plan.
    #[arg(value_name = "ID")]
    pub(crate) plan: PlanId,
    /// Why, for those who read it.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// Arguments of `end`.
#[derive(Debug, Args)]
pub(crate) struct EndArguments {
    /// The plan; open plans below it are ended first.
    #[arg(value_name = "ID")]
    pub(crate) plan: PlanId,
    /// How it ended.
    #[arg(long, value_enum, value_name = "REASON")]
    pub(crate) reason: EndReason,
    /// What happened, for people.
    #[arg(long, default_value = "ended from the command line", value_name = "TEXT")]
    pub(crate) message: String,
}

/// Arguments of `redact`.
#[derive(Debug, Args)]
#[command(
    after_help = "The tree of the event's plan has to have ended. The log keeps the event, its place and the SHA-256 of what was \
removed, so that `verify` and proofs hold, and a plan `redact` that says why. Documents and blobs that the event names stay, \
and so do backups and exports."
)]
pub(crate) struct RedactArguments {
    /// An event; repeatable.
    #[arg(value_name = "EVENT", required = true)]
    pub(crate) events: Vec<EventId>,
    /// Why, for those who look for it later; without what is removed.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// How a plan ended that its publisher cannot end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum EndReason {
    /// Its publisher ended before it did.
    Interrupted,
    /// Something went wrong.
    Error,
    /// Somebody asked for the end.
    Cancelled,
    /// It took too long.
    TimedOut,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// A plan document (YAML or JSON), or the name of one that comes with planwire.
    #[arg(value_name = "PLAN")]
    pub(crate) plan: String,
    /// Also say what this policy makes of calls whose arguments are written out.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
}

/// Arguments of `graph`.
#[derive(Debug, Args)]
#[command(
    after_help = "Editors and pages that know Mermaid show what is printed as a picture; in Markdown it goes between \
```mermaid and ```.\nExample: planwire graph plan.yaml > plan.mmd"
)]
pub(crate) struct GraphArguments {
    /// A plan document (YAML or JSON), the name of one that comes with planwire, or the id of a plan in the log.
    #[arg(value_name = "PLAN|ID")]
    pub(crate) plan: String,
}

/// Arguments of `decisions`.
#[derive(Debug, Args)]
pub(crate) struct DecisionsArguments {
    /// The plan.
    #[arg(value_name = "ID")]
    pub(crate) plan: PlanId,
}

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub(crate) struct SchemaArguments {
    /// One event type, or `plan` for plan documents [default: all event types].
    #[arg(value_name = "TYPE")]
    pub(crate) name: Option<String>,
}

/// Arguments of `config`.
#[derive(Debug, Args)]
#[command(
    after_help = "Strongest first: flags, PLANWIRE_* variables, the file, defaults. What is printed is itself a file \
that says the same."
)]
pub(crate) struct ConfigArguments {
    /// Check all that `serve` checks at its start, documents, routes and secrets too, and print nothing else.
    #[arg(long)]
    pub(crate) check: bool,
    /// Print the page that tells all keys, as Markdown.
    #[arg(long, conflicts_with = "check")]
    pub(crate) reference: bool,
    /// Those of `serve`.
    #[command(flatten)]
    pub(crate) flags: ServeFlags,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  planwire completions bash > ~/.local/share/bash-completion/completions/planwire\n  \
planwire completions zsh > ~/.zfunc/_planwire   # with fpath+=~/.zfunc before compinit\n  \
planwire completions fish > ~/.config/fish/completions/planwire.fish"
)]
pub(crate) struct CompletionsArguments {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: ShellName,
}

/// A shell whose command line can be completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShellName {
    Bash,
    Zsh,
    Fish,
}

impl Arguments {
    /// What the command line sets of the configuration.
    pub(crate) fn flags(&self) -> Flags {
        let mut flags = Flags::new();
        if let Some(data) = self.global.data.as_ref().filter(|data| !data.as_os_str().is_empty()) {
            flags.push(("data", data.into()));
        }
        if let Some(db) = self.global.db.as_ref().filter(|db| !db.is_empty()) {
            flags.push(("db", db.into()));
        }
        if let Command::Run(RunArguments { policy: Some(policy), .. }) = &self.command {
            flags.push(("engine.policy", policy.into()));
        }
        let serve = match &self.command {
            Command::Serve(arguments) => &arguments.flags,
            Command::Config(arguments) => &arguments.flags,
            _ => return flags,
        };
        if let Some(listen) = serve.listen {
            flags.push(("server.listen", listen.to_string().into()));
        }
        if let Some(plans) = &serve.plans {
            flags.push(("engine.plans", plans.into()));
        }
        if let Some(policy) = &serve.policy {
            flags.push(("engine.policy", policy.into()));
        }
        if let Some(allow) = serve.allow_inline_documents {
            flags.push(("server.allow_inline_documents", allow.to_string().into()));
        }
        flags
    }

    /// Whether the command works beside a broken configuration, as if there were none.
    pub(crate) const fn goes_without_config(&self) -> bool {
        matches!(self.command, Command::Check(_))
    }

    /// Whether the command looks at no configuration, so that a broken one does not keep it from its work.
    pub(crate) const fn needs_no_config(&self) -> bool {
        match &self.command {
            Command::Schema(_) | Command::Completions(_) => true,
            Command::Config(arguments) => arguments.reference,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn reading_begins_at_start_now_or_a_cursor() {
        assert_eq!("start".parse(), Ok(AfterArgument::Start));
        assert_eq!("now".parse(), Ok(AfterArgument::Now));
        assert!(matches!("7Q4M2K9A-00000000000004d2".parse(), Ok(AfterArgument::Cursor(_))));
        assert!("17".parse::<AfterArgument>().is_err());
    }
}
