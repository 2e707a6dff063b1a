//! `planwire cancel`: asks a plan and all below it to end.

use serde_json::json;

use crate::access::Access;
use crate::args::CancelArguments;
use crate::commands::events::unknown_plan;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::place::Place;
use crate::wiring::{OpenPlans, Steering};
use planwire_store::{PlanQuery, PlanScope};

/// Asks a plan to end. Whoever runs it ends it; this does not wait.
///
/// # Errors
///
/// If the plan is unknown or has ended.
pub(crate) async fn cancel(
    arguments: &CancelArguments,
    place: &Place,
    output: Output,
) -> Result<Exit, Failure> {
    let plan = &arguments.plan;
    let repository = place.require_reader()?;
    let query = PlanQuery { scope: PlanScope::These(vec![plan.clone()]), ..PlanQuery::default() };
    if repository.plans(&query).await?.plans.is_empty() {
        return Err(unknown_plan(plan));
    }
    match Access::open_log(place).await? {
        Access::Server(client) => {
            Steering::Server(client).cancel(plan, &arguments.reason).await?;
            tell(arguments, output, true)
        }
        Access::Here(house) => {
            let asked =
                Steering::Bus(house.publisher(), house.ids.clone()).cancel(plan, &arguments.reason).await;
            house.end(None, OpenPlans::Left).await;
            asked?;
            tell(arguments, output, false)
        }
    }
}

fn tell(arguments: &CancelArguments, output: Output, served: bool) -> Result<Exit, Failure> {
    let plan = &arguments.plan;
    if output.json {
        output.json(&json!({ "plan_id": plan, "cancel_requested": true }))?;
    } else if served {
        output.line(&format!("plan {plan} was asked to end"))?;
    } else {
        output
            .line(&format!("plan {plan} was asked to end, but nobody runs it here (see `planwire end`)"))?;
    }
    Ok(Exit::Completed)
}
