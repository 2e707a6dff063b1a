//! A stream between its answer and whoever carries it: hyper, as the body of the answer, or a connection of its own.
//!
//! The answer holds the stream twice, in its body and among its extensions; the first who asks for it has it.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, Stream};
use planwire_bus::ReadError;

use crate::sse_connection::{self, Io};
use crate::sse_stream::{EventStream, Frames};

/// A stream whatever its frames are.
pub(crate) trait AnyStream: Send {
    /// The next chunk, for hyper.
    fn next_chunk(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>>;

    /// Writes the stream to a connection of its own, see [`sse_connection::carry`].
    fn carry(self: Box<Self>, io: Io, head: Vec<u8>) -> BoxFuture<'static, std::io::Result<()>>;
}

impl<F: Frames> AnyStream for EventStream<F> {
    fn next_chunk(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        Self::next_chunk(self).boxed()
    }

    fn carry(self: Box<Self>, io: Io, head: Vec<u8>) -> BoxFuture<'static, std::io::Result<()>> {
        sse_connection::carry(io, head, *self).boxed()
    }
}

/// The stream of an answer, until somebody takes it.
#[derive(Clone)]
struct Untaken(Arc<Mutex<Option<Box<dyn AnyStream>>>>);

impl Untaken {
    fn take(&self) -> Option<Box<dyn AnyStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The answer that a stream is.
pub(crate) fn answer(stream: impl AnyStream + 'static) -> Response {
    let untaken = Untaken(Arc::new(Mutex::new(Some(Box::new(stream)))));
    let headers = [
        (header::CONTENT_TYPE.as_str(), "text/event-stream"),
        // no-transform: a proxy that compresses would hold frames back; nginx buffers unless it is told not to.
        (header::CACHE_CONTROL.as_str(), "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
    ];
    let mut response = (headers, Body::from_stream(body(untaken.clone()))).into_response();
    response.extensions_mut().insert(untaken);
    response
}

/// Takes the stream out of its answer, whose body is then empty; none if it is no stream.
pub(crate) fn take(response: &Response) -> Option<Box<dyn AnyStream>> {
    response.extensions().get::<Untaken>()?.take()
}

fn body(untaken: Untaken) -> impl Stream<Item = Result<Bytes, ReadError>> + Send {
    futures_util::stream::unfold((untaken, None), |(untaken, taken)| async move {
        let mut stream: Box<dyn AnyStream> = taken.or_else(|| untaken.take())?;
        let chunk = stream.next_chunk().await.transpose()?;
        if chunk.is_err() {
            // The connection is dropped at once with an error; what it was given before goes out first.
            tokio::task::yield_now().await;
        }
        Some((chunk, (untaken, Some(stream))))
    })
}
