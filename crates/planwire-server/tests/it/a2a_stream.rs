//! A task followed live, over both bindings.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use planwire_event::{
    Digest, Draft, Event, EventId, EventTypes, Filter, PlanId, Position, Producer, StoredEvent,
};
use planwire_store::{
    EventRepository, LogInfo, MemoryStore, Page, PageLimits, PlanPage, PlanQuery, StoreError,
};
use serde_json::{Value, json};

use crate::client::{Answer, Client, Frame, Stream, request};
use crate::served::Served;

const VERSION: &str = "A2A-Version: 1.0";
const JSON: &str = "Content-Type: application/json";
const EXTENSION: &str = "urn:planwire:a2a:plan-events:1";
const EXTENDED: &str = "A2A-Extensions: urn:planwire:a2a:plan-events:1";

impl Served {
    /// Publishes an event of any type.
    pub(crate) async fn event(&self, plan: &str, event_type: &str, payload: Value) -> String {
        let event = self.draft(plan, event_type, &payload);
        self.bus.publisher(Producer::new("test")).publish(event).await.unwrap().cursor.to_string()
    }

    pub(crate) fn draft(&self, plan: &str, event_type: &str, payload: &Value) -> Event {
        let draft = json!({ "event_type": event_type, "plan_id": plan, "payload": payload }).to_string();
        Draft::parse(&draft).unwrap().complete(&self.ids, &*self.clock).unwrap()
    }

    async fn ask(&self, plan: &str, request_id: &str, kind: &str) -> String {
        let payload = json!({ "request_id": request_id, "kind": kind, "question": format!("{request_id}?") });
        self.event(plan, "InputRequested", payload).await
    }

    pub(crate) async fn answer(&self, plan: &str, request_id: &str) -> String {
        let payload = json!({ "request_id": request_id, "value": "yes", "answered_by": "me", "via": "cli" });
        self.event(plan, "InputReceived", payload).await
    }

    pub(crate) async fn artifact(&self, plan: &str, artifact: &str, text: &str, append: bool) -> String {
        let payload = json!({
            "artifact_id": artifact, "name": artifact, "media_type": "text/plain", "part": { "text": text },
            "append": append,
        });
        self.event(plan, "ArtifactProduced", payload).await
    }
}

/// Follows a task over REST.
pub(crate) async fn follow(served: &Served, task: &str, headers: &[&str]) -> Stream {
    let headers = [&[VERSION], headers].concat();
    Stream::open(served.address, &format!("/a2a/tasks/{task}:subscribe"), &headers).await
}

/// Asks to follow a task and is refused.
async fn refused(served: &Served, task: &str, headers: &[&str]) -> Answer {
    let headers = [&[VERSION, "Accept: text/event-stream"], headers].concat();
    request(served.address, "GET", &format!("/a2a/tasks/{task}:subscribe"), &headers, "").await
}

/// Follows by a POST of either binding.
pub(crate) async fn posted(served: &Served, target: &str, headers: &[&str], body: &Value) -> Stream {
    let mut client = Client::connect(served.address).await;
    let headers = [&[VERSION, JSON], headers].concat();
    client.ask("POST", target, &headers, &body.to_string()).await;
    let head = client.head().await;
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")), "{head:?}");
    Stream::of(client)
}

async fn called(served: &Served, method: &str, headers: &[&str], params: Value) -> Stream {
    let body = json!({ "jsonrpc": "2.0", "id": "1\u{2028}", "method": method, "params": params });
    posted(served, "/a2a", headers, &body).await
}

async fn all(stream: &mut Stream) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(frame) = stream.event().await {
        frames.push(frame);
    }
    frames
}

fn last(id: &str) -> String {
    format!("Last-Event-ID: {id}")
}

/// State and seq of an update, or of the task.
fn told(data: &Value) -> (String, u64) {
    let of = |step: &Value| {
        let state = step["status"]["state"].as_str().unwrap_or("").trim_start_matches("TASK_STATE_");
        (state.to_owned(), step["metadata"][EXTENSION]["seq"].as_u64().unwrap())
    };
    of(data.as_object().unwrap().values().next().unwrap())
}

