//! Whether the server lives (`/healthz`) and whether it takes events (`/readyz`).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use planwire_bus::Health;
use planwire_event::Cursor;
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::App;
use crate::openapi::{Answer, Content, Operation};
use crate::problem::{Kind, Problem};

/// The process answers.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Live {
    /// `ok`.
    status: &'static str,
}

/// The log takes events.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Ready {
    /// `ready`.
    status: &'static str,
    /// The end of the log.
    head: Cursor,
    /// What else whoever started the server has to tell, by name: `containment` says how programs of tools are ended,
    /// `sandbox` what keeps them in.
    facts: BTreeMap<String, String>,
}

pub(crate) static LIVE: Operation = Operation {
    id: "getHealth",
    summary: "Whether the process answers",
    description: "Says nothing about the log: see `/readyz`.",
    parameters: &[],
    body: None,
    answers: &[Answer::new(200, "It does.", &[Content::answer::<Live>()])],
    faults: &[],
    problems: &[],
};

pub(crate) async fn live() -> Json<Live> {
    Json(Live { status: "ok" })
}

pub(crate) static READY: Operation = Operation {
    id: "getReadiness",
    summary: "Whether the log takes events",
    description: "Readers are served also while it takes none.",
    parameters: &[],
    body: None,
    answers: &[Answer::new(200, "It does.", &[Content::answer::<Ready>()])],
    faults: &[],
    problems: &[&[Kind::WriterStopped, Kind::ShuttingDown]],
};

pub(crate) async fn ready(State(app): State<Arc<App>>) -> Result<Json<Ready>, Problem> {
    match app.bus.health() {
        Health::Ready if app.closing.has_begun() => {
            Err(Problem::new(Kind::ShuttingDown, "the server shuts down"))
        }
        Health::Ready => {
            Ok(Json(Ready { status: "ready", head: app.bus.tail(), facts: app.config.facts.clone() }))
        }
        Health::Failed { message } => {
            tracing::error!(message, "the writer has stopped");
            Err(Problem::new(
                Kind::WriterStopped,
                "the log takes no events since a fatal error; readers go on",
            ))
        }
        Health::Closed => Err(Problem::new(Kind::ShuttingDown, "the log is closed")),
    }
}
