//! Messages: each starts a plan, is answered at once, or answers a question of the task that it names; with our
//! extension it may ask something of that task instead.
//!
//! **Repetition.** A message that belongs to a task counts once, however often it is sent: the id of its event is made
//! of the task, the message id and the content. A message that starts a plan starts one only where the client activated
//! our extension: then the plan's id is made the same way. Without it each message starts a plan of its own, since
//! clients exist that send one message twice and mean two tasks.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use planwire_bus::{Item, Published, StartAt, StartError, StartRequest, Started};
use planwire_event::vocabulary::{InputReceived, Origin};
use planwire_event::{Cursor, EventId, EventType, Filter, PlanId};

use super::kept::{identity, kept};
use super::{Call, asked, fold, view};
use crate::a2a::error::{A2aError, ErrorKind, FieldViolation};
use crate::a2a::fold::{Settled, TaskFold};
use crate::a2a::mapping::{self, BODY_BYTES_MAX};
use crate::a2a::request::{Naming, Send};
use crate::a2a::routing::{self, Offer, Target};
use crate::a2a::stream::{self, Envelope, Follow};
use crate::a2a::wire::{Content, Message, Part, Role, StreamResponse};
use crate::answer::{self, AnswerFault, Choice, Given, GivenValue};
use crate::app::{App, PRINCIPAL};
use crate::ask::{Ask, ask};
use crate::start;

/// Media types that answers and artifacts mostly have; a client that takes none of them is refused.
pub(crate) const OUTPUT_MODES: [&str; 3] = ["text/plain", "application/json", "application/octet-stream"];

/// Milliseconds that a message waits for the start of its plan where the same message on another connection has begun
/// it. A start takes as long as a commit; a client gives up after 5 s.
const START_WAIT_MS: u64 = 2_000;

/// What became of a message.
enum Accepted {
    /// It is answered.
    Message(Box<Message>),
    /// It belongs to a task.
    Task {
        plan: PlanId,
        /// The place of what it led to.
        after: Cursor,
        /// It was sent before.
        repeated: bool,
        /// The question that it answered.
        settled: Option<Settled>,
        /// It asks something of the task, and does not wait for what becomes of it.
        asks: bool,
    },
}

/// SendMessage: waits until the task ends or asks something, if the client does not want the answer at once.
pub(super) async fn send(app: &Arc<App>, request: Send, extended: bool) -> Result<StreamResponse, A2aError> {
    let (plan, after, settled, asks) = match accept(app, &request, extended).await? {
        Accepted::Message(message) => return Ok(StreamResponse::Message(message)),
        // What a repetition asks is how the task stands now, not how it stood when it was first sent.
        Accepted::Task { plan, settled, repeated: true, asks, .. } => (plan, app.bus.tail(), settled, asks),
        Accepted::Task { plan, after, settled, asks, .. } => (plan, after, settled, asks),
    };
    let fold = if request.return_immediately || asks {
        fold(app, &plan).await?
    } else {
        stream::settled(app, &plan, after, settled.clone()).await?
    };
    let fold = settled.map_or_else(|| Arc::clone(&fold), |settled| fold.without(&settled));
    let task = fold.task(app, view(request.history_length)).await?;
    Ok(StreamResponse::Task(Box::new(task)))
}

/// SendStreamingMessage: the task, then what happens until it ends or asks something.
pub(super) async fn send_streaming(app: &Arc<App>, request: Send, call: Call) -> Result<Response, A2aError> {
    // All that can refuse the stream comes before the message takes effect.
    let admission = stream::admit(app, call.after).await?;
    match accept(app, &request, call.extended).await? {
        Accepted::Message(message) => single(&StreamResponse::Message(message), &call.envelope),
        Accepted::Task { plan, after, repeated, settled, .. } => {
            let follow = Follow {
                plan,
                // From what the message led to on, so that however fast the plan is, the client sees each step.
                after: Some(call.after.unwrap_or(after)),
                envelope: call.envelope,
                history_length: request.history_length,
                extended: call.extended,
                event_field: call.event_field,
                ends_at_interruption: true,
                settled,
                // A repetition is about how the task stands now: a question between the two does not end the stream.
                effects: Some(if repeated { app.bus.tail() } else { after }),
            };
            stream::open(app, admission, follow).await
        }
    }
}

/// A stream of one step.
fn single(step: &StreamResponse, envelope: &Envelope) -> Result<Response, A2aError> {
    let step = mapping::line(step);
    if step.len() > BODY_BYTES_MAX {
        let message = format!(
            "the route of this message gives an answer of {} bytes, a stream takes {BODY_BYTES_MAX}",
            step.len()
        );
        return Err(A2aError::new(ErrorKind::InvalidAgentResponse, message));
    }
    let data = match envelope {
        Envelope::Rest => step,
        Envelope::JsonRpc(id) => {
            format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{step}}}", mapping::line(id))
        }
    };
    let headers = [
        (header::CONTENT_TYPE.as_str(), "text/event-stream"),
        (header::CACHE_CONTROL.as_str(), "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
    ];
    Ok((headers, format!("data: {data}\n\n")).into_response())
}

