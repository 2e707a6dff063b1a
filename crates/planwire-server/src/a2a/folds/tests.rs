//! Folds as of any place, whoever asks and whatever is still kept.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::{BoxFuture, join_all};
use planwire_bus::{Config, EventBus, Log, Publisher};
use planwire_event::{
    Clock, Digest, Draft, Event, EventId, Filter, IdGenerator, ManualClock, Producer, StoredEvent, Timestamp,
};
use planwire_store::{LogInfo, MemoryStore, Page, PlanPage, StoreError};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::ServerConfig;
use crate::a2a::A2a;
use crate::a2a::wire::TaskState;
use crate::app::Closing;

/// What was read.
#[derive(Debug, Default)]
pub(in crate::a2a) struct Reads {
    /// Events of plans.
    pub(in crate::a2a) of_plans: AtomicUsize,
    /// How often plans were asked for their events.
    pub(in crate::a2a) questions: AtomicUsize,
    /// Events of the whole log.
    pub(in crate::a2a) of_log: AtomicUsize,
}

impl Reads {
    /// Since the last call: events of plans, questions about plans, events of the log.
    pub(in crate::a2a) fn take(&self) -> (usize, usize, usize) {
        let take = |count: &AtomicUsize| count.swap(0, Ordering::SeqCst);
        (take(&self.of_plans), take(&self.questions), take(&self.of_log))
    }
}

/// Reads as the log in memory does and counts what it reads.
struct Counting(Arc<dyn EventRepository>, Arc<Reads>);

impl EventRepository for Counting {
    fn log_info(&self) -> BoxFuture<'_, Result<LogInfo, StoreError>> {
        self.0.log_info()
    }

    fn read_after<'a>(
        &'a self,
        after: Position,
        filter: &'a Filter,
        limits: PageLimits,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        Box::pin(async move {
            let page = self.0.read_after(after, filter, limits).await?;
            self.1.of_log.fetch_add(page.events.len(), Ordering::SeqCst);
            Ok(page)
        })
    }

    fn list_by_plan<'a>(
        &'a self,
        plan: &'a PlanId,
        types: EventTypes,
        after: Position,
        limits: PageLimits,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        Box::pin(async move {
            let page = self.0.list_by_plan(plan, types, after, limits).await?;
            self.1.of_plans.fetch_add(page.events.len(), Ordering::SeqCst);
            self.1.questions.fetch_add(1, Ordering::SeqCst);
            Ok(page)
        })
    }

    fn by_event_ids<'a>(
        &'a self,
        ids: &'a [EventId],
    ) -> BoxFuture<'a, Result<Vec<Arc<StoredEvent>>, StoreError>> {
        self.0.by_event_ids(ids)
    }

    fn plans<'a>(&'a self, query: &'a PlanQuery) -> BoxFuture<'a, Result<PlanPage, StoreError>> {
        self.0.plans(query)
    }

    fn document(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Arc<str>>, StoreError>> {
        self.0.document(digest)
    }

    fn blob(&self, digest: Digest, chunk: u32) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        self.0.blob(digest, chunk)
    }
}

pub(in crate::a2a) struct Bench {
    pub(in crate::a2a) app: App,
    publisher: Publisher,
    pub(in crate::a2a) read: Arc<Reads>,
    ids: IdGenerator,
    clock: Arc<ManualClock>,
    _close: watch::Sender<bool>,
}

