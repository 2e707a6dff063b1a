//! Plans: `GET /v1/plans`, `GET /v1/plans/{plan_id}`, `GET /v1/plans/{plan_id}/document`,
//! `POST /v1/plans/{plan_id}/cancel`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use planwire_bus::{PublishError, StartAt};
use planwire_event::state::PlanState;
use planwire_event::vocabulary::CancelRequested;
use planwire_event::{Cursor, Event, EventTypes, LogId, PlanId, Refusal};
use planwire_store::{EventRepository, PageLimits, PlanOrder, PlanQuery, PlanRow, PlanScope};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::{App, PRINCIPAL};
use crate::config::PAGE_PLANS_DEFAULT;
use crate::events;
use crate::params::{Pairs, Parameters, PlanPath, page_limit};
use crate::problem::{Kind, Problem};
use crate::{body, params};

/// Pages of rows that a list by state looks through for one answer, which may then be short or empty.
const STATE_PAGES_MAX: usize = 10;

/// A row of `plans` as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct PlanJson {
    plan_id: String,
    root_plan_id: String,
    parent_plan_id: Option<String>,
    depth: u32,
    name: String,
    context_id: String,
    state: &'static str,
    reason: Option<&'static str>,
    document_digest: Option<String>,
    owner: Option<String>,
    started_at: String,
    ended_at: Option<String>,
    /// Place of its PlanStarted.
    first: String,
    /// Place of its terminal event.
    last: Option<String>,
    /// Events that it has, once it has ended.
    last_seq: Option<u64>,
}

impl PlanJson {
    fn of(row: &PlanRow, log_id: LogId) -> Self {
        let cursor = |position| Cursor { log_id, position }.to_string();
        Self {
            plan_id: row.plan_id.to_string(),
            root_plan_id: row.root_plan_id.to_string(),
            parent_plan_id: row.parent_plan_id.as_ref().map(ToString::to_string),
            depth: row.depth,
            name: row.name.clone(),
            context_id: row.context_id.to_string(),
            state: row.status.state(),
            reason: row.status.reason(),
            document_digest: row.document_digest.map(|digest| digest.to_string()),
            owner: row.owner.as_ref().map(ToString::to_string),
            started_at: row.started_at.to_string(),
            ended_at: row.ended_at.map(|at| at.to_string()),
            first: cursor(row.first_position),
            last: row.last_position.map(cursor),
            last_seq: row.last_seq.map(planwire_event::Seq::get),
        }
    }
}

/// Lists roots, newest first; with `roots=false` all plans, with `tree=<plan_id>` one tree, oldest first.
pub(crate) async fn list(State(app): State<Arc<App>>, Pairs(pairs): Pairs) -> Result<Json<Value>, Problem> {
    let mut query = Parameters::new(&pairs, "after, limit, roots, state, tree");
    let after = query.parsed::<Cursor>("after")?;
    let limit = page_limit(query.parsed("limit")?, PAGE_PLANS_DEFAULT)?;
    let roots = query.choice("roots", &[("true", true), ("false", false)])?;
    let state =
        query.choice("state", &[("open", "open"), ("completed", "completed"), ("failed", "failed")])?;
    let tree = query.parsed::<PlanId>("tree")?;
    query.finish()?;
    let log_id = app.bus.log_id();
    let after = match after {
        Some(cursor) => Some(app.bus.resolve(StartAt::After(cursor)).await?),
        None => None,
    };
    let (scope, order) = match (tree, roots) {
        (Some(_), Some(_)) => return Err(params::invalid("roots", "a tree has one root; leave it out")),
        (Some(tree), None) => {
            row(&**app.bus.repository(), &tree).await?;
            (PlanScope::Tree(tree), PlanOrder::OldestFirst)
        }
        (None, Some(false)) => (PlanScope::All, PlanOrder::NewestFirst),
        (None, _) => (PlanScope::Roots, PlanOrder::NewestFirst),
    };
    let query = PlanQuery { scope, open_only: state == Some("open"), order, after, limit };
    let (rows, next) = rows_by_state(&**app.bus.repository(), query, state).await?;
    let plans: Vec<_> = rows.iter().map(|row| PlanJson::of(row, log_id)).collect();
    let next = next.map(|position| Cursor { log_id, position }.to_string());
    Ok(Json(json!({ "plans": plans, "next": next })))
}

