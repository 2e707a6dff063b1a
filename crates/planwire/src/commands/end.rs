//! `planwire end`: ends a plan whose publisher is gone, and all that is open below it first.

use planwire_bus::PublishError;
use planwire_event::state::{PlanState, TreeState};
use planwire_event::vocabulary::{
    Failure as EventFailure, FailureReason, PlanFailed, SubplanCompleted, ToolCompleted, TypedPayload,
};
use planwire_event::{
    Clock as _, Event, Filter, IdGenerator, PlanId, Position, Refusal, SystemClock, Timestamp,
};
use planwire_store::{EventRepository, PageLimits};
use serde_json::{Value, json};

use crate::access::Access;
use crate::args::{EndArguments, EndReason};
use crate::commands::events::unknown_plan;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::place::Place;
use crate::wiring::{House, OpenPlans, publish_failure};

/// Events that are published at once: what a server takes in one request.
const BATCH_EVENTS: usize = 1_000;

/// Ends a plan.
///
/// # Errors
///
/// If the plan is unknown, has ended, or is run by an executor.
pub(crate) async fn end(arguments: &EndArguments, place: &Place, output: Output) -> Result<Exit, Failure> {
    let tree = read(place.require_reader()?.as_ref(), &arguments.plan).await?;
    let plan = tree.plan(&arguments.plan).ok_or_else(|| unknown_plan(&arguments.plan))?;
    if plan.is_ended() {
        return Err(Failure::failed(format!("plan {} has ended already", plan.plan_id)));
    }
    let reason = reason(arguments.reason);
    let ending =
        Ending { reason, message: &arguments.message, ids: &IdGenerator::system(), now: SystemClock.now() };
    let events = ending.events(&tree)?;
    match Access::open_log(place).await? {
        Access::Server(client) => {
            for batch in events.chunks(BATCH_EVENTS) {
                let batch: Vec<Value> = batch.iter().map(wire).collect();
                client.post("/v1/events", &json!({ "events": batch })).await?;
            }
        }
        Access::Here(house) => publish_here(*house, &events).await?,
    }
    let ended = tree.plans().filter(|plan| !plan.is_ended()).count();
    if output.json {
        output.json(&json!({ "plan_id": arguments.plan, "ended": ended, "reason": reason.as_str() }))?;
    } else {
        output.line(&format!(
            "plan {} ended as {}; plans ended: {ended}",
            arguments.plan,
            reason.as_str()
        ))?;
    }
    Ok(Exit::Completed)
}

async fn publish_here(house: House, events: &[Event]) -> Result<(), Failure> {
    let mut published = Ok(());
    for batch in events.chunks(BATCH_EVENTS) {
        published = house.publisher().publish_all(batch.to_vec()).await.map(drop).map_err(unended);
        if published.is_err() {
            break;
        }
    }
    house.end(None, OpenPlans::Left).await;
    published
}

/// A plan of an executor is ended by its like, which nobody here is.
fn unended(error: PublishError) -> Failure {
    let owned = matches!(error, PublishError::Rejected { refusal: Refusal::NotOwner { .. }, .. });
    let failure = publish_failure(error);
    if !owned {
        return failure;
    }
    failure.hint(
        "if that one is gone, `planwire cancel` and then `planwire resume` or `planwire serve` end the plan",
    )
}

const fn reason(reason: EndReason) -> FailureReason {
    match reason {
        EndReason::Interrupted => FailureReason::Interrupted,
        EndReason::Error => FailureReason::Error,
        EndReason::Cancelled => FailureReason::Cancelled,
        EndReason::TimedOut => FailureReason::TimedOut,
    }
}

async fn read(repository: &dyn EventRepository, plan: &PlanId) -> Result<TreeState, Failure> {
    let filter = Filter::tree(plan.clone());
    let (mut tree, mut position) = (TreeState::new(), Position::ZERO);
    loop {
        let page = repository.read_after(position, &filter, PageLimits::default()).await?;
        page.events.iter().for_each(|event| tree.apply(event));
        if page.at_head {
            return Ok(tree);
        }
        position = page.scanned_to;
    }
}

/// The five members of an event, as a publisher sends them.
fn wire(event: &Event) -> Value {
    json!({
        "event_id": event.event_id(),
        "event_type": event.event_type(),
        "plan_id": event.plan_id(),
        "timestamp": event.timestamp().to_string(),
        "payload": event.payload(),
    })
}

/// How open plans end.
struct Ending<'a> {
    reason: FailureReason,
    message: &'a str,
    ids: &'a IdGenerator,
    now: Timestamp,
}

impl Ending<'_> {
    /// The events that end every open plan of `tree`, leaves first.
    fn events(&self, tree: &TreeState) -> Result<Vec<Event>, Failure> {
        let mut open: Vec<&PlanState> = tree.plans().filter(|plan| !plan.is_ended()).collect();
        open.sort_by_key(|plan| std::cmp::Reverse(plan.depth));
        let mut events = Vec::new();
        for plan in open {
            let duration_ms = self.now.millis_since(plan.started_at);
            for call in plan.open_calls.values() {
                let completed = ToolCompleted {
                    call_id: call.call_id.clone(),
                    step: call.step.clone(),
                    tool: call.tool.clone(),
                    ok: false,
                    output: None,
                    error: Some(self.failure()),
                    truncated: false,
                    duration_ms: self.now.millis_since(call.called_at),
                    attempt: call.attempt,
                    usage: call.reserved.map(|reserved| reserved.as_usage()),
                };
                events.push(self.event(&plan.plan_id, &completed)?);
            }
            let failed = PlanFailed {
                reason: self.reason,
                error: self.failure(),
                duration_ms,
                limit: None,
                usage: None,
            };
            events.push(self.event(&plan.plan_id, &failed)?);
            let parent = plan.parent_plan_id.as_ref().and_then(|parent| tree.plan(parent));
            if let Some(parent) = parent.filter(|parent| !parent.is_ended()) {
                let completed = SubplanCompleted {
                    child_plan_id: plan.plan_id.clone(),
                    ok: false,
                    outputs: None,
                    error: Some(self.failure()),
                    duration_ms,
                    limit: None,
                    usage: None,
                };
                events.push(self.event(&parent.plan_id, &completed)?);
            }
        }
        Ok(events)
    }

    fn failure(&self) -> EventFailure {
        EventFailure { code: self.reason.as_str().to_owned(), message: self.message.to_owned(), step: None }
    }

    fn event<T: TypedPayload>(&self, plan: &PlanId, payload: &T) -> Result<Event, Failure> {
        Event::of(self.ids, &SystemClock, plan.clone(), payload)
            .map_err(|error| Failure::new(Exit::Usage, error))
    }
}
