//! `planwire redact`: removes the payload of an event for good.

use planwire_bus::{RedactError, Redaction};
use planwire_event::vocabulary::Origin;
use planwire_event::{EventId, SystemClock};
use serde_json::{Value, json};

use crate::access::Access;
use crate::args::RedactArguments;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::place::Place;
use crate::wiring::{House, OpenPlans, publish_failure};

/// Removes the payloads of events, one after the other.
///
/// # Errors
///
/// At the first event that is unknown, or whose tree is open; exit code 74 if it is not certain that a payload is gone.
pub(crate) async fn redact(
    arguments: &RedactArguments,
    place: &Place,
    output: Output,
) -> Result<Exit, Failure> {
    place.require_reader()?;
    let access = Access::open_log(place).await?;
    let mut done = Ok(());
    for event in &arguments.events {
        let removed = match &access {
            Access::Server(client) => {
                let path = format!("/v1/events/{event}/redact");
                client.post(&path, &json!({ "reason": arguments.reason })).await
            }
            Access::Here(house) => remove_here(house, *event, &arguments.reason).await,
        };
        done = removed.and_then(|removed| tell(&removed, output));
        if done.is_err() {
            break;
        }
    }
    if let Access::Here(house) = access {
        house.end(None, OpenPlans::Left).await;
    }
    done.map(|()| Exit::Completed)
}

fn tell(removed: &Value, output: Output) -> Result<(), Failure> {
    if output.json {
        return output.json(removed);
    }
    let text = |name: &str| removed[name].as_str().unwrap_or_default().to_owned();
    output.line(&match removed["record"].as_str() {
        Some(record) => format!(
            "the payload of event {} is gone; plan {record} records it, SHA-256 {} stays",
            text("event_id"),
            text("payload_digest")
        ),
        None => format!("the payload of event {} was removed before", text("event_id")),
    })
}

async fn remove_here(house: &House, event_id: EventId, reason: &str) -> Result<Value, Failure> {
    let principal = std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned());
    let origin = Origin { protocol: "cli".to_owned(), principal, message: None };
    let redaction = Redaction { event_id, reason: reason.to_owned(), origin };
    let redacted = house.bus.redact(&house.publisher(), &house.ids, &SystemClock, redaction).await;
    let redacted = redacted.map_err(|error| match error {
        RedactError::Record(error) => publish_failure(error),
        RedactError::Store(error) => Failure::new(Exit::Storage, error)
            .context("it is not certain that the payload is gone")
            .hint("ask again: that does no harm"),
        RedactError::Reason => Failure::new(Exit::Usage, error),
        error @ RedactError::Open { .. } => {
            Failure::new(Exit::Failed, error).hint("`planwire cancel ID` ends it, or `planwire end ID`")
        }
        error => Failure::new(Exit::Failed, error),
    })?;
    Ok(json!({
        "event_id": event_id,
        "plan_id": redacted.plan_id,
        "payload_digest": redacted.digest,
        "record": redacted.record,
    }))
}
