//! Tasks as a list: the one whose status changed last comes first.
//!
//! The status of a task changes with each event of its plan, so the place of the plan's last event in the log orders
//! the list. Of plans that have ended the store knows that place; of open ones [`OpenPlans`] does. A page token is the
//! place of the page's last task: a task that changes meanwhile moves to the front, and no task is shown twice for it.
//!
//! [`OpenPlans`]: crate::a2a::open_plans::OpenPlans

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

use planwire_bus::StartAt;
use planwire_event::vocabulary::FailureReason;
use planwire_event::{Cursor, Filter, PlanId, PlanStatus, Position, Timestamp};
use planwire_store::{EventRepository, PageLimits, PlanOrder, PlanQuery, PlanScope};
use schemars::JsonSchema;
use serde::Serialize;

use crate::a2a::error::A2aError;
use crate::a2a::fold::TaskView;
use crate::a2a::open_plans::{OPEN_PLANS_MAX, OpenPlan};
use crate::a2a::request::List;
use crate::a2a::wire::{Task, TaskState};
use crate::app::App;

/// Bytes of all tasks of a page; each gets its share.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A page of tasks.
#[derive(Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskPage {
    tasks: Vec<Task>,
    /// Empty on the last page.
    next_page_token: String,
    page_size: u32,
    /// Tasks that match, on all pages.
    total_size: u64,
}

/// A task of the list.
struct Listed {
    plan: PlanId,
    /// The place of its last event.
    at: Position,
}

pub(super) async fn list(app: &Arc<App>, request: &List) -> Result<TaskPage, A2aError> {
    let before = match request.page_token.as_str() {
        "" => None,
        token => Some(page_start(app, token).await?),
    };
    let tail = app.bus.tail().position;
    let since = match request.status_since {
        Some(time) => first_at_or_after(&**app.bus.repository(), time, tail).await?,
        None => Position::ZERO,
    };
    let open = open(app, request, since, tail).await?;
    let size = usize::try_from(request.page_size).unwrap_or(usize::MAX);
    let (ended, ended_total) = ended(app, request, since, before, size + 1).await?;
    let total_size = open.len() as u64 + ended_total;
    // A plan that ended while the two were read is in both; its end is the later news.
    let now_ended: HashSet<_> = ended.iter().map(|task| task.plan.clone()).collect();
    let of_page =
        |task: &Listed| before.is_none_or(|before| task.at < before) && !now_ended.contains(&task.plan);
    let mut listed: Vec<_> = open.into_iter().filter(of_page).chain(ended).collect();
    listed.sort_by_key(|task| Reverse(task.at));
    let more = listed.len() > size;
    listed.truncate(size);
    let next_page_token = match listed.last() {
        Some(last) if more => Cursor { log_id: app.bus.log_id(), position: last.at }.to_string(),
        _ => String::new(),
    };
    let view = TaskView {
        history_length: request.history_length,
        artifacts: request.include_artifacts,
        bytes_max: PAGE_BYTES_MAX / listed.len().max(1),
    };
    let mut tasks = Vec::with_capacity(listed.len());
    for task in listed {
        // As of the place by which the task was chosen: a later state might not be the one that is asked for.
        if let Some(fold) = app.folds.as_of(app, &task.plan, tail.max(task.at)).await? {
            tasks.push(fold.task(app, view).await?);
        }
    }
    Ok(TaskPage { tasks, next_page_token, page_size: request.page_size, total_size })
}

async fn page_start(app: &App, token: &str) -> Result<Position, A2aError> {
    let unknown = || A2aError::field("pageToken", "is none of ours; begin again without it");
    let cursor: Cursor = token.parse().map_err(|_| unknown())?;
    app.bus.resolve(StartAt::After(cursor)).await.map_err(|_| unknown())
}

/// Whose tasks are wanted: those of a context with their subplans, else roots.
fn scope(request: &List) -> PlanScope {
    request.context_id.clone().map_or(PlanScope::Roots, PlanScope::Context)
}

/// Open plans that match, at `tail` or a little later.
async fn open(
    app: &Arc<App>,
    request: &List,
    since: Position,
    tail: Position,
) -> Result<Vec<Listed>, A2aError> {
    if request.status.is_some_and(TaskState::is_terminal) {
        return Ok(Vec::new());
    }
    let mut query = PlanQuery { scope: scope(request), open_only: true, ..PlanQuery::default() };
    let mut rows = Vec::new();
    while rows.len() < OPEN_PLANS_MAX {
        let page = app.bus.repository().plans(&query).await?;
        rows.extend(page.plans);
        query.after = page.next;
        if page.next.is_none() {
            break;
        }
    }
    let plans = app.open_plans.look_at(app, rows, tail).await?;
    // One that ended since the rows were read is found among those that have ended.
    let wanted = |plan: &OpenPlan| {
        !plan.state.is_terminal()
            && request.status.is_none_or(|status| status == plan.state)
            && plan.at >= since
    };
    Ok(plans.into_iter().filter(wanted).map(|OpenPlan { plan, at, .. }| Listed { plan, at }).collect())
}

/// Plans that have ended and match, as many as a page needs; and how many there are on all pages.
async fn ended(
    app: &Arc<App>,
    request: &List,
    since: Position,
    before: Option<Position>,
    limit: usize,
) -> Result<(Vec<Listed>, u64), A2aError> {
    let statuses = match request.status {
        None => Vec::new(),
        Some(status) => statuses(status),
    };
    if request.status.is_some() && statuses.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let query = PlanQuery {
        scope: scope(request),
        statuses,
        order: PlanOrder::LastEndedFirst,
        after: before,
        ended_from: Some(since).filter(|since| *since > Position::ZERO),
        limit,
        count: true,
        ..PlanQuery::default()
    };
    let page = app.bus.repository().plans(&query).await?;
    let listed = page.plans.into_iter().map(|row| {
        let at = row.last_position.unwrap_or(row.first_position);
        Listed { plan: row.plan_id, at }
    });
    Ok((listed.collect(), page.total.unwrap_or_default()))
}

/// How plans end that are tasks of a state; empty if none does.
fn statuses(state: TaskState) -> Vec<PlanStatus> {
    let reasons: &[FailureReason] = match state {
        TaskState::Completed => return vec![PlanStatus::Completed],
        TaskState::Canceled => &[FailureReason::Cancelled],
        TaskState::Rejected => &[FailureReason::Rejected],
        TaskState::Failed => &[
            FailureReason::Error,
            FailureReason::TimedOut,
            FailureReason::LimitExceeded,
            FailureReason::Interrupted,
        ],
        TaskState::Submitted | TaskState::Working | TaskState::InputRequired | TaskState::AuthRequired => &[],
    };
    reasons.iter().copied().map(PlanStatus::Failed).collect()
}

/// The place of the first event that was recorded at `time` or later; times never fall along the log.
async fn first_at_or_after(
    repository: &dyn EventRepository,
    time: Timestamp,
    head: Position,
) -> Result<Position, A2aError> {
    let (mut low, mut high) = (Position::ZERO, head);
    while low < high {
        // The event after `middle`, or the next that retention has kept.
        let middle = Position::new(low.get() + (high.get() - low.get()) / 2);
        let page = repository.read_after(middle, &Filter::all(), PageLimits::events(1)).await?;
        match page.events.first() {
            Some(event) if event.recorded_at < time => low = event.position,
            _ => high = middle,
        }
    }
    Ok(low.next())
}
