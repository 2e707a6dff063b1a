//! Events in exports with all that proves them: what went into the leaf, and the way from there to a signed root.
//!
//! An export with proofs begins with a line that holds the checkpoint and ends with one that says how many events it
//! has. **Invariant:** a line counts only if it is, byte for byte, what is written of the event that it holds: so no bit
//! of a file can change without being noticed, wherever it stands.

use std::io::Write as _;
use std::sync::Arc;

use planwire_event::cloud_event::{SPEC_VERSION, TYPE_PREFIX, source};
use planwire_event::{Cursor, Event, EventId, Meta, Payload, PlanId, Position, Seq, StoredEvent, Timestamp};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::contract::Row;
use crate::merkle::{self, InclusionProof};
use crate::statement::Statement;

/// The version of the lines around events.
const VERSION: u64 = 1;

/// How events stand in an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportForm {
    /// The wire form of Planwire, one event in each line.
    JsonLines,
    /// CloudEvents 1.0, one in each line.
    CloudEvents,
}

/// An event with its proof.
#[derive(Clone, Debug, PartialEq)]
pub struct Proven {
    /// The event in its place.
    pub event: Arc<StoredEvent>,
    /// What is stored beside it, as it went into the leaf.
    pub meta: Box<str>,
    /// That its leaf is in the tree.
    pub proof: InclusionProof,
}

/// Why a line of an export does not prove its event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProvenError {
    /// It is no event with a proof.
    #[error("it is no event with a proof: {message}")]
    Form {
        /// What is wrong.
        message: String,
    },
    /// It holds an event, in another text than the one that is written of it.
    #[error("the line is not what was written")]
    Changed,
    /// It is of another log than the checkpoint.
    #[error("the event is of another log than the checkpoint")]
    OtherLog,
    /// Its proof is of another place, or of another tree.
    #[error("the proof is of another place or of another checkpoint")]
    OtherPlace,
    /// The proof leads to another root.
    #[error("the proof does not lead from the event to the root of the checkpoint: one of them was changed")]
    Root,
}

/// A line of an export with proofs that is no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The first: the checkpoint that all proofs lead to, as a signed note or as the text of one.
    Begin {
        /// The note.
        checkpoint: String,
    },
    /// The last.
    End {
        /// How many events there are.
        events: u64,
    },
}

impl Proven {
    /// Joins a stored row and its proof.
    #[must_use]
    pub fn new(row: &Row, proof: InclusionProof) -> Self {
        Self { event: Arc::clone(&row.event), meta: row.meta.clone(), proof }
    }

    /// Writes the line of an event, without its end.
    pub fn write(&self, form: ExportForm, out: &mut Vec<u8>) {
        let proof = serde_json::to_string(&self.proof).unwrap_or_default();
        let text = |text: &str| serde_json::to_string(text).unwrap_or_default();
        let proof = match form {
            ExportForm::JsonLines => {
                self.event.write_export(out);
                proof
            }
            ExportForm::CloudEvents => {
                self.event.write_cloud_event(out);
                // An attribute of a CloudEvent is no object.
                text(&proof)
            }
        };
        // The members go into the object, whose end is written already.
        out.pop();
        write!(out, ",\"meta\":{},\"proof\":{proof}}}", text(&self.meta)).expect("a Vec takes every write");
    }

    /// Reads the line of an event, without its end.
    ///
    /// # Errors
    ///
    /// [`ProvenError::Form`] or [`ProvenError::Changed`].
    pub fn read(form: ExportForm, line: &str) -> Result<Self, ProvenError> {
        let wrong = |error: Box<dyn std::error::Error>| ProvenError::Form { message: error.to_string() };
        let proven = match form {
            ExportForm::JsonLines => Line::parse(line).and_then(Line::proven),
            ExportForm::CloudEvents => {
                Attributes::parse(line).and_then(Attributes::line).and_then(Line::proven)
            }
        };
        let proven = proven.map_err(wrong)?;
        let mut again = Vec::with_capacity(line.len());
        proven.write(form, &mut again);
        if again == line.as_bytes() { Ok(proven) } else { Err(ProvenError::Changed) }
    }

    /// Whether the event is in the log that `statement` speaks of, in its place and unchanged.
    ///
    /// # Errors
    ///
    /// [`ProvenError`] says what does not fit.
    pub fn check(&self, statement: &Statement) -> Result<(), ProvenError> {
        if self.event.log_id != statement.log_id {
            return Err(ProvenError::OtherLog);
        }
        let place = (self.proof.leaf_index + 1, self.proof.tree_size);
        if place != (self.event.position.get(), statement.position.get()) {
            return Err(ProvenError::OtherPlace);
        }
        let leaf = merkle::leaf(&self.event, &self.meta);
        if self.proof.root(leaf) == Some(statement.root) { Ok(()) } else { Err(ProvenError::Root) }
    }
}

type Wrong = Box<dyn std::error::Error>;

