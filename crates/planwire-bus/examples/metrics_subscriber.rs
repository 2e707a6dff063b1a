//! A new subscriber without touching a publisher: metrics of plans, counted from the events alone.
//!
//! Run with `cargo run -p planwire-bus --example metrics_subscriber`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use planwire_bus::{Config, EventBus, Handler, Log};
use planwire_event::vocabulary::{PlanCompleted, ToolCompleted};
use planwire_event::{Draft, EventType, Filter, IdGenerator, LogId, StoredEvent, SystemClock};
use planwire_store::MemoryStore;

/// What is counted; text form of Prometheus.
#[derive(Debug, Default)]
struct Metrics {
    events: BTreeMap<String, u64>,
    open_plans: i64,
    plan_ms: u64,
    failed_calls: u64,
}

impl Metrics {
    fn count(&mut self, event: &StoredEvent) {
        let event_type = event.event.event_type();
        *self.events.entry(event_type.to_string()).or_default() += 1;
        match event_type {
            EventType::PlanStarted => self.open_plans += 1,
            EventType::PlanCompleted | EventType::PlanFailed => self.open_plans -= 1,
            _ => {}
        }
        if let Some(completed) = event.event.read::<PlanCompleted>() {
            self.plan_ms += completed.duration_ms;
        }
        if event.event.read::<ToolCompleted>().is_some_and(|call| !call.ok) {
            self.failed_calls += 1;
        }
    }

    fn to_text(&self) -> String {
        let events = self
            .events
            .iter()
            .map(|(name, count)| format!("planwire_events_total{{type=\"{name}\"}} {count}\n"));
        let events: String = events.collect();
        let Self { open_plans, plan_ms, failed_calls, .. } = self;
        format!(
            "{events}planwire_open_plans {open_plans}\nplanwire_plan_ms_total {plan_ms}\nplanwire_failed_calls_total {failed_calls}\n"
        )
    }
}

/// What any program would publish; nothing here knows of the metrics.
const EVENTS: [&str; 5] = [
    r#"{"event_type":"PlanStarted","plan_id":"nightly","payload":{"name":"nightly","goal":"tidy up"}}"#,
    r#"{"event_type":"ToolCalled","plan_id":"nightly","payload":{"call_id":"1","tool":"exec","arguments":{"argv":["true"]}}}"#,
    r#"{"event_type":"ToolCompleted","plan_id":"nightly","payload":{"call_id":"1","tool":"exec","ok":false,"error":{"code":"exit_status","message":"1"}}}"#,
    r#"{"event_type":"acme.cache_hit","plan_id":"nightly","payload":{"key":"k"}}"#,
    r#"{"event_type":"PlanCompleted","plan_id":"nightly","payload":{"duration_ms":12}}"#,
];

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows its result")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (writer, repository) = MemoryStore::open(LogId::from_random(7));
    let bus = EventBus::open(Log::open(writer, repository, Arc::new(SystemClock))?, Config::default())?;

    let metrics: Arc<Mutex<Metrics>> = Arc::default();
    let counted = Arc::clone(&metrics);
    let handler = Handler::blocking(move |event| {
        counted.lock().map_err(|error| error.to_string())?.count(event);
        Ok(())
    });
    bus.subscribe(handler, Filter::all())?;

    let ids = IdGenerator::system();
    for json in EVENTS {
        bus.publish(Draft::parse(json)?.complete(&ids, &SystemClock)?).await?;
    }
    // Shutting down lets handlers reach the end of the log.
    bus.shutdown().await;
    println!("{}", metrics.lock().map_err(|error| error.to_string())?.to_text());
    Ok(())
}
