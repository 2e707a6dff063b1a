//! What sockets can do without the product: the same bytes to the same clients, in blocks that are ready made.

use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::numbers::per_second;
use crate::sse_client::Crowd;

/// Bytes of one event as a frame of a stream, about.
const FRAME_BYTES: usize = 560;

/// Bytes of one write, as the server's chunks.
const WRITE_BYTES: usize = 16 * 1024;

const FRAMES_PER_WRITE: usize = WRITE_BYTES / FRAME_BYTES;

const REQUEST: &str = "GET";
const GREETING: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n: raw\n\n";

/// Deliveries per second of so many frames to each of so many clients.
pub(crate) fn deliveries(runtime: &Runtime, clients: usize, frames: usize) -> Result<f64> {
    let writes = frames.div_ceil(FRAMES_PER_WRITE);
    let (begin, begun) = watch::channel(false);
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let address = listener.local_addr()?;
    let server = runtime.spawn(async move {
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let (stream, _) = listener.accept().await?;
            tasks.spawn(serve(stream, writes, begun.clone()));
        }
        tasks.join_all().await.into_iter().collect::<Result<()>>()
    });
    let crowd = Crowd::connect(address, REQUEST, clients)?;
    let started = Instant::now();
    begin.send(true)?;
    let counts = crowd.finish()?;
    let elapsed = started.elapsed();
    runtime.block_on(server)??;
    Ok(per_second(counts.iter().map(|count| count.frames - 1).sum(), elapsed))
}

async fn serve(mut stream: TcpStream, writes: usize, mut begun: watch::Receiver<bool>) -> Result<()> {
    stream.set_nodelay(true)?;
    stream.read_exact(&mut [0; REQUEST.len()]).await?;
    stream.write_all(GREETING).await?;
    let mut frame = vec![b'x'; FRAME_BYTES - 2];
    frame.extend_from_slice(b"\n\n");
    let block = Bytes::from(frame.repeat(FRAMES_PER_WRITE));
    begun.wait_for(|begun| *begun).await?;
    for _ in 0..writes {
        stream.write_all(&block).await?;
    }
    Ok(())
}
