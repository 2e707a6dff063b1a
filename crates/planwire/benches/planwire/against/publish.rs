//! Publishing beside Redis and PostgreSQL: one in flight, 64 publishers that each wait for their own, bulk.

use anyhow::Result;

use crate::against::{REDIS, TABLE};
use crate::blocks::{Side, alternate_all};
use crate::numbers::{Spread, millis, per_second};
use crate::product::{EventMaker, Product};
use crate::publish::{PLANS, PUBLISHERS, in_bulk, one_by_one, publishers};
use crate::raw_log;
use crate::rivals::postgres::Postgres;
use crate::rivals::redis::Redis;
use crate::rivals::table::Table;
use crate::row::{Row, Target};
use crate::setting::Setting;

const LIMIT: &str = "append + fdatasync";
const COPY: &str = "PostgreSQL COPY";
const UNNEST: &str = "PostgreSQL UNNEST";
const PIPELINED: &str = "Redis, appendfsync always, pipelined";

/// Events per second and the median of their milliseconds.
fn rate_and_p50(times: Vec<std::time::Duration>) -> Vec<f64> {
    let rate = per_second(times.len(), times.iter().sum());
    vec![rate, Spread::of(times.into_iter().map(millis)).median()]
}

/// One publisher, each event durable before the next.
pub(crate) fn one_in_flight(setting: &Setting) -> Result<Vec<Row>> {
    let (events, maker) = (setting.amount(4_000, 500), EventMaker::system()?);
    let (mut redis, postgres) = (Redis::start(setting)?, Postgres::start(setting)?);
    let table = postgres.as_ref().map(|server| Table::new(setting, server, &maker));
    let limit = || {
        let rate = raw_log::appends(setting.folder(), events, 1)?;
        Ok(vec![rate, 1e3 / rate])
    };
    let mut sides = vec![Side::new(LIMIT, limit)];
    if let Some(redis) = &mut redis {
        sides.push(Side::new(REDIS, || Ok(rate_and_p50(redis.one_by_one(setting, &maker, events)?))));
    }
    if let Some(table) = &table {
        sides.push(Side::new(TABLE, || Ok(rate_and_p50(table.one_by_one(events)?))));
    }
    let run = alternate_all(setting, &mut sides, || {
        Ok(rate_and_p50(one_by_one(setting, Product::open(setting.folder())?, events)?))
    })?;
    let row = |name, side, target| Some(Row::new(name, "events/s", run.beside(side, 0)?).target(target));
    let p50 = run.beside(REDIS, 1).map(|blocks| Row::new("the same, p50", "ms", blocks));
    let rows = [
        row("durable publish, 1 in flight", REDIS, Target::Times(1.2)),
        p50,
        row("the same", LIMIT, Target::Times(0.85)),
        row("the same", TABLE, Target::Printed),
    ];
    Ok(rows.into_iter().flatten().collect())
}

/// 64 publishers, each waits for its own event before it publishes the next.
pub(crate) fn sixty_four(setting: &Setting) -> Result<Vec<Row>> {
    let (each, maker) = (setting.amount(3_000, 200), EventMaker::system()?);
    let (mut redis, postgres) = (Redis::start(setting)?, Postgres::start(setting)?);
    let table = postgres.as_ref().map(|server| Table::new(setting, server, &maker));
    let mut sides = Vec::new();
    if let Some(redis) = &mut redis {
        sides.push(Side::one(REDIS, || redis.publishers(setting, &maker, PUBLISHERS, each)));
    }
    if let Some(table) = &table {
        sides.push(Side::one(TABLE, || table.publishers(PUBLISHERS, PLANS, each)));
    }
    let run = alternate_all(setting, &mut sides, || {
        Ok(vec![publishers(setting, Product::open(setting.folder())?, each)?.0])
    })?;
    let row = |name, side, target| Some(Row::new(name, "events/s", run.beside(side, 0)?).target(target));
    let rows = [
        row("durable publish, 64 publishers", REDIS, Target::Times(1.3)),
        row("the same", TABLE, Target::Times(5.0)),
    ];
    Ok(rows.into_iter().flatten().collect())
}

/// Many events in flight from one publisher.
pub(crate) fn bulk(setting: &Setting) -> Result<Vec<Row>> {
    let (events, maker) = (setting.amount(150_000, 30_000), EventMaker::system()?);
    let (mut redis, postgres) = (Redis::start(setting)?, Postgres::start(setting)?);
    let table = postgres.as_ref().map(|server| Table::new(setting, server, &maker));
    let mut sides = Vec::new();
    if let Some(table) = &table {
        sides.push(Side::one(COPY, || table.copy(PLANS, events)));
        sides.push(Side::one(UNNEST, || table.unnest(PLANS, events)));
    }
    if let Some(redis) = &mut redis {
        sides.push(Side::one(PIPELINED, || redis.in_bulk(setting, &maker, events)));
    }
    let run = alternate_all(setting, &mut sides, || {
        Ok(vec![in_bulk(setting, Product::open(setting.folder())?, events)?])
    })?;
    let row = |name, side, target| Some(Row::new(name, "events/s", run.beside(side, 0)?).target(target));
    let rows = [
        row("durable bulk", COPY, Target::Times(1.5)),
        row("the same", UNNEST, Target::Printed),
        row("the same", PIPELINED, Target::Printed),
    ];
    Ok(rows.into_iter().flatten().collect())
}
