//! What a file must be before it is used: ours, of a version that we know, held by nobody else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use planwire_event::{IdGenerator, LogId};
use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use crate::contract::{Head, StoreError};
use crate::lock::{LockError, LockFile, LockInfo, private};
use crate::sqlite::checkpoint::{Checkpointer, empty_wal};
use crate::sqlite::error::store_error;
use crate::sqlite::heed;
use crate::sqlite::loss::Loss;
use crate::sqlite::moved;
use crate::sqlite::readers::Readers;
use crate::sqlite::repository::SqliteRepository;
use crate::sqlite::schema::{self, APPLICATION_ID, VERSION};
use crate::sqlite::witness;
use crate::sqlite::writer::SqliteWriter;

/// How long a statement waits for another process that holds SQLite's own lock, if nothing else is asked for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How a SQLite log is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Id of the log if the file is new; random if none.
    pub log_id: Option<LogId>,
    /// What the lock file says of the holder. A server adds its address later, see [`LockFile::update`].
    pub holder: LockInfo,
    /// How long a write waits for another program that holds SQLite's own lock; 5 s by default.
    pub busy_timeout: Duration,
    /// Bytes that the database file may take, rounded to pages; beyond it writing is refused as on a full disk. None
    /// by default.
    pub file_bytes_max: Option<u64>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            log_id: None,
            holder: LockInfo::this_process(),
            busy_timeout: BUSY_TIMEOUT,
            file_bytes_max: None,
        }
    }
}

/// Why a SQLite log was not opened. The texts are for the person who named the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process writes it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The folder is missing and could not be made, or may not be used.
    #[error("folder {} can not be used for the log", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no file to read.
    #[error("there is no log at {}; `planwire run` and `planwire serve` make one", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be opened.
    #[error("log {} can not be opened", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Written by a later version of this program.
    #[error(
        "log {} has version {found} and this Planwire knows versions up to {known}; use the newer Planwire that wrote it, or another file",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i32,
        /// The highest version known here.
        known: i32,
    },
    /// Written by an earlier version of this program, and may not be changed by a reader.
    #[error(
        "log {} has version {found} and this Planwire reads version {known}; `planwire serve` brings it up to date",
        path.display()
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i32,
        /// The version known here.
        known: i32,
    },
    /// A SQLite database of another program.
    #[error(
        "{} is a database of another program (application id {application_id:#010x}), not a log of Planwire; nothing was changed, name another file",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        application_id: i32,
    },
    /// No SQLite database.
    #[error("{} is not a database; nothing was changed, name another file", path.display())]
    NotDatabase {
        /// The file.
        path: PathBuf,
    },
    /// It is not the database that was written here, or no longer all of it.
    #[error(
        "log {} is not what its witness {} saw: {loss}; nothing was changed. Put the right database back, or go on \
         with what is there by `planwire accept-loss`",
        path.display(),
        witness::path_of(path).display()
    )]
    Loss {
        /// The file.
        path: PathBuf,
        /// What is missing.
        loss: Loss,
    },
    /// It was moved, and takes no events any more.
    #[error(
        "log {} was moved to {to} and takes no events any more; name that place: --db URL or --data DIR",
        path.display()
    )]
    Moved {
        /// The file.
        path: PathBuf,
        /// Where the log is.
        to: String,
    },
    /// It is being moved here, and that was not finished.
    #[error(
        "log {} is on its way here from {from}, and that was not finished; repeat `planwire move` there",
        path.display()
    )]
    Arriving {
        /// The file.
        path: PathBuf,
        /// Where the log is.
        from: String,
    },
    /// The store failed.
    #[error("log {} can not be opened", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: StoreError,
    },
}

/// Opens logs that lie in SQLite files.
///
/// ```
/// use planwire_store::{LogWriter as _, OpenOptions, SqliteStore};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("default.db");
/// let (mut writer, _repository) = SqliteStore::open(&path, &OpenOptions::default()).unwrap();
/// assert_eq!(writer.head().unwrap().position.get(), 0);
/// let second = SqliteStore::open(&path, &OpenOptions::default()).unwrap_err();
/// assert!(second.to_string().contains("is held by process"));
/// ```
#[derive(Debug)]
pub struct SqliteStore;

