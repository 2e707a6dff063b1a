//! What a schema must be before it is used: ours, of a version that we know, in a server that keeps its word.

use std::sync::Arc;

use planwire_event::{IdGenerator, LogId};
use tokio::time::Instant;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::contract::StoreError;
use crate::moving::Moving;
use crate::postgres::error::store_error;
use crate::postgres::moved;
use crate::postgres::notify::Notifier;
use crate::postgres::options::PostgresOptions;
use crate::postgres::pool::Pool;
use crate::postgres::repository::PostgresRepository;
use crate::postgres::schema::{self, Found, VERSION};
use crate::postgres::server::{Server, wait};
use crate::postgres::session::{ConnectError, Session, Unfit};
use crate::postgres::url::PostgresUrl;
use crate::postgres::writer::PostgresWriter;

/// Why a log in PostgreSQL was not opened. The texts are for the person who named it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresOpenError {
    /// Nobody answers.
    #[error("the database {url} does not answer")]
    Unreachable {
        /// Where it should be.
        url: PostgresUrl,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server answers, and will not have us.
    #[error("the database {url} refuses the connection")]
    Refused {
        /// Where it is.
        url: PostgresUrl,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server is none to which a log may be entrusted.
    #[error("the database {url} can not hold a log: {unfit}")]
    Unfit {
        /// Where it is.
        url: PostgresUrl,
        /// Why.
        unfit: Unfit,
    },
    /// There is no log to read.
    #[error("there is no log at {url}; `planwire run` and `planwire serve` make one")]
    Missing {
        /// Where it should be.
        url: PostgresUrl,
    },
    /// Written by a later version of this program.
    #[error(
        "log {url} has version {found} and this Planwire knows versions up to {known}; nothing was changed, use the \
         newer Planwire"
    )]
    Newer {
        /// Where it is.
        url: PostgresUrl,
        /// Its version.
        found: i32,
        /// The highest version known here.
        known: i32,
    },
    /// Written by an earlier version of this program, and may not be changed by a reader.
    #[error(
        "log {url} has version {found} and this Planwire reads version {known}; `planwire serve` brings it up to date"
    )]
    Older {
        /// Where it is.
        url: PostgresUrl,
        /// Its version.
        found: i32,
        /// The version known here.
        known: i32,
    },
    /// A schema with tables of another program.
    #[error(
        "the schema of {url} holds tables of another program, not a log of Planwire; nothing was changed, name \
         another schema"
    )]
    Foreign {
        /// Where it is.
        url: PostgresUrl,
    },
    /// It was moved, and takes no events any more.
    #[error(
        "log {url} was moved to {to} and takes no events any more; name that place: --db URL or --data DIR"
    )]
    Moved {
        /// Where it was.
        url: PostgresUrl,
        /// Where the log is.
        to: String,
    },
    /// It is being moved here, and that was not finished.
    #[error(
        "log {url} is on its way here from {from}, and that was not finished; repeat `planwire move` there"
    )]
    Arriving {
        /// Where it will be.
        url: PostgresUrl,
        /// Where the log is.
        from: String,
    },
    /// The role may look at the log, and may not write it.
    #[error(
        "the role of {url} may not write the log: it lacks {missing}; grant it, or name the owner of the schema"
    )]
    ReadOnly {
        /// Where it is.
        url: PostgresUrl,
        /// The rights that it lacks.
        missing: String,
    },
    /// The role may not do what opening the log takes.
    #[error("the role of {url} may not open the log; grant it, or name the owner of the schema")]
    Denied {
        /// Where it is.
        url: PostgresUrl,
        /// What it may not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The operating system gave no threads for the connections.
    #[error("no thread could be started for connections")]
    NoThread(#[source] std::io::Error),
    /// The store failed.
    #[error("log {url} can not be opened")]
    Store {
        /// Where it is.
        url: PostgresUrl,
        /// Why.
        #[source]
        source: StoreError,
    },
}

/// Opens logs that lie in PostgreSQL. Any number of processes may have the same log open, and all of them may write.
#[derive(Debug)]
pub struct PostgresStore;

impl PostgresStore {
    /// Opens the log at `url` for writing, and makes it if there is none. Blocks while it connects.
    ///
    /// # Errors
    ///
    /// [`PostgresOpenError`] says what is there instead.
    pub fn open(
        url: &PostgresUrl,
        options: &PostgresOptions,
    ) -> Result<(PostgresWriter, Arc<PostgresRepository>), PostgresOpenError> {
        let opening = Opening::start(url, options)?;
        let (server, writing, reading) = wait(opening.for_writing())?;
        let notifier = Notifier::start(&server);
        let pool = Arc::new(Pool::new(Arc::clone(&server), reading));
        Ok((PostgresWriter::new(server, notifier, writing), Arc::new(PostgresRepository::new(pool))))
    }

    /// Opens the log at `url` for reading, whoever writes it.
    ///
    /// # Errors
    ///
    /// [`PostgresOpenError`] says what is there instead.
    pub fn open_read_only(
        url: &PostgresUrl,
        options: &PostgresOptions,
    ) -> Result<Arc<PostgresRepository>, PostgresOpenError> {
        let opening = Opening::start(url, options)?;
        let (server, reading) = wait(opening.for_reading())?;
        Ok(Arc::new(PostgresRepository::new(Arc::new(Pool::new(server, reading)))))
    }
}

/// What a log is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Reading,
    Writing,
}

