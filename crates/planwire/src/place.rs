//! The data place: the folder that holds the log, its lock and the reports.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use planwire_store::{
    Address, Auditable, EventRepository, LockFile, OpenError, SqliteRepository, WitnessSays,
};
#[cfg(feature = "postgres")]
use planwire_store::{PostgresOpenError, PostgresOptions, PostgresStore};

use crate::client::Client;
use crate::config::Database;
use crate::failure::{Exit, Failure};

/// Name of the log that commands use.
const LOG_NAME: &str = "default";

/// How long a process that holds the log may take to say where its server answers.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause between two looks at the lock.
const ADDRESS_PAUSE: Duration = Duration::from_millis(50);

/// The process that writes the log.
#[derive(Debug)]
pub(crate) struct Holder {
    /// Its process id.
    pub(crate) pid: u32,
    /// Its server, if it has one.
    pub(crate) client: Option<Client>,
}

/// The folder that holds the log: what the configuration says, else `$XDG_DATA_HOME/planwire`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    folder: PathBuf,
    /// Where the log lies if it is no file of the folder. Then nobody holds it: every command opens it itself.
    database: Option<Database>,
}

impl Place {
    /// Finds the data place; `explicit` comes from the configuration.
    ///
    /// # Errors
    ///
    /// Exit code 2 if nothing names a place.
    pub(crate) fn find(explicit: Option<PathBuf>) -> Result<Self, Failure> {
        Self::find_in(explicit, |name| std::env::var_os(name))
    }

    fn find_in(explicit: Option<PathBuf>, env: impl Fn(&str) -> Option<OsString>) -> Result<Self, Failure> {
        let named = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        // The XDG specification says that a relative path is to be ignored.
        let xdg = || named("XDG_DATA_HOME").filter(|path| path.is_absolute());
        let home = || named("HOME").map(|home| home.join(".local/share"));
        let folder =
            explicit.or_else(|| xdg().or_else(home).map(|data| data.join("planwire"))).ok_or_else(|| {
                Failure::usage("there is no place for data: HOME is not set")
                    .hint("name one with --data DIR or PLANWIRE_DATA")
            })?;
        // What is said of it later must not depend on where it is read.
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        Ok(Self { folder, database: None })
    }

    /// The same place with its log in a database.
    pub(crate) fn with_database(self, database: Option<Database>) -> Self {
        Self { database, ..self }
    }

