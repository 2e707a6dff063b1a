//! One thread, many tasks: which of those that were woken runs next is drawn from the seed.
//!
//! **Invariant:** a task is polled only after it was woken. A wake-up that is lost leaves its task where it is, and the
//! run ends with somebody who waits for what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

pub(crate) type TaskId = usize;
type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The tasks that were woken, in the order of their ids: in which order they were woken tells nothing about a run.
#[derive(Debug, Default)]
struct Ready(Mutex<BTreeSet<TaskId>>);

impl Ready {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<TaskId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct TaskWaker {
    task: TaskId,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.lock().insert(self.task);
    }
}

/// The tasks of a run.
#[derive(Default)]
pub(crate) struct Executor {
    tasks: BTreeMap<TaskId, Task>,
    ready: Arc<Ready>,
    next: TaskId,
}

impl Executor {
    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + 'static) {
        self.next += 1;
        self.tasks.insert(self.next, Box::pin(task));
        self.ready.lock().insert(self.next);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Polls one of the tasks that were woken, whichever `drawn` says; false if there is none.
    pub(crate) fn turn(&mut self, drawn: usize) -> bool {
        let task = {
            let mut ready = self.ready.lock();
            if ready.is_empty() {
                return false;
            }
            let Some(task) = ready.iter().nth(drawn % ready.len()).copied() else { return false };
            ready.remove(&task);
            task
        };
        let Some(future) = self.tasks.get_mut(&task) else { return true };
        let waker = Waker::from(Arc::new(TaskWaker { task, ready: Arc::clone(&self.ready) }));
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            self.tasks.remove(&task);
        }
        true
    }

    /// Drops all tasks wherever they stand, as a crash does.
    pub(crate) fn clear(&mut self) {
        self.tasks.clear();
        self.ready.lock().clear();
    }
}

/// Drops a future that is pending after some polls: `None`.
pub(crate) struct Cut<F> {
    inner: F,
    polls: usize,
}

impl<F: Future + Unpin> Cut<F> {
    pub(crate) const fn after(polls: usize, inner: F) -> Self {
        Self { inner, polls }
    }
}

impl<F: Future + Unpin> Future for Cut<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.inner).poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.polls <= 1 => Poll::Ready(None),
            Poll::Pending => {
                self.polls -= 1;
                Poll::Pending
            }
        }
    }
}
