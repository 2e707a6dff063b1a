//! The commands, one file each. Each takes its arguments, the data place and the output, and says how to exit.

pub(crate) mod cancel;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod end;
pub(crate) mod events;
pub(crate) mod plans;
pub(crate) mod publish;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod show;

use crate::args::{Arguments, Command};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::place::Place;

/// Does what the command line says.
///
/// # Errors
///
/// [`Failure`] knows its exit code.
pub(crate) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let place = || Place::find(arguments.global.data.clone());
    match &arguments.command {
        Command::Plans(arguments) => plans::plans(arguments, &place()?, output).await,
        Command::Show(arguments) => show::show(arguments, &place()?, output).await,
        Command::Events(arguments) => events::events(arguments, &place()?, output).await,
        Command::Publish(arguments) => publish::publish(arguments, &place()?, output).await,
        Command::Cancel(arguments) => cancel::cancel(arguments, &place()?, output).await,
        Command::End(arguments) => end::end(arguments, &place()?, output).await,
        Command::Check(arguments) => check::check(arguments, output),
        Command::Schema(arguments) => schema::print(arguments, output),
        Command::Demo(arguments) => demo::demo(arguments, &place()?, output).await,
        Command::Run(arguments) => run::run(arguments, &place()?, output).await,
        Command::Serve(arguments) => serve::serve(arguments, &place()?, output).await,
    }
}
