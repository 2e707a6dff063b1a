//! From the ring to many readers in this program, beside tokio's broadcast channel.
//!
//! Both hold all events before the clock starts: neither what it costs to store an event (ours) nor to send it (the
//! channel) is in the figures, only what readers do.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use planwire_bus::{StartAt, Subscription};
use planwire_event::Filter;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::blocks::{Side, alternate_in_memory};
use crate::numbers::per_second;
use crate::product::Product;
use crate::rivals::{broadcast, callback};
use crate::row::{Row, Target};
use crate::setting::Setting;

const BROADCAST: &str = "tokio broadcast";
const CALLBACK: &str = "callback on the publisher's thread";

/// Room for all events of a row.
const RING_BYTES: usize = 1024 * 1024 * 1024;

/// Events that a reader takes at a time.
const BATCH_EVENTS: usize = 256;

/// 32 and 1,000 readers of everything.
pub(crate) fn from_the_ring(setting: &Setting) -> Result<Vec<Row>> {
    let mut rows = to_readers(setting, 32, setting.amount(200_000, 20_000), "dispatch, 1 -> 32 readers")?;
    rows.extend(to_readers(setting, 1_000, setting.amount(10_000, 2_000), "dispatch, 1 -> 1,000 readers")?);
    Ok(rows)
}

fn to_readers(setting: &Setting, readers: usize, events: usize, name: &'static str) -> Result<Vec<Row>> {
    println!("  {name}");
    let product = Product::in_memory(RING_BYTES)?;
    setting.runtime.block_on(async {
        let plans = product.start_tree(1).await?;
        product.publish_bulk(&plans, events - 1).await
    })?;
    let mut sides = [
        Side::one(BROADCAST, || broadcast::drain(&setting.runtime, readers, events)),
        Side::one(CALLBACK, || Ok(callback::call_all(readers, events))),
    ];
    let run =
        alternate_in_memory(setting, &mut sides, || Ok(vec![drain(setting, &product, readers, events)?]))?;
    ensure!(product.bus.counters().store_pages == 0, "the ring did not hold all events");
    setting.runtime.block_on(product.close());
    let note = format!("{events} events; what a commit and a send cost is in neither figure");
    Ok(vec![
        Row::new(name, "events/s", run.blocks(0, 0)).target(Target::Times(1.5)).note(note),
        Row::new("the same", "events/s", run.blocks(1, 0)),
    ])
}

/// Events per second that all readers take from the ring.
fn drain(setting: &Setting, product: &Product, readers: usize, events: usize) -> Result<f64> {
    setting.runtime.block_on(async {
        let (begin, mut tasks) = (Arc::new(Barrier::new(readers + 1)), JoinSet::new());
        for _ in 0..readers {
            let reader = product.bus.stream(Filter::all(), StartAt::Start).await?;
            let begin = Arc::clone(&begin);
            tasks.spawn(async move {
                begin.wait().await;
                read(reader, events).await
            });
        }
        begin.wait().await;
        let begun = Instant::now();
        tasks.join_all().await.into_iter().collect::<Result<()>>()?;
        Ok(per_second(events, begun.elapsed()))
    })
}

async fn read(mut reader: Subscription, events: usize) -> Result<()> {
    let mut read = 0;
    while read < events {
        let batch = reader.next_batch(BATCH_EVENTS, usize::MAX).await?;
        for event in &batch.events {
            std::hint::black_box(event.position);
        }
        read += batch.events.len();
    }
    ensure!(read == events, "{read} events were read instead of {events}");
    Ok(())
}
