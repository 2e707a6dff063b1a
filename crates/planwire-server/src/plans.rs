//! Plans: `GET /v1/plans`, `GET /v1/plans/{plan_id}`, `GET /v1/plans/{plan_id}/document`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use planwire_bus::StartAt;
use planwire_event::state::PlanState;
use planwire_event::{Cursor, Digest, Filter, LogId, PlanId, Seq, Timestamp};
use planwire_store::{EventRepository, PlanOrder, PlanQuery, PlanRow, PlanScope};
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::App;
use crate::config::PAGE_PLANS_DEFAULT;
use crate::events;
use crate::openapi::{Answer, Content, Operation, Parameter, Values};
use crate::params::{IN_PATH_PLAN, Pairs, Parameters, PlanPath, page_limit};
use crate::problem::{Kind, Problem};
use crate::{params, states};

/// Pages of rows that a list by state looks through for one answer, which may then be short or empty.
const STATE_PAGES_MAX: usize = 10;

/// A row of `plans` as JSON.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Plan")]
pub(crate) struct PlanJson {
    /// The plan.
    plan_id: PlanId,
    /// The root of its tree.
    root_plan_id: PlanId,
    /// The plan that spawned it; null at the root.
    parent_plan_id: Option<PlanId>,
    /// 0 at the root.
    depth: u32,
    /// Name of its document.
    name: String,
    /// Groups several trees.
    context_id: String,
    /// Whether it runs, and how it ended if not.
    #[schemars(extend("enum" = ["open", "completed", "failed"]))]
    state: &'static str,
    /// The kind of end, of a plan that failed.
    reason: Option<&'static str>,
    /// SHA-256 of its document.
    document_digest: Option<Digest>,
    /// The executor that owns it.
    owner: Option<String>,
    /// Timestamp of its PlanStarted.
    started_at: Timestamp,
    /// Timestamp of its terminal event.
    ended_at: Option<Timestamp>,
    /// Place of its PlanStarted.
    first: Cursor,
    /// Place of its terminal event.
    last: Option<Cursor>,
    /// Events that it has, once it has ended.
    last_seq: Option<Seq>,
}

impl PlanJson {
    fn of(row: &PlanRow, log_id: LogId) -> Self {
        let cursor = |position| Cursor { log_id, position };
        Self {
            plan_id: row.plan_id.clone(),
            root_plan_id: row.root_plan_id.clone(),
            parent_plan_id: row.parent_plan_id.clone(),
            depth: row.depth,
            name: row.name.clone(),
            context_id: row.context_id.to_string(),
            state: row.status.state(),
            reason: row.status.reason(),
            document_digest: row.document_digest,
            owner: row.owner.as_ref().map(ToString::to_string),
            started_at: row.started_at,
            ended_at: row.ended_at,
            first: cursor(row.first_position),
            last: row.last_position.map(cursor),
            last_seq: row.last_seq,
        }
    }
}

const AFTER: Parameter = Parameter::query("after", Values::Cursor, "The `next` of the page before.");
const LIMIT: Parameter =
    Parameter::query("limit", Values::Limit { default: PAGE_PLANS_DEFAULT }, "Plans of a page.");
const ROOTS: Parameter = Parameter::query(
    "roots",
    Values::Choices(&["true", "false"]),
    "`false` lists subplans too; not together with `tree`.",
);
const STATE: Parameter =
    Parameter::query("state", Values::Choices(&["open", "completed", "failed"]), "Only plans of this state.");
const TREE: Parameter = Parameter::query("tree", Values::PlanId, "Only plans of this tree, oldest first.");

const LIST_PARAMETERS: &[Parameter] = &[AFTER, LIMIT, ROOTS, STATE, TREE];

/// A page of plans.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PlanPage {
    /// The plans.
    plans: Vec<PlanJson>,
    /// Where the next page begins, as its `after`; null after the last one.
    next: Option<Cursor>,
}

pub(crate) static LIST: Operation = Operation {
    id: "listPlans",
    summary: "Plans",
    description: "Root plans, newest first. A page by `state` may be short or empty and still have a `next`.",
    parameters: &[LIST_PARAMETERS],
    body: None,
    answers: &[Answer::new(200, "A page of plans.", &[Content::answer::<PlanPage>()])],
    faults: &[],
    problems: &[&[Kind::ParameterInvalid], Kind::OF_STREAM, Kind::OF_READ],
};

