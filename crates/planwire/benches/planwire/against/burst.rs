//! A burst of events of one plan to many clients that follow it, beside nchan and axum with shared frames.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::blocks::{Side, alternate_all};
use crate::burst::burst;
use crate::numbers::per_second;
use crate::product::EventMaker;
use crate::rivals::axum_shared::AxumShared;
use crate::rivals::nchan::Nchan;
use crate::row::{Row, Target};
use crate::setting::Setting;
use crate::sse_client::{Count, Crowd};

const NCHAN: &str = "nchan";
const AXUM: &str = "axum, one shared frame";

/// One size of a burst.
struct Size {
    name: &'static str,
    clients: usize,
    events: usize,
    /// nchan takes ten times as long: it gets fewer events, as its rate does not depend on their number.
    nchan_events: usize,
}

/// To 100 clients.
pub(crate) fn to_a_hundred(setting: &Setting) -> Result<Vec<Row>> {
    let (events, nchan_events) = (setting.amount(10_000, 1_000), setting.amount(3_000, 300));
    beside(setting, &Size { name: "SSE burst to 100 clients", clients: 100, events, nchan_events })
}

/// To 1,000 clients.
pub(crate) fn to_a_thousand(setting: &Setting) -> Result<Vec<Row>> {
    let (events, nchan_events) = (setting.amount(2_000, 300), setting.amount(300, 50));
    beside(setting, &Size { name: "SSE burst to 1,000 clients", clients: 1_000, events, nchan_events })
}

/// To 5,000 clients.
pub(crate) fn to_five_thousand(setting: &Setting) -> Result<Vec<Row>> {
    let (events, nchan_events) = (setting.amount(400, 50), setting.amount(60, 10));
    beside(setting, &Size { name: "SSE burst to 5,000 clients", clients: 5_000, events, nchan_events })
}

fn beside(setting: &Setting, size: &Size) -> Result<Vec<Row>> {
    let maker = EventMaker::system()?;
    let mut nchan = Nchan::start(setting)?;
    let mut sides = vec![Side::one(AXUM, || of_axum(setting, &maker, size))];
    if let Some(nchan) = &mut nchan {
        sides.push(Side::one(NCHAN, || of_nchan(nchan, &maker, size)));
    }
    let mut frame_bytes = 0;
    let run = alternate_all(setting, &mut sides, || {
        let (rate, bytes) = burst(setting, size.clients, size.events)?;
        frame_bytes = bytes;
        Ok(vec![rate])
    })?;
    let note = format!(
        "{} events ({} for nchan), {frame_bytes} bytes per delivery of ours; ours alone are stored; all clients read \
         on one thread of this program",
        size.events, size.nchan_events
    );
    let row = |name, side, target| Some(Row::new(name, "deliveries/s", run.beside(side, 0)?).target(target));
    let rows = [
        row(size.name, AXUM, Target::Times(2.0)).map(|row| row.note(note)),
        row("the same", NCHAN, Target::Times(20.0)),
    ];
    Ok(rows.into_iter().flatten().collect())
}

/// The first frame, which greets, and the burst.
fn deliveries(crowd: Crowd, size: &Size, events: usize, begun: Instant) -> Result<f64> {
    let counts: Vec<Count> = crowd.finish()?;
    let elapsed = begun.elapsed();
    let complete = counts.iter().filter(|count| count.frames == events + 1).count();
    ensure!(complete == size.clients, "{} clients did not get every event", size.clients - complete);
    Ok(per_second(size.clients * events, elapsed))
}

fn of_axum(setting: &Setting, maker: &EventMaker, size: &Size) -> Result<f64> {
    let server = AxumShared::start(setting, size.events)?;
    let crowd = Crowd::connect_for(server.address, AxumShared::request(), size.clients, size.events + 1)?;
    let (plan, begun) = (maker.plan_id(), Instant::now());
    for _ in 0..size.events {
        server.publish(maker, &plan)?;
    }
    deliveries(crowd, size, size.events, begun)
}

fn of_nchan(nchan: &mut Nchan, maker: &EventMaker, size: &Size) -> Result<f64> {
    let (channel, events) = (nchan.new_channel(), size.nchan_events);
    let crowd = Crowd::connect_for(nchan.address, &Nchan::request(channel), size.clients, events + 1)?;
    let begun = Instant::now();
    nchan.publish(channel, maker, events)?;
    deliveries(crowd, size, events, begun)
}
