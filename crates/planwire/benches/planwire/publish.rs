//! Publishing: one event in flight, 64 publishers that each wait for their own, requests in a pipeline.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

use crate::blocks;
use crate::numbers::{Spread, grouped, millis, per_second};
use crate::pairs::Blocks;
use crate::product::{BULK_EVENTS, Product};
use crate::raw_log;
use crate::row::{Row, Target};
use crate::setting::{SIDE_MAX, Setting};

/// Publishers that wait for their own events.
pub(crate) const PUBLISHERS: usize = 64;

/// Plans of the tree that they publish to.
pub(crate) const PLANS: usize = 16;

/// Target of the bulk row where a raw log takes a million events per second.
const BULK_TARGET: f64 = 100_000.0;

/// One publisher, each event durable before the next.
pub(crate) fn one_in_flight(setting: &Setting) -> Result<Vec<Row>> {
    let events = setting.amount(4_000, 500);
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    let blocks = blocks::alternate(
        setting,
        "append + fdatasync",
        || raw_log::appends(setting.folder(), events, 1),
        || {
            let times = one_by_one(setting, Product::open(setting.folder())?, events)?;
            let (published, elapsed) = (times.len(), times.iter().sum());
            let spread = Spread::of(times.into_iter().map(millis));
            p50.push(spread.median());
            p99.push(spread.quantile(99));
            Ok(per_second(published, elapsed))
        },
    )?;
    let note = format!("p50 {:.3} ms, p99 {:.3} ms", Spread::of(p50).median(), Spread::of(p99).median());
    let row = Row::new("durable publish, 1 in flight", "events/s", blocks);
    Ok(vec![row.target(Target::Times(0.6)).note(note)])
}

/// How long each event took, published into `product` one after the other.
pub(crate) fn one_by_one(setting: &Setting, product: Product, events: usize) -> Result<Vec<Duration>> {
    setting.runtime.block_on(async {
        let plan = product.start_tree(1).await?.remove(0);
        let maker = product.maker();
        let (mut times, first) = (Vec::with_capacity(events), Instant::now());
        while times.len() < events && first.elapsed() < SIDE_MAX {
            let begun = Instant::now();
            product.publisher.publish(maker.make(&plan)?).await?;
            times.push(begun.elapsed());
        }
        product.close().await;
        Ok(times)
    })
}

/// 64 publishers, each waits for its own event before it publishes the next.
pub(crate) fn sixty_four(setting: &Setting) -> Result<Vec<Row>> {
    let each = setting.amount(3_000, 200);
    let mut shared = Vec::new();
    let blocks = blocks::alternate(
        setting,
        "64 publishers, raw group fdatasync",
        || raw_log::group_commit(&setting.runtime, setting.folder(), PUBLISHERS, each),
        || {
            let (rate, events_per_commit) = publishers(setting, Product::open(setting.folder())?, each)?;
            shared.push(events_per_commit);
            Ok(rate)
        },
    )?;
    let note =
        format!("{} events per commit; {PLANS} plans of one tree", grouped(Spread::of(shared).median()));
    let row = Row::new("durable publish, 64 publishers", "events/s", blocks);
    Ok(vec![row.target(Target::Times(0.2)).note(note)])
}

/// Events per second of [`PUBLISHERS`] into `product`, and events per commit.
pub(crate) fn publishers(setting: &Setting, product: Product, each: usize) -> Result<(f64, f64)> {
    setting.runtime.block_on(async {
        let plans = product.start_tree(PLANS).await?;
        let before = product.bus.counters();
        let begun = Instant::now();
        let mut tasks = JoinSet::new();
        for number in 0..PUBLISHERS {
            let (publisher, maker) = (product.publisher.clone(), product.maker());
            let plan = plans[number % PLANS].clone();
            tasks.spawn(async move {
                let mut published = 0;
                while published < each && begun.elapsed() < SIDE_MAX {
                    publisher.publish(maker.make(&plan)?).await?;
                    published += 1;
                }
                anyhow::Ok(published)
            });
        }
        let events = tasks.join_all().await.into_iter().sum::<Result<usize>>()?;
        let elapsed = begun.elapsed();
        let commits = product.bus.counters().commits - before.commits;
        product.close().await;
        Ok((per_second(events, elapsed), events as f64 / commits.max(1) as f64))
    })
}

/// One publisher that keeps several requests of many events in flight.
pub(crate) fn bulk(setting: &Setting) -> Result<Vec<Row>> {
    let events = setting.amount(200_000, 30_000);
    let blocks = blocks::alternate(
        setting,
        "raw log, 512 events per fdatasync",
        || raw_log::appends(setting.folder(), events, BULK_EVENTS),
        || in_bulk(setting, Product::open(setting.folder())?, events),
    )?;
    let target = bulk_target(&blocks);
    let row = Row::new("durable bulk", "events/s", blocks);
    Ok(vec![row.target(Target::AtLeast(target)).note("512 events per request, 8 requests in flight")])
}

/// Events per second into `product`, many requests in flight.
pub(crate) fn in_bulk(setting: &Setting, product: Product, events: usize) -> Result<f64> {
    setting.runtime.block_on(async {
        let plans = product.start_tree(PLANS).await?;
        let begun = Instant::now();
        product.publish_bulk(&plans, events).await?;
        let elapsed = begun.elapsed();
        product.close().await;
        Ok(per_second(events, elapsed))
    })
}

/// The target is told for a machine whose raw log takes a million; a slower one has to reach as much less.
fn bulk_target(blocks: &Blocks) -> f64 {
    BULK_TARGET * (blocks.limit.median() / 1e6).min(1.0)
}
