//! Who runs plans of a log that several processes write.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::contract::StoreError;

/// The executors of a log, as far as they say that they are alive. All ages are by the clock of the store, so that
/// processes whose clocks differ agree.
///
/// This says only who may be succeeded; who owns a tree is said by its events.
pub trait Executors: Send + Sync + std::fmt::Debug {
    /// Notes that an executor is alive. `url` is where it answers, if it does.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be written.
    fn seen<'a>(
        &'a self,
        executor_id: &'a str,
        url: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Says that an executor has ended: from now on it is as if it had not been seen for ever.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be written.
    fn gone<'a>(&'a self, executor_id: &'a str) -> BoxFuture<'a, Result<(), StoreError>>;

    /// All executors that were seen and not forgotten.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    fn list(&self) -> BoxFuture<'_, Result<Vec<SeenExecutor>, StoreError>>;

    /// Forgets an executor that owns nothing any more.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be written.
    fn forget<'a>(&'a self, executor_id: &'a str) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// An executor and when it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenExecutor {
    /// The producer of what it publishes.
    pub executor_id: String,
    /// Where it answers, if it does.
    pub url: Option<String>,
    /// Time since it was last seen.
    pub age: Duration,
}
