//! Lines of a file as events, in batches, by a thread of their own.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use planwire_event::{Draft, Event, EventId, IdGenerator, SystemClock};
use planwire_server::BODY_BYTES_MAX;
use planwire_store::Frame;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::lines::{Line, LineError, Lines};

/// Events of one batch: what one request may have.
const BATCH_EVENTS_MAX: usize = 1_000;
/// Bytes of one batch, so that a server takes it as one request with the rest of its body.
const BATCH_BYTES_MAX: usize = BODY_BYTES_MAX - 1024;
/// Batches that wait while another one is stored.
const BATCHES_AHEAD: usize = 2;

const _: () = assert!(BATCH_EVENTS_MAX <= planwire_bus::REQUEST_EVENTS_MAX);
const _: () = assert!(planwire_event::limits::PAYLOAD_BYTES_MAX + 4096 < BATCH_BYTES_MAX);

/// An event and where it stands.
pub(crate) struct Item {
    pub(crate) line: u64,
    pub(crate) event: Event,
    /// As it is sent to a server.
    pub(crate) json: String,
}

/// A line that is no event, or one that is refused.
pub(crate) struct LineFlaw {
    pub(crate) line: u64,
    pub(crate) event_id: Option<EventId>,
    pub(crate) message: String,
}

/// A batch, or the last one with the line after it, which is none.
pub(crate) type Next = Result<Vec<Item>, (Vec<Item>, LineFlaw)>;

/// Batches of a file.
pub(crate) struct Batches {
    next: mpsc::Receiver<Next>,
    name: String,
    read: Arc<AtomicU64>,
    bytes: u64,
}

impl Batches {
    /// Opens a file and begins to read.
    ///
    /// # Errors
    ///
    /// Exit code 2 if it cannot be opened.
    pub(crate) fn start(path: &Path) -> Result<Self, Failure> {
        let lines = Lines::open(path)?;
        let (name, (_, bytes)) = (lines.name().to_owned(), lines.progress());
        let read = Arc::new(AtomicU64::new(0));
        let (sender, next) = mpsc::channel(BATCHES_AHEAD);
        let told = Arc::clone(&read);
        // It ends with its file, or when nobody wants the next batch; a read of standard input ends with the process.
        std::thread::Builder::new()
            .name("planwire-import".to_owned())
            .spawn(move || run(lines, &sender, &told))?;
        Ok(Self { next, name, read, bytes })
    }

    /// The next batch; `None` behind the last. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Next> {
        self.next.recv().await
    }

    /// What people call the file.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How many bytes of how many were read.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.read.load(Ordering::Relaxed), self.bytes)
    }
}

fn run(mut lines: Lines, sender: &mpsc::Sender<Next>, read: &AtomicU64) {
    let ids = IdGenerator::system();
    let mut left = None;
    loop {
        let next = batch(&mut lines, &ids, &mut left);
        read.store(lines.progress().0, Ordering::Relaxed);
        let last = match &next {
            Ok(batch) => batch.is_empty(),
            Err(_) => true,
        };
        let nothing = matches!(&next, Ok(batch) if batch.is_empty());
        if nothing || sender.blocking_send(next).is_err() || last {
            return;
        }
    }
}

/// Reads until a batch is full; `left` is an event that did not fit into the one before.
fn batch(lines: &mut Lines, ids: &IdGenerator, left: &mut Option<Item>) -> Next {
    let mut batch: Vec<Item> = left.take().into_iter().collect();
    let mut bytes: usize = batch.iter().map(|item| item.json.len() + 1).sum();
    while batch.len() < BATCH_EVENTS_MAX {
        match read(lines, ids) {
            Ok(None) => break,
            Ok(Some(item)) => {
                bytes += item.json.len() + 1;
                if bytes > BATCH_BYTES_MAX && !batch.is_empty() {
                    *left = Some(item);
                    break;
                }
                batch.push(item);
            }
            Err(flaw) => return Err((batch, flaw)),
        }
    }
    Ok(batch)
}

/// The next event of the file.
fn read(lines: &mut Lines, ids: &IdGenerator) -> Result<Option<Item>, LineFlaw> {
    loop {
        let Some(line) = lines.next().map_err(|error| unreadable(&error))? else { return Ok(None) };
        match event(&line, ids) {
            Ok(Some(item)) => return Ok(Some(item)),
            // The lines around the events of an export with proofs.
            Ok(None) => {}
            Err(message) => return Err(LineFlaw { line: line.number, event_id: None, message }),
        }
    }
}

