//! A SQLite log as it lies in its file, for those who verify it.

use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use planwire_event::{Digest, Position};
use rusqlite::{Connection, ErrorCode, params};
use sha2::{Digest as _, Sha256};

use crate::contract::{BLOB_CHUNK_BYTES, Head, PAGE_EVENTS_MAX, Row, StoreError};
use crate::decoder::EventDecoder;
use crate::sqlite::Loss;
use crate::sqlite::decode::{self, event_columns};
use crate::sqlite::error::{sql_number, store_error};
use crate::sqlite::heed::{self, Look};
use crate::sqlite::open::{OpenError, check_version, sync_wal};
use crate::sqlite::readers::Readers;
use crate::sqlite::repository::SqliteRepository;
use crate::verify::{Auditable, Flaw, RowPage, digest_of};

const ROWS: &str =
    concat!("SELECT ", event_columns!(), " FROM plan_events WHERE id > ?1 ORDER BY id LIMIT ?2");

/// Findings of SQLite that are told; more of them say nothing new.
const FINDINGS_MAX: usize = 20;

/// What the witness of a log has to say.
#[derive(Debug)]
pub enum WitnessSays {
    /// The database holds all that it saw.
    Whole,
    /// There is none.
    Absent,
    /// It is damaged, as far as the file can be read.
    Damaged,
    /// Something is missing.
    Missing(Loss),
    /// The database could not be compared with it.
    Unsure(OpenError),
}

impl SqliteRepository {
    /// Opens the log at `path` for verifying: also one that its witness would refuse, and nothing in it is changed.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the file is no log.
    pub fn open_to_verify(path: &Path) -> Result<(Arc<Self>, WitnessSays), OpenError> {
        let says = match heed::look(path) {
            Ok(Look { loss: Some(loss @ Loss::Gone { .. }), .. }) => {
                return Err(OpenError::Loss { path: path.to_owned(), loss });
            }
            Ok(look) => {
                look.check_version(path)?;
                match look {
                    Look { loss: Some(loss), .. } => WitnessSays::Missing(loss),
                    Look { found, .. } if found.damaged => WitnessSays::Damaged,
                    Look { found, .. } if !found.present => WitnessSays::Absent,
                    _ => WitnessSays::Whole,
                }
            }
            Err(error) => {
                check_version(path)?;
                WitnessSays::Unsure(error)
            }
        };
        sync_wal(path)?;
        let readers =
            Readers::start(path).map_err(|source| OpenError::Store { path: path.to_owned(), source })?;
        Ok((Arc::new(Self::new(readers)), says))
    }
}

impl Auditable for SqliteRepository {
    fn head(&self) -> BoxFuture<'_, Result<Head, StoreError>> {
        self.readers().run(|connection| decode::head(connection)).boxed()
    }

    fn rows(&self, after: Position) -> BoxFuture<'_, Result<RowPage, StoreError>> {
        self.readers().run(move |connection| rows(connection, after)).boxed()
    }

    fn inspect(&self) -> BoxFuture<'_, Result<Vec<Flaw>, StoreError>> {
        self.readers().run(|connection| Ok(inspect(connection))).boxed()
    }
}

fn rows(connection: &mut Connection, after: Position) -> Result<RowPage, StoreError> {
    let transaction = connection.transaction().map_err(store_error)?;
    let head = decode::head(&transaction)?;
    let mut decoder = EventDecoder::new(head.log_id);
    let mut select = transaction.prepare_cached(ROWS).map_err(store_error)?;
    let limit = i64::try_from(PAGE_EVENTS_MAX).unwrap_or(i64::MAX);
    let mut found = select.query(params![sql_number(after.get()), limit]).map_err(store_error)?;
    let rows = std::iter::from_fn(|| match found.next() {
        Ok(row) => row.map(|row| stored(&mut decoder, row)),
        Err(error) => Some(Err(store_error(error))),
    });
    RowPage::gather(after, rows, malformed)
}

fn stored(decoder: &mut EventDecoder, row: &rusqlite::Row<'_>) -> Result<Row, StoreError> {
    let row = decode::check(decoder, row)?;
    let event = decode::event(decoder, &row)?;
    Ok(Row { event, meta: row.meta()?.into(), leaf: row.leaf()? })
}

/// What SQLite says of a file that is damaged; none if it failed for another reason.
fn malformed(error: &StoreError) -> Option<String> {
    let StoreError::Failed(source) = error else { return None };
    let source = source.downcast_ref::<rusqlite::Error>()?;
    let damaged = matches!(
        source.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
    );
    damaged.then(|| source.to_string())
}

/// Looks at all that the walk does not see. A part that cannot be looked at is a flaw itself.
fn inspect(connection: &mut Connection) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    for look in [own_check, documents, blobs] {
        match look(connection) {
            Ok(found) => flaws.extend(found),
            Err(error) => flaws.push(Flaw::Database { message: error.to_string() }),
        }
    }
    flaws
}

/// SQLite's own check: pages, rows against indexes, types.
fn own_check(connection: &Connection) -> rusqlite::Result<Vec<Flaw>> {
    let mut check = connection.prepare(&format!("PRAGMA integrity_check({FINDINGS_MAX})"))?;
    let messages = check.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    let found = messages.into_iter().filter(|message| message != "ok");
    Ok(found.map(|message| Flaw::Database { message }).collect())
}

fn documents(connection: &Connection) -> rusqlite::Result<Vec<Flaw>> {
    let mut select = connection.prepare("SELECT digest, body FROM plan_documents")?;
    let mut rows = select.query([])?;
    let mut flaws = Vec::new();
    while let Some(row) = rows.next()? {
        let name = row.get_ref(0)?.as_blob()?;
        let body = row.get_ref(1)?.as_bytes()?;
        if Digest::of(body).as_bytes() != name {
            flaws.push(Flaw::Document { digest: digest_of(name) });
        }
    }
    Ok(flaws)
}

/// One blob on its way through its chunks.
struct Chunks {
    name: Vec<u8>,
    next: i64,
    whole: bool,
    hasher: Sha256,
}

impl Chunks {
    fn take(&mut self, chunk: i64, body: &[u8]) {
        // Only the last chunk may be short, and only the first of an empty blob empty.
        self.whole &= chunk == self.next;
        self.next += 1;
        self.hasher.update(body);
    }

    fn flaw(self) -> Option<Flaw> {
        let good = self.whole && self.hasher.finalize().as_slice() == self.name;
        (!good).then(|| Flaw::Blob { digest: digest_of(&self.name) })
    }
}

fn blobs(connection: &Connection) -> rusqlite::Result<Vec<Flaw>> {
    let mut select = connection.prepare("SELECT digest, chunk, body FROM blobs ORDER BY digest, chunk")?;
    let mut rows = select.query([])?;
    let mut flaws = Vec::new();
    let mut blob: Option<Chunks> = None;
    while let Some(row) = rows.next()? {
        let name = row.get_ref(0)?.as_blob()?;
        if blob.as_ref().is_none_or(|blob| blob.name != name) {
            let new = Chunks { name: name.to_vec(), next: 0, whole: true, hasher: Sha256::new() };
            flaws.extend(blob.replace(new).and_then(Chunks::flaw));
        }
        if let Some(blob) = &mut blob {
            let body = row.get_ref(2)?.as_blob()?;
            blob.whole &= body.len() <= BLOB_CHUNK_BYTES;
            blob.take(row.get(1)?, body);
        }
    }
    flaws.extend(blob.and_then(Chunks::flaw));
    Ok(flaws)
}
