//! Redis as a durable log: a stream, `appendfsync always`, on loopback.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use crate::numbers::per_second;
use crate::product::{EVENT_BYTES, EventMaker, json};
use crate::rivals::process::{self, Process};
use crate::rivals::resp::{self, Replies};
use crate::setting::{SIDE_MAX, Setting};

/// What has it.
pub(crate) const PACKAGE: &str = "redis-server is not installed (Debian: redis-server)";

/// Connections of the bulk row: Redis takes what all of them have sent with one fsync.
const BULK_CONNECTIONS: usize = 16;

/// Commands that a connection of the bulk row has in flight.
const BULK_COMMANDS: usize = 256;

/// Commands at a time where a stream is made.
const FILL_COMMANDS: usize = 4_096;

/// Events of one page of a replay.
const PAGE_EVENTS: usize = 2_000;

/// Bytes that are read at a time.
const READ_BYTES: usize = 256 * 1024;

/// A server with a folder of its own.
pub(crate) struct Redis {
    /// Where it answers.
    pub(crate) address: SocketAddr,
    streams: usize,
    _process: Process,
    _folder: TempDir,
}

impl Redis {
    /// Starts a server; `None` where none is installed.
    pub(crate) fn start(setting: &Setting) -> Result<Option<Self>> {
        let Some(program) = process::find("redis-server") else {
            setting.not_measured(PACKAGE);
            return Ok(None);
        };
        let (folder, address) = (tempfile::tempdir_in(setting.folder())?, process::free_address()?);
        let mut process = Process::start(&mut command(&program, folder.path(), address), Signal::TERM)?;
        process.await_port(address).context("Redis")?;
        Ok(Some(Self { address, streams: 0, _process: process, _folder: folder }))
    }

    /// The name of a stream that is not yet there.
    pub(crate) fn new_stream(&mut self) -> String {
        self.streams += 1;
        format!("events:{}", self.streams)
    }

    /// How long each event took, one after the other.
    pub(crate) fn one_by_one(
        &mut self,
        setting: &Setting,
        maker: &EventMaker,
        events: usize,
    ) -> Result<Vec<Duration>> {
        let stream = self.new_stream();
        setting.runtime.block_on(async {
            let mut connection = Connection::open(self.address, &stream).await?;
            let plan = maker.plan_id();
            let (mut times, first) = (Vec::with_capacity(events), Instant::now());
            while times.len() < events && first.elapsed() < SIDE_MAX {
                let begun = Instant::now();
                connection.add([json(&maker.make(&plan)?)]).await?;
                times.push(begun.elapsed());
            }
            Ok(times)
        })
    }

    /// Events per second of connections that each wait for their own event.
    pub(crate) fn publishers(
        &mut self,
        setting: &Setting,
        maker: &EventMaker,
        connections: usize,
        each: usize,
    ) -> Result<f64> {
        self.adders(setting, maker, connections, each, 1)
    }

    /// Events per second of connections with many commands in flight.
    pub(crate) fn in_bulk(&mut self, setting: &Setting, maker: &EventMaker, events: usize) -> Result<f64> {
        self.adders(setting, maker, BULK_CONNECTIONS, events / BULK_CONNECTIONS, BULK_COMMANDS)
    }

    fn adders(
        &mut self,
        setting: &Setting,
        maker: &EventMaker,
        connections: usize,
        each: usize,
        together: usize,
    ) -> Result<f64> {
        let stream = self.new_stream();
        setting.runtime.block_on(async {
            let mut open = Vec::with_capacity(connections);
            for _ in 0..connections {
                open.push(Connection::open(self.address, &stream).await?);
            }
            let (begun, mut tasks) = (Instant::now(), JoinSet::new());
            for mut connection in open {
                let maker = maker.clone();
                tasks.spawn(async move {
                    let (plan, mut added) = (maker.plan_id(), 0);
                    while added < each && begun.elapsed() < SIDE_MAX {
                        let count = together.min(each - added);
                        let events: Result<Vec<String>> =
                            (0..count).map(|_| Ok(json(&maker.make(&plan)?))).collect();
                        connection.add(events?).await?;
                        added += count;
                    }
                    anyhow::Ok(added)
                });
            }
            let added = tasks.join_all().await.into_iter().sum::<Result<usize>>()?;
            Ok(per_second(added, begun.elapsed()))
        })
    }

