//! A log in PostgreSQL that moves away, and one that arrives.
//!
//! Both are one transaction that holds the table of the head from the beginning: other processes read on, and none of
//! them writes.

use std::sync::Arc;
use std::time::Duration;

use planwire_event::Position;
use planwire_event::normal::{Source, normalise};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

use crate::contract::{Head, StoreError};
use crate::copying::{Told, verified};
use crate::moving::{
    Column, Destination, Found, Kind, LOG, MoveError, Moving, Origin, TABLES, Table, There, Value,
};
use crate::postgres::error::store_error;
use crate::postgres::instant::Instant;
use crate::postgres::open::Opening;
use crate::postgres::options::PostgresOptions;
use crate::postgres::pool::Pool;
use crate::postgres::repository::PostgresRepository;
use crate::postgres::server::{Server, wait};
use crate::postgres::session::Session;
use crate::postgres::url::PostgresUrl;
use crate::postgres::{decode, moved, query};
use crate::verify::Flaw;

/// A move takes as long as it takes: neither its statements nor its pauses have an end. Locks have.
const PATIENT: &str = "SET statement_timeout TO 0; SET idle_in_transaction_session_timeout TO 0";
/// Writers need a weaker lock than this one; readers need none that it keeps from them.
const HOLD: &str = "BEGIN; LOCK TABLE planwire_log IN SHARE ROW EXCLUSIVE MODE";
/// Two moves to one place would take each other's rows for their own. The lock is the session's; its class is the one
/// after that of migrations.
const ALONE: &str = "SELECT pg_try_advisory_lock(1347180371, hashtext($1))";
const HEAD: &str = "SELECT log_id, head, recorded_at, frontier, fence FROM planwire_log";

/// Sessions of a process that has just ended may still be there: they have this many looks to go.
const LOOKS_MAX: u32 = 40;
/// Time between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// Whether no other process has the log open.
async fn is_alone(server: &Server, session: &mut Session) -> Result<bool, StoreError> {
    for _ in 0..LOOKS_MAX {
        if !query::other_sessions(session, &server.name()).await.map_err(StoreError::from)? {
            return Ok(true);
        }
        server.sleep(LOOK_PAUSE).await;
    }
    Ok(false)
}

async fn head(client: &Client) -> Result<Head, StoreError> {
    let row = client.query_typed_opt(HEAD, &[]).await.map_err(store_error)?;
    Ok(decode::head(row.as_ref())?.0)
}

/// A log that is held in one transaction, which ends with its mark.
pub(crate) struct PostgresOrigin {
    session: Session,
    _server: Arc<Server>,
}

impl PostgresOrigin {
    pub(crate) fn open(url: &PostgresUrl) -> Result<Found, MoveError> {
        let opening = Opening::start(url, &PostgresOptions::default())?;
        wait(Self::hold(opening, url))
    }

    async fn hold(opening: Opening, url: &PostgresUrl) -> Result<Found, MoveError> {
        let (server, mut session) = opening.for_moving().await?;
        session.client.batch_execute(PATIENT).await.map_err(store_error)?;
        session.client.batch_execute(HOLD).await.map_err(store_error)?;
        if let Some(Moving::Away { to }) = moved::find(&session.client).await.map_err(store_error)? {
            return Ok(Found::Moved { to, head: head(&session.client).await? });
        }
        if !is_alone(&server, &mut session).await? {
            return Err(MoveError::Open { from: url.to_string() });
        }
        Ok(Found::Log(Box::new(Self { session, _server: server })))
    }
}

impl Origin for PostgresOrigin {
    fn head(&mut self) -> Result<Head, StoreError> {
        wait(head(&self.session.client))
    }

    fn rows(&mut self, table: &Table, after: Option<&[Value]>) -> Result<Vec<Vec<Value>>, StoreError> {
        let found = wait(select(&self.session.client, table, after)).map_err(store_error)?;
        found.iter().map(|row| values(row, table)).collect()
    }

    fn close(self: Box<Self>, to: &str) -> Result<(), StoreError> {
        let client = &self.session.client;
        let closing = async {
            moved::set(client, &Moving::Away { to: to.to_owned() }).await?;
            client.batch_execute("COMMIT").await
        };
        wait(closing).map_err(store_error)
    }
}

