//! Where a log lies in PostgreSQL: the server, the database and the schema in it.
//!
//! **Invariant:** no text that this makes, not even for debugging, holds the password.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::postgres::limits::{CONNECT_MAX, KEEPALIVE_SECONDS};

/// The schema of a log whose URL names none.
pub const SCHEMA_DEFAULT: &str = "planwire";

/// Bytes of a name in PostgreSQL; longer ones would be cut.
const NAME_BYTES_MAX: usize = 63;

const PORT_DEFAULT: u16 = 5432;

/// Where a log lies: `postgres://user:password@host:port/database?schema=planwire`.
///
/// The database is a log's home and its schema is the log: several logs in one database have several schemas. Other
/// parameters are those of libpq; a folder as `host` is that of a Unix socket.
///
/// ```
/// let url: planwire_store::PostgresUrl = "postgres://me:secret@localhost/plans?schema=audit".parse().unwrap();
/// assert_eq!(url.to_string(), "postgres://me@localhost:5432/plans?schema=audit");
/// ```
#[derive(Clone)]
pub struct PostgresUrl {
    config: Arc<Config>,
    schema: Arc<str>,
}

/// Why a text is no [`PostgresUrl`]. It never holds the text, in which a password may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresUrlError {
    /// It does not begin as such a URL does.
    #[error("the database is given as postgres://user@host:port/database?schema=planwire")]
    Scheme,
    /// It can not be read.
    #[error("the URL of the database can not be read: {reason}")]
    Malformed {
        /// What is wrong.
        reason: &'static str,
    },
    /// The schema has a name that would have to be quoted.
    #[error(
        "a schema is named by a small letter or _ and then small letters, digits and _, at most 63 in all"
    )]
    Schema,
    /// Not exactly one server.
    #[error("the URL of the database names {hosts} servers; it must name one")]
    Hosts {
        /// How many.
        hosts: usize,
    },
    /// The connection is to be encrypted, which this version can not.
    #[error(
        "the connection to the database is to be encrypted, which this version can not do; reach the server by a \
         Unix socket or a loopback address, or through a tunnel"
    )]
    Tls,
    /// Events and passwords would cross a network as they are.
    #[error(
        "the server {host} is another machine, and the connection would not be encrypted; add sslmode=disable if the \
         network between is trusted"
    )]
    Open {
        /// The server.
        host: String,
    },
}

impl PostgresUrl {
    /// The schema in which the log lies.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// What the driver is told.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }
}

impl FromStr for PostgresUrl {
    type Err = PostgresUrlError;

    fn from_str(text: &str) -> Result<Self, PostgresUrlError> {
        if !(text.starts_with("postgres://") || text.starts_with("postgresql://")) {
            return Err(PostgresUrlError::Scheme);
        }
        let (rest, schema) = take_schema(text)?;
        // The driver's own message may quote what it could not read.
        let malformed =
            PostgresUrlError::Malformed { reason: "a part is missing, or is none that PostgreSQL knows" };
        let mut config: Config = rest.parse().map_err(|_| malformed)?;
        check_server(&config)?;
        let (idle, interval, retries) = KEEPALIVE_SECONDS;
        let seconds = std::time::Duration::from_secs;
        config
            .ssl_mode(SslMode::Disable)
            .connect_timeout(CONNECT_MAX)
            .keepalives_idle(seconds(idle))
            .keepalives_interval(seconds(interval))
            .keepalives_retries(retries)
            .tcp_user_timeout(seconds(idle + interval * u64::from(retries)));
        Ok(Self { config: Arc::new(config), schema: schema.into() })
    }
}

/// Takes `schema=NAME` out of the parameters, since it is ours.
fn take_schema(text: &str) -> Result<(String, String), PostgresUrlError> {
    let Some((server, parameters)) = text.split_once('?') else {
        return Ok((text.to_owned(), SCHEMA_DEFAULT.to_owned()));
    };
    let (ours, others): (Vec<_>, Vec<_>) =
        parameters.split('&').partition(|parameter| parameter.starts_with("schema="));
    let schema = match *ours {
        [] => SCHEMA_DEFAULT,
        [one] => one.trim_start_matches("schema="),
        _ => return Err(PostgresUrlError::Malformed { reason: "it names several schemas" }),
    };
    let first = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    let named = schema.bytes().next().is_some_and(first)
        && schema.bytes().all(|byte| first(byte) || byte.is_ascii_digit())
        && schema.len() <= NAME_BYTES_MAX
        && !schema.starts_with("pg_");
    if !named {
        return Err(PostgresUrlError::Schema);
    }
    Ok((format!("{server}?{}", others.join("&")), schema.to_owned()))
}

