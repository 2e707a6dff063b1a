//! What a message asks of its task under our extension: that it pause, or go on.
//!
//! Such a message answers no question, and its answer is the task as it stands once the request is on disk.

use planwire_event::{EventId, PlanId};
use serde_json::Value;

use crate::a2a::error::{A2aError, ErrorKind};
use crate::a2a::request::Send;
use crate::a2a::routing;
use crate::a2a::wire::EXTENSION;
use crate::app::PRINCIPAL;
use crate::ask::{Ask, AskFault, Asker};

/// What can be asked for, by the names that messages have for it. CancelTask has a method of its own.
pub(crate) const REQUESTS: [(&str, Ask); 2] = [("pause", Ask::Pause), ("resume", Ask::Resume)];

/// What the metadata of a message ask of its task, and why.
///
/// # Errors
///
/// InvalidParams if it is none of [`REQUESTS`], if no task is named, or if a question is named, which a request does
/// not answer.
pub(super) fn of(request: &Send) -> Result<Option<(Ask, String)>, A2aError> {
    let message = &request.message;
    let about = message.metadata.as_ref().and_then(|metadata| metadata.get(EXTENSION));
    let member = |name: &str| about.and_then(|about| about.get(name)).filter(|value| !value.is_null());
    let Some(named) = member("request") else { return Ok(None) };
    let unfit = |name: &str, what: &str| {
        Err(A2aError::field(format!("message.metadata[\"{EXTENSION}\"].{name}"), what))
    };
    let Some((_, ask)) = REQUESTS.into_iter().find(|(name, _)| named == name) else {
        let names = REQUESTS.map(|(name, _)| name);
        return unfit("request", &format!("must be one of {}", names.join(", ")));
    };
    if request.naming.request_id.is_some() {
        return unfit("requestId", "names a question; a request answers none");
    }
    if request.task.is_none() {
        return Err(A2aError::field("message.taskId", "is required: the task that the request is about"));
    }
    let reason = match member("reason") {
        Some(Value::String(reason)) => reason.clone(),
        Some(_) => return unfit("reason", "must be a string"),
        None => routing::text(message).unwrap_or_default(),
    };
    Ok(Some((ask, reason)))
}

/// Who asks over A2A.
pub(super) fn asker(reason: String, event_id: Option<EventId>) -> Asker {
    Asker { requested_by: format!("a2a:{PRINCIPAL}"), reason, event_id }
}

pub(super) fn refused(plan: &PlanId, fault: AskFault) -> A2aError {
    match fault {
        AskFault::PlanUnknown => A2aError::task_not_found(plan.as_str()),
        AskFault::PlanEnded => {
            A2aError::new(ErrorKind::UnsupportedOperation, format!("task {plan} has ended"))
                .with("taskId", plan.as_str())
        }
        AskFault::Malformed(error) => A2aError::field("message", error.to_string()),
        AskFault::Publish(error) => A2aError::from(error).with("taskId", plan.as_str()),
    }
}
