//! A tool of your own, in a program of your own: defines it, runs a document that calls it over a log in SQLite, and
//! prints each event as it becomes durable.
//!
//!     cargo run -p planwire-engine --example own_tool

use std::error::Error;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use planwire_bus::{Config, DocumentSource, EventBus, Item, Log, PlanStarter as _, StartAt, StartRequest};
use planwire_engine::tool::{Parameters, ToolContext, ToolError, ToolOutput};
use planwire_engine::{Engine, EngineConfig, Tool, ToolSet};
use planwire_event::arguments::ArgumentSchema;
use planwire_event::vocabulary::{Object, Origin};
use planwire_event::{Filter, IdGenerator, SystemClock};
use planwire_store::{OpenOptions, SqliteStore};
use serde_json::json;

/// Counts the words of texts.
struct CountWords {
    arguments: ArgumentSchema,
}

impl CountWords {
    fn new() -> Result<Self, Box<dyn Error>> {
        let schema = json!({
            "type": "object",
            "properties": {"texts": {"type": "array", "items": {"type": "string"}, "maxItems": 1000}},
            "required": ["texts"],
            "additionalProperties": false,
        });
        Ok(Self { arguments: ArgumentSchema::compile(&schema)? })
    }
}

impl Tool for CountWords {
    fn name(&self) -> &str {
        "words.count"
    }

    fn purpose(&self) -> &str {
        "counts the words of texts"
    }

    fn arguments(&self) -> Parameters {
        // Checked before each call, so that `call` need not.
        Parameters::Schema(self.arguments.clone())
    }

    fn call(&self, arguments: Object, context: ToolContext) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        Box::pin(async move {
            let texts = arguments.get("texts").and_then(|texts| texts.as_array());
            let texts = texts.ok_or_else(|| ToolError::argument("texts is no list"))?;
            let mut words = 0;
            for (at, text) in texts.iter().enumerate() {
                // Asked to end: by a timeout, somebody who cancels the plan, the end of the process.
                if context.stop.requested() {
                    return Err(ToolError::stopped());
                }
                context.progress.say(format!("{at} of {}", texts.len()));
                words += text.as_str().unwrap_or_default().split_whitespace().count();
                tokio::task::yield_now().await;
            }
            if words == 0 {
                // A code is what documents decide by.
                return Err(ToolError::new("no_words", "the texts hold no words"));
            }
            Ok(json!({"words": words, "texts": texts.len()}).into())
        })
    }
}

const DOCUMENT: &str = r#"
plan: count
goal: Say how many words two sentences have
steps:
  count:
    tool: words.count
    with: { texts: ["Disk first, then tell.", "Nothing is ever dropped."] }
    on_error:
      decide: What if there is nothing to count?
      options:
        nothing: { description: no words are none, output: { words: 0 } }
        stop: { description: anything else is a failure, fail: true }
      choose: "error.code == 'no_words' ? 'nothing' : 'stop'"
outputs: { words: "${steps.count.output.words}" }
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (writer, repository) = SqliteStore::open(&folder.path().join("log.db"), &OpenOptions::default())?;
    let log = Log::open(Box::new(writer), repository, Arc::new(SystemClock))?;
    let bus = EventBus::open(log, Config::default())?;

    let tools = ToolSet::standard().with(Arc::new(CountWords::new()?));
    let config = EngineConfig { tools, folder: folder.path().into(), ..EngineConfig::default() };
    let engine = Engine::new(&bus, Arc::new(SystemClock), Arc::new(IdGenerator::system()), config)?;

    let document = DocumentSource::Inline { text: DOCUMENT.into(), name: "count.yaml".into(), folder: None };
    let origin = Origin { protocol: "cli".into(), principal: "me".into(), message: None };
    let request = StartRequest { document, inputs: Object::new(), origin, context_id: None };
    let started = engine.start(request).await?;

    let mut events = bus.stream(Filter::tree(started.plan_id), StartAt::Start).await?;
    while let Some(Item::Event(event)) = events.next().await? {
        #[expect(clippy::print_stdout, reason = "a program shows what it does")]
        {
            println!("{} {}", event.event.event_type(), event.event.payload().as_str());
        }
    }
    engine.shutdown("the example ends").await;
    bus.shutdown().await;
    Ok(())
}
