//! What readers ask for plans. Each question is one statement and so of one moment, its count apart.

use planwire_event::{PlanId, PlanStatus};
use tokio_postgres::types::{ToSql, Type};

use crate::contract::{PAGE_EVENTS_MAX, PlanRow};
use crate::plan_query::{PlanOrder, PlanPage, PlanQuery, PlanScope};
use crate::postgres::decode::{self, plan_columns};
use crate::postgres::error::sql_number;
use crate::postgres::session::{Failure, Session};

const PLAN_BY_ID: &str = concat!("SELECT ", plan_columns!(), " FROM plans WHERE plan_id = $1");
const PLANS_BY_ID: &str =
    concat!("SELECT ", plan_columns!(), " FROM plans WHERE plan_id = ANY($1) ORDER BY first_position");
/// A plan, $3, and all below it.
const BELOW: &str = "WITH RECURSIVE below AS (SELECT plan_id, root_plan_id FROM plans WHERE plan_id = $3 \
    UNION SELECT plans.plan_id, plans.root_plan_id FROM plans JOIN below ON plans.parent_plan_id = below.plan_id \
      AND plans.root_plan_id = below.root_plan_id) ";

/// One plan.
pub(crate) async fn one(session: &mut Session, plan: &PlanId) -> Result<Option<PlanRow>, Failure> {
    let statement = session.prepared(PLAN_BY_ID).await?;
    let row = session.client.query_opt(&statement, &[&plan.as_str()]).await?;
    Ok(row.as_ref().map(decode::plan).transpose()?)
}

/// Rows of `plans`.
pub(crate) async fn plans(session: &mut Session, query: &PlanQuery) -> Result<PlanPage, Failure> {
    match &query.scope {
        PlanScope::All => range(session, query, "", "", None).await,
        PlanScope::Roots => range(session, query, "", " AND parent_plan_id IS NULL", None).await,
        PlanScope::Context(context) => range(session, query, "", " AND context_id = $3", Some(context)).await,
        PlanScope::Tree(top) => {
            let below = " AND plan_id IN (SELECT plan_id FROM below)";
            range(session, query, BELOW, below, Some(top.as_str())).await
        }
        PlanScope::These(these) => {
            let names: Vec<&str> = these.iter().take(PAGE_EVENTS_MAX).map(|plan| plan.as_str()).collect();
            let statement = session.prepared(PLANS_BY_ID).await?;
            let rows = session.client.query(&statement, &[&names]).await?;
            let plans = rows.iter().map(decode::plan).collect::<Result<Vec<_>, _>>()?;
            Ok(PlanPage::of(query, plans.iter()))
        }
    }
}

/// Plans in their order, chosen by PostgreSQL. `value` is what `with` and `narrower` call $3.
async fn range(
    session: &mut Session,
    query: &PlanQuery,
    with: &str,
    narrower: &str,
    value: Option<&str>,
) -> Result<PlanPage, Failure> {
    let (place, side, order, last) = match query.order {
        PlanOrder::NewestFirst => ("first_position", "<", "DESC", i64::MAX),
        PlanOrder::OldestFirst => ("first_position", ">", "ASC", 0),
        PlanOrder::LastEndedFirst => ("last_position", "<", "DESC", i64::MAX),
    };
    let after = query.after.map_or(last, |after| sql_number(after.get()));
    let limit = i64::try_from(query.limit() + 1).unwrap_or(i64::MAX);
    let narrower = format!("{narrower}{}", conditions(query));
    let columns = plan_columns!();
    let page = format!(
        "{with}SELECT {columns} FROM plans WHERE {place} {side} $1{narrower} ORDER BY {place} {order} LIMIT $2"
    );
    let mut parameters: Vec<(&(dyn ToSql + Sync), Type)> = vec![(&after, Type::INT8), (&limit, Type::INT8)];
    parameters.extend(value.as_ref().map(|value| (value as &(dyn ToSql + Sync), Type::TEXT)));
    let rows = session.client.query_typed(&page, &parameters).await?;
    let plans = rows.iter().map(decode::plan).collect::<Result<Vec<_>, _>>()?;
    let total = match query.count {
        false => None,
        true => {
            let count =
                format!("{with}SELECT count(*) FROM plans WHERE {place} {side} $1 AND $2 > 0{narrower}");
            parameters[0] = (&last, Type::INT8);
            let rows: i64 = session.client.query_typed_one(&count, &parameters).await?.try_get(0)?;
            Some(u64::try_from(rows).unwrap_or(0))
        }
    };
    Ok(PlanPage::cut(query, plans, total))
}

/// Conditions of a query beside its scope and its place; of our own words and numbers only.
fn conditions(query: &PlanQuery) -> String {
    let mut sql = String::new();
    if query.open_only {
        sql.push_str(" AND state = 'open'");
    }
    if !query.statuses.is_empty() {
        let one = |status: &PlanStatus| match status.reason() {
            None => format!("state = '{}'", status.state()),
            Some(reason) => format!("state = '{}' AND reason = '{reason}'", status.state()),
        };
        let any: Vec<_> = query.statuses.iter().map(one).collect();
        sql.push_str(&format!(" AND ({})", any.join(" OR ")));
    }
    if let Some(from) = query.ended_from {
        sql.push_str(&format!(" AND last_position >= {}", sql_number(from.get())));
    }
    sql
}
