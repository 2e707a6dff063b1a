//! A2A over both bindings, and a starter that publishes what a plan begins with and leaves the rest to the test.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use futures_util::future::BoxFuture;
use planwire_bus::{CatalogEntry, EventBus, PlanStarter, Publisher, StartError, StartRequest, Started};
use planwire_event::vocabulary::PlanStarted;
use planwire_event::{Event, EventType, IdGenerator, ManualClock, PlanId, Producer};
use planwire_server::ServerConfig;
use planwire_server::a2a::{Route, Then};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::client::{Answer, Client, Stream, request};
use crate::served::{Served, id};

pub(crate) const VERSION: &str = "A2A-Version: 1.0";
pub(crate) const JSON: &str = "Content-Type: application/json";
pub(crate) const EXTENSION: &str = "urn:planwire:a2a:plan-events:1";
pub(crate) const EXTENDED: &str = "A2A-Extensions: urn:planwire:a2a:plan-events:1";

/// Starts plans `p1`, `p2` .. by publishing their PlanStarted.
pub(crate) struct Desk {
    catalog: Vec<CatalogEntry>,
    log: OnceLock<(Publisher, Arc<IdGenerator>, Arc<ManualClock>)>,
    started: AtomicUsize,
    pub(crate) asked: Mutex<Vec<StartRequest>>,
    /// What the next start answers instead.
    pub(crate) fault: Mutex<Option<StartError>>,
    /// Holds the next start under an id of the caller up, see [`Desk::hold`].
    held: Mutex<Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>>,
    /// Plans that are being started under an id of the caller.
    starting: Mutex<HashSet<PlanId>>,
    /// Starts that were refused since the plan is being started or was.
    pub(crate) refused: AtomicUsize,
}

impl Desk {
    fn new(catalog: Vec<CatalogEntry>) -> Self {
        Self {
            catalog,
            log: OnceLock::new(),
            started: AtomicUsize::new(0),
            asked: Mutex::default(),
            fault: Mutex::default(),
            held: Mutex::default(),
            starting: Mutex::default(),
            refused: AtomicUsize::new(0),
        }
    }

    /// Holds the next start under an id of the caller up when it has the id: what says that it has, and what lets it
    /// go on.
    pub(crate) fn hold(&self) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let ((reached, when_reached), (go_on, when_told)) = (oneshot::channel(), oneshot::channel());
        *self.held.lock().unwrap() = Some((reached, when_told));
        (when_reached, go_on)
    }

    async fn publish(&self, plan_id: PlanId, request: StartRequest) -> Result<Started, StartError> {
        self.asked.lock().unwrap().push(request.clone());
        if let Some(fault) = self.fault.lock().unwrap().take() {
            return Err(fault);
        }
        let (publisher, ids, clock) = self.log.get().unwrap();
        let payload: PlanStarted = serde_json::from_value(json!({
            "name": "report", "goal": "say what is there", "inputs": request.inputs,
            "origin": request.origin, "context_id": request.context_id,
        }))
        .unwrap();
        let event = Event::of(ids, &**clock, plan_id.clone(), &payload).unwrap();
        let cursor = publisher.publish(event).await?.cursor;
        Ok(Started { plan_id, cursor })
    }
}

/// The value of the only secret of a desk.
pub(crate) const SECRET: &str = "correct horse";

impl PlanStarter for Desk {
    fn redact(&self, _: Option<&PlanId>, value: &mut Value) -> bool {
        let marked = value.to_string().replace(SECRET, "***SECRET***");
        let before = std::mem::replace(value, serde_json::from_str(&marked).unwrap());
        *value != before
    }

    fn catalog(&self) -> Vec<CatalogEntry> {
        self.catalog.clone()
    }

    fn start(&self, request: StartRequest) -> BoxFuture<'_, Result<Started, StartError>> {
        let number = self.started.fetch_add(1, Ordering::SeqCst) + 1;
        Box::pin(self.publish(id(&format!("p{number}")), request))
    }

    fn start_as(&self, plan_id: PlanId, request: StartRequest) -> BoxFuture<'_, Result<Started, StartError>> {
        Box::pin(async move {
            let exists = || {
                self.refused.fetch_add(1, Ordering::SeqCst);
                StartError::Exists { plan_id: plan_id.clone() }
            };
            if !self.starting.lock().unwrap().insert(plan_id.clone()) {
                return Err(exists());
            }
            let held = self.held.lock().unwrap().take();
            if let Some((reached, go_on)) = held {
                reached.send(()).unwrap();
                go_on.await.unwrap();
            }
            let known = self.publish(plan_id.clone(), request).await;
            self.starting.lock().unwrap().remove(&plan_id);
            known.map_err(|error| match error {
                StartError::Publish(_) => exists(),
                other => other,
            })
        })
    }
}

/// A document with a text and a folder.
pub(crate) fn entry(name: &str) -> CatalogEntry {
    let inputs = json!({
        "type": "object",
        "properties": { "message": { "type": "string" }, "folder": { "type": "string", "format": "path" } },
        "required": ["folder"],
    });
    CatalogEntry { name: name.into(), goal: format!("Make a {name}."), inputs }
}

