//! Reading a long plan again from the store: as pages, through a subscription, and as a stream to one client.

use std::time::Instant;

use anyhow::{Result, ensure};
use planwire_bus::StartAt;
use planwire_event::{Filter, PlanId, Position};
use planwire_store::PageLimits;

use crate::blocks;
use crate::numbers::per_second;
use crate::product::{BULK_EVENTS, NO_HEARTBEAT, Product, Serving};
use crate::raw_log::RawLog;
use crate::row::Row;
use crate::setting::Setting;
use crate::sse_client::{Crowd, request};

/// Events that a subscription gives at a time.
const BATCH_EVENTS: usize = 1_000;

/// The log that is read, and a raw one of as many events.
pub(crate) struct Replay {
    product: Product,
    raw: RawLog,
    serving: Serving,
    plan: PlanId,
    events: usize,
}

/// 900,000 events of one plan.
pub(crate) fn from_the_store(setting: &Setting) -> Result<Vec<Row>> {
    let replay = Replay::fill(setting, setting.amount(900_000, 100_000))?;
    let mut rows = Vec::new();
    let ways: [(&'static str, Way); 3] = [
        ("replay from the store, pages", Replay::pages),
        ("replay through a subscription", Replay::subscription),
        ("replay as SSE to one client", Replay::stream),
    ];
    for (name, way) in ways {
        println!("  {name}");
        let blocks =
            blocks::alternate(setting, "raw log, lines counted", || replay.scan(), || way(&replay, setting))?;
        rows.push(Row::new(name, "events/s", blocks).note(format!("{} events", replay.events)));
    }
    replay.close(setting)?;
    Ok(rows)
}

type Way = fn(&Replay, &Setting) -> Result<f64>;

impl Replay {
    /// Writes the log, and the raw one.
    pub(crate) fn fill(setting: &Setting, events: usize) -> Result<Self> {
        let mut raw = RawLog::create(setting.folder())?;
        for _ in 0..events.div_ceil(BULK_EVENTS) {
            raw.append(BULK_EVENTS)?;
        }
        let product = Product::open(setting.folder())?;
        let (plan, serving) = setting.runtime.block_on(async {
            let plans = product.start_tree(1).await?;
            product.publish_bulk(&plans, events).await?;
            product.complete(&plans[0]).await?;
            anyhow::Ok((plans[0].clone(), product.serve(NO_HEARTBEAT).await?))
        })?;
        Ok(Self { product, raw, serving, plan, events })
    }

    fn scan(&self) -> Result<f64> {
        let begun = Instant::now();
        let lines = self.raw.scan()?;
        Ok(per_second(lines, begun.elapsed()))
    }

    /// Events per second in pages of the store.
    pub(crate) fn pages(&self, setting: &Setting) -> Result<f64> {
        let filter = Filter::plan(self.plan.clone());
        let begun = Instant::now();
        setting.runtime.block_on(async {
            let (mut after, mut read) = (Position::ZERO, 0);
            loop {
                let repository = self.product.bus.repository();
                let page = repository.read_after(after, &filter, PageLimits::default()).await?;
                read += page.events.len();
                after = page.scanned_to;
                if page.at_head {
                    break;
                }
            }
            self.rate(read, begun)
        })
    }

    /// Events per second of a subscription.
    pub(crate) fn subscription(&self, setting: &Setting) -> Result<f64> {
        let filter = Filter::plan(self.plan.clone());
        let begun = Instant::now();
        setting.runtime.block_on(async {
            let mut events = self.product.bus.stream(filter, StartAt::Start).await?;
            let mut read = 0;
            loop {
                let batch = events.next_batch(BATCH_EVENTS, usize::MAX).await?;
                read += batch.events.len();
                if batch.end.is_some() || batch.closed {
                    break;
                }
            }
            self.rate(read, begun)
        })
    }

    /// Events per second as an event stream to one client.
    pub(crate) fn stream(&self, _setting: &Setting) -> Result<f64> {
        let begun = Instant::now();
        let counts = Crowd::connect(self.serving.address, &request(&self.plan, "start"), 1)?.finish()?;
        // The greeting and the end are no events.
        self.rate(counts[0].frames - 2, begun)
    }

    /// Ends the server and lets go of the log.
    pub(crate) fn close(self, setting: &Setting) -> Result<()> {
        setting.runtime.block_on(async {
            self.serving.close().await?;
            self.product.close().await;
            anyhow::Ok(())
        })
    }

    /// Start and end of the plan were read, too.
    fn rate(&self, read: usize, begun: Instant) -> Result<f64> {
        ensure!(read == self.events + 2, "{read} events were read instead of {}", self.events + 2);
        Ok(per_second(read, begun.elapsed()))
    }
}
