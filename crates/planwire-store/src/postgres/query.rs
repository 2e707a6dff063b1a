//! What readers ask for events.
//!
//! A page is as of the head that it looked at first. The statements after it are later and see more; what lies beyond
//! that head is left out, and nothing before it can have changed, since a log only grows.

use std::pin::pin;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _};
use planwire_event::{Digest, EventId, EventTypes, Filter, LogId, Position, Scope, StoredEvent};
use tokio_postgres::types::{ToSql, Type};

use crate::contract::{LogInfo, PAGE_EVENTS_MAX, Page, PageLimits, PlanRow};
use crate::decoder::EventDecoder;
use crate::postgres::decode::{self, event_columns, position};
use crate::postgres::error::sql_number;
use crate::postgres::plans;
use crate::postgres::session::{Failure, Session};
use crate::scan::{SCAN_ROWS_MAX, Scan};

const LOG_END: &str = "SELECT log_id, head FROM planwire_log";

/// Rows of the log: after $1, up to $2, of types $3, at most $4.
const LOG_ROWS: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM plan_events WHERE id > $1 AND id <= $2 AND ($3::text[] IS NULL OR event_type = ANY($3)) ORDER BY id LIMIT $4"
);
/// The same of a tree, $5, and of one of its plans, $6, unless that is null.
const TREE_ROWS: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM plan_events WHERE root_plan_id = $5 AND id > $1 AND id <= $2 \
      AND ($3::text[] IS NULL OR event_type = ANY($3)) AND ($6::text IS NULL OR plan_id = $6) ORDER BY id LIMIT $4"
);
/// The same of a plan, $6, and all below it.
const SUBTREE_ROWS: &str = concat!(
    "WITH RECURSIVE below AS (SELECT $6::text COLLATE \"C\" AS plan_id UNION SELECT plans.plan_id FROM plans JOIN below \
       ON plans.parent_plan_id = below.plan_id WHERE plans.root_plan_id = $5) SELECT ",
    event_columns!(),
    " FROM plan_events WHERE root_plan_id = $5 AND id > $1 AND id <= $2 \
      AND ($3::text[] IS NULL OR event_type = ANY($3)) AND plan_id IN (SELECT plan_id FROM below) ORDER BY id LIMIT $4"
);
/// Where a page that looks at as many rows as it may has to end: there is such a row, or none.
const LOG_BOUND: &str = "SELECT id FROM plan_events WHERE id > $1 AND id <= $2 ORDER BY id OFFSET $3 LIMIT 1";
const TREE_BOUND: &str = "SELECT id FROM plan_events WHERE root_plan_id = $4 AND id > $1 AND id <= $2 ORDER BY id OFFSET $3 LIMIT 1";
const EVENTS_BY_ID: &str =
    concat!("SELECT ", event_columns!(), " FROM plan_events WHERE event_id = ANY($1) ORDER BY id");

/// Rows that the first statement of a page fetches. What a page may hold in bytes is known only while it is read: the
/// next statement asks for as many rows as will fit if they are like those before.
const FIRST_ROWS: usize = 128;
/// Rows that a statement fetches at least.
const ROWS_MIN: usize = 16;

/// Which rows a page is made of.
struct Wanted {
    from: i64,
    to: i64,
    types: Option<Vec<String>>,
    rows: Rows,
}

enum Rows {
    Log,
    Tree { root: String, plan: Option<String> },
    Subtree { root: String, plan: String },
}

impl Wanted {
    /// Whether every row of the range is wanted: then events end a page before rows do.
    const fn is_everything(&self) -> bool {
        self.types.is_none() && matches!(self.rows, Rows::Log | Rows::Tree { plan: None, .. })
    }
}

fn type_names(types: &EventTypes) -> Option<Vec<String>> {
    match types {
        EventTypes::All => None,
        EventTypes::Only(types) => Some(types.iter().map(|known| known.as_str().to_owned()).collect()),
    }
}