fn unreadable(error: &LineError) -> LineFlaw {
    let source = std::error::Error::source(error).map(|source| format!(": {source}"));
    LineFlaw { line: error.line(), event_id: None, message: format!("{error}{}", source.unwrap_or_default()) }
}

/// What tells the forms of a line apart.
#[derive(Deserialize)]
struct Probe {
    specversion: Option<IgnoredAny>,
    export: Option<IgnoredAny>,
    export_end: Option<IgnoredAny>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// The event of a line; none if the line is no event by intention.
fn event(line: &Line, ids: &IdGenerator) -> Result<Option<Item>, String> {
    let torn = |message: String| match line.ended {
        true => message,
        false => format!("{message} (the line has no end: the file was cut off)"),
    };
    let text = &line.text;
    let native = text.starts_with("{\"event_id\"");
    let probe: Option<Probe> = match native {
        true => None,
        false => {
            Some(serde_json::from_str(text).map_err(|error| torn(format!("it is no JSON object: {error}")))?)
        }
    };
    let draft = match probe {
        Some(probe) if is_frame(&probe) => return frame(text),
        Some(Probe { specversion: Some(_), .. }) => Draft::parse_cloud_event(text),
        _ => Draft::parse(text),
    };
    let draft = draft.map_err(|error| torn(error.to_string()))?;
    if !draft.has_event_id() {
        return Err(
            "it has no event_id, so that a repeat would store it again; `planwire publish` takes such events"
                .to_owned(),
        );
    }
    let event = draft.complete(ids, &SystemClock).map_err(|error| torn(error.to_string()))?;
    let mut json = Vec::with_capacity(text.len());
    event.write_json(&mut json);
    let json = String::from_utf8(json).map_err(|error| error.to_string())?;
    Ok(Some(Item { line: line.number, event, json }))
}

fn is_frame(probe: &Probe) -> bool {
    let kind = probe.kind.as_deref().unwrap_or_default();
    probe.export.is_some()
        || probe.export_end.is_some()
        || kind == "planwire.export"
        || kind == "planwire.export_end"
}

fn frame(text: &str) -> Result<Option<Item>, String> {
    match Frame::read(text) {
        Some(_) => Ok(None),
        None => Err("it begins or ends an export of a form that is not known here".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, ended: bool) -> Result<Option<String>, String> {
        let line = Line { number: 1, text: text.to_owned(), ended };
        event(&line, &IdGenerator::system()).map(|item| item.map(|item| item.json))
    }

    const ID: &str = "01JD0000000000000000000007";

    #[test]
    fn line_is_an_event_in_either_form_or_a_frame_or_says_why_not() {
        let native = format!(
            r#"{{"event_id":"{ID}","event_type":"a.b","plan_id":"p","timestamp":"2026-01-01T00:00:00Z","seq":7}}"#
        );
        let sent = format!(
            r#"{{"event_id":"{ID}","event_type":"a.b","plan_id":"p","timestamp":"2026-01-01T00:00:00.000000Z","payload":{{}}}}"#
        );
        assert_eq!(check(&native, true), Ok(Some(sent.clone())));
        assert_eq!(check(&native, false), Ok(Some(sent.clone())), "a last line without an end may be whole");
        let cloud = format!(
            r#"{{ "id":"{ID}","specversion":"1.0","type":"a.b","source":"/","subject":"p","time":"2026-01-01T00:00:00Z"}}"#
        );
        assert_eq!(check(&cloud, true), Ok(Some(sent)));
        assert_eq!(check(r#"{"export_end":{"events":7}}"#, true), Ok(None));
        assert!(
            check(r#"{"export":{"version":9,"checkpoint":""}}"#, true)
                .unwrap_err()
                .contains("not known here")
        );
        assert!(check(&native[..40], false).unwrap_err().contains("cut off"));
        assert!(check(&cloud[..40], false).unwrap_err().contains("cut off"));
        assert!(check("7", true).is_err());
        let without = r#"{"event_type":"a.b","plan_id":"p"}"#;
        assert!(check(without, true).unwrap_err().contains("has no event_id"));
    }
}