fn states(frames: &[Frame]) -> Vec<String> {
    frames.iter().map(|frame| told(&frame.data).0).collect()
}

#[tokio::test]
async fn a_subscription_begins_with_the_task_and_goes_on_with_each_event() {
    let served = Served::start().await;
    served.start_plan("p").await;
    served.artifact("p", "a", "one", false).await;
    let mut stream = follow(&served, "p", &[]).await;
    let mut frames = vec![stream.frame().await.unwrap()];
    served.artifact("p", "a", "two \u{2028}", true).await;
    served.note("p", 1).await;
    served.ask("p", "r", "input").await;
    served.answer("p", "r").await;
    served.end_plan("p").await;
    while let Some(frame) = stream.frame().await {
        frames.push(frame);
    }
    insta::assert_snapshot!(frames.join("\n\n"));
}

#[tokio::test]
async fn both_bindings_tell_the_same() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let mut rest = follow(&served, "p", &[]).await;
    let mut posted = posted(&served, "/a2a/tasks/p:subscribe/", &[], &json!({})).await;
    let mut unnamed = called(&served, "SubscribeToTask", &[], json!({ "id": "p" })).await;
    let mut extended = called(&served, "SubscribeToTask", &[EXTENDED], json!({ "id": "p" })).await;
    served.note("p", 1).await;
    served.artifact("p", "a", "one", false).await;
    served.end_plan("p").await;
    let (rest, posted) = (all(&mut rest).await, all(&mut posted).await);
    let (unnamed, extended) = (all(&mut unnamed).await, all(&mut extended).await);
    assert_eq!(rest.len(), 4);
    assert_eq!(extended.len(), 4);
    for (at, frame) in rest.iter().enumerate() {
        assert_eq!(
            (&frame.id, &frame.event, &frame.data),
            (&posted[at].id, &posted[at].event, &posted[at].data)
        );
        let called = &unnamed[at];
        assert_eq!((&frame.id, &frame.event), (&called.id, &called.event));
        assert_eq!(called.data, json!({ "jsonrpc": "2.0", "id": "1\u{2028}", "result": frame.data }));
        let mut data = extended[at].data["result"].clone();
        let step = data.as_object_mut().unwrap().values_mut().next().unwrap();
        let event = step["metadata"][EXTENSION].as_object_mut().unwrap().remove("event");
        assert_eq!(data, frame.data);
        assert_eq!(event.map(|event| event["cursor"].clone()), (at > 0).then(|| json!(frame.id)));
    }
}

#[tokio::test]
async fn the_event_field_can_be_left_out() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let target = "/a2a/tasks/p:subscribe?event_field=off";
    let mut stream = Stream::open(served.address, target, &[VERSION]).await;
    assert!(stream.event().await.unwrap().data["task"].is_object());
    served.note("p", 1).await;
    let note = stream.event().await.unwrap();
    assert_eq!((note.event, told(&note.data)), (None, ("WORKING".into(), 2)));
}

#[tokio::test]
async fn a_client_that_was_cut_off_anywhere_goes_on_without_gap_and_without_repetition() {
    let served = Served::start().await;
    served.start_plan("other").await;
    served.start_plan("p").await;
    let mut reference = follow(&served, "p", &[]).await;
    for at in 0..12 {
        let text = at.to_string();
        match at % 4 {
            0 => served.artifact("p", "a", &text, at > 0).await,
            1 => served.ask("p", &text, "auth").await,
            2 => served.answer("p", &(at - 1).to_string()).await,
            _ => served.note("other", at).await,
        };
    }
    served.end_plan("p").await;
    let reference = all(&mut reference).await;
    for (at, cut) in reference.iter().enumerate().take(reference.len() - 1) {
        let mut stream = follow(&served, "p", &[EXTENDED, &last(&cut.id)]).await;
        let frames = all(&mut stream).await;
        let task = &frames[0].data["task"];
        assert_eq!((&frames[0].id, told(&frames[0].data).1), (&cut.id, at as u64 + 1));
        let chunks: usize =
            reference[1..=at].iter().filter(|frame| !frame.data["artifactUpdate"].is_null()).count();
        assert_eq!(task["artifacts"][0]["parts"].as_array().map_or(0, Vec::len), chunks);
        let ids = |frames: &[Frame]| frames.iter().map(|frame| frame.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&frames[1..]), ids(&reference[at + 1..]));
        assert_eq!(states(&frames[1..]), states(&reference[at + 1..]));
    }
}

