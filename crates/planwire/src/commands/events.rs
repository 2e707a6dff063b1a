//! `planwire events`: the log itself, once or for as long as somebody reads.

use planwire_event::{EventTypes, Filter, Position, Scope, StoredEvent};
use planwire_store::{PageLimits, PlanQuery, PlanScope};

use crate::args::{AfterArgument, EventsArguments};
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
    let filter = filter(arguments);
    if arguments.follow {
        return follow(filter, arguments.after, place, output).await;
    }
    let repository = place.require_reader()?;
    let info = repository.log_info().await?;
    let mut position = match arguments.after {
        AfterArgument::Start => Position::ZERO,
        AfterArgument::Now => info.head,
        AfterArgument::Cursor(cursor) => check_cursor(cursor, &info)?,
    };
    if let Some(plan) = &arguments.plan {
        let query = PlanQuery { scope: PlanScope::These(vec![plan.clone()]), ..PlanQuery::default() };
        if repository.plans(&query).await?.plans.is_empty() {
            return Err(unknown_plan(plan));
        }
    }
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

/// A plan that the log does not know.
pub(crate) fn unknown_plan(plan: &planwire_event::PlanId) -> Failure {
    Failure::failed(format!("plan {plan} is unknown")).hint("list plans with `planwire plans --all`")
}

fn filter(arguments: &EventsArguments) -> Filter {
    let scope = match (&arguments.plan, arguments.tree) {
        (None, _) => Scope::All,
        (Some(plan), false) => Scope::Plan(plan.clone()),
        (Some(plan), true) => Scope::Tree(plan.clone()),
    };
    let types = match arguments.types.as_slice() {
        [] => EventTypes::All,
        types => types.iter().cloned().collect(),
    };
    Filter { types, scope }
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
