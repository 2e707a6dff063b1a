//! `planwire publish`: events from a file or from standard input, all of them or none.

use std::io::Read as _;
use std::path::Path;

use planwire_bus::REQUEST_EVENTS_MAX;
use planwire_event::{Draft, SystemClock};
use planwire_server::BODY_BYTES_MAX;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::access::Access;
use crate::args::PublishArguments;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::place::Place;
use crate::wiring::{House, OpenPlans, publish_failure};

/// Bytes of one publish; more are refused before anything is sent.
const INPUT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Publishes events.
///
/// # Errors
///
/// Exit code 2 if the input holds no events, 1 if the log does not take them.
pub(crate) async fn publish(
    arguments: &PublishArguments,
    place: &Place,
    output: Output,
) -> Result<Exit, Failure> {
    let text = read(&arguments.file)?;
    let events = split(&text)?;
    if events.is_empty() {
        return Err(Failure::usage("there is no event in the input"));
    }
    if events.len() > REQUEST_EVENTS_MAX {
        return Err(Failure::usage(format!("the input has {} events", events.len())).hint(format!(
            "all are stored or none, so at most {REQUEST_EVENTS_MAX} at a time; publish it in parts"
        )));
    }
    let answers = match Access::open_log(place).await? {
        Access::Server(client) => {
            check_body(&events)?;
            let answer = client.post("/v1/events", &json!({ "events": events })).await?;
            answer.get("events").and_then(Value::as_array).cloned().unwrap_or_default()
        }
        Access::Here(house) => publish_here(*house, &events).await?,
    };
    for answer in &answers {
        if output.json {
            output.json(answer)?;
        } else {
            let word = if answer["duplicate"] == true { "was stored already" } else { "stored" };
            let id = answer["event_id"].as_str().unwrap_or_default();
            output.line(&format!("{id} {word} at position {}, seq {}", answer["position"], answer["seq"]))?;
        }
    }
    Ok(Exit::Completed)
}

/// A server takes less at a time than an open log does.
fn check_body(events: &[Box<RawValue>]) -> Result<(), Failure> {
    let bytes: usize = events.iter().map(|event| event.get().len() + 1).sum();
    if bytes + "{\"events\":[]}".len() <= BODY_BYTES_MAX {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "the events take {bytes} bytes, and the running planwire takes {BODY_BYTES_MAX} at a time"
    ))
    .hint("all are stored or none; publish them in parts"))
}

fn read(path: &Path) -> Result<String, Failure> {
    let standard_input = path == Path::new("-");
    let name = if standard_input { "standard input".to_owned() } else { path.display().to_string() };
    let wrong = |error: std::io::Error| Failure::usage(error).context(format!("failed to read {name}"));
    let source: Box<dyn std::io::Read> = if standard_input {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(wrong)?)
    };
    let mut text = String::new();
    source.take(INPUT_BYTES_MAX + 1).read_to_string(&mut text).map_err(wrong)?;
    if text.len() as u64 > INPUT_BYTES_MAX {
        return Err(
            Failure::usage(format!("{name} exceeds {INPUT_BYTES_MAX} bytes")).hint("publish it in parts")
        );
    }
    Ok(text)
}

/// What stands where one event could: a list of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Several {
    events: Vec<Box<RawValue>>,
}

/// Takes apart one event, `{"events":[..]}`, an array, or several of these in a row.
fn split(text: &str) -> Result<Vec<Box<RawValue>>, Failure> {
    let mut events = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Box<RawValue>>() {
        let value = value.map_err(|error| {
            Failure::usage(error)
                .context("the input is not JSON")
                .hint("see `planwire schema` for what an event is")
        })?;
        if let Ok(several) = serde_json::from_str::<Several>(value.get()) {
            events.extend(several.events);
        } else if let Ok(array) = serde_json::from_str::<Vec<Box<RawValue>>>(value.get()) {
            events.extend(array);
        } else {
            events.push(value);
        }
    }
    Ok(events)
}

async fn publish_here(house: House, events: &[Box<RawValue>]) -> Result<Vec<Value>, Failure> {
    let complete = |(index, raw): (usize, &RawValue)| {
        let draft = Draft::parse(raw.get()).and_then(|draft| draft.complete(&house.ids, &SystemClock));
        draft.map_err(|error| {
            Failure::usage(error).context(format!("event {} of {}", index + 1, events.len()))
        })
    };
    let complete = events.iter().map(AsRef::as_ref).enumerate().map(complete).collect::<Result<Vec<_>, _>>();
    let published = match complete {
        Ok(complete) => house.publisher().publish_all(complete).await.map_err(publish_failure),
        Err(failure) => Err(failure),
    };
    house.end(None, OpenPlans::Left).await;
    let answer = |place: planwire_bus::Published| {
        json!({
            "event_id": place.event_id,
            "position": place.position,
            "cursor": place.cursor,
            "seq": place.seq,
            "duplicate": place.duplicate,
        })
    };
    Ok(published?.into_iter().map(answer).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_any_usual_form() {
        for text in [
            "{\"a\":1}{\"a\":2}",
            "{\"a\":1}\n{\"a\":2}\n",
            "[{\"a\":1},{\"a\":2}]",
            "{\"events\":[{\"a\":1},{\"a\":2}]}",
        ] {
            let events: Vec<String> = split(text).unwrap().iter().map(|raw| raw.get().to_owned()).collect();
            assert_eq!(events, ["{\"a\":1}", "{\"a\":2}"], "{text}");
        }
        assert!(split("").unwrap().is_empty());
        assert_eq!(split("{\"a\":").unwrap_err().exit, Exit::Usage);
    }
}
