//! Redis' stream as server-sent events: XREAD and sse-starlette, in a process of its own.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::live::PACE;
use crate::numbers::{Spread, millis, per_second};
use crate::product::{EventMaker, json};
use crate::rivals::redis::{Connection, Redis};
use crate::setting::Setting;
use crate::sse_client::Watch;

/// Commands that the publisher of the row at full speed sends at a time.
const COMMANDS: usize = 512;

/// The Python server. Stopped when this is dropped.
pub(crate) struct SseStarlette {
    child: Child,
    address: SocketAddr,
}

impl SseStarlette {
    /// Starts it; `None` where the Python that tests use lacks what it needs.
    pub(crate) fn start(setting: &Setting, redis: &Redis) -> Result<Option<Self>> {
        const ABSENT: &str = "sse-starlette over Redis: PLANWIRE_PYTHON names no Python that has it (PyPI: redis, sse-starlette)";
        let Some(python) = std::env::var_os("PLANWIRE_PYTHON").map(PathBuf::from) else {
            setting.not_measured(ABSENT);
            return Ok(None);
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/planwire/rivals/xread_sse.py");
        let mut command = Command::new(python);
        command
            .arg(script)
            .arg(redis.address.port().to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let child = command.spawn().context("failed to start Python")?;
        let mut server = Self { child, address: redis.address };
        let stdout = server.child.stdout.take().context("its output is piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let Ok(port) = line.trim().parse::<u16>() else {
            setting.not_measured(ABSENT);
            return Ok(None);
        };
        server.address = (Ipv4Addr::LOCALHOST, port).into();
        Ok(Some(server))
    }

    fn watch(&self, stream: &str, events: usize) -> Result<Watch> {
        let request = format!(
            "GET /?stream={stream} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\
             Connection: close\r\n\r\n"
        );
        Watch::connect(self.address, &request, events)
    }

    /// Milliseconds from the call of XADD until the client has read the event, at a steady pace.
    pub(crate) fn steady(
        &self,
        setting: &Setting,
        redis: &mut Redis,
        maker: &EventMaker,
        events: usize,
    ) -> Result<Spread> {
        let (stream, plan) = (redis.new_stream(), maker.plan_id());
        let watch = self.watch(&stream, events)?;
        let sent = setting.runtime.block_on(async {
            let mut connection = Connection::open(redis.address, &stream).await?;
            let mut pace = tokio::time::interval(PACE);
            let mut sent = Vec::with_capacity(events);
            for _ in 0..events {
                pace.tick().await;
                let event = json(&maker.make(&plan)?);
                sent.push(Instant::now());
                connection.add([event]).await?;
            }
            anyhow::Ok(sent)
        })?;
        let arrived = watch.finish()?;
        Ok(Spread::of(sent.iter().zip(&arrived).map(|(sent, arrived)| millis(*arrived - *sent))))
    }

    /// Events per second from the first XADD until the client has read the last event.
    pub(crate) fn full_speed(
        &self,
        setting: &Setting,
        redis: &mut Redis,
        maker: &EventMaker,
        events: usize,
    ) -> Result<f64> {
        let (stream, plan) = (redis.new_stream(), maker.plan_id());
        let watch = self.watch(&stream, events)?;
        let begun = Instant::now();
        setting.runtime.block_on(async {
            let mut connection = Connection::open(redis.address, &stream).await?;
            let mut left = events;
            while left > 0 {
                let count = left.min(COMMANDS);
                let together: Result<Vec<String>> =
                    (0..count).map(|_| Ok(json(&maker.make(&plan)?))).collect();
                connection.add(together?).await?;
                left -= count;
            }
            anyhow::Ok(())
        })?;
        let arrived = watch.finish()?;
        Ok(per_second(events, arrived.last().map_or(Duration::ZERO, |last| *last - begun)))
    }
}

impl Drop for SseStarlette {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
