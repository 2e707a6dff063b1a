//! One reader's place in the log.
//!
//! A subscription is a cursor. It reads from the ring while the ring covers the cursor and from the store otherwise,
//! and waits where there is nothing. There is no catch-up mode and so nothing that could be skipped or repeated.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use planwire_event::{Cursor, Filter, PlanId, Position};
use planwire_store::{
    EventRepository, Page, PageLimits, PlanOrder, PlanQuery, PlanRow, PlanScope, StoreError,
};

use crate::bus::Shared;
use crate::counters::{add, subtract};
use crate::error::{ReadError, StreamError};
#[cfg(feature = "planted")]
use crate::planted::{self, Bug};
use crate::recorded::Recorded;
use crate::scope::{End, Follower};
use crate::tail::Found;
use crate::waiters::{Slot, Woken};

/// Events that [`Subscription::next`] takes from the log at a time.
const NEXT_EVENTS: usize = 64;

/// Events of a page from which on the next one is read ahead: who asks for fewer is near the end, or shall not hold so
/// much in memory.
const READ_AHEAD_EVENTS_MIN: usize = NEXT_EVENTS;

/// Bytes that the smallest event weighs.
const EVENT_WEIGHT_MIN: usize = 512;

/// Where a subscription starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartAt {
    /// Before the first event that is kept.
    #[default]
    Start,
    /// After the last event at the time of the call.
    Now,
    /// After the event at this cursor.
    After(Cursor),
}

/// What [`Subscription::next`] gives.
#[derive(Clone, Debug)]
pub enum Item {
    /// An event of the filter.
    Event(Arc<Recorded>),
    /// The plan or tree of the filter has ended, with the event at this cursor; nothing follows.
    End(Cursor),
}

/// What [`Subscription::next_batch`] gives.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Events of the filter, in order.
    pub events: Vec<Arc<Recorded>>,
    /// The plan or tree of the filter has ended after these, with the event at this cursor.
    pub end: Option<Cursor>,
    /// The bus was shut down and everything was read.
    pub closed: bool,
}

/// One reader's place in the log with its filter. Dropping it unsubscribes.
#[derive(Debug)]
pub struct Subscription {
    shared: Arc<Shared>,
    follower: Follower,
    /// Everything up to here was looked at.
    scanned: Position,
    /// The last event that was handed out.
    delivered: Position,
    /// Where this reader is woken; another one when what it waits for has changed.
    slot: Arc<Slot>,
    wait: Wait,
    /// The scope ends with the event at this position.
    end_at: Option<Position>,
    /// The scope may have ended with the event that was looked at last; the store has to tell.
    ask_end: bool,
    /// What [`Subscription::next`] has taken and not handed out.
    pending: VecDeque<Item>,
    finished: bool,
    /// The page that follows, where the store reads it meanwhile.
    ahead: Option<Ahead>,
    /// Bytes that the events of the last page weighed each.
    usual_weight: usize,
}

/// What is asked of the store.
#[derive(Clone, Debug, PartialEq)]
struct Read {
    after: Position,
    filter: Filter,
    limits: PageLimits,
}

impl Read {
    /// Whether its page is one that `other` could have brought.
    fn serves(&self, other: &Self) -> bool {
        (self.after, &self.filter) == (other.after, &other.filter)
            && self.limits.events <= other.limits.events.max(1)
            && self.limits.bytes <= other.limits.bytes
    }
}

/// How a subscription stands with the log's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// Its slot was never registered.
    Never,
    /// Its slot was registered and may have left a list that is kept for it.
    Before,
    /// Its slot is registered.
    Now,
}

/// A page that is being read.
struct Ahead {
    read: Read,
    page: BoxFuture<'static, Result<Page, StoreError>>,
}

impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read.fmt(f)
    }
}

/// What to do where the filter names a plan that the log does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MissingPlan {
    Refuse,
    Wait,
}