impl Bench {
    pub(in crate::a2a) fn new() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros_clamped(1_000_000)));
        let (writer, repository) = MemoryStore::open("7Q4M2K9A".parse().unwrap());
        let read = Arc::new(Reads::default());
        let repository = Arc::new(Counting(repository, Arc::clone(&read)));
        let log = Log::open(writer, repository, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        let bus = EventBus::open(log, Config::default()).unwrap();
        let publisher = bus.publisher(Producer::new("test"));
        let (close, closing) = watch::channel(false);
        let config = ServerConfig::default();
        let a2a = A2a::new(&config.a2a, clock.now()).unwrap();
        let app = App::new(config, bus, None, a2a, Closing(closing));
        let ids = IdGenerator::new(Arc::clone(&clock) as Arc<dyn Clock>, || 0);
        Self { app, publisher, read, ids, clock, _close: close }
    }

    pub(in crate::a2a) fn event(&self, plan: &str, event_type: &str, payload: &Value) -> Event {
        let draft = json!({ "event_type": event_type, "plan_id": plan, "payload": payload }).to_string();
        Draft::parse(&draft).unwrap().complete(&self.ids, &*self.clock).unwrap()
    }

    pub(in crate::a2a) async fn publish(&self, events: Vec<Event>) {
        for some in events.chunks(1_000) {
            self.publisher.publish_all(some.to_vec()).await.unwrap();
        }
    }

    /// A plan that asks, is answered, makes artifacts and decides, with another one between, up to `events`.
    pub(in crate::a2a) async fn busy_plan(&self, plan: &str, events: usize) {
        let mut all = vec![
            self.event("other", "PlanStarted", &json!({ "name": "other" })),
            self.event(plan, "PlanStarted", &json!({ "name": "busy" })),
        ];
        for at in 0..events {
            let id = at.to_string();
            all.push(match at % 7 {
                0 => self.event(
                    plan,
                    "InputRequested",
                    &json!({
                        "request_id": id, "kind": if at % 2 == 0 { "input" } else { "auth" }, "question": "?",
                    }),
                ),
                2 => self.event(
                    plan,
                    "InputReceived",
                    &json!({
                        "request_id": (at - 2).to_string(), "value": 1, "answered_by": "me",
                    }),
                ),
                3 => self.event(
                    plan,
                    "ArtifactProduced",
                    &json!({
                        "artifact_id": (at % 9).to_string(), "name": "a", "media_type": "text/plain",
                        "part": { "text": id }, "append": at % 3 > 0,
                    }),
                ),
                4 => self.event(plan, "SubplanSpawned", &json!({ "child_plan_id": format!("{plan}-{at}") })),
                5 => self.event("other", "acme.note", &json!({})),
                _ => self.event(plan, "acme.note", &json!({ "n": at })),
            });
        }
        self.publish(all).await;
    }

    pub(in crate::a2a) async fn stored(&self, plan: &PlanId) -> Vec<Arc<StoredEvent>> {
        let (mut all, mut after) = (Vec::new(), Position::ZERO);
        loop {
            let filter = Filter::plan(plan.clone());
            let page = self.app.bus.repository().read_after(after, &filter, PAGE).await.unwrap();
            all.extend(page.events);
            if page.at_head {
                return all;
            }
            after = page.scanned_to;
        }
    }
}

/// All that a fold says, as text.
fn all_of(fold: &TaskFold) -> String {
    format!("{fold:?}")
}

fn naive(bench: &Bench, about: &Arc<About>, events: &[Arc<StoredEvent>], position: Position) -> String {
    let mut fold = TaskFold::new(Arc::clone(about), bench.app.bus.log_id());
    for (at, event) in events.iter().enumerate() {
        if at == 0 || event.position <= position {
            fold.apply(&Step::of(event));
        }
    }
    all_of(&fold)
}

/// Places of a log, far from each other and in no order.
fn places(events: u64, count: u64) -> impl Iterator<Item = Position> {
    (0..count).map(move |at| Position::new(at.wrapping_mul(2_654_435_761) % (events + 1)))
}

#[tokio::test]
async fn a_fold_as_of_any_place_is_that_of_the_events_up_to_it() {
    for bounds in [
        Bounds { plans: 1_000, bytes: BYTES_MAX, plan_bytes: PLAN_BYTES_MAX },
        // Room for less than two segments of a plan, and for one plan.
        Bounds { plans: 1, bytes: 200_000, plan_bytes: 200_000 },
    ] {
        let mut bench = Bench::new();
        bench.app.folds.bounds = bounds;
        bench.busy_plan("busy", 3_500).await;
        let plan: PlanId = "busy".parse().unwrap();
        let events = bench.stored(&plan).await;
        for position in places(3_502, 60).chain([0, 1, 2, 3_501, 3_502].map(Position::new)) {
            let fold = bench.app.folds.as_of(&bench.app, &plan, position).await.unwrap().unwrap();
            assert_eq!(all_of(&fold), naive(&bench, fold.about(), &events, position), "{position}");
            let other = "other".parse().unwrap();
            assert!(bench.app.folds.latest(&bench.app, &other).await.unwrap().is_some());
        }
        let cache = bench.app.folds.lock();
        assert!(cache.plans.len() <= bounds.plans.max(1) && cache.bytes <= bounds.bytes, "{}", cache.bytes);
    }
}

#[tokio::test]
async fn a_crowd_at_any_places_reads_the_plan_once() {
    let bench = Bench::new();
    bench.busy_plan("busy", 7_000).await;
    let plan: PlanId = "busy".parse().unwrap();
    let stored = bench.stored(&plan).await.len();
    let folds = &bench.app.folds;
    join_all(places(7_002, 300).map(|position| folds.as_of(&bench.app, &plan, position))).await;
    folds.latest(&bench.app, &plan).await.unwrap().unwrap();
    assert_eq!(bench.read.of_plans.load(Ordering::SeqCst), stored);
}

