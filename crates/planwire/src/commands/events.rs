//! `planwire events`: the log itself, once or for as long as somebody reads.

use planwire_event::{Filter, PlanId, Position, StoredEvent};
use planwire_store::{EventRepository, LogInfo, PageLimits, PlanQuery, PlanScope};

use crate::args::{AfterArgument, EventsArguments, Selection};
use crate::failure::{Exit, Failure};
use crate::follow::{Follower, From, PlaceFollower, check_cursor};
use crate::line;
use crate::output::Output;
use crate::place::Place;
use crate::signals::Signals;

/// Prints events.
///
/// # Errors
///
/// If the log cannot be read, or the plan is unknown.
pub(crate) async fn events(
    arguments: &EventsArguments,
    place: &Place,
    output: Output,
) -> Result<Exit, Failure> {
    let filter = arguments.selection.filter();
    if arguments.follow {
        return follow(filter, arguments.selection.after, place, output).await;
    }
    let repository = place.require_reader()?;
    let info = repository.log_info().await?;
    let mut position = begin(&arguments.selection, &*repository, &info).await?;
    loop {
        let page = repository.read_after(position, &filter, PageLimits::default()).await?;
        page.events.iter().try_for_each(|event| print(event, output))?;
        // What is written while this runs is for `--follow`.
        if page.at_head || page.scanned_to >= info.head {
            return Ok(Exit::Completed);
        }
        position = page.scanned_to;
    }
}

/// The position after which a selection begins.
///
/// # Errors
///
/// Exit code 2 if its cursor does not hold here, 1 if its plan is unknown.
pub(crate) async fn begin(
    selection: &Selection,
    repository: &dyn EventRepository,
    info: &LogInfo,
) -> Result<Position, Failure> {
    if let Some(plan) = &selection.plan {
        let query = PlanQuery { scope: PlanScope::These(vec![plan.clone()]), ..PlanQuery::default() };
        if repository.plans(&query).await?.plans.is_empty() {
            return Err(unknown_plan(plan));
        }
    }
    match selection.after {
        AfterArgument::Start => Ok(Position::ZERO),
        AfterArgument::Now => Ok(info.head),
        AfterArgument::Cursor(cursor) => check_cursor(cursor, info),
    }
}

/// A plan that the log does not know.
pub(crate) fn unknown_plan(plan: &PlanId) -> Failure {
    Failure::failed(format!("plan {plan} is unknown")).hint("list plans with `planwire plans --all`")
}

async fn follow(
    filter: Filter,
    after: AfterArgument,
    place: &Place,
    output: Output,
) -> Result<Exit, Failure> {
    let from = match after {
        AfterArgument::Start => From::Start,
        AfterArgument::Now => From::Now,
        AfterArgument::Cursor(cursor) => From::After(cursor),
    };
    let mut signals = Signals::catch()?;
    let mut follower = Follower::Place(Box::new(PlaceFollower::new(place.clone(), filter, from, None)));
    loop {
        tokio::select! {
            event = follower.next() => match event? {
                Some(event) => print(&event, output)?,
                None => return Ok(Exit::Completed),
            },
            // Whoever follows without end ends it so; that is how it is meant.
            _ = signals.next() => return Ok(Exit::Cancelled),
        }
    }
}

fn print(event: &StoredEvent, output: Output) -> Result<(), Failure> {
    output.line(&if output.json { event.to_json() } else { line::in_log(event, output.style) })
}
