//! What is called: requests that may follow or not, readers and handlers of any filter, and the process starting again.

use proptest::prelude::*;

/// Plans that there are; few, so that acts meet each other.
pub(crate) const PLANS: u8 = 6;

/// An event of a request. `pick` chooses among what there is when its time comes, so that any part of a case is one.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Start {
        plan: u8,
    },
    /// A child starts below an open plan, whether that announced it or not.
    StartChild {
        plan: u8,
        pick: usize,
    },
    /// A child that an open plan announced starts.
    StartAnnounced {
        pick: usize,
    },
    Spawn {
        pick: usize,
        child: u8,
    },
    ChildEnded {
        pick: usize,
        child: u8,
    },
    Call {
        pick: usize,
        call: u8,
    },
    CallEnded {
        pick: usize,
        call: u8,
    },
    Tick {
        pick: usize,
        kind: u8,
        pad: bool,
    },
    End {
        pick: usize,
        ok: bool,
    },
    /// An event of a plan that may not have started, or has ended.
    Stray {
        plan: u8,
    },
    /// What was published before, stored or not; of the same request, where there is something.
    Repeat {
        pick: usize,
        here: bool,
    },
    /// Something else under an id that was published before.
    Conflict {
        pick: usize,
        here: bool,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum Scope {
    All,
    Plan(u8),
    Tree(u8),
}

#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) scope: Scope,
    /// One bit for each type in [`TYPES`], or all types.
    pub(crate) types: Option<u8>,
}

/// Types that filters name.
pub(crate) const TYPES: [&str; 6] =
    ["test.a", "test.b", "PlanStarted", "PlanCompleted", "SubplanSpawned", "ToolCalled"];

#[derive(Clone, Debug)]
pub(crate) enum From {
    Start,
    Now,
    After { pick: usize },
    Beyond { by: u64 },
    OtherLog,
}

/// How a reader reads on.
#[derive(Clone, Debug)]
pub(crate) enum How {
    Next,
    Batch { events: usize, bytes: usize },
}

#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Requests that are all queued before the first is answered.
    Publish(Vec<Vec<What>>),
    Open {
        wanted: Wanted,
        from: From,
    },
    Read {
        reader: usize,
        how: How,
        times: usize,
    },
    /// The reader goes on with a new stream, where one of its cursors says.
    Resume {
        reader: usize,
        scanned: bool,
    },
    Leave {
        reader: usize,
    },
    Handle {
        wanted: Wanted,
        blocking: bool,
    },
    Unhandle {
        handler: usize,
        waits: bool,
    },
    /// The bus is shut down and opened again, with few plans in its memory perhaps.
    Reopen {
        plans_cached: usize,
        ring_bytes_max: usize,
        batch_events_max: usize,
    },
}

fn any_what() -> impl Strategy<Value = What> {
    let (plan, pick) = (0..PLANS, any::<usize>());
    prop_oneof![
        1 => plan.clone().prop_map(|plan| What::Start { plan }),
        1 => (plan.clone(), pick).prop_map(|(plan, pick)| What::StartChild { plan, pick }),
        4 => any::<usize>().prop_map(|pick| What::StartAnnounced { pick }),
        4 => (any::<usize>(), plan.clone()).prop_map(|(pick, child)| What::Spawn { pick, child }),
        1 => (any::<usize>(), plan.clone()).prop_map(|(pick, child)| What::ChildEnded { pick, child }),
        3 => (any::<usize>(), 0..3u8).prop_map(|(pick, call)| What::Call { pick, call }),
        2 => (any::<usize>(), 0..3u8).prop_map(|(pick, call)| What::CallEnded { pick, call }),
        24 => (any::<usize>(), 0..3u8, any::<bool>()).prop_map(|(pick, kind, pad)| What::Tick { pick, kind, pad }),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(pick, ok)| What::End { pick, ok }),
        1 => plan.prop_map(|plan| What::Stray { plan }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(pick, here)| What::Repeat { pick, here }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(pick, here)| What::Conflict { pick, here }),
    ]
}

fn any_wanted() -> impl Strategy<Value = Wanted> {
    let scope = prop_oneof![
        2 => Just(Scope::All),
        2 => (0..PLANS).prop_map(Scope::Plan),
        3 => (0..PLANS).prop_map(Scope::Tree),
    ];
    (scope, proptest::option::weighted(0.4, any::<u8>())).prop_map(|(scope, types)| Wanted { scope, types })
}

fn any_from() -> impl Strategy<Value = From> {
    prop_oneof![
        4 => Just(From::Start),
        2 => Just(From::Now),
        4 => any::<usize>().prop_map(|pick| From::After { pick }),
        1 => (1..4u64).prop_map(|by| From::Beyond { by }),
        1 => Just(From::OtherLog),
    ]
}

fn any_how() -> impl Strategy<Value = How> {
    let bytes = prop_oneof![Just(1), Just(1_500), Just(usize::MAX)];
    prop_oneof![Just(How::Next), (1..8usize, bytes).prop_map(|(events, bytes)| How::Batch { events, bytes }),]
}

pub(crate) fn any_act() -> impl Strategy<Value = Act> {
    let request = proptest::collection::vec(any_what(), 0..5);
    let ring = prop_oneof![Just(1), Just(5_000), Just(usize::MAX)];
    let batch = prop_oneof![Just(1), Just(4), Just(1_024)];
    prop_oneof![
        10 => proptest::collection::vec(request, 1..4).prop_map(Act::Publish),
        4 => (any_wanted(), any_from()).prop_map(|(wanted, from)| Act::Open { wanted, from }),
        20 => (any::<usize>(), any_how(), 1..6usize)
            .prop_map(|(reader, how, times)| Act::Read { reader, how, times }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(reader, scanned)| Act::Resume { reader, scanned }),
        1 => any::<usize>().prop_map(|reader| Act::Leave { reader }),
        2 => (any_wanted(), any::<bool>()).prop_map(|(wanted, blocking)| Act::Handle { wanted, blocking }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(handler, waits)| Act::Unhandle { handler, waits }),
        1 => (1..4usize, ring, batch).prop_map(|(plans_cached, ring_bytes_max, batch_events_max)| {
            Act::Reopen { plans_cached, ring_bytes_max, batch_events_max }
        }),
    ]
}
