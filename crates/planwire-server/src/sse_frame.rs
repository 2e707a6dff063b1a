//! The text of server-sent events (WHATWG HTML, section 9.2).
//!
//! One event is one frame and nothing in an event can begin another: ids, types and cursors hold no control
//! character, JSON has none, and the three line ends that JSON allows (U+0085, U+2028, U+2029) are escaped.

use std::sync::Arc;

use bytes::Bytes;
use planwire_bus::{Batch, FrameForm, ReadError, Recorded};
use planwire_event::cursor::CURSOR_CHARS;
use planwire_event::{Cursor, PlanId, StoredEvent};

use crate::sse_chunks::Chunks;
use crate::sse_common::CommonChunks;
use crate::sse_stream::Frames;

/// Events as they are, each made once for all readers.
pub(crate) struct Native {
    /// With `event:` or without.
    form: FrameForm,
    /// The plan that the stream's filter names.
    plan: Option<PlanId>,
    common: Arc<CommonChunks>,
    ended: bool,
}

impl Native {
    pub(crate) const fn new(form: FrameForm, plan: Option<PlanId>, common: Arc<CommonChunks>) -> Self {
        Self { form, plan, common, ended: false }
    }

    /// Several events that others may get, too, in one piece if that is possible.
    fn joined(&self, events: &[Arc<Recorded>]) -> Option<Bytes> {
        let may_be_common = events.len() > 1 && events.iter().all(|recorded| recorded.is_shared());
        may_be_common.then(|| self.common.get(self.form, events, |recorded| frame(self.form, recorded)))?
    }
}

impl Frames for Native {
    const LENGTH: usize = 1;

    async fn write(&mut self, batch: &Batch, chunks: &mut Chunks) -> Result<(), ReadError> {
        if let Some(joined) = self.joined(&batch.events) {
            chunks.push(joined);
        } else {
            for recorded in &batch.events {
                if recorded.is_shared() {
                    chunks.push(frame(self.form, recorded).clone());
                } else {
                    chunks.push_written(|out| write_event(out, self.form, recorded));
                }
            }
        }
        if let Some(cursor) = batch.end {
            chunks.push(end(cursor, self.plan.as_ref()));
            self.ended = true;
        }
        Ok(())
    }

    fn has_ended(&self) -> bool {
        self.ended
    }

    fn heartbeat(&self, scanned: Cursor) -> Bytes {
        heartbeat(scanned)
    }
}

/// The frame of an event that several readers have, made by the first of them.
fn frame(form: FrameForm, recorded: &Recorded) -> &Bytes {
    recorded.frame(form, |stored, json| event(form, stored, json))
}

/// The frame of an event whose JSON is made already.
fn event(form: FrameForm, event: &StoredEvent, json: &Bytes) -> Bytes {
    let mut frame = Vec::with_capacity(json.len() + 160);
    write_head(&mut frame, form, event);
    write_data(&mut frame, event, |frame| frame.extend_from_slice(json));
    frame.into()
}

/// Writes the frame of an event that only one reader has, without anything between the event and the chunk.
fn write_event(frame: &mut Vec<u8>, form: FrameForm, event: &StoredEvent) {
    write_head(frame, form, event);
    write_data(frame, event, |frame| event.write_json(frame));
}

/// `id`, and `event` where `form` has it.
fn write_head(frame: &mut Vec<u8>, form: FrameForm, event: &StoredEvent) {
    frame.extend_from_slice(b"id: ");
    frame.extend_from_slice(event.cursor().text(&mut [0; CURSOR_CHARS]).as_bytes());
    if form == FrameForm::Sse {
        frame.extend_from_slice(b"\nevent: ");
        frame.extend_from_slice(event.event.event_type().as_str().as_bytes());
    }
    frame.push(b'\n');
}

/// `data`, with what `json` writes as one line.
fn write_data(frame: &mut Vec<u8>, event: &StoredEvent, json: impl FnOnce(&mut Vec<u8>)) {
    frame.extend_from_slice(b"data: ");
    let start = frame.len();
    json(frame);
    // Nothing but a payload can hold another line end.
    if !event.event.payload().as_str().is_ascii() {
        let written = frame.split_off(start);
        let mut line = String::with_capacity(written.len());
        push_line(&mut line, &String::from_utf8_lossy(&written));
        frame.extend_from_slice(line.as_bytes());
    }
    frame.extend_from_slice(b"\n\n");
}

