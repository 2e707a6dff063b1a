//! tokio's broadcast channel: readers share a ring, and whoever falls behind loses events.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use tokio::runtime::Runtime;
use tokio::sync::{Barrier, broadcast};
use tokio::task::JoinSet;

use crate::numbers::per_second;

/// Events per second that all of so many readers take from a channel that holds them.
pub(crate) fn drain(runtime: &Runtime, readers: usize, events: usize) -> Result<f64> {
    let (sender, _) = broadcast::channel(events);
    runtime.block_on(async {
        let (begin, mut tasks) = (Arc::new(Barrier::new(readers + 1)), JoinSet::new());
        for _ in 0..readers {
            let (mut receiver, begin) = (sender.subscribe(), Arc::clone(&begin));
            tasks.spawn(async move {
                begin.wait().await;
                for _ in 0..events {
                    let event: Arc<String> = receiver.recv().await.context("an event was lost")?;
                    std::hint::black_box(event.len());
                }
                anyhow::Ok(())
            });
        }
        let event = Arc::new("x".repeat(crate::product::EVENT_BYTES));
        for _ in 0..events {
            sender.send(Arc::clone(&event)).ok().context("there is no reader")?;
        }
        begin.wait().await;
        let begun = Instant::now();
        tasks.join_all().await.into_iter().collect::<Result<()>>()?;
        Ok(per_second(events, begun.elapsed()))
    })
}
