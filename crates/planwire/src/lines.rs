//! Lines of a file, one at a time, wherever they come from: compressed or not, with CRLF, with a byte order mark.
//!
//! **Invariant:** a line is held in memory alone, and only up to [`LINE_BYTES_MAX`].

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use planwire_event::limits::PAYLOAD_BYTES_MAX;

use crate::failure::{Exit, Failure};

/// Bytes of one line: the largest payload, whose characters may all be written as escapes, and the rest of an event.
pub(crate) const LINE_BYTES_MAX: usize = 2 * 1024 * 1024;

const _: () = assert!(6 * PAYLOAD_BYTES_MAX < LINE_BYTES_MAX);

/// Bytes that are read at a time.
const BUFFER_BYTES: usize = 256 * 1024;
/// How a zstd frame begins.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
/// Bytes, as a power of two, that decompressing may look back: what `zstd` itself allows.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// From 1.
    pub(crate) number: u64,
    /// Without its end.
    pub(crate) text: String,
    /// Whether it has an end: the last line of a file that was cut off has none.
    pub(crate) ended: bool,
}

/// Reads lines.
pub(crate) struct Lines {
    source: Source,
    number: u64,
    name: String,
    read: Arc<AtomicU64>,
    bytes: u64,
}

/// Where lines come from.
enum Source {
    /// Nothing was read yet: whoever opens standard input shall not wait for somebody to type.
    Fresh(Box<dyn Read + Send>),
    /// It is known whether it is compressed.
    Open(Box<dyn BufRead + Send>),
    /// It could not be read.
    Broken,
}

/// Why a line could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LineError {
    /// The file could not be read, or is not what it was when it was compressed.
    #[error("line {line}: the file cannot be read on")]
    Read {
        /// The line.
        line: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The line is too long.
    #[error("line {line} is longer than {LINE_BYTES_MAX} bytes")]
    TooLong {
        /// The line.
        line: u64,
    },
    /// The line is no text.
    #[error("line {line} is not UTF-8")]
    NotText {
        /// The line.
        line: u64,
    },
}

impl LineError {
    /// The line.
    pub(crate) const fn line(&self) -> u64 {
        match self {
            Self::Read { line, .. } | Self::TooLong { line } | Self::NotText { line } => *line,
        }
    }
}

impl Lines {
    /// Opens a file; `-` is standard input.
    ///
    /// # Errors
    ///
    /// Exit code 2 if it cannot be opened.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let wrong = |error: io::Error| {
            Failure::new(Exit::Usage, error).context(format!("failed to read {}", path.display()))
        };
        if path == Path::new("-") {
            return Ok(Self::new(io::stdin(), "standard input".to_owned(), 0));
        }
        let file = File::open(path).map_err(wrong)?;
        let bytes = file.metadata().map_err(wrong)?.len();
        Ok(Self::new(file, path.display().to_string(), bytes))
    }

    fn new(raw: impl Read + Send + 'static, name: String, bytes: u64) -> Self {
        let read = Arc::new(AtomicU64::new(0));
        let counted = Counted { raw, read: Arc::clone(&read) };
        Self { source: Source::Fresh(Box::new(counted)), number: 0, name, read, bytes }
    }

    fn reader(&mut self) -> io::Result<&mut Box<dyn BufRead + Send>> {
        if matches!(self.source, Source::Fresh(_))
            && let Source::Fresh(raw) = std::mem::replace(&mut self.source, Source::Broken)
        {
            self.source = Source::Open(begin(raw)?);
        }
        match &mut self.source {
            Source::Open(reader) => Ok(reader),
            _ => Err(io::Error::other("it could not be read before")),
        }
    }

    /// What people call the file.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How many bytes of how many were read, as they lie on disk; of standard input nobody knows how many there are.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.read.load(Ordering::Relaxed), self.bytes)
    }

    /// The next line that is not empty; `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// [`LineError`] says which line is none.
    pub(crate) fn next(&mut self) -> Result<Option<Line>, LineError> {
        loop {
            let line = self.number + 1;
            let mut bytes = Vec::new();
            let limit = LINE_BYTES_MAX as u64 + 1;
            let read = self.reader().and_then(|reader| reader.take(limit).read_until(b'\n', &mut bytes));
            if read.map_err(|source| LineError::Read { line, source })? == 0 {
                return Ok(None);
            }
            self.number = line;
            let ended = bytes.last() == Some(&b'\n');
            if !ended && bytes.len() > LINE_BYTES_MAX {
                return Err(LineError::TooLong { line });
            }
            if ended {
                bytes.pop();
                bytes.pop_if(|byte| *byte == b'\r');
            }
            if line == 1 && bytes.starts_with(BYTE_ORDER_MARK) {
                bytes.drain(..BYTE_ORDER_MARK.len());
            }
            if !bytes.iter().all(u8::is_ascii_whitespace) {
                let text = String::from_utf8(bytes).map_err(|_| LineError::NotText { line })?;
                return Ok(Some(Line { number: line, text, ended }));
            }
        }
    }
}

/// Looks how the file begins, and decompresses it if it is compressed.
fn begin(raw: Box<dyn Read + Send>) -> io::Result<Box<dyn BufRead + Send>> {
    let mut plain = BufReader::with_capacity(BUFFER_BYTES, raw);
    if !plain.fill_buf()?.starts_with(&ZSTD_MAGIC) {
        return Ok(Box::new(plain));
    }
    let mut decoder = zstd::Decoder::with_buffer(plain)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder)))
}

/// Counts what was read.
struct Counted<R> {
    raw: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.raw.read(bytes)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Result<Vec<(u64, String, bool)>, LineError> {
        let mut lines = Lines::new(io::Cursor::new(bytes.to_vec()), "a".to_owned(), 0);
        let mut found = Vec::new();
        while let Some(Line { number, text, ended }) = lines.next()? {
            found.push((number, text, ended));
        }
        Ok(found)
    }

    #[test]
    fn lines_come_with_their_numbers_however_they_end() {
        let found = lines(b"\xEF\xBB\xBFone\r\n\n  \r\ntwo\nthree").unwrap();
        let expected =
            [(1, "one".to_owned(), true), (4, "two".to_owned(), true), (5, "three".to_owned(), false)];
        assert_eq!(found, expected);
        assert_eq!(lines(b"").unwrap(), []);
        let packed = zstd::encode_all(&b"one\ntwo\n"[..], 3).unwrap();
        assert_eq!(lines(&packed).unwrap(), [(1, "one".to_owned(), true), (2, "two".to_owned(), true)]);
    }

    #[test]
    fn lines_that_are_none_are_named() {
        let told = |bytes: &[u8]| lines(bytes).unwrap_err().to_string();
        assert_eq!(told(b"a\n\xFF\n"), "line 2 is not UTF-8");
        assert_eq!(
            told(&[b'x'; LINE_BYTES_MAX + 5]),
            format!("line 1 is longer than {LINE_BYTES_MAX} bytes")
        );
        let packed = zstd::encode_all(&b"one\ntwo\n".repeat(10_000)[..], 3).unwrap();
        assert!(told(&packed[..packed.len() / 2]).contains("cannot be read on"));
    }
}
