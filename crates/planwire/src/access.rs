//! How a command gets at the log for writing: by this process, or by the one that holds it.

use planwire_bus::{DocumentSource, Health, StartAt, StartError, StartRequest};
use planwire_engine::Succession;
use planwire_event::vocabulary::{Object, Origin};
use planwire_event::{Filter, PlanId, PlanStatus};
use serde_json::json;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::config::{Settings, environment};
use crate::documents;
use crate::failure::{Exit, Failure};
use crate::follow::{Follower, From, PlaceFollower};
use crate::output::{Output, tell};
use crate::place::Place;
use crate::signals::Signals;
use crate::watch::{Outcome, Watch};
use crate::wiring::{House, OpenPlans, Serving, Steering, publish_failure};

/// How long a plan is followed whose process is gone, before following it is given up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);
/// How long the log is tried to be opened while others open and close it.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);

/// How often it is looked whether plans still run.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Looks after which a plan that still runs is somebody else's.
const LOOKS_MAX: usize = 4;

/// Where plans run.
pub(crate) enum Access {
    /// In this process.
    Here(Box<House>),
    /// In the process that holds the log.
    Server(Client),
}

impl Access {
    /// Finds out who holds the log of `place`; opens it with an engine if nobody does.
    ///
    /// # Errors
    ///
    /// As for [`Access::open_log`].
    pub(crate) async fn open(place: &Place, settings: &Settings) -> Result<Self, Failure> {
        let mut access = Self::open_log(place).await?;
        if let Self::Here(house) = &mut access {
            // Those of a folder are read by `serve` alone: one that is broken must not be in the way of another.
            let tools = settings.tools(&environment())?;
            let documents = documents::registered(None, &tools)?;
            house.start_engine(settings.engine(tools, documents)?, Succession::Leaves).await?;
        }
        Ok(access)
    }

    /// Finds out who holds the log of `place`; opens it if nobody does. Commands that hold it for a moment are waited
    /// for.
    ///
    /// # Errors
    ///
    /// Exit code 74 if the log cannot be opened, or a process without a server holds it.
    pub(crate) async fn open_log(place: &Place) -> Result<Self, Failure> {
        let begun = Instant::now();
        loop {
            if let Some(client) = place.server().await? {
                return Ok(Self::Server(client));
            }
            match House::open(place) {
                Ok(house) => return Ok(Self::Here(Box::new(house))),
                // Somebody was faster; it is time to ask who.
                Err(failure) if failure.is_held() && begun.elapsed() < OPEN_TIMEOUT => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Starts a plan.
    ///
    /// # Errors
    ///
    /// Exit code 2 if the document or its inputs are wrong.
    pub(crate) async fn start(&self, document: DocumentSource, inputs: Object) -> Result<PlanId, Failure> {
        match self {
            Self::Here(house) => {
                let principal = std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned());
                let origin = Origin { protocol: "cli".to_owned(), principal, message: None };
                let request = StartRequest { document, inputs, origin, context_id: None };
                let started = house.start(request).await.map_err(start_failure)?;
                Ok(started.plan_id)
            }
            Self::Server(client) => {
                let mut body = json!({ "inputs": inputs });
                match document {
                    DocumentSource::Registered(name) => body["document"] = json!(name),
                    DocumentSource::Inline { text, name, folder } => {
                        body["text"] = json!(text);
                        body["name"] = json!(name);
                        body["folder"] = json!(folder);
                    }
                    DocumentSource::Received { text, name } => {
                        body["text"] = json!(text);
                        body["name"] = json!(name);
                    }
                }
                let answer = client.post("/v1/plans", &body).await?;
                let id = answer["plan_id"].as_str().and_then(|id| id.parse().ok());
                id.ok_or_else(|| Failure::failed("the server did not say which plan it started"))
            }
        }
    }

    /// Shows a plan until it and all below it have ended.
    ///
    /// # Errors
    ///
    /// If its events cannot be read or shown.
    pub(crate) async fn watch(
        &self,
        plan: &PlanId,
        place: &Place,
        output: Output,
        signals: &mut Signals,
    ) -> Result<Outcome, Failure> {
        let filter = Filter::tree(plan.clone());
        let (mut follower, steering) = match self {
            Self::Here(house) => {
                let subscription = house.bus.stream(filter, StartAt::Start).await;
                let subscription = subscription.map_err(|error| Failure::new(Exit::Storage, error))?;
                let steering = Steering::Bus(house.publisher(), house.ids.clone());
                (Follower::Bus(Box::new(subscription)), steering)
            }
            Self::Server(client) => {
                let follower = PlaceFollower::new(place.clone(), filter, From::Start, Some(GIVE_UP_AFTER));
                (Follower::Place(Box::new(follower)), Steering::Server(client.clone()))
            }
        };
        let watch = Watch::new(plan.clone(), place.clone(), output)?;
        self.guarded(watch.run(&mut follower, &steering, signals)).await
    }

    /// Waits for `work`, but not longer than the log of this process can be written.
    ///
    /// # Errors
    ///
    /// Exit code 74 if nothing can be stored any more.
    pub(crate) async fn guarded<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let Self::Here(house) = self else { return work.await };
        tokio::select! {
            done = work => done,
            health = house.bus.stopped() => match health {
                Health::Failed { message } => {
                    Err(Failure::storage(message).context("nothing can be stored any more"))
                }
                _ => Err(Failure::storage("the log is closed")),
            },
        }
    }

    /// Waits for plans that other commands started here, unless somebody ends the process.
    pub(crate) async fn wait_for_others(&self, outcome: &Outcome, signals: &mut Signals) {
        let Self::Here(house) = self else { return };
        // Whoever left the own plan does not want to wait for others.
        if outcome.status == PlanStatus::Open || !others_run(house).await {
            return;
        }
        tell("planwire: waiting for plans that others started here; Ctrl-C ends them");
        while house.open_trees() > 0 {
            tokio::select! {
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                _ = signals.next() => return,
            }
        }
    }

    /// Ends what runs here and lets go of the log.
    pub(crate) async fn end(self, serving: Option<Serving>) {
        if let Self::Here(house) = self {
            house.end(serving, OpenPlans::Interrupted).await;
        }
    }
}

/// Whether plans run here. The own one may have published its end and not yet given back its place.
async fn others_run(house: &House) -> bool {
    for _ in 0..LOOKS_MAX {
        if house.open_trees() == 0 {
            return false;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    true
}

fn start_failure(error: StartError) -> Failure {
    match error {
        StartError::Publish(error) => publish_failure(error),
        StartError::UnknownDocument { .. } | StartError::Invalid { .. } | StartError::Inputs { .. } => {
            Failure::new(Exit::Usage, error)
        }
        error => Failure::new(Exit::Failed, error),
    }
}
