//! The command `planwire`: runs plans, stores and serves their events, shows them live.
//!
//! - [`args`], [`commands`]: what people type and what comes of it
//! - [`wiring`], [`access`]: joins log, bus, engine and server; or uses those of another process
//! - [`documents`]: the plans that come with it and those that people name
//! - [`place`]: where the log lies and who holds it
//! - [`follow`], [`client`]: events as they come, from this process, a server or the file
//! - [`watch`], [`line`], [`output`]: what people see
//! - [`failure`], [`signals`]: how a command ends

mod access;
mod args;
mod client;
mod commands;
mod documents;
mod failure;
mod follow;
mod line;
mod output;
mod place;
mod signals;
mod watch;
mod wiring;

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::filter::LevelFilter;

use crate::args::Arguments;
use crate::failure::{Exit, Failure};
use crate::output::{Output, tell};

/// Names the least severe diagnostics that are printed: off, error, warn, info, debug, trace.
const LOG_VARIABLE: &str = "PLANWIRE_LOG";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    diagnose(Output::detect(&arguments.global));
    let output = Output::detect(&arguments.global);
    let exit = match start(arguments, output) {
        Ok(exit) => exit,
        // Whoever reads our output has had enough.
        Err(failure) if failure.is_broken_pipe() => Exit::Completed,
        Err(failure) => {
            tell(&failure.to_string());
            failure.exit
        }
    };
    ExitCode::from(exit.code())
}

fn start(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let exit = runtime.block_on(commands::run(arguments, output));
    // A task that blocks, as a read of standard input does, must not keep the process.
    runtime.shutdown_background();
    exit
}

/// Prints diagnostics of the libraries to standard error.
fn diagnose(output: Output) {
    let level =
        std::env::var(LOG_VARIABLE).ok().and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::WARN);
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .with_ansi(output.live && output.style.colored)
        .with_target(level >= LevelFilter::DEBUG)
        .init();
}