/// Lists roots, newest first; with `roots=false` all plans, with `tree=<plan_id>` one tree, oldest first.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Pairs(pairs): Pairs,
) -> Result<Json<PlanPage>, Problem> {
    let mut query = Parameters::new(&pairs, LIST_PARAMETERS);
    let after = query.parsed::<Cursor>(&AFTER)?;
    let limit = page_limit(query.parsed(&LIMIT)?, PAGE_PLANS_DEFAULT)?;
    let roots = query.choice(&ROOTS, [true, false])?;
    let state = query.choice(&STATE, ["open", "completed", "failed"])?;
    let tree = query.parsed::<PlanId>(&TREE)?;
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
    let open_only = state == Some("open");
    let query = PlanQuery { scope, open_only, order, after, limit, ..PlanQuery::default() };
    let (rows, next) = rows_by_state(&**app.bus.repository(), query, state).await?;
    let plans = rows.iter().map(|row| PlanJson::of(row, log_id)).collect();
    let next = next.map(|position| Cursor { log_id, position });
    Ok(Json(PlanPage { plans, next }))
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

pub(crate) fn unknown(plan: &PlanId) -> Problem {
    Problem::new(Kind::PlanUnknown, format!("plan {plan} is unknown")).with("plan_id", plan.as_str())
}

/// A row of `plans` and the fold of the plan's events.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PlanWithState")]
pub(crate) struct PlanAnswer {
    #[serde(flatten)]
    row: PlanJson,
    /// What its events add up to.
    fold: Option<Arc<PlanState>>,
}

const AT: Parameter = Parameter::query(
    "at",
    Values::Cursor,
    "`fold` as it was after the event of this cursor. The other members are those of now.",
);

/// What may be asked of one plan.
const OF_PLAN: &[Parameter] = &[AT];

pub(crate) static GET: Operation = Operation {
    id: "getPlan",
    summary: "One plan",
    description: "And, as `fold`, what its events add up to: state, steps, decisions, questions, artifacts, outputs.",
    parameters: &[IN_PATH_PLAN, OF_PLAN],
    body: None,
    answers: &[Answer::new(200, "The plan.", &[Content::answer::<PlanAnswer>()])],
    faults: &[],
    problems: &[
        &[Kind::IdMalformed, Kind::ParameterInvalid, Kind::PlanUnknown, Kind::CursorMalformed],
        Kind::OF_STREAM,
        Kind::OF_READ,
    ],
};

/// The plan: its row and, as `fold`, what its events add up to.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    PlanPath(plan): PlanPath,
    Pairs(pairs): Pairs,
) -> Result<Json<PlanAnswer>, Problem> {
    let mut query = Parameters::new(&pairs, OF_PLAN);
    let at = query.one(&AT)?.map(str::parse::<Cursor>).transpose()?;
    query.finish()?;
    let repository = &**app.bus.repository();
    let row = row(repository, &plan).await?;
    let fold = match at {
        Some(cursor) => {
            // Opening a subscription checks the cursor.
            let opened = app.bus.stream(Filter::plan(plan), StartAt::After(cursor)).await?;
            states::at(repository, &row, opened.scanned().position).await?.map(Arc::new)
        }
        None => app.states.latest(repository, &row).await?,
    };
    Ok(Json(PlanAnswer { row: PlanJson::of(&row, app.bus.log_id()), fold }))
}

pub(crate) static DOCUMENT: Operation = Operation {
    id: "getPlanDocument",
    summary: "The document of a plan",
    description: "In normal form, with the files that it names.",
    parameters: &[IN_PATH_PLAN],
    body: None,
    answers: &[Answer::new(
        200,
        "The document.",
        &[Content::of("application/json", |_| serde_json::json!({"type": "object"}))],
    )],
    faults: &[],
    problems: &[&[Kind::IdMalformed, Kind::PlanUnknown, Kind::DocumentUnknown], Kind::OF_READ],
};

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
