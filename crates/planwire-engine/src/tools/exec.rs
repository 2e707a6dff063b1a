//! `exec`: runs a program with arguments, without a shell, in a process group of its own.
//!
//! Standard input is empty unless given, the environment holds only [`ENVIRONMENT`] and what the step declares. The
//! group is killed as soon as the program has ended, so that nothing that it left in the background goes on; output is
//! cut while it is read, so that a program that floods it costs no memory.

mod group;
mod pipes;
mod reach;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::future::BoxFuture;
use planwire_event::vocabulary::Object;
use serde::Deserialize;
use serde_json::json;

use crate::policy::Reach;
use crate::redaction::Redactor;
use crate::tool::{Argument, Parameters, Tool, ToolContext, ToolError, ToolOutput, read_arguments};
use group::Group;
use pipes::{Excess, Pipes, Pumped};

/// Variables that a program takes over from the engine's own environment.
pub const ENVIRONMENT: [&str; 4] = ["PATH", "LANG", "HOME", "TMPDIR"];

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

/// Characters of standard error in the message of a failed program.
const MESSAGE_CHARS_MAX: usize = 400;

const _: () = assert!(OUTPUT_BYTES_DEFAULT * 2 < crate::output::TOOL_OUTPUT_BYTES_MAX);

/// The tool `exec`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exec;

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
            run(arguments, context).await
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

/// How a program came to its end.
enum End {
    Exited,
    TooMuchOutput,
    Stopped,
}

async fn run(arguments: Arguments, context: ToolContext) -> Result<ToolOutput, ToolError> {
    let program = arguments.argv[0].clone();
    let kept_bytes = arguments.max_output_bytes.unwrap_or(OUTPUT_BYTES_DEFAULT);
    let excess = if arguments.max_output_bytes.is_some() { Excess::Refused } else { Excess::Dropped };
    let mut group = spawn(&arguments, &context)?;
    let mut pipes = Pipes::take(&mut group.leader, arguments.stdin, kept_bytes, excess);

    let end = loop {
        tokio::select! {
            biased;
            _ = context.stop.wait() => break End::Stopped,
            () = group.leader_exited() => break End::Exited,
            pumped = pipes.pump(), if !pipes.closed() => if pumped == Pumped::Overflow {
                break End::TooMuchOutput;
            },
        }
    };
    if matches!(end, End::Exited) {
        let status = finish(&mut group, &mut pipes).await?;
        if excess == Excess::Dropped || !pipes.truncated() {
            return report(&program, status, &arguments.ok_exit_codes, pipes, &context.redactor);
        }
    }
    group.end().await;
    match end {
        End::Stopped => Err(ToolError::stopped()),
        End::Exited | End::TooMuchOutput => {
            Err(ToolError::new("output_limit", format!("{program} wrote more than {kept_bytes} bytes")))
        }
    }
}

/// Takes what is still in the pipes, ends what the program left behind, and reaps the program.
async fn finish(group: &mut Group, pipes: &mut Pipes) -> Result<ExitStatus, ToolError> {
    pipes.close_stdin();
    let in_time = tokio::time::timeout(PIPE_GRACE, pipes.pump()).await.is_ok();
    group.kill();
    if !in_time {
        // What survives in another group may hold the pipe for ever; its output is nobody's any more.
        let _ = tokio::time::timeout(PIPE_GRACE, pipes.pump()).await;
    }
    group
        .reap()
        .await
        .map_err(|error| ToolError::new("failed", format!("cannot wait for the program: {error}")))
}

fn spawn(arguments: &Arguments, context: &ToolContext) -> Result<Group, ToolError> {
    let program = &arguments.argv[0];
    let folder =
        arguments.cwd.as_ref().map_or_else(|| context.folder.clone(), |cwd| context.folder.join(cwd));
    if !folder.is_dir() {
        return Err(ToolError::new("bad_cwd", format!("cwd {} is not a folder", folder.display())));
    }
    let mut command = tokio::process::Command::new(program);
    command
        .args(&arguments.argv[1..])
        .current_dir(folder)
        .env_clear()
        .envs(ENVIRONMENT.iter().filter_map(|name| std::env::var_os(name).map(|value| (name, value))))
        .envs(&arguments.env)
        .stdin(if arguments.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    Group::spawn(&mut command).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            ToolError::new("not_found", format!("program {program} is not there"))
        }
        std::io::ErrorKind::PermissionDenied => {
            ToolError::new("not_executable", format!("program {program} may not be run"))
        }
        _ => ToolError::new("failed", format!("program {program} cannot be started: {error}")),
    })
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
            Err(ToolError::new("signal", format!("{program} was ended by signal {signal}{said}")))
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