async fn select(client: &Client, table: &Table, after: Option<&[Value]>) -> Result<Vec<Row>, Error> {
    let column = |column: &Column| match column.kind {
        Kind::Int => format!("{}::bigint", column.name),
        Kind::Json => format!("{}::text", column.name),
        _ => column.name.to_owned(),
    };
    let columns: Vec<String> = table.columns.iter().map(column).collect();
    let keys = table.key_names();
    let place = |(at, column): (usize, &Column)| match column.kind {
        Kind::Int => format!("${at}::bigint"),
        Kind::Bytes => format!("${at}::bytea"),
        _ => format!("${at}::text"),
    };
    let places: Vec<String> = (1..).zip(&table.columns[..table.keys]).map(place).collect();
    let behind = after.map_or_else(String::new, |_| format!(" WHERE ({keys}) > ({})", places.join(", ")));
    let (columns, limit) = (columns.join(", "), table.rows_max);
    let sql = format!("SELECT {columns} FROM {}{behind} ORDER BY {keys} LIMIT {limit}", table.name);
    let key: Vec<&(dyn ToSql + Sync)> = after.unwrap_or_default().iter().filter_map(parameter).collect();
    client.query(&sql, &key).await
}

/// A value of a key.
fn parameter(value: &Value) -> Option<&(dyn ToSql + Sync)> {
    match value {
        Value::Int(number) => Some(number),
        Value::Text(text) => Some(text),
        Value::Bytes(bytes) => Some(bytes),
        Value::Null | Value::Time(_) => None,
    }
}

fn values(row: &Row, table: &Table) -> Result<Vec<Value>, StoreError> {
    let columns = table.columns.iter().map(|column| column.kind).enumerate();
    columns.map(|(at, kind)| value(row, at, kind)).collect()
}

fn value(row: &Row, at: usize, kind: Kind) -> Result<Value, StoreError> {
    let value = match kind {
        Kind::Int => row.try_get::<_, Option<i64>>(at).map(|number| number.map(Value::Int)),
        Kind::Text | Kind::Json => row.try_get::<_, Option<String>>(at).map(|text| text.map(Value::Text)),
        Kind::Bytes => row.try_get::<_, Option<Vec<u8>>>(at).map(|bytes| bytes.map(Value::Bytes)),
        Kind::Time => row.try_get::<_, Option<Instant>>(at).map(|time| time.map(|time| Value::Time(time.0))),
    };
    let value = value.map_err(|error| StoreError::Failed(Box::new(error)))?;
    match (value, kind) {
        // JSONB has an order and a writing of its own.
        (Some(Value::Text(text)), Kind::Json) => {
            let normal = normalise(&text, Source::Store);
            normal.map(Value::Text).map_err(|error| StoreError::Failed(Box::new(error)))
        }
        (value, _) => Ok(value.unwrap_or(Value::Null)),
    }
}

/// A schema that is filled in one transaction.
pub(crate) struct PostgresDestination {
    session: Session,
    server: Arc<Server>,
    /// Its address, for messages.
    to: String,
}

impl PostgresDestination {
    pub(crate) fn open(url: &PostgresUrl) -> Result<Box<dyn Destination>, MoveError> {
        let opening = Opening::start(url, &PostgresOptions::default())?;
        let (server, session) = wait(opening.for_arriving())?;
        wait(session.client.batch_execute(PATIENT)).map_err(store_error)?;
        let alone = wait(session.client.query_typed_one(ALONE, &[(&url.schema(), Type::TEXT)]));
        if !alone.and_then(|row| row.try_get::<_, bool>(0)).map_err(store_error)? {
            return Err(MoveError::Busy { to: url.to_string() });
        }
        Ok(Box::new(Self { session, server, to: url.to_string() }))
    }

    async fn make_room(&mut self) -> Result<(), MoveError> {
        let names: Vec<&str> = TABLES.iter().map(|table| table.name).collect();
        self.session.client.batch_execute(HOLD).await.map_err(store_error)?;
        // Nobody wrote before it was held, and nobody has it open: his log would become another one below him.
        self.demand_alone().await?;
        let client = &self.session.client;
        let marked = moved::find(client).await.map_err(store_error)?;
        if marked.is_none() && head(client).await?.position > Position::ZERO {
            return Err(StoreError::Failed("somebody has written there meanwhile".into()).into());
        }
        if marked.is_some() {
            moved::clear(client).await.map_err(store_error)?;
        }
        client.batch_execute(&format!("TRUNCATE {}", names.join(", "))).await.map_err(store_error)?;
        // Whoever came since the first look is there to be seen; whoever comes now waits, and finds the mark.
        self.demand_alone().await
    }

