//! Lists of tasks where there are many.

use planwire_event::{Event, Producer};
use serde_json::{Value, json};

use crate::a2a_desk::{ask, call, desk, rest, state};
use crate::served::{id, started};

/// Open plans; more than the folds of which are kept.
const PLANS: usize = 1_100;

#[tokio::test]
async fn an_old_plan_that_waits_is_found_among_many_that_are_open() {
    let (served, _) = desk(&["report"], |_| {}).await;
    served.start_plan("old").await;
    ask(&served, "old", "r", json!({})).await;
    let begin = |plan: usize| Event::of(&served.ids, &*served.clock, id(&format!("p{plan}")), &started(None));
    let plans: Vec<_> = (0..PLANS).map(|plan| begin(plan).unwrap()).collect();
    for some in plans.chunks(1_000) {
        served.bus.publisher(Producer::new("test")).publish_all(some.to_vec()).await.unwrap();
    }

    let waiting = json!({ "status": "TASK_STATE_INPUT_REQUIRED" });
    let found = call(&served, "ListTasks", waiting.clone()).await.unwrap();
    assert_eq!((&found["totalSize"], &found["tasks"][0]["id"]), (&json!(1), &json!("old")));
    let all = rest(&served, "GET", "/tasks?pageSize=2", Value::Null).await.unwrap();
    assert_eq!(all["totalSize"], PLANS + 1);
    assert_eq!(all["tasks"][0]["id"], format!("p{}", PLANS - 1));

    // Whatever happens to it puts it first.
    let answer = json!({ "request_id": "r", "value": "yes", "answered_by": "me", "via": "cli" });
    served.event("old", "InputReceived", answer).await;
    let none = call(&served, "ListTasks", waiting).await.unwrap();
    assert_eq!((&none["totalSize"], &none["tasks"]), (&json!(0), &json!([])));
    let all = rest(&served, "GET", "/tasks?pageSize=2", Value::Null).await.unwrap();
    assert_eq!((&all["tasks"][0]["id"], state(&all["tasks"][0])), (&json!("old"), "WORKING"));
}