/// The first frame: says that this is us, where the stream starts, and when to come back.
pub(crate) fn hello(start: Cursor, retry_ms: u64) -> Bytes {
    format!(": planwire\nretry: {retry_ms}\nid: {start}\n\n").into()
}

/// Shows that the connection lives, and that everything up to `scanned` was looked at.
fn heartbeat(scanned: Cursor) -> Bytes {
    format!(": hb\nid: {scanned}\n\n").into()
}

/// The last frame of a plan or tree that has ended. It keeps its `event:` in every form, so that no reader takes it
/// for an event of the log.
fn end(cursor: Cursor, plan: Option<&PlanId>) -> Bytes {
    let plan = plan.map_or("", PlanId::as_str);
    format!("id: {cursor}\nevent: end\ndata: {{\"plan_id\":\"{plan}\"}}\n\n").into()
}

/// Appends JSON as one line.
pub(crate) fn push_line(frame: &mut String, json: &str) {
    // The first byte of each of the three; most events have neither.
    if !json.bytes().any(|byte| byte == 0xc2 || byte == 0xe2) {
        frame.push_str(json);
        return;
    }
    for character in json.chars() {
        match character {
            '\u{85}' => frame.push_str("\\u0085"),
            '\u{2028}' => frame.push_str("\\u2028"),
            '\u{2029}' => frame.push_str("\\u2029"),
            other => frame.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use planwire_event::{Draft, IdGenerator, ManualClock, Meta, Position, Producer, Seq, Timestamp};

    fn stored(payload: &str) -> StoredEvent {
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros_clamped(1_500_000)));
        let draft = format!("{{\"event_type\":\"acme.hit\",\"plan_id\":\"p\",\"payload\":{payload}}}");
        let ids = IdGenerator::new(Arc::clone(&clock) as _, || 7);
        StoredEvent {
            event: Draft::parse(&draft).unwrap().complete(&ids, &*clock).unwrap(),
            log_id: "7Q4M2K9A".parse().unwrap(),
            position: Position::new(1234),
            seq: Seq::new(2),
            root_plan_id: "p".parse().unwrap(),
            parent_plan_id: None,
            depth: 0,
            recorded_at: Timestamp::from_micros_clamped(2_000_000),
            meta: Meta { producer: Producer::new("http:anonymous"), traceparent: None, redacted: vec![] },
        }
    }

    /// The frame as both ways make it.
    fn both(form: FrameForm, payload: &str) -> String {
        let stored = stored(payload);
        let mut written = b"before".to_vec();
        write_event(&mut written, form, &stored);
        assert_eq!(&written[6..], event(form, &stored, &stored.to_json().into()));
        String::from_utf8(written.split_off(6)).unwrap()
    }

    #[test]
    fn event_is_one_frame() {
        insta::assert_snapshot!(both(FrameForm::Sse, r#"{"a":"é\nb"}"#));
    }

    #[test]
    fn event_field_can_be_left_out() {
        insta::assert_snapshot!(both(FrameForm::SseUnnamed, "{}"));
    }

    #[test]
    fn control_frames() {
        let cursor = "7Q4M2K9A-00000000000004d2".parse().unwrap();
        let plan = "p".parse().unwrap();
        let all =
            [hello(cursor, 750), heartbeat(cursor), end(cursor, Some(&plan)), end(cursor, None)].concat();
        insta::assert_snapshot!(String::from_utf8(all).unwrap());
    }

    #[test]
    fn line_ends_of_unicode_do_not_end_the_line() {
        let text = both(FrameForm::Sse, "{\"a\":\"1\u{85}2\u{2028}3\u{2029}4é“\"}");
        assert!(text.contains(r#""a":"1\u00852\u20283\u20294é“""#), "{text}");
        assert_eq!(text.split(['\u{85}', '\u{2028}', '\u{2029}']).count(), 1);
        let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
        let read: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(read["payload"]["a"], "1\u{85}2\u{2028}3\u{2029}4é“");
    }
}
