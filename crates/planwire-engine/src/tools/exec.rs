//! `exec`: runs a program with arguments, without a shell.
//!
//! Standard input is empty unless given, the environment holds only [`ENVIRONMENT`] and what the step declares. What the
//! program has started is ended as soon as it has ended itself; output is cut while it is read, so that a program that
//! floods it costs no memory.
//!
//! How it is held, with a [`Launcher`] and without one, is said in [`crate::program`].

mod folder;
mod pipes;
mod reach;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use futures_util::future::BoxFuture;
use planwire_event::vocabulary::Object;
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::json;

use crate::launcher::Launcher;
use crate::policy::Reach;
pub use crate::program::ENVIRONMENT;
use crate::program::{Ended, Order, Program};
use crate::redaction::Redactor;
use crate::tool::{Argument, Parameters, Tool, ToolContext, ToolError, ToolOutput, read_arguments};
use pipes::{Excess, Pipes, Pumped};

/// Bytes of each of the two outputs that are kept when the step does not say; the rest is read and dropped.
pub const OUTPUT_BYTES_DEFAULT: usize = 48 * 1024;

/// Bytes of each of the two outputs that a step may ask for.
pub const OUTPUT_BYTES_MAX: usize = 120 * 1024;

/// Texts in `argv`.
pub const ARGV_MAX: usize = 1_000;

/// Time between the polite request to end and the end.
pub const TERM_GRACE: Duration = Duration::from_millis(500);

/// Time that output may still come after the program has ended, from processes that hold the pipe.
pub const PIPE_GRACE: Duration = Duration::from_millis(250);

/// Time that killed processes may take to go when a call is stopped. If they hang in the kernel, or the machine has no
/// time for them, the call says so and their supervisor goes on.
const REAP_GRACE: Duration = Duration::from_secs(2);

/// The same when the program has ended by itself and nobody waits for the call to stop.
const SETTLE_GRACE: Duration = Duration::from_secs(10);

/// Characters of standard error in the message of a failed program.
const MESSAGE_CHARS_MAX: usize = 400;

const _: () = assert!(
    TERM_GRACE.as_millis() + REAP_GRACE.as_millis() < crate::tool_runner::STOP_GRACE.as_millis(),
    "a call that is asked to end does so by itself"
);
const _: () = assert!(OUTPUT_BYTES_DEFAULT * 2 < crate::output::TOOL_OUTPUT_BYTES_MAX);

/// The tool `exec`. By default without a [`Launcher`].
#[derive(Clone, Debug, Default)]
pub struct Exec {
    launcher: Option<Launcher>,
}

impl Exec {
    /// Starts programs by `launcher`.
    #[must_use]
    pub const fn launched_by(launcher: Launcher) -> Self {
        Self { launcher: Some(launcher) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    argv: Vec<String>,
    cwd: Option<PathBuf>,
    stdin: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default = "only_zero")]
    ok_exit_codes: Vec<i32>,
    max_output_bytes: Option<usize>,
}

fn only_zero() -> Vec<i32> {
    vec![0]
}

impl Tool for Exec {
    fn name(&self) -> &str {
        "exec"
    }

    fn purpose(&self) -> &str {
        "runs a program, without a shell"
    }

    fn arguments(&self) -> Parameters {
        Parameters::listed(
            const {
                &[
                    Argument::required(
                        "argv",
                        "list of texts",
                        "the program, found in PATH or absolute, and its arguments",
                    ),
                    Argument::optional("cwd", "path", "where it runs; default: the working folder"),
                    Argument::optional("stdin", "text", "its standard input; default: nothing"),
                    Argument::optional(
                        "env",
                        "object of texts",
                        "variables beside PATH, LANG, HOME and TMPDIR",
                    ),
                    Argument::optional(
                        "ok_exit_codes",
                        "list of integers",
                        "exit codes that are no failure; default: 0",
                    ),
                    Argument::optional(
                        "max_output_bytes",
                        "integer",
                        "more standard output or error than this is a failure",
                    ),
                ]
            },
        )
    }

    fn reach(&self, arguments: &Object, folder: &Path) -> Reach {
        reach::of(arguments, folder)
    }

    fn call(&self, arguments: Object, context: ToolContext) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        Box::pin(async move {
            let arguments: Arguments = read_arguments(arguments)?;
            check(&arguments)?;
            self.run(arguments, context).await
        })
    }
}

fn check(arguments: &Arguments) -> Result<(), ToolError> {
    let has_nul = |text: &String| text.contains('\0');
    if arguments.argv.first().is_none_or(String::is_empty) {
        return Err(ToolError::argument("argv names no program"));
    }
    if arguments.argv.len() > ARGV_MAX {
        return Err(ToolError::argument(format!("argv has more than {ARGV_MAX} texts")));
    }
    if arguments.argv.iter().any(has_nul)
        || arguments.env.iter().any(|(key, value)| has_nul(key) || has_nul(value))
    {
        return Err(ToolError::argument("argv and env cannot hold the character U+0000"));
    }
    if let Some(bad) = arguments.env.keys().find(|key| key.is_empty() || key.contains('=')) {
        return Err(ToolError::argument(format!("env cannot have a variable named '{bad}'")));
    }
    if arguments.max_output_bytes.is_some_and(|bytes| bytes > OUTPUT_BYTES_MAX) {
        return Err(ToolError::argument(format!("max_output_bytes is at most {OUTPUT_BYTES_MAX}")));
    }
    Ok(())
}

