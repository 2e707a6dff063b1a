//! Where open plans stand, whoever lists them and however much happened since.

use std::collections::BTreeMap;

use planwire_event::Event;
use planwire_store::{PlanQuery, PlanScope};
use serde_json::json;

use super::*;
use crate::a2a::folds::tests::Bench;

fn asked(bench: &Bench, plan: &str, request_id: &str, kind: &str) -> Event {
    bench.event(plan, "InputRequested", &json!({ "request_id": request_id, "kind": kind, "question": "?" }))
}

fn answered(bench: &Bench, plan: &str, request_id: &str) -> Event {
    bench.event(plan, "InputReceived", &json!({ "request_id": request_id, "value": 1, "answered_by": "me" }))
}

fn note(bench: &Bench, plan: &str) -> Event {
    bench.event(plan, "acme.note", &json!({}))
}

async fn rows(bench: &Bench, plans: &[&str]) -> Vec<PlanRow> {
    let scope = PlanScope::These(plans.iter().map(|plan| plan.parse().unwrap()).collect());
    let repository = bench.app.bus.repository();
    repository.plans(&PlanQuery { scope, ..PlanQuery::default() }).await.unwrap().plans
}

/// Place and state of each plan; what is kept must be what the folds say.
async fn look(bench: &Bench, plans: &[&str]) -> BTreeMap<String, (u64, TaskState)> {
    let tail = bench.app.bus.tail().position;
    let found = bench.app.open_plans.look_at(&bench.app, rows(bench, plans).await, tail).await.unwrap();
    let mut told = BTreeMap::new();
    for OpenPlan { plan, at, state } in found {
        told.insert(plan.to_string(), (at.get(), state));
    }
    told
}

/// Checks what [`look`] gives against a table and folds that know nothing yet.
async fn check(bench: &mut Bench, plans: &[&str]) {
    let told = look(bench, plans).await;
    let kept = std::mem::take(&mut bench.app.open_plans);
    for plan in plans {
        let fold = bench.app.folds.latest(&bench.app, &plan.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(told[*plan], (fold.cursor().position.get(), fold.state()), "{plan}");
    }
    assert_eq!(look(bench, plans).await, told);
    bench.app.open_plans = kept;
}

fn start(bench: &Bench, plans: &[&str]) -> Vec<Event> {
    plans.iter().map(|plan| bench.event(plan, "PlanStarted", &json!({ "name": plan }))).collect()
}

const PLANS: [&str; 4] = ["a", "b", "c", "d"];

#[tokio::test]
async fn what_is_kept_is_what_the_events_add_up_to() {
    let mut bench = Bench::new();
    bench.publish(start(&bench, &PLANS)).await;
    check(&mut bench, &PLANS).await;
    bench
        .publish(vec![asked(&bench, "a", "r", "auth"), note(&bench, "b"), asked(&bench, "a", "s", "input")])
        .await;
    check(&mut bench, &PLANS).await;
    bench.publish(vec![answered(&bench, "a", "s"), note(&bench, "d")]).await;
    check(&mut bench, &["a"]).await;
    check(&mut bench, &PLANS).await;
    // More than is read as one log for so few plans; some of it before another list, some after.
    for round in 0..3 {
        let many = (0..300).map(|at| note(&bench, PLANS[at % 3])).collect();
        bench.publish(many).await;
        check(&mut bench, &["d"]).await;
        bench.publish(vec![answered(&bench, "a", "r"), asked(&bench, "a", "r", "auth")]).await;
        check(&mut bench, if round == 1 { &["a", "b"] } else { &PLANS }).await;
    }
    let failed = json!({ "reason": "cancelled", "error": { "code": "c", "message": "m" } });
    bench
        .publish(vec![bench.event("c", "PlanFailed", &failed), bench.event("a", "PlanCompleted", &json!({}))])
        .await;
    check(&mut bench, &PLANS).await;
}

#[tokio::test]
async fn a_plan_with_many_questions_is_right_after_each_answer() {
    let mut bench = Bench::new();
    bench.publish(start(&bench, &PLANS)).await;
    let ids: Vec<_> = (0..QUESTIONS_KEPT_MAX + 3).map(|id| id.to_string()).collect();
    for id in &ids {
        bench.publish(vec![asked(&bench, "b", id, if id == "3" { "input" } else { "auth" })]).await;
    }
    check(&mut bench, &PLANS).await;
    for id in &ids {
        bench.publish(vec![answered(&bench, "b", id)]).await;
        check(&mut bench, &PLANS).await;
    }
}

#[tokio::test]
async fn what_was_read_is_not_read_again() {
    let bench = Bench::new();
    bench.publish(start(&bench, &PLANS)).await;
    bench.publish((0..40).map(|at| note(&bench, PLANS[at % 4])).collect()).await;
    look(&bench, &PLANS).await;
    assert_eq!(bench.read.take(), (44, 4, 0), "each plan once");
    look(&bench, &PLANS).await;
    assert_eq!(bench.read.take(), (0, 0, 0), "nothing is new");
    bench.publish(vec![note(&bench, "a"), note(&bench, "b"), note(&bench, "b")]).await;
    look(&bench, &PLANS).await;
    assert_eq!(bench.read.take(), (0, 0, 3), "little is new: one reading of the log");
    bench.publish((0..1_000).map(|_| note(&bench, "d")).collect()).await;
    look(&bench, &["a"]).await;
    assert_eq!(bench.read.take(), (0, 1, 0), "much is new: the plan alone");
    look(&bench, &PLANS).await;
    assert_eq!(bench.read.take(), (1_000, 3, 0), "each plan alone, and none twice");
    bench.publish(vec![note(&bench, "a")]).await;
    look(&bench, &PLANS).await;
    assert_eq!(bench.read.take(), (0, 0, 1), "and together again");
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_nothing_half_done() {
    let mut bench = Bench::new();
    bench.publish(start(&bench, &PLANS)).await;
    bench.publish(vec![asked(&bench, "a", "r", "input")]).await;
    for polls in 1..20 {
        bench
            .publish(vec![answered(&bench, "a", "r"), asked(&bench, "a", "r", "input"), note(&bench, "b")])
            .await;
        let rows = rows(&bench, &PLANS).await;
        {
            let tail = bench.app.bus.tail().position;
            let mut looking = std::pin::pin!(bench.app.open_plans.look_at(&bench.app, rows, tail));
            for _ in 0..polls {
                if futures_util::poll!(looking.as_mut()).is_ready() {
                    break;
                }
            }
        }
        if polls % 3 == 0 {
            check(&mut bench, &PLANS).await;
        }
    }
}

#[tokio::test]
async fn plans_that_nobody_lists_any_more_are_forgotten() {
    let bench = Bench::new();
    let plans: Vec<_> = (0..PLANS_KEPT_MAX / 100 + 1).map(|plan| format!("p{plan}")).collect();
    let names: Vec<_> = plans.iter().map(String::as_str).collect();
    bench.publish(start(&bench, &names)).await;
    let rows = rows(&bench, &names).await;
    let mut table = Table::default();
    for copy in 0..100 {
        for row in &rows {
            let plan = format!("{}-{copy}", row.plan_id).parse().unwrap();
            table.plans.insert(plan, Entry::before(row));
        }
    }
    let listed =
        |plan: &str| OpenPlan { plan: plan.parse().unwrap(), at: Position::ZERO, state: TaskState::Working };
    table.shrink(&[listed("p0-0"), listed("p7-99")]);
    assert_eq!(table.plans.len(), 2);
}
