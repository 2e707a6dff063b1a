//! CancelTask: asks the owner to end the plan and waits for that.

use std::sync::Arc;
use std::time::Duration;

use planwire_bus::{Item, StartAt};
use planwire_event::{EventType, Filter, PlanId};

use super::{asked, fold};
use crate::a2a::error::{A2aError, ErrorKind};
use crate::a2a::fold::TaskFold;
use crate::app::App;
use crate::ask::{Ask, AskFault, ask};

/// Milliseconds that the answer to CancelTask waits for the plan's end. Less than the 5 s after which common clients
/// give up.
pub(crate) const CANCEL_WAIT_MS: u64 = 4_000;

pub(super) async fn cancel(app: &Arc<App>, plan: &PlanId) -> Result<Arc<TaskFold>, A2aError> {
    if fold(app, plan).await?.is_terminal() {
        return Err(not_cancelable(plan));
    }
    let asker = asked::asker(String::new(), None);
    let published = ask(app, plan, Ask::Cancel, asker).await.map_err(|fault| match fault {
        AskFault::PlanEnded => not_cancelable(plan),
        other => asked::refused(plan, other),
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
