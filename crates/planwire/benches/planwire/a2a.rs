//! One A2A task with many updates in a burst, to one client, beside the server of the official SDK for Python.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use planwire_event::{Clock, Event, EventType, Payload, PlanId, SystemClock};

use crate::blocks;
use crate::numbers::per_second;
use crate::pairs::Blocks;
use crate::product::{NO_HEARTBEAT, Product};
use crate::row::{Row, Target};
use crate::setting::Setting;
use crate::sse_client::{Crowd, PATIENCE};

/// Frames of a stream besides the burst, of ours as of the SDK's: the task and its end.
const OTHER_FRAMES: usize = 2;

/// Events of one request, as many as one may have.
const REQUEST_EVENTS: usize = 1_000;

/// Against tasks in memory, and against tasks in SQLite with synchronous=FULL; ours are durable in both.
pub(crate) fn to_one_client(setting: &Setting) -> Result<Vec<Row>> {
    let Some(python) = std::env::var_os("PLANWIRE_PYTHON").map(PathBuf::from) else {
        setting.not_measured("a2a-sdk: PLANWIRE_PYTHON names no Python that has it (PyPI: a2a-sdk)");
        return Ok(Vec::new());
    };
    let updates = setting.amount(2_000, 300);
    let rows = [
        ("A2A burst, 1 client, against memory", "a2a-sdk in memory", None, 30.0),
        ("A2A burst, 1 client, against durable", "a2a-sdk, SQLite", Some("tasks.db"), 1_000.0),
    ];
    let measured = rows.into_iter().map(|(name, rival, database, target)| {
        let database = database.map(|file| setting.folder().join(file));
        let blocks = beside(setting, rival, &python, updates, database.as_deref())?;
        let note = format!("{updates} updates with a message each; the same client reads both");
        Ok(Row::new(name, "updates/s", blocks).target(Target::Times(target)).note(note))
    });
    measured.collect()
}

fn beside(
    setting: &Setting,
    rival: &'static str,
    python: &Path,
    updates: usize,
    database: Option<&Path>,
) -> Result<Blocks> {
    blocks::alternate(
        setting,
        rival,
        || Rival::start(python, updates, database)?.burst(updates),
        || ours(setting, updates),
    )
}

/// Updates per second, from the first publish until the client has read the end of its stream.
fn ours(setting: &Setting, updates: usize) -> Result<f64> {
    let product = Product::open(setting.folder())?;
    let (plans, serving) = setting
        .runtime
        .block_on(async { anyhow::Ok((product.start_tree(1).await?, product.serve(NO_HEARTBEAT).await?)) })?;
    let crowd = Crowd::connect(serving.address, &subscribe(&plans[0]), 1)?;
    let begun = Instant::now();
    setting.runtime.block_on(async {
        let decisions: Result<Vec<Event>> =
            (0..updates).map(|number| decision(&product, &plans[0], number)).collect();
        let mut decisions = decisions?;
        while !decisions.is_empty() {
            let rest = decisions.split_off(decisions.len().min(REQUEST_EVENTS));
            product.publisher.publish_all(std::mem::replace(&mut decisions, rest)).await?;
        }
        product.complete(&plans[0]).await
    })?;
    let counts = crowd.finish()?;
    let elapsed = begun.elapsed();
    setting.runtime.block_on(async {
        serving.close().await?;
        product.close().await;
        anyhow::Ok(())
    })?;
    ensure!(counts[0].frames == updates + OTHER_FRAMES, "{} frames came", counts[0].frames);
    Ok(per_second(updates, elapsed))
}

fn subscribe(plan: &PlanId) -> String {
    format!(
        "GET /a2a/tasks/{plan}:subscribe HTTP/1.1\r\nHost: localhost\r\nA2A-Version: 1.0\r\n\
         Accept: text/event-stream\r\nConnection: close\r\n\r\n"
    )
}

/// What is an update with a message of the size that the rival sends.
fn decision(product: &Product, plan: &PlanId, number: usize) -> Result<Event> {
    let question = format!("{number} {}", "x".repeat(150));
    let payload = serde_json::json!({"decision_id": number.to_string(), "decision_type": "choice", "question": question,
        "options": [{"name": "a"}, {"name": "b"}], "chosen": "a", "decided_by": "rule"});
    let payload = Payload::of(&payload)?;
    Ok(Event::new(product.ids.next_id(), EventType::DecisionMade, plan.clone(), SystemClock.now(), payload)?)
}

/// The SDK's server in a process of its own.
struct Rival {
    child: Child,
    address: SocketAddr,
}

impl Rival {
    fn start(python: &Path, updates: usize, database: Option<&Path>) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/planwire/rivals/a2a_sdk.py");
        let mut command = Command::new(python);
        command.arg(script).arg(updates.to_string()).args(database).stdout(Stdio::piped());
        let mut child = command.spawn().context("failed to start the rival")?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("its output is piped")?;
        let read = BufReader::new(stdout).read_line(&mut line);
        let rival = Self { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) };
        read.context("the rival says nothing")?;
        let port: u16 = line.trim().parse().with_context(|| format!("the rival said '{line}'"))?;
        Ok(rival.at(port))
    }

    fn at(mut self, port: u16) -> Self {
        self.address.set_port(port);
        self
    }

    /// Updates per second, from the request until the end of the stream.
    fn burst(self, updates: usize) -> Result<f64> {
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"SendStreamingMessage","params":{"message":{"messageId":"m1","role":"ROLE_USER","parts":[{"text":"go"}]}}}"#;
        let request = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nA2A-Version: 1.0\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let begun = Instant::now();
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let elapsed = begun.elapsed();
        let text = String::from_utf8_lossy(&answer);
        let frames = text.matches("data: {").count();
        ensure!(frames == updates + OTHER_FRAMES, "the rival sent {frames} frames");
        Ok(per_second(updates, elapsed))
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