/// A server with these documents.
pub(crate) async fn desk(names: &[&str], change: impl FnOnce(&mut ServerConfig)) -> (Served, Arc<Desk>) {
    let desk = Arc::new(Desk::new(names.iter().map(|name| entry(name)).collect()));
    let served = Served::with(change, Some(Arc::clone(&desk) as _)).await;
    let bus: &EventBus = &served.bus;
    let log = (bus.publisher(Producer::new("desk")), Arc::clone(&served.ids), Arc::clone(&served.clock));
    assert!(desk.log.set(log).is_ok());
    (served, desk)
}

/// Asks over JSON-RPC; what the answer has as `result`, or as `error`.
pub(crate) async fn call(served: &Served, method: &str, params: Value) -> Result<Value, Value> {
    call_with(served, &[], method, params).await
}

pub(crate) async fn call_with(
    served: &Served,
    headers: &[&str],
    method: &str,
    params: Value,
) -> Result<Value, Value> {
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
    let headers = [&[VERSION, JSON], headers].concat();
    let answer = request(served.address, "POST", "/a2a", &headers, &body.to_string()).await;
    result(&answer, &json!(7))
}

/// The result or the error of an answer of JSON-RPC, whose form is checked.
pub(crate) fn result(answer: &Answer, expected_id: &Value) -> Result<Value, Value> {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{answer:?}");
    let mut body = answer.json();
    assert_eq!((&body["jsonrpc"], &body["id"]), (&json!("2.0"), expected_id), "{body}");
    match (body.get("result").is_some(), body.get("error").is_some()) {
        (true, false) => Ok(body["result"].take()),
        (false, true) => Err(body["error"].take()),
        _ => panic!("{body}"),
    }
}

/// Asks over REST; the body of a success, or its `error`.
pub(crate) async fn rest(served: &Served, method: &str, path: &str, body: Value) -> Result<Value, Value> {
    rest_with(served, &[VERSION], method, path, body).await
}

pub(crate) async fn rest_with(
    served: &Served,
    headers: &[&str],
    method: &str,
    path: &str,
    body: Value,
) -> Result<Value, Value> {
    let (typed, text) = if body.is_null() { (vec![], String::new()) } else { (vec![JSON], body.to_string()) };
    let headers = [headers, &typed].concat();
    let answer = request(served.address, method, &format!("/a2a{path}"), &headers, &text).await;
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    let mut body = answer.json();
    if answer.status == 200 {
        return Ok(body);
    }
    let error = body["error"].take();
    assert_eq!(error["code"], answer.status, "{error}");
    Err(error)
}

/// A message of one text.
pub(crate) fn message(message_id: &str, text: &str) -> Value {
    json!({ "messageId": message_id, "role": "ROLE_USER", "parts": [{ "text": text }] })
}

/// The reason in an error of either binding.
pub(crate) fn reason(error: &Value) -> &str {
    let details = if error["data"].is_array() { &error["data"] } else { &error["details"] };
    let info = &details[0];
    assert_eq!(info["@type"], "type.googleapis.com/google.rpc.ErrorInfo", "{error}");
    assert_eq!(info["domain"], "a2a-protocol.org", "{error}");
    info["reason"].as_str().unwrap()
}

/// The fields that an error of either binding names.
pub(crate) fn fields(error: &Value) -> Vec<&str> {
    let details = if error["data"].is_array() { &error["data"] } else { &error["details"] };
    let bad = &details[1];
    assert_eq!(bad["@type"], "type.googleapis.com/google.rpc.BadRequest", "{error}");
    bad["fieldViolations"].as_array().unwrap().iter().map(|field| field["field"].as_str().unwrap()).collect()
}

pub(crate) fn now(message: Value) -> Value {
    json!({ "message": message, "configuration": { "returnImmediately": true } })
}

pub(crate) fn state(task: &Value) -> &str {
    task["status"]["state"].as_str().unwrap().trim_start_matches("TASK_STATE_")
}

/// A message to a task.
pub(crate) fn to(task: &str, mut message: Value) -> Value {
    message["taskId"] = task.into();
    message
}

pub(crate) async fn ask(served: &Served, plan: &str, request_id: &str, more: Value) -> String {
    let mut payload = json!({ "request_id": request_id, "kind": "input", "question": "Which?" });
    for (name, value) in more.as_object().unwrap() {
        payload[name] = value.clone();
    }
    served.event(plan, "InputRequested", payload).await
}

/// The events of a type of a plan.
pub(crate) async fn events(served: &Served, plan: &str, event_type: EventType) -> Vec<Value> {
    let target = format!("/v1/plans/{plan}/events?event_type={event_type}");
    crate::client::get(served.address, &target).await.json()["events"].as_array().unwrap().clone()
}

/// What a POST answers as a stream, whole.
pub(crate) async fn streamed(
    served: &Served,
    target: &str,
    headers: &[&str],
    body: &Value,
) -> Vec<(Option<String>, Value)> {
    let mut client = Client::connect(served.address).await;
    client.ask("POST", target, &[&[VERSION, JSON], headers].concat(), &body.to_string()).await;
    let head = client.head().await;
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")), "{head:?}");
    let mut stream = Stream::of(client);
    let mut steps = Vec::new();
    while let Some(frame) = stream.event().await {
        steps.push((frame.event, frame.data));
    }
    steps
}

/// A route that answers at once.
pub(crate) fn greeting(config: &mut ServerConfig) {
    let when = Some("message.text.startsWith('hello')".into());
    config.a2a.routes.push(Route { when, then: Then::Answer("'Hello to you, ' + message.id".into()) });
}
