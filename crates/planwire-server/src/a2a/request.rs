//! What a client asks for: the parameters of every method, checked.
//!
//! Both bindings bring their parameters as one JSON object with the names of the specification; REST makes it of
//! path, query and body. **Invariant:** what does not fit is refused before anything happens, and all of it is named at
//! once.

mod members;
mod message;
mod names;

use std::sync::Arc;

use planwire_event::{PlanId, Timestamp};
use serde_json::{Map, Value};

use super::error::{A2aError, ErrorKind};
use super::wire::{Message, TaskState};
use members::Members;

pub(crate) use message::Naming;
pub(crate) use names::of_parameter;

/// The tenant of the only log there is; it need not be named.
pub(crate) const TENANT: &str = "default";

/// Tasks of a page at most, and where the request does not say.
pub(crate) const PAGE_TASKS_MAX: u32 = 100;
const PAGE_TASKS_DEFAULT: u32 = 50;

/// Bytes of a context id.
pub(crate) const CONTEXT_ID_BYTES_MAX: usize = 128;

/// Output modes that a request may name.
const OUTPUT_MODES_MAX: usize = 64;

/// Bytes of a page token; ours are shorter.
pub(crate) const PAGE_TOKEN_BYTES_MAX: usize = 512;

/// The methods, by their names in JSON-RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    SendMessage,
    SendStreamingMessage,
    GetTask,
    ListTasks,
    CancelTask,
    SubscribeToTask,
    /// The four methods of push notifications, which we refuse alike.
    PushNotificationConfig,
    GetExtendedAgentCard,
}

impl Method {
    /// The method of a name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "SendMessage" => Self::SendMessage,
            "SendStreamingMessage" => Self::SendStreamingMessage,
            "GetTask" => Self::GetTask,
            "ListTasks" => Self::ListTasks,
            "CancelTask" => Self::CancelTask,
            "SubscribeToTask" => Self::SubscribeToTask,
            "CreateTaskPushNotificationConfig"
            | "GetTaskPushNotificationConfig"
            | "ListTaskPushNotificationConfigs"
            | "DeleteTaskPushNotificationConfig" => Self::PushNotificationConfig,
            "GetExtendedAgentCard" => Self::GetExtendedAgentCard,
            _ => return None,
        })
    }
}

/// A request that can be carried out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operation {
    Send(Box<Send>),
    SendStreaming(Box<Send>),
    Get { task: PlanId, history_length: Option<u32> },
    List(List),
    Cancel { task: PlanId },
    Subscribe { task: PlanId },
}

/// Parameters of SendMessage and SendStreamingMessage.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Send {
    pub(crate) message: Message,
    /// The message as it came, with members that we do not know.
    pub(crate) message_json: Value,
    /// Which question of a task it answers.
    pub(crate) naming: Naming,
    /// The task that it belongs to.
    pub(crate) task: Option<PlanId>,
    /// Media types that the client takes; empty: any.
    pub(crate) accepted_output_modes: Vec<String>,
    pub(crate) history_length: Option<u32>,
    pub(crate) return_immediately: bool,
}

/// Parameters of ListTasks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct List {
    pub(crate) context_id: Option<Arc<str>>,
    pub(crate) status: Option<TaskState>,
    pub(crate) page_size: u32,
    /// What the last page said; empty at the first.
    pub(crate) page_token: String,
    pub(crate) history_length: Option<u32>,
    /// Only tasks whose status is of this time or later.
    pub(crate) status_since: Option<Timestamp>,
    pub(crate) include_artifacts: bool,
}

