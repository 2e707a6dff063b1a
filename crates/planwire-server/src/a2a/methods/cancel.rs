//! Cancelling: asks that a plan end, waits for it a while, and answers with the task as it then is.
//!
//! The owner of a plan ends it. A plan without an owner, one that somebody else publishes, ends if its publisher reads
//! the request; where nobody does, the answer after [`CANCEL_WAIT_MS`] is the task as it is, which still runs.

use std::sync::Arc;
use std::time::Duration;

use planwire_bus::{Item, PublishError, StartAt};
use planwire_event::vocabulary::CancelRequested;
use planwire_event::{Event, EventType, Filter, PlanId, Refusal};

use super::fold;
use crate::a2a::error::{A2aError, ErrorKind};
use crate::a2a::fold::TaskFold;
use crate::app::{App, PRINCIPAL};

/// Milliseconds that the answer to CancelTask waits for the plan's end. Less than the 5 s after which common clients
/// give up.
pub(crate) const CANCEL_WAIT_MS: u64 = 4_000;

pub(super) async fn cancel(app: &Arc<App>, plan: &PlanId) -> Result<Arc<TaskFold>, A2aError> {
    if fold(app, plan).await?.is_terminal() {
        return Err(not_cancelable(plan));
    }
    let payload = CancelRequested { requested_by: format!("a2a:{PRINCIPAL}"), reason: String::new() };
    let event = Event::of(&app.config.ids, &*app.config.clock, plan.clone(), &payload)
        .map_err(|error| A2aError::new(ErrorKind::InternalError, error.to_string()))?;
    let published = app.publisher.publish(event).await.map_err(|error| match error {
        PublishError::Rejected { refusal: Refusal::PlanEnded { .. }, .. } => not_cancelable(plan),
        other => other.into(),
    })?;
    let ends = Filter::plan(plan.clone()).with_types([EventType::PlanCompleted, EventType::PlanFailed]);
    let mut events = app.bus.stream(ends, StartAt::After(published.cursor)).await?;
    let ended = async {
        while let Ok(Some(item)) = events.next().await {
            if matches!(item, Item::Event(_)) {
                return;
            }
        }
    };
    tokio::select! {
        () = ended => {}
        () = app.closing.begun() => {}
        () = tokio::time::sleep(Duration::from_millis(CANCEL_WAIT_MS)) => {}
    }
    fold(app, plan).await
}

fn not_cancelable(plan: &PlanId) -> A2aError {
    A2aError::new(ErrorKind::TaskNotCancelable, format!("task {plan} has ended"))
        .with("taskId", plan.as_str())
}
