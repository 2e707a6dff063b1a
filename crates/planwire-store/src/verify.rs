//! Verifying a log: every leaf from the first event to the head, and what the store keeps beside them.
//!
//! The walk recomputes each leaf from the members of its event and grows a tree of its own, whose roots must be those
//! that were signed on the way and that the head has at the end. It stops at the first bad position, since nothing can
//! be said of what follows. **Invariant:** the walk believes nothing but the rows it reads and the roots it was given.

mod flaw;
mod plans;
mod walk;

pub use flaw::Flaw;

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use planwire_event::{Digest, LogId, Position};

use crate::contract::{EventRepository, Head, PAGE_BYTES_MAX, PlanRow, Row, StoreError};
use crate::merkle::HASH_BYTES;
use crate::plan_query::{PlanOrder, PlanQuery};
use crate::verify::walk::Walk;

/// A store whose rows can be seen as they lie there.
pub trait Auditable: EventRepository {
    /// The end of the log.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if it is none.
    fn head(&self) -> BoxFuture<'_, Result<Head, StoreError>>;

    /// Rows after `after` in position order: a page of them, and what keeps the next one from being read.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read at all.
    fn rows(&self, after: Position) -> BoxFuture<'_, Result<RowPage, StoreError>>;

    /// What the store finds wrong with itself and with what it keeps beside events: indexes, documents, blobs.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    fn inspect(&self) -> BoxFuture<'_, Result<Vec<Flaw>, StoreError>>;
}

/// Rows as they are stored.
#[derive(Debug, Default)]
pub struct RowPage {
    /// In position order.
    pub rows: Vec<Row>,
    /// Why the row after these cannot be read.
    pub damage: Option<Damage>,
}

impl RowPage {
    /// Takes the rows after `after` until there are enough bytes of them, or one cannot be read. Of an error that names
    /// no row, `malformed` says what is wrong with the next one; none if the store failed for another reason.
    pub(crate) fn gather(
        after: Position,
        rows: impl Iterator<Item = Result<Row, StoreError>>,
        malformed: impl Fn(&StoreError) -> Option<String>,
    ) -> Result<Self, StoreError> {
        let (mut page, mut bytes) = (Self::default(), 0);
        for row in rows {
            match row {
                Ok(row) => {
                    bytes += row.event.event.payload().as_str().len();
                    page.rows.push(row);
                }
                Err(StoreError::Damaged { position, message }) => {
                    page.damage = Some(Damage { position, message });
                }
                Err(error) => {
                    let position = page.rows.last().map_or(after, |row| row.event.position).next();
                    let message = malformed(&error).ok_or(error)?;
                    page.damage = Some(Damage { position, message });
                }
            }
            if page.damage.is_some() || bytes >= PAGE_BYTES_MAX {
                break;
            }
        }
        Ok(page)
    }
}

/// A row that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Its place.
    pub position: Position,
    /// What is wrong.
    pub message: String,
}

/// The root that the log had at a size, as somebody else noted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// How many events the log had.
    pub size: u64,
    /// Its Merkle root then.
    pub root: [u8; HASH_BYTES],
}

/// What verifying a log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The log.
    pub log_id: LogId,
    /// Every event up to here is good.
    pub position: Position,
    /// The Merkle root up to there.
    pub root: [u8; HASH_BYTES],
    /// What is wrong; the first bad position comes first.
    pub flaws: Vec<Flaw>,
}

impl Verified {
    /// The root in Base64, as it stands in a checkpoint.
    #[must_use]
    pub fn root_text(&self) -> String {
        STANDARD.encode(self.root)
    }
}

/// Verifies a log from its first event to the head that it has now, also while somebody writes it.
///
/// `marks` are roots that the log must have had. `progress` is told how far the walk is and how far it goes, about once
/// for each page.
///
/// # Errors
///
/// [`StoreError`] if the store cannot be read; what is damaged in it is a [`Flaw`].
pub async fn verify(
    store: &dyn Auditable,
    marks: &[Mark],
    mut progress: impl FnMut(Position, Position),
) -> Result<Verified, StoreError> {
    // Before the rows: what is written meanwhile is not looked at.
    let head = store.head().await?;
    let mut walk = Walk::new(marks);
    let walked = go(&mut walk, store, &head, &mut progress).await;
    let rest = store.inspect().await?;
    let mut flaws = match walked {
        Ok(flaw) => flaw.into_iter().collect(),
        Err(StoreError::Damaged { position, message }) => vec![Flaw::Unreadable { position, message }],
        // The database finds the reason itself.
        Err(_) if !rest.is_empty() => vec![],
        Err(error) => return Err(error),
    };
    flaws.extend(rest);
    Ok(Verified { log_id: head.log_id, position: walk.position(), root: walk.root(), flaws })
}

