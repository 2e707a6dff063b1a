//! An event stream that has its connection to itself.
//!
//! HTTP/1.1 goes through hyper up to the answer. A connection on which a stream was answered is then taken out of it,
//! head and body together, and goes on here: a stream may last for days, and hyper's buffers (8 KiB each way) and the
//! state of a request would wait with it. What is written is what hyper would write. Such a connection carries nothing
//! after its stream, and says so (`Connection: close`).

use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, Response, Version, header};
use bytes::{Buf, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use planwire_event::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Ends a chunked body.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Bytes that are read at a time of what a client sends during its stream: nothing that anybody looks at.
const IGNORED_BYTES: usize = 64;

/// Whether a stream that answers this request may leave hyper. Older versions know no chunks, and HEAD gets no body.
pub(crate) fn may_take<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_11 && request.method() != Method::HEAD
}

/// Whether an answer is a stream whose end is not known yet.
pub(crate) fn is_stream(response: &Response<Body>) -> bool {
    response.headers().get(header::CONTENT_TYPE).is_some_and(|media| media == "text/event-stream")
        && response.body().size_hint().exact().is_none()
}

/// Writes a stream, which was answered at `now`, until it ends or the client is gone.
///
/// # Errors
///
/// What writing or reading failed with; `UnexpectedEof` if the client closed its end.
pub(crate) async fn serve<T: AsyncRead + AsyncWrite + Unpin>(
    mut io: T,
    response: Response<Body>,
    now: Timestamp,
) -> std::io::Result<()> {
    let (mut head, mut body) = {
        let (parts, body) = response.into_parts();
        (head(&parts, now), body)
    };
    loop {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            gone = read_nothing(&mut io) => return gone,
        };
        let chunk = match frame {
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            // Without the last chunk the client knows that something is missing.
            Some(Err(_)) => return Ok(()),
            None => break,
        };
        if chunk.is_empty() {
            continue;
        }
        let size = format!("{:x}\r\n", chunk.len());
        let mut all =
            Bytes::from(std::mem::take(&mut head)).chain(size.as_bytes()).chain(chunk).chain(&b"\r\n"[..]);
        io.write_all_buf(&mut all).await?;
    }
    let mut all = Bytes::from(head).chain(LAST_CHUNK);
    io.write_all_buf(&mut all).await?;
    io.shutdown().await
}

/// Waits until the client closes its end. What it sends meanwhile is no request, since none may follow.
async fn read_nothing<T: AsyncRead + Unpin>(io: &mut T) -> std::io::Result<()> {
    let mut ignored = [0; IGNORED_BYTES];
    while io.read(&mut ignored).await? > 0 {}
    Err(std::io::ErrorKind::UnexpectedEof.into())
}

/// The head of an answer, as hyper writes it.
fn head(parts: &axum::http::response::Parts, now: Timestamp) -> Vec<u8> {
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
