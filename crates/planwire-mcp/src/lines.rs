//! The size of a message: what a program writes, up to the first line that is too long.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use crate::limits::MESSAGE_BYTES_MAX;

/// Passes bytes on; fails at a line of more than [`MESSAGE_BYTES_MAX`], which ends the session: a message that is
/// dropped in silence would leave its call waiting.
pub(crate) struct Lines<R> {
    inner: R,
    line_bytes: usize,
}

impl<R> Lines<R> {
    pub(crate) const fn new(inner: R) -> Self {
        Self { inner, line_bytes: 0 }
    }

    fn count(&mut self, bytes: &[u8]) -> io::Result<()> {
        for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            self.line_bytes = if at == 0 { self.line_bytes } else { 0 } + line.len();
            if self.line_bytes > MESSAGE_BYTES_MAX {
                return Err(io::Error::other(format!("a message of more than {MESSAGE_BYTES_MAX} bytes")));
            }
        }
        Ok(())
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Lines<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        let counted = self.count(&buffer.filled()[before..]);
        if counted.is_err() {
            buffer.set_filled(before);
        }
        Poll::Ready(counted)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    async fn read(text: Vec<u8>) -> io::Result<usize> {
        let mut all = Vec::new();
        Lines::new(&text[..]).read_to_end(&mut all).await
    }

    #[tokio::test]
    async fn lines_are_bounded_and_their_number_is_not() {
        let line = |bytes: usize| [vec![b'a'; bytes], vec![b'\n']].concat();
        let longest = line(MESSAGE_BYTES_MAX);
        assert_eq!(read([longest.clone(), longest.clone()].concat()).await.unwrap(), 2 * longest.len());
        assert!(read([line(3), line(MESSAGE_BYTES_MAX + 1)].concat()).await.is_err());
        assert!(read(vec![b'a'; MESSAGE_BYTES_MAX + 1]).await.is_err());
    }
}
