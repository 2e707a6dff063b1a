//! Joins the rooms: the log, the bus, the engine and the server of this process.

use std::sync::Arc;

use planwire_bus::{Config, EventBus, Log, PublishError, Publisher};
use planwire_event::vocabulary::CancelRequested;
use planwire_event::{Event, IdGenerator, PlanId, Producer, SystemClock};
use planwire_store::{LockFile, OpenOptions, SqliteStore};

use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::place::Place;

/// Who publishes what people type.
const PRODUCER: &str = "cli";

/// The log of a data place, opened for writing. Dropping it lets go of the lock.
pub(crate) struct House {
    /// The bus.
    pub(crate) bus: EventBus,
    /// Ids of events and plans.
    pub(crate) ids: Arc<IdGenerator>,
    lock: Arc<LockFile>,
}

impl House {
    /// Opens the log of `place` for writing, and makes it if there is none.
    ///
    /// # Errors
    ///
    /// Exit code 74 if it cannot be opened, or another process writes it.
    pub(crate) fn open(place: &Place) -> Result<Self, Failure> {
        place.create()?;
        let storage = |error: anyhow::Error| Failure::new(Exit::Storage, error);
        let (writer, repository) = SqliteStore::open(&place.database(), &OpenOptions::default())
            .map_err(|error| storage(error.into()))?;
        let lock = writer.lock();
        let log = Log::open(Box::new(writer), repository, Arc::new(SystemClock));
        let log = log.map_err(|error| storage(error.into()))?;
        let bus = EventBus::open(log, Config::default()).map_err(|error| storage(error.into()))?;
        Ok(Self { bus, ids: Arc::new(IdGenerator::system()), lock })
    }

    /// The door for what people type.
    pub(crate) fn publisher(&self) -> Publisher {
        self.bus.publisher(Producer::new(PRODUCER))
    }

    /// Writes what is queued and lets go of the log.
    pub(crate) async fn close(self) {
        self.bus.shutdown().await;
        drop(self.lock);
    }
}

/// How a running plan is told what to do.
pub(crate) enum Steering {
    /// By an event of this process.
    Bus(Publisher, Arc<IdGenerator>),
    /// By a server.
    Server(Client),
}

impl Steering {
    /// Asks `plan` and all below it to end.
    ///
    /// # Errors
    ///
    /// If the request could not be published; that the plan has ended meanwhile is none.
    pub(crate) async fn cancel(&self, plan: &PlanId, reason: &str) -> Result<(), Failure> {
        match self {
            Self::Bus(publisher, ids) => {
                let asked = CancelRequested { requested_by: PRODUCER.to_owned(), reason: reason.to_owned() };
                let event = Event::of(ids, &SystemClock, plan.clone(), &asked)
                    .map_err(|error| Failure::new(Exit::Usage, error))?;
                match publisher.publish(event).await {
                    Ok(_) => Ok(()),
                    Err(error) => Err(publish_failure(error)),
                }
            }
            Self::Server(client) => {
                let body = serde_json::json!({ "reason": reason });
                client.post(&format!("/v1/plans/{plan}/cancel"), &body).await.map(drop)
            }
        }
    }
}

/// What a publish error means for the exit code.
pub(crate) fn publish_failure(error: PublishError) -> Failure {
    let exit = match &error {
        PublishError::Rejected { .. } | PublishError::Conflict { .. } => Exit::Failed,
        PublishError::Refused(_) | PublishError::Unknown(_) | PublishError::Stopped => Exit::Storage,
        PublishError::Closed => Exit::Failed,
        _ => Exit::Usage,
    };
    Failure::new(exit, error)
}