impl SqliteStore {
    /// Opens the log at `path` for writing, makes it if there is none, and holds its lock until the writer is dropped.
    ///
    /// Everything that a killed process left in the WAL is on disk before this returns. The witness, the file beside
    /// it with `.head` at the end of its name, is compared first and made if there is none.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what the file is instead, or who holds it; [`OpenError::Loss`] what is missing.
    pub fn open(
        path: &Path,
        options: &OpenOptions,
    ) -> Result<(SqliteWriter, Arc<SqliteRepository>), OpenError> {
        make_folder(path)?;
        let lock = LockFile::acquire(&LockFile::path_of(path), &options.holder)?;
        let found = heed::witness(path)?;
        let mut connection = make_and_open(path, options)?;
        let witness = heed::start(path, &found, &connection)?;
        let failed = |source| OpenError::Store { path: path.to_owned(), source };
        let readers = Readers::start(path).map_err(failed)?;
        let checkpointer = Checkpointer::start(path, &mut connection).map_err(failed)?;
        let writer = SqliteWriter::new(connection, checkpointer, witness, Arc::new(lock));
        Ok((writer, Arc::new(SqliteRepository::new(readers))))
    }
}

impl SqliteRepository {
    /// Opens the log at `path` for reading, whoever writes it, and does not hold its lock.
    ///
    /// If nobody writes it, what a killed process left in its WAL is brought to disk first: what is shown is not lost
    /// to a power cut afterwards.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what the file is instead; [`OpenError::Loss`] what is missing.
    pub fn open_read_only(path: &Path) -> Result<Arc<Self>, OpenError> {
        heed::existing(path)?;
        settle(path)?;
        let readers =
            Readers::start(path).map_err(|source| OpenError::Store { path: path.to_owned(), source })?;
        Ok(Arc::new(Self::new(readers)))
    }
}

/// Refuses what is no log of the version that is read here.
pub(crate) fn check_version(path: &Path) -> Result<(), OpenError> {
    if !path.exists() {
        return Err(OpenError::Missing { path: path.to_owned() });
    }
    check_version_in(path, &connect_read_only(path).map_err(|error| open_error(path, error))?)
}

/// The same of a file that is open.
pub(crate) fn check_version_in(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    match version(path, connection)? {
        Some(VERSION) => moved::refuse_arriving(path, connection),
        Some(found) => Err(OpenError::Older { path: path.to_owned(), found, known: VERSION }),
        None => Err(OpenError::Missing { path: path.to_owned() }),
    }
}

/// Makes the folder of `path`; only the user may look into one that is new.
pub(crate) fn make_folder(path: &Path) -> Result<(), OpenError> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    let missing: Vec<_> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|source| OpenError::Folder { path: folder.to_owned(), source })?;
    missing.into_iter().filter_map(Path::parent).for_each(sync_folder);
    Ok(())
}

/// Brings the names in a folder to disk: a file that was synced is lost all the same if its name is not there after a
/// power cut.
pub(crate) fn sync_folder(folder: &Path) {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if cfg!(unix) {
        // Not every file system can; SQLite, which does this for its WAL, takes no notice either.
        let _ = fs::File::open(folder).and_then(|folder| folder.sync_all());
    }
}

/// Makes the file if there is none, and opens it under the lock.
pub(crate) fn make_and_open(path: &Path, options: &OpenOptions) -> Result<Connection, OpenError> {
    private(fs::OpenOptions::new().write(true).create(true).truncate(false))
        .open(path)
        .map_err(|source| OpenError::File { path: path.to_owned(), source })?;
    path.parent().into_iter().for_each(sync_folder);
    open_writing(path, options)
}

