//! A plan that is started under an id of the caller is started once.

use planwire_bus::{DocumentSource, PlanStarter as _, StartError, StartRequest};
use planwire_event::PlanId;
use planwire_event::vocabulary::Origin;

use crate::house::House;

const WAITS: &str = "plan: p\ngoal: g\nsteps:\n  hold: { tool: test.gate }\n";

fn request() -> StartRequest {
    StartRequest {
        document: DocumentSource::Inline { text: WAITS.into(), name: "test.yaml".into(), folder: None },
        inputs: Default::default(),
        origin: Origin { protocol: "a2a".into(), principal: "tester".into(), message: None },
        context_id: None,
    }
}

#[tokio::test]
async fn asking_twice_starts_a_plan_once_whether_it_runs_or_has_ended() {
    let house = House::open();
    let plan: PlanId = "chosen".parse().unwrap();
    let started = house.engine.start_as(plan.clone(), request()).await.unwrap();
    assert_eq!((&started.plan_id, started.cursor.position.get()), (&plan, 1));
    let again = house.engine.start_as(plan.clone(), request()).await.unwrap_err();
    assert!(matches!(&again, StartError::Exists { plan_id } if *plan_id == plan), "{again}");
    // The one that runs is not harmed by the one that was refused: it can still be cancelled.
    house.cancel(&plan, "enough").await;
    assert_eq!(house.tree(&plan).await.failed().error.code, "cancelled");
    let ended = house.engine.start_as(plan.clone(), request()).await.unwrap_err();
    assert_eq!(ended.to_string(), "plan chosen was started before");
}

#[tokio::test]
async fn of_many_that_ask_at_once_one_starts_the_plan() {
    let house = House::open();
    let plan: PlanId = "chosen".parse().unwrap();
    let asked = (0..8).map(|_| house.engine.start_as(plan.clone(), request()));
    let answers = futures_util::future::join_all(asked).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert!(
        answers
            .iter()
            .flat_map(|answer| answer.as_ref().err())
            .all(|error| matches!(error, StartError::Exists { .. }))
    );
    house.cancel(&plan, "enough").await;
    house.tree(&plan).await;
}