/// The members of a line.
#[derive(Deserialize)]
struct Line {
    event_id: EventId,
    event_type: String,
    plan_id: PlanId,
    timestamp: Timestamp,
    payload: Box<RawValue>,
    position: u64,
    cursor: Cursor,
    seq: u64,
    root_plan_id: PlanId,
    parent_plan_id: Option<PlanId>,
    depth: u32,
    recorded_at: Timestamp,
    meta: String,
    proof: InclusionProof,
}

impl Line {
    fn parse(line: &str) -> Result<Self, Wrong> {
        Ok(serde_json::from_str(line)?)
    }

    fn proven(self) -> Result<Proven, Wrong> {
        let meta: Meta = serde_json::from_str(&self.meta)?;
        let event = Event::from_stored(
            self.event_id,
            self.event_type.parse()?,
            self.plan_id,
            self.timestamp,
            // As it stands there: the leaf says whether it is the one that was stored.
            Payload::from_normal(self.payload.get()),
            meta.traceparent.clone(),
        );
        let event = StoredEvent {
            event,
            log_id: self.cursor.log_id,
            position: Position::new(self.position),
            seq: Seq::new(self.seq),
            root_plan_id: self.root_plan_id,
            parent_plan_id: self.parent_plan_id,
            depth: self.depth,
            recorded_at: self.recorded_at,
            meta,
        };
        Ok(Proven { event: Arc::new(event), meta: self.meta.into(), proof: self.proof })
    }
}

/// The attributes of a CloudEvent with a proof.
#[derive(Deserialize)]
struct Attributes {
    id: EventId,
    #[serde(rename = "type")]
    kind: String,
    subject: PlanId,
    time: Timestamp,
    data: Box<RawValue>,
    position: String,
    cursor: Cursor,
    seq: String,
    rootplanid: PlanId,
    parentplanid: Option<PlanId>,
    depth: u32,
    recordedat: Timestamp,
    meta: String,
    proof: String,
}

impl Attributes {
    fn parse(line: &str) -> Result<Self, Wrong> {
        Ok(serde_json::from_str(line)?)
    }

    fn line(self) -> Result<Line, Wrong> {
        Ok(Line {
            event_id: self.id,
            event_type: self.kind.strip_prefix(TYPE_PREFIX).unwrap_or(&self.kind).to_owned(),
            plan_id: self.subject,
            timestamp: self.time,
            payload: self.data,
            position: self.position.parse()?,
            cursor: self.cursor,
            seq: self.seq.parse()?,
            root_plan_id: self.rootplanid,
            parent_plan_id: self.parentplanid,
            depth: self.depth,
            recorded_at: self.recordedat,
            meta: self.meta,
            proof: serde_json::from_str(&self.proof)?,
        })
    }
}

/// Names of the two frames, as a member of a line or behind the prefix of a CloudEvent's type.
const BEGIN: &str = "export";
const END: &str = "export_end";

impl Frame {
    /// The line of an export that begins or ends with what `statement` says.
    #[must_use]
    pub fn line(&self, form: ExportForm, statement: &Statement) -> String {
        let (name, data) = match self {
            Self::Begin { checkpoint } => (BEGIN, json!({ "version": VERSION, "checkpoint": checkpoint })),
            Self::End { events } => (END, json!({ "events": events })),
        };
        match form {
            ExportForm::JsonLines => format!("{{\"{name}\":{data}}}"),
            ExportForm::CloudEvents => format!(
                "{{\"specversion\":\"{SPEC_VERSION}\",\"id\":\"{name}-{}\",\"source\":\"{}\",\"type\":\"{TYPE_PREFIX}{name}\",\
                 \"datacontenttype\":\"application/json\",\"data\":{data}}}",
                statement.position,
                source(statement.log_id),
            ),
        }
    }

    /// Reads a line, and says in which form it is; `None` if it is no frame.
    #[must_use]
    pub fn read(line: &str) -> Option<(ExportForm, Self)> {
        let probe: Probe = serde_json::from_str(line).ok()?;
        if let Some(begin) = probe.export {
            return begin.frame().map(|frame| (ExportForm::JsonLines, frame));
        }
        if let Some(End { events }) = probe.export_end {
            return Some((ExportForm::JsonLines, Self::End { events }));
        }
        let data = probe.data?;
        let frame = match probe.kind?.strip_prefix(TYPE_PREFIX)? {
            BEGIN => serde_json::from_str::<Begin>(data.get()).ok()?.frame()?,
            END => serde_json::from_str::<End>(data.get()).map(|End { events }| Self::End { events }).ok()?,
            _ => return None,
        };
        Some((ExportForm::CloudEvents, frame))
    }
}

#[derive(Deserialize)]
struct Begin {
    version: u64,
    checkpoint: String,
}

impl Begin {
    fn frame(self) -> Option<Frame> {
        (self.version == VERSION).then_some(Frame::Begin { checkpoint: self.checkpoint })
    }
}

#[derive(Deserialize)]
struct End {
    events: u64,
}

#[derive(Deserialize)]
struct Probe {
    export: Option<Begin>,
    export_end: Option<End>,
    #[serde(rename = "type")]
    kind: Option<String>,
    data: Option<Box<RawValue>>,
}

