//! Plans that are larger than any should be: many events in one plan, and plans below plans.

use std::time::Instant;

use serde_json::{Value, json};

use super::chance::count;
use super::row::Row;
use crate::harness::Place;
use crate::load::memory_kib;

/// Levels of published plans; documents have fewer.
const LEVELS: usize = 64;
/// Levels of plans that a document may have below it.
const DOCUMENT_LEVELS_MAX: usize = 16;
const USAGE: i32 = 2;

/// A line of a file that can be imported.
fn line(number: usize, event_type: &str, plan: &str, payload: &Value) -> String {
    let event = json!({
        "event_id": format!("{number:026}"), "event_type": event_type, "plan_id": plan,
        "timestamp": "2026-11-22T12:00:00Z", "payload": payload,
    });
    format!("{event}\n")
}

#[test]
fn soak_plan_with_very_many_events_is_stored_shown_and_followed() {
    let events = usize::try_from(count(10_000, 100_000)).expect("a number");
    let place = Place::new();
    let mut lines = line(1, "PlanStarted", "huge", &json!({"name": "huge"}));
    for number in 2..events {
        lines.push_str(&line(number, "acme.note", "huge", &json!({ "number": number })));
    }
    lines.push_str(&line(events, "PlanCompleted", "huge", &json!({})));
    let server = place.serve(&[]);
    let begun = Instant::now();
    place.run_with(&["import", "-"], &lines).text(0);
    let stored = begun.elapsed().as_millis();
    let begun = Instant::now();
    let shown = &place.run(&["--json", "show", "huge"]).json(0)[0];
    let shown_ms = begun.elapsed().as_millis();
    assert_eq!((&shown["state"], &shown["last_seq"]), (&"completed".into(), &events.into()), "{shown}");
    let begun = Instant::now();
    let mut stream = server.http.stream("/v1/plans/huge/events", None);
    let mut seqs = Vec::with_capacity(events);
    while let Some(event) = stream.event() {
        seqs.push(event["seq"].as_u64().expect("a seq"));
    }
    let followed = begun.elapsed().as_millis();
    assert!(seqs.iter().copied().eq(1..=events as u64), "{} of {events} events in order", seqs.len());
    let resident = memory_kib(&server) / 1024;
    assert!(server.stop().success());
    assert_eq!(place.run(&["--json", "verify"]).json(0)[0]["position"], events);
    Row::new("huge plan", format!("{events} events in one plan"))
        .figure(format!("imported in {stored} ms, shown in {shown_ms} ms, followed in {followed} ms"))
        .figure(format!("{resident} MiB resident"))
        .check();
}

/// Plans below plans, each started by the one above; all end from below.
fn nested() -> String {
    let (mut lines, mut number) = (String::new(), 0);
    let mut put = |event_type: &str, level: usize, payload: Value| {
        number += 1;
        lines.push_str(&line(number, event_type, &format!("level-{level}"), &payload));
    };
    for level in 0..LEVELS {
        let parent = level.checked_sub(1).map(|above| format!("level-{above}"));
        put("PlanStarted", level, json!({"name": "level", "parent_plan_id": parent}));
        if level + 1 < LEVELS {
            put("SubplanSpawned", level, json!({"child_plan_id": format!("level-{}", level + 1)}));
        }
    }
    for level in (0..LEVELS).rev() {
        if level + 1 < LEVELS {
            put(
                "SubplanCompleted",
                level,
                json!({"child_plan_id": format!("level-{}", level + 1), "ok": true}),
            );
        }
        put("PlanCompleted", level, json!({}));
    }
    lines
}

/// A document with so many levels of plans below it.
fn document(below: usize) -> String {
    let step = json!({"tool": "file.list", "with": {"root": "."}});
    let plan = |step: Value| json!({"plan": "level", "goal": "go down", "steps": {"down": step}});
    (0..below).fold(plan(step), |below, _| plan(json!({ "plan": below }))).to_string()
}

#[test]
fn plans_below_plans_are_shown_or_refused_with_what_is_allowed() {
    let place = Place::new();
    place.run_with(&["import", "-"], &nested()).text(0);
    let shown = place.run(&["show", "level-0"]);
    assert!(shown.text(0).contains(&format!("{LEVELS} of {LEVELS} plans")), "{shown:?}");
    assert_eq!(place.run(&["--json", "plans", "--all", "--limit", "1000"]).json(0).len(), LEVELS);
    place.run(&["verify"]).text(0);
    let check = |below: usize| {
        let file = place.file("deep.json", &document(below));
        place.run(&["check", file.to_str().expect("UTF-8")])
    };
    check(DOCUMENT_LEVELS_MAX).text(0);
    let too_deep = [
        (DOCUMENT_LEVELS_MAX + 1, format!("more than {DOCUMENT_LEVELS_MAX} levels of plans")),
        (LEVELS, "nested deeper than 64 levels".to_owned()),
    ];
    for (below, told) in too_deep {
        let refused = check(below);
        assert!(refused.code == Some(USAGE) && refused.stderr.contains(&told), "{refused:?}");
    }
    Row::new("plans below plans", format!("{LEVELS} levels published, documents of {LEVELS}"))
        .figure(format!("published ones shown, documents of more than {DOCUMENT_LEVELS_MAX} levels refused"))
        .check();
}