/// Opens and migrates under the lock; ends with everything on disk.
pub(crate) fn open_writing(path: &Path, options: &OpenOptions) -> Result<Connection, OpenError> {
    let failed = |error| open_error(path, error);
    let mut connection = connect(path).map_err(failed)?;
    connection.busy_timeout(options.busy_timeout).map_err(failed)?;
    let found = version(path, &connection)?;
    moved::refuse(path, &connection)?;
    if found.is_none() {
        // Only an empty file takes it.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(failed)?;
    }
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).map_err(failed)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    // Darwin's fsync leaves data in the drive; elsewhere these change nothing.
    connection.pragma_update(None, "fullfsync", "ON").map_err(failed)?;
    connection.pragma_update(None, "checkpoint_fullfsync", "ON").map_err(failed)?;
    let log_id = options.log_id.unwrap_or_else(random_log_id);
    schema::migrate(&mut connection, found.unwrap_or(0), |new| insert_log(new, log_id)).map_err(failed)?;
    checkpoint(path, &connection)?;
    if let Some(bytes) = options.file_bytes_max {
        let page: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(failed)?;
        let pages = i64::try_from(bytes.div_ceil(u64::from(page.max(1)))).unwrap_or(i64::MAX);
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).map_err(failed)?;
    }
    Ok(connection)
}

/// A connection that can write.
pub(crate) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// A connection that can not write.
pub(crate) fn connect_read_only(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// The version of a file of ours; none if it is empty.
pub(crate) fn version(path: &Path, connection: &Connection) -> Result<Option<i32>, OpenError> {
    let failed = |error| open_error(path, error);
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let application_id = number("application_id").map_err(failed)?;
    let found = number("user_version").map_err(failed)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    match application_id {
        0 if tables == 0 && found == 0 => Ok(None),
        APPLICATION_ID if found > VERSION => {
            Err(OpenError::Newer { path: path.to_owned(), found, known: VERSION })
        }
        APPLICATION_ID => Ok(Some(found)),
        application_id => Err(OpenError::Foreign { path: path.to_owned(), application_id }),
    }
}

/// Brings what a killed process left in the WAL to disk, if nobody writes the log.
pub(crate) fn settle(path: &Path) -> Result<(), OpenError> {
    let lock = match LockFile::acquire(&LockFile::path_of(path), &LockInfo::this_process()) {
        Ok(lock) => lock,
        // Whoever holds it does this when it opens the file, and may be about to; a folder that we may not write
        // keeps its WAL as it is. Then what we are about to show is synced where it lies.
        Err(LockError::Held { .. } | LockError::Io { .. }) => return sync_wal(path),
    };
    let connection = connect(path).map_err(|error| open_error(path, error))?;
    checkpoint(path, &connection)?;
    drop(lock);
    Ok(())
}

/// Brings every frame of the WAL to disk, and moves all that nobody reads into the database: a killed process may
/// leave frames that only the page cache holds.
fn checkpoint(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    match empty_wal(connection).map_err(|error| open_error(path, error))? {
        false => Ok(()),
        // Another process reads an older state, so the WAL has to stay; then it is synced as it is.
        true => sync_wal(path),
    }
}

/// Syncs the WAL where it lies; one that is gone has been moved into the database, and synced, by whoever removed it.
pub(crate) fn sync_wal(path: &Path) -> Result<(), OpenError> {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    match fs::File::open(wal).and_then(|wal| wal.sync_all()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        synced => synced.map_err(|source| OpenError::File { path: path.to_owned(), source }),
    }
}

fn insert_log(connection: &Connection, log_id: LogId) -> rusqlite::Result<()> {
    let head = Head::empty(log_id);
    connection.execute(
        "INSERT INTO planwire_log (one, log_id, head, recorded_at, frontier, pruned_to) VALUES (1, ?1, 0, ?2, ?3, 0)",
        params![log_id.as_str(), head.recorded_at.to_string(), head.frontier.to_bytes()],
    )?;
    Ok(())
}

pub(crate) fn random_log_id() -> LogId {
    // The low 80 bits of a ULID are random.
    let bits = IdGenerator::system().next_id().as_u128() & u128::from(u64::MAX);
    LogId::from_random(u64::try_from(bits).unwrap_or(u64::MAX))
}

pub(crate) fn open_error(path: &Path, error: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotDatabase { path },
        _ => OpenError::Store { path, source: store_error(error) },
    }
}