#[cfg(test)]
mod tests {
    use planwire_event::Producer;

    use super::*;
    use crate::merkle::Frontier;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// Three events of a log with their proofs, and what is to be said of it.
    fn log() -> (Vec<Proven>, Statement) {
        let kinds = ["PlanStarted", "acme.cache_hit", "planwire.odd"];
        let payloads =
            [r#"{"name":"a \"b\" \\ é\u2028"}"#, r#"{"a":[1,2.5e-7,{"b":null}],"c":1e+300}"#, "{}"];
        let rows: Vec<Row> = (1..)
            .zip(kinds.into_iter().zip(payloads))
            .map(|(at, (kind, payload))| {
                let traceparent = (at == 2).then(|| TRACE.into());
                let plan: PlanId = "p".parse().unwrap();
                let time = Timestamp::from_micros_clamped(1_700_000_000_000_000 + i64::try_from(at).unwrap());
                let payload = Payload::parse(payload).unwrap();
                let id = u128::from(at).into();
                let event = Event::from_stored(
                    id,
                    kind.parse().unwrap(),
                    plan.clone(),
                    time,
                    payload,
                    traceparent.clone(),
                );
                Row::seal(Arc::new(StoredEvent {
                    event,
                    log_id: "7Q4M2K9A".parse().unwrap(),
                    position: Position::new(at),
                    seq: Seq::new(at),
                    root_plan_id: plan,
                    parent_plan_id: (at == 3).then(|| "above".parse().unwrap()),
                    depth: u32::from(at == 3),
                    recorded_at: time,
                    meta: Meta { producer: Producer::new("http:me"), traceparent, redacted: Vec::new() },
                }))
            })
            .collect();
        let (mut prover, mut tree) = (merkle::Prover::new(3, &[0, 1, 2]), Frontier::default());
        for row in &rows {
            prover.push(row.leaf);
            tree.push(row.leaf);
        }
        let proofs = prover.finish().unwrap();
        let proven = rows.iter().zip(proofs).map(|(row, proof)| Proven::new(row, proof)).collect();
        let log_id = "7Q4M2K9A".parse().unwrap();
        (proven, Statement { log_id, position: Position::new(3), root: tree.root() })
    }

    fn line(proven: &Proven, form: ExportForm) -> Vec<u8> {
        let mut line = Vec::new();
        proven.write(form, &mut line);
        line
    }

    fn check(form: ExportForm, line: &[u8], statement: &Statement) -> Result<(), String> {
        let text = std::str::from_utf8(line).map_err(|error| error.to_string())?;
        let proven = Proven::read(form, text).map_err(|error| error.to_string())?;
        proven.check(statement).map_err(|error| error.to_string())
    }

    #[test]
    fn every_flipped_bit_of_every_line_is_noticed_in_both_forms() {
        let (events, statement) = log();
        for form in [ExportForm::JsonLines, ExportForm::CloudEvents] {
            for proven in &events {
                let whole = line(proven, form);
                assert_eq!(check(form, &whole, &statement), Ok(()));
                for at in 0..whole.len() {
                    for bit in 0..8 {
                        let mut changed = whole.clone();
                        changed[at] ^= 1 << bit;
                        let told = check(form, &changed, &statement);
                        assert!(
                            told.is_err(),
                            "{form:?} byte {at} bit {bit}: {}",
                            String::from_utf8_lossy(&changed)
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn line_holds_for_its_log_its_place_and_its_root_alone() {
        let (events, statement) = log();
        let other = Statement { log_id: "00000000".parse().unwrap(), ..statement.clone() };
        assert_eq!(events[1].check(&other), Err(ProvenError::OtherLog));
        let other = Statement { position: Position::new(4), ..statement.clone() };
        assert_eq!(events[1].check(&other), Err(ProvenError::OtherPlace));
        let other = Statement { root: [0; 32], ..statement.clone() };
        assert_eq!(events[1].check(&other), Err(ProvenError::Root));
        let swapped = Proven { proof: events[0].proof.clone(), ..events[1].clone() };
        assert_eq!(swapped.check(&statement), Err(ProvenError::OtherPlace));
        let edited = Proven { meta: r#"{"producer":"cli"}"#.into(), ..events[1].clone() };
        assert_eq!(edited.check(&statement), Err(ProvenError::Root));
    }

    #[test]
    fn frames_are_read_back_and_events_are_none() {
        let (events, statement) = log();
        for form in [ExportForm::JsonLines, ExportForm::CloudEvents] {
            for frame in [Frame::Begin { checkpoint: statement.text() }, Frame::End { events: 3 }] {
                assert_eq!(Frame::read(&frame.line(form, &statement)), Some((form, frame)));
            }
            for proven in &events {
                let line = line(proven, form);
                assert_eq!(Frame::read(std::str::from_utf8(&line).unwrap()), None);
            }
        }
        assert_eq!(Frame::read(r#"{"export":{"version":2,"checkpoint":""}}"#), None);
    }
}
