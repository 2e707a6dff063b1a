//! What tools keep while a tree of plans runs: a server that they started, a session, a connection.
//!
//! **Invariant:** it ends before the terminal event of the tree's root is published, or with the process.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};

/// Things that the tools of one tree keep at a time.
pub const KEPT_MAX: usize = 100;

/// Time in which all that a tree keeps must end; what has not is dropped, which ends it at once.
pub const KEPT_END_MAX: Duration = Duration::from_millis(1_500);

const _: () = assert!(
    crate::tool_runner::STOP_GRACE.as_millis() + KEPT_END_MAX.as_millis()
        < crate::engine::SHUTDOWN_GRACE.as_millis()
);

/// Something that lasts longer than the call that made it.
///
/// Dropping it ends it at once, with all that it started.
pub trait Kept: Any + Send + Sync {
    /// Ends it, politely and well within [`KEPT_END_MAX`]. No call is made any more.
    fn end(&self) -> BoxFuture<'_, ()>;
}

/// What the tools of one tree keep, by name. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Keep(Arc<Mutex<Option<ByName>>>);

/// What is kept; none once the tree has ended.
type ByName = BTreeMap<String, Arc<dyn Kept>>;

/// Why something was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeepError {
    /// The tree has ended.
    #[error("the tree of plans has ended")]
    Ended,
    /// There is too much already.
    #[error("the tools of a tree keep at most {KEPT_MAX} things")]
    Full,
    /// Another tool keeps something else under the name.
    #[error("something else is kept under this name")]
    OtherType,
}

impl Keep {
    /// What is kept under a name; if there is nothing, what `make` gives is kept from now on.
    ///
    /// `make` must not take long, since all calls of the tree wait for it.
    ///
    /// # Errors
    ///
    /// [`KeepError`] says why there is nothing; nothing was made then.
    pub fn get_or_keep<T: Kept>(&self, name: &str, make: impl FnOnce() -> T) -> Result<Arc<T>, KeepError> {
        let mut guard = self.lock();
        let kept = guard.as_mut().ok_or(KeepError::Ended)?;
        if let Some(found) = kept.get(name) {
            let found: Arc<dyn Any + Send + Sync> = Arc::clone(found) as _;
            return found.downcast().map_err(|_| KeepError::OtherType);
        }
        if kept.len() >= KEPT_MAX {
            return Err(KeepError::Full);
        }
        let made = Arc::new(make());
        kept.insert(name.to_owned(), Arc::clone(&made) as _);
        Ok(made)
    }

    /// Ends all that is kept, within [`KEPT_END_MAX`]; nothing is kept from now on.
    pub(crate) async fn end(&self) {
        let Some(kept) = self.lock().take() else { return };
        let ends = kept.values().map(|kept| kept.end());
        if tokio::time::timeout(KEPT_END_MAX, join_all(ends)).await.is_err() {
            tracing::warn!("what a tree of plans kept did not end in time and was ended at once");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<ByName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Keep {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some(BTreeMap::new()))))
    }
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.lock().iter().flat_map(BTreeMap::keys)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    struct Counted(Arc<AtomicU32>, bool);

    impl Kept for Counted {
        fn end(&self) -> BoxFuture<'_, ()> {
            Box::pin(async move {
                self.0.fetch_add(1, Ordering::Relaxed);
                if self.1 {
                    std::future::pending::<()>().await;
                }
            })
        }
    }

    struct Other;

    impl Kept for Other {
        fn end(&self) -> BoxFuture<'_, ()> {
            Box::pin(std::future::ready(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_is_shared_and_ends_once_in_bounded_time() {
        let (keep, ended) = (Keep::default(), Arc::new(AtomicU32::new(0)));
        let first = keep.get_or_keep("a", || Counted(Arc::clone(&ended), false)).unwrap();
        let again = keep.clone().get_or_keep("a", || Counted(Arc::clone(&ended), false)).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(keep.get_or_keep("a", || Other).err(), Some(KeepError::OtherType));
        // One that hangs does not hold the others up.
        keep.get_or_keep("b", || Counted(Arc::clone(&ended), true)).unwrap();
        keep.end().await;
        keep.end().await;
        assert_eq!(ended.load(Ordering::Relaxed), 2);
        assert_eq!(keep.get_or_keep("c", || Other).err(), Some(KeepError::Ended));
    }

    #[test]
    fn a_tree_keeps_a_bounded_number_of_things() {
        let keep = Keep::default();
        assert!((0..KEPT_MAX).all(|at| keep.get_or_keep(&at.to_string(), || Other).is_ok()));
        assert_eq!(keep.get_or_keep("one more", || Other).err(), Some(KeepError::Full));
    }
}
