//! The connections that answer reads: begun when they are needed, kept, and never more than there may be.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::contract::StoreError;
use crate::postgres::error::is_lost;
use crate::postgres::server::Server;
use crate::postgres::session::{Failure, Session};

/// Sessions for reads.
#[derive(Debug)]
pub(crate) struct Pool {
    server: Arc<Server>,
    places: Semaphore,
    idle: Mutex<Vec<Session>>,
}

/// A read: what is asked in a session.
pub(crate) type Read<T> = dyn for<'s> Fn(&'s mut Session) -> BoxFuture<'s, Result<T, Failure>> + Send + Sync;

impl Pool {
    pub(crate) fn new(server: Arc<Server>, first: Session) -> Self {
        let places = Semaphore::new(server.options.readers_max.max(1));
        Self { server, places, idle: Mutex::new(vec![first]) }
    }

    pub(crate) const fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Runs `read` in a session. One that was idle may have been lost without anybody having noticed: then the read is
    /// run again in a new one. Both together take as long as one answer may.
    ///
    /// A read that is dropped takes its session along, since its answers are still on their way.
    pub(crate) async fn run<T>(&self, read: &Read<T>) -> Result<T, StoreError> {
        self.run_for(self.server.options.answer_max, read).await
    }

    /// The same with another patience.
    pub(crate) async fn run_for<T>(&self, most: Duration, read: &Read<T>) -> Result<T, StoreError> {
        let options = &self.server.options;
        let place = self.server.within(options.reader_wait_max, self.places.acquire()).await;
        let _place = place
            .ok_or(StoreError::Exhausted { connections: options.readers_max.max(1) })?
            .map_err(|_| StoreError::Closed)?;
        let deadline = Instant::now() + most;
        if let Some(session) = self.idle() {
            match self.run_in(session, read, deadline).await {
                Err(Failure::Sql(error)) if is_lost(&error) => {}
                done => return Ok(done?),
            }
        }
        let session = self.server.connect().await?;
        Ok(self.run_in(session, read, deadline).await?)
    }

    async fn run_in<T>(&self, mut session: Session, read: &Read<T>, deadline: Instant) -> Result<T, Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        let done = self.server.within(left, read(&mut session)).await;
        let done = done.unwrap_or_else(|| Err(StoreError::Unreachable("no answer in time".into()).into()));
        // After an error it may be within a transaction, or gone.
        if done.is_ok() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        }
        done
    }

    fn idle(&self) -> Option<Session> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|session| !session.client.is_closed());
        idle.pop()
    }
}
