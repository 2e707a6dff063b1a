//! HTTP that may break at any byte. Nothing here panics when a server dies; the caller decides what that means.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::harness::PATIENCE;

/// Bytes that are taken from a socket at a time.
const READ_BYTES: usize = 64 * 1024;

/// A connection that is kept from one request to the next.
#[derive(Debug)]
pub(crate) struct Raw {
    authority: String,
    reader: BufReader<TcpStream>,
}

impl Raw {
    pub(crate) fn connect(url: &str) -> io::Result<Self> {
        let (authority, stream) = connect(url)?;
        Ok(Self { authority, reader: BufReader::new(stream) })
    }

    /// Waits no longer than this for each part of an answer.
    pub(crate) fn set_patience(&self, patience: Duration) {
        self.reader.get_ref().set_read_timeout(Some(patience)).expect("a time");
    }

    /// Sends JSON; gives the status and the body.
    pub(crate) fn post(&mut self, path: &str, body: &str) -> io::Result<(u16, Vec<u8>)> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.authority,
            body.len()
        );
        self.reader.get_mut().write_all(head.as_bytes())?;
        self.reader.get_mut().write_all(body.as_bytes())?;
        let mut status = 0;
        let mut length = 0;
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0);
            } else if let Some(rest) = line.strip_prefix("content-length: ") {
                length = rest.parse().unwrap_or(0);
            }
        }
        let mut answer = vec![0; length];
        self.reader.read_exact(&mut answer)?;
        Ok((status, answer))
    }
}

fn connect(url: &str) -> io::Result<(String, TcpStream)> {
    let authority = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let stream = TcpStream::connect(&authority)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok((authority, stream))
}

/// Asks for an event stream and reads nothing yet.
pub(crate) fn ask_for_stream(url: &str, path: &str, last_event_id: Option<&str>) -> io::Result<TcpStream> {
    let (authority, mut stream) = connect(url)?;
    let mut head = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nAccept: text/event-stream\r\n");
    if let Some(id) = last_event_id {
        head.push_str(&format!("Last-Event-ID: {id}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    Ok(stream)
}

/// One whole frame of an event stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RawFrame {
    pub(crate) id: Option<String>,
    pub(crate) event: String,
    pub(crate) data: String,
}

impl RawFrame {
    /// The position that its id names.
    pub(crate) fn position(&self) -> u64 {
        self.id.as_deref().map_or(0, position_of)
    }
}

/// The position in a cursor.
pub(crate) fn position_of(cursor: &str) -> u64 {
    let digits = cursor.split_once('-').map_or("", |(_, digits)| digits);
    u64::from_str_radix(digits, 16).expect("a cursor ends with a position")
}

/// An event stream that is read as far as it goes.
#[derive(Debug)]
pub(crate) struct RawStream {
    stream: TcpStream,
    decoder: Decoder,
}

impl RawStream {
    pub(crate) fn open(url: &str, path: &str, last_event_id: Option<&str>) -> io::Result<Self> {
        ask_for_stream(url, path, last_event_id).map(Self::of)
    }

    /// Goes on with a stream that was asked for before.
    pub(crate) fn of(stream: TcpStream) -> Self {
        Self { stream, decoder: Decoder::default() }
    }

    /// The status; none before the head has come.
    pub(crate) const fn status(&self) -> Option<u16> {
        self.decoder.status
    }

    /// When a refusal asks to come again.
    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        self.decoder.retry_after
    }

    /// Whether the server has said that nothing follows.
    pub(crate) const fn has_ended(&self) -> bool {
        self.decoder.ended
    }

    /// The connection below.
    pub(crate) const fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Waits for the status of a stream of which nothing was read, and leaves it unread.
    pub(crate) fn peek_status(&self) -> io::Result<u16> {
        let mut line = [0; 12];
        loop {
            match self.stream.peek(&mut line)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length if length == line.len() => break,
                _ => {}
            }
        }
        let code = std::str::from_utf8(&line[9..]).expect("a status line");
        Ok(code.parse().expect("a status"))
    }

    /// Reads at most `bytes_max` bytes and gives the frames that are whole by then; none at the end of the stream.
    pub(crate) fn read(&mut self, bytes_max: usize) -> io::Result<Option<Vec<RawFrame>>> {
        let mut bytes = vec![0; bytes_max.min(READ_BYTES)];
        let length = self.stream.read(&mut bytes)?;
        self.decoder.raw.extend_from_slice(&bytes[..length]);
        let frames = self.decoder.frames();
        Ok((length > 0).then_some(frames))
    }

    /// Reads until frames are whole; none at the end of the stream.
    pub(crate) fn frames(&mut self) -> io::Result<Option<Vec<RawFrame>>> {
        // After the end, or an answer that is no stream, the connection is kept for another request: nothing more comes.
        while !self.decoder.ended && self.status().is_none_or(|status| status == 200) {
            match self.read(READ_BYTES)? {
                Some(frames) if frames.is_empty() => {}
                other => return Ok(other),
            }
        }
        Ok(None)
    }

    /// Reads exactly `bytes` bytes of the wire, unless the stream ends before, and gives the whole frames.
    pub(crate) fn read_exactly(&mut self, bytes: usize) -> io::Result<Vec<RawFrame>> {
        let mut left = bytes;
        let mut buffer = vec![0; bytes.min(READ_BYTES)];
        while left > 0 && !self.decoder.ended {
            let end = left.min(buffer.len());
            let length = self.stream.read(&mut buffer[..end])?;
            if length == 0 {
                break;
            }
            left -= length;
            self.decoder.raw.extend_from_slice(&buffer[..length]);
            self.decoder.decode();
        }
        Ok(self.decoder.frames())
    }
}