#[tokio::test]
async fn a_cursor_before_the_plan_began_leads_to_its_beginning() {
    let served = Served::start().await;
    let before = served.start_plan("other").await;
    let first = served.start_plan("p").await;
    served.note("p", 1).await;
    let target = format!("/a2a/tasks/p:subscribe?after={before}");
    let mut stream = Stream::open(served.address, &target, &[VERSION]).await;
    let (task, note) = (stream.event().await.unwrap(), stream.event().await.unwrap());
    assert_eq!((task.id, told(&task.data).1, told(&note.data).1), (first, 1, 2));
}

#[tokio::test]
async fn a_task_that_has_ended_is_not_followed_but_its_rest_is_sent_with_the_extension() {
    let served = Served::start().await;
    let first = served.start_plan("p").await;
    let end = served.end_plan("p").await;
    let at_end = last(&end);
    let cases: [&[&str]; 4] = [&[], &[EXTENDED], &[&last(&first)], &[EXTENDED, &at_end]];
    for headers in cases {
        let answer = refused(&served, "p", headers).await;
        assert_eq!(answer.status, 400, "{headers:?}");
        let info = &answer.json()["error"]["details"][0];
        assert_eq!(
            (&info["reason"], &info["metadata"]["cursor"]),
            (&json!("UNSUPPORTED_OPERATION"), &json!(end))
        );
    }
    let mut rest = follow(&served, "p", &[EXTENDED, &last(&first)]).await;
    assert_eq!(states(&all(&mut rest).await), ["WORKING", "COMPLETED"]);
}

#[tokio::test]
async fn cursors_that_do_not_hold_and_tasks_that_nobody_knows_are_refused() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let check = async |task: &str, cursor: &str, status: u16, reason: &str, message: &str| {
        let answer = refused(&served, task, &[&last(cursor)]).await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["details"][0]["reason"]), (status, &json!(reason)), "{answer:?}");
        assert!(error["message"].as_str().unwrap().contains(message), "{error}");
    };
    check("p", "ZZZZZZZZ-0000000000000001", 400, "INVALID_PARAMS", "belongs to another log").await;
    check("p", "7Q4M2K9A-00000000000000ff", 400, "INVALID_PARAMS", "beyond the end").await;
    check("p", "1", 400, "INVALID_PARAMS", "malformed").await;
    check("nobody", "7Q4M2K9A-0000000000000001", 404, "TASK_NOT_FOUND", "nobody").await;
}

#[tokio::test]
async fn a_subscription_stays_open_while_questions_are_and_tells_the_state_after_each_event() {
    let served = Served::start().await;
    served.start_plan("p").await;
    served.ask("p", "access", "auth").await;
    let mut stream = follow(&served, "p", &[]).await;
    let task = stream.event().await.unwrap();
    assert_eq!(task.data["task"]["status"]["message"]["parts"][0]["text"], "access?");
    served.note("p", 1).await;
    served.ask("p", "which", "input").await;
    served.note("p", 2).await;
    served.answer("p", "which").await;
    let expired = json!({ "request_id": "access", "outcome": "expired", "answered_by": "engine" });
    served.event("p", "InputReceived", expired).await;
    let failed = json!({ "reason": "rejected", "error": { "code": "denied", "message": "not allowed" } });
    served.event("p", "PlanFailed", failed).await;
    let frames = [vec![task], all(&mut stream).await].concat();
    let expected = [
        "AUTH_REQUIRED",
        "AUTH_REQUIRED",
        "INPUT_REQUIRED",
        "INPUT_REQUIRED",
        "AUTH_REQUIRED",
        "WORKING",
        "REJECTED",
    ];
    assert_eq!(states(&frames), expected);
    let said = &frames[6].data["statusUpdate"]["status"]["message"]["parts"][0]["text"];
    assert_eq!(said, "not allowed");
}

