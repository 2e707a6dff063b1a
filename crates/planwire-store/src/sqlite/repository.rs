//! The readers' end of a SQLite log.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use planwire_event::{Digest, EventId, EventTypes, Filter, PlanId, Position, Scope, StoredEvent};

use crate::contract::{EventRepository, LogInfo, Page, PageLimits, StoreError};
use crate::plan_query::{PlanPage, PlanQuery};
use crate::sqlite::page;
use crate::sqlite::query;
use crate::sqlite::readers::Readers;

/// Reads a SQLite log; see [`crate::sqlite::SqliteStore::open`] and [`SqliteRepository::open_read_only`].
///
/// Its futures need no particular runtime.
#[derive(Debug)]
pub struct SqliteRepository {
    readers: Readers,
}

impl SqliteRepository {
    pub(crate) const fn new(readers: Readers) -> Self {
        Self { readers }
    }

    pub(crate) const fn readers(&self) -> &Readers {
        &self.readers
    }

    async fn page(&self, after: Position, filter: Filter, limits: PageLimits) -> Result<Page, StoreError> {
        let help = self.readers.help();
        self.readers.run(move |connection| page::page(connection, &help, after, &filter, limits)).await
    }
}

impl EventRepository for SqliteRepository {
    fn log_info(&self) -> BoxFuture<'_, Result<LogInfo, StoreError>> {
        self.readers.run(query::log_info).boxed()
    }

    fn read_after<'a>(
        &'a self,
        after: Position,
        filter: &'a Filter,
        limits: PageLimits,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        self.page(after, filter.clone(), limits).boxed()
    }

    fn reads_ahead(&self) -> bool {
        true
    }

    fn list_by_plan<'a>(
        &'a self,
        plan: &'a PlanId,
        types: EventTypes,
        after: Position,
        limits: PageLimits,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        self.page(after, Filter { types, scope: Scope::Plan(plan.clone()) }, limits).boxed()
    }

    fn by_event_ids<'a>(
        &'a self,
        ids: &'a [EventId],
    ) -> BoxFuture<'a, Result<Vec<Arc<StoredEvent>>, StoreError>> {
        let ids = ids.to_vec();
        self.readers.run(move |connection| query::by_event_ids(connection, &ids)).boxed()
    }

    fn plans<'a>(&'a self, wanted: &'a PlanQuery) -> BoxFuture<'a, Result<PlanPage, StoreError>> {
        let wanted = wanted.clone();
        self.readers.run(move |connection| query::plans(connection, &wanted)).boxed()
    }

    fn document(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Arc<str>>, StoreError>> {
        self.readers.run(move |connection| query::document(connection, digest)).boxed()
    }

    fn blob(&self, digest: Digest, chunk: u32) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        self.readers.run(move |connection| query::blob(connection, digest, chunk)).boxed()
    }
}
