//! What the methods do, whichever binding brought them.
//!
//! - `send`: messages that start plans, and those that answer questions. `kept`: how the log keeps them.
//! - `list`: tasks, the one whose status changed last first.
//! - `cancel`: asks that a plan end, and waits for it. `asked`: asks that it pause or go on, by a message.

mod asked;
mod cancel;
mod kept;
mod list;
mod send;

use std::sync::Arc;

use axum::response::Response;
use planwire_event::{Cursor, PlanId};
use serde::Serialize;

use super::error::{A2aError, ErrorKind};
use super::fold::{TaskFold, TaskView};
use super::request::Operation;
use super::stream::{self, Envelope, Follow};
use super::wire::{StreamResponse, Task};
use crate::app::App;

pub(crate) use asked::REQUESTS;
pub(crate) use list::TaskPage;
pub(crate) use send::OUTPUT_MODES;

/// Bytes of a task that is an answer of its own; what does not fit is given by its address.
const TASK_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a request says beside its parameters.
pub(crate) struct Call {
    /// Whether the client activated our extension.
    pub(crate) extended: bool,
    /// Whether frames of a stream carry `event:`.
    pub(crate) event_field: bool,
    /// Where a stream goes on.
    pub(crate) after: Option<Cursor>,
    /// How frames of a stream are wrapped.
    pub(crate) envelope: Envelope,
}

/// The answer of a method.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Reply {
    Sent(Box<StreamResponse>),
    Task(Box<Task>),
    Page(TaskPage),
    /// A stream, which is a whole response already.
    #[serde(skip)]
    Stream(Response),
}

/// Does what is asked for.
pub(crate) async fn perform(app: &Arc<App>, operation: Operation, call: Call) -> Result<Reply, A2aError> {
    if app.config.a2a.extension_required && !call.extended {
        let message = format!("send the header A2A-Extensions: {}", super::wire::EXTENSION);
        return Err(A2aError::new(ErrorKind::ExtensionSupportRequired, message));
    }
    match operation {
        Operation::Send(request) => {
            send::send(app, *request, call.extended).await.map(|sent| Reply::Sent(Box::new(sent)))
        }
        Operation::SendStreaming(request) => {
            send::send_streaming(app, *request, call).await.map(Reply::Stream)
        }
        Operation::Get { task: id, history_length } => {
            let fold = fold(app, &id).await?;
            Ok(Reply::Task(Box::new(fold.task(app, view(history_length)).await?)))
        }
        Operation::List(request) => list::list(app, &request).await.map(Reply::Page),
        Operation::Cancel { task: id } => {
            let fold = cancel::cancel(app, &id).await?;
            Ok(Reply::Task(Box::new(fold.task(app, view(None)).await?)))
        }
        Operation::Subscribe { task: id } => {
            let follow = Follow {
                plan: id,
                after: call.after,
                envelope: call.envelope,
                history_length: None,
                extended: call.extended,
                event_field: call.event_field,
                ends_at_interruption: false,
                settled: None,
                effects: None,
            };
            let admission = stream::admit(app, follow.after).await?;
            stream::open(app, admission, follow).await.map(Reply::Stream)
        }
    }
}

/// The plan as a task, as it stands now.
async fn fold(app: &Arc<App>, plan: &PlanId) -> Result<Arc<TaskFold>, A2aError> {
    let found = app.folds.latest(app, plan).await?;
    found.ok_or_else(|| A2aError::task_not_found(plan.as_str()))
}

/// A whole task.
const fn view(history_length: Option<u32>) -> TaskView {
    TaskView { history_length, artifacts: true, bytes_max: TASK_BYTES_MAX }
}
