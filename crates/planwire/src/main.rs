//! The command `planwire`: runs plans, stores and serves their events, shows them live.
//!
//! - [`args`], [`commands`]: what people type and what comes of it
//! - [`config`]: what it is told by a file, by variables and by flags
//! - [`wiring`], [`access`]: joins log, bus, engine and server; or uses those of another process
//! - [`documents`]: the plans that come with it and those that people name
//! - [`place`]: where the log lies and who holds it
//! - [`lines`], [`new_file`]: files that are read line by line, and files that are there whole or not at all
//! - [`follow`], [`client`]: events as they come, from this process, a server or the file
//! - [`watch`], [`line`], [`output`], [`progress`]: what people see
//! - [`failure`], [`signals`]: how a command ends

mod access;
mod args;
mod client;
mod commands;
mod config;
mod documents;
mod failure;
mod follow;
mod graph;
mod line;
mod lines;
mod new_file;
mod output;
mod place;
mod progress;
mod signals;
mod watch;
mod wiring;

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::writer::MakeWriterExt as _;

use crate::args::Arguments;
use crate::config::{Settings, environment};
use crate::failure::{Exit, Failure};
use crate::output::{Output, escape, tell};

fn main() -> ExitCode {
    // A tool waits for this, and what comes below costs time.
    if let Some(exit) = planwire_engine::tool_init::intercept(std::env::args_os()) {
        return exit;
    }
    let arguments = Arguments::parse();
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
    let settings = settings(&arguments)?;
    diagnose(settings.config.log, output);
    for warning in &settings.warnings {
        tracing::warn!("{}", escape(warning));
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_all().on_thread_start(planwire_server::prepare_thread).build()?;
    let exit = runtime.block_on(commands::run(arguments, settings, output));
    // A task that blocks, as a read of standard input does, must not keep the process.
    runtime.shutdown_background();
    exit
}

/// Reads the configuration, if the command needs it.
fn settings(arguments: &Arguments) -> Result<Settings, Failure> {
    if arguments.needs_no_config() {
        return Ok(Settings::default());
    }
    let settings = Settings::load(arguments.global.config.as_deref(), &environment(), &arguments.flags());
    // A document can be checked beside a broken configuration; only the names of MCP servers are not known then.
    if arguments.goes_without_config() { Ok(settings.unwrap_or_default()) } else { settings }
}

/// Prints diagnostics of the libraries to standard error.
fn diagnose(level: &str, output: Output) {
    let level = level.parse().unwrap_or(LevelFilter::WARN);
    tracing_subscriber::fmt()
        // Its diagnostics hold whole messages, arguments with secrets among them.
        .with_writer(std::io::stderr.with_filter(|of| !of.target().starts_with("rmcp")))
        // It would be told on standard error, and by a panic where nobody reads that any more.
        .log_internal_errors(false)
        .with_max_level(level)
        .with_ansi(output.live && output.style.colored)
        .with_target(level >= LevelFilter::DEBUG)
        .init();
}