    /// Makes a stream of so many events; its name.
    pub(crate) fn fill(&mut self, setting: &Setting, maker: &EventMaker, events: usize) -> Result<String> {
        let (stream, plan) = (self.new_stream(), maker.plan_id());
        setting.runtime.block_on(async {
            let mut connection = Connection::open(self.address, &stream).await?;
            let mut left = events;
            while left > 0 {
                let count = left.min(FILL_COMMANDS);
                let batch: Result<Vec<String>> = (0..count).map(|_| Ok(json(&maker.make(&plan)?))).collect();
                connection.add(batch?).await?;
                left -= count;
            }
            Ok(stream)
        })
    }

    /// Reads a stream from its begin in pages; events per second.
    pub(crate) fn replay(&self, stream: &str, events: usize) -> Result<f64> {
        let mut socket = TcpStream::connect(self.address)?;
        socket.set_nodelay(true)?;
        let mut replies = Replies::new(BufReader::with_capacity(READ_BYTES, socket.try_clone()?));
        let (count, mut after, mut text) = (PAGE_EVENTS.to_string(), b"-".to_vec(), Vec::new());
        let (begun, mut read) = (Instant::now(), 0);
        loop {
            let mut request = Vec::new();
            resp::command(
                &mut request,
                &[b"XRANGE", stream.as_bytes(), &after, b"+", b"COUNT", count.as_bytes()],
            );
            socket.write_all(&request)?;
            let page = replies.list()?;
            for _ in 0..page {
                ensure!(replies.list()? == 2, "an entry is an id and its fields");
                after.resize(1, b'(');
                after[0] = b'(';
                replies.text(&mut text)?;
                after.extend_from_slice(&text);
                for _ in 0..replies.list()? {
                    replies.text(&mut text)?;
                }
                ensure!(text.len() == EVENT_BYTES, "an event has {} bytes", text.len());
            }
            read += page;
            if page < PAGE_EVENTS {
                break;
            }
        }
        ensure!(read == events, "{read} events were read instead of {events}");
        Ok(per_second(read, begun.elapsed()))
    }
}

/// The only thing that makes it durable is `appendfsync always`; all else is as it comes, without snapshots.
fn command(program: &Path, folder: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new(program);
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
    command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
    command.args(["--auto-aof-rewrite-percentage", "0", "--daemonize", "no", "--dir"]).arg(folder);
    command.stdout(Stdio::null());
    command
}

/// A connection that adds events to one stream.
pub(crate) struct Connection {
    socket: tokio::net::TcpStream,
    stream: String,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(address: SocketAddr, stream: &str) -> Result<Self> {
        let socket = tokio::net::TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, stream: stream.to_owned(), request: Vec::new(), answer: vec![0; READ_BYTES] })
    }

    /// Adds events in one write; returns when all are durable.
    pub(crate) async fn add(&mut self, events: impl IntoIterator<Item = String>) -> Result<()> {
        self.request.clear();
        let mut waited = 0;
        for event in events {
            let parts = [b"XADD", self.stream.as_bytes(), b"*", b"e", event.as_bytes()];
            resp::command(&mut self.request, &parts);
            waited += 1;
        }
        self.socket.write_all(&self.request).await?;
        // Each answer is an id: the line of its length and its own.
        let mut lines = 0;
        while lines < 2 * waited {
            let read = self.socket.read(&mut self.answer).await?;
            let answer = &self.answer[..read];
            let ids = answer.iter().all(|byte| byte.is_ascii_digit() || b"$-\r\n".contains(byte));
            ensure!(ids && read > 0, "Redis answered '{}'", String::from_utf8_lossy(answer));
            lines += answer.iter().filter(|byte| **byte == b'\n').count();
        }
        Ok(())
    }
}
