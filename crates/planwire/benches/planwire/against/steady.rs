//! A thousand clients of one plan with twenty events per second, beside axum with shared frames and nchan.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::blocks::{Side, alternate_all};
use crate::numbers::{Spread, millis};
use crate::product::{EventMaker, NO_HEARTBEAT, Product};
use crate::rivals::axum_shared::AxumShared;
use crate::row::{Row, Target};
use crate::setting::Setting;
use crate::sse_client::{Crowd, request};

const CLIENTS: usize = 1_000;

/// Between two events.
const PACE: Duration = Duration::from_millis(50);

const AXUM: &str = "axum, one shared frame";

/// Milliseconds from the call of publish until a client has read the event, over all clients and events.
pub(crate) fn to_a_thousand(setting: &Setting) -> Result<Vec<Row>> {
    let (events, maker) = (setting.amount(60, 20), EventMaker::system()?);
    let figures = |times: Spread| vec![times.median(), times.quantile(99)];
    let axum = Side::new(AXUM, || Ok(figures(of_axum(setting, &maker, events)?)));
    let run = alternate_all(setting, &mut [axum], || Ok(figures(ours(setting, events)?)))?;
    let row = |name, figure| Row::new(name, "ms", run.blocks(0, figure)).target(Target::AtMostTimes(0.9));
    let note = format!("{events} events in each block; ours are durable before they are sent");
    Ok(vec![row("SSE to 1,000 clients at 20 events/s, p50", 0).note(note), row("the same, p99", 1)])
}

/// Publishes at the pace; when each event was handed over.
async fn paced<F>(events: usize, mut publish: impl FnMut() -> F) -> Result<Vec<Instant>>
where
    F: Future<Output = Result<()>>,
{
    let mut pace = tokio::time::interval(PACE);
    let mut sent = Vec::with_capacity(events);
    for _ in 0..events {
        pace.tick().await;
        sent.push(Instant::now());
        publish().await?;
    }
    Ok(sent)
}

fn delays(sent: &[Instant], clients: &[Vec<Instant>]) -> Spread {
    let of_client = |arrived: &Vec<Instant>| -> Vec<f64> {
        sent.iter().zip(arrived).map(|(sent, arrived)| millis(*arrived - *sent)).collect()
    };
    Spread::of(clients.iter().flat_map(of_client))
}

fn of_axum(setting: &Setting, maker: &EventMaker, events: usize) -> Result<Spread> {
    let server = AxumShared::start(setting, events)?;
    let crowd = Crowd::watch(server.address, AxumShared::request(), CLIENTS, events)?;
    let plan = maker.plan_id();
    let publish = || std::future::ready(server.publish(maker, &plan));
    let sent = setting.runtime.block_on(paced(events, publish))?;
    Ok(delays(&sent, &crowd.finish_watch()?))
}

fn ours(setting: &Setting, events: usize) -> Result<Spread> {
    let product = Product::open(setting.folder())?;
    let (plans, serving) = setting
        .runtime
        .block_on(async { anyhow::Ok((product.start_tree(1).await?, product.serve(NO_HEARTBEAT).await?)) })?;
    let crowd = Crowd::watch(serving.address, &request(&plans[0], "now"), CLIENTS, events)?;
    let maker = product.maker();
    let publish = || async {
        product.publisher.publish(maker.make(&plans[0])?).await?;
        Ok(())
    };
    let sent = setting.runtime.block_on(paced(events, publish))?;
    let arrived = crowd.finish_watch()?;
    setting.runtime.block_on(async {
        serving.close().await?;
        product.close().await;
        anyhow::Ok(())
    })?;
    Ok(delays(&sent, &arrived))
}
