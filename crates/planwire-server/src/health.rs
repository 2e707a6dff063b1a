//! Whether the server lives (`/healthz`) and whether it takes events (`/readyz`).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use planwire_bus::Health;
use serde_json::{Value, json};

use crate::app::App;
use crate::problem::{Kind, Problem};

pub(crate) async fn live() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

pub(crate) async fn ready(State(app): State<Arc<App>>) -> Result<Json<Value>, Problem> {
    match app.bus.health() {
        Health::Ready if app.closing.has_begun() => {
            Err(Problem::new(Kind::ShuttingDown, "the server shuts down"))
        }
        Health::Ready => Ok(Json(json!({ "status": "ready", "head": app.bus.tail().to_string() }))),
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
