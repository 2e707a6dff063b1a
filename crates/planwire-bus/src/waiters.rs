//! Who waits for which event. A reader registers under its narrowest key, so that an event costs the work of those
//! who wait for it and of nobody else.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use planwire_event::{EventType, PlanId, Position};

use crate::recorded::Recorded;
use crate::scope::WakeKey;
use crate::sync::{AtomicU64, AtomicWaker};

/// What a slot holds while nothing matched.
const NOTHING: u64 = 0;

/// What it holds when the bus has ended: no event has this position.
const CLOSED: u64 = u64::MAX;

/// Where a waiting reader is told that something matched. One per subscription and key.
#[derive(Debug)]
pub(crate) struct Slot {
    id: u64,
    key: WakeKey,
    /// Position of the first event that matched, [`NOTHING`] or [`CLOSED`]. Written under the tail's lock while the slot
    /// is registered, taken by its reader once it is not.
    mark: AtomicU64,
    reader: AtomicWaker,
}

/// Why a reader was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// The event at this position matched; nothing before it did.
    At(Position),
    /// The bus is closed.
    Closed,
}

impl Slot {
    pub(crate) fn new(id: u64, key: WakeKey) -> Self {
        Self { id, key, mark: AtomicU64::new(NOTHING), reader: AtomicWaker::new() }
    }

    /// A slot of the same reader, who waits for something else from now on.
    pub(crate) fn under(&self, key: WakeKey) -> Self {
        Self::new(self.id, key)
    }

    /// Whether an event has matched that the reader does not know of.
    pub(crate) fn is_woken(&self) -> bool {
        !matches!(self.mark.load(Ordering::Relaxed), NOTHING | CLOSED)
    }

    /// Marks the slot, which is no longer registered.
    fn mark(&self, mark: u64) {
        self.mark.store(mark, Ordering::Relaxed);
    }

    /// Tells the reader, who looks at the mark.
    pub(crate) fn wake(&self) {
        self.reader.wake();
    }

    /// Waits until the slot, which is registered, is marked, and takes the mark. Cancel safe.
    pub(crate) async fn woken(&self) -> Woken {
        poll_fn(|cx| self.poll_woken(cx)).await
    }

    fn poll_woken(&self, cx: &Context<'_>) -> Poll<Woken> {
        if self.mark.load(Ordering::Relaxed) == NOTHING {
            // Who marks it from now on finds the waker, and what was marked before is seen below.
            self.reader.register(cx.waker());
        }
        match self.mark.swap(NOTHING, Ordering::Relaxed) {
            NOTHING => Poll::Pending,
            CLOSED => Poll::Ready(Woken::Closed),
            at => Poll::Ready(Woken::At(Position::new(at))),
        }
    }
}

/// Those who wait under one key, by the numbers of their slots: whoever subscribed first is woken first.
///
/// Readers come back in about the order in which they were woken, so that most stand at the end when they come.
#[derive(Debug, Default)]
struct List(Vec<(u64, Arc<Slot>)>);

impl List {
    fn insert(&mut self, slot: &Arc<Slot>) {
        let at = match self.0.last() {
            Some((last, _)) if *last > slot.id => self.0.partition_point(|(id, _)| *id < slot.id),
            _ => self.0.len(),
        };
        self.0.insert(at, (slot.id, Arc::clone(slot)));
    }

    fn remove(&mut self, slot: &Slot) {
        if let Ok(at) = self.0.binary_search_by_key(&slot.id, |(id, _)| *id) {
            self.0.remove(at);
        }
    }

    /// Moves those whom `event` wakes to `woken`.
    fn take_matching(&mut self, event: &Recorded, woken: &mut Vec<Arc<Slot>>) {
        woken.extend(self.0.extract_if(.., |(_, slot)| slot.key.wakes(event)).map(|(_, slot)| slot));
    }
}

/// The readers that wait, by what they wait for.
///
/// A list stays when all who stood in it are woken, since most come back; it goes when a reader leaves it empty.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    all: List,
    by_plan: HashMap<PlanId, List>,
    by_tree: HashMap<PlanId, List>,
    by_type: HashMap<EventType, List>,
    /// Readers of no type at all: only the end of the bus wakes them.
    by_nothing: List,
}