async fn accept(app: &Arc<App>, request: &Send, extended: bool) -> Result<Accepted, A2aError> {
    check_output_modes(&request.accepted_output_modes)?;
    let asks = if extended { asked::of(request)? } else { None };
    match &request.task {
        Some(task) => reply(app, request, task, asks).await,
        None => begin(app, request, extended).await,
    }
}

fn check_output_modes(accepted: &[String]) -> Result<(), A2aError> {
    let fits = |accepted: &String| {
        let accepted = accepted.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        OUTPUT_MODES.into_iter().any(|ours| match accepted.strip_suffix('*') {
            Some(start) => accepted == "*" || accepted == "*/*" || ours.starts_with(start),
            None => ours == accepted,
        })
    };
    if accepted.is_empty() || accepted.iter().any(fits) {
        return Ok(());
    }
    let message = format!("none of acceptedOutputModes is given here; there are {}", OUTPUT_MODES.join(", "));
    Err(A2aError::new(ErrorKind::ContentTypeNotSupported, message))
}

/// A message without a task.
async fn begin(app: &Arc<App>, request: &Send, extended: bool) -> Result<Accepted, A2aError> {
    let catalog = app.starter.as_ref().map(|starter| starter.catalog()).unwrap_or_default();
    let offer = Offer { catalog: &catalog, inline: app.config.allow_inline_documents };
    let (document, inputs) = match app.a2a.routes.target(&request.message, &offer)? {
        Target::Start { document, inputs } => (document, inputs),
        Target::Answer(part) => return Ok(Accepted::Message(Box::new(direct(app, request, part)))),
    };
    let Some(starter) = &app.starter else {
        let message = "this server serves a log and runs no plans";
        return Err(A2aError::new(ErrorKind::UnsupportedOperation, message));
    };
    let origin = Origin {
        protocol: "a2a".into(),
        principal: PRINCIPAL.into(),
        message: Some(kept(&request.message_json)),
    };
    let context_id = request.message.context_id.clone();
    let start = StartRequest { document, inputs, origin, context_id };
    if !extended {
        let Started { plan_id: plan, cursor: after } = starter.start(start).await?;
        return Ok(Accepted::Task { plan, after, repeated: false, settled: None, asks: false });
    }
    let plan = PlanId::from(identity("", &request.message_json));
    let (plan, after, repeated) = match starter.start_as(plan.clone(), start).await {
        Ok(started) => (started.plan_id, started.cursor, false),
        Err(StartError::Exists { .. }) => {
            let after = started(app, &plan).await?.ok_or_else(|| {
                A2aError::new(ErrorKind::Unavailable, "the same message is being taken in; send it again")
            })?;
            (plan, after, true)
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Accepted::Task { plan, after, repeated, settled: None, asks: false })
}

/// The place of the PlanStarted of a plan that the same message on another connection is just starting; none if it
/// does not come within [`START_WAIT_MS`].
async fn started(app: &Arc<App>, plan: &PlanId) -> Result<Option<Cursor>, A2aError> {
    let starts = Filter::all().with_types([EventType::PlanStarted]);
    // From before the look at what is there, so that nothing falls between the two.
    let mut events = app.bus.stream(starts, StartAt::Now).await?;
    if let Some(after) = start::started_at(app, plan).await? {
        return Ok(Some(after));
    }
    let started = async {
        while let Ok(Some(Item::Event(event))) = events.next().await {
            if event.plan_id() == plan {
                return Some(event.cursor());
            }
        }
        None
    };
    Ok(tokio::select! {
        started = started => started,
        () = app.closing.begun() => None,
        () = tokio::time::sleep(Duration::from_millis(START_WAIT_MS)) => None,
    })
}

/// A direct answer.
fn direct(app: &App, request: &Send, part: Part) -> Message {
    let context_id = request.message.context_id.clone();
    Message {
        message_id: app.config.ids.next_id().to_string(),
        context_id: Some(context_id.unwrap_or_else(|| app.config.ids.next_id().to_string())),
        role: Role::Agent,
        parts: vec![part],
        ..Message::default()
    }
}

/// A message to a task: answers its question, or asks something of it.
async fn reply(
    app: &Arc<App>,
    request: &Send,
    task: &PlanId,
    asks: Option<(Ask, String)>,
) -> Result<Accepted, A2aError> {
    let fold = fold(app, task).await?;
    let context_id = &fold.about().context_id;
    if request.message.context_id.as_deref().is_some_and(|named| *named != **context_id) {
        return Err(A2aError::field("message.contextId", format!("is not that of the task, {context_id}")));
    }
    let event_id = identity(task.as_str(), &request.message_json);
    if let Some(accepted) = repeated(app, task, event_id).await? {
        return Ok(accepted);
    }
    if fold.is_terminal() {
        return Err(ended(task, &fold));
    }
    if let Some((what, reason)) = asks {
        let asker = asked::asker(reason, Some(event_id));
        let published = ask(app, task, what, asker).await.map_err(|fault| asked::refused(task, fault))?;
        let Published { cursor: after, duplicate: repeated, .. } = published;
        return Ok(Accepted::Task { plan: task.clone(), after, repeated, settled: None, asks: true });
    }
    if fold.questions().is_empty() {
        let message = format!("task {task} asks nothing; subscribe to it, or start another one");
        return Err(A2aError::new(ErrorKind::UnsupportedOperation, message).with("taskId", task.as_str()));
    }
    let given = given(request, event_id)?;
    match answer::answer(app, task, given).await {
        Ok(answered) => {
            let after = answered.published.cursor;
            let settled = Settled { request_id: answered.request_id, at: after.position };
            let settled = Some(settled);
            Ok(Accepted::Task { plan: task.clone(), after, repeated: false, settled, asks: false })
        }
        Err(fault) => {
            // The same message at the same moment, on another connection.
            let again = repeated(app, task, event_id).await?;
            again.ok_or_else(|| refused(task, fault))
        }
    }
}

/// Whether the task was given this very message before.
async fn repeated(app: &App, task: &PlanId, event_id: EventId) -> Result<Option<Accepted>, A2aError> {
    let found = app.bus.repository().by_event_ids(&[event_id]).await?;
    Ok(found.first().map(|stored| Accepted::Task {
        plan: task.clone(),
        after: stored.cursor(),
        repeated: true,
        asks: *stored.event.event_type() != EventType::InputReceived,
        settled: stored
            .event
            .read::<InputReceived>()
            .map(|received| Settled { request_id: received.request_id, at: stored.position }),
    }))
}

fn given(request: &Send, event_id: EventId) -> Result<Given, A2aError> {
    let Naming { request_id, arguments_digest } = request.naming.clone();
    Ok(Given {
        question: request_id.map_or(Choice::Oldest, Choice::Named),
        value: value(&request.message)?,
        answered_by: format!("a2a:{PRINCIPAL}"),
        via: "a2a".into(),
        arguments_digest,
        message: Some(kept(&request.message_json)),
        event_id: Some(event_id),
    })
}

/// What a message answers: its data, else its text.
fn value(message: &Message) -> Result<GivenValue, A2aError> {
    routing::refuse_files(message)?;
    let data: Vec<_> = message
        .parts
        .iter()
        .filter_map(|part| match &part.content {
            Content::Data(data) => Some(data),
            _ => None,
        })
        .collect();
    match *data {
        [] => {
            let text = routing::text(message).map(GivenValue::Text);
            text.ok_or_else(|| {
                A2aError::field("message.parts", "must have a text or a data part: the answer")
            })
        }
        [only] => Ok(GivenValue::Json(only.clone())),
        _ => {
            Err(A2aError::field("message.parts", "must have one data part at most: the answer is one value"))
        }
    }
}

fn ended(task: &PlanId, fold: &TaskFold) -> A2aError {
    let message = format!("task {task} has ended and takes no more messages; start another one");
    A2aError::new(ErrorKind::UnsupportedOperation, message)
        .with("taskId", task.as_str())
        .with("cursor", fold.cursor().to_string())
}

fn refused(task: &PlanId, fault: AnswerFault) -> A2aError {
    match fault {
        AnswerFault::PlanUnknown => A2aError::task_not_found(task.as_str()),
        AnswerFault::NoQuestion | AnswerFault::SeveralQuestions { .. } => {
            A2aError::new(ErrorKind::UnsupportedOperation, fault.to_string()).with("taskId", task.as_str())
        }
        AnswerFault::Unfit { ref request_id, ref errors } => {
            let violations = errors.iter().map(|error| FieldViolation {
                field: format!("message.parts{}", error.path.replace('/', ".")),
                description: error.message.clone(),
            });
            A2aError::invalid(violations.collect()).with("requestId", request_id)
        }
        AnswerFault::Malformed(error) => A2aError::field("message.parts", error.to_string()),
        AnswerFault::Read(error) => error.into(),
        AnswerFault::Publish(error) => A2aError::from(error).with("taskId", task.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_modes_fit_with_wildcards_and_parameters() {
        let fits = |modes: &[&str]| {
            let modes: Vec<_> = modes.iter().map(ToString::to_string).collect();
            check_output_modes(&modes).is_ok()
        };
        for modes in [
            &[][..],
            &["*/*"],
            &["*"],
            &["text/*"],
            &["TEXT/plain; charset=utf-8"],
            &["a/b", "application/json"],
        ] {
            assert!(fits(modes), "{modes:?}");
        }
        for modes in [&[""][..], &["image/png"], &["image/*", "video/mp4"], &["text"]] {
            assert!(!fits(modes), "{modes:?}");
        }
    }
}
