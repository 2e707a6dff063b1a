//! What readers ask of a SQLite log. Each read is one transaction: all of its answers are of one moment.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use planwire_event::{Digest, EventId, Filter, LogId, PlanId, Position, Scope, StoredEvent};
use rusqlite::{Connection, OptionalExtension as _, Params, params};

use crate::contract::{
    LogInfo, PAGE_EVENTS_MAX, Page, PageLimits, PlanOrder, PlanPage, PlanQuery, PlanRow, PlanScope,
    StoreError,
};
use crate::scan::Scan;
use crate::sqlite::decode::{self, EventDecoder, event_columns, plan_columns};
use crate::sqlite::error::{sql_number, store_error};

const LOG_PAGE: &str = concat!("SELECT ", event_columns!(), " FROM plan_events WHERE id > ?1 ORDER BY id");
const TREE_PAGE: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM plan_events INDEXED BY plan_events_tree WHERE root_plan_id = ?1 AND id > ?2 AND id <= ?3 ORDER BY id"
);
const EVENT_BY_ID: &str = concat!("SELECT ", event_columns!(), " FROM plan_events WHERE event_id = ?1");
const PLAN_BY_ID: &str = concat!("SELECT ", plan_columns!(), " FROM plans WHERE plan_id = ?1");
const PLANS_OF_TREE: &str =
    concat!("SELECT ", plan_columns!(), " FROM plans WHERE root_plan_id = ?1 ORDER BY first_position");

/// What the log says of itself.
pub(crate) fn log_info(connection: &mut Connection) -> Result<LogInfo, StoreError> {
    let transaction = connection.transaction().map_err(store_error)?;
    let (log_id, head) = log_end(&transaction)?;
    let pruned_to: i64 = transaction
        .query_row("SELECT pruned_to FROM planwire_log", [], |row| row.get(0))
        .map_err(store_error)?;
    let mut select = transaction
        .prepare_cached("SELECT log_id, valid_to FROM log_lineage ORDER BY log_id")
        .map_err(store_error)?;
    let lineage = select
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))
        .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
        .map_err(store_error)?;
    let lineage = lineage
        .into_iter()
        .map(|(log, to)| Ok((log_id_of(&log)?, position(to))))
        .collect::<Result<_, _>>()?;
    Ok(LogInfo { log_id, head, pruned_to: position(pruned_to), lineage })
}

fn position(number: i64) -> Position {
    Position::new(u64::try_from(number).unwrap_or(0))
}

fn log_id_of(text: &str) -> Result<LogId, StoreError> {
    text.parse().map_err(|error| StoreError::Failed(Box::new(error)))
}

/// Id and last position of the log.
fn log_end(connection: &Connection) -> Result<(LogId, Position), StoreError> {
    let mut select =
        connection.prepare_cached("SELECT log_id, head FROM planwire_log").map_err(store_error)?;
    let (log, head): (String, i64) =
        select.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(store_error)?;
    Ok((log_id_of(&log)?, position(head)))
}

/// One page of events.
pub(crate) fn page(
    connection: &mut Connection,
    after: Position,
    filter: &Filter,
    limits: PageLimits,
) -> Result<Page, StoreError> {
    let transaction = connection.transaction().map_err(store_error)?;
    let (log_id, head) = log_end(&transaction)?;
    let mut scan = Scan::new(after, head, &filter.types, limits);
    let mut decoder = EventDecoder::new(log_id);
    let Some(named) = filter.named_plan() else {
        let range = params![sql_number(after.get())];
        run(&transaction, LOG_PAGE, range, &mut scan, &mut decoder, |_| true)?;
        return Ok(scan.finish());
    };
    let Some(plan) = plan(&transaction, named)? else { return Ok(scan.finish()) };
    let from = sql_number(after.max(plan.first_position.previous()).get());
    let end = match filter.scope {
        Scope::Plan(_) => plan.last_position.unwrap_or(head),
        _ => head,
    };
    let range = params![plan.root_plan_id.as_str(), from, sql_number(end.get())];
    match filter.scope {
        Scope::Plan(_) => {
            run(&transaction, TREE_PAGE, range, &mut scan, &mut decoder, |of| of == named.as_str())?;
        }
        _ if plan.parent_plan_id.is_none() => {
            run(&transaction, TREE_PAGE, range, &mut scan, &mut decoder, |_| true)?;
        }
        _ => {
            let tree = plans_below(&transaction, &plan)?;
            let below: HashSet<&str> = tree.iter().map(|plan| plan.plan_id.as_str()).collect();
            run(&transaction, TREE_PAGE, range, &mut scan, &mut decoder, |of| below.contains(of))?;
        }
    }
    Ok(scan.finish())
}

/// Goes through the rows of `sql` until the page is full.
fn run(
    connection: &Connection,
    sql: &str,
    range: impl Params,
    scan: &mut Scan<'_>,
    decoder: &mut EventDecoder,
    of_plans: impl Fn(&str) -> bool,
) -> Result<(), StoreError> {
    let mut select = connection.prepare_cached(sql).map_err(store_error)?;
    let mut rows = select.query(range).map_err(store_error)?;
    while let Some(row) = rows.next().map_err(store_error)? {
        let row = decoder.check(row)?;
        let step =
            scan.offer(row.position(), of_plans(row.plan_id()), row.event_type(), || decoder.event(&row))?;
        if step == ControlFlow::Break(()) {
            break;
        }
    }
    Ok(())
}