#[tokio::test]
async fn a_streaming_message_ends_at_the_next_question_and_not_at_the_one_that_it_answers() {
    let served = Served::start().await;
    served.start_plan("p").await;
    served.spawn_plan("p", "q").await;
    served.ask("q", "r", "input").await;
    let repeated = json!({ "request_id": "r", "for_plan_id": "q", "kind": "input", "question": "r?" });
    served.event("p", "InputRequested", repeated).await;
    let message = json!({
        "messageId": "m", "role": "ROLE_USER", "taskId": "p", "parts": [{ "text": "yes" }],
    });
    let mut stream = called(&served, "SendStreamingMessage", &[], json!({ "message": message })).await;
    let task = stream.event().await.unwrap().data["result"].clone();
    assert_eq!((told(&task).0.as_str(), &task["task"]["status"]["message"]), ("WORKING", &Value::Null));
    // Other work goes on before the repetition is taken back.
    served.note("p", 1).await;
    served.answer("p", "r").await;
    served.note("p", 2).await;
    served.ask("p", "again", "input").await;
    served.note("p", 3).await;
    let rest: Vec<_> = all(&mut stream).await.iter().map(|frame| told(&frame.data["result"])).collect();
    let rest: Vec<_> = rest.iter().map(|(state, seq)| (state.as_str(), *seq)).collect();
    // An update says what the plan says, also about the question that is settled for this reader.
    assert_eq!(rest, [("INPUT_REQUIRED", 4), ("WORKING", 5), ("WORKING", 6), ("INPUT_REQUIRED", 7)]);
}

#[tokio::test]
async fn a_streaming_message_with_a_cursor_in_the_past_does_not_end_at_a_question_of_the_past() {
    let served = Served::start().await;
    let first = served.start_plan("p").await;
    for question in ["one", "two"] {
        served.ask("p", question, "input").await;
    }
    served.answer("p", "one").await;
    served.note("p", 1).await;
    let message =
        json!({ "messageId": "m", "role": "ROLE_USER", "taskId": "p", "parts": [{ "text": "yes" }] });
    let params = json!({ "message": message });
    let mut stream = called(&served, "SendStreamingMessage", &[&last(&first)], params).await;
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(told(&stream.event().await.unwrap().data["result"]));
    }
    // The task as of the cursor, the past, and the answer that the message is.
    let seqs: Vec<_> = seen.iter().map(|(_, seq)| *seq).collect();
    assert_eq!((seqs, seen[5].0.as_str()), (vec![1, 2, 3, 4, 5, 6], "WORKING"));
    served.ask("p", "three", "input").await;
    served.note("p", 2).await;
    let rest: Vec<_> = all(&mut stream).await.iter().map(|frame| told(&frame.data["result"])).collect();
    assert_eq!(rest, [("INPUT_REQUIRED".into(), 7)]);
}

#[tokio::test]
async fn a_blocking_message_waits_for_the_next_question_or_the_end() {
    let served = Arc::new(Served::start().await);
    served.start_plan("p").await;
    for (answered, next) in [("first", "second"), ("second", "end")] {
        if answered == "first" {
            served.ask("p", answered, "input").await;
        }
        let message =
            json!({ "messageId": answered, "role": "ROLE_USER", "taskId": "p", "parts": [{ "text": "y" }] });
        let address = served.address;
        let waiting = tokio::spawn(async move {
            let body = json!({ "message": message }).to_string();
            request(address, "POST", "/a2a/message:send", &[VERSION, JSON], &body).await
        });
        // The answer is there before the plan goes on.
        let mut events = Stream::open(address, "/v1/plans/p/events?event_type=InputReceived", &[]).await;
        while events.event().await.unwrap().data["payload"]["request_id"] != answered {}
        served.note("p", 1).await;
        if next == "end" {
            served.end_plan("p").await
        } else {
            served.ask("p", next, "input").await
        };
        let answer = waiting.await.unwrap().json();
        let expected = if next == "end" { "TASK_STATE_COMPLETED" } else { "TASK_STATE_INPUT_REQUIRED" };
        assert_eq!(answer["task"]["status"]["state"], expected, "{answer}");
    }
}

