//! Joins the rooms: the log, the bus, the engine and the server of this process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use planwire_bus::{
    Config, EventBus, Log, PlanStarter, PublishError, Publisher, StartError, StartRequest, Started,
};
use planwire_engine::{Engine, EngineConfig, Recovered, ResumeError, Succession};
use planwire_event::vocabulary::{CancelRequested, PauseRequested, ResumeRequested};
use planwire_event::{Event, IdGenerator, PlanId, Producer, SystemClock};
use planwire_server::{BindError, Server, ServerConfig};
use planwire_store::{EventRepository, Executors, LockFile, LockInfo, LogWriter, OpenOptions, SqliteStore};
#[cfg(feature = "postgres")]
use planwire_store::{PostgresOptions, PostgresRepository, PostgresStore};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::place::Place;

/// Who publishes what people type.
const PRODUCER: &str = "cli";
/// Bytes of the token in the lock file.
const TOKEN_BYTES: usize = 24;

/// The log of a data place, opened for writing. Dropping it lets go of the lock.
pub(crate) struct House {
    /// The bus.
    pub(crate) bus: EventBus,
    /// Ids of events and plans.
    pub(crate) ids: Arc<IdGenerator>,
    home: Home,
    engine: Option<Engine>,
}

/// What a log that is open for writing is part of.
enum Home {
    /// A file that this process alone writes; other commands find its server by the lock.
    File(Arc<LockFile>),
    /// A database that others may write too, and that other commands open themselves.
    #[cfg(feature = "postgres")]
    Database(Arc<PostgresRepository>),
}

impl Home {
    /// Tells other commands where this process answers, where they ask for it.
    fn tell(&self, info: &LockInfo) -> Result<(), planwire_store::LockError> {
        match self {
            Self::File(lock) => lock.update(info),
            #[cfg(feature = "postgres")]
            Self::Database(_) => Ok(()),
        }
    }

    /// Who else may run plans of the same log, where others may.
    fn executors(&self) -> Option<Arc<dyn Executors>> {
        match self {
            Self::File(_) => None,
            #[cfg(feature = "postgres")]
            Self::Database(repository) => Some(Arc::clone(repository) as _),
        }
    }
}

type Opened = (Box<dyn LogWriter>, Arc<dyn EventRepository>, Home);

/// Opens the log of `place` for writing.
fn open(place: &Place) -> Result<Opened, anyhow::Error> {
    #[cfg(feature = "postgres")]
    if let Some(database) = place.database_url() {
        let (writer, repository) = PostgresStore::open(&database.url, &PostgresOptions::default())?;
        return Ok((Box::new(writer), Arc::clone(&repository) as _, Home::Database(repository)));
    }
    let (writer, repository) = SqliteStore::open(&place.database(), &OpenOptions::default())?;
    let home = Home::File(writer.lock());
    Ok((Box::new(writer), repository, home))
}

/// Time that running plans have to end when the process is asked to; what is open then ends at the next start.
const PLANS_END_MAX: Duration = Duration::from_secs(6);
/// Time that open requests have then.
const SERVER_END_MAX: Duration = Duration::from_secs(2);
/// Time within which a process ends that was asked to.
const END_MAX: Duration = Duration::from_secs(10);

const _: () = assert!(PLANS_END_MAX.as_secs() + SERVER_END_MAX.as_secs() < END_MAX.as_secs());

impl House {
    /// Opens the log of `place` for writing, and makes it if there is none.
    ///
    /// # Errors
    ///
    /// Exit code 74 if it cannot be opened, or another process writes it.
    pub(crate) fn open(place: &Place) -> Result<Self, Failure> {
        place.create()?;
        let storage = |error: anyhow::Error| Failure::new(Exit::Storage, error);
        let (writer, repository, home) = open(place).map_err(storage)?;
        let log = Log::open(writer, repository, Arc::new(SystemClock));
        let log = log.map_err(|error| storage(error.into()))?;
        let bus = EventBus::open(log, Config::default()).map_err(|error| storage(error.into()))?;
        Ok(Self { bus, ids: Arc::new(IdGenerator::system()), home, engine: None })
    }