    /// The database in which the log lies, if it is no file.
    pub(crate) const fn database_url(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// What people call the log: its database, or the folder of its file.
    pub(crate) fn name(&self) -> String {
        self.database.as_ref().map_or_else(|| self.folder.display().to_string(), ToString::to_string)
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What a command line needs so that it finds this place; nothing if it does by itself.
    pub(crate) fn flag(&self) -> String {
        let named = std::env::var_os("PLANWIRE_DATA").filter(|data| !data.is_empty()).map(PathBuf::from);
        let folder = match Self::find(named) {
            Ok(found) if found.folder == self.folder => String::new(),
            _ => format!(" --data '{}'", self.folder.display()),
        };
        let told = std::env::var_os("PLANWIRE_DB").is_some_and(|database| !database.is_empty());
        match &self.database {
            Some(database) if !told => format!("{folder} --db '{database}'"),
            _ => folder,
        }
    }

    /// The database.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder.join(format!("{LOG_NAME}.db"))
    }

    /// Where the log lies.
    pub(crate) fn address(&self) -> Address {
        match &self.database {
            #[cfg(feature = "postgres")]
            Some(database) => Address::Postgres(database.url.clone()),
            _ => Address::File(self.database()),
        }
    }

    /// The folder of reports.
    pub(crate) fn reports(&self) -> PathBuf {
        self.folder.join("reports")
    }

    /// Holds the working folders of plans whose documents come over the network.
    pub(crate) fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// Who writes the log; none if nobody does.
    ///
    /// # Errors
    ///
    /// Exit code 74 if the lock file cannot be read.
    pub(crate) fn holder(&self) -> Result<Option<Holder>, Failure> {
        if self.database.is_some() {
            return Ok(None);
        }
        let held = LockFile::holder(&LockFile::path_of(&self.database()));
        let Some(info) = held.map_err(|error| Failure::new(Exit::Storage, error))? else { return Ok(None) };
        let client = info.url.map(|url| Client::new(&url, info.token)).transpose()?;
        Ok(Some(Holder { pid: info.pid, client }))
    }

    /// The server that writes the log; none if nobody writes it. A process that has just begun is given time to say
    /// where it answers.
    ///
    /// # Errors
    ///
    /// Exit code 74 if a process without a server writes the log.
    pub(crate) async fn server(&self) -> Result<Option<Client>, Failure> {
        let asked = Instant::now();
        loop {
            let Some(holder) = self.holder()? else { return Ok(None) };
            if let Some(client) = holder.client {
                return Ok(Some(client));
            }
            if asked.elapsed() > ADDRESS_TIMEOUT {
                return Err(self.held_without_server(holder.pid));
            }
            tokio::time::sleep(ADDRESS_PAUSE).await;
        }
    }

    fn held_without_server(&self, pid: u32) -> Failure {
        Failure::storage(format!(
            "the log in {} is written by process {pid}, which serves nobody",
            self.folder.display()
        ))
        .hint("wait until it has ended, or name another place with --data DIR")
    }

    /// Opens the log for reading; none if there is no log yet.
    ///
    /// # Errors
    ///
    /// Exit code 74 if the file is no log, or damaged.
    pub(crate) fn open_reader(&self) -> Result<Option<Arc<dyn EventRepository>>, Failure> {
        #[cfg(feature = "postgres")]
        if let Some(database) = &self.database {
            return match PostgresStore::open_read_only(&database.url, &PostgresOptions::default()) {
                Ok(repository) => Ok(Some(repository)),
                Err(PostgresOpenError::Missing { .. }) => Ok(None),
                Err(error) => Err(Failure::new(Exit::Storage, error)),
            };
        }
        match SqliteRepository::open_read_only(&self.database()) {
            Ok(repository) => Ok(Some(repository)),
            Err(OpenError::Missing { .. }) => Ok(None),
            Err(error) => Err(Failure::new(Exit::Storage, error)),
        }
    }

    /// Opens the log for reading.
    ///
    /// # Errors
    ///
    /// As for [`Place::open_reader`]; exit code 1 if there is no log yet.
    pub(crate) fn require_reader(&self) -> Result<Arc<dyn EventRepository>, Failure> {
        self.open_reader()?.ok_or_else(|| self.no_log())
    }

    /// There is no log yet.
    pub(crate) fn no_log(&self) -> Failure {
        Failure::failed(format!("there is no log in {} yet", self.name()))
            .hint("`planwire demo` and `planwire serve` begin one; --data DIR names another place")
    }

    /// Opens the log for verifying, as it lies there; also says what its witness says, if it can have one.
    ///
    /// # Errors
    ///
    /// Exit code 74 if it cannot be opened, 1 if there is no log yet.
    pub(crate) fn open_to_verify(&self) -> Result<(Arc<dyn Auditable>, Option<WitnessSays>), Failure> {
        #[cfg(feature = "postgres")]
        if let Some(database) = &self.database {
            return match PostgresStore::open_read_only(&database.url, &PostgresOptions::default()) {
                Ok(repository) => Ok((repository, None)),
                Err(PostgresOpenError::Missing { .. }) => Err(self.no_log()),
                Err(error) => Err(Failure::new(Exit::Storage, error)),
            };
        }
        match SqliteRepository::open_to_verify(&self.database()) {
            Ok((repository, says)) => Ok((repository, Some(says))),
            Err(OpenError::Missing { .. }) => Err(self.no_log()),
            Err(error) => Err(Failure::new(Exit::Storage, error)),
        }
    }

    /// Creates the folder, readable only by its owner, if it is not there.
    ///
    /// # Errors
    ///
    /// Exit code 74 if it cannot be created.
    pub(crate) fn create(&self) -> Result<(), Failure> {
        create_private(&self.folder)
    }

    /// Creates the folder of reports and gives its absolute path.
    ///
    /// # Errors
    ///
    /// Exit code 74 if it cannot be created.
    pub(crate) fn create_reports(&self) -> Result<PathBuf, Failure> {
        let reports = self.reports();
        create_private(&reports)?;
        let absolute = reports.canonicalize();
        absolute
            .map_err(|error| Failure::storage(error).context(format!("failed to find {}", reports.display())))
    }
}

fn create_private(folder: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt as _;
    let created = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    created.map_err(|error| {
        Failure::storage(error)
            .context(format!("failed to create {}", folder.display()))
            .hint("name another place with --data DIR or PLANWIRE_DATA")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(explicit: Option<&str>, env: &[(&str, &str)], expected: Option<&str>) {
        let find = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        let place = Place::find_in(explicit.map(PathBuf::from), find);
        assert_eq!(place.ok().map(|place| place.folder), expected.map(PathBuf::from));
    }

    #[test]
    fn place_is_the_configured_one_else_that_of_xdg_else_below_home() {
        check(Some("/d"), &[("HOME", "/h")], Some("/d"));
        check(None, &[("XDG_DATA_HOME", "/x"), ("HOME", "/h")], Some("/x/planwire"));
        check(None, &[("XDG_DATA_HOME", "relative"), ("HOME", "/h")], Some("/h/.local/share/planwire"));
        check(None, &[("XDG_DATA_HOME", ""), ("HOME", "")], None);
    }

    #[test]
    fn folders_are_created_for_their_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let place = Place { folder: folder.path().join("a/b"), database: None };
        place.create().unwrap();
        assert!(place.create_reports().unwrap().ends_with("a/b/reports"));
        let mode = std::fs::metadata(place.folder()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(place.database(), folder.path().join("a/b/default.db"));
    }
}
