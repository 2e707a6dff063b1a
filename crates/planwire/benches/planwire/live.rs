//! From publish over the disk to a client of the event stream: one event at a time, and as many as can be.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::blocks;
use crate::numbers::{Spread, millis, per_second};
use crate::product::{BULK_EVENTS, NO_HEARTBEAT, Product};
use crate::raw_log::{self, RawLog};
use crate::row::{Row, Target};
use crate::setting::Setting;
use crate::sse_client::{Watch, request};

/// Between two events of the steady row.
pub(crate) const PACE: Duration = Duration::from_millis(5);

/// Milliseconds of an append + fdatasync for which the target of one millisecond is told.
const USUAL_FDATASYNC_MS: f64 = 0.14;

/// 200 events per second, one client: milliseconds from the call of publish until the client has read the event.
pub(crate) fn at_200_per_second(setting: &Setting) -> Result<Vec<Row>> {
    let events = setting.amount(600, 150);
    let mut p99 = Vec::new();
    let blocks = blocks::alternate(
        setting,
        "append + fdatasync at 200/s",
        || paced_appends(setting, events),
        || {
            let times = steady(setting, events)?;
            p99.push(times.quantile(99));
            Ok(times.median())
        },
    )?;
    let now_ms = raw_log::fdatasync_ms(setting.folder())?;
    // Another disk, or this one in its slow state, is measured by what it is.
    let slower = if now_ms > 2.0 * USUAL_FDATASYNC_MS { now_ms / USUAL_FDATASYNC_MS } else { 1.0 };
    let row = Row::new("publish to SSE client at 200/s, p50", "ms", blocks);
    let p99 = Row::alone("the same, p99", "ms", Spread::of(p99));
    Ok(vec![row.target(Target::AtMost(slower)), p99])
}

/// Milliseconds of an append + fdatasync at the same pace.
pub(crate) fn paced_appends(setting: &Setting, events: usize) -> Result<f64> {
    let mut log = RawLog::create(setting.folder())?;
    let mut times = Vec::with_capacity(events);
    for _ in 0..events {
        std::thread::sleep(PACE);
        let begun = Instant::now();
        log.append(1)?;
        times.push(millis(begun.elapsed()));
    }
    Ok(Spread::of(times).median())
}

/// Milliseconds from the call of publish until the client has read the event.
pub(crate) fn steady(setting: &Setting, events: usize) -> Result<Spread> {
    let product = Product::open(setting.folder())?;
    let (plans, serving) = setting
        .runtime
        .block_on(async { anyhow::Ok((product.start_tree(1).await?, product.serve(NO_HEARTBEAT).await?)) })?;
    let watch = Watch::connect(serving.address, &request(&plans[0], "now"), events)?;
    let sent = setting.runtime.block_on(async {
        let mut pace = tokio::time::interval(PACE);
        let maker = product.maker();
        let mut sent = Vec::with_capacity(events);
        for _ in 0..events {
            pace.tick().await;
            let event = maker.make(&plans[0])?;
            sent.push(Instant::now());
            product.publisher.publish(event).await?;
        }
        anyhow::Ok(sent)
    })?;
    let arrived = watch.finish()?;
    setting.runtime.block_on(async {
        serving.close().await?;
        product.close().await;
        anyhow::Ok(())
    })?;
    Ok(Spread::of(sent.iter().zip(&arrived).map(|(sent, arrived)| millis(*arrived - *sent))))
}

/// Requests of many events in a pipeline, one client: from the first publish until the client has read the last event.
pub(crate) fn at_full_speed(setting: &Setting) -> Result<Vec<Row>> {
    let events = setting.amount(100_000, 20_000);
    let blocks = blocks::alternate(
        setting,
        "raw log, 512 events per fdatasync",
        || raw_log::appends(setting.folder(), events, BULK_EVENTS),
        || full_speed(setting, events),
    )?;
    let row = Row::new("the same at full speed, 1 client", "events/s", blocks);
    Ok(vec![row.target(Target::AtLeast(30_000.0))])
}

/// Events per second from the first publish until the client has read the last event.
pub(crate) fn full_speed(setting: &Setting, events: usize) -> Result<f64> {
    let product = Product::open(setting.folder())?;
    let (plans, serving) = setting
        .runtime
        .block_on(async { anyhow::Ok((product.start_tree(1).await?, product.serve(NO_HEARTBEAT).await?)) })?;
    let watch = Watch::connect(serving.address, &request(&plans[0], "now"), events)?;
    let begun = Instant::now();
    setting.runtime.block_on(product.publish_bulk(&plans, events))?;
    let arrived = watch.finish()?;
    let elapsed = arrived.last().map_or(Duration::ZERO, |last| *last - begun);
    setting.runtime.block_on(async {
        serving.close().await?;
        product.close().await;
        anyhow::Ok(())
    })?;
    Ok(per_second(events, elapsed))
}
