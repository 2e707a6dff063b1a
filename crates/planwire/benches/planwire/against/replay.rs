//! A long plan from the store, beside Redis' XRANGE and PostgreSQL's SELECT of as many events.

use anyhow::Result;

use crate::against::REDIS;
use crate::blocks::{Side, alternate_all};
use crate::product::EventMaker;
use crate::replay::Replay;
use crate::rivals::postgres::Postgres;
use crate::rivals::redis::Redis;
use crate::rivals::table::Table;
use crate::row::{Row, Target};
use crate::setting::Setting;

const XRANGE: &str = "Redis XRANGE";
const SELECT: &str = "PostgreSQL SELECT";

/// Figures of the product: pages of the store, a subscription, a stream to one client.
const WAYS: usize = 3;

/// Events per second as a stream to one client.
const STREAM_RATE: f64 = 1e6;

/// 900,000 events of one plan.
pub(crate) fn from_the_store(setting: &Setting) -> Result<Vec<Row>> {
    let (events, maker) = (setting.amount(900_000, 100_000), EventMaker::system()?);
    let (mut redis, postgres) = (Redis::start(setting)?, Postgres::start(setting)?);
    let table = postgres.as_ref().map(|server| Table::new(setting, server, &maker));
    let mut sides = Vec::new();
    if let Some(redis) = &mut redis {
        let stream = redis.fill(setting, &maker, events)?;
        sides.push(Side::new(XRANGE, move || Ok(vec![redis.replay(&stream, events)?; WAYS])));
    }
    if let Some(table) = &table {
        let plan = table.fill(events)?;
        sides.push(Side::new(SELECT, move || Ok(vec![table.replay(&plan, events)?; WAYS])));
    }
    let replay = Replay::fill(setting, events)?;
    let run = alternate_all(setting, &mut sides, || {
        Ok(vec![replay.pages(setting)?, replay.subscription(setting)?, replay.stream(setting)?])
    })?;
    replay.close(setting)?;
    let row =
        |name, side, way, target| Some(Row::new(name, "events/s", run.beside(side, way)?).target(target));
    let note = format!("{events} events of one plan; {REDIS}");
    let rows = [
        row("replay from the store, pages", XRANGE, 0, Target::Times(1.4)).map(|row| row.note(note)),
        row("the same", SELECT, 0, Target::Printed),
        row("replay through a subscription", XRANGE, 1, Target::Printed),
        row("replay as SSE to one client", XRANGE, 2, Target::AtLeast(STREAM_RATE)),
    ];
    Ok(rows.into_iter().flatten().collect())
}
