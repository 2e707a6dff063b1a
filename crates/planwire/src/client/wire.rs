//! Events as a server sends them, read back into stored events.

use planwire_event::{
    Cursor, Draft, EventId, IdGenerator, Meta, PlanId, Producer, Seq, StoredEvent, SystemClock, Timestamp,
};
use serde::Deserialize;

use crate::failure::{Exit, Failure};

/// The members that the log adds to a published event.
#[derive(Debug, Deserialize)]
struct Place {
    event_id: EventId,
    cursor: Cursor,
    seq: Seq,
    root_plan_id: PlanId,
    parent_plan_id: Option<PlanId>,
    depth: u32,
    recorded_at: Timestamp,
}

/// Reads the wire form of a stored event.
///
/// # Errors
///
/// If the text is none; the server is another version then.
pub(crate) fn read_event(json: &str, ids: &IdGenerator) -> Result<StoredEvent, Failure> {
    let wrong = |error: anyhow::Error| {
        Failure::new(Exit::Failed, error)
            .context("failed to read an event of the server")
            .hint("is the server of the same version as this command?")
    };
    let place: Place = serde_json::from_str(json).map_err(|error| wrong(error.into()))?;
    let draft = Draft::parse(json).map_err(|error| wrong(error.into()))?;
    let event = draft.complete_stored(ids, &SystemClock).map_err(|error| wrong(error.into()))?;
    debug_assert_eq!(event.event_id(), place.event_id);
    Ok(StoredEvent {
        event,
        log_id: place.cursor.log_id,
        position: place.cursor.position,
        seq: place.seq,
        root_plan_id: place.root_plan_id,
        parent_plan_id: place.parent_plan_id,
        depth: place.depth,
        recorded_at: place.recorded_at,
        // The door's name is not part of the wire form.
        meta: Meta { producer: Producer::new(""), traceparent: None, redacted: Vec::new() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_form_is_read_and_written_unchanged() {
        let line = "{\"event_id\":\"01JD0000000000000000000007\",\"event_type\":\"acme.hit\",\"plan_id\":\"p\",\
             \"timestamp\":\"1970-01-01T00:00:01.500000Z\",\"payload\":{\"a\":\"é\",\"b\":1},\"position\":1234,\
             \"cursor\":\"7Q4M2K9A-00000000000004d2\",\"seq\":2,\"root_plan_id\":\"root\",\"parent_plan_id\":\"root\",\
             \"depth\":1,\"recorded_at\":\"1970-01-01T00:00:02.000000Z\"}";
        let ids = IdGenerator::system();
        assert_eq!(read_event(line, &ids).unwrap().to_json(), line);
        assert!(read_event("{}", &ids).is_err());
    }
}
