//! A connection that is given up when its other end takes nothing for too long.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Passes everything through and fails a write that makes no progress for `stall`.
///
/// The clock runs only while a write waits, and starts anew with each byte that is taken. It is tokio's, so tests can
/// pause it.
#[derive(Debug)]
pub(crate) struct WriteDeadline<T> {
    inner: T,
    stall: Duration,
    /// Made at the first stall, since most connections never have one.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<T> WriteDeadline<T> {
    pub(crate) const fn new(inner: T, stall: Duration) -> Self {
        Self { inner, stall, deadline: None }
    }

    /// Starts or stops the clock by what a write answered.
    fn watch<V>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<V>>) -> Poll<io::Result<V>> {
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        let stall = self.stall;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other end took nothing for too long")))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for WriteDeadline<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for WriteDeadline<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    const STALL: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn write_without_progress_fails_after_the_stall() {
        let (near, _far) = tokio::io::duplex(8);
        let mut near = WriteDeadline::new(near, STALL);
        let begun = Instant::now();
        let error = near.write_all(&[0; 9]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), STALL.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn each_byte_that_is_taken_starts_the_clock_anew() {
        let (near, mut far) = tokio::io::duplex(1);
        let mut near = WriteDeadline::new(near, STALL);
        let reader = tokio::spawn(async move {
            let mut byte = [0];
            for _ in 0..4 {
                tokio::time::sleep(STALL - Duration::from_secs(1)).await;
                far.read_exact(&mut byte).await.unwrap();
            }
        });
        let bytes = io::IoSlice::new(&[0; 4]);
        let mut written = 0;
        while written < 4 {
            written += near.write_vectored(&[bytes]).await.unwrap();
        }
        near.flush().await.unwrap();
        reader.await.unwrap();
        near.shutdown().await.unwrap();
    }

    #[tokio::test]
    async fn reads_pass_through() {
        let (near, mut far) = tokio::io::duplex(8);
        let mut near = WriteDeadline::new(near, STALL);
        assert!(near.is_write_vectored());
        far.write_all(b"hi").await.unwrap();
        let mut bytes = [0; 2];
        near.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"hi");
    }
}
