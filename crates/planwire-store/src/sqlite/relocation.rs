//! A SQLite log that moves away, and one that arrives.

use std::fs;
use std::path::{Path, PathBuf};

use planwire_event::Position;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use crate::contract::{Head, StoreError};
use crate::copying::{Told, verified};
use crate::lock::{LockFile, LockInfo, private};
use crate::moving::{Destination, Found, Kind, MoveError, Moving, Origin, Table, There, Value};
use crate::sqlite::backup::{beside, remove_all};
use crate::sqlite::error::store_error;
use crate::sqlite::loss::{Loss, testimony};
use crate::sqlite::open::{
    OpenError, OpenOptions, connect, connect_read_only, make_folder, open_error, open_writing, sync_folder,
    version,
};
use crate::sqlite::readers::Readers;
use crate::sqlite::repository::SqliteRepository;
use crate::sqlite::witness::{self, Witness};
use crate::sqlite::{decode, heed, moved, schema};
use crate::verify::Flaw;

/// A log that is held in one transaction, which ends with its mark.
pub(crate) struct SqliteOrigin {
    connection: Connection,
    _lock: LockFile,
}

impl SqliteOrigin {
    pub(crate) fn open(path: &Path) -> Result<Found, MoveError> {
        let lock = lock(path)?;
        heed::existing(path)?;
        let connection = match open_writing(path, &OpenOptions::default()) {
            Err(OpenError::Moved { to, .. }) => {
                let connection = connect_read_only(path).map_err(|error| open_error(path, error))?;
                return Ok(Found::Moved { to, head: decode::head(&connection)? });
            }
            other => other?,
        };
        connection.execute_batch("BEGIN IMMEDIATE").map_err(store_error)?;
        Ok(Found::Log(Box::new(Self { connection, _lock: lock })))
    }
}

impl Origin for SqliteOrigin {
    fn head(&mut self) -> Result<Head, StoreError> {
        decode::head(&self.connection)
    }

    fn rows(&mut self, table: &Table, after: Option<&[Value]>) -> Result<Vec<Vec<Value>>, StoreError> {
        let (names, keys, limit) = (table.names(), table.key_names(), table.rows_max);
        let places: Vec<String> = (1..=table.keys).map(|at| format!("?{at}")).collect();
        let behind = after.map_or_else(String::new, |_| format!(" WHERE ({keys}) > ({})", places.join(", ")));
        let sql = format!("SELECT {names} FROM {}{behind} ORDER BY {keys} LIMIT {limit}", table.name);
        let mut select = self.connection.prepare_cached(&sql).map_err(store_error)?;
        let mut found = select.query(params_from_iter(after.unwrap_or_default())).map_err(store_error)?;
        let mut rows = Vec::new();
        while let Some(row) = found.next().map_err(store_error)? {
            let value = |(at, kind): (usize, Kind)| value(row.get_ref(at).map_err(store_error)?, kind);
            let kinds = table.columns.iter().map(|column| column.kind).enumerate();
            rows.push(kinds.map(value).collect::<Result<_, StoreError>>()?);
        }
        Ok(rows)
    }

    fn close(self: Box<Self>, to: &str) -> Result<(), StoreError> {
        moved::set(&self.connection, &Moving::Away { to: to.to_owned() }).map_err(store_error)?;
        self.connection.execute_batch("COMMIT").map_err(store_error)
    }
}

fn value(found: ValueRef<'_>, kind: Kind) -> Result<Value, StoreError> {
    let text =
        |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|error| StoreError::Failed(Box::new(error)));
    Ok(match found {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
        ValueRef::Text(bytes) if kind == Kind::Time => {
            Value::Time(text(bytes)?.parse().map_err(|error| StoreError::Failed(Box::new(error)))?)
        }
        ValueRef::Text(bytes) => Value::Text(text(bytes)?),
        ValueRef::Real(_) => return Err(StoreError::Failed("a column holds a real number".into())),
    })
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(rusqlite::types::Value::Null),
            Self::Int(number) => (*number).into(),
            Self::Text(text) => text.as_str().into(),
            Self::Bytes(bytes) => bytes.as_slice().into(),
            Self::Time(time) => time.to_string().into(),
        })
    }
}

/// A file that is filled under another name and gets its own when it is whole.
pub(crate) struct SqliteDestination {
    path: PathBuf,
    connection: Option<Connection>,
    _lock: LockFile,
}

