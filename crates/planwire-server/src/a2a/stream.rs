//! Streams of a task: the task as it stands at one point of the log, and from there each update once, in order.
//!
//! The snapshot and the subscription are of the same point: the subscription names the place, the fold is that of the
//! place. Each stream follows the state of its plan from where the fold stands, so that it knows where it ends and can
//! make the update that nobody has made yet; what an event does to that state is worked out once for all streams of the
//! plan. **Invariant:** what a client sees up to any cursor does not
//! depend on where its stream began.

mod frames;

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use planwire_bus::{StartAt, StreamError, Subscription};
use planwire_event::{Cursor, EventType, EventTypes, Filter, PlanId, Scope};
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;

use self::frames::{Around, TaskFrames};
use super::error::{A2aError, ErrorKind};
use super::fold::{Followed, Settled, TaskFold, TaskView};
use super::mapping::BODY_BYTES_MAX;
use super::wire::{Gap, StreamResponse};
use crate::app::App;
use crate::sse_stream;

/// Milliseconds that a blocking SendMessage waits for its task; it is then answered with the task as it stands.
pub(crate) const BLOCKING_WAIT_MS_MAX: u64 = 10 * 60 * 1000;

/// Events that a blocking SendMessage takes from the log at a time; it wakes for questions and ends only.
const WAIT_EVENTS_MAX: usize = 16;

/// Bytes of these.
const WAIT_BYTES_MAX: usize = 256 * 1024;

/// What a client follows, and how.
#[derive(Debug)]
pub(crate) struct Follow {
    pub(crate) plan: PlanId,
    /// The last that the client knows; none: a snapshot of now.
    pub(crate) after: Option<Cursor>,
    pub(crate) envelope: Envelope,
    /// Messages of the history in the first frame, the newest; none: all that are known.
    pub(crate) history_length: Option<u32>,
    /// Whether our extension is active.
    pub(crate) extended: bool,
    /// Whether updates carry `event:`.
    pub(crate) event_field: bool,
    /// Whether the stream ends where the task waits for somebody: SendStreamingMessage does, a subscription does not.
    pub(crate) ends_at_interruption: bool,
    /// The question that the client's message has answered.
    pub(crate) settled: Option<Settled>,
    /// The place of what the client's message led to; what stands before it is past, and no question there ends the
    /// stream.
    pub(crate) effects: Option<Cursor>,
}

/// What stands around each step of a stream.
#[derive(Debug)]
pub(crate) enum Envelope {
    /// Nothing.
    Rest,
    /// A whole answer of JSON-RPC to the request of this id.
    JsonRpc(Box<RawValue>),
}

/// Where a reader starts: the plan as of a place, and what follows it.
struct Start {
    fold: Arc<TaskFold>,
    subscription: Subscription,
    gap: Option<Gap>,
}

/// A place among the streams that may be open, for a stream that may begin where it is asked to.
#[derive(Debug)]
pub(crate) struct Admission(OwnedSemaphorePermit);

/// Asks for a stream before anything is done for it: a message that is refused must not have taken effect.
///
/// # Errors
///
/// InvalidParams if the cursor is of another log or beyond the end; Unavailable if too many streams are open.
pub(crate) async fn admit(app: &App, after: Option<Cursor>) -> Result<Admission, A2aError> {
    let permit = app.admit_stream()?;
    if let Some(after) = after {
        match app.bus.resolve(StartAt::After(after)).await {
            // The stream begins with a gap.
            Ok(_) | Err(StreamError::Pruned { .. }) => {}
            Err(error) => return Err(refused(error)),
        }
    }
    Ok(Admission(permit))
}

/// Answers with the stream of a task.
///
/// # Errors
///
/// Before anything is sent: TaskNotFound; UnsupportedOperation if the task of a subscription has ended, unless our
/// extension is active and the cursor lies before the end; and as for [`admit`].
pub(crate) async fn open(
    app: &Arc<App>,
    Admission(permit): Admission,
    follow: Follow,
) -> Result<Response, A2aError> {
    let from = follow.after.map_or(StartAt::Now, StartAt::After);
    let Start { fold, subscription, gap } = start(app, &follow.plan, EventTypes::All, from).await?;
    if !follow.ends_at_interruption {
        refuse_ended(&follow, &subscription, &fold)?;
    }
    let view = TaskView { history_length: follow.history_length, artifacts: true, bytes_max: BODY_BYTES_MAX };
    // As of the client's message: where it stands before it the stream begins in the past.
    let now = match follow.effects.filter(|effects| effects.position > fold.cursor().position) {
        Some(effects) => as_of(app, &follow.plan, effects).await?,
        None => Arc::clone(&fold),
    };
    let followed = Followed::new(app, &fold, &now, follow.settled.clone());
    let shown = match &follow.settled {
        // Where the stream begins the answer is given.
        Some(settled) if subscription.scanned().position >= settled.at => fold.without(settled),
        _ => Arc::clone(&fold),
    };
    let mut task = shown.task(app, view).await?;
    task.metadata.plan_events.gap = gap;
    let around = Around::of(&follow.envelope);
    let first = frames::first(&around, fold.cursor(), &StreamResponse::Task(Box::new(task)));
    app.count_stream();
    let frames = TaskFrames {
        app: Arc::clone(app),
        about: Arc::clone(fold.about()),
        followed,
        around,
        extended: follow.extended,
        event_field: follow.event_field,
        ends_at_interruption: follow.ends_at_interruption,
        at_end: false,
    };
    Ok(sse_stream::answer(subscription, frames, first, sse_stream::Options::of(app, permit)))
}

