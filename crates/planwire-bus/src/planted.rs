//! Bugs that are planted on purpose, to prove that the simulation would find them.
//!
//! Only the feature `planted` compiles them, which no product has; then each is off until a test plants it. A check
//! that finds none of the planted bugs proves nothing about a run that finds nothing.

use std::cell::Cell;

macro_rules! bugs {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug { $($(#[$doc])* $name,)* }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

bugs!(
    /// A request is acknowledged whatever the store says of its commit.
    AcknowledgedBeforeCommit,
    /// Events whose commit nobody heard of are told to readers.
    ToldBeforeCommit,
    /// A commit that may be stored is told as certainly not stored.
    UnknownReadAsRefused,
    /// What was computed for a commit that the store refused is not taken back.
    RevertForgotten,
    /// Rows of a request that is refused halfway stay in the batch.
    HalfARequest,
    /// An id that stands twice in one batch is not noticed.
    DuplicateInBatchMissed,
    /// What is known of a plan stays as it was when another process has written.
    StalePlan,
    /// A plan that is read back from the store lacks its first event.
    ReplayedOneLate,
    /// An event is refused by what was known before another process wrote.
    RefusedByStaleHead,
    /// An event is refused for the sake of one before it that was stored long ago.
    RefusedForARepetition,
    /// What a plan announced is forgotten when it leaves the cache.
    AnnouncementEvicted,
    /// What another process has written is not told to readers.
    OthersLeftOut,
    /// A head that was locked for nothing stays locked.
    HeadKeptLocked,
    /// The ring skips an event where it gives several.
    RingSkipsOne,
    /// The ring is taken to reach back one event further than it does.
    HandOverOffByOne,
    /// A page of the store counts as read though only its beginning was taken.
    PageCutShort,
    /// Of all readers that an event wakes, only the first is told.
    WakeLost,
    /// A reader that was woken goes on after the event that woke it.
    WokenOneLate,
    /// A reader of some types is not woken by the end of its plan.
    EndSleptThrough,
    /// Events are lost with a future that is dropped while it asks for the end.
    TakenAndDropped,
    /// What was looked at, but not handed out, counts as scanned.
    ScannedAheadOfDelivered,
    /// A subtree takes in every plan of its root that starts.
    SubtreeLeaks,
    /// A tree ends with its root, whatever is still open below.
    EndTooEarly,
);

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a bug in all buses whose steps are taken by this thread; `None` removes it.
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether `bug` is planted.
pub(crate) fn has(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}
