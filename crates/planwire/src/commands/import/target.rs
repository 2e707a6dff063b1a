//! The log that takes what is imported: open here, or behind the server of another process.

use planwire_bus::{PublishError, Publisher};
use planwire_event::{EventId, Producer};
use serde_json::Value;

use crate::access::Access;
use crate::client::Client;
use crate::commands::import::batches::{Item, LineFlaw};
use crate::failure::Failure;
use crate::place::Place;
use crate::wiring::{House, OpenPlans, publish_failure};

/// Who publishes what is imported. No executor has this name, so nobody owns trees that come this way.
const PRODUCER: &str = "import";

/// The log.
pub(crate) enum Target {
    /// Open in this process.
    Here(Box<House>, Publisher),
    /// Written by another process, which answers HTTP.
    Server(Client),
}

/// What became of events.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// Stored now.
    pub(crate) fresh: u64,
    /// Stored before.
    pub(crate) before: u64,
}

impl Stored {
    pub(crate) const fn add(&mut self, more: &Self) {
        self.fresh += more.fresh;
        self.before += more.before;
    }

    fn of(duplicates: impl Iterator<Item = bool>) -> Self {
        let mut stored = Self::default();
        for duplicate in duplicates {
            if duplicate { stored.before += 1 } else { stored.fresh += 1 }
        }
        stored
    }
}

/// Why a batch was not stored.
pub(crate) enum Refusal {
    /// One of its events may not follow; nothing of the batch is stored.
    Event {
        /// Which, from 0.
        index: usize,
        /// Why.
        message: String,
    },
    /// The log takes no events now; the batch may be stored or not.
    Failure(Failure),
}

impl Target {
    /// Finds out who writes the log, and opens it if nobody does.
    ///
    /// # Errors
    ///
    /// Exit code 74 if it cannot be opened.
    pub(crate) async fn open(place: &Place) -> Result<Self, Failure> {
        Ok(match Access::open_log(place).await? {
            Access::Server(client) => Self::Server(client),
            Access::Here(house) => {
                let publisher = house.bus.publisher(Producer::new(PRODUCER));
                Self::Here(house, publisher)
            }
        })
    }

    /// Takes out what is stored already, and says how much that was. The second is an event whose id is taken by
    /// another one; then what stands behind it is taken out too.
    ///
    /// Publishing would find out as well, but one by one where plans have ended.
    ///
    /// # Errors
    ///
    /// Exit code 74 if the log cannot be read.
    pub(crate) async fn without_known(
        &self,
        batch: Vec<Item>,
    ) -> Result<(Vec<Item>, u64, Option<LineFlaw>), Failure> {
        let Self::Here(house, _) = self else { return Ok((batch, 0, None)) };
        let ids: Vec<EventId> = batch.iter().map(|item| item.event.event_id()).collect();
        let stored = house.bus.repository().by_event_ids(&ids).await?;
        let stored: std::collections::HashMap<_, _> =
            stored.iter().map(|stored| (stored.event.event_id(), stored)).collect();
        let (mut fresh, mut before) = (Vec::with_capacity(batch.len()), 0);
        for item in batch {
            match stored.get(&item.event.event_id()) {
                None => fresh.push(item),
                Some(stored) if stored.event.same_content(&item.event) => before += 1,
                Some(_) => {
                    let event_id = Some(item.event.event_id());
                    let message = "its event_id is already stored with other content".to_owned();
                    return Ok((fresh, before, Some(LineFlaw { line: item.line, event_id, message })));
                }
            }
        }
        Ok((fresh, before, None))
    }

    /// Stores a batch, all of it or nothing.
    ///
    /// # Errors
    ///
    /// [`Refusal`] says which event may not follow, or why nothing is taken.
    pub(crate) async fn publish(&self, batch: &[Item]) -> Result<Stored, Refusal> {
        match self {
            Self::Here(_, publisher) => {
                let events = batch.iter().map(|item| item.event.clone()).collect();
                let published = publisher.publish_all(events).await.map_err(refusal)?;
                Ok(Stored::of(published.iter().map(|place| place.duplicate)))
            }
            Self::Server(client) => {
                let events: Vec<&str> = batch.iter().map(|item| item.json.as_str()).collect();
                let body = format!("{{\"events\":[{}]}}", events.join(","));
                let answer = client.post_text("/v1/events", body).await.map_err(told)?;
                let places = answer.get("events").and_then(Value::as_array).cloned().unwrap_or_default();
                Ok(Stored::of(places.iter().map(|place| place["duplicate"] == true)))
            }
        }
    }

    /// Lets go of the log.
    pub(crate) async fn close(self) {
        if let Self::Here(house, _) = self {
            house.end(None, OpenPlans::Left).await;
        }
    }
}

fn refusal(error: PublishError) -> Refusal {
    match error {
        PublishError::Rejected { index, refusal } => Refusal::Event { index, message: refusal.to_string() },
        PublishError::Conflict { index, .. } => {
            Refusal::Event { index, message: "its event_id is already stored with other content".to_owned() }
        }
        error => Refusal::Failure(publish_failure(error)),
    }
}

/// What a server says of a batch.
fn told(failure: Failure) -> Refusal {
    match failure.refused_event() {
        Some(index) => {
            let message = failure.reason();
            // The server counts within the request; the line is told beside it.
            let own = format!("event {index} of the request");
            let message = message.strip_prefix(&own).map_or(message.as_str(), |rest| {
                rest.trim_start_matches(" is refused").trim_start_matches(": ")
            });
            Refusal::Event { index, message: message.to_owned() }
        }
        None => Refusal::Failure(failure),
    }
}