    /// Starts the engine. What a former process left open stays as it is, unless the engine is told to adopt it.
    ///
    /// # Errors
    ///
    /// If the events that the engine follows cannot be read; exit code 74 if the log cannot be written.
    pub(crate) async fn start_engine(
        &mut self,
        config: EngineConfig,
        succession: Succession,
    ) -> Result<(), Failure> {
        let config = EngineConfig { executors: self.home.executors(), ..config };
        let engine = Engine::new(&self.bus, Arc::new(SystemClock), Arc::clone(&self.ids), config)
            .map_err(|error| Failure::new(Exit::Failed, error))?;
        engine.join(succession).await.map_err(|error| Failure::new(Exit::Storage, error))?;
        self.engine = Some(engine);
        Ok(())
    }

    /// Goes on with the plans that executors which are gone left open.
    ///
    /// # Errors
    ///
    /// Exit code 74 if the log cannot be read or does not take the events.
    pub(crate) async fn recover(&self) -> Result<Recovered, Failure> {
        match &self.engine {
            Some(engine) => engine.recover().await.map_err(|error| Failure::new(Exit::Storage, error)),
            None => Ok(Recovered::default()),
        }
    }

    /// Goes on with the tree of one plan that a former process left open; gives its root, or nothing if a process that
    /// is alive runs it.
    ///
    /// # Errors
    ///
    /// If the plan is unknown, has ended, or is run by its publisher.
    pub(crate) async fn resume(&self, plan: &PlanId) -> Result<Option<PlanId>, Failure> {
        let Some(engine) = &self.engine else { return Err(Failure::failed("no plans are run here")) };
        match engine.resume(plan).await {
            Ok(root) => Ok(Some(root)),
            Err(ResumeError::Runs { .. }) => Ok(None),
            Err(ResumeError::Recovery(error)) => Err(Failure::new(Exit::Storage, error)),
            Err(error) => Err(Failure::new(Exit::Failed, error)),
        }
    }

    /// Starts a plan.
    ///
    /// # Errors
    ///
    /// [`StartError`] says why nothing was started.
    pub(crate) async fn start(&self, request: StartRequest) -> Result<Started, StartError> {
        match &self.engine {
            Some(engine) => engine.start(request).await,
            None => Err(StartError::Closed),
        }
    }

    /// Trees that run here.
    pub(crate) fn open_trees(&self) -> usize {
        self.engine.as_ref().map_or(0, Engine::open_trees)
    }

    fn starter(&self) -> Option<Arc<dyn PlanStarter>> {
        self.engine.clone().map(|engine| Arc::new(engine) as Arc<dyn PlanStarter>)
    }

    /// The door for what people type.
    pub(crate) fn publisher(&self) -> Publisher {
        self.bus.publisher(Producer::new(PRODUCER))
    }

    /// Answers HTTP as `config` says from now on, and tells other commands so by the lock file.
    ///
    /// # Errors
    ///
    /// Exit code 2 if the address is none that may be served, 1 if it is taken or the clock stands before 1970.
    pub(crate) async fn serve(&self, config: ServerConfig) -> Result<Serving, Failure> {
        let token = token()?;
        let config = ServerConfig { token: Some(token.clone()), ids: Arc::clone(&self.ids), ..config };
        let server =
            Server::bind(config, self.bus.clone(), self.starter()).await.map_err(|error| match error {
                BindError::NotLoopback { .. } => Failure::new(Exit::Usage, error)
                    .hint("name another by --listen; `planwire config` shows where it is set"),
                BindError::Route(_) => Failure::new(Exit::Usage, error),
                BindError::Clock { .. } => Failure::new(Exit::Failed, error),
                error => Failure::new(Exit::Failed, error)
                    .hint("another port: --listen 127.0.0.1:0 takes a free one"),
            })?;
        let address = server.address();
        let (close, closed) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(async {
            // Also when it is dropped.
            let _ = closed.await;
        }));
        let info = LockInfo {
            url: Some(format!("http://{address}")),
            token: Some(token),
            ..LockInfo::this_process()
        };
        self.home.tell(&info).map_err(|error| Failure::new(Exit::Storage, error))?;
        let lock = match &self.home {
            Home::File(lock) => Some(Arc::clone(lock)),
            #[cfg(feature = "postgres")]
            Home::Database(_) => None,
        };
        Ok(Serving { address, lock, close, task })
    }

    /// Does with running plans what `plans` says, ends the server, writes what is queued and lets go of the log.
    pub(crate) async fn end(self, serving: Option<Serving>, plans: OpenPlans) {
        if let Some(engine) = self.engine {
            let ended = async {
                match plans {
                    // Readers see the plans end before their streams do.
                    OpenPlans::Interrupted => engine.shutdown("planwire was ended").await,
                    OpenPlans::Left => engine.suspend().await,
                }
            };
            let _ = tokio::time::timeout(PLANS_END_MAX, ended).await;
        }
        if let Some(serving) = serving {
            let _ = tokio::time::timeout(SERVER_END_MAX, serving.close()).await;
        }
        self.bus.shutdown().await;
    }
}

