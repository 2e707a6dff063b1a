//! The readers' end of a log in PostgreSQL.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use planwire_event::{Digest, EventId, EventTypes, Filter, PlanId, Position, Scope, StoredEvent};

use crate::contract::{EventRepository, HeadSeen, HeadWatch, LogInfo, Page, PageLimits, StoreError};
use crate::plan_query::{PlanPage, PlanQuery};
use crate::postgres::pool::Pool;
use crate::postgres::{plans, query, watch};

/// Reads a log in PostgreSQL; see [`crate::postgres::PostgresStore::open`] and
/// [`crate::postgres::PostgresStore::open_read_only`].
///
/// Its futures need no particular runtime.
#[derive(Debug)]
pub struct PostgresRepository {
    pool: Arc<Pool>,
}

impl PostgresRepository {
    pub(crate) const fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    fn page(
        &self,
        after: Position,
        filter: Filter,
        limits: PageLimits,
    ) -> BoxFuture<'_, Result<Page, StoreError>> {
        let filter = Arc::new(filter);
        async move {
            self.pool
                .run(&move |session| {
                    let filter = Arc::clone(&filter);
                    async move { query::page(session, after, &filter, limits).await }.boxed()
                })
                .await
        }
        .boxed()
    }
}

impl EventRepository for PostgresRepository {
    fn log_info(&self) -> BoxFuture<'_, Result<LogInfo, StoreError>> {
        self.pool.run(&|session| query::log_info(session).boxed()).boxed()
    }

    fn read_after<'a>(
        &'a self,
        after: Position,
        filter: &'a Filter,
        limits: PageLimits,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        self.page(after, filter.clone(), limits)
    }

    fn list_by_plan<'a>(
        &'a self,
        plan: &'a PlanId,
        types: EventTypes,
        after: Position,
        limits: PageLimits,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        self.page(after, Filter { types, scope: Scope::Plan(plan.clone()) }, limits)
    }

    fn by_event_ids<'a>(
        &'a self,
        ids: &'a [EventId],
    ) -> BoxFuture<'a, Result<Vec<Arc<StoredEvent>>, StoreError>> {
        let ids: Arc<[EventId]> = ids.into();
        async move {
            self.pool
                .run(&move |session| {
                    let ids = Arc::clone(&ids);
                    async move { query::by_event_ids(session, &ids).await }.boxed()
                })
                .await
        }
        .boxed()
    }

    fn plans<'a>(&'a self, wanted: &'a PlanQuery) -> BoxFuture<'a, Result<PlanPage, StoreError>> {
        let wanted = Arc::new(wanted.clone());
        async move {
            self.pool
                .run(&move |session| {
                    let wanted = Arc::clone(&wanted);
                    async move { plans::plans(session, &wanted).await }.boxed()
                })
                .await
        }
        .boxed()
    }

    fn document(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Arc<str>>, StoreError>> {
        async move { self.pool.run(&move |session| query::document(session, digest).boxed()).await }.boxed()
    }

    fn blob(&self, digest: Digest, chunk: u32) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        async move { self.pool.run(&move |session| query::blob(session, digest, chunk).boxed()).await }
            .boxed()
    }

    fn watch_head(&self, seen: HeadSeen) -> Option<HeadWatch> {
        Some(watch::start(&self.pool, seen))
    }
}