/// What the log says of itself.
pub(crate) async fn log_info(session: &mut Session) -> Result<LogInfo, Failure> {
    let sql = "SELECT planwire_log.log_id, head, pruned_to, log_lineage.log_id, valid_to \
               FROM planwire_log LEFT JOIN log_lineage ON true ORDER BY log_lineage.log_id";
    let rows = session.client.query_typed(sql, &[]).await?;
    let first = rows.first().ok_or_else(|| crate::decoder::damaged(0, "the log has no head"))?;
    let mut lineage = Vec::new();
    for row in &rows {
        if let Some(log) = row.try_get::<_, Option<&str>>(3)? {
            lineage.push((decode::log_id(log)?, position(row.try_get(4)?)));
        }
    }
    Ok(LogInfo {
        log_id: decode::log_id(first.try_get(0)?)?,
        head: position(first.try_get(1)?),
        pruned_to: position(first.try_get(2)?),
        lineage,
    })
}

/// Id and last position of the log.
pub(crate) async fn log_end(session: &mut Session) -> Result<(LogId, Position), Failure> {
    let statement = session.prepared(LOG_END).await?;
    let row = session.client.query_opt(&statement, &[]).await?;
    let row = row.ok_or_else(|| crate::decoder::damaged(0, "the log has no head"))?;
    Ok((decode::log_id(row.try_get(0)?)?, position(row.try_get(1)?)))
}

/// Sessions of the same log that are not called `own`.
pub(crate) async fn other_sessions(session: &mut Session, own: &str) -> Result<bool, Failure> {
    // Within a transaction the first look is shown again and again.
    session.client.batch_execute("SELECT pg_stat_clear_snapshot()").await?;
    // The names differ in eight digits.
    let sql = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() \
               AND application_name <> $1 AND left(application_name, 9) = left($1, 9) \
               AND substr(application_name, 18) = substr($1, 18))";
    Ok(session.client.query_typed_one(sql, &[(&own, Type::TEXT)]).await?.try_get(0)?)
}

/// One page of events.
pub(crate) async fn page(
    session: &mut Session,
    after: Position,
    filter: &Filter,
    limits: PageLimits,
) -> Result<Page, Failure> {
    let (log_id, head) = log_end(session).await?;
    let mut scan = Scan::new(after, head, &filter.types, limits);
    let types = type_names(&filter.types);
    let (from, to) = (sql_number(after.get()), sql_number(head.get()));
    let wanted = match filter.named_plan() {
        None => Wanted { from, to, types, rows: Rows::Log },
        Some(named) => {
            let Some(plan) = plans::one(session, named).await? else { return Ok(scan.finish()) };
            of_plan(&plan, filter, Wanted { from, to, types, rows: Rows::Log })
        }
    };
    let bound = bound(session, &wanted).await?;
    let wanted = Wanted { to: bound.unwrap_or(wanted.to), ..wanted };
    let mut decoder = EventDecoder::new(log_id);
    let ended_by_rows = read(session, &wanted, &mut scan, &mut decoder).await?;
    if let Some(bound) = bound.filter(|_| ended_by_rows) {
        scan.stop_at(position(bound));
    }
    Ok(scan.finish())
}

/// Narrows a page to a plan, or to what lies below it.
fn of_plan(plan: &PlanRow, filter: &Filter, wanted: Wanted) -> Wanted {
    let root = plan.root_plan_id.as_str().to_owned();
    let name = plan.plan_id.as_str().to_owned();
    let from = wanted.from.max(sql_number(plan.first_position.previous().get()));
    match filter.scope {
        Scope::Plan(_) => {
            let last = plan.last_position.map_or(i64::MAX, |last| sql_number(last.get()));
            let to = wanted.to.min(last);
            Wanted { from, to, rows: Rows::Tree { root, plan: Some(name) }, ..wanted }
        }
        _ if plan.parent_plan_id.is_none() => {
            Wanted { from, rows: Rows::Tree { root, plan: None }, ..wanted }
        }
        _ => Wanted { from, rows: Rows::Subtree { root, plan: name }, ..wanted },
    }
}

