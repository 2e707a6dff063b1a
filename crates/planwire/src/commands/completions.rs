//! `planwire completions`: what a shell needs to complete the command line.

use clap::CommandFactory as _;
use clap_complete::generate;

use crate::args::{Arguments, CompletionsArguments, ShellName};
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// Prints the script of a shell.
///
/// # Errors
///
/// If nobody reads it.
pub(crate) fn print(arguments: &CompletionsArguments, output: Output) -> Result<Exit, Failure> {
    let mut command = Arguments::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    match arguments.shell {
        ShellName::Bash => generate(clap_complete::Shell::Bash, &mut command, name, &mut script),
        ShellName::Zsh => generate(clap_complete::Shell::Zsh, &mut command, name, &mut script),
        ShellName::Fish => generate(clap_complete::Shell::Fish, &mut command, name, &mut script),
    }
    output.raw(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Completed)
}
