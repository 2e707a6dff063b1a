//! A log in PostgreSQL as it lies there, for those who verify it.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use planwire_event::{Digest, Position};
use tokio_postgres::Row as SqlRow;

use crate::contract::{Head, Row, StoreError};
use crate::decoder::{EventDecoder, damaged};
use crate::postgres::decode::{self, event_columns};
use crate::postgres::error::sql_number;
use crate::postgres::repository::PostgresRepository;
use crate::postgres::session::{Failure, Session};
use crate::verify::{Auditable, Flaw, RowPage, digest_of};

const HEAD: &str = "SELECT log_id, head, recorded_at, frontier, fence FROM planwire_log";
const ROWS: &str =
    concat!("SELECT ", event_columns!(), " FROM plan_events WHERE id > $1 ORDER BY id LIMIT $2");
/// Rows of one page: the server sends all of them before the first is looked at.
const ROWS_MAX: i64 = 128;

const DOCUMENTS: &str = "SELECT digest FROM plan_documents WHERE sha256(convert_to(body, 'UTF8')) <> digest";
const BLOBS: &str = "SELECT digest FROM blobs GROUP BY digest \
    HAVING sha256(string_agg(body, ''::bytea ORDER BY chunk)) <> digest OR max(chunk) + 1 <> count(*)";

impl Auditable for PostgresRepository {
    fn head(&self) -> BoxFuture<'_, Result<Head, StoreError>> {
        self.pool().run(&|session| head(session).boxed()).boxed()
    }

    fn rows(&self, after: Position) -> BoxFuture<'_, Result<RowPage, StoreError>> {
        async move { self.pool().run(&move |session| rows(session, after).boxed()).await }.boxed()
    }

    fn inspect(&self) -> BoxFuture<'_, Result<Vec<Flaw>, StoreError>> {
        let most = self.pool().server().options.inspect_max;
        async move { self.pool().run_for(most, &move |session| inspect(session, most).boxed()).await }.boxed()
    }
}

async fn head(session: &mut Session) -> Result<Head, Failure> {
    let row = session.client.query_typed_opt(HEAD, &[]).await?;
    Ok(decode::head(row.as_ref())?.0)
}

async fn rows(session: &mut Session, after: Position) -> Result<RowPage, Failure> {
    let log_id = head(session).await?.log_id;
    let statement = session.prepared(ROWS).await?;
    let found = session.client.query(&statement, &[&sql_number(after.get()), &ROWS_MAX]).await?;
    let mut decoder = EventDecoder::new(log_id);
    // What PostgreSQL itself cannot read has failed the statement above.
    Ok(RowPage::gather(after, found.iter().map(|row| stored(&mut decoder, row)), |_| None)?)
}

pub(crate) fn stored(decoder: &mut EventDecoder, row: &SqlRow) -> Result<Row, StoreError> {
    let id: i64 = row.try_get(0).map_err(|error| StoreError::Failed(Box::new(error)))?;
    let event = decode::event(decoder, row, id)?;
    let text: Result<&str, _> = row.try_get(11);
    let leaf: Result<&[u8], _> = row.try_get(12);
    let meta = text.map_err(|error| damaged(id, error))?.into();
    let leaf = leaf.map_err(|error| damaged(id, error))?.try_into();
    let leaf = leaf.map_err(|_| damaged(id, "the leaf has another length than a hash"))?;
    Ok(Row { event, meta, leaf })
}

async fn inspect(session: &mut Session, most: Duration) -> Result<Vec<Flaw>, Failure> {
    let begin = format!("BEGIN; SET LOCAL statement_timeout TO {}", most.as_millis());
    session.client.batch_execute(&begin).await?;
    let mut flaws = Vec::new();
    for digest in digests(session, DOCUMENTS).await? {
        flaws.push(Flaw::Document { digest });
    }
    for digest in digests(session, BLOBS).await? {
        flaws.push(Flaw::Blob { digest });
    }
    session.client.batch_execute("COMMIT").await?;
    Ok(flaws)
}

async fn digests(session: &mut Session, sql: &str) -> Result<Vec<Digest>, Failure> {
    let rows = session.client.query_typed(sql, &[]).await?;
    rows.iter().map(|row| Ok(digest_of(row.try_get(0)?))).collect()
}