impl Subscription {
    pub(crate) async fn open(
        shared: Arc<Shared>,
        filter: Filter,
        from: StartAt,
        missing: MissingPlan,
    ) -> Result<Self, StreamError> {
        let start = shared.resolve_start(from).await?;
        let mut follower = Follower::new(&filter);
        let mut end_at = None;
        if let Some(plan) = filter.named_plan() {
            match plan_row(&*shared.repository, plan).await? {
                None if missing == MissingPlan::Refuse => {
                    return Err(StreamError::UnknownPlan { plan_id: plan.clone() });
                }
                None => {}
                Some(row) => {
                    if follower.is_tree() {
                        let members = tree_ids(&*shared.repository, &row).await?;
                        follower.place(plan, &row.root_plan_id, members);
                    }
                    end_at = scope_end(&*shared.repository, &follower, &row).await?;
                    follower.skip_top_end(row.last_position, start);
                }
            }
        }
        add(&shared.counters.subscriptions_open, 1);
        follower.take_key_changed();
        let slot = shared.tail.new_slot(follower.wake_key());
        let (wait, pending) = (Wait::Never, VecDeque::new());
        let (ask_end, finished) = (false, false);
        let (scanned, delivered) = (start, start);
        Ok(Self {
            shared,
            follower,
            scanned,
            delivered,
            slot,
            wait,
            end_at,
            ask_end,
            pending,
            finished,
            ahead: None,
            usual_weight: EVENT_WEIGHT_MIN,
        })
    }

    /// The next event, or the end of the filter's plan or tree; `None` after that, or when the bus is shut down and
    /// everything was read. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`ReadError::Store`] if the store could not be read; calling again goes on at the same place.
    pub async fn next(&mut self) -> Result<Option<Item>, ReadError> {
        loop {
            if let Some(item) = self.pending.pop_front() {
                if let Item::Event(event) = &item {
                    self.delivered = event.position;
                }
                return Ok(Some(item));
            }
            let batch = self.read(Room::new(NEXT_EVENTS, usize::MAX)).await?;
            self.pending.extend(batch.events.into_iter().map(Item::Event));
            self.pending.extend(batch.end.map(Item::End));
            if batch.closed {
                return Ok(None);
            }
        }
    }

    /// What lies next: waits until there is something, then gives what there is, at most `events_max` events and
    /// `bytes_max` bytes as [`planwire_event::Event::weight_bytes`] counts them, but at least one event. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`ReadError::Store`] if the store could not be read; calling again goes on at the same place.
    pub async fn next_batch(&mut self, events_max: usize, bytes_max: usize) -> Result<Batch, ReadError> {
        let room = Room::new(events_max, bytes_max);
        let batch = if self.pending.is_empty() { self.read(room).await? } else { self.take_pending(room) };
        self.delivered = batch.events.last().map_or(self.delivered, |event| event.position);
        Ok(batch)
    }

    /// What [`Subscription::next`] has read and not handed out.
    fn take_pending(&mut self, mut room: Room) -> Batch {
        let mut batch = Batch::default();
        loop {
            let next = self.pending.pop_front_if(|item| match item {
                Item::Event(event) => room.takes(event),
                Item::End(_) => !room.is_full(),
            });
            match next {
                Some(Item::Event(event)) => {
                    room.take(&event);
                    batch.events.push(event);
                }
                Some(Item::End(end)) => batch.end = Some(end),
                None => break,
            }
        }
        batch
    }

    async fn read(&mut self, mut room: Room) -> Result<Batch, ReadError> {
        let (mut batch, whole) = (Batch::default(), room);
        loop {
            let hand_out = self.ask_end && !batch.events.is_empty();
            #[cfg(feature = "planted")]
            let hand_out = hand_out && !planted::has(Bug::TakenAndDropped);
            if hand_out {
                // What was taken is handed out before the store is asked: the caller may drop this future.
                return Ok(batch);
            }
            if self.ask_end {
                self.end_at = self.ask_for_end().await?;
                self.ask_end = false;
            }
            if let Some(end) = self.end_at.filter(|end| self.scanned >= *end) {
                batch.end = (!self.finished).then(|| self.shared.cursor(end));
                batch.closed = self.finished;
                self.finished = true;
                return Ok(batch);
            }
            if !batch.events.is_empty() {
                return Ok(batch);
            }
            if self.wait == Wait::Now && !self.finish_wait().await {
                batch.closed = true;
                return Ok(batch);
            }
            match self.look() {
                Found::Events(events) => {
                    // The ring has caught the reader: a page that is read ahead would lie here for ever.
                    self.ahead = None;
                    tokio::task::consume_budget().await;
                    self.take_in(events, &mut batch, &mut room);
                }
                Found::Behind => {
                    let page = self.read_store(&room).await?;
                    let (scanned_to, more) = (page.scanned_to, !page.at_head);
                    let complete = self.take_page(page, &mut batch, &mut room);
                    #[cfg(feature = "planted")]
                    let complete = complete || planted::has(Bug::PageCutShort);
                    if complete {
                        self.scanned = self.scanned.max(scanned_to);
                    }
                    if complete && more {
                        self.read_ahead(&whole);
                    }
                }
                Found::Waiting => {}
                Found::Closed => {
                    batch.closed = true;
                    return Ok(batch);
                }
            }
        }
    }

