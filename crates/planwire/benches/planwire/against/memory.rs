//! Memory per client that waits, beside nchan.

use anyhow::Result;

use crate::blocks::{Side, alternate_in_memory};
use crate::memory::{CLIENTS, EARLY_CLIENTS, connect, look};
use crate::rivals::nchan::Nchan;
use crate::row::{Row, Target};
use crate::setting::Setting;

const NCHAN: &str = "nchan";

/// KiB for each client, also after a burst.
const TARGET_KIB: f64 = 10.0;

/// Resident memory of the server per client of which nothing is wanted but to wait.
pub(crate) fn idle_clients(setting: &Setting) -> Result<Vec<Row>> {
    let Some(mut nchan) = Nchan::start(setting)? else {
        let (idle, after_burst) = look(setting)?;
        return Ok(rows(
            Row::alone(IDLE, "KiB", [idle].into()),
            Row::alone(BURST, "KiB", [after_burst].into()),
        ));
    };
    let side = Side::new(NCHAN, || Ok(vec![of_nchan(&mut nchan)?; 2]));
    let run = alternate_in_memory(setting, &mut [side], || {
        let (idle, after_burst) = look(setting)?;
        Ok(vec![idle, after_burst])
    })?;
    let note = "nchan's is that of clients that have waited and got nothing yet";
    let after_burst = Row::new(BURST, "KiB", run.blocks(0, 1)).note(note);
    Ok(rows(Row::new(IDLE, "KiB", run.blocks(0, 0)), after_burst))
}

const IDLE: &str = "memory per idle SSE client";
const BURST: &str = "the same after a burst";

fn rows(idle: Row, after_burst: Row) -> Vec<Row> {
    [idle, after_burst].map(|row| row.target(Target::AtMost(TARGET_KIB))).into()
}

fn of_nchan(nchan: &mut Nchan) -> Result<f64> {
    let request = Nchan::request(nchan.new_channel());
    drop(connect(nchan.address, &request, EARLY_CLIENTS)?);
    let before = nchan.resident_kib()?;
    let clients = connect(nchan.address, &request, CLIENTS)?;
    let idle = nchan.resident_kib()?;
    drop(clients);
    Ok((idle - before) / CLIENTS as f64)
}
