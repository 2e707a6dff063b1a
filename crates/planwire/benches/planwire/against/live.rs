//! From publish over the disk to a client of the event stream, beside Redis, XREAD and sse-starlette.

use anyhow::Result;

use crate::blocks::{Side, alternate_all};
use crate::live::{full_speed, steady};
use crate::numbers::Spread;
use crate::product::EventMaker;
use crate::rivals::redis::Redis;
use crate::rivals::sse_starlette::SseStarlette;
use crate::row::{Row, Target};
use crate::setting::Setting;

const RIVAL: &str = "Redis, XREAD, sse-starlette";

/// How many times fewer events the rival gets at full speed, so that its side is not ten times longer.
const RIVAL_SHARE: usize = 10;

/// 200 events per second, one client.
pub(crate) fn at_200_per_second(setting: &Setting) -> Result<Vec<Row>> {
    let (events, maker) = (setting.amount(600, 150), EventMaker::system()?);
    let Some(mut redis) = Redis::start(setting)? else { return Ok(Vec::new()) };
    let Some(server) = SseStarlette::start(setting, &redis)? else { return Ok(Vec::new()) };
    let figures = |times: Spread| vec![times.median(), times.quantile(99)];
    let rival = Side::new(RIVAL, || Ok(figures(server.steady(setting, &mut redis, &maker, events)?)));
    let run = alternate_all(setting, &mut [rival], || Ok(figures(steady(setting, events)?)))?;
    let row = |name, figure| Row::new(name, "ms", run.blocks(0, figure)).target(Target::AtMostTimes(0.6));
    Ok(vec![row("publish to SSE client at 200/s, p50", 0), row("the same, p99", 1)])
}

/// As many as can be, one client.
pub(crate) fn at_full_speed(setting: &Setting) -> Result<Vec<Row>> {
    let (events, maker) = (setting.amount(100_000, 20_000), EventMaker::system()?);
    let Some(mut redis) = Redis::start(setting)? else { return Ok(Vec::new()) };
    let Some(server) = SseStarlette::start(setting, &redis)? else { return Ok(Vec::new()) };
    let rival = Side::one(RIVAL, || server.full_speed(setting, &mut redis, &maker, events / RIVAL_SHARE));
    let run = alternate_all(setting, &mut [rival], || Ok(vec![full_speed(setting, events)?]))?;
    let row = Row::new("publish to SSE client at full speed", "events/s", run.blocks(0, 0));
    Ok(vec![row.target(Target::Times(12.0))])
}
