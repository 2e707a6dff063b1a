//! Who reads in a model: event by event or in batches, dropping reads while they wait and streams between them.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use planwire_bus::{Item, Recorded, StartAt, Subscription};
use planwire_event::{Filter, StoredEvent};
use shuttle::future::block_on;
use shuttle::thread::JoinHandle;

use crate::kit::{Kit, below, chance, one_of};

/// Reads dropped and streams left by one reader: afterwards it only waits, so that it must be woken.
const WHIMS_MAX: usize = 4;

/// A reader's filter, and where it starts.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(crate) filter: Filter,
    pub(crate) from: StartAt,
}

/// What a reader saw.
pub(crate) struct Seen {
    filter: Filter,
    start: u64,
    positions: Vec<u64>,
    /// How far the reader was told that it has missed nothing, and how much it had been handed by then.
    scanned: Vec<(u64, usize)>,
    ended: bool,
    /// The bus was shut down before the reader could open its stream, once more perhaps.
    cut_short: bool,
}

impl Reader {
    pub(crate) fn new(filter: Filter, from: StartAt) -> Self {
        Self { filter, from }
    }

    /// Reads on a thread of its own until the scope or the bus ends.
    pub(crate) fn spawn(self, kit: &Kit) -> JoinHandle<Seen> {
        let kit = kit.clone();
        shuttle::thread::spawn(move || block_on(self.run(&kit)))
    }

    async fn run(self, kit: &Kit) -> Seen {
        let (filter, positions, scanned) = (self.filter, Vec::new(), Vec::new());
        let mut seen = Seen { filter, start: 0, positions, scanned, ended: false, cut_short: true };
        let Ok(mut stream) = kit.bus.stream(seen.filter.clone(), self.from).await else { return seen };
        seen.start = stream.delivered().position.get();
        let mut whims = WHIMS_MAX;
        loop {
            if whims > 0 && chance(15) {
                whims -= 1;
                let from = if chance(50) { stream.scanned() } else { stream.delivered() };
                drop(stream);
                match kit.bus.stream(seen.filter.clone(), StartAt::After(from)).await {
                    Ok(again) => stream = again,
                    Err(_) => return seen,
                }
            }
            let cut = whims > 0 && chance(25);
            whims -= usize::from(cut);
            let polls = if cut { 1 + below(2) } else { usize::MAX };
            let over = if chance(50) {
                let read = at_most(polls, stream.next()).await;
                read.is_some_and(|item| seen.take_item(item.unwrap()))
            } else {
                let read =
                    at_most(polls, stream.next_batch(1 + below(3), one_of(&[1, 1_500, usize::MAX]))).await;
                read.is_some_and(|batch| seen.take_batch(batch.unwrap()))
            };
            seen.look(&stream);
            if over {
                seen.cut_short = false;
                return seen;
            }
        }
    }
}

impl Seen {
    fn take(&mut self, event: &Recorded) {
        self.positions.push(event.position.get());
    }

    /// True if nothing follows.
    fn take_item(&mut self, item: Option<Item>) -> bool {
        match item {
            Some(Item::Event(event)) => self.take(&event),
            Some(Item::End(_)) => self.ended = true,
            None => return true,
        }
        false
    }

    fn take_batch(&mut self, batch: planwire_bus::Batch) -> bool {
        batch.events.iter().for_each(|event| self.take(event));
        self.ended |= batch.end.is_some();
        batch.closed
    }

    fn look(&mut self, stream: &Subscription) {
        self.scanned.push((stream.scanned().position.get(), self.positions.len()));
    }

    /// Each event of the filter after the start once and in order, and no place beyond what was handed out; gives
    /// their number.
    pub(crate) fn check(&self, stored: &[Arc<StoredEvent>]) -> usize {
        let of_filter =
            |event: &&Arc<StoredEvent>| wants(&self.filter, event) && event.position.get() > self.start;
        let due: Vec<u64> = stored.iter().filter(of_filter).map(|event| event.position.get()).collect();
        let handed = if self.cut_short { &due[..due.len().min(self.positions.len())] } else { &due[..] };
        assert_eq!(self.positions, handed, "{:?} after {}", self.filter, self.start);
        for (scanned, handed) in &self.scanned {
            let missed = due[*handed..].iter().find(|position| *position <= scanned);
            assert_eq!(missed, None, "scanned is {scanned}, and that was not handed out");
        }
        due.len()
    }

    /// Whether the reader was told of the end of its plan, or could not be.
    pub(crate) const fn ended(&self) -> bool {
        self.ended || self.cut_short
    }
}

/// Whether a filter wants an event, by the plain definition; trees are no plans of models.
fn wants(filter: &Filter, event: &StoredEvent) -> bool {
    let of_plan = filter.named_plan().is_none_or(|plan| event.plan_id() == plan);
    of_plan && filter.types.contains(event.event.event_type())
}

/// Polls a future so often, then drops it: `None`.
pub(crate) async fn at_most<T>(mut polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(move |context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if polls <= 1 => Poll::Ready(None),
        Poll::Pending => {
            polls -= 1;
            Poll::Pending
        }
    })
    .await
}