/// Walks up to the head; gives the first flaw.
async fn go(
    walk: &mut Walk<'_>,
    store: &dyn Auditable,
    head: &Head,
    progress: &mut impl FnMut(Position, Position),
) -> Result<Option<Flaw>, StoreError> {
    let mut plans = PlanRows::new(store);
    while walk.position() < head.position {
        let page = store.rows(walk.position()).await?;
        let flaw = take(walk, &mut plans, head, page).await?;
        progress(walk.position(), head.position);
        if flaw.is_some() {
            return Ok(flaw);
        }
    }
    finish(walk, &mut plans, store, head).await
}

/// Takes the rows of a page up to the head; gives the first flaw.
async fn take(
    walk: &mut Walk<'_>,
    plans: &mut PlanRows<'_>,
    head: &Head,
    page: RowPage,
) -> Result<Option<Flaw>, StoreError> {
    let before = walk.position();
    for row in page.rows.iter().filter(|row| row.event.position <= head.position) {
        let listed = if walk::starts(row) { plans.next().await? } else { None };
        if let Err(flaw) = walk.take(row, listed.as_ref()) {
            return Ok(Some(flaw));
        }
    }
    if walk.position() >= head.position {
        return Ok(None);
    }
    let position = walk.position().next();
    match page.damage {
        Some(damage) if damage.position <= position => {
            Ok(Some(Flaw::Unreadable { position, message: damage.message }))
        }
        Some(_) => Ok(Some(Flaw::Missing { position })),
        // What there is lies behind the head.
        None if walk.position() == before => Ok(Some(Flaw::Missing { position })),
        None => Ok(None),
    }
}

/// Compares the end of the walk with the head, and looks for what should not be behind it.
async fn finish(
    walk: &mut Walk<'_>,
    plans: &mut PlanRows<'_>,
    store: &dyn Auditable,
    head: &Head,
) -> Result<Option<Flaw>, StoreError> {
    if let Err(flaw) = walk.finish(head) {
        return Ok(Some(flaw));
    }
    if let Some(row) = plans.next().await?.filter(|row| row.first_position <= head.position) {
        let (position, plan_id) = (row.first_position, row.plan_id);
        return Ok(Some(Flaw::Plan { position, plan_id, what: "it never started" }));
    }
    // A writer may have gone on: then the head has moved with its events.
    let page = store.rows(head.position).await?;
    let now = store.head().await?;
    let pruned_to = store.log_info().await?.pruned_to;
    if pruned_to > Position::ZERO {
        return Ok(Some(Flaw::Pruned { position: pruned_to }));
    }
    let beyond = page.rows.last().map(|row| row.event.position).filter(|last| *last > now.position);
    if beyond.is_some() {
        return Ok(Some(Flaw::Beyond { position: now.position.next() }));
    }
    // Who owns an open plan may have changed behind the head.
    Ok(walk.check_owners().err().filter(|_| now.position == head.position))
}

/// Rows of `plans` in the order of their start.
struct PlanRows<'a> {
    store: &'a dyn Auditable,
    query: PlanQuery,
    waiting: VecDeque<PlanRow>,
    at_end: bool,
}

impl<'a> PlanRows<'a> {
    fn new(store: &'a dyn Auditable) -> Self {
        let query = PlanQuery { order: PlanOrder::OldestFirst, ..PlanQuery::default() };
        Self { store, query, waiting: VecDeque::new(), at_end: false }
    }

    async fn next(&mut self) -> Result<Option<PlanRow>, StoreError> {
        if self.waiting.is_empty() && !self.at_end {
            let page = self.store.plans(&self.query).await?;
            self.at_end = page.next.is_none();
            self.query.after = page.next;
            self.waiting.extend(page.plans);
        }
        Ok(self.waiting.pop_front())
    }
}

/// The digest that something is stored under, as far as it is one.
pub(crate) fn digest_of(name: &[u8]) -> Digest {
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
    bytes.into()
}
