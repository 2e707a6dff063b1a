//! Logs of earlier releases: their open plans go on with this one.
//!
//! `golden/VERSION-NAME.json` holds the log of a run to its end, as that version wrote it. It is never changed once that
//! version is released; a release adds its own, written with `PLANWIRE_WRITE_GOLDEN=VERSION`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use planwire_event::{Event, Payload, Producer};
use serde_json::{Value, json};

use crate::house::House;
use crate::recovery::{ASKING, DOCUMENT, MAKING, METERED, Written, answering, check_cuts};

/// Names the version whose logs are to be written.
const WRITE: &str = "PLANWIRE_WRITE_GOLDEN";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden")
}

#[tokio::test]
async fn plans_of_every_release_go_on_from_every_place() {
    if let Ok(version) = std::env::var(WRITE) {
        for (name, document) in
            [("whole", DOCUMENT), ("asking", ASKING), ("making", MAKING), ("metered", METERED)]
        {
            write(&version, name, &run(document).await);
        }
        write(&version, "adopted", &adopted(DOCUMENT).await);
    }
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        println!("{}", file.display());
        let text = std::fs::read_to_string(&file).unwrap();
        check_cuts(&parse(&serde_json::from_str(&text).unwrap())).await;
    }
}

fn parse(written: &Value) -> Written {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let event = |event: &Value| {
        let stored = Event::new(
            text(&event["event_id"]).parse().unwrap(),
            text(&event["event_type"]).parse().unwrap(),
            text(&event["plan_id"]).parse().unwrap(),
            text(&event["timestamp"]).parse().unwrap(),
            Payload::of(&event["payload"]).unwrap(),
        );
        (Producer::new(text(&event["producer"])), stored.unwrap())
    };
    let documents: BTreeMap<_, _> = written["documents"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(digest, body)| (digest.clone(), body.as_str().unwrap().into()))
        .collect();
    Written { events: written["events"].as_array().unwrap().iter().map(event).collect(), documents }
}

/// The log of a run that nobody disturbed.
async fn run(document: &str) -> Written {
    let house = House::open();
    answering(&house);
    let events = house.run(document).await;
    Written::of(&house, &events).await
}

/// The log of a run whose first executor was gone in the middle.
async fn adopted(document: &str) -> Written {
    let first = run(document).await;
    let next = House::with(first.cut(first.events.len() / 2).await, |config| config);
    next.engine.recover().await.unwrap();
    let events = next.tree(first.events[0].1.plan_id()).await;
    Written::of(&next, &events).await
}

fn write(version: &str, name: &str, written: &Written) {
    let event = |(producer, event): &(Producer, Event)| {
        json!({
            "producer": producer.as_str(),
            "event_id": event.event_id(),
            "event_type": event.event_type(),
            "plan_id": event.plan_id(),
            "timestamp": event.timestamp().to_string(),
            "payload": event.payload().to_value(),
        })
    };
    let documents: Value =
        written.documents.iter().map(|(digest, body)| (digest.clone(), json!(**body))).collect();
    let text = json!({
        "documents": documents,
        "events": written.events.iter().map(event).collect::<Vec<_>>(),
    });
    let text = serde_json::to_string_pretty(&text).unwrap() + "\n";
    std::fs::write(folder().join(format!("{version}-{name}.json")), text).unwrap();
}
