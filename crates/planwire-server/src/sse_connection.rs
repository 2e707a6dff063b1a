//! An event stream that has its connection to itself.
//!
//! HTTP/1.1 goes through hyper up to the answer. A connection on which a stream was answered is then taken out of it,
//! head and body together, and goes on here: a stream may last for days, and hyper's buffers (8 KiB each way) and the
//! state of a request would wait with it. What is written is what hyper would write. Such a connection carries nothing
//! after its stream, and says so (`Connection: close`).

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, UNIX_EPOCH};

use axum::http::response::Parts;
use axum::http::{HeaderValue, Method, Request, Version, header};
use bytes::{Buf, Bytes};
use planwire_event::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::sse_stream::{EventStream, Frames};
use crate::write_deadline::WriteDeadline;

/// A connection that has left hyper.
pub(crate) type Io = WriteDeadline<TcpStream>;

/// Ends a chunked body.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Bytes that are read at a time of what a client sends during its stream: nothing that anybody looks at.
const IGNORED_BYTES: usize = 64;

/// Bytes of a chunk up to which it is put into one piece with its size: to copy so much costs less than a system call
/// that takes several pieces.
const ONE_PIECE_BYTES_MAX: usize = 4 * 1024;

/// Digits of a chunk's size, and the end of its line.
const SIZE_LINE_BYTES: usize = 2 * size_of::<usize>() + 2;

thread_local! {
    /// Where pieces are put together.
    static PIECE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Whether a stream that answers this request may leave hyper. Older versions know no chunks, and HEAD gets no body.
pub(crate) fn may_take<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_11 && request.method() != Method::HEAD
}

/// Writes `head` and then a stream, until it ends or the client is gone.
///
/// # Errors
///
/// What writing or reading failed with; `UnexpectedEof` if the client closed its end.
pub(crate) async fn carry<F: Frames>(
    mut io: Io,
    mut head: Vec<u8>,
    mut stream: EventStream<F>,
) -> io::Result<()> {
    loop {
        let chunk = tokio::select! {
            biased;
            chunk = stream.next_chunk() => chunk,
            gone = read_nothing(&mut io) => return gone,
        };
        match chunk {
            Ok(Some(chunk)) if chunk.is_empty() => {}
            Ok(Some(chunk)) => write_chunk(&mut io, std::mem::take(&mut head), chunk).await?,
            Ok(None) => break,
            // Without the last chunk the client knows that something is missing.
            Err(_) => return Ok(()),
        }
    }
    head.extend_from_slice(LAST_CHUNK);
    io.write_all(&head).await?;
    io.shutdown().await
}

/// Writes a chunk, after `head` if it is the first.
async fn write_chunk(io: &mut Io, head: Vec<u8>, chunk: Bytes) -> io::Result<()> {
    let mut line = [0; SIZE_LINE_BYTES];
    let size = size_line(chunk.len(), &mut line);
    if chunk.len() > ONE_PIECE_BYTES_MAX {
        let head = Bytes::from(head);
        return io.write_all_buf(&mut head.chain(size).chain(chunk).chain(&b"\r\n"[..])).await;
    }
    let rest = poll_fn(|cx| poll_write_one_piece(io, cx, &[&head, size, &chunk, b"\r\n"])).await?;
    if rest.is_empty() { Ok(()) } else { io.write_all(&rest).await }
}

/// Writes the pieces as one, and gives what was not taken of them.
fn poll_write_one_piece(io: &mut Io, cx: &mut Context<'_>, pieces: &[&[u8]]) -> Poll<io::Result<Vec<u8>>> {
    PIECE.with_borrow_mut(|piece| {
        piece.clear();
        pieces.iter().for_each(|part| piece.extend_from_slice(part));
        let written = ready!(Pin::new(io).poll_write(cx, piece))?;
        Poll::Ready(Ok(piece[written..].to_vec()))
    })
}

/// The size of a chunk as its first line.
fn size_line(bytes: usize, line: &mut [u8; SIZE_LINE_BYTES]) -> &[u8] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut at = SIZE_LINE_BYTES - 2;
    line[at..].copy_from_slice(b"\r\n");
    let mut left = bytes;
    loop {
        at -= 1;
        line[at] = DIGITS[left % 16];
        left /= 16;
        if left == 0 {
            return &line[at..];
        }
    }
}

/// Waits until the client closes its end. What it sends meanwhile is no request, since none may follow.
async fn read_nothing(io: &mut Io) -> io::Result<()> {
    let mut ignored = [0; IGNORED_BYTES];
    while io.read(&mut ignored).await? > 0 {}
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// The head of an answer that is given at `now`, as hyper writes it.
pub(crate) fn head(parts: &Parts, now: Timestamp) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(parts.status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(parts.status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    let mut put = |name: &header::HeaderName, value: &HeaderValue| {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    };
    for (name, value) in &parts.headers {
        if *name != header::CONNECTION {
            put(name, value);
        }
    }
    put(&header::CONNECTION, &HeaderValue::from_static("close"));
    put(&header::TRANSFER_ENCODING, &HeaderValue::from_static("chunked"));
    let now = UNIX_EPOCH + Duration::from_micros(now.as_micros().max(0).unsigned_abs());
    // Letters, digits, commas and colons.
    if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(now)) {
        put(&header::DATE, &date);
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_chunks_are_written_as_http_wants_them() {
        for bytes in [1, 9, 10, 15, 16, 0x22c, 4_096, 32_768, usize::MAX] {
            let expected = format!("{bytes:x}\r\n");
            assert_eq!(size_line(bytes, &mut [0; SIZE_LINE_BYTES]), expected.as_bytes());
        }
    }
}