/// Reads the parameters of a method, by their names in JSON or in the proto file.
///
/// # Errors
///
/// InvalidParams names every member that does not fit; a task id that cannot be one is a TaskNotFound.
pub(crate) fn parse(method: Method, mut params: Map<String, Value>) -> Result<Operation, A2aError> {
    match method {
        // Refused whatever the parameters say.
        Method::PushNotificationConfig => return Err(push_not_supported()),
        Method::GetExtendedAgentCard => {
            let message = "there is one card for all; it is at /.well-known/agent-card.json";
            return Err(A2aError::new(ErrorKind::UnsupportedOperation, message));
        }
        _ => {}
    }
    let twice = names::unify(&mut params);
    let mut members = Members::new(&params);
    for path in twice {
        members.violation(&path, "is given twice, also by its name in the proto file");
    }
    let tenant = members.text("tenant", members::TEXT_BYTES_MAX).unwrap_or_default();
    let is_ours = tenant.is_empty() || tenant == TENANT;
    match method {
        Method::SendMessage | Method::SendStreamingMessage | Method::ListTasks if !is_ours => {
            members.violation("tenant", "there is no such tenant");
        }
        _ => {}
    }
    if matches!(method, Method::SendMessage | Method::SendStreamingMessage) {
        let send = Box::new(send(members)?);
        return Ok(if method == Method::SendMessage {
            Operation::Send(send)
        } else {
            Operation::SendStreaming(send)
        });
    }
    if method == Method::ListTasks {
        return list(members).map(Operation::List);
    }
    let id = members.required_text("id");
    let history_length = members.count("historyLength");
    members.finish()?;
    let task = task_id(&id)?;
    if !is_ours {
        return Err(A2aError::task_not_found(&id));
    }
    Ok(match method {
        Method::CancelTask => Operation::Cancel { task },
        Method::SubscribeToTask => Operation::Subscribe { task },
        _ => Operation::Get { task, history_length },
    })
}

pub(crate) fn push_not_supported() -> A2aError {
    let message = "this agent sends no push notifications; subscribe to the task, also after a cut";
    A2aError::new(ErrorKind::PushNotificationNotSupported, message)
}

/// A text that is no plan id names no task.
fn task_id(text: &str) -> Result<PlanId, A2aError> {
    text.parse().map_err(|_| A2aError::task_not_found(text))
}

fn send(mut members: Members<'_>) -> Result<Send, A2aError> {
    let configuration = members.object("configuration");
    let mut accepted_output_modes = Vec::new();
    let (mut history_length, mut return_immediately, mut push) = (None, false, false);
    if let Some(configuration) = configuration {
        let mut inner = members.inner("configuration", configuration);
        accepted_output_modes = inner.texts("acceptedOutputModes", OUTPUT_MODES_MAX);
        history_length = inner.count("historyLength");
        return_immediately = inner.flag("returnImmediately");
        push = inner.is_given("taskPushNotificationConfig") || inner.is_given("pushNotificationConfig");
        members.take_violations(inner);
    }
    if let Some(metadata) = members.value("metadata")
        && !metadata.is_object()
    {
        members.violation("metadata", "must be an object");
    }
    let message = message::read(&mut members);
    members.finish()?;
    if push {
        return Err(push_not_supported());
    }
    let Some((message, message_json, naming)) = message else {
        return Err(A2aError::field("message", "is missing"));
    };
    let task = message.task_id.as_deref().map(task_id).transpose()?;
    Ok(Send {
        message,
        message_json,
        naming,
        task,
        accepted_output_modes,
        history_length,
        return_immediately,
    })
}

fn list(mut members: Members<'_>) -> Result<List, A2aError> {
    let context_id = members.text("contextId", CONTEXT_ID_BYTES_MAX).filter(|text| !text.is_empty());
    let status = members.text("status", members::TEXT_BYTES_MAX).unwrap_or_default();
    let status = match &*status {
        "" | "TASK_STATE_UNSPECIFIED" => None,
        name => {
            let state = serde_json::from_value(Value::String(name.to_owned())).ok();
            if state.is_none() {
                members.violation("status", "must be the name of a state, as TASK_STATE_WORKING");
            }
            state
        }
    };
    let page_size = members.count("pageSize").unwrap_or(PAGE_TASKS_DEFAULT);
    if !(1..=PAGE_TASKS_MAX).contains(&page_size) {
        members.violation("pageSize", format!("must be 1 to {PAGE_TASKS_MAX}"));
    }
    let page_token = members.text("pageToken", PAGE_TOKEN_BYTES_MAX).unwrap_or_default();
    let history_length = members.count("historyLength");
    let since = members.text("statusTimestampAfter", members::TEXT_BYTES_MAX).unwrap_or_default();
    let status_since = if since.is_empty() { None } else { since.parse().ok() };
    if status_since.is_none() && !since.is_empty() {
        members.violation("statusTimestampAfter", "must be a time as 2026-11-22T14:20:01Z");
    }
    let include_artifacts = members.flag("includeArtifacts");
    members.finish()?;
    let context_id = context_id.map(Arc::from);
    Ok(List { context_id, status, page_size, page_token, history_length, status_since, include_artifacts })
}

#[cfg(test)]
mod tests;
