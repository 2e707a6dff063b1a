//! One connection, set up so that what it acknowledges is on disk and what it holds is let go of.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::poll_fn;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{
    AsyncMessage, Client, Config, Connection, Error, NoTls, SimpleQueryMessage, SimpleQueryRow, Socket,
    Statement,
};

use crate::contract::StoreError;
use crate::postgres::error::store_error;
use crate::postgres::limits::{KEEPALIVE_SECONDS, SERVER_VERSION_MIN};
use crate::postgres::options::PostgresOptions;

/// Why a session was not begun.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Nobody answers, or not yet.
    #[error("the server does not answer")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server answers, and will not have us.
    #[error("the server refuses the connection")]
    Refused(#[source] Error),
    /// The server is none to which a log may be entrusted.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

/// Why a server may not hold a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// Too old.
    #[error("the server is PostgreSQL {found}; version {} and newer will do", SERVER_VERSION_MIN / 10_000)]
    TooOld {
        /// Its version.
        found: String,
    },
    /// It acknowledges what is not on disk.
    #[error(
        "the server runs with {setting}=off and loses acknowledged events in a crash of its machine; set it to on"
    )]
    NotDurable {
        /// The setting that says so.
        setting: &'static str,
    },
    /// It could not hold every text.
    #[error("the database has the encoding {found}; it must be UTF8")]
    Encoding {
        /// Its encoding.
        found: String,
    },
    /// It only repeats what another server wrote, some time ago.
    #[error("the server is a standby of another one; name the primary")]
    Standby,
}

impl From<ConnectError> for StoreError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Unreachable(source) => Self::Unreachable(source),
            error => Self::Failed(Box::new(error)),
        }
    }
}

/// The server's side of a session, so that another session can end it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backend {
    pub(crate) pid: i32,
    /// When it began: a process id is used again.
    pub(crate) started: String,
}

/// One connection. Dropping it closes the connection, whatever is under way.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) backend: Backend,
    statements: HashMap<&'static str, Statement>,
    driver: AbortHandle,
}

impl Session {
    /// Connects and sets up. Runs on the runtime that then drives the connection. Notifications go to `told`, if there
    /// is room.
    pub(crate) async fn open(
        config: &Config,
        schema: &str,
        options: &PostgresOptions,
        told: Option<mpsc::Sender<String>>,
    ) -> Result<Self, ConnectError> {
        let (client, connection) = config.connect(NoTls).await.map_err(connect_error)?;
        let driver = tokio::spawn(drive(connection, told)).abort_handle();
        let mut session = Self {
            client,
            backend: Backend { pid: 0, started: String::new() },
            statements: HashMap::new(),
            driver,
        };
        session.set_up(schema, options).await?;
        Ok(session)
    }

    /// Sets what a session needs and looks at what a server must be: one round trip.
    async fn set_up(&mut self, schema: &str, options: &PostgresOptions) -> Result<(), ConnectError> {
        let answers = self.client.simple_query(&set_up_sql(schema, options)).await.map_err(connect_error)?;
        let row = answers.into_iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let row =
            row.ok_or_else(|| ConnectError::Unreachable("the server did not tell its settings".into()))?;
        check(&row)?;
        let text = |name| row.get(name).unwrap_or_default().to_owned();
        self.backend = Backend { pid: text("pid").parse().unwrap_or(0), started: text("started") };
        Ok(())
    }

