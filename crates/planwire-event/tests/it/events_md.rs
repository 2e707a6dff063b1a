//! EVENTS.md says what the code does: its tables are the schemas, its examples are events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use planwire_event::{Draft, Event, EventType, IdGenerator, ManualClock, Refusal, Timestamp, schema};
use serde_json::{Map, Value};

use crate::fixture::{Log, plan};

const EVENTS_MD: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../EVENTS.md"));

/// The texts of the blocks fenced as `language`, each with the heading above it.
fn blocks(language: &str) -> Vec<(&'static str, String)> {
    let (mut heading, mut inside, mut found) = ("", None, Vec::<(&str, String)>::new());
    for line in EVENTS_MD.lines() {
        if let Some(fence) = line.strip_prefix("```") {
            inside = if inside.is_some() { None } else { Some(fence) };
            if inside == Some(language) {
                found.push((heading, String::new()));
            }
        } else if inside == Some(language) {
            let (_, text) = found.last_mut().unwrap();
            text.push_str(line);
            text.push('\n');
        } else if inside.is_none() && line.starts_with('#') {
            heading = line.trim_start_matches('#').trim();
        }
    }
    found
}

/// The first column of the table below the heading `name`: fields, and whether they may be left out.
fn fields(name: &str) -> BTreeMap<&'static str, bool> {
    let section = EVENTS_MD.split("\n### ").find(|section| section.lines().next() == Some(name));
    let rows = section.unwrap_or_else(|| panic!("EVENTS.md has no section {name}")).lines();
    rows.take_while(|line| !line.starts_with("## "))
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(|field| field.strip_suffix('?').map_or((field, false), |optional| (optional, true)))
        .collect()
}

fn complete(json: &str) -> Event {
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros_clamped(0)));
    let ids = IdGenerator::new(Arc::clone(&clock) as _, || 7);
    Draft::parse(json).and_then(|draft| draft.complete(&ids, &*clock)).unwrap_or_else(|error| {
        panic!("an example of EVENTS.md is no event: {error}\n{json}");
    })
}

