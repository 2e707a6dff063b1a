//! Names and filters look the same in text, JSON and diagnostics.

use std::sync::Arc;

use planwire_event::{
    Clock as _, Digest, EventId, EventType, Filter, IdGenerator, ManualClock, PlanId, Producer, SystemClock,
    Timestamp,
};
use serde_json::json;

#[test]
fn ids_are_texts_in_json() {
    let event_id: EventId = serde_json::from_value(json!("01JD8C3V5K7QW9X2Y4Z6A8B0CE")).unwrap();
    assert_eq!(serde_json::to_value(event_id).unwrap(), "01JD8C3V5K7QW9X2Y4Z6A8B0CE");
    let plan_id: PlanId = serde_json::from_value(json!("nightly-1")).unwrap();
    assert_eq!(serde_json::to_value(&plan_id).unwrap(), "nightly-1");
    assert!(serde_json::from_value::<PlanId>(json!("a/b")).is_err());
    assert!(serde_json::from_value::<EventId>(json!(7)).is_err());
}

#[test]
fn diagnostics_name_what_they_show() {
    let (event_id, plan_id) = (EventId::from(7), PlanId::from(EventId::from(8)));
    assert_eq!(format!("{event_id:?}"), "EventId(00000000000000000000000007)");
    assert_eq!(format!("{plan_id:?}"), "PlanId(00000000000000000000000008)");
    assert!(format!("{:?}", Digest::of(b"abc")).starts_with("Digest(ba7816bf"));
    let clock = ManualClock::at(Timestamp::from_micros_clamped(1));
    let ids = IdGenerator::new(Arc::new(clock), || 0);
    assert!(format!("{ids:?}").starts_with("IdGenerator { clock: ManualClock"));
    assert_eq!(Producer::new("http:ann").as_str(), "http:ann");
}

#[test]
fn plan_ids_are_made_like_event_ids() {
    let ids = IdGenerator::system();
    let (first, second) = (ids.next_plan_id(), ids.next_plan_id());
    assert!(first < second && first.as_str().parse::<EventId>().is_ok());
    assert!(SystemClock.now() > Timestamp::from_micros_clamped(0));
}

#[test]
fn filters_want_all_types_or_those_named() {
    let (called, custom) = (EventType::ToolCalled, "a.b".parse().unwrap());
    assert!(Filter::all().types.contains(&called) && Filter::all().types.contains(&custom));
    let filter = Filter::plan("p".parse().unwrap()).with_types([custom.clone()]);
    assert!(!filter.types.contains(&called) && filter.types.contains(&custom));
}
