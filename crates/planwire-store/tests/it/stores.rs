//! The stores under test, each fresh and empty.

use std::path::Path;
use std::sync::Arc;

use planwire_store::{
    EventRepository, LogWriter, MemoryStore, OpenOptions, SqliteRepository, SqliteStore, SqliteWriter,
};

use crate::author::log_id;

/// One empty log.
pub(crate) struct Store {
    pub(crate) writer: Box<dyn LogWriter>,
    pub(crate) repository: Arc<dyn EventRepository>,
    _folder: Option<tempfile::TempDir>,
}

pub(crate) fn memory() -> Store {
    let (writer, repository) = MemoryStore::open(log_id());
    Store { writer, repository, _folder: None }
}

pub(crate) fn sqlite() -> Store {
    let folder = tempfile::tempdir().unwrap();
    let (writer, repository) = open(&folder.path().join("default.db"));
    Store { writer: Box::new(writer), repository, _folder: Some(folder) }
}

pub(crate) fn open(path: &Path) -> (SqliteWriter, Arc<SqliteRepository>) {
    SqliteStore::open(path, &options()).unwrap()
}

pub(crate) fn options() -> OpenOptions {
    OpenOptions { log_id: Some(log_id()), ..OpenOptions::default() }
}