/// Waits until the task has ended or waits for somebody, at most [`BLOCKING_WAIT_MS_MAX`], and gives it as it is then.
/// Ends also when the server shuts down.
///
/// # Errors
///
/// As for [`open`].
pub(crate) async fn settled(
    app: &App,
    plan: &PlanId,
    after: Cursor,
    settled: Option<Settled>,
) -> Result<Arc<TaskFold>, A2aError> {
    let types = [
        EventType::InputRequested,
        EventType::InputReceived,
        EventType::PlanCompleted,
        EventType::PlanFailed,
    ];
    let from = StartAt::After(after);
    let Start { fold, mut subscription, .. } = start(app, plan, types.into_iter().collect(), from).await?;
    let mut followed = Followed::new(app, &fold, &fold, settled);
    if followed.rests() {
        return Ok(fold);
    }
    let deadline = tokio::time::Instant::now() + Duration::from_millis(BLOCKING_WAIT_MS_MAX);
    loop {
        let batch = tokio::select! {
            biased;
            () = app.closing.begun() => break,
            batch = subscription.next_batch(WAIT_EVENTS_MAX, WAIT_BYTES_MAX) => batch?,
            () = tokio::time::sleep_until(deadline) => break,
        };
        for event in &batch.events {
            followed.apply(app, event).await?;
            if followed.rests() {
                return as_of(app, plan, event.cursor()).await;
            }
        }
        if batch.closed || batch.end.is_some() {
            break;
        }
    }
    as_of(app, plan, app.bus.tail()).await
}

/// The snapshot and the subscription, of one place.
async fn start(app: &App, plan: &PlanId, types: EventTypes, from: StartAt) -> Result<Start, A2aError> {
    let filter = Filter { types, scope: Scope::Plan(plan.clone()) };
    let mut gap = None;
    let mut subscription = match app.bus.stream(filter.clone(), from).await {
        Err(StreamError::Pruned { cursor, pruned_to }) => {
            gap = Some(Gap { gap: true, requested: cursor, first_available: pruned_to });
            app.bus.stream(filter.clone(), StartAt::Now).await
        }
        other => other,
    }
    .map_err(refused)?;
    let place = subscription.scanned();
    let fold = as_of(app, plan, place).await?;
    if fold.cursor().position > place.position {
        // The place lies before the plan's first event, which the fold has taken in.
        let from = StartAt::After(fold.cursor());
        subscription = app.bus.stream(filter, from).await.map_err(refused)?;
    }
    Ok(Start { fold, subscription, gap })
}

async fn as_of(app: &App, plan: &PlanId, place: Cursor) -> Result<Arc<TaskFold>, A2aError> {
    let fold = app.folds.as_of(app, plan, place.position).await?;
    fold.ok_or_else(|| A2aError::task_not_found(plan.as_str()))
}

fn refused(error: StreamError) -> A2aError {
    match error {
        StreamError::UnknownPlan { plan_id } => A2aError::task_not_found(plan_id.as_str()),
        StreamError::OtherLog { .. } | StreamError::BeyondHead { .. } => {
            A2aError::field("Last-Event-ID", error.to_string())
        }
        other => other.into(),
    }
}

/// A subscription to a task that has ended is refused, but with our extension the rest of it is sent.
fn refuse_ended(follow: &Follow, subscription: &Subscription, fold: &TaskFold) -> Result<(), A2aError> {
    let Some(end) = subscription.ended_at() else { return Ok(()) };
    let has_rest = fold.cursor().position < end.position;
    if has_rest && (follow.extended || follow.after.is_none()) {
        return Ok(());
    }
    let message =
        format!("task {} has ended with the event at {end}; there is nothing to follow", follow.plan);
    Err(A2aError::new(ErrorKind::UnsupportedOperation, message)
        .with("taskId", follow.plan.as_str())
        .with("cursor", end.to_string()))
}
