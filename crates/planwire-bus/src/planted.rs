//! Bugs that are planted on purpose, to prove that the simulation and the models of threads would find them.
//!
//! Only the feature `planted` compiles them, which no product has; then each is off until a test plants it. A check
//! that finds none of the planted bugs proves nothing about a run that finds nothing.

use std::cell::Cell;

macro_rules! bugs {
    (simulated { $($(#[$doc:meta])* $name:ident,)* } modelled { $($(#[$threads_doc:meta])* $threads_name:ident,)* }) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug { $($(#[$doc])* $name,)* $($(#[$threads_doc])* $threads_name,)* }

        impl Bug {
            /// Those that show themselves on one thread: the simulation finds each.
            pub const SIMULATED: &'static [Self] = &[$(Self::$name,)*];

            /// Those that take several threads, or are beyond the simulation: the models find each.
            pub const MODELLED: &'static [Self] = &[$(Self::$threads_name,)*];
        }
    };
}

bugs! {
    simulated {
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
    }
    modelled {
        /// A reader looks and registers under two locks.
        RegisteredLate,
        /// Waiting readers are taken out under another lock than that under which events come into the ring.
        PushedApart,
        /// How far a reader has missed nothing is told by a look into its slot before it takes the lock.
        SlotReadBeforeLock,
        /// How far a reader has missed nothing is told without the lock.
        ScannedWithoutLock,
        /// A reader is told that the bus is closed before it has read everything.
        ClosedLookedAtFirst,
        /// A reader that is gone stays registered.
        LeaveForgotten,
        /// A reader of several types that is woken stays registered under the others.
        LeavesOneListOnly,
        /// The gate of a handler is looked at before its first call alone.
        GateLookedAtOnce,
        /// A handler that waits for a thread keeps to itself that its gate was closed.
        ClosingSwallowed,
        /// A handler counts as ended before its last call.
        EndToldEarly,
        /// A handler may wait for itself.
        WaitsForItself,
        /// A handler's place is where its task begins.
        PlaceTakenLate,
        /// Hints count as taken after the head was looked at.
        HintTakenLate,
        /// Only the first hint that another process has written is taken.
        HintSwallowed,
    }
}

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
