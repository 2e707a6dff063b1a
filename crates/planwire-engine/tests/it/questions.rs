//! Questions to people: who is asked, who may answer, what becomes of the answer, and of the want of one.

use planwire_bus::PublishError;
use planwire_engine::question::{ROUNDS_MAX, TREE_QUESTIONS_MAX};
use planwire_event::vocabulary::{
    AnswerOutcome, CancelRequested, InputReceived, InputRequested, QuestionKind,
};
use planwire_event::{
    Clock as _, Event, EventType, IdGenerator, LogId, Payload, PlanId, Producer, Refusal, StoredEvent,
    SystemClock,
};
use planwire_store::MemoryStore;
use serde_json::json;

use crate::asking::{Asked, answer, answer_of, publish, run_with};
use crate::house::{Events, House};

const ASK: &str = r#"
plan: ask
goal: g
steps:
  branch: { ask: "Which branch of ${plan.name}?", answer: { type: string, enum: [main, next] } }
outputs: { branch: "${steps.branch.output}" }
"#;

fn of_plan<'a>(events: &'a Events, plan: &'a PlanId) -> impl Iterator<Item = &'a StoredEvent> {
    events.0.iter().filter(move |event| event.plan_id() == plan)
}

#[tokio::test]
async fn answer_is_what_later_steps_see() {
    let house = House::open();
    let root = house.start(ASK).await;
    let (plan, question) = Asked::of(&house, &root).await.next().await;
    assert_eq!((&plan, question.kind, question.step.as_str()), (&root, QuestionKind::Input, "branch"));
    assert_eq!(question.question, "Which branch of ask?");
    assert_eq!(question.schema, Some(json!({"type": "string", "enum": ["main", "next"]})));
    answer(&house, &root, &question, json!("next")).await;
    let second = publish(&house, &root, &answer_of(&question, json!("main"))).await;
    let events = house.tree(&root).await;
    assert_eq!(events.outputs(), json!({"branch": "next"}));
    let started = events.0[0].event.timestamp();
    assert_eq!(question.expires_at.unwrap().millis_since(started) / 3_600_000, 24);
    match second {
        Err(PublishError::Rejected {
            refusal: Refusal::RequestNotOpen { .. } | Refusal::PlanEnded { .. },
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
    let received: Vec<InputReceived> = events.all();
    assert_eq!(
        (received.len(), received[0].answered_by.as_str(), received[0].via.as_str()),
        (1, "ann", "cli")
    );
}

#[tokio::test]
async fn expressions_see_who_answered_and_with_which_message() {
    let house = House::open();
    let document = r#"
plan: ask
goal: g
steps:
  first: { ask: q }
  more: { when: "steps.first.answer.message.messageId == 'm1'", ask: again }
  never: { when: "steps.more.skipped", approve: q }
outputs: { by: "${steps.first.answer.by}", via: "${steps.more.answer.via}", message: "${steps.more.answer.message}", never: "${steps.never.answer}" }
"#;
    let root = house.start(document).await;
    let mut asked = Asked::of(&house, &root).await;
    let (_, question) = asked.next().await;
    let message = Some(json!({"messageId": "m1"}));
    publish(&house, &root, &InputReceived { message, ..answer_of(&question, json!("a")) }).await.unwrap();
    let (_, question) = asked.next().await;
    answer(&house, &root, &question, json!("b")).await;
    let expected = json!({"by": "ann", "via": "cli", "message": null, "never": null});
    assert_eq!(house.tree(&root).await.outputs(), expected);
}

#[tokio::test]
async fn other_steps_go_on_while_one_waits_and_a_question_takes_no_place() {
    let house = House::open();
    let document = r#"
plan: ask
goal: g
limits: { parallel: 1 }
steps:
  ask: { ask: q }
  one: { tool: test.echo, with: { value: 1 } }
  two: { tool: test.echo, with: { value: "${steps.one.output + 1}" } }
  both: { tool: test.echo, with: { value: "${steps.ask.output + string(steps.two.output)}" } }
outputs: { both: "${steps.both.output}" }
"#;
    let root = house.start(document).await;
    let (_, question) = Asked::of(&house, &root).await.next().await;
    while house.probe.calls().len() < 2 {
        tokio::task::yield_now().await;
    }
    answer(&house, &root, &question, json!("a")).await;
    assert_eq!(house.tree(&root).await.outputs(), json!({"both": "a2"}));
}

const NESTED: &str = r#"
plan: above
goal: g
steps:
  middle:
    plan:
      plan: middle
      goal: g
      steps:
        below: { plan: { plan: below, goal: g, steps: { ask: { ask: q, expires: EXPIRES } }, outputs: { said: "${steps.ask.output}" } } }
      outputs: { said: "${steps.below.outputs.said}" }
    on_error:
      decide: q
      options: { go: { description: d, output: { said: "${error.code}" } }, no: { description: d, fail: true } }
      choose: "'go'"
outputs: { said: "${steps.middle.outputs.said}" }
"#;

/// Starts the nested plan: its root, and the question with the plans that it stands on, the asking one first.
async fn nested(house: &House, expires: &str) -> (PlanId, InputRequested, Vec<PlanId>) {
    let root = house.start(&NESTED.replace("EXPIRES", expires)).await;
    let mut asked = Asked::of(house, &root).await;
    let (origin, question) = asked.next().await;
    let mut plans = vec![origin.clone()];
    for _ in 0..2 {
        let (plan, repeated) = asked.next().await;
        let for_plan_id = Some(origin.clone());
        assert_eq!(repeated, InputRequested { for_plan_id, ..question.clone() });
        plans.push(plan);
    }
    assert_eq!(plans[2], root);
    (root, question, plans)
}

/// On each of the plans the question has this one outcome.
fn closed_once(events: &Events, plans: &[PlanId], outcome: AnswerOutcome) {
    for plan in plans {
        let received: Vec<InputReceived> =
            of_plan(events, plan).filter_map(|event| event.event.read()).collect();
        assert_eq!(received.len(), 1, "{plan}");
        assert_eq!(received[0].outcome, outcome);
    }
}

#[tokio::test]
async fn question_of_a_subplan_is_seen_and_closed_on_all_plans_above() {
    let house = House::open();
    let (root, question, plans) = nested(&house, "1h").await;
    for above in &plans[1..] {
        let refused = publish(&house, above, &answer_of(&question, json!("a"))).await;
        let Err(PublishError::Rejected { refusal: Refusal::RequestElsewhere { for_plan_id, .. }, .. }) =
            refused
        else {
            panic!("{refused:?}")
        };
        assert_eq!(for_plan_id, plans[0]);
    }
    answer(&house, &plans[0], &question, json!("a")).await;
    let events = house.tree(&root).await;
    assert_eq!(events.outputs(), json!({"said": "a"}));
    closed_once(&events, &plans, AnswerOutcome::Answered);
    let received: Vec<InputReceived> = events.all();
    assert!(received.iter().all(|received| received == &answer_of(&question, json!("a"))));
}

#[tokio::test]
async fn question_that_nobody_answers_in_time_expires_everywhere() {
    let house = House::open();
    let (root, _, plans) = nested(&house, "1ms").await;
    let events = house.tree(&root).await;
    assert_eq!(events.outputs(), json!({"said": "expired"}));
    closed_once(&events, &plans, AnswerOutcome::Expired);
    let received: Vec<InputReceived> = events.all();
    assert!(received.iter().all(|said| said.answered_by == "executor" && said.via == "engine"));
}

#[tokio::test]
async fn plan_that_is_cancelled_withdraws_its_questions_above() {
    let house = House::open();
    let (root, question, plans) = nested(&house, "1h").await;
    house.cancel(&plans[1], "not needed").await;
    let events = house.tree(&root).await;
    assert_eq!(events.outputs(), json!({"said": "cancelled"}));
    closed_once(&events, &plans, AnswerOutcome::Withdrawn);
    assert!(publish(&house, &plans[0], &answer_of(&question, json!("late"))).await.is_err());
}

#[tokio::test]
async fn failure_elsewhere_withdraws_a_question() {
    let house = House::open();
    let document = r#"
plan: ask
goal: g
steps:
  ask: { ask: q }
  gate: { tool: test.gate, with: { fail: broken } }
"#;
    let root = house.start(document).await;
    Asked::of(&house, &root).await.next().await;
    house.probe.gate.add_permits(1);
    let events = house.tree(&root).await;
    assert_eq!(events.failed().error.code, "broken");
    closed_once(&events, &[root], AnswerOutcome::Withdrawn);
}

/// An answer and something else that closes the question, as near to each other as can be.
async fn race(house: &House, rounds: usize, expires: &str, cancels: bool) -> (usize, usize) {
    let (mut answered, mut closed) = (0, 0);
    for round in 0..rounds {
        let (root, question, plans) = nested(house, expires).await;
        let said = answer_of(&question, json!("a"));
        if cancels {
            // An answer may have ended the plan before.
            let request = CancelRequested { requested_by: "tester".into(), reason: "race".into() };
            let cancel = Event::of(&IdGenerator::system(), &SystemClock, plans[1].clone(), &request).unwrap();
            house.bus.publish(cancel).await.unwrap();
        }
        // Commits in between, more each time, so that both sides win some.
        for _ in 0..round % 20 {
            let noise = Payload::of(&json!({})).unwrap();
            let noise_type: EventType = "test.noise".parse().unwrap();
            let noise = Event::new(
                IdGenerator::system().next_id(),
                noise_type,
                root.clone(),
                SystemClock.now(),
                noise,
            );
            let _ = house.bus.publish(noise.unwrap()).await;
        }
        let accepted = publish(house, &plans[0], &said).await.is_ok();
        let events = house.tree(&root).await;
        let received: Vec<InputReceived> = events.all();
        let wins = received.iter().filter(|said| said.outcome == AnswerOutcome::Answered).count();
        assert_eq!(received.len(), 3);
        assert_eq!(wins, if accepted { 3 } else { 0 }, "{received:?}");
        if accepted {
            answered += 1;
        } else {
            closed += 1;
        }
        if !cancels {
            let said = if accepted { "a" } else { "expired" };
            assert_eq!(events.outputs(), json!({"said": said}));
        }
    }
    (answered, closed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answer_that_races_with_the_expiry_wins_or_loses_everywhere() {
    let house = House::open();
    let (answered, expired) = race(&house, 60, "1ms", false).await;
    println!("{answered} answered, {expired} expired");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answer_that_races_with_a_cancel_wins_or_loses_everywhere() {
    let house = House::open();
    let (answered, withdrawn) = race(&house, 60, "1h", true).await;
    println!("{answered} answered, {withdrawn} withdrawn");
}

#[tokio::test]
async fn answer_that_does_not_fit_is_asked_for_again() {
    let house = House::open();
    let events = run_with(&house, ASK, [json!("old"), json!(7), json!("main")]).await;
    assert_eq!(events.outputs(), json!({"branch": "main"}));
    let asked: Vec<InputRequested> = events.all();
    assert_eq!(asked.len(), 3);
    let wrong =
        "Which branch of ask? (the last answer did not fit: the value is not one of \"main\" or \"next\")";
    assert_eq!(asked[1].question, wrong);
    assert!(asked[2].question.starts_with("Which branch of ask? (the last answer did not fit: "));
    assert!(asked.iter().all(|question| question.expires_at == asked[0].expires_at));
}

#[tokio::test]
async fn answers_that_never_fit_fail_the_step() {
    let house = House::open();
    let events = run_with(&house, ASK, (0..ROUNDS_MAX).map(|at| json!(at))).await;
    let error = events.failed().error;
    assert_eq!((error.code.as_str(), error.step.as_deref()), ("answer_invalid", Some("branch")));
    assert!(error.message.starts_with("3 answers did not fit; the last: "), "{}", error.message);
}

#[tokio::test]
async fn question_that_cannot_be_asked_fails_its_step() {
    let house = House::open();
    let step = |text: &str| {
        format!(
            "plan: ask\ngoal: g\ninputs: {{ x: {{ type: list, default: [] }} }}\nsteps: {{ ask: {{ {text} }} }}\n"
        )
    };
    for (text, code) in [
        (r#"ask: "${inputs.x[0]}""#, "expression"),
        (r#"approve: q, arguments: { a: "${inputs.x[0]}" }"#, "expression"),
        (r#"tool: test.echo, with: { value: "${inputs.x[0]}" }, approve: q"#, "expression"),
    ] {
        let events = house.run(&step(text)).await;
        assert_eq!(
            (events.failed().error.code.as_str(), events.count("InputRequested")),
            (code, 0),
            "{text}"
        );
    }
    let large = "a".repeat(200_000);
    let events = house.run(&step(&format!("approve: q, arguments: {{ a: \"{large}\" }}"))).await;
    assert_eq!(events.failed().error.code, "limit_exceeded");
}

#[tokio::test]
async fn tree_has_a_bounded_number_of_open_questions() {
    let house = House::open();
    let steps: String = (0..400).map(|at| format!("  a{at}: {{ ask: q }}\n")).collect();
    let document = format!(
        "plan: many\ngoal: g\nsteps:\n  all:\n    for_each: \"[1, 2, 3]\"\n    plan:\n      plan: below\n      goal: g\n      steps:\n{}",
        steps.replace("  a", "        a")
    );
    let root = house.start(&document).await;
    let events = house.tree(&root).await;
    assert_eq!(
        (events.failed().error.code.as_str(), events.failed().reason.as_str()),
        ("limit_exceeded", "limit_exceeded")
    );
    assert!(events.failed().error.message.contains(&TREE_QUESTIONS_MAX.to_string()));
    assert_eq!(events.count("InputRequested"), events.count("InputReceived"));
}

#[tokio::test]
async fn time_in_which_only_people_are_waited_for_does_not_count() {
    let house = House::open();
    // Both plans have less time than the question.
    let document = r#"
plan: above
goal: g
limits: { timeout: 2s }
steps:
  below:
    plan:
      plan: below
      goal: g
      limits: { timeout: 2s }
      steps: { ask: { ask: q, expires: 2200ms } }
    on_error:
      decide: q
      options: { go: { description: d, output: { code: "${error.code}" } }, no: { description: d, fail: true } }
      choose: "'go'"
outputs: { below: "${steps.below.outputs}" }
"#;
    assert_eq!(house.run(document).await.outputs(), json!({"below": {"code": "expired"}}));
}

#[tokio::test]
async fn plan_that_waits_besides_working_times_out() {
    let house = House::open();
    let document = "plan: ask\ngoal: g\nlimits: { timeout: 20ms }\nsteps: { ask: { ask: q }, gate: { tool: test.gate } }\n";
    let events = house.run(document).await;
    assert_eq!(events.failed().reason.as_str(), "timed_out");
    assert_eq!(events.all::<InputReceived>()[0].outcome, AnswerOutcome::Withdrawn);
}

#[tokio::test]
async fn answer_for_another_plan_is_none() {
    let house = House::open();
    let root = house.start(ASK).await;
    let (_, question) = Asked::of(&house, &root).await.next().await;
    // Somebody asks under the same id on a plan of their own, and is answered there.
    let plan: PlanId = "other".parse().unwrap();
    let ids = IdGenerator::system();
    let started = json!({"name": "other"});
    let publisher = house.bus.publisher(Producer::new("other"));
    let events = vec![
        Event::new(
            ids.next_id(),
            EventType::PlanStarted,
            plan.clone(),
            SystemClock.now(),
            Payload::of(&started).unwrap(),
        )
        .unwrap(),
        Event::of(&ids, &SystemClock, plan.clone(), &question).unwrap(),
        Event::of(&ids, &SystemClock, plan, &answer_of(&question, json!("main"))).unwrap(),
    ];
    publisher.publish_all(events).await.unwrap();
    answer(&house, &root, &question, json!("next")).await;
    assert_eq!(house.tree(&root).await.outputs(), json!({"branch": "next"}));
}

#[tokio::test]
async fn engine_that_shuts_down_withdraws_its_questions() {
    let house = House::open();
    let (root, _, plans) = nested(&house, "1h").await;
    house.engine.shutdown("SIGTERM").await;
    let events = house.tree(&root).await;
    assert_eq!(events.failed().reason.as_str(), "interrupted");
    closed_once(&events, &plans, AnswerOutcome::Withdrawn);
}

#[tokio::test]
async fn questions_of_a_former_process_are_answered_to_the_next_one() {
    let store = MemoryStore::new(LogId::from_random(5));
    let former = House::with(store.clone(), |config| config);
    let (root, question, plans) = nested(&former, "1h").await;
    // The process is gone: nobody waits for the answer any more.
    former.bus.shutdown().await;
    let between = House::with(store.clone(), |config| config);
    publish(&between, &plans[0], &answer_of(&question, json!("a"))).await.unwrap();
    between.bus.shutdown().await;
    let house = House::with(store, |config| config);
    assert_eq!(house.engine.recover().await.unwrap().resumed, 1);
    let events = house.tree(&root).await;
    events.outputs();
    closed_once(&events, &plans, AnswerOutcome::Answered);
}
