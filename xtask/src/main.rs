//! Development commands: `cargo xtask test`, `coverage`, `faults`, `soak`, `bench`.
//!
//! - [`workspace`]: where things are, and what the environment asks for
//! - [`system`]: programs that Debian packages provide; lists or installs what is missing
//! - [`tools`]: cargo subcommands and the browser driver, installed below `target/tools`
//! - [`coverage`]: the instrumented build and the gate on covered lines
//! - [`lines`]: which lines of a file a coverage export calls covered
//! - [`report`]: the steps of a run with their times, counts and skips
//! - [`test`], [`faults`], [`soak`], [`bench`]: the commands
//!
//! **Invariant:** nothing is written outside `target/`, except system packages with `--install`.
#![expect(clippy::print_stdout, reason = "a development command talks to a person on standard output")]

mod bench;
mod coverage;
mod faults;
mod lines;
mod packages;
mod report;
mod soak;
mod system;
mod test;
mod tools;
mod workspace;

use std::process::ExitCode;

use workspace::Workspace;

const USAGE: &str = "\
Development commands

  cargo xtask test [--install]     all checks: format, lints, dependencies, tests, doc tests, coverage
                                   --install: also installs missing system packages (as root)
  cargo xtask coverage CRATE..     tests these crates and shows the lines that never ran
  cargo xtask faults [FILTER..]    brings faults about (root for most), one row each; FILTER: parts of test names
  cargo xtask soak [FILTER..]      the large counts, in release mode; FILTER: parts of test names
  cargo xtask bench [ARGS..]       the benchmark program; ARGS are passed on, --help tells them
                                   --against [--install]: beside what else could be used

Environment: CI=true turns everything skipped into a failure.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let workspace = Workspace::locate();
    let outcome = match words.as_slice() {
        ["test"] => test::run(&workspace, system::Missing::List),
        ["test", "--install"] => test::run(&workspace, system::Missing::Install),
        ["coverage", crates @ ..] if !crates.is_empty() => coverage::look(&workspace, crates),
        ["faults", filters @ ..] => faults::run(&workspace, filters),
        ["soak", filters @ ..] => soak::run(&workspace, filters),
        ["bench", rest @ ..] => bench::run(&workspace, rest),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(true)
        }
        _ => {
            println!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
