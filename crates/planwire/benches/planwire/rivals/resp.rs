//! What is needed of Redis' protocol: commands are written, replies are read, and errors are told.

use std::io::{BufRead, Error, ErrorKind, Result};

/// Appends a command of `parts` to `bytes`.
pub(crate) fn command(bytes: &mut Vec<u8>, parts: &[&[u8]]) {
    bytes.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
    for part in parts {
        bytes.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
}

/// Reads replies one after the other.
pub(crate) struct Replies<R> {
    input: R,
    line: Vec<u8>,
}

impl<R: BufRead> Replies<R> {
    /// Reads from `input`.
    pub(crate) fn new(input: R) -> Self {
        Self { input, line: Vec::new() }
    }

    /// Reads one string: simple, bulk or a number as its digits.
    pub(crate) fn text(&mut self, text: &mut Vec<u8>) -> Result<()> {
        self.head()?;
        text.clear();
        match self.line.first() {
            Some(b'+' | b':') => text.extend_from_slice(&self.line[1..]),
            Some(b'$') => {
                let bytes = self.number()?;
                text.resize(bytes, 0);
                self.input.read_exact(text)?;
                self.input.read_exact(&mut [0; 2])?;
            }
            _ => return Err(self.unexpected("a string")),
        }
        Ok(())
    }

    /// Reads the head of a list; that many replies follow.
    pub(crate) fn list(&mut self) -> Result<usize> {
        self.head()?;
        match self.line.first() {
            Some(b'*') => self.number(),
            _ => Err(self.unexpected("a list")),
        }
    }

    /// Reads a line without its end.
    fn head(&mut self) -> Result<()> {
        self.line.clear();
        if self.input.read_until(b'\n', &mut self.line)? == 0 {
            return Err(Error::new(ErrorKind::UnexpectedEof, "Redis closed the connection"));
        }
        if !self.line.ends_with(b"\r\n") {
            return Err(self.unexpected("a whole line"));
        }
        self.line.truncate(self.line.len() - 2);
        Ok(())
    }

    fn number(&self) -> Result<usize> {
        let digits = std::str::from_utf8(&self.line[1..]).ok().and_then(|digits| digits.parse().ok());
        digits.ok_or_else(|| self.unexpected("a length"))
    }

    fn unexpected(&self, expected: &str) -> Error {
        let line = String::from_utf8_lossy(&self.line);
        Error::new(ErrorKind::InvalidData, format!("Redis answered '{line}' instead of {expected}"))
    }
}
