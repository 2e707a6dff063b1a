//! `planwire resume`: goes on with a plan whose process is gone, to its end.

use crate::access::Access;
use crate::args::ResumeArguments;
use crate::commands::run;
use crate::config::Settings;
use crate::failure::{Exit, Failure};
use crate::output::{Output, tell};
use crate::place::Place;

/// Goes on with the tree of a plan. Where a server holds the log it does so already, and the plan is followed there.
///
/// # Errors
///
/// If the plan is unknown, has ended, or is run by its publisher.
pub(crate) async fn resume(
    arguments: &ResumeArguments,
    settings: &Settings,
    place: &Place,
    output: Output,
) -> Result<Exit, Failure> {
    // What is not there is said before a log is made.
    place.require_reader()?;
    let begin = async |access: &Access| match access {
        Access::Here(house) => house.resume(&arguments.plan).await,
        Access::Server(_) => {
            tell("planwire: a server holds the log and goes on with its plans; following it there");
            Ok(arguments.plan.clone())
        }
    };
    run::until_end(settings, place, output, begin).await
}