/// What becomes of plans that run when their process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenPlans {
    /// They end as interrupted: nobody is expected to go on with them.
    Interrupted,
    /// They stay open, and the next server goes on with them.
    Left,
}

/// A server of this process.
pub(crate) struct Serving {
    /// Where it answers.
    pub(crate) address: SocketAddr,
    lock: Option<Arc<LockFile>>,
    close: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Serving {
    /// The address as people open it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends event streams cleanly and answers what was asked.
    pub(crate) async fn close(self) {
        // Nobody is sent here any more; that the file cannot be written is no reason to stay.
        if let Some(lock) = self.lock {
            let _ = lock.update(&LockInfo::this_process());
        }
        let _ = self.close.send(());
        let _ = self.task.await;
    }
}

fn token() -> Result<String, Failure> {
    let mut bytes = [0_u8; TOKEN_BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::failed(format!("there is no randomness: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// How a running plan is told what to do.
pub(crate) enum Steering {
    /// By an event of this process.
    Bus(Publisher, Arc<IdGenerator>),
    /// By a server.
    Server(Client),
}

impl Steering {
    /// Asks something of `plan` and all below it.
    ///
    /// # Errors
    ///
    /// If the request could not be published.
    pub(crate) async fn ask(&self, plan: &PlanId, request: Request, reason: &str) -> Result<(), Failure> {
        match self {
            Self::Bus(publisher, ids) => {
                let event = request.event(ids, plan, reason)?;
                publisher.publish(event).await.map(drop).map_err(publish_failure)
            }
            Self::Server(client) => {
                let body = serde_json::json!({ "reason": reason });
                client.post(&format!("/v1/plans/{plan}/{}", request.as_str()), &body).await.map(drop)
            }
        }
    }
}

/// What may be asked of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// That it end.
    Cancel,
    /// That it begin nothing new.
    Pause,
    /// That it go on.
    Resume,
}

impl Request {
    /// The name of the command and of the route.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }

    fn event(self, ids: &IdGenerator, plan: &PlanId, reason: &str) -> Result<Event, Failure> {
        let (requested_by, reason) = (PRODUCER.to_owned(), reason.to_owned());
        let plan = plan.clone();
        let event = match self {
            Self::Cancel => Event::of(ids, &SystemClock, plan, &CancelRequested { requested_by, reason }),
            Self::Pause => Event::of(ids, &SystemClock, plan, &PauseRequested { requested_by, reason }),
            Self::Resume => Event::of(ids, &SystemClock, plan, &ResumeRequested { requested_by, reason }),
        };
        event.map_err(|error| Failure::new(Exit::Usage, error))
    }
}

/// What a publish error means for the exit code.
pub(crate) fn publish_failure(error: PublishError) -> Failure {
    let exit = match &error {
        PublishError::Rejected { .. } | PublishError::Conflict { .. } | PublishError::Closed => Exit::Failed,
        PublishError::Refused(_) | PublishError::Unknown(_) | PublishError::Stopped => Exit::Storage,
        _ => Exit::Usage,
    };
    Failure::new(exit, error)
}