#[tokio::test]
async fn who_asks_for_the_same_place_gets_the_same_fold() {
    let bench = Bench::new();
    bench.busy_plan("busy", 300).await;
    let plan: PlanId = "busy".parse().unwrap();
    let folds = &bench.app.folds;
    let crowd = join_all((0..20).map(|_| folds.latest(&bench.app, &plan))).await;
    let first = crowd[0].as_ref().unwrap().clone().unwrap();
    assert!(crowd.into_iter().all(|fold| Arc::ptr_eq(&first, &fold.unwrap().unwrap())));
    // Further on, further back, and at a place that another one has just passed.
    let events = bench.stored(&plan).await;
    for position in [100, 300, 50, 51, 302].map(Position::new) {
        let fold = folds.as_of(&bench.app, &plan, position).await.unwrap().unwrap();
        assert_eq!(all_of(&fold), naive(&bench, fold.about(), &events, position), "{position}");
    }
}

#[tokio::test]
async fn what_is_let_go_of_is_read_again_from_the_fold_before_it() {
    let mut bench = Bench::new();
    bench.app.folds.bounds.plan_bytes = 700_000;
    bench.busy_plan("busy", 10_000).await;
    let plan: PlanId = "busy".parse().unwrap();
    let folds = &bench.app.folds;
    folds.latest(&bench.app, &plan).await.unwrap().unwrap();
    bench.read.take();
    for position in [1_000, 9_000, 2_000, 5_000].map(Position::new) {
        folds.as_of(&bench.app, &plan, position).await.unwrap().unwrap();
        let (events, ..) = bench.read.take();
        assert!(events <= SEGMENT_EVENTS, "{events} events were read for {position}");
    }
}

#[tokio::test]
async fn the_latest_fold_takes_in_only_what_is_new() {
    let bench = Bench::new();
    bench.busy_plan("busy", 100).await;
    let plan: PlanId = "busy".parse().unwrap();
    let latest = || bench.app.folds.latest(&bench.app, &plan);
    let seq = latest().await.unwrap().unwrap().seq();
    let read = bench.read.of_plans.load(Ordering::SeqCst);
    assert_eq!(latest().await.unwrap().unwrap().seq(), seq);
    assert_eq!(bench.read.of_plans.load(Ordering::SeqCst), read);

    bench
        .publish(vec![bench.event(
            "busy",
            "PlanFailed",
            &json!({
                "reason": "cancelled", "error": { "code": "cancelled", "message": "enough" },
            }),
        )])
        .await;
    let ended = latest().await.unwrap().unwrap();
    assert_eq!((ended.state(), ended.seq()), (TaskState::Canceled, seq.next()));
    assert!(ended.questions().is_empty() && ended.is_terminal() && !ended.state().is_interrupted());
    // Nothing follows: what others publish afterwards is not looked at.
    bench.publish(vec![bench.event("other", "acme.note", &json!({}))]).await;
    latest().await.unwrap().unwrap();
    assert_eq!(bench.read.of_plans.load(Ordering::SeqCst), read + 1);
}

#[tokio::test]
async fn plans_that_nobody_started_have_no_fold() {
    let bench = Bench::new();
    let plan = "nobody".parse().unwrap();
    assert!(bench.app.folds.latest(&bench.app, &plan).await.unwrap().is_none());
}

#[tokio::test]
async fn what_a_fold_keeps_is_bounded() {
    let bench = Bench::new();
    bench.publish(vec![bench.event("p", "PlanStarted", &json!({ "name": "p" }))]).await;
    let chunk =
        |artifact: usize, append: bool| {
            bench.event("p", "ArtifactProduced", &json!({
            "artifact_id": artifact.to_string(), "name": "a", "media_type": "", "part": { "text": "t" },
            "append": append,
        }))
        };
    let many: Vec<_> = (0..=crate::a2a::fold::ARTIFACTS_MAX).map(|at| chunk(at, false)).collect();
    let long: Vec<_> = (0..=crate::a2a::fold::CHUNKS_MAX).map(|_| chunk(3, true)).collect();
    bench.publish(many).await;
    bench.publish(long).await;
    let plan = "p".parse().unwrap();
    let fold = bench.app.folds.latest(&bench.app, &plan).await.unwrap().unwrap();
    let view = crate::a2a::fold::TaskView { history_length: None, artifacts: true, bytes_max: 60 * 1024 };
    let task = serde_json::to_value(fold.task(&bench.app, view).await.unwrap()).unwrap();
    assert!(task.to_string().len() <= 60 * 1024);
    assert_eq!(task["metadata"][crate::a2a::wire::EXTENSION]["truncated"], true);
    let artifact = |at: usize| &task["artifacts"][at]["parts"];
    assert_eq!(*artifact(0), json!([{ "text": "t", "filename": "a" }]));
    assert!(
        artifact(3)[0]["url"].as_str().unwrap().ends_with("/v1/plans/p/events?event_type=ArtifactProduced")
    );
}
