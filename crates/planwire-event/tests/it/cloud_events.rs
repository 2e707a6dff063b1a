//! Events as CloudEvents, and back, for whatever a payload may hold.

use planwire_event::{
    Draft, Event, EventType, IdGenerator, Meta, Payload, PlanId, Position, Producer, Seq, StoredEvent,
    SystemClock, Timestamp,
};
use proptest::prelude::*;
use serde_json::{Map, Value};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Any JSON of at most so many levels; texts of all characters that a store takes.
fn any_json(levels: u32) -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number,
        any_text().prop_map(Value::from)
    ];
    leaf.prop_recursive(levels, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((any_text(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_text() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "\u{2028}\u{2029}\u{85}",
        "\"\\/",
        "\u{1}\t\n\r\u{1f}\u{7f}",
        "\u{10ffff}",
        "data",
        "e\u{301}",
    ]);
    prop_oneof![any::<String>().prop_map(|text| text.replace('\0', "")), odd.prop_map(str::to_owned)]
}

fn any_kind() -> impl Strategy<Value = String> {
    let known = [
        "acme.cache_hit",
        "planwire.odd",
        "planwire.planwire.PlanStarted",
        "com.example.planwire.x",
        "a.-_9",
    ];
    prop_oneof![
        prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        "[A-Za-z][A-Za-z0-9_-]{0,20}\\.[A-Za-z0-9_.-]{1,60}"
    ]
}

/// A stored event of a custom type, whose payload may be anything.
fn any_stored() -> impl Strategy<Value = StoredEvent> {
    let members = prop::collection::vec((any_text(), any_json(4)), 0..6);
    let places = (any::<u128>(), 1..u64::from(u32::MAX) * 4, 1..u64::MAX / 2, any::<bool>(), any::<bool>());
    let times = (-62_135_596_800_000_000_i64..253_402_300_799_999_999, "[A-Za-z0-9_-]{1,128}");
    (any_kind(), members, places, times).prop_filter_map(
        "it is an event",
        |(kind, members, places, (micros, plan))| {
            let members: Map<String, Value> = members.into_iter().collect();
            let (id, position, seq, parent, traced) = places;
            let payload = Payload::of(&members).ok()?;
            let time = Timestamp::from_micros_clamped(micros);
            let plan: PlanId = plan.parse().ok()?;
            let traceparent = traced.then(|| TRACE.into());
            let event = Event::new(id.into(), kind.parse().ok()?, plan.clone(), time, payload).ok()?;
            Some(StoredEvent {
                event: event.with_traceparent(traceparent.clone()),
                log_id: "7Q4M2K9A".parse().ok()?,
                position: Position::new(position),
                seq: Seq::new(seq),
                root_plan_id: plan.clone(),
                parent_plan_id: parent.then_some(plan),
                depth: u32::from(parent),
                recorded_at: time,
                meta: Meta { producer: Producer::new("http:me"), traceparent, redacted: Vec::new() },
            })
        },
    )
}

fn read(draft: Draft) -> Event {
    draft.complete(&IdGenerator::system(), &SystemClock).unwrap()
}

proptest! {
    #[test]
    fn event_comes_back_from_its_cloud_event_and_from_its_export_line(stored in any_stored()) {
        let mut line = Vec::new();
        stored.write_cloud_event(&mut line);
        let text = String::from_utf8(line).unwrap();
        prop_assert!(!text.contains('\n'), "it is one line");
        prop_assert_eq!(&read(Draft::parse_cloud_event(&text).unwrap()), &stored.event);

        // As the specification asks: names of lower-case letters and digits, integers of 32 bits, no null.
        let Value::Object(attributes) = serde_json::from_str(&text).unwrap() else { panic!("{text}") };
        for (name, value) in &attributes {
            prop_assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "{}", name);
            let fits = match value {
                Value::String(text) => !text.is_empty(),
                Value::Number(number) => number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
                _ => name == "data",
            };
            prop_assert!(fits, "{}: {}", name, value);
        }
        let id = attributes["id"].as_str().unwrap();
        prop_assert_eq!(id, stored.event.event_id().to_string());
        prop_assert_eq!(&attributes["specversion"], "1.0");

        let mut line = Vec::new();
        stored.write_export(&mut line);
        prop_assert_eq!(&read(Draft::parse(std::str::from_utf8(&line).unwrap()).unwrap()), &stored.event);
        let mut line = Vec::new();
        stored.event.write_json(&mut line);
        prop_assert_eq!(&read(Draft::parse(std::str::from_utf8(&line).unwrap()).unwrap()), &stored.event);
    }
}

#[test]
fn cloud_event_never_changes() {
    let event_type: EventType = "ToolCalled".parse().unwrap();
    let payload = Payload::parse(r#"{"call_id":"c","tool":"file.list","arguments":{}}"#).unwrap();
    let time: Timestamp = "2026-11-22T14:20:01.123456Z".parse().unwrap();
    let event = Event::new(7.into(), event_type, "child".parse().unwrap(), time, payload).unwrap();
    let stored = StoredEvent {
        event: event.with_traceparent(Some(TRACE.into())),
        log_id: "7Q4M2K9A".parse().unwrap(),
        position: Position::new(1234),
        seq: Seq::new(2),
        root_plan_id: "root".parse().unwrap(),
        parent_plan_id: Some("root".parse().unwrap()),
        depth: 1,
        recorded_at: time,
        meta: Meta {
            producer: Producer::new("http:me"),
            traceparent: Some(TRACE.into()),
            redacted: Vec::new(),
        },
    };
    let mut line = Vec::new();
    stored.write_cloud_event(&mut line);
    assert_eq!(
        String::from_utf8(line).unwrap(),
        format!(
            "{{\"specversion\":\"1.0\",\"id\":\"00000000000000000000000007\",\"source\":\"urn:planwire:log:7Q4M2K9A\",\
             \"type\":\"planwire.ToolCalled\",\"subject\":\"child\",\"time\":\"2026-11-22T14:20:01.123456Z\",\
             \"datacontenttype\":\"application/json\",\"position\":\"1234\",\"cursor\":\"7Q4M2K9A-00000000000004d2\",\
             \"seq\":\"2\",\"rootplanid\":\"root\",\"parentplanid\":\"root\",\"depth\":1,\
             \"recordedat\":\"2026-11-22T14:20:01.123456Z\",\"traceparent\":\"{TRACE}\",\
             \"data\":{{\"arguments\":{{}},\"call_id\":\"c\",\"tool\":\"file.list\"}}}}"
        )
    );
}