    fn look(&mut self) -> Found {
        if self.follower.take_key_changed() {
            self.leave();
            self.slot = Arc::new(self.slot.under(self.follower.wake_key()));
        }
        let found = self.shared.tail.after(self.scanned, &self.slot);
        if matches!(found, Found::Waiting) {
            self.wait = Wait::Now;
        }
        found
    }

    /// Takes the slot out of wherever it was registered.
    fn leave(&mut self) {
        if std::mem::replace(&mut self.wait, Wait::Never) != Wait::Never {
            self.shared.tail.leave(&self.slot);
        }
    }

    /// Waits until the slot is woken; false if the bus was closed meanwhile.
    async fn finish_wait(&mut self) -> bool {
        let woken = self.slot.woken().await;
        self.wait = Wait::Before;
        match woken {
            #[cfg(feature = "planted")]
            Woken::At(at) if planted::has(Bug::WokenOneLate) => self.scanned = at,
            Woken::At(at) => self.scanned = self.scanned.max(at.previous()),
            Woken::Closed => return false,
        }
        true
    }

    /// The page after the cursor: the one that was begun ahead if that is one, else one that is read now.
    async fn read_store(&mut self, room: &Room) -> Result<Page, StoreError> {
        let read = self.read_for(room);
        let ahead = match self.ahead.take() {
            Some(ahead) if ahead.read.serves(&read) => ahead,
            _ => self.begin(read),
        };
        // It stays where it is: whoever drops this future may come back for the page.
        let page = (&mut self.ahead.insert(ahead).page).await;
        self.ahead = None;
        page
    }

    /// What to ask of the store for a batch with so much room.
    fn read_for(&self, room: &Room) -> Read {
        let limits = PageLimits {
            bytes: room.bytes.clamp(1, planwire_store::PAGE_BYTES_MAX),
            // What does not fit would be read again. So a page has fewer events than would fit if they weighed as
            // much as those before: some weigh more.
            ..PageLimits::events(room.events.min(room.bytes / 8 * 7 / self.usual_weight))
        };
        Read { after: self.scanned, filter: self.follower.store_filter(), limits }
    }

    fn begin(&self, read: Read) -> Ahead {
        add(&self.shared.counters.store_pages, 1);
        let (repository, asked) = (Arc::clone(&self.shared.repository), read.clone());
        let page =
            async move { repository.read_after(asked.after, &asked.filter, asked.limits).await }.boxed();
        Ahead { read, page }
    }

    /// Lets the store read the next page while the one before is handed out, for a batch with as much room.
    fn read_ahead(&mut self, room: &Room) {
        let read = self.read_for(room);
        if read.limits.events < READ_AHEAD_EVENTS_MIN || !self.shared.repository.reads_ahead() {
            return;
        }
        let mut ahead = self.begin(read);
        // Asked once, the store begins; what it answers is looked at when the page is needed.
        if let Some(page) = (&mut ahead.page).now_or_never() {
            ahead.page = std::future::ready(page).boxed();
        }
        self.ahead = Some(ahead);
    }

    /// Takes a page of the store in; false if it stopped before the page's end.
    fn take_page(&mut self, page: Page, batch: &mut Batch, room: &mut Room) -> bool {
        let counters = &self.shared.counters;
        let events: Vec<_> = page
            .events
            .into_iter()
            .map(|event| Arc::new(Recorded::of_store(event, Arc::clone(counters))))
            .collect();
        let last = events.last().map(|event| event.position);
        let weight: usize = events.iter().map(|event| event.event.weight_bytes()).sum();
        self.usual_weight = weight.checked_div(events.len()).unwrap_or(self.usual_weight);
        self.take_in(events, batch, room);
        last.is_none_or(|last| self.scanned >= last)
            && !self.ask_end
            && self.end_at.is_none_or(|end| self.scanned < end)
    }

    /// Looks at events in order until the batch is full or the scope may have ended.
    fn take_in(&mut self, mut events: Vec<Arc<Recorded>>, batch: &mut Batch, room: &mut Room) {
        let mut stopped = false;
        events.retain(|event| {
            stopped |= !room.takes(event) || self.end_at.is_some_and(|end| event.position > end);
            if stopped {
                return false;
            }
            let meaning = self.follower.take_in(event);
            self.scanned = event.position;
            if meaning.wanted {
                room.take(event);
            }
            match meaning.end {
                End::No => {}
                End::Yes => self.end_at = Some(event.position),
                End::Ask => self.ask_end = true,
            }
            stopped = meaning.end != End::No;
            meaning.wanted
        });
        if batch.events.is_empty() {
            batch.events = events;
        } else {
            batch.events.append(&mut events);
        }
    }

