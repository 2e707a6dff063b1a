//! A burst of events of one plan to a thousand clients that follow it.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::blocks;
use crate::loopback;
use crate::numbers::per_second;
use crate::product::{NO_HEARTBEAT, Product};
use crate::row::{Row, Target};
use crate::setting::Setting;
use crate::sse_client::{Crowd, request};

/// Clients of the largest burst.
pub(crate) const CLIENTS: usize = 1_000;

/// Frames of a stream besides the burst: the greeting, the plan's terminal event, the end.
const OTHER_FRAMES: usize = 3;

/// From the first publish until the last client has read the end of its stream.
pub(crate) fn to_a_thousand(setting: &Setting) -> Result<Vec<Row>> {
    let events = setting.amount(2_000, 300);
    let mut frame_bytes = 0;
    let blocks = blocks::alternate(
        setting,
        "ready-made blocks over loopback",
        || loopback::deliveries(&setting.runtime, CLIENTS, events),
        || {
            let (rate, bytes) = burst(setting, CLIENTS, events)?;
            frame_bytes = bytes;
            Ok(rate)
        },
    )?;
    let row = Row::new("SSE burst to 1,000 clients", "deliveries/s", blocks);
    let note = format!("{events} events, {frame_bytes} bytes per delivery; clients in the same process");
    Ok(vec![row.target(Target::AtLeast(1e6)).note(note)])
}

/// Deliveries per second, and bytes of each.
pub(crate) fn burst(setting: &Setting, clients: usize, events: usize) -> Result<(f64, usize)> {
    let product = Product::open(setting.folder())?;
    let (plans, serving) = setting
        .runtime
        .block_on(async { anyhow::Ok((product.start_tree(1).await?, product.serve(NO_HEARTBEAT).await?)) })?;
    let crowd = Crowd::connect(serving.address, &request(&plans[0], "now"), clients)?;
    let begun = Instant::now();
    setting.runtime.block_on(async {
        product.publish_bulk(&plans, events).await?;
        product.complete(&plans[0]).await
    })?;
    let counts = crowd.finish()?;
    let elapsed = begun.elapsed();
    setting.runtime.block_on(async {
        serving.close().await?;
        product.close().await;
        anyhow::Ok(())
    })?;
    let complete = counts.iter().filter(|count| count.frames == events + OTHER_FRAMES).count();
    ensure!(complete == clients, "{} clients did not get every event", clients - complete);
    let bytes: usize = counts.iter().map(|count| count.bytes).sum();
    Ok((per_second(clients * events, elapsed), bytes / (clients * events)))
}
