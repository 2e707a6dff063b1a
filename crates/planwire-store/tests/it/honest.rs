//! A log whose list of plans agrees with its events, as the bus makes it.

use std::path::Path;
use std::sync::Arc;

use planwire_event::{
    Digest, Event, Meta, Payload, PlanStatus, Position, Producer, Seq, StoredEvent, Timestamp,
};
use planwire_store::{Appended, Batch, Blob, Document, Head, LogWriter, PlanChange, PlanRow, Row};

use crate::author::{log_id, plan_id};
use crate::stores::open;

/// Events of [`events`].
pub(crate) const EVENTS: u64 = 8;
/// Bytes of a blob of two chunks.
const BLOB_BYTES: usize = 1_500_000;

const DOCUMENT: &str = r#"{"plan":"nightly"}"#;

/// Plan, type, payload; the owner is `engine`.
fn events() -> [(&'static str, &'static str, String); 8] {
    let digest = Digest::of(DOCUMENT.as_bytes());
    let owned = format!(
        r#"{{"name":"nightly","document_digest":"{digest}","executor_id":"engine","context_id":"group"}}"#
    );
    [
        ("root", "PlanStarted", owned),
        ("root", "SubplanSpawned", r#"{"child_plan_id":"child","step":"s"}"#.to_owned()),
        ("child", "PlanStarted", r#"{"name":"copy","parent_plan_id":"root"}"#.to_owned()),
        ("child", "acme.note", r#"{"n":1}"#.to_owned()),
        ("child", "PlanFailed", r#"{"reason":"error","error":{"code":"c","message":"m"}}"#.to_owned()),
        ("other", "PlanStarted", r#"{"name":"apart"}"#.to_owned()),
        ("root", "PlanCompleted", "{}".to_owned()),
        ("other", "acme.note", "{}".to_owned()),
    ]
}

/// Writes the log at `path`.
pub(crate) fn log(path: &Path) {
    let (mut writer, readers) = open(path);
    let head = writer.head().unwrap();
    assert_eq!(writer.append(&head, &batch(&head)).unwrap(), Appended::Stored);
    drop(readers);
    drop(writer);
}

/// All of it in one batch.
pub(crate) fn batch(head: &Head) -> Batch {
    let mut batch = Batch {
        rows: Vec::new(),
        plans: Vec::new(),
        documents: vec![Document { digest: Digest::of(DOCUMENT.as_bytes()), body: DOCUMENT.into() }],
        blobs: Vec::new(),
        next: head.clone(),
    };
    for body in [vec![7; BLOB_BYTES], Vec::new()] {
        batch.blobs.push(Blob { digest: Digest::of(&body), body: body.into() });
    }
    let mut seqs = std::collections::HashMap::new();
    for (at, (plan, event_type, payload)) in (1_i64..).zip(events()) {
        let seq: &mut u64 = seqs.entry(plan).or_default();
        *seq += 1;
        let is_child = plan == "child";
        let event = Event::new(
            (u128::from(at.unsigned_abs()) + (1 << 80)).into(),
            event_type.parse().unwrap(),
            plan_id(plan),
            Timestamp::from_micros_clamped(1_000_000 * at),
            Payload::parse(&payload).unwrap(),
        );
        let stored = StoredEvent {
            event: event.unwrap(),
            log_id: log_id(),
            position: Position::new(at.unsigned_abs()),
            seq: Seq::new(*seq),
            root_plan_id: plan_id(if is_child { "root" } else { plan }),
            parent_plan_id: is_child.then(|| plan_id("root")),
            depth: u32::from(is_child),
            recorded_at: Timestamp::from_micros_clamped(2_000_000 * at),
            meta: Meta { producer: Producer::new("engine"), traceparent: None, redacted: Vec::new() },
        };
        batch.plans.extend(change(&stored));
        let row = Row::seal(Arc::new(stored));
        batch.next.position = row.event.position;
        batch.next.recorded_at = row.event.recorded_at;
        batch.next.frontier.push(row.leaf);
        batch.rows.push(row);
    }
    batch
}

fn change(event: &StoredEvent) -> Option<PlanChange> {
    let plan_id = event.plan_id().clone();
    let ended = |status| PlanChange::Ended {
        plan_id: plan_id.clone(),
        status,
        position: event.position,
        seq: event.seq,
        ended_at: event.event.timestamp(),
        owner: (event.root_plan_id.as_str() == "root").then(|| "engine".into()),
    };
    match event.event.event_type().as_str() {
        "PlanCompleted" => Some(ended(PlanStatus::Completed)),
        "PlanFailed" => Some(ended(PlanStatus::parse("failed", Some("error")).unwrap())),
        "PlanStarted" => {
            let owned = event.root_plan_id.as_str() == "root";
            let name = match plan_id.as_str() {
                "root" => "nightly",
                "child" => "copy",
                _ => "apart",
            };
            Some(PlanChange::Started(Box::new(PlanRow {
                root_plan_id: event.root_plan_id.clone(),
                parent_plan_id: event.parent_plan_id.clone(),
                depth: event.depth,
                name: name.to_owned(),
                context_id: if owned { "group".into() } else { "other".into() },
                document_digest: (name == "nightly").then(|| Digest::of(DOCUMENT.as_bytes())),
                status: PlanStatus::Open,
                first_position: event.position,
                last_position: None,
                last_seq: None,
                started_at: event.event.timestamp(),
                ended_at: None,
                owner: owned.then(|| "engine".into()),
                plan_id,
            })))
        }
        _ => None,
    }
}