    async fn ask_for_end(&mut self) -> Result<Option<Position>, StoreError> {
        let Some(plan) = self.follower.named_plan() else { return Ok(None) };
        let Some(row) = plan_row(&*self.shared.repository, plan).await? else { return Ok(None) };
        scope_end(&*self.shared.repository, &self.follower, &row).await
    }

    /// Everything up to here was looked at, and handed out if it matched: what a heartbeat carries.
    #[must_use]
    pub fn scanned(&self) -> Cursor {
        #[cfg(feature = "planted")]
        if planted::has(Bug::ScannedAheadOfDelivered) {
            return self.shared.cursor(self.scanned);
        }
        if let Some(Item::Event(event)) = self.pending.front() {
            return self.shared.cursor(event.position.previous());
        }
        let position = match self.wait {
            Wait::Now => self.shared.tail.scanned(&self.slot, self.scanned),
            Wait::Before | Wait::Never => self.scanned,
        };
        self.shared.cursor(position)
    }

    /// The last event that was handed out, or the start.
    #[must_use]
    pub fn delivered(&self) -> Cursor {
        self.shared.cursor(self.delivered)
    }

    /// Where the plan or tree of the filter ended, if it had ended when the subscription was opened or has since.
    #[must_use]
    pub fn ended_at(&self) -> Option<Cursor> {
        self.end_at.map(|end| self.shared.cursor(end))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.leave();
        subtract(&self.shared.counters.subscriptions_open, 1);
    }
}

/// What still fits into a batch.
#[derive(Clone, Copy)]
struct Room {
    events: usize,
    bytes: usize,
    /// Nothing was taken so far: the first event fits whatever it weighs.
    empty: bool,
}

impl Room {
    fn new(events: usize, bytes: usize) -> Self {
        Self { events: events.max(1), bytes: bytes.max(1), empty: true }
    }

    const fn is_full(&self) -> bool {
        self.events == 0 || self.bytes == 0
    }

    fn takes(&self, event: &Recorded) -> bool {
        self.events > 0 && (self.empty || event.event.weight_bytes() <= self.bytes)
    }

    fn take(&mut self, event: &Recorded) {
        self.events -= 1;
        self.bytes = self.bytes.saturating_sub(event.event.weight_bytes());
        self.empty = false;
    }
}

async fn plan_row(repository: &dyn EventRepository, plan: &PlanId) -> Result<Option<PlanRow>, StoreError> {
    let query = PlanQuery { scope: PlanScope::These(vec![plan.clone()]), ..PlanQuery::default() };
    Ok(repository.plans(&query).await?.plans.pop())
}

/// The plans below `row`, itself among them; empty for a root, whose tree is known by its root alone.
async fn tree_ids(repository: &dyn EventRepository, row: &PlanRow) -> Result<HashSet<PlanId>, StoreError> {
    let mut ids = HashSet::new();
    if row.plan_id == row.root_plan_id {
        return Ok(ids);
    }
    ids.insert(row.plan_id.clone());
    for_each_plan(repository, &row.plan_id, |plan| {
        ids.insert(plan.plan_id);
    })
    .await?;
    Ok(ids)
}

/// Where the scope of a follower ended, if it has: with its plan, or with the last plan of its tree.
async fn scope_end(
    repository: &dyn EventRepository,
    follower: &Follower,
    row: &PlanRow,
) -> Result<Option<Position>, StoreError> {
    if !follower.is_tree() || row.last_position.is_none() {
        return Ok(row.last_position);
    }
    let scope = PlanScope::Tree(row.plan_id.clone());
    let open = PlanQuery { scope, open_only: true, limit: 1, ..PlanQuery::default() };
    if !repository.plans(&open).await?.plans.is_empty() {
        return Ok(None);
    }
    let mut last = row.last_position;
    for_each_plan(repository, &row.plan_id, |plan| last = last.max(plan.last_position)).await?;
    Ok(last)
}

async fn for_each_plan(
    repository: &dyn EventRepository,
    top: &PlanId,
    mut visit: impl FnMut(PlanRow),
) -> Result<(), StoreError> {
    let scope = PlanScope::Tree(top.clone());
    let mut query = PlanQuery { scope, order: PlanOrder::OldestFirst, ..PlanQuery::default() };
    loop {
        let page = repository.plans(&query).await?;
        page.plans.into_iter().for_each(&mut visit);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(()),
        }
    }
}
