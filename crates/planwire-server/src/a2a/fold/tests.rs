//! How a plan stands to its readers, wherever they begin and however far behind they are.

use planwire_event::StoredEvent;
use serde_json::json;

use super::ledger::{MARKS_MAX, SWEEP_MIN};
use super::*;
use crate::a2a::folds::tests::Bench;

/// A reader, and what it has to be told.
struct Reader {
    followed: Followed,
    next: usize,
}

/// A plan with its events and the state after each.
struct Plan {
    bench: Bench,
    id: PlanId,
    events: Vec<Arc<StoredEvent>>,
    states: Vec<TaskState>,
}

impl Plan {
    async fn busy(events: usize) -> Self {
        let bench = Bench::new();
        bench.busy_plan("busy", events).await;
        let id: PlanId = "busy".parse().unwrap();
        let events = bench.stored(&id).await;
        let mut standing = Standing::default();
        let mut state_after = |event: &Arc<StoredEvent>| {
            standing.apply(&Turn::of(event));
            standing.counts().state()
        };
        let states = events.iter().map(&mut state_after).collect();
        Self { bench, id, events, states }
    }

    async fn fold(&self, at: usize) -> Arc<TaskFold> {
        let app = &self.bench.app;
        app.folds.as_of(app, &self.id, self.events[at].position).await.unwrap().unwrap()
    }

    /// A reader who begins after the event of this number.
    async fn reader(&self, at: usize) -> Reader {
        let fold = self.fold(at).await;
        Reader { followed: Followed::new(&self.bench.app, &fold, &fold, None), next: at + 1 }
    }

    /// Lets a reader take in further events, and checks what it is told.
    async fn advance(&self, reader: &mut Reader, events: usize) {
        for _ in 0..events.min(self.events.len() - reader.next) {
            let told = reader.followed.apply(&self.bench.app, &self.events[reader.next]).await.unwrap();
            let expected = self.states[reader.next];
            assert_eq!(told, expected, "after event {}", reader.next);
            assert_eq!(reader.followed.rests(), expected.is_terminal() || expected.is_interrupted());
            reader.next += 1;
        }
    }
}

#[tokio::test]
async fn every_reader_is_told_the_state_after_each_event_wherever_the_others_are() {
    let plan = Plan::busy(1_500).await;
    let mut readers = Vec::new();
    let mut random = 7_u64;
    for round in 0..600 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = usize::try_from(random >> 33).unwrap();
        if round % 20 == 0 {
            readers.push(plan.reader(number % plan.events.len()).await);
        }
        let at = number % readers.len();
        plan.advance(&mut readers[at], number % 97).await;
        if number % 31 == 0 {
            readers.swap_remove(at);
            readers.push(plan.reader(0).await);
        }
    }
    for reader in &mut readers {
        plan.advance(reader, usize::MAX).await;
    }
}

#[tokio::test]
async fn who_begins_ahead_of_all_others_takes_the_ledger_along() {
    let plan = Plan::busy(300).await;
    for behind in 0..60 {
        let mut reader = plan.reader(behind).await;
        // Between the two lie turns that nobody has told the ledger.
        let mut ahead = plan.reader(behind + 40).await;
        plan.advance(&mut ahead, 80).await;
        plan.advance(&mut reader, usize::MAX).await;
        plan.advance(&mut ahead, usize::MAX).await;
    }
}

#[tokio::test]
async fn who_is_further_behind_than_the_ledger_reaches_works_it_out_until_it_has_caught_up() {
    let plan = Plan::busy(4 * MARKS_MAX).await;
    let turns = plan.events.iter().filter(|event| Turn::is_one(event.event.event_type())).count();
    assert!(turns > MARKS_MAX + 100, "{turns}");
    let (mut first, mut slow) = (plan.reader(0).await, plan.reader(0).await);
    plan.advance(&mut first, usize::MAX).await;
    assert!(!first.followed.works_out(), "the first is the one that tells the ledger");
    plan.advance(&mut slow, 50).await;
    assert!(slow.followed.works_out());
    plan.advance(&mut slow, usize::MAX).await;
    assert!(!slow.followed.works_out());
    // One that begins in the past has not even to ask where it begins.
    let mut late = plan.reader(20).await;
    assert!(late.followed.works_out());
    plan.advance(&mut late, usize::MAX).await;
    assert!(!late.followed.works_out());
}

#[tokio::test]
async fn readers_of_the_present_keep_no_questions_of_their_own() {
    let plan = Plan::busy(700).await;
    let mut readers = Vec::new();
    for at in [0, 100, 100, 300] {
        let mut reader = plan.reader(at).await;
        plan.advance(&mut reader, 200).await;
        readers.push(reader);
    }
    for reader in &mut readers {
        plan.advance(reader, usize::MAX).await;
        assert!(!reader.followed.works_out());
    }
}

#[tokio::test]
async fn ledgers_of_plans_that_nobody_follows_any_more_are_let_go_of() {
    let plan = Plan::busy(1).await;
    let about = |number: usize| About {
        plan: format!("p{number}").parse().unwrap(),
        context_id: "c".into(),
        name: "n".into(),
        root: plan.id.clone(),
        parent: None,
        depth: 0,
        before: Position::ZERO,
    };
    let ledgers = Ledgers::default();
    let join = |number| ledgers.join(&TaskFold::new(Arc::new(about(number)), plan.bench.app.bus.log_id())).0;
    let followed: Vec<_> = (0..5).map(join).collect();
    for number in 5..10 * SWEEP_MIN {
        join(number);
        assert!(ledgers.count() <= SWEEP_MIN, "{}", ledgers.count());
    }
    assert!(
        (0..5).all(|number| Arc::ptr_eq(&followed[number], &join(number))),
        "those that are followed stay"
    );
}

#[tokio::test]
async fn a_plan_whose_events_are_gone_keeps_its_last_state() {
    let plan = Plan::busy(60).await;
    let mut reader = plan.reader(40).await;
    // A ledger that is further on, and a plan of which the log knows nothing.
    let gone = "gone".parse::<PlanId>().unwrap();
    let event = plan.bench.event("gone", "InputReceived", &json!({ "request_id": "r", "answered_by": "me" }));
    let stored = StoredEvent { event, position: Position::new(1), ..(*plan.events[0]).clone() };
    assert_eq!(stored.plan_id(), &gone);
    let before = reader.followed.apply(&plan.bench.app, &plan.events[41]).await.unwrap();
    assert_eq!(reader.followed.apply(&plan.bench.app, &stored).await.unwrap(), before);
}
