//! The stores under test, each fresh and empty.

use std::path::Path;
use std::sync::Arc;

use planwire_store::{
    EventRepository, LogWriter, MemoryStore, OpenOptions, PostgresOptions, PostgresRepository, PostgresStore,
    PostgresWriter, SqliteRepository, SqliteStore, SqliteWriter,
};

use crate::author::log_id;
use crate::cluster::Cluster;

/// One empty log.
pub(crate) struct Store {
    pub(crate) writer: Box<dyn LogWriter>,
    pub(crate) repository: Arc<dyn EventRepository>,
    _home: Home,
}

/// What is gone with the store.
#[expect(dead_code, reason = "held until it is dropped")]
enum Home {
    Memory,
    Folder(tempfile::TempDir),
    Cluster(Cluster),
    /// With the cluster that several stores share.
    Elsewhere,
}

pub(crate) fn memory() -> Store {
    let (writer, repository) = MemoryStore::open(log_id());
    Store { writer, repository, _home: Home::Memory }
}

pub(crate) fn sqlite() -> Store {
    let folder = tempfile::tempdir().unwrap();
    let (writer, repository) = open(&folder.path().join("default.db"));
    Store { writer: Box::new(writer), repository, _home: Home::Folder(folder) }
}

/// `None` where there is no PostgreSQL.
pub(crate) fn postgres(test: &str) -> Option<Store> {
    let cluster = Cluster::start(test)?;
    let store = postgres_in(&cluster, "planwire");
    Some(Store { _home: Home::Cluster(cluster), ..store })
}

pub(crate) fn postgres_in(cluster: &Cluster, schema: &str) -> Store {
    let (writer, repository) = open_postgres(&cluster.url(schema));
    Store { writer: Box::new(writer), repository, _home: Home::Elsewhere }
}

pub(crate) fn open_postgres(url: &str) -> (PostgresWriter, Arc<PostgresRepository>) {
    PostgresStore::open(&url.parse().unwrap(), &postgres_options()).unwrap()
}

pub(crate) fn postgres_options() -> PostgresOptions {
    PostgresOptions { log_id: Some(log_id()), ..PostgresOptions::default() }
}

pub(crate) fn open(path: &Path) -> (SqliteWriter, Arc<SqliteRepository>) {
    SqliteStore::open(path, &options()).unwrap()
}

pub(crate) fn options() -> OpenOptions {
    OpenOptions { log_id: Some(log_id()), ..OpenOptions::default() }
}