/// Rows of one state, as far as a bounded number of pages has them.
async fn rows_by_state(
    repository: &dyn EventRepository,
    mut query: PlanQuery,
    state: Option<&str>,
) -> Result<(Vec<PlanRow>, Option<planwire_event::Position>), Problem> {
    let mut rows = Vec::new();
    let limit = query.limit;
    for _ in 0..STATE_PAGES_MAX {
        query.limit = limit - rows.len();
        let page = repository.plans(&query).await?;
        rows.extend(
            page.plans.into_iter().filter(|row| state.is_none_or(|state| row.status.state() == state)),
        );
        query.after = page.next;
        if page.next.is_none() || rows.len() >= limit {
            break;
        }
    }
    Ok((rows, query.after))
}

/// The row of a plan.
pub(crate) async fn row(repository: &dyn EventRepository, plan: &PlanId) -> Result<PlanRow, Problem> {
    let scope = PlanScope::These(vec![plan.clone()]);
    let page = repository.plans(&PlanQuery { scope, ..PlanQuery::default() }).await?;
    page.plans.into_iter().next().ok_or_else(|| unknown(plan))
}

fn unknown(plan: &PlanId) -> Problem {
    Problem::new(Kind::PlanUnknown, format!("plan {plan} is unknown")).with("plan_id", plan.as_str())
}

/// A row of `plans` and the fold of the plan's events.
#[derive(Serialize)]
pub(crate) struct PlanAnswer {
    #[serde(flatten)]
    row: PlanJson,
    fold: Option<PlanState>,
}

/// The plan: its row and, as `fold`, what its events add up to.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    PlanPath(plan): PlanPath,
    Pairs(pairs): Pairs,
) -> Result<Json<PlanAnswer>, Problem> {
    Parameters::new(&pairs, "none").finish()?;
    let repository = &**app.bus.repository();
    let row = row(repository, &plan).await?;
    let fold = fold(repository, &row).await?;
    Ok(Json(PlanAnswer { row: PlanJson::of(&row, app.bus.log_id()), fold }))
}

async fn fold(repository: &dyn EventRepository, row: &PlanRow) -> Result<Option<PlanState>, Problem> {
    let mut state = None;
    let mut after = row.first_position.previous();
    loop {
        let page =
            repository.list_by_plan(&row.plan_id, EventTypes::All, after, PageLimits::default()).await?;
        for event in &page.events {
            match &mut state {
                None => state = PlanState::start(event),
                Some(state) => PlanState::apply(state, event),
            }
        }
        if page.at_head || page.scanned_to <= after {
            return Ok(state);
        }
        after = page.scanned_to;
    }
}

/// The plan's document in normal form.
pub(crate) async fn document(
    State(app): State<Arc<App>>,
    PlanPath(plan): PlanPath,
) -> Result<Response, Problem> {
    let repository = &**app.bus.repository();
    let digest = row(repository, &plan).await?.document_digest;
    let body = match digest {
        Some(digest) => repository.document(digest).await?,
        None => None,
    };
    let none =
        || Problem::new(Kind::DocumentUnknown, format!("the document of plan {plan} is not stored here"));
    Ok(events::json(body.ok_or_else(none)?.as_bytes().to_vec()))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cancel {
    #[serde(default)]
    reason: String,
}

/// Publishes that somebody asks for the plan's end; its owner acts on it.
pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    PlanPath(plan): PlanPath,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let text = body::text(&headers, body, app.config.limits.body_read).await?;
    let cancel: Cancel = if text.trim().is_empty() { Cancel::default() } else { body::json(&text)? };
    let payload = CancelRequested { requested_by: format!("http:{PRINCIPAL}"), reason: cancel.reason };
    let event = Event::of(&app.config.ids, &*app.config.clock, plan.clone(), &payload)
        .map_err(|error| Problem::new(Kind::BodyMalformed, error.to_string()))?;
    let published = app.publisher.publish(event).await.map_err(|error| match error {
        PublishError::Rejected { refusal: Refusal::PlanNotStarted { .. }, .. } => unknown(&plan),
        PublishError::Rejected { refusal: Refusal::PlanEnded { .. }, .. } => {
            Problem::new(Kind::PlanEnded, format!("plan {plan} has ended")).with("plan_id", plan.as_str())
        }
        other => other.into(),
    })?;
    let answer = json!({
        "plan_id": plan.as_str(),
        "event_id": published.event_id.to_string(),
        "cursor": published.cursor.to_string(),
    });
    Ok((StatusCode::ACCEPTED, Json(answer)))
}
