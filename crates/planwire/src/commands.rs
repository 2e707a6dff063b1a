//! The commands, one file each. Each takes its arguments, the data place and the output, and says how to exit.

pub(crate) mod accept_loss;
pub(crate) mod answer;
pub(crate) mod ask;
pub(crate) mod attest;
pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod decisions;
pub(crate) mod demo;
pub(crate) mod end;
pub(crate) mod events;
pub(crate) mod export;
pub(crate) mod graph;
pub(crate) mod import;
pub(crate) mod move_to;
pub(crate) mod plans;
pub(crate) mod publish;
pub(crate) mod redact;
pub(crate) mod restore;
pub(crate) mod resume;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod show;
pub(crate) mod verify;
pub(crate) mod verify_export;

use crate::args::{Arguments, Command};
use crate::config::Settings;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::place::Place;
use crate::wiring::Request;

/// Does what the command line says.
///
/// # Errors
///
/// [`Failure`] knows its exit code.
pub(crate) async fn run(arguments: Arguments, settings: Settings, output: Output) -> Result<Exit, Failure> {
    let place = || {
        Place::find(settings.config.data.clone()).map(|place| place.with_database(settings.config.db.clone()))
    };
    match &arguments.command {
        Command::Plans(arguments) => plans::plans(arguments, &place()?, output).await,
        Command::Show(arguments) => show::show(arguments, &place()?, output).await,
        Command::Events(arguments) => events::events(arguments, &place()?, output).await,
        Command::Publish(arguments) => publish::publish(arguments, &place()?, output).await,
        Command::Export(arguments) => export::export(arguments, &place()?, output).await,
        Command::Import(arguments) => import::import(arguments, &place()?, output).await,
        Command::Answer(arguments) => answer::answer(arguments, &place()?, output).await,
        Command::Cancel(arguments) => ask::ask(arguments, Request::Cancel, &place()?, output).await,
        Command::Pause(arguments) => ask::ask(arguments, Request::Pause, &place()?, output).await,
        Command::End(arguments) => end::end(arguments, &place()?, output).await,
        Command::Redact(arguments) => redact::redact(arguments, &place()?, output).await,
        Command::Verify(arguments) => verify::verify(arguments, &place()?, output).await,
        Command::Attest(arguments) => attest::attest(arguments, &place()?, output).await,
        Command::AcceptLoss(arguments) => accept_loss::accept_loss(arguments, &place()?, output),
        Command::Backup(arguments) => backup::backup(arguments, &place()?, output),
        Command::Restore(arguments) => restore::restore(arguments, &place()?, output),
        Command::Move(arguments) => move_to::move_to(arguments, &place()?, output),
        Command::Graph(arguments) => graph::graph(arguments, place, output).await,
        Command::Decisions(arguments) => decisions::decisions(arguments, &place()?, output).await,
        Command::Check(arguments) => check::check(arguments, &settings, output),
        Command::Schema(arguments) => schema::print(arguments, output),
        Command::Config(arguments) => config::print(arguments, &settings, output),
        Command::Completions(arguments) => completions::print(arguments, output),
        Command::Demo(arguments) => demo::demo(arguments, &settings, &place()?, output).await,
        Command::Run(arguments) => run::run(arguments, &settings, &place()?, output).await,
        Command::Resume(arguments) => resume::resume(arguments, &settings, &place()?, output).await,
        Command::Serve(_) => serve::serve(&settings, &place()?, output).await,
    }
}