/// The events of these ids.
pub(crate) fn by_event_ids(
    connection: &mut Connection,
    ids: &[EventId],
) -> Result<Vec<Arc<StoredEvent>>, StoreError> {
    let transaction = connection.transaction().map_err(store_error)?;
    let (log_id, _) = log_end(&transaction)?;
    let mut decoder = EventDecoder::new(log_id);
    let mut select = transaction.prepare_cached(EVENT_BY_ID).map_err(store_error)?;
    let mut found = Vec::new();
    for id in ids.iter().take(PAGE_EVENTS_MAX) {
        let mut rows = select.query(params![id.to_string()]).map_err(store_error)?;
        if let Some(row) = rows.next().map_err(store_error)? {
            let row = decoder.check(row)?;
            found.push(decoder.event(&row)?);
        }
    }
    Ok(found)
}

fn plan(connection: &Connection, plan: &PlanId) -> Result<Option<PlanRow>, StoreError> {
    Ok(plan_rows(connection, PLAN_BY_ID, params![plan.as_str()], 1, |_| true)?.pop())
}

/// Up to `limit` rows of `plans` that are wanted.
fn plan_rows(
    connection: &Connection,
    sql: &str,
    range: impl Params,
    limit: usize,
    mut wanted: impl FnMut(&PlanRow) -> bool,
) -> Result<Vec<PlanRow>, StoreError> {
    let mut select = connection.prepare_cached(sql).map_err(store_error)?;
    let mut rows = select.query(range).map_err(store_error)?;
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(row) = rows.next().map_err(store_error)?
    {
        let plan = decode::plan(row)?;
        if wanted(&plan) {
            found.push(plan);
        }
    }
    Ok(found)
}

/// The plan and all below it, oldest first: parents start before their children, so one pass finds them.
fn plans_below(connection: &Connection, top: &PlanRow) -> Result<Vec<PlanRow>, StoreError> {
    let mut below: HashSet<PlanId> = HashSet::from([top.plan_id.clone()]);
    plan_rows(connection, PLANS_OF_TREE, params![top.root_plan_id.as_str()], usize::MAX, |plan| {
        let inside = plan.parent_plan_id.as_ref().is_some_and(|parent| below.contains(parent));
        if inside {
            below.insert(plan.plan_id.clone());
        }
        inside || plan.plan_id == top.plan_id
    })
}

/// Rows of `plans`.
pub(crate) fn plans(connection: &mut Connection, query: &PlanQuery) -> Result<PlanPage, StoreError> {
    let transaction = connection.transaction().map_err(store_error)?;
    let limit = query.limit();
    let some = match &query.scope {
        PlanScope::All => return all_plans(&transaction, query, false),
        PlanScope::Roots => return all_plans(&transaction, query, true),
        PlanScope::Tree(top) => match plan(&transaction, top)? {
            Some(top) => plans_below(&transaction, &top)?,
            None => Vec::new(),
        },
        PlanScope::These(these) => {
            let mut found = Vec::new();
            for one in these.iter().take(PAGE_EVENTS_MAX) {
                found.extend(plan(&transaction, one)?);
            }
            found.sort_by_key(|plan: &PlanRow| plan.first_position);
            found.dedup_by_key(|plan| plan.first_position);
            found
        }
    };
    let wanted = |plan: &PlanRow| {
        let on = query.after.is_none_or(|after| match query.order {
            PlanOrder::NewestFirst => plan.first_position < after,
            PlanOrder::OldestFirst => plan.first_position > after,
        });
        on && (plan.status.is_open() || !query.open_only)
    };
    let some = some.into_iter().filter(wanted);
    let page = match query.order {
        PlanOrder::NewestFirst => some.rev().take(limit + 1).collect(),
        PlanOrder::OldestFirst => some.take(limit + 1).collect(),
    };
    Ok(PlanPage::cut(page, limit))
}

fn all_plans(connection: &Connection, query: &PlanQuery, roots_only: bool) -> Result<PlanPage, StoreError> {
    let mut sql = concat!("SELECT ", plan_columns!(), " FROM plans WHERE first_position").to_owned();
    let (side, order, from) = match query.order {
        PlanOrder::NewestFirst => {
            (" < ?1", "DESC", query.after.map_or(i64::MAX, |after| sql_number(after.get())))
        }
        PlanOrder::OldestFirst => (" > ?1", "ASC", query.after.map_or(0, |after| sql_number(after.get()))),
    };
    sql.push_str(side);
    if roots_only {
        sql.push_str(" AND parent_plan_id IS NULL");
    }
    if query.open_only {
        sql.push_str(" AND state = 'open'");
    }
    sql.push_str(" ORDER BY first_position ");
    sql.push_str(order);
    sql.push_str(" LIMIT ?2");
    let limit = query.limit();
    let rows = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    Ok(PlanPage::cut(plan_rows(connection, &sql, params![from, rows], limit + 1, |_| true)?, limit))
}

/// A plan document.
pub(crate) fn document(connection: &mut Connection, digest: Digest) -> Result<Option<Arc<str>>, StoreError> {
    connection
        .prepare_cached("SELECT body FROM plan_documents WHERE digest = ?1")
        .and_then(|mut select| select.query_row(params![digest.as_bytes()], |row| row.get(0)).optional())
        .map_err(store_error)
}

/// A chunk of a blob.
pub(crate) fn blob(
    connection: &mut Connection,
    digest: Digest,
    chunk: u32,
) -> Result<Option<Vec<u8>>, StoreError> {
    connection
        .prepare_cached("SELECT body FROM blobs WHERE digest = ?1 AND chunk = ?2")
        .and_then(|mut select| {
            select.query_row(params![digest.as_bytes(), chunk], |row| row.get(0)).optional()
        })
        .map_err(store_error)
}