/// A log on the way to being open.
pub(crate) struct Opening {
    url: PostgresUrl,
    server: Arc<Server>,
}

impl Opening {
    pub(crate) fn start(url: &PostgresUrl, options: &PostgresOptions) -> Result<Self, PostgresOpenError> {
        let server = Server::start(url.clone(), options.clone()).map_err(PostgresOpenError::NoThread)?;
        Ok(Self { url: url.clone(), server })
    }

    async fn for_writing(self) -> Result<(Arc<Server>, Session, Session), PostgresOpenError> {
        let session = self.migrated().await?;
        self.check_move(&session, Use::Writing).await?;
        let reading = self.connect().await?;
        Ok((self.server, session, reading))
    }

    async fn for_reading(self) -> Result<(Arc<Server>, Session), PostgresOpenError> {
        let session = self.existing().await?;
        self.check_move(&session, Use::Reading).await?;
        Ok((self.server, session))
    }

    /// Opens a log that is to be moved away, or was.
    pub(crate) async fn for_moving(self) -> Result<(Arc<Server>, Session), PostgresOpenError> {
        self.for_reading().await
    }

    /// Opens what is there for a log that arrives, and makes tables if there are none.
    pub(crate) async fn for_arriving(self) -> Result<(Arc<Server>, Session), PostgresOpenError> {
        let session = self.migrated().await?;
        Ok((self.server, session))
    }

    /// A session of a log that may have to be made, or brought up to date.
    async fn migrated(&self) -> Result<Session, PostgresOpenError> {
        let mut session = self.connect().await?;
        let found = self.find(&session).await?;
        if matches!(found, Found::Nothing) || matches!(found, Found::Version(version) if version < VERSION) {
            let log_id = self.server.options.log_id.unwrap_or_else(random_log_id);
            let migrated = schema::migrate(&mut session.client, self.url.schema(), log_id).await;
            self.check(migrated.map_err(|error| self.failed(error))?)?;
        } else {
            self.check(found)?;
        }
        self.check_rights(&session).await?;
        Ok(session)
    }

    /// A session of a log that is there.
    async fn existing(&self) -> Result<Session, PostgresOpenError> {
        let session = self.connect().await?;
        let found = self.find(&session).await?;
        self.check(found)?;
        Ok(session)
    }

    /// Refuses a log that is elsewhere.
    async fn check_move(&self, session: &Session, what: Use) -> Result<(), PostgresOpenError> {
        let moving = moved::find(&session.client).await;
        let url = self.url.clone();
        match moving.map_err(|error| self.failed(error))? {
            Some(Moving::Here { from }) => Err(PostgresOpenError::Arriving { url, from }),
            Some(Moving::Away { to }) if what == Use::Writing => Err(PostgresOpenError::Moved { url, to }),
            _ => Ok(()),
        }
    }

    /// Connects; a server that is about to be there is waited for, and one that did not answer in time is asked again.
    async fn connect(&self) -> Result<Session, PostgresOpenError> {
        let url = self.url.clone();
        let deadline = Instant::now() + 2 * self.server.options.connect_max;
        self.server.connect_until(deadline).await.map_err(|error| match error {
            ConnectError::Unreachable(source) => PostgresOpenError::Unreachable { url, source },
            ConnectError::Refused(source) => PostgresOpenError::Refused { url, source: Box::new(source) },
            ConnectError::Unfit(unfit) => PostgresOpenError::Unfit { url, unfit },
        })
    }

    async fn find(&self, session: &Session) -> Result<Found, PostgresOpenError> {
        let found = schema::find(&session.client, self.url.schema()).await;
        found.map_err(|error| self.failed(error))
    }

    /// Whether the role may write what is there.
    async fn check_rights(&self, session: &Session) -> Result<(), PostgresOpenError> {
        match schema::missing_rights(&session.client).await.map_err(|error| self.failed(error))? {
            Some(missing) => Err(PostgresOpenError::ReadOnly { url: self.url.clone(), missing }),
            None => Ok(()),
        }
    }

    /// Whether what is there can be used as it is.
    fn check(&self, found: Found) -> Result<(), PostgresOpenError> {
        let (url, known) = (self.url.clone(), VERSION);
        Err(match found {
            Found::Version(VERSION) => return Ok(()),
            Found::Version(found) if found > VERSION => PostgresOpenError::Newer { url, found, known },
            Found::Version(found) => PostgresOpenError::Older { url, found, known },
            Found::Nothing => PostgresOpenError::Missing { url },
            Found::Foreign => PostgresOpenError::Foreign { url },
        })
    }

    fn failed(&self, error: Error) -> PostgresOpenError {
        let url = self.url.clone();
        match error.code() {
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                PostgresOpenError::Denied { url, source: Box::new(error) }
            }
            _ => PostgresOpenError::Store { url, source: store_error(error) },
        }
    }
}

fn random_log_id() -> LogId {
    // The low 80 bits of a ULID are random.
    let bits = IdGenerator::system().next_id().as_u128() & u128::from(u64::MAX);
    LogId::from_random(u64::try_from(bits).unwrap_or(u64::MAX))
}