/// The last row that the page may look at, if there are more.
async fn bound(session: &mut Session, wanted: &Wanted) -> Result<Option<i64>, Failure> {
    let rows = i64::try_from(SCAN_ROWS_MAX).unwrap_or(i64::MAX);
    if wanted.is_everything() || wanted.to.saturating_sub(wanted.from) < rows {
        return Ok(None);
    }
    let skipped = rows - 1;
    let row = match &wanted.rows {
        Rows::Log => {
            let statement = session.prepared(LOG_BOUND).await?;
            session.client.query_opt(&statement, &[&wanted.from, &wanted.to, &skipped]).await?
        }
        Rows::Tree { root, .. } | Rows::Subtree { root, .. } => {
            let statement = session.prepared(TREE_BOUND).await?;
            session.client.query_opt(&statement, &[&wanted.from, &wanted.to, &skipped, root]).await?
        }
    };
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Reads rows until the page is full, or there are no more of them: then true.
async fn read(
    session: &mut Session,
    wanted: &Wanted,
    scan: &mut Scan<'_>,
    decoder: &mut EventDecoder,
) -> Result<bool, Failure> {
    let statement = session.prepared(match &wanted.rows {
        Rows::Log => LOG_ROWS,
        Rows::Tree { .. } => TREE_ROWS,
        Rows::Subtree { .. } => SUBTREE_ROWS,
    });
    let statement = statement.await?;
    let (mut from, mut rows_max) = (wanted.from, FIRST_ROWS);
    loop {
        rows_max = rows_max.min(scan.events_left());
        let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&from, &wanted.to, &wanted.types, &limit];
        match &wanted.rows {
            Rows::Log => {}
            Rows::Tree { root, plan } => parameters.extend([root as &(dyn ToSql + Sync), plan]),
            Rows::Subtree { root, plan } => parameters.extend([root as &(dyn ToSql + Sync), plan]),
        }
        let mut rows = pin!(session.client.query_raw(&statement, parameters).await?);
        let mut count = 0;
        let mut last = from;
        while let Some(row) = rows.try_next().await? {
            last = row.try_get(0)?;
            count += 1;
            let step = scan.offer(position(last), true, row.try_get::<_, &str>(2)?.as_bytes(), || {
                decode::event(decoder, &row, last)
            })?;
            if step.is_break() {
                // The rest, if any, is for the next page; the connection reads over it.
                while rows.next().await.is_some() {}
                return Ok(false);
            }
        }
        if count < rows_max {
            return Ok(true);
        }
        from = last;
        rows_max = scan.rows_that_fit().max(ROWS_MIN);
    }
}

/// The events of these ids.
pub(crate) async fn by_event_ids(
    session: &mut Session,
    ids: &[EventId],
) -> Result<Vec<Arc<StoredEvent>>, Failure> {
    let (log_id, _) = log_end(session).await?;
    let texts: Vec<String> = ids.iter().take(PAGE_EVENTS_MAX).map(ToString::to_string).collect();
    let statement = session.prepared(EVENTS_BY_ID).await?;
    let mut decoder = EventDecoder::new(log_id);
    let mut found = Vec::new();
    let mut rows = pin!(session.client.query_raw(&statement, [&texts]).await?);
    while let Some(row) = rows.try_next().await? {
        let id = row.try_get(0)?;
        found.push(decode::event(&mut decoder, &row, id)?);
    }
    Ok(found)
}

/// A plan document.
pub(crate) async fn document(session: &mut Session, digest: Digest) -> Result<Option<Arc<str>>, Failure> {
    let sql = "SELECT body FROM plan_documents WHERE digest = $1";
    let digest = &digest.as_bytes()[..];
    let row = session.client.query_typed_opt(sql, &[(&digest, Type::BYTEA)]).await?;
    Ok(row.map(|row| row.try_get::<_, &str>(0).map(Arc::from)).transpose()?)
}

/// A chunk of a blob.
pub(crate) async fn blob(
    session: &mut Session,
    digest: Digest,
    chunk: u32,
) -> Result<Option<Vec<u8>>, Failure> {
    let Ok(chunk) = i32::try_from(chunk) else { return Ok(None) };
    let sql = "SELECT body FROM blobs WHERE digest = $1 AND chunk = $2";
    let digest = &digest.as_bytes()[..];
    let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&digest, Type::BYTEA), (&chunk, Type::INT4)];
    let row = session.client.query_typed_opt(sql, &parameters).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}
