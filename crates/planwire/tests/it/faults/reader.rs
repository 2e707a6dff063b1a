//! One reader that resumes by its cursor, over as many streams as it takes.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::checker::{Reading, Wanted, digest};
use super::raw::{RawStream, ask_for_stream, position_of};
use crate::harness::PATIENCE;

/// Pause before a reader that found no server looks again.
const RETRY_PAUSE: Duration = Duration::from_millis(1);

/// Follows the log and remembers what it was given.
pub(crate) struct Reader {
    url: String,
    path: String,
    reading: Reading,
    cursor: Option<String>,
    stream: Option<RawStream>,
    silence_max: Duration,
    /// It takes nothing behind this position.
    last: u64,
    refused: u64,
    resumed: u64,
}

impl Reader {
    /// One that has not asked yet.
    pub(crate) fn new(url: &str, wanted: Wanted) -> Self {
        let path =
            wanted.plan.as_ref().map_or("/v1/events".to_owned(), |plan| format!("/v1/plans/{plan}/events"));
        let types = wanted.event_type.as_ref().map_or_else(String::new, |name| format!("?event_type={name}"));
        Self {
            url: url.to_owned(),
            path: path + &types,
            reading: Reading { wanted, delivered: Vec::new() },
            cursor: None,
            stream: None,
            silence_max: PATIENCE,
            last: u64::MAX,
            refused: 0,
            resumed: 0,
        }
    }

    /// Gives a stream up, and resumes, when nothing came for so long.
    pub(crate) fn giving_up_after(self, silence_max: Duration) -> Self {
        Self { silence_max, ..self }
    }

    /// Asks, and reads nothing yet. The answer must be a stream.
    pub(crate) fn ask(&mut self) -> &TcpStream {
        let stream = ask_for_stream(&self.url, &self.path, self.cursor.as_deref());
        let stream = RawStream::of(stream.expect("a server that listens"));
        assert_eq!(stream.peek_status().expect("an answer"), 200, "{}", self.path);
        self.stream.insert(stream).socket()
    }

    /// How far it has looked.
    pub(crate) fn position(&self) -> u64 {
        self.cursor.as_deref().map_or(0, position_of)
    }

    /// How often it was told to come later, and how often it resumed.
    pub(crate) const fn refused_and_resumed(&self) -> (u64, u64) {
        (self.refused, self.resumed)
    }

    /// Reads until it has looked at everything up to `position`.
    pub(crate) fn read_until(&mut self, position: u64) {
        let begun = Instant::now();
        while self.position() < position {
            assert!(begun.elapsed() < 4 * PATIENCE, "{} ends at {}", self.path, self.position());
            self.read();
        }
    }

    /// Reads up to exactly `position`: what lies behind it is not read, and comes again with the next stream.
    pub(crate) fn stop_at(&mut self, position: u64) {
        self.last = position;
        self.read_until(position);
        self.last = u64::MAX;
    }

    /// Resumes at another server of the log.
    pub(crate) fn move_to(&mut self, url: &str) {
        self.leave();
        url.clone_into(&mut self.url);
    }

    /// Drops its stream.
    pub(crate) fn leave(&mut self) {
        self.stream = None;
    }

    /// What it was given.
    pub(crate) fn finish(self) -> Reading {
        self.reading
    }

    /// Reads what comes next, or asks for another stream if it has none.
    pub(crate) fn read(&mut self) {
        let Some(stream) = self.stream.as_mut() else { return self.resume() };
        match stream.frames() {
            Ok(Some(frames)) => {
                for frame in frames.into_iter().filter(|frame| frame.position() <= self.last) {
                    if !frame.data.is_empty() {
                        self.reading.delivered.push((frame.position(), digest(&frame.data)));
                    }
                    self.cursor = frame.id.or(self.cursor.take());
                }
            }
            Ok(None) | Err(_) => {
                let (status, retry_after) = (stream.status(), stream.retry_after());
                self.stream = None;
                match status {
                    None | Some(200) => {}
                    Some(429 | 503) => {
                        self.refused += 1;
                        std::thread::sleep(retry_after.expect("a refusal says when to come again"));
                    }
                    Some(status) => panic!("{}: {status}", self.path),
                }
            }
        }
    }

    fn resume(&mut self) {
        let Ok(stream) = ask_for_stream(&self.url, &self.path, self.cursor.as_deref()) else {
            std::thread::sleep(RETRY_PAUSE);
            return;
        };
        stream.set_read_timeout(Some(self.silence_max)).expect("a time");
        self.resumed += u64::from(self.cursor.is_some());
        self.stream = Some(RawStream::of(stream));
    }
}