fn check_server(config: &Config) -> Result<(), PostgresUrlError> {
    let hosts = config.get_hosts().len().max(config.get_hostaddrs().len());
    if hosts != 1 {
        return Err(PostgresUrlError::Hosts { hosts });
    }
    if config.get_ssl_mode() == SslMode::Require {
        return Err(PostgresUrlError::Tls);
    }
    if config.get_ssl_mode() == SslMode::Disable || is_here(config) {
        return Ok(());
    }
    let host = config.get_hosts().first().map(host_text);
    Err(PostgresUrlError::Open { host: host.unwrap_or_else(|| "of the address".to_owned()) })
}

/// Whether the server is reached without a network.
fn is_here(config: &Config) -> bool {
    let name = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    };
    match config.get_hostaddrs() {
        [] => config.get_hosts().iter().all(name),
        addresses => addresses.iter().all(std::net::IpAddr::is_loopback),
    }
}

fn host_text(host: &Host) -> String {
    match host {
        Host::Unix(folder) => folder.display().to_string(),
        Host::Tcp(name) => name.clone(),
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{user}@")?;
        }
        match (self.config.get_hosts(), self.config.get_hostaddrs()) {
            ([host, ..], _) => write!(f, "{}", host_text(host))?,
            ([], [address, ..]) => write!(f, "{address}")?,
            _ => {}
        }
        let port = self.config.get_ports().first().copied().unwrap_or(PORT_DEFAULT);
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
        write!(f, ":{port}/{database}?schema={}", self.schema)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let got = match text.parse::<PostgresUrl>() {
            Ok(url) => url.to_string(),
            Err(error) => error.to_string(),
        };
        assert!(got.contains(expected), "{text}: {got}");
        let debug = format!("{:?}", text.parse::<PostgresUrl>());
        assert!(!got.contains("secret") && !debug.contains("secret"), "{got} {debug}");
    }

    #[test]
    fn urls_name_a_server_a_database_and_a_schema() {
        check("postgres://u@localhost/d", "postgres://u@localhost:5432/d?schema=planwire");
        check(
            "postgresql://u:secret@127.0.0.1:5433/d?schema=a_1",
            "postgres://u@127.0.0.1:5433/d?schema=a_1",
        );
        check("postgres://u@[::1]/d?connect_timeout=3&schema=x", "postgres://u@::1:5432/d?schema=x");
        check(
            "postgres://u:secret@/d?host=/run/postgresql",
            "postgres://u@/run/postgresql:5432/d?schema=planwire",
        );
        check("postgres://u@10.0.0.7/d?sslmode=disable", "postgres://u@10.0.0.7:5432/d?schema=planwire");
        check("postgres://u@db/?hostaddr=127.0.0.1", "postgres://u@db:5432/u?schema=planwire");
        check("postgres:///?hostaddr=127.0.0.1", "postgres://127.0.0.1:5432/?schema=planwire");
    }

    #[test]
    fn what_is_refused_says_why_without_the_password() {
        check("mysql://u:secret@localhost/d", "given as postgres://");
        check("postgres://u:secret@localhost/d?schema=Audit", "small letter");
        check("postgres://u:secret@localhost/d?schema=", "small letter");
        check("postgres://u:secret@localhost/d?schema=pg_x", "small letter");
        check("postgres://u:secret@localhost/d?schema=a&schema=b", "several schemas");
        check("postgres://u:secret@localhost/d?sslmode=require", "Unix socket");
        check("postgres://u:secret@localhost/d?password=secret&colour=secret", "can not be read");
        check("postgres://u:secret@localhost,other/d", "names 2 servers");
        check("postgres://u:secret@/d", "names 0 servers");
        check("postgres://u:secret@db.example/d", "db.example is another machine");
        check("postgres:///d?hostaddr=10.0.0.7", "another machine");
    }
}
