//! Clients of event streams that cost next to nothing: they count frames by their ends and look at nothing else.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use planwire_event::PlanId;
use tokio::task::{JoinSet, LocalSet};

/// Bytes that a client reads at a time.
const READ_BYTES: usize = 256 * 1024;

/// How long a client waits for a stream to go on before it gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The request for the events of one plan, from `after` on. The connection ends with the stream.
pub(crate) fn request(plan: &PlanId, after: &str) -> String {
    format!(
        "GET /v1/plans/{plan}/events?after={after} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\
         Connection: close\r\n\r\n"
    )
}

/// Counts what a stream brought.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    /// Frames: whatever an empty line ends. No part of the HTTP around them has two line feeds in a row.
    pub(crate) frames: usize,
    /// Bytes, those of HTTP among them.
    pub(crate) bytes: usize,
    last: u8,
}

impl Count {
    /// Takes in what was read.
    ///
    /// # Errors
    ///
    /// If the answer is none of a stream.
    pub(crate) fn take(&mut self, read: &[u8]) -> Result<()> {
        if self.bytes == 0 && !read.starts_with(b"HTTP/1.1 200") {
            bail!("no stream: {}", String::from_utf8_lossy(read));
        }
        let [first, ..] = read else { return Ok(()) };
        self.frames += usize::from(self.last == b'\n' && *first == b'\n');
        self.frames += empty_lines(read);
        self.bytes += read.len();
        self.last = read.last().copied().unwrap_or_default();
        Ok(())
    }
}

/// How often one line feed follows another. Counted in bytes, so that the processor compares many at once: the client
/// shares the machine with what it measures.
fn empty_lines(read: &[u8]) -> usize {
    let counted = usize::from(u8::MAX);
    let parts = read.chunks(counted).zip(read[1..].chunks(counted));
    let count = |(part, behind): (&[u8], &[u8])| -> u8 {
        part.iter().zip(behind).map(|(one, next)| u8::from((*one == b'\n') & (*next == b'\n'))).sum()
    };
    parts.map(|part| usize::from(count(part))).sum()
}

/// When the clients of a crowd go, and what they note.
#[derive(Clone, Copy)]
enum Stay {
    /// When the stream ends.
    ToTheEnd,
    /// After so many frames.
    Frames(usize),
    /// After so many frames besides the first; when each of these came is noted.
    Timed(usize),
}

/// What one client of a crowd has.
struct Followed {
    count: Count,
    arrived: Vec<Instant>,
}

/// Many clients of one stream, on one thread.
pub(crate) struct Crowd {
    thread: JoinHandle<Result<Vec<Followed>>>,
}

impl Crowd {
    /// Connects clients that stay until the stream ends; returns when each has read its first frame.
    pub(crate) fn connect(address: SocketAddr, request: &str, clients: usize) -> Result<Self> {
        Self::start(address, request, clients, Stay::ToTheEnd)
    }

    /// The same for clients that go after so many frames.
    pub(crate) fn connect_for(
        address: SocketAddr,
        request: &str,
        clients: usize,
        frames: usize,
    ) -> Result<Self> {
        Self::start(address, request, clients, Stay::Frames(frames))
    }

    /// The same for clients that note when each of so many frames, besides the first, arrived.
    pub(crate) fn watch(address: SocketAddr, request: &str, clients: usize, frames: usize) -> Result<Self> {
        Self::start(address, request, clients, Stay::Timed(frames))
    }

    fn start(address: SocketAddr, request: &str, clients: usize, stay: Stay) -> Result<Self> {
        let (ready, readies) = mpsc::channel();
        let request = request.to_owned();
        let thread = std::thread::spawn(move || follow_all(address, &request, clients, stay, &ready));
        for _ in 0..clients {
            if readies.recv_timeout(PATIENCE).is_err() {
                return match thread.is_finished().then(|| thread.join()) {
                    Some(Ok(Err(error))) => Err(error),
                    _ => bail!("not all of {clients} clients got a stream"),
                };
            }
        }
        Ok(Self { thread })
    }

    /// Waits until all clients have gone; what each of them got.
    pub(crate) fn finish(self) -> Result<Vec<Count>> {
        Ok(self.join()?.into_iter().map(|followed| followed.count).collect())
    }

