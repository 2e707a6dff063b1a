//! Our repository in PostgreSQL: beside statements by hand on the same server, and how far a second process lags.

use std::time::Instant;

use anyhow::{Result, ensure};
use planwire_bus::StartAt;
use planwire_event::Filter;

use crate::against::TABLE;
use crate::blocks::{Side, alternate_all};
use crate::live::{PACE, paced_appends};
use crate::numbers::{Spread, millis};
use crate::product::{EventMaker, Product};
use crate::publish::{PLANS, PUBLISHERS, publishers};
use crate::rivals::postgres::Postgres;
use crate::rivals::table::Table;
use crate::row::{Row, Target};
use crate::setting::Setting;

const UNNEST: &str = "PostgreSQL UNNEST";
const LIMIT: &str = "append + fdatasync at 200/s";

/// Milliseconds within which a second process has seen an event.
const LAG_P99_MS: f64 = 25.0;

/// 64 publishers into our repository there.
pub(crate) fn sixty_four(setting: &Setting) -> Result<Vec<Row>> {
    let (each, events) = (setting.amount(3_000, 200), setting.amount(100_000, 20_000));
    let Some(server) = Postgres::start(setting)? else { return Ok(Vec::new()) };
    let maker = EventMaker::system()?;
    let table = Table::new(setting, &server, &maker);
    let mut sides = [
        Side::one(TABLE, || table.publishers(PUBLISHERS, PLANS, each)),
        Side::one(UNNEST, || table.unnest(PLANS, events)),
    ];
    let mut logs = 0;
    let run = alternate_all(setting, &mut sides, || {
        logs += 1;
        let product = Product::open_postgres(&server.url(&format!("log{logs}")))?;
        Ok(vec![publishers(setting, product, each)?.0])
    })?;
    Ok(vec![
        Row::new("our PostgreSQL log, 64 publishers", "events/s", run.blocks(0, 0))
            .target(Target::Times(5.0)),
        Row::new("the same", "events/s", run.blocks(1, 0))
            .target(Target::Times(0.7))
            .note("UNNEST: 512 events per statement, two connections"),
    ])
}

/// From the call of publish at one bus until a reader of a second bus on the same database has the event.
pub(crate) fn lag(setting: &Setting) -> Result<Vec<Row>> {
    let events = setting.amount(600, 150);
    let Some(server) = Postgres::start(setting)? else { return Ok(Vec::new()) };
    let mut logs = 0;
    let limit = || {
        let p50 = paced_appends(setting, events)?;
        Ok(vec![p50, p50])
    };
    let run = alternate_all(setting, &mut [Side::new(LIMIT, limit)], || {
        logs += 1;
        let url = server.url(&format!("log{logs}"));
        let lags = seen_elsewhere(setting, &url, events)?;
        Ok(vec![lags.median(), lags.quantile(99)])
    })?;
    let note = "from the call of publish at one process until another has it";
    Ok(vec![
        Row::new("lag between two processes on PostgreSQL, p50", "ms", run.blocks(0, 0)).note(note),
        Row::new("the same, p99", "ms", run.blocks(0, 1)).target(Target::AtMost(LAG_P99_MS)),
    ])
}

fn seen_elsewhere(setting: &Setting, url: &str, events: usize) -> Result<Spread> {
    let (here, there) = (Product::open_postgres(url)?, Product::open_postgres(url)?);
    setting.runtime.block_on(async {
        let plan = here.start_tree(1).await?.remove(0);
        let mut reader = there.bus.stream(Filter::plan(plan.clone()), StartAt::Start).await?;
        ensure!(reader.next_batch(1, usize::MAX).await?.events.len() == 1, "the plan did not start");
        let seeing = tokio::spawn(async move {
            let mut seen = Vec::with_capacity(events);
            while seen.len() < events {
                let batch = reader.next_batch(events - seen.len(), usize::MAX).await?;
                let now = Instant::now();
                seen.extend(batch.events.iter().map(|event| (event.event.event_id(), now)));
            }
            anyhow::Ok(seen)
        });
        let (maker, mut pace) = (here.maker(), tokio::time::interval(PACE));
        let mut sent = Vec::with_capacity(events);
        for _ in 0..events {
            pace.tick().await;
            let event = maker.make(&plan)?;
            sent.push((event.event_id(), Instant::now()));
            here.publisher.publish(event).await?;
        }
        let seen = seeing.await??;
        let same = sent.iter().map(|(id, _)| id).eq(seen.iter().map(|(id, _)| id));
        ensure!(same, "other events were seen than published");
        let lags = Spread::of(sent.iter().zip(&seen).map(|((_, sent), (_, seen))| millis(*seen - *sent)));
        here.close().await;
        there.close().await;
        Ok(lags)
    })
}
