//! The three pipes of a program: what goes in, and as much of what comes out as is kept.

use std::fs::File;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe::{Receiver, Sender};

use crate::program::Ends;
use crate::redaction::{Edges, Redactor, lossy};

/// Bytes read at a time.
const READ_BYTES: usize = 16 * 1024;

/// Why [`Pipes::pump`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pumped {
    /// Every pipe is closed.
    AllClosed,
    /// There is more output than is kept, and that is an error.
    Overflow,
}

/// Whether more output than is kept ends the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// It is read and dropped.
    Dropped,
    /// It is an error.
    Refused,
}

/// Our ends of the pipes of one program.
pub(super) struct Pipes {
    stdin: Option<(Sender, Vec<u8>)>,
    stdout: Kept<Receiver>,
    stderr: Kept<Receiver>,
    excess: Excess,
}

impl Pipes {
    /// Opens pipes; `stdin` is what the program shall read.
    pub(super) fn open(stdin: Option<String>, kept_bytes: usize, excess: Excess) -> io::Result<(Self, Ends)> {
        let (input, stdin) = match stdin {
            Some(text) => {
                let (theirs, ours) = io::pipe()?;
                (theirs.into(), Some((Sender::from_owned_fd(ours.into())?, text.into_bytes())))
            }
            None => (File::open("/dev/null")?.into(), None),
        };
        let (stdout, output) = io::pipe()?;
        let (stderr, error) = io::pipe()?;
        let pipes = Self {
            stdin,
            stdout: Kept::new(Some(Receiver::from_owned_fd(stdout.into())?), kept_bytes),
            stderr: Kept::new(Some(Receiver::from_owned_fd(stderr.into())?), kept_bytes),
            excess,
        };
        Ok((pipes, Ends { stdin: input, stdout: output.into(), stderr: error.into() }))
    }

    /// Whether every pipe is closed.
    pub(super) const fn closed(&self) -> bool {
        self.stdin.is_none() && self.stdout.pipe.is_none() && self.stderr.pipe.is_none()
    }

    /// Whether output was dropped.
    pub(super) const fn truncated(&self) -> bool {
        self.stdout.dropped || self.stderr.dropped
    }

    /// Closes the program's input: it has ended.
    pub(super) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Moves bytes until every pipe is closed or the output is too much. Can be dropped and called again.
    pub(super) async fn pump(&mut self) -> Pumped {
        while !self.closed() {
            tokio::select! {
                () = self.stdout.read_some(), if self.stdout.pipe.is_some() => {}
                () = self.stderr.read_some(), if self.stderr.pipe.is_some() => {}
                () = write_some(&mut self.stdin), if self.stdin.is_some() => {}
            }
            if self.excess == Excess::Refused && self.truncated() {
                return Pumped::Overflow;
            }
        }
        Pumped::AllClosed
    }

    /// Standard output and error without values of secrets; then bytes that are no UTF-8 are replaced.
    pub(super) fn texts(self, redactor: &Redactor) -> (String, String) {
        (self.stdout.into_text(redactor), self.stderr.into_text(redactor))
    }
}

async fn write_some(stdin: &mut Option<(Sender, Vec<u8>)>) {
    let Some((pipe, rest)) = stdin else { return };
    match pipe.write(rest).await {
        Ok(written) if written > 0 && written < rest.len() => {
            rest.drain(..written);
        }
        // All is written, or the program does not want the rest.
        _ => *stdin = None,
    }
}

/// One output, of which the first bytes are kept.
struct Kept<R> {
    pipe: Option<R>,
    bytes: Vec<u8>,
    bytes_max: usize,
    dropped: bool,
    buffer: Box<[u8]>,
}

impl<R: AsyncRead + Unpin> Kept<R> {
    fn new(pipe: Option<R>, bytes_max: usize) -> Self {
        Self { pipe, bytes: Vec::new(), bytes_max, dropped: false, buffer: vec![0; READ_BYTES].into() }
    }

    async fn read_some(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        match pipe.read(&mut self.buffer).await {
            Ok(read) if read > 0 => {
                let room = self.bytes_max - self.bytes.len();
                self.bytes.extend_from_slice(&self.buffer[..read.min(room)]);
                self.dropped |= read > room;
            }
            _ => self.pipe = None,
        }
    }

    fn into_text(self, redactor: &Redactor) -> String {
        let mut bytes = self.bytes;
        if self.dropped {
            // A character that the cut went through is left out; it is no damage of the program's output.
            let whole = bytes.len() - incomplete_tail(&bytes);
            bytes.truncate(whole);
        }
        lossy(redactor.cut_bytes(&bytes, Edges::cut_end_if(self.dropped)).into_owned())
    }
}

/// Bytes at the end that begin a character without ending it.
fn incomplete_tail(bytes: &[u8]) -> usize {
    match std::str::from_utf8(&bytes[bytes.len().saturating_sub(4)..]) {
        Err(error) if error.error_len().is_none() => bytes.len().min(4) - error.valid_up_to(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(bytes: &[u8], bytes_max: usize) -> String {
        let mut kept = Kept::<&[u8]>::new(None, bytes_max);
        kept.bytes = bytes[..bytes.len().min(bytes_max)].to_vec();
        kept.dropped = bytes.len() > bytes_max;
        kept.into_text(&Redactor::default())
    }

    #[test]
    fn cut_does_not_go_through_a_character() {
        assert_eq!(kept("aé".as_bytes(), 2), "a");
        assert_eq!(kept("aaaé".as_bytes(), 5), "aaaé");
        assert_eq!(kept("日本".as_bytes(), 4), "日");
        assert_eq!(kept(b"\xff\xfe", 9), "\u{fffd}\u{fffd}");
    }
}
