//! Who waits for which event. A reader registers under its narrowest key, so that an event costs the work of those
//! who wait for it and of nobody else.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use planwire_event::{EventType, PlanId};

use crate::recorded::Recorded;
use crate::scope::WakeKey;
use crate::sync::{AtomicU64, Notify};

/// Where a waiting reader is told that something matched. One per subscription.
#[derive(Debug)]
pub(crate) struct Slot {
    id: u64,
    /// Position of the first event that matched; 0 while none has. Written and taken under the tail's lock.
    woken_at: AtomicU64,
    notify: Notify,
}

impl Slot {
    pub(crate) fn new(id: u64) -> Self {
        Self { id, woken_at: AtomicU64::new(0), notify: Notify::new() }
    }

    /// Takes the position at which the slot was woken, if it was.
    pub(crate) fn take_woken_at(&self) -> Option<u64> {
        Some(self.woken_at.swap(0, Ordering::Relaxed)).filter(|at| *at != 0)
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.woken_at.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn wake(&self) {
        self.notify.notify_one();
    }

    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
    }
}

#[derive(Clone, Debug)]
struct Waiting {
    slot: Arc<Slot>,
    key: Arc<WakeKey>,
}

/// By the number of the slot: whoever subscribed first is woken first.
type Slots = BTreeMap<u64, Waiting>;

/// The readers that wait, by what they wait for.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    all: Slots,
    by_plan: HashMap<PlanId, Slots>,
    by_tree: HashMap<PlanId, Slots>,
    by_type: HashMap<EventType, Slots>,
    /// Readers of no type at all: only the end of the bus wakes them.
    by_nothing: Slots,
}

impl Waiters {
    pub(crate) fn register(&mut self, slot: &Arc<Slot>, key: Arc<WakeKey>) {
        let waiting = Waiting { slot: Arc::clone(slot), key: Arc::clone(&key) };
        match &*key {
            WakeKey::All => {
                self.all.insert(slot.id, waiting);
            }
            WakeKey::Plan(plan, _) => {
                self.by_plan.entry(plan.clone()).or_default().insert(slot.id, waiting);
            }
            WakeKey::Tree(root, _) => {
                self.by_tree.entry(root.clone()).or_default().insert(slot.id, waiting);
            }
            WakeKey::Types(types) if types.is_empty() => {
                self.by_nothing.insert(slot.id, waiting);
            }
            WakeKey::Types(types) => {
                for event_type in types {
                    self.by_type.entry(event_type.clone()).or_default().insert(slot.id, waiting.clone());
                }
            }
        }
    }

    pub(crate) fn remove(&mut self, slot: &Slot, key: &WakeKey) {
        match key {
            WakeKey::All => {
                self.all.remove(&slot.id);
            }
            WakeKey::Plan(plan, _) => remove_from(&mut self.by_plan, plan, slot.id),
            WakeKey::Tree(root, _) => remove_from(&mut self.by_tree, root, slot.id),
            WakeKey::Types(types) if types.is_empty() => {
                self.by_nothing.remove(&slot.id);
            }
            WakeKey::Types(types) => {
                for event_type in types {
                    remove_from(&mut self.by_type, event_type, slot.id);
                }
            }
        }
    }

    /// Marks and takes out all who wait for `event`, adding their slots to `woken`.
    pub(crate) fn take_matching(&mut self, event: &Recorded, woken: &mut Vec<Arc<Slot>>) {
        let start = woken.len();
        let mut take = |slots: &mut Slots| {
            slots.retain(|_, waiting| {
                let matches = waiting.key.wakes(event);
                if matches {
                    woken.push(Arc::clone(&waiting.slot));
                }
                !matches
            });
            slots.is_empty()
        };
        take(&mut self.all);
        if self.by_plan.get_mut(event.plan_id()).is_some_and(&mut take) {
            self.by_plan.remove(event.plan_id());
        }
        if self.by_tree.get_mut(&event.root_plan_id).is_some_and(&mut take) {
            self.by_tree.remove(&event.root_plan_id);
        }
        // Whoever waits for several types stands in several lists and leaves all of them.
        let by_type = self.by_type.remove(event.event.event_type()).unwrap_or_default();
        for (id, waiting) in by_type {
            let others = if let WakeKey::Types(types) = &*waiting.key { Some(types) } else { None };
            #[cfg(feature = "planted")]
            let others = others.filter(|_| !crate::planted::has(crate::planted::Bug::LeavesOneListOnly));
            for event_type in others.into_iter().flatten() {
                remove_from(&mut self.by_type, event_type, id);
            }
            woken.push(waiting.slot);
        }
        for slot in &woken[start..] {
            slot.woken_at.store(event.position.get(), Ordering::Relaxed);
        }
    }

    /// Takes everybody out, at the end of the bus.
    pub(crate) fn take_all(&mut self) -> Vec<Arc<Slot>> {
        let all = std::mem::take(self);
        let lists =
            all.by_plan.into_values().chain(all.by_tree.into_values()).chain(all.by_type.into_values());
        // Whoever waits for several types stands in several lists.
        let slots: BTreeMap<u64, Arc<Slot>> = lists
            .chain([all.all, all.by_nothing])
            .flat_map(BTreeMap::into_iter)
            .map(|(id, waiting)| (id, waiting.slot))
            .collect();
        slots.into_values().collect()
    }
}

fn remove_from<K: std::hash::Hash + Eq>(lists: &mut HashMap<K, Slots>, key: &K, id: u64) {
    if let Some(slots) = lists.get_mut(key) {
        slots.remove(&id);
        if slots.is_empty() {
            lists.remove(key);
        }
    }
}