    async fn demand_alone(&mut self) -> Result<(), MoveError> {
        match is_alone(&self.server, &mut self.session).await? {
            true => Ok(()),
            false => Err(MoveError::InUse { to: self.to.clone() }),
        }
    }
}

impl Destination for PostgresDestination {
    fn there(&mut self) -> Result<There, StoreError> {
        let client = &self.session.client;
        let looking = async {
            let head = head(client).await?;
            let moving = moved::find(client).await.map_err(store_error)?;
            Ok(match moving {
                Some(Moving::Here { .. }) => There::Arriving(head),
                None if head.position == Position::ZERO => There::Nothing,
                _ => There::Log(head),
            })
        };
        wait(looking)
    }

    fn begin(&mut self) -> Result<(), MoveError> {
        wait(self.make_room())
    }

    fn insert(&mut self, table: &Table, rows: &[Vec<Value>]) -> Result<(), StoreError> {
        wait(insert(&self.session.client, table, rows)).map_err(store_error)
    }

    fn arrive(&mut self, from: &str) -> Result<(), StoreError> {
        let client = &self.session.client;
        let arriving = async {
            moved::set(client, &Moving::Here { from: from.to_owned() }).await?;
            client.batch_execute("COMMIT").await
        };
        wait(arriving).map_err(store_error)
    }

    fn verify(&mut self, told: Told<'_>) -> Result<Result<Head, Box<Flaw>>, StoreError> {
        let session = wait(self.server.connect())?;
        let repository = PostgresRepository::new(Arc::new(Pool::new(Arc::clone(&self.server), session)));
        if let Err(flaw) = verified(&repository, told)? {
            return Ok(Err(flaw));
        }
        wait(head(&self.session.client)).map(Ok)
    }

    fn open_up(&mut self) -> Result<(), StoreError> {
        let client = &self.session.client;
        let opening = async {
            client.batch_execute(HOLD).await?;
            moved::clear(client).await?;
            client.batch_execute("COMMIT").await
        };
        wait(opening).map_err(store_error)
    }
}

/// The values of one column of several rows, as one parameter.
fn array(rows: &[Vec<Value>], at: usize, kind: Kind) -> Box<dyn ToSql + Sync> {
    let column = rows.iter().map(|row| &row[at]);
    match kind {
        Kind::Int => {
            let number = |value: &Value| if let Value::Int(number) = value { Some(*number) } else { None };
            Box::new(column.map(number).collect::<Vec<_>>())
        }
        Kind::Text | Kind::Json => {
            let text = |value: &Value| if let Value::Text(text) = value { Some(text.clone()) } else { None };
            Box::new(column.map(text).collect::<Vec<_>>())
        }
        Kind::Bytes => {
            let bytes =
                |value: &Value| if let Value::Bytes(bytes) = value { Some(bytes.clone()) } else { None };
            Box::new(column.map(bytes).collect::<Vec<_>>())
        }
        Kind::Time => {
            let time =
                |value: &Value| if let Value::Time(time) = value { Some(Instant(*time)) } else { None };
            Box::new(column.map(time).collect::<Vec<_>>())
        }
    }
}

async fn insert(client: &Client, table: &Table, rows: &[Vec<Value>]) -> Result<(), Error> {
    let kinds = table.columns.iter().map(|column| column.kind);
    let arrays: Vec<_> = kinds.clone().enumerate().map(|(at, kind)| array(rows, at, kind)).collect();
    let place = |(at, kind): (usize, Kind)| match kind {
        Kind::Int => format!("${at}::bigint[]"),
        Kind::Text | Kind::Json => format!("${at}::text[]"),
        Kind::Bytes => format!("${at}::bytea[]"),
        Kind::Time => format!("${at}::timestamptz[]"),
    };
    let places: Vec<String> = (1..).zip(kinds).map(place).collect();
    let column = |column: &Column| match column.kind {
        Kind::Json => format!("{}::jsonb", column.name),
        _ => column.name.to_owned(),
    };
    let columns: Vec<String> = table.columns.iter().map(column).collect();
    // Only PostgreSQL has it.
    let (more, fence) = if table.name == LOG { (", fence", ", 0") } else { ("", "") };
    let (names, columns, places) = (table.names(), columns.join(", "), places.join(", "));
    let sql = format!(
        "INSERT INTO {} ({names}{more}) SELECT {columns}{fence} FROM unnest({places}) AS new ({names})",
        table.name
    );
    let parameters: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(AsRef::as_ref).collect();
    client.execute(&sql, &parameters).await.map(drop)
}
