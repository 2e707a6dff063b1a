//! Memory of a server in a process of its own, before and after a thousand clients that wait.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result};
use planwire_event::PlanId;

use crate::numbers::Spread;
use crate::product::Product;
use crate::row::{Row, Target};
use crate::setting::Setting;
use crate::sse_client::{self, Count};

/// Clients that wait.
pub(crate) const CLIENTS: usize = 1_000;

/// Clients that come and go before the first look, so that what is allocated once is not counted for each.
pub(crate) const EARLY_CLIENTS: usize = 50;

/// KiB for each client.
const TARGET_KIB: f64 = 24.0;

/// Events of the burst after which the clients are idle again.
const BURST_EVENTS: usize = 500;

/// Resident memory per client that follows a plan of which nothing comes but heartbeats.
pub(crate) fn idle_clients(setting: &Setting) -> Result<Vec<Row>> {
    let (mut idle, mut after_burst) = (Vec::new(), Vec::new());
    for _ in 0..setting.amount(3, 1) {
        let (before_kib, after_kib) = look(setting)?;
        println!("  {before_kib:.1} KiB per idle client, {after_kib:.1} KiB after a burst");
        idle.push(before_kib);
        after_burst.push(after_kib);
    }
    let row = |name, kib| Row::alone(name, "KiB", Spread::of(kib));
    let note = "resident memory of the server's process, without the kernel's buffers";
    Ok(vec![
        row("memory per idle SSE client", idle).target(Target::AtMost(TARGET_KIB)).note(note),
        row("the same after a burst", after_burst).note(format!("of {BURST_EVENTS} events to each")),
    ])
}

/// KiB per client that is idle, and per client that is idle after a burst.
pub(crate) fn look(setting: &Setting) -> Result<(f64, f64)> {
    let mut server = ServerProcess::start(setting.folder())?;
    let request = sse_client::request(&server.plan, "now");
    drop(connect(server.address, &request, EARLY_CLIENTS)?);
    let before = server.resident_kib()?;
    let mut clients = connect(server.address, &request, CLIENTS)?;
    // After the first heartbeat a client has been through all that an idle one does.
    read_all(&mut clients, 2)?;
    let idle = server.resident_kib()?;
    let read = clients.iter().map(|(_, count)| count.frames).max().unwrap_or(0);
    server.burst()?;
    read_all(&mut clients, read + BURST_EVENTS)?;
    let after = server.resident_kib()?;
    let per_client = |kib: f64| (kib - before) / CLIENTS as f64;
    drop(clients);
    server.end()?;
    Ok((per_client(idle), per_client(after)))
}

pub(crate) fn connect(address: SocketAddr, request: &str, clients: usize) -> Result<Vec<(TcpStream, Count)>> {
    (0..clients).map(|_| sse_client::open(address, request)).collect()
}

fn read_all(clients: &mut [(TcpStream, Count)], frames: usize) -> Result<()> {
    clients.iter_mut().try_for_each(|(stream, count)| sse_client::read_frames(stream, count, frames))
}

/// Resident memory of a process.
pub(crate) fn resident_kib(process: u32) -> Result<f64> {
    status_kib(process, "VmRSS:")
}

/// The highest that the resident memory of a process has been.
pub(crate) fn high_water_kib(process: u32) -> Result<f64> {
    status_kib(process, "VmHWM:")
}

fn status_kib(process: u32, name: &str) -> Result<f64> {
    let path = format!("/proc/{process}/status");
    let text = std::fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let value = value.with_context(|| format!("{path} has no {name}"))?;
    Ok(value.trim().trim_end_matches(" kB").parse()?)
}

/// A server in a process of its own. Ended when this is dropped.
struct ServerProcess {
    process: Child,
    commands: ChildStdin,
    address: SocketAddr,
    plan: PlanId,
}

impl ServerProcess {
    fn start(folder: &Path) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("--serve")
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start the server's process")?;
        let commands = process.stdin.take().context("the process has an input")?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("the process has an output")?).read_line(&mut line)?;
        let (address, plan) = line.trim().split_once(' ').context("the server did not say where it is")?;
        Ok(Self { process, commands, address: address.parse()?, plan: plan.parse()? })
    }

    fn burst(&mut self) -> Result<()> {
        Ok(self.commands.write_all(b"burst\n")?)
    }

    fn resident_kib(&self) -> Result<f64> {
        resident_kib(self.process.id())
    }

    fn end(mut self) -> Result<()> {
        self.commands.write_all(b"end\n")?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It has ended already, unless something went wrong before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The server's process: says where it is, and does what its input says until that ends.
pub(crate) fn serve(folder: &Path) -> Result<()> {
    crate::setting::allow_many_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let product = Product::open(folder)?;
    let (plans, serving) = runtime.block_on(async {
        let heartbeat = planwire_server::Limits::default().heartbeat;
        anyhow::Ok((product.start_tree(1).await?, product.serve(heartbeat).await?))
    })?;
    println!("{} {}", serving.address, plans[0]);
    for line in std::io::stdin().lines() {
        match line?.as_str() {
            "burst" => runtime.block_on(product.publish_bulk(&plans, BURST_EVENTS))?,
            _ => break,
        }
    }
    runtime.block_on(async {
        serving.close().await?;
        product.close().await;
        Ok(())
    })
}
