//! How one read goes through the log: which rows it takes, and where it stops.
//!
//! **Invariant:** every store stops at the same row for the same read, so that their pages are equal.

use std::ops::ControlFlow;
use std::sync::Arc;

use planwire_event::{EventTypes, Position, StoredEvent};

use crate::contract::{PAGE_BYTES_MAX, PAGE_EVENTS_MAX, Page, PageLimits, StoreError};

/// Rows that one page may look at, so that a reader of rare events cannot keep a reader thread for long: about 10 ms.
pub(crate) const SCAN_ROWS_MAX: usize = 10_000;

const _: () = assert!(PAGE_EVENTS_MAX <= SCAN_ROWS_MAX);

/// One read under way.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    types: Option<Vec<&'a [u8]>>,
    limits: PageLimits,
    head: Position,
    events: Vec<Arc<StoredEvent>>,
    bytes: usize,
    rows: usize,
    scanned_to: Position,
    full: bool,
}

impl<'a> Scan<'a> {
    /// Begins after `after` in a log that ends at `head`.
    pub(crate) fn new(after: Position, head: Position, types: &'a EventTypes, limits: PageLimits) -> Self {
        let types = match types {
            EventTypes::All => None,
            EventTypes::Only(types) => Some(types.iter().map(|known| known.as_str().as_bytes()).collect()),
        };
        let limits = PageLimits {
            events: limits.events.clamp(1, PAGE_EVENTS_MAX),
            bytes: limits.bytes.min(PAGE_BYTES_MAX),
        };
        Self { types, limits, head, events: Vec::new(), bytes: 0, rows: 0, scanned_to: after, full: false }
    }

    /// Looks at a row: if it is of the plans and types wanted, `event` decodes it.
    pub(crate) fn offer(
        &mut self,
        position: Position,
        of_plans: bool,
        event_type: &[u8],
        event: impl FnOnce() -> Result<Arc<StoredEvent>, StoreError>,
    ) -> Result<ControlFlow<()>, StoreError> {
        if of_plans && self.types.as_ref().is_none_or(|types| types.contains(&event_type)) {
            let event = event()?;
            self.bytes += event.event.payload().as_str().len();
            self.events.push(event);
        }
        self.rows += 1;
        self.scanned_to = position;
        self.full = self.events.len() >= self.limits.events
            || self.bytes >= self.limits.bytes && !self.events.is_empty()
            || self.rows >= SCAN_ROWS_MAX;
        Ok(if self.full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Whether events of all types are wanted.
    pub(crate) const fn takes_all_types(&self) -> bool {
        self.types.is_none()
    }

    /// Events that were taken.
    pub(crate) const fn events_so_far(&self) -> usize {
        self.events.len()
    }

    /// Events that still fit.
    pub(crate) const fn events_left(&self) -> usize {
        self.limits.events.saturating_sub(self.events.len())
    }

    /// Events that still fit if they are as large as those before.
    pub(crate) fn rows_that_fit(&self) -> usize {
        let size = (self.bytes / self.events.len().max(1)).max(1);
        self.limits.bytes.saturating_sub(self.bytes) / size
    }

    /// Says that the rows up to `position` were as many as a page may look at, where a store leaves out by itself what
    /// is not wanted.
    #[cfg(feature = "postgres")]
    pub(crate) fn stop_at(&mut self, position: Position) {
        (self.scanned_to, self.full) = (position, true);
    }

    /// Ends the read; unless it was stopped, it has seen all up to the head.
    pub(crate) fn finish(self) -> Page {
        let scanned_to = if self.full { self.scanned_to } else { self.scanned_to.max(self.head) };
        Page { events: self.events, scanned_to, at_head: scanned_to >= self.head }
    }
}