#[tokio::test]
async fn a_blocking_message_is_answered_with_the_task_as_it_is_when_the_server_ends() {
    let mut served = Served::start().await;
    served.start_plan("p").await;
    served.ask("p", "r", "input").await;
    let message = json!({ "messageId": "m", "role": "ROLE_USER", "taskId": "p", "parts": [{ "text": "y" }] });
    let mut client = Client::connect(served.address).await;
    let body = json!({ "message": message }).to_string();
    client.ask("POST", "/a2a/message:send", &[VERSION, JSON], &body).await;
    let mut events = Stream::open(served.address, "/v1/plans/p/events?event_type=InputReceived", &[]).await;
    events.event().await.unwrap();
    served.begin_stop();
    let answer = client.answer().await.json();
    assert_eq!(answer["task"]["status"]["state"], "TASK_STATE_WORKING", "{answer}");
    served.stop().await;
}

#[tokio::test]
async fn a_log_that_is_closed_is_not_followed() {
    let served = Served::start().await;
    served.start_plan("p").await;
    served.bus.shutdown().await;
    let answer = refused(&served, "p", &[]).await;
    assert_eq!((answer.status, &answer.json()["error"]["status"]), (503, &json!("UNAVAILABLE")));
}

/// A log of which retention has removed the first events.
struct Pruned(Arc<dyn EventRepository>);

impl EventRepository for Pruned {
    fn log_info(&self) -> BoxFuture<'_, Result<LogInfo, StoreError>> {
        Box::pin(async {
            let info = self.0.log_info().await?;
            Ok(LogInfo { pruned_to: Position::new(2), ..info })
        })
    }

    fn read_after<'a>(
        &'a self,
        after: Position,
        filter: &'a Filter,
        limits: PageLimits,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        self.0.read_after(after, filter, limits)
    }

    fn list_by_plan<'a>(
        &'a self,
        plan: &'a PlanId,
        types: EventTypes,
        after: Position,
        limits: PageLimits,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        self.0.list_by_plan(plan, types, after, limits)
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

#[tokio::test]
async fn what_retention_removed_is_not_skipped_in_silence() {
    let (writer, repository) = MemoryStore::open("7Q4M2K9A".parse().unwrap());
    let served = Served::over(writer, Arc::new(Pruned(repository)), |_| {}, None).await;
    let first = served.start_plan("p").await;
    for number in 0..4 {
        served.note("p", number).await;
    }
    let mut stream = follow(&served, "p", &[&last(&first)]).await;
    let task = stream.event().await.unwrap().data;
    let place = &task["task"]["metadata"][EXTENSION];
    assert_eq!((&place["gap"], &place["requested"], &place["seq"]), (&json!(true), &json!(first), &json!(5)));
    assert_eq!(place["firstAvailable"], "7Q4M2K9A-0000000000000002");
    served.note("p", 4).await;
    assert_eq!(told(&stream.event().await.unwrap().data).1, 6);
}

#[tokio::test]
async fn a_quiet_stream_sends_comments_and_ends_with_the_server() {
    let heartbeat = Duration::from_millis(20);
    let mut served = Served::with(|config| config.limits.heartbeat = heartbeat, None).await;
    served.start_plan("p").await;
    let mut stream = follow(&served, "p", &[]).await;
    stream.event().await.unwrap();
    assert_eq!(stream.frame().await.unwrap(), ": hb");
    served.begin_stop();
    while let Some(frame) = stream.frame().await {
        assert_eq!(frame, ": hb");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_stream_that_closes_leaves_the_others_alone() {
    let served = Served::start().await;
    served.start_plan("p").await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(follow(&served, "p", &[]).await);
    }
    streams.remove(1);
    for number in 0..100 {
        served.note("p", number).await;
    }
    served.end_plan("p").await;
    let mut told_of = Vec::new();
    for stream in &mut streams {
        let mut text = String::new();
        while let Some(frame) = stream.frame().await {
            text.push_str(&frame);
        }
        told_of.push(text);
    }
    assert_eq!(told_of[0].matches("data: ").count(), 102);
    assert!(told_of.iter().all(|text| *text == told_of[0]));
}