fn members(schema: &Value) -> BTreeSet<&str> {
    schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn tables_of_fields_are_the_schemas() {
    let all = schema::all();
    let names = EventType::OURS.iter().map(EventType::as_str);
    for name in names.chain([
        "Failure",
        "Counts",
        "Origin",
        "DecisionOption",
        "Alternative",
        "Usage",
        "Reserved",
        "UsageSum",
        "LimitHit",
    ]) {
        let schema = &all["$defs"][name];
        let required: BTreeSet<_> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let expected: BTreeMap<_, _> =
            members(schema).into_iter().map(|field| (field, !required.contains(field))).collect();
        assert_eq!(fields(name), expected, "fields of {name}, and whether they may be left out");
    }
}

#[test]
fn parts_of_an_artifact_are_those_of_the_schema() {
    let all = schema::all();
    let parts = all["$defs"]["ArtifactPart"]["oneOf"].as_array().unwrap();
    let expected: BTreeMap<_, _> = parts.iter().flat_map(members).map(|part| (part, true)).collect();
    assert_eq!(fields("ArtifactPart"), expected);
}

#[test]
fn each_of_our_types_has_an_example_that_is_an_event() {
    let mut shown = BTreeSet::new();
    for (heading, json) in blocks("json") {
        let event = complete(&json);
        let payload = event.payload().to_value();
        let schema = schema::of(event.event_type());
        if !matches!(event.event_type(), EventType::Custom(_)) {
            let known = members(&schema);
            let unknown: Vec<_> =
                payload.as_object().unwrap().keys().filter(|name| !known.contains(name.as_str())).collect();
            assert!(
                unknown.is_empty(),
                "the example of {heading} has fields that the table has not: {unknown:?}"
            );
        }
        if heading == event.event_type().as_str() {
            shown.insert(heading);
        }
    }
    let ours: BTreeSet<_> = EventType::OURS.iter().map(EventType::as_str).collect();
    assert_eq!(shown, ours);
}

#[test]
fn the_example_of_a_read_event_has_our_members_in_our_order() {
    let read: Vec<_> =
        blocks("json").into_iter().filter(|(_, json)| json.contains("\"recorded_at\"")).collect();
    let [(_, json)] = read.as_slice() else { panic!("EVENTS.md shows one event as it is read") };
    let example: Map<String, Value> = serde_json::from_str(json).unwrap();
    let mut log = Log::default();
    log.put("p", "PlanStarted", serde_json::json!({"name": "n"}));
    let line = log.events[0].to_json();
    let at = |text: &str, name: &str| text.find(&format!("\"{name}\":")).unwrap();
    let ordered = |text: &str| {
        let mut names: Vec<String> = example.keys().cloned().collect();
        // A payload has the same names inside, so the members after it are looked for from the end.
        names.sort_by_key(|name| text.rfind(&format!("\"{name}\":")).unwrap());
        names
    };
    assert_eq!(ordered(json), ordered(&line));
    assert_eq!(at(json, "event_id"), 1);
    let schema = &schema::all()["$defs"][schema::STORED_EVENT];
    let names: BTreeSet<_> = example.keys().map(String::as_str).collect();
    assert_eq!(names, members(schema));
    assert!(json.contains(complete(json).payload().as_str()), "its payload is in normal form");
}

#[test]
fn the_tree_that_is_shown_is_accepted_to_its_end() {
    let [(_, lines)] = &blocks("jsonl")[..] else { panic!("EVENTS.md shows one tree") };
    let mut log = Log::default();
    let mut unseen: BTreeSet<_> = EventType::OURS.iter().map(EventType::as_str).collect();
    for line in lines.lines() {
        let event = complete(line);
        let (plan, kind) = (event.plan_id().as_str(), event.event_type().as_str());
        log.put(plan, kind, event.payload().to_value());
        unseen.remove(kind);
    }
    assert!(log.plans.values().all(|plan| !plan.status().is_open()));
    let left: Vec<_> = unseen.into_iter().collect();
    assert_eq!(
        left,
        [
            "CancelRequested",
            "LimitWarned",
            "PauseRequested",
            "PlanAdopted",
            "PlanFailed",
            "ResumeRequested",
            "ToolProgress",
        ],
        "every other type is shown in its place"
    );
}

#[test]
fn every_refusal_is_listed() {
    let plan_id = || plan("p");
    let (text, message) = (String::new, String::new);
    let all = [
        Refusal::PlanNotStarted { plan_id: plan_id() },
        Refusal::AlreadyStarted { plan_id: plan_id() },
        Refusal::ParentUnknown { plan_id: plan_id(), parent_plan_id: plan_id() },
        Refusal::PlanEnded { plan_id: plan_id() },
        Refusal::LineageConflict { plan_id: plan_id(), message: message() },
        Refusal::CallUnknown { plan_id: plan_id(), call_id: text() },
        Refusal::CallOpen { plan_id: plan_id(), call_id: text() },
        Refusal::ChildOpen { plan_id: plan_id(), child_plan_id: plan_id() },
        Refusal::RequestNotOpen { plan_id: plan_id(), request_id: text() },
        Refusal::RequestOpen { plan_id: plan_id(), request_id: text() },
        Refusal::RequestElsewhere { plan_id: plan_id(), request_id: text(), for_plan_id: plan_id() },
        Refusal::ArgumentsChanged { plan_id: plan_id(), request_id: text(), arguments_digest: None },
        Refusal::NotOwner { plan_id: plan_id(), owner: text() },
        Refusal::LimitExceeded { plan_id: plan_id(), what: text(), max: 1 },
    ];
    for refusal in all {
        let name = serde_json::to_value(&refusal).unwrap()["refusal"].as_str().unwrap().to_owned();
        assert!(EVENTS_MD.contains(&format!("\n| `{name}` | ")), "{name} is not in the table of refusals");
    }
}

#[test]
fn limits_are_those_of_the_code() {
    use planwire_event::limits;
    for (text, limit) in [
        ("at most 256 KiB and 64 levels", limits::PAYLOAD_BYTES_MAX == 256 * 1024),
        ("and 64 levels", limits::PAYLOAD_DEPTH_MAX == 64),
        ("1 to 128 characters", limits::PLAN_ID_CHARS_MAX == 128),
        ("at most 128 characters", limits::EVENT_TYPE_CHARS_MAX == 128),
        ("Trace Context, 55 characters", limits::TRACEPARENT_CHARS_MAX == 55),
        ("1 below it ... at most 64", limits::PLAN_DEPTH_MAX == 64),
        ("At most 10,000 calls are open", limits::OPEN_ITEMS_MAX == 10_000),
        ("repeatable, at most 64", limits::FILTER_TYPES_MAX == 64),
        ("At most 10,000 subplans", limits::OPEN_ITEMS_MAX == 10_000),
        ("At most 10,000 questions", limits::OPEN_ITEMS_MAX == 10_000),
        ("a `request_id` have at most 500 bytes", limits::OPEN_ID_BYTES_MAX == 500),
    ] {
        assert!(limit && EVENTS_MD.contains(text), "{text}");
    }
}