impl Waiters {
    pub(crate) fn register(&mut self, slot: &Arc<Slot>) {
        match &slot.key {
            WakeKey::All => self.all.insert(slot),
            WakeKey::Plan(plan, _) => insert_into(&mut self.by_plan, plan, slot),
            WakeKey::Tree(root, _) => insert_into(&mut self.by_tree, root, slot),
            WakeKey::Types(types) if types.is_empty() => self.by_nothing.insert(slot),
            WakeKey::Types(types) => {
                types.iter().for_each(|event_type| insert_into(&mut self.by_type, event_type, slot));
            }
        }
    }

    /// Takes out a reader that will not come back, whether or not it waits.
    pub(crate) fn leave(&mut self, slot: &Slot) {
        match &slot.key {
            WakeKey::All => self.all.remove(slot),
            WakeKey::Plan(plan, _) => leave_from(&mut self.by_plan, plan, slot),
            WakeKey::Tree(root, _) => leave_from(&mut self.by_tree, root, slot),
            WakeKey::Types(types) if types.is_empty() => self.by_nothing.remove(slot),
            WakeKey::Types(types) => {
                types.iter().for_each(|event_type| leave_from(&mut self.by_type, event_type, slot));
            }
        }
    }

    /// Marks and takes out all who wait for `event`, adding their slots to `woken`.
    pub(crate) fn take_matching(&mut self, event: &Recorded, woken: &mut Vec<Arc<Slot>>) {
        let start = woken.len();
        self.all.take_matching(event, woken);
        if let Some(list) = self.by_plan.get_mut(event.plan_id()) {
            list.take_matching(event, woken);
        }
        if let Some(list) = self.by_tree.get_mut(&event.root_plan_id) {
            list.take_matching(event, woken);
        }
        self.take_of_type(event.event.event_type(), woken);
        for slot in &woken[start..] {
            slot.mark(event.position.get());
        }
    }

    /// Whoever waits for several types stands in several lists and is taken out of all of them.
    fn take_of_type(&mut self, event_type: &EventType, woken: &mut Vec<Arc<Slot>>) {
        let Some(list) = self.by_type.get_mut(event_type) else { return };
        let start = woken.len();
        woken.extend(list.0.drain(..).map(|(_, slot)| slot));
        #[cfg(feature = "planted")]
        if crate::planted::has(crate::planted::Bug::LeavesOneListOnly) {
            return;
        }
        for slot in &woken[start..] {
            let WakeKey::Types(types) = &slot.key else { continue };
            for other in types.iter().filter(|other| *other != event_type) {
                if let Some(list) = self.by_type.get_mut(other) {
                    list.remove(slot);
                }
            }
        }
    }

    /// Marks and takes out everybody, at the end of the bus.
    pub(crate) fn take_all(&mut self) -> Vec<Arc<Slot>> {
        let all = std::mem::take(self);
        let lists =
            all.by_plan.into_values().chain(all.by_tree.into_values()).chain(all.by_type.into_values());
        // Whoever waits for several types stands in several lists.
        let slots: BTreeMap<u64, Arc<Slot>> =
            lists.chain([all.all, all.by_nothing]).flat_map(|list| list.0).collect();
        slots.into_values().inspect(|slot| slot.mark(CLOSED)).collect()
    }
}

fn insert_into<K: Hash + Eq + Clone>(lists: &mut HashMap<K, List>, key: &K, slot: &Arc<Slot>) {
    match lists.get_mut(key) {
        Some(list) => list.insert(slot),
        None => lists.entry(key.clone()).or_default().insert(slot),
    }
}

fn leave_from<K: Hash + Eq>(lists: &mut HashMap<K, List>, key: &K, slot: &Slot) {
    if let Some(list) = lists.get_mut(key) {
        list.remove(slot);
        if list.0.is_empty() {
            lists.remove(key);
        }
    }
}
