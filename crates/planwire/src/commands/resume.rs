//! `planwire resume`: goes on with a plan that was paused or whose process is gone, to its end.

use planwire_event::{EventType, EventTypes, PlanId, Position};
use planwire_store::{EventRepository, PageLimits};

use crate::access::Access;
use crate::args::ResumeArguments;
use crate::commands::run;
use crate::config::Settings;
use crate::failure::{Exit, Failure};
use crate::output::{Output, tell};
use crate::place::Place;
use crate::wiring::{Request, Steering};

/// Goes on with the tree of a plan. Where a process that is alive runs it, that does so, and the plan is followed there.
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
    let is_paused = is_paused(place.require_reader()?.as_ref(), &arguments.plan).await?;
    let begin = async |access: &Access| {
        let (root, steering) = match access {
            Access::Here(house) => {
                (house.resume(&arguments.plan).await?, Steering::Bus(house.publisher(), house.ids.clone()))
            }
            Access::Server(client) => (None, Steering::Server(client.clone())),
        };
        // Last, since it may end soon then.
        if is_paused {
            steering.ask(&arguments.plan, Request::Resume, "").await?;
        }
        Ok(root.unwrap_or_else(|| {
            tell("planwire: a process that is alive goes on with the plan; following it there");
            arguments.plan.clone()
        }))
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
