//! The table of those who run plans of the log.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_postgres::types::Type;

use crate::contract::StoreError;
use crate::executors::{Executors, SeenExecutor};
use crate::postgres::repository::PostgresRepository;
use crate::postgres::session::{Failure, Session};

/// The clock of the database as it stands, not as it stood when the transaction began.
const SEEN: &str = "INSERT INTO executors (executor_id, url, seen_at) VALUES ($1, $2, clock_timestamp()) \
    ON CONFLICT (executor_id) DO UPDATE SET url = excluded.url, seen_at = excluded.seen_at";
/// Whose clock was set back since is as if it had just been seen.
const LIST: &str = "SELECT executor_id, url, \
      greatest(0, extract(epoch FROM clock_timestamp() - seen_at) * 1000)::bigint FROM executors ORDER BY executor_id";
const GONE: &str = "UPDATE executors SET seen_at = 'epoch' WHERE executor_id = $1";
const FORGET: &str = "DELETE FROM executors WHERE executor_id = $1";

impl Executors for PostgresRepository {
    fn seen<'a>(
        &'a self,
        executor_id: &'a str,
        url: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (executor_id, url): (Arc<str>, Option<Arc<str>>) = (executor_id.into(), url.map(Into::into));
        // Noting it twice is as good as once.
        async move {
            self.pool()
                .run(&move |session| {
                    let (executor_id, url) = (Arc::clone(&executor_id), url.clone());
                    async move { seen(session, &executor_id, url.as_deref()).await }.boxed()
                })
                .await
        }
        .boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<SeenExecutor>, StoreError>> {
        self.pool().run(&|session| list(session).boxed()).boxed()
    }

    fn gone<'a>(&'a self, executor_id: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        self.change(GONE, executor_id)
    }

    fn forget<'a>(&'a self, executor_id: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        self.change(FORGET, executor_id)
    }
}

impl PostgresRepository {
    /// Runs a statement about one executor; running it twice is as good as once.
    fn change(&self, sql: &'static str, executor_id: &str) -> BoxFuture<'_, Result<(), StoreError>> {
        let executor_id: Arc<str> = executor_id.into();
        async move {
            self.pool()
                .run(&move |session| {
                    let executor_id = Arc::clone(&executor_id);
                    async move { run(session, sql, &executor_id).await }.boxed()
                })
                .await
        }
        .boxed()
    }
}

async fn seen(session: &mut Session, executor_id: &str, url: Option<&str>) -> Result<(), Failure> {
    session.client.query_typed(SEEN, &[(&executor_id, Type::TEXT), (&url, Type::TEXT)]).await?;
    Ok(())
}

async fn list(session: &mut Session) -> Result<Vec<SeenExecutor>, Failure> {
    let rows = session.client.query_typed(LIST, &[]).await?;
    let executor = |row: tokio_postgres::Row| {
        let age_ms: i64 = row.try_get(2)?;
        let age = Duration::from_millis(age_ms.unsigned_abs());
        Ok(SeenExecutor { executor_id: row.try_get(0)?, url: row.try_get(1)?, age })
    };
    rows.into_iter().map(executor).collect()
}

async fn run(session: &mut Session, sql: &str, executor_id: &str) -> Result<(), Failure> {
    session.client.query_typed(sql, &[(&executor_id, Type::TEXT)]).await?;
    Ok(())
}