    /// A statement, prepared once for each session.
    pub(crate) async fn prepared(&mut self, sql: &'static str) -> Result<Statement, Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }
}

/// Moves bytes until the connection ends. Whoever asked something hears of its end too.
async fn drive(mut connection: Connection<Socket, NoTlsStream>, told: Option<mpsc::Sender<String>>) {
    let mut messages = poll_fn(move |context| connection.poll_message(context));
    while let Some(Ok(message)) = messages.next().await {
        if let (AsyncMessage::Notification(notification), Some(told)) = (message, &told) {
            let _ = told.try_send(notification.payload().to_owned());
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// An error while connecting: the server is not there, is starting or stopping, has no connection left; or it is there
/// and says no.
fn connect_error(error: Error) -> ConnectError {
    match error.code().map(|code| code.code()) {
        None => ConnectError::Unreachable(Box::new(error)),
        // Operator intervention, connection exceptions, too many connections.
        Some(code) if code.starts_with("57") || code.starts_with("08") || code == "53300" => {
            ConnectError::Unreachable(Box::new(error))
        }
        Some(_) => ConnectError::Refused(error),
    }
}

fn set_up_sql(schema: &str, options: &PostgresOptions) -> String {
    let ms = |time: Duration| time.as_millis();
    let (idle, interval, count) = KEEPALIVE_SECONDS;
    // Never weaker than what was acknowledged must be; READ COMMITTED makes the comparison of heads see a head that
    // moved meanwhile instead of failing.
    format!(
        "SET search_path TO \"{schema}\";\
         SET synchronous_commit TO on;\
         SET default_transaction_isolation TO 'read committed';\
         SET default_transaction_read_only TO off;\
         SET lock_timeout TO {};\
         SET statement_timeout TO {};\
         SET idle_in_transaction_session_timeout TO {};\
         SET idle_session_timeout TO 0;\
         SET tcp_keepalives_idle TO {idle};\
         SET tcp_keepalives_interval TO {interval};\
         SET tcp_keepalives_count TO {count};\
         SET jit TO off;\
         SELECT current_setting('server_version_num') AS version, current_setting('server_version') AS version_text, \
           current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes, \
           current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS standby, \
           pg_backend_pid() AS pid, \
           (SELECT backend_start FROM pg_stat_get_activity(pg_backend_pid())) AS started",
        ms(options.lock_wait_max),
        ms(options.statement_max),
        ms(options.head_hold_max),
    )
}

/// Whether the server may hold a log.
fn check(row: &SimpleQueryRow) -> Result<(), Unfit> {
    let text = |name| row.get(name).unwrap_or_default();
    fit(text("version"), text("version_text"), text("fsync"), text("encoding"), text("standby"))?;
    if text("full_page_writes") == "off" {
        // Sound on a file system that never overwrites, which nobody can see from here.
        tracing::warn!(
            "PostgreSQL runs with full_page_writes=off; unless its file system never tears a page, a crash of the \
             machine damages the log"
        );
    }
    Ok(())
}

fn fit(version: &str, version_text: &str, fsync: &str, encoding: &str, standby: &str) -> Result<(), Unfit> {
    if version.parse::<i32>().is_ok_and(|version| version < SERVER_VERSION_MIN) {
        return Err(Unfit::TooOld { found: version_text.to_owned() });
    }
    if fsync == "off" {
        return Err(Unfit::NotDurable { setting: "fsync" });
    }
    if encoding != "UTF8" {
        return Err(Unfit::Encoding { found: encoding.to_owned() });
    }
    if standby == "t" { Err(Unfit::Standby) } else { Ok(()) }
}

/// Why a statement of a read failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// PostgreSQL says no, or nothing.
    Sql(Error),
    /// What it says is no log.
    Store(StoreError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Sql(error) => store_error(error),
            Failure::Store(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_may_not_hold_a_log_are_told_apart() {
        let check = |version, fsync, encoding, standby| match fit(version, "13.4", fsync, encoding, standby) {
            Ok(()) => "fit".to_owned(),
            Err(unfit) => unfit.to_string(),
        };
        assert_eq!(check("140000", "on", "UTF8", "f"), "fit");
        assert_eq!(
            check("130004", "on", "UTF8", "f"),
            "the server is PostgreSQL 13.4; version 14 and newer will do"
        );
        assert!(check("150000", "off", "UTF8", "f").contains("fsync=off"));
        assert!(check("150000", "on", "SQL_ASCII", "f").contains("SQL_ASCII"));
        assert!(check("150000", "on", "UTF8", "t").contains("standby"));
    }
}