    /// Waits until all clients have gone; when each of them got each frame.
    pub(crate) fn finish_watch(self) -> Result<Vec<Vec<Instant>>> {
        Ok(self.join()?.into_iter().map(|followed| followed.arrived).collect())
    }

    fn join(self) -> Result<Vec<Followed>> {
        self.thread.join().map_err(|_| anyhow::anyhow!("the clients panicked"))?
    }
}

fn follow_all(
    address: SocketAddr,
    request: &str,
    clients: usize,
    stay: Stay,
    ready: &Sender<()>,
) -> Result<Vec<Followed>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let buffer = Rc::new(RefCell::new(vec![0; READ_BYTES]));
    LocalSet::new().block_on(&runtime, async {
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let (request, buffer, ready) = (request.to_owned(), Rc::clone(&buffer), ready.clone());
            tasks.spawn_local(async move { follow(address, &request, stay, &buffer, &ready).await });
        }
        tasks.join_all().await.into_iter().collect()
    })
}

async fn follow(
    address: SocketAddr,
    request: &str,
    stay: Stay,
    buffer: &RefCell<Vec<u8>>,
    ready: &Sender<()>,
) -> Result<Followed> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    stream.writable().await?;
    ensure!(stream.try_write(request.as_bytes())? == request.len(), "the request was not taken");
    let (mut count, mut arrived) = (Count::default(), Vec::new());
    loop {
        stream.readable().await?;
        let before = count.frames;
        let read = stream.try_read(&mut buffer.borrow_mut());
        match read {
            Ok(0) if matches!(stay, Stay::ToTheEnd) => return Ok(Followed { count, arrived }),
            Ok(0) => bail!("the stream ended after {} frames", count.frames),
            Ok(read) => count.take(&buffer.borrow()[..read])?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if before == 0 && count.frames > 0 {
            // Who waits for it may have given up.
            let _ = ready.send(());
        }
        let wanted = match stay {
            Stay::ToTheEnd => continue,
            Stay::Frames(wanted) => wanted,
            Stay::Timed(wanted) => {
                arrived.resize(count.frames.saturating_sub(1), Instant::now());
                wanted + 1
            }
        };
        if count.frames >= wanted {
            return Ok(Followed { count, arrived });
        }
    }
}

/// One client on a thread of its own that notes when each frame arrived.
pub(crate) struct Watch {
    thread: JoinHandle<Result<Vec<Instant>>>,
}

impl Watch {
    /// Connects; returns when the first frame, which greets, was read. Ends after so many more.
    pub(crate) fn connect(address: SocketAddr, request: &str, frames: usize) -> Result<Self> {
        let (mut stream, mut count) = open(address, request)?;
        let greeted = count.frames;
        ensure!(greeted == 1, "the stream began with {greeted} frames");
        let thread = std::thread::spawn(move || {
            let (mut buffer, mut arrived) = (vec![0; READ_BYTES], Vec::with_capacity(frames));
            while arrived.len() < frames {
                let read = stream.read(&mut buffer).context("the stream did not go on")?;
                ensure!(read > 0, "the stream ended after {} frames", arrived.len());
                count.take(&buffer[..read])?;
                arrived.resize(count.frames - greeted, Instant::now());
            }
            Ok(arrived)
        });
        Ok(Self { thread })
    }

    /// When each frame arrived.
    pub(crate) fn finish(self) -> Result<Vec<Instant>> {
        self.thread.join().map_err(|_| anyhow::anyhow!("the client panicked"))?
    }
}

/// Connects and reads up to the first frame.
pub(crate) fn open(address: SocketAddr, request: &str) -> Result<(TcpStream, Count)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut count = Count::default();
    read_frames(&mut stream, &mut count, 1)?;
    Ok((stream, count))
}

/// Reads until the stream has brought so many frames in all.
pub(crate) fn read_frames(stream: &mut TcpStream, count: &mut Count, frames: usize) -> Result<()> {
    let mut buffer = [0; 16 * 1024];
    while count.frames < frames {
        let read = stream.read(&mut buffer).context("the stream did not go on")?;
        ensure!(read > 0, "the stream ended after {} frames", count.frames);
        count.take(&buffer[..read])?;
    }
    Ok(())
}