/// From bytes of the wire to whole frames.
#[derive(Debug, Default)]
struct Decoder {
    raw: Vec<u8>,
    body: Vec<u8>,
    status: Option<u16>,
    retry_after: Option<Duration>,
    /// Bytes of the chunk that are still to come, with its line end.
    chunk_left: usize,
    ended: bool,
}

impl Decoder {
    fn frames(&mut self) -> Vec<RawFrame> {
        self.decode();
        let mut frames = Vec::new();
        let mut start = 0;
        while let Some(length) = find(&self.body[start..], b"\n\n") {
            let text = std::str::from_utf8(&self.body[start..start + length]).expect("UTF-8");
            frames.push(frame(text));
            start += length + 2;
        }
        self.body.drain(..start);
        frames
    }

    fn decode(&mut self) {
        let mut at = 0;
        if self.status.is_none() {
            let Some(end) = find(&self.raw, b"\r\n\r\n") else { return };
            let code = std::str::from_utf8(&self.raw[9..12]).expect("a status line");
            self.status = Some(code.parse().expect("a status"));
            self.retry_after = retry_after(&self.raw[..end]);
            at = end + 4;
        }
        while !self.ended && at < self.raw.len() {
            if self.chunk_left > 2 {
                let length = (self.chunk_left - 2).min(self.raw.len() - at);
                self.body.extend_from_slice(&self.raw[at..at + length]);
                self.chunk_left -= length;
                at += length;
            } else if self.chunk_left > 0 {
                self.chunk_left -= 1;
                at += 1;
            } else {
                let Some(end) = find(&self.raw[at..], b"\r\n") else { break };
                let size = std::str::from_utf8(&self.raw[at..at + end]).expect("a chunk size");
                let size = usize::from_str_radix(size, 16).expect("a chunk size");
                self.ended = size == 0;
                self.chunk_left = size + 2;
                at += end + 2;
            }
        }
        self.raw.drain(..at);
    }
}

fn retry_after(head: &[u8]) -> Option<Duration> {
    let head = std::str::from_utf8(head).expect("a head of ASCII").to_ascii_lowercase();
    let seconds = head.lines().find_map(|line| line.strip_prefix("retry-after: "))?;
    Some(Duration::from_secs(seconds.parse().expect("seconds")))
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    let first = pattern[0];
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(pattern) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

fn frame(text: &str) -> RawFrame {
    let mut frame = RawFrame::default();
    for line in text.lines() {
        match line.split_once(": ") {
            Some(("id", value)) => frame.id = Some(value.to_owned()),
            Some(("event", value)) => value.clone_into(&mut frame.event),
            Some(("data", value)) => frame.data.push_str(value),
            _ => {}
        }
    }
    frame
}

#[test]
fn frames_are_the_same_wherever_the_wire_is_cut() {
    let wire = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n1a\r\n: planwire\nid: L-0a\n\nid: L\r\n12\r\n-0b\ndata: {\"a\":1}\n\r\n1\r\n\n\r\n0\r\n\r\n";
    let whole = [
        RawFrame { id: Some("L-0a".into()), ..RawFrame::default() },
        RawFrame { id: Some("L-0b".into()), data: "{\"a\":1}".into(), ..RawFrame::default() },
    ];
    for size in 1..=wire.len() {
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for bytes in wire.chunks(size) {
            decoder.raw.extend_from_slice(bytes);
            frames.extend(decoder.frames());
        }
        assert_eq!(
            (frames.as_slice(), decoder.status, decoder.ended),
            (&whole[..], Some(200), true),
            "{size}"
        );
    }
}
