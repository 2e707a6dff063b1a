//! `planwire resume`: goes on with a plan that was paused or whose process is gone, to its end.

use planwire_event::{EventType, EventTypes, PlanId, Position};
use planwire_store::{EventRepository, PageLimits};

use crate::access::Access;
use crate::args::ResumeArguments;
use crate::commands::{ask, run};
use crate::config::Settings;
use crate::failure::{Exit, Failure};
use crate::output::{Output, tell};
use crate::place::Place;
use crate::wiring::Request;

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
    if is_paused(place.require_reader()?.as_ref(), &arguments.plan).await? {
        ask::publish(&arguments.plan, Request::Resume, "", place).await?;
    }
    let begin = async |access: &Access| match access {
        Access::Here(house) => house.resume(&arguments.plan).await,
        Access::Server(_) => {
            tell("planwire: a server holds the log and goes on with its plans; following it there");
            Ok(arguments.plan.clone())
        }
    };
    run::until_end(settings, place, output, begin).await
}

/// Whether somebody asked that the plan pause.
async fn is_paused(repository: &dyn EventRepository, plan: &PlanId) -> Result<bool, Failure> {
    let types: EventTypes = [EventType::PauseRequested, EventType::ResumeRequested].into_iter().collect();
    let (mut is_paused, mut after) = (false, Position::ZERO);
    loop {
        let page = repository.list_by_plan(plan, types.clone(), after, PageLimits::default()).await?;
        if let Some(last) = page.events.last() {
            is_paused = *last.event.event_type() == EventType::PauseRequested;
        }
        if page.at_head {
            return Ok(is_paused);
        }
        after = page.scanned_to;
    }
}
