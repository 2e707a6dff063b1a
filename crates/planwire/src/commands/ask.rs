//! `planwire cancel` and `planwire pause`: ask a plan and all below it to end, or to begin nothing new.

use serde_json::json;

use crate::access::Access;
use crate::args::AskArguments;
use crate::commands::events::unknown_plan;
use crate::failure::{Exit, Failure};
use crate::output::{Output, tell};
use crate::place::Place;
use crate::wiring::{OpenPlans, Request, Steering};
use planwire_event::PlanId;
use planwire_store::{PlanQuery, PlanScope};

/// Asks something of a plan. Whoever runs it does what is asked; this does not wait.
///
/// # Errors
///
/// If the plan is unknown or has ended.
pub(crate) async fn ask(
    arguments: &AskArguments,
    request: Request,
    place: &Place,
    output: Output,
) -> Result<Exit, Failure> {
    let plan = &arguments.plan;
    let served = publish(plan, request, &arguments.reason, place).await?;
    if output.json {
        output.json(&json!({ "plan_id": plan, format!("{}_requested", request.as_str()): true }))?;
        return Ok(Exit::Completed);
    }
    output.line(&format!("plan {plan} was asked to {}", meaning(request)))?;
    if !served {
        tell("planwire: nobody runs it here now; whoever goes on with it does as asked");
    }
    Ok(Exit::Completed)
}

const fn meaning(request: Request) -> &'static str {
    match request {
        Request::Cancel => "end",
        Request::Pause => "begin nothing new",
        Request::Resume => "go on",
    }
}

/// Publishes a request about a plan; says whether a server holds the log.
///
/// # Errors
///
/// If the plan is unknown or has ended.
async fn publish(plan: &PlanId, request: Request, reason: &str, place: &Place) -> Result<bool, Failure> {
    let repository = place.require_reader()?;
    let query = PlanQuery { scope: PlanScope::These(vec![plan.clone()]), ..PlanQuery::default() };
    if repository.plans(&query).await?.plans.is_empty() {
        return Err(unknown_plan(plan));
    }
    match Access::open_log(place).await? {
        Access::Server(client) => {
            Steering::Server(client).ask(plan, request, reason).await?;
            Ok(true)
        }
        Access::Here(house) => {
            let asked = Steering::Bus(house.publisher(), house.ids.clone()).ask(plan, request, reason).await;
            house.end(None, OpenPlans::Left).await;
            asked.map(|()| false)
        }
    }
}
