//! HTTP/1.1 by hand: what `curl` would do, byte by byte, so that a test can also cut it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::harness::PATIENCE;

/// A client of one server.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    authority: String,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status line and headers.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON; the status must be `status`.
    pub(crate) fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// One frame of an event stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) event: String,
    pub(crate) id: String,
    pub(crate) data: String,
}

impl Http {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            authority: url.strip_prefix("http://").expect("an http address").trim_end_matches('/').to_owned(),
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[("Accept", "application/json")], "")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[("Content-Type", "application/json")], &body.to_string())
    }

    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut reader = self.open(method, path, headers, body);
        let head = read_head(&mut reader);
        let mut body = Vec::new();
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            while let Some(chunk) = read_chunk(&mut reader) {
                body.extend(chunk);
            }
        } else {
            reader.read_to_end(&mut body).expect("an answer");
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
        Answer { status, head, body: String::from_utf8(body).expect("UTF-8") }
    }

    /// Opens an event stream; the status must be 200.
    pub(crate) fn stream(&self, path: &str, last_event_id: Option<&str>) -> Stream {
        let mut headers = vec![("Accept", "text/event-stream")];
        headers.extend(last_event_id.map(|id| ("Last-Event-ID", id)));
        let mut reader = self.open("GET", path, &headers, "");
        let head = read_head(&mut reader);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        Stream { reader, pending: String::new() }
    }

    fn open(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.authority).expect("a server that listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.authority);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        stream.write_all(head.as_bytes()).expect("a server that reads");
        // One that has read enough of it to refuse it answers and closes.
        let _ = stream.write_all(body.as_bytes());
        BufReader::new(stream)
    }
}

fn read_head(reader: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).expect("an answer") > 0, "the answer ended early: {head}");
    }
    head
}

fn read_chunk(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut size = String::new();
    reader.read_line(&mut size).ok()?;
    let size = usize::from_str_radix(size.trim(), 16).ok()?;
    let mut chunk = vec![0; size + 2];
    reader.read_exact(&mut chunk).ok()?;
    chunk.truncate(size);
    (size > 0).then_some(chunk)
}

/// An open event stream. Dropping it closes the connection.
pub(crate) struct Stream {
    reader: BufReader<TcpStream>,
    pending: String,
}

impl Stream {
    /// The next frame, heartbeats included; none when the server has closed the stream.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        while !self.pending.contains("\n\n") {
            let chunk = read_chunk(&mut self.reader)?;
            self.pending.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
        let (text, rest) = self.pending.split_once("\n\n")?;
        let mut frame = Frame::default();
        for line in text.lines() {
            match line.split_once(": ") {
                Some(("event", value)) => frame.event = value.to_owned(),
                Some(("id", value)) => frame.id = value.to_owned(),
                Some(("data", value)) => frame.data.push_str(value),
                _ => {}
            }
        }
        self.pending = rest.to_owned();
        Some(frame)
    }

    /// The next event; none after `end`.
    pub(crate) fn event(&mut self) -> Option<Value> {
        loop {
            let frame = self.frame()?;
            match frame.event.as_str() {
                "end" => return None,
                _ if frame.data.is_empty() => {}
                _ => return Some(serde_json::from_str(&frame.data).expect("an event in JSON")),
            }
        }
    }
}
