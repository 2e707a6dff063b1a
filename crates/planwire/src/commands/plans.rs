//! `planwire plans`: the plans of the log, newest first.

use planwire_event::vocabulary::FailureReason;
use planwire_event::{Clock as _, PlanStatus, SystemClock};
use planwire_store::{PlanQuery, PlanRow, PlanScope};
use serde_json::{Value, json};

use crate::args::PlansArguments;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Paint, cut, duration, escape};
use crate::place::Place;

/// Plans that one question to the store asks for.
const PAGE_PLANS: usize = 500;
/// Characters of a plan's name in the list.
const NAME_CHARS: usize = 28;

/// Lists plans.
///
/// # Errors
///
/// If the log cannot be read.
pub(crate) async fn plans(
    arguments: &PlansArguments,
    place: &Place,
    output: Output,
) -> Result<Exit, Failure> {
    let Some(repository) = place.open_reader()? else {
        return empty(arguments, place, output);
    };
    let scope = if arguments.all { PlanScope::All } else { PlanScope::Roots };
    let mut query = PlanQuery { scope, open_only: arguments.open, ..PlanQuery::default() };
    let mut left = arguments.limit;
    let mut any = false;
    while left > 0 {
        query.limit = left.min(PAGE_PLANS);
        let page = repository.plans(&query).await?;
        for plan in &page.plans {
            any = true;
            if output.json {
                output.json(&object(plan))?;
            } else {
                output.line(&row(plan, output))?;
            }
        }
        left -= page.plans.len().min(left);
        query.after = page.next;
        if page.next.is_none() {
            break;
        }
    }
    if any { Ok(Exit::Completed) } else { empty(arguments, place, output) }
}

fn empty(arguments: &PlansArguments, place: &Place, output: Output) -> Result<Exit, Failure> {
    if !output.json && arguments.limit > 0 {
        let folder = escape(&place.name());
        let plans = if arguments.open { "open plans" } else { "plans" };
        crate::output::tell(&format!("planwire: no {plans} in {folder} (--data DIR names another place)"));
    }
    Ok(Exit::Completed)
}

/// A plan as an object. Places are positions here, where the HTTP API has cursors.
fn object(plan: &PlanRow) -> Value {
    json!({
        "plan_id": plan.plan_id,
        "root_plan_id": plan.root_plan_id,
        "parent_plan_id": plan.parent_plan_id,
        "depth": plan.depth,
        "name": plan.name,
        "context_id": plan.context_id,
        "document_digest": plan.document_digest,
        "state": plan.status.state(),
        "reason": plan.status.reason(),
        "first_position": plan.first_position,
        "last_position": plan.last_position,
        "last_seq": plan.last_seq,
        "started_at": plan.started_at,
        "ended_at": plan.ended_at,
        "owner": plan.owner,
    })
}

fn row(plan: &PlanRow, output: Output) -> String {
    let (paint, word) = match plan.status {
        PlanStatus::Open => (Paint::Active, "open"),
        PlanStatus::Completed => (Paint::Good, "completed"),
        PlanStatus::Failed(FailureReason::Error) => (Paint::Bad, "failed"),
        PlanStatus::Failed(reason) => (Paint::Bad, reason.as_str()),
    };
    let end = plan.ended_at.unwrap_or_else(|| SystemClock.now());
    let indent = "  ".repeat(usize::try_from(plan.depth).unwrap_or(0).min(8));
    let name = cut(&format!("{indent}{}", escape(&plan.name)), NAME_CHARS);
    let started: String = plan.started_at.to_string().replace('T', " ").chars().take(19).collect();
    format!(
        "{}  {}  {name:<NAME_CHARS$}  {started}  {}",
        plan.plan_id,
        output.style.paint(paint, &format!("{word:<14}")),
        duration(end.millis_since(plan.started_at))
    )
}