/// Why a program is no longer waited for.
enum End {
    Program(Ended),
    TooMuchOutput,
    Stopped,
}

impl Exec {
    async fn run(&self, arguments: Arguments, context: ToolContext) -> Result<ToolOutput, ToolError> {
        let kept_bytes = arguments.max_output_bytes.unwrap_or(OUTPUT_BYTES_DEFAULT);
        let excess = if arguments.max_output_bytes.is_some() { Excess::Refused } else { Excess::Dropped };
        let (mut pipes, ends) = Pipes::open(arguments.stdin, kept_bytes, excess)
            .map_err(|error| ToolError::new("failed", format!("no pipe can be opened: {error}")))?;
        let folder = folder::open(&context.folder, arguments.cwd.as_deref())?;
        let env = arguments.env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let order = Order { argv: arguments.argv, env, folder, base: context.folder, grace: TERM_GRACE };
        let program = order.argv[0].clone();
        let mut running = Program::start(self.launcher.as_ref(), order, ends).await?;

        let end = loop {
            tokio::select! {
                biased;
                _ = context.stop.wait() => break End::Stopped,
                ended = running.ended() => break End::Program(ended),
                pumped = pipes.pump(), if !pipes.closed() => if pumped == Pumped::Overflow {
                    break End::TooMuchOutput;
                },
            }
        };
        match end {
            End::Program(Ended::Exited) => {
                let status = finish(&mut running, &mut pipes).await?;
                if excess == Excess::Refused && pipes.truncated() {
                    return Err(too_much_output(&program, kept_bytes));
                }
                report(&program, status, &arguments.ok_exit_codes, pipes, &context.redactor)
            }
            End::Program(Ended::Failed(error)) => Err(match running.settle(SETTLE_GRACE).await {
                Ok(_) => error,
                Err(left) => error.with_more(&left.to_string()),
            }),
            End::Stopped => {
                running.end(REAP_GRACE).await?;
                Err(ToolError::stopped())
            }
            End::TooMuchOutput => Err(match running.end(REAP_GRACE).await {
                Ok(()) => too_much_output(&program, kept_bytes),
                Err(left) => too_much_output(&program, kept_bytes).with_more(&left.to_string()),
            }),
        }
    }
}

fn too_much_output(program: &str, bytes: usize) -> ToolError {
    ToolError::new("output_limit", format!("{program} wrote more than {bytes} bytes"))
}

/// Takes what is still in the pipes, ends what the program left behind, and gives the program's status.
async fn finish(running: &mut Program, pipes: &mut Pipes) -> Result<ExitStatus, ToolError> {
    pipes.close_stdin();
    let in_time = tokio::time::timeout(PIPE_GRACE, pipes.pump()).await.is_ok();
    let status = running.settle(SETTLE_GRACE).await;
    if !in_time {
        // Whoever was handed the pipe elsewhere may hold it for ever; that output is nobody's any more.
        let _ = tokio::time::timeout(PIPE_GRACE, pipes.pump()).await;
    }
    status?.ok_or_else(|| ToolError::new("failed", "how the program ended is not known"))
}

fn report(
    program: &str,
    status: ExitStatus,
    ok: &[i32],
    pipes: Pipes,
    redactor: &Redactor,
) -> Result<ToolOutput, ToolError> {
    use std::os::unix::process::ExitStatusExt as _;
    let truncated = pipes.truncated();
    let (stdout, stderr) = pipes.texts(redactor);
    let said = last_words(&stderr);
    match (status.code(), status.signal()) {
        (Some(code), _) if ok.contains(&code) => {
            let value = json!({"exit_code": code, "stdout": stdout, "stderr": stderr});
            Ok(ToolOutput::cut(value, truncated))
        }
        (Some(code), _) => {
            Err(ToolError::new("exit_status", format!("{program} ended with exit code {code}{said}")))
        }
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            let (code, why) = match Signal::from_named_raw(signal) {
                Some(Signal::XCPU) => ("cpu_limit", " (it used more CPU time than it may)"),
                Some(Signal::XFSZ) => ("file_size_limit", " (it wrote a larger file than it may)"),
                _ => ("signal", ""),
            };
            Err(ToolError::new(code, format!("{program} was ended by signal {signal}{why}{said}")))
        }
    }
}

/// The end of standard error, which most often says why.
fn last_words(stderr: &str) -> String {
    let text = stderr.trim();
    if text.is_empty() {
        return String::new();
    }
    let skipped = text.chars().count().saturating_sub(MESSAGE_CHARS_MAX);
    let tail: String = text.chars().skip(skipped).collect();
    format!(": {}{tail}", if skipped > 0 { "..." } else { "" })
}