impl SqliteDestination {
    pub(crate) fn open(path: &Path) -> Result<Box<dyn Destination>, MoveError> {
        make_folder(path)?;
        let lock = lock(path)?;
        if let Some(loss @ Loss::Gone { .. }) = heed::look(path)?.loss {
            return Err(OpenError::Loss { path: path.to_owned(), loss }.into());
        }
        Ok(Box::new(Self { path: path.to_owned(), connection: None, _lock: lock }))
    }

    fn filling(&self) -> PathBuf {
        beside(&self.path, ".arriving")
    }

    fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        self.connection.as_mut().ok_or(StoreError::Closed)
    }
}

impl Destination for SqliteDestination {
    fn there(&mut self) -> Result<There, StoreError> {
        let failed = |error: OpenError| StoreError::Failed(Box::new(error));
        if !self.path.exists() {
            return Ok(There::Nothing);
        }
        let connection = connect_read_only(&self.path).map_err(store_error)?;
        if version(&self.path, &connection).map_err(failed)?.is_none() {
            return Ok(There::Nothing);
        }
        let head = decode::head(&connection)?;
        Ok(match moved::find(&connection).map_err(store_error)? {
            Some(Moving::Here { .. }) => There::Arriving(head),
            None if head.position == Position::ZERO => There::Nothing,
            // One that was moved away is closed, and stays there for those who read it.
            _ => There::Log(head),
        })
    }

    fn begin(&mut self) -> Result<(), MoveError> {
        let path = self.filling();
        let failed = |error| StoreError::Failed(Box::new(error));
        remove_all(&path).map_err(failed)?;
        private(fs::OpenOptions::new().write(true).create_new(true)).open(&path).map_err(failed)?;
        let mut connection = connect(&path).map_err(store_error)?;
        // Nobody sees the file before it is synced as a whole.
        connection
            .execute_batch(
                "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF",
            )
            .map_err(store_error)?;
        schema::migrate(&mut connection, 0, |_| Ok(())).map_err(store_error)?;
        self.connection = Some(connection);
        Ok(())
    }

    fn insert(&mut self, table: &Table, rows: &[Vec<Value>]) -> Result<(), StoreError> {
        let places: Vec<String> = (1..=table.columns.len()).map(|at| format!("?{at}")).collect();
        let sql = format!("INSERT INTO {} ({}) VALUES ({})", table.name, table.names(), places.join(", "));
        let transaction = self.connection()?.transaction().map_err(store_error)?;
        {
            let mut insert = transaction.prepare_cached(&sql).map_err(store_error)?;
            for row in rows {
                insert.execute(params_from_iter(row)).map_err(store_error)?;
            }
        }
        transaction.commit().map_err(store_error)
    }

    fn arrive(&mut self, from: &str) -> Result<(), StoreError> {
        let failed = |error| StoreError::Failed(Box::new(error));
        let connection = self.connection.take().ok_or(StoreError::Closed)?;
        moved::set(&connection, &Moving::Here { from: from.to_owned() }).map_err(store_error)?;
        drop(connection);
        let path = self.filling();
        fs::File::open(&path).and_then(|file| file.sync_all()).map_err(failed)?;
        // What an unfinished move left goes.
        remove_all(&self.path).map_err(failed)?;
        fs::rename(&path, &self.path).map_err(failed)?;
        self.path.parent().into_iter().for_each(sync_folder);
        Ok(())
    }

    fn verify(&mut self, told: Told<'_>) -> Result<Result<Head, Box<Flaw>>, StoreError> {
        let repository = SqliteRepository::new(Readers::start(&self.path)?);
        if let Err(flaw) = verified(&repository, told)? {
            return Ok(Err(flaw));
        }
        let connection = connect_read_only(&self.path).map_err(store_error)?;
        decode::head(&connection).map(Ok)
    }

    fn open_up(&mut self) -> Result<(), StoreError> {
        let failed = |error| StoreError::Failed(Box::new(error));
        let mut connection = connect(&self.path).map_err(store_error)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(store_error)?;
        let seen = testimony(&connection)?;
        // One that is left of what was here before knows nothing of this log.
        let found = witness::read(&self.path).map_err(failed)?;
        Witness::start(&self.path, &found, &seen).map_err(failed)?;
        let transaction = connection.transaction().map_err(store_error)?;
        moved::clear(&transaction).map_err(store_error)?;
        transaction.commit().map_err(store_error)?;
        self.path.parent().into_iter().for_each(sync_folder);
        Ok(())
    }
}

fn lock(path: &Path) -> Result<LockFile, OpenError> {
    Ok(LockFile::acquire(&LockFile::path_of(path), &LockInfo::this_process())?)
}
