//! Pages of events: over the table as long as the rows that are wanted lie close together there, else over the index.
//!
//! An index costs a look-up in the table for each row, a third of what a row costs. Where the table's rows are dense, a
//! second thread reads half of the page, too.
//!
//! **Invariant:** a page is the one that the index gives. The table is left at the first row that is not whole or not the
//! next one, and the index says what is damaged, what is missing and whether that matters to this reader.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use planwire_event::{Filter, LogId, Position, Scope, StoredEvent};
use rusqlite::{Connection, Params, params};

use crate::contract::{Page, PageLimits, PlanRow, StoreError};
use crate::decoder::EventDecoder;
use crate::scan::Scan;
use crate::sqlite::decode::{self, CheckedRow, event_columns};
use crate::sqlite::error::{sql_number, store_error};
use crate::sqlite::query::{log_end, members_below, plan};
use crate::sqlite::readers::{Help, Part};

const TABLE_ROWS: &str =
    concat!("SELECT ", event_columns!(), " FROM plan_events WHERE id > ?1 AND id <= ?2 ORDER BY id");
const TREE_ROWS: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM plan_events INDEXED BY plan_events_tree WHERE root_plan_id = ?3 AND id > ?1 AND id <= ?2 ORDER BY id"
);

/// Rows of other trees that a page looks at in the table beyond as many as are its own: 50 us, where the page of a sparse
/// tree takes some milliseconds.
const STRANGERS_MAX: usize = 32;

/// Rows at the begin of a page that tell whether they are dense, and how large.
const TRIED_ROWS: u64 = 64;

/// Rows that are worth a second thread: to wake it takes as long as 50 of them.
const SHARED_ROWS_MIN: u64 = 256;

/// Of so many parts of what is shared the second thread, which begins later, reads [`SHARED_PARTS`].
const PARTS: u64 = 20;
const SHARED_PARTS: u64 = 9;

/// One page of events.
pub(crate) fn page(
    connection: &mut Connection,
    help: &Help,
    after: Position,
    filter: &Filter,
    limits: PageLimits,
) -> Result<Page, StoreError> {
    let transaction = connection.transaction().map_err(store_error)?;
    let (log_id, head) = log_end(&transaction)?;
    let mut scan = Scan::new(after, head, &filter.types, limits);
    let wanted = match filter.named_plan() {
        None => Wanted { root: None, plans: Plans::All, from: after, to: Position::new(u64::MAX), head },
        Some(named) => {
            let Some(plan) = plan(&transaction, named.as_str())? else { return Ok(scan.finish()) };
            Wanted::of_plan(&transaction, plan, filter, after, head)?
        }
    };
    Walk {
        connection: &transaction,
        decoder: EventDecoder::new(log_id),
        wanted: &wanted,
        own: 0,
        strange: 0,
    }
    .run(log_id, help, &mut scan)?;
    Ok(scan.finish())
}

/// Which rows of which range belong to a read.
struct Wanted {
    root: Option<Box<str>>,
    plans: Plans,
    from: Position,
    to: Position,
    head: Position,
}

/// Plans of a tree.
#[derive(Clone)]
enum Plans {
    All,
    One(Box<str>),
    These(HashSet<Box<[u8]>>),
}

impl Plans {
    fn contain(&self, plan: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => one.as_bytes() == plan,
            Self::These(these) => these.contains(plan),
        }
    }
}

impl Wanted {
    fn of_plan(
        connection: &Connection,
        plan: PlanRow,
        filter: &Filter,
        after: Position,
        head: Position,
    ) -> Result<Self, StoreError> {
        let from = after.max(plan.first_position.previous());
        let (plans, to) = match filter.scope {
            Scope::Plan(_) => (Plans::One(plan.plan_id.as_str().into()), plan.last_position.unwrap_or(head)),
            _ if plan.parent_plan_id.is_none() => (Plans::All, head),
            _ => {
                let below = members_below(connection, &plan)?;
                (Plans::These(below.iter().map(|member| member.plan_id.as_bytes().into()).collect()), head)
            }
        };
        Ok(Self { root: Some(plan.root_plan_id.as_str().into()), plans, from, to, head })
    }

    fn is_of_tree(&self, row: &CheckedRow<'_>) -> bool {
        self.root.as_ref().is_none_or(|root| root.as_bytes() == row.root_plan_id())
    }
}

/// How far a walk over the table came.
enum Walked {
    /// The page is full, or everything was looked at.
    ToTheEnd,
    /// To this position; then comes what the index has to say.
    To(Position),
}

/// One read on its way through the rows.
struct Walk<'a> {
    connection: &'a Connection,
    decoder: EventDecoder,
    wanted: &'a Wanted,
    /// Rows of the tree that the table gave, and of other trees.
    own: usize,
    strange: usize,
}

impl Walk<'_> {
    fn run(mut self, log_id: LogId, help: &Help, scan: &mut Scan<'_>) -> Result<(), StoreError> {
        let Walked::To(at) = self.over_table(log_id, help, scan)? else { return Ok(()) };
        let (from, to) = (sql_number(at.get()), sql_number(self.wanted.to.get()));
        match &self.wanted.root {
            Some(root) => self.by_index(TREE_ROWS, params![from, to, root], scan),
            None => self.by_index(TABLE_ROWS, params![from, to], scan),
        }
    }

    /// Goes through the rows of `sql` until the page is full; a row that is damaged is an error.
    fn by_index(&mut self, sql: &str, range: impl Params, scan: &mut Scan<'_>) -> Result<(), StoreError> {
        let mut select = self.connection.prepare_cached(sql).map_err(store_error)?;
        let mut rows = select.query(range).map_err(store_error)?;
        while let Some(row) = rows.next().map_err(store_error)? {
            let row = decode::check(&mut self.decoder, row)?;
            if self.offer(&row, scan)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn offer(&mut self, row: &CheckedRow<'_>, scan: &mut Scan<'_>) -> Result<ControlFlow<()>, StoreError> {
        let wanted = self.wanted.plans.contain(row.plan_id());
        scan.offer(row.position(), wanted, row.event_type(), || decode::event(&mut self.decoder, row))
    }

    /// Goes through the table as long as that is the faster way.
    fn over_table(&mut self, log_id: LogId, help: &Help, scan: &mut Scan<'_>) -> Result<Walked, StoreError> {
        let (from, end) = (self.wanted.from, self.wanted.to);
        let tried = Position::new(from.get().saturating_add(TRIED_ROWS)).min(end);
        match self.stretch(from, tried, scan)? {
            Walked::To(at) if at == tried && at < end => {}
            walked => return Ok(walked),
        }
        let Some((middle, part)) = self.share(tried, log_id, help, scan) else {
            return self.stretch(tried, end, scan);
        };
        match self.stretch(tried, middle, scan)? {
            Walked::To(at) if at == middle => {}
            walked => return Ok(walked),
        }
        let mut at = middle;
        for event in part.finish().unwrap_or_default() {
            at = event.position;
            let event_type = event.event.event_type().clone();
            if scan.offer(at, true, event_type.as_str().as_bytes(), || Ok(event))?.is_break() {
                return Ok(Walked::ToTheEnd);
            }
        }
        self.stretch(at, end, scan)
    }

    /// Goes through the rows of the table up to `to`, as long as each is whole and the next one.
    fn stretch(&mut self, from: Position, to: Position, scan: &mut Scan<'_>) -> Result<Walked, StoreError> {
        let mut select = self.connection.prepare_cached(TABLE_ROWS).map_err(store_error)?;
        let range = params![sql_number(from.get()), sql_number(to.get())];
        let mut rows = select.query(range).map_err(store_error)?;
        let mut at = from;
        loop {
            // What SQLite fails with here, it fails with by the index if it matters.
            let Ok(row) = rows.next() else { return Ok(Walked::To(at)) };
            let Some(row) = row else { break };
            let Ok(row) = decode::check(&mut self.decoder, row) else { return Ok(Walked::To(at)) };
            if row.position() != at.next() {
                return Ok(Walked::To(at));
            }
            if self.wanted.is_of_tree(&row) {
                self.own += 1;
                if self.offer(&row, scan)?.is_break() {
                    return Ok(Walked::ToTheEnd);
                }
            } else {
                self.strange += 1;
                if self.strange > self.own + STRANGERS_MAX {
                    return Ok(Walked::To(at));
                }
            }
            at = row.position();
        }
        let is_all = at >= self.wanted.to.min(self.wanted.head);
        Ok(if is_all { Walked::ToTheEnd } else { Walked::To(at) })
    }

    /// Lets another thread read the later part of what still fits, if every row so far was wanted; says where it begins.
    fn share(
        &self,
        at: Position,
        log_id: LogId,
        help: &Help,
        scan: &Scan<'_>,
    ) -> Option<(Position, Part<Vec<Arc<StoredEvent>>>)> {
        let fit = u64::try_from(scan.events_left().min(scan.rows_that_fit())).ok()?;
        let rows = fit.min(self.wanted.to.min(self.wanted.head).get().saturating_sub(at.get()));
        let plans = match &self.wanted.plans {
            Plans::These(_) => return None,
            plans => plans.clone(),
        };
        if rows < SHARED_ROWS_MIN || !scan.takes_all_types() || scan.events_so_far() < TRIED_ROWS as usize {
            return None;
        }
        let end = Position::new(at.get() + rows);
        let middle = Position::new(end.get() - rows * SHARED_PARTS / PARTS);
        let wanted = Wanted { root: self.wanted.root.clone(), plans, from: middle, to: end, head: end };
        Some((middle, help.ask(move |connection| dense(connection, log_id, &wanted))?))
    }
}

/// Events of rows that lie one behind the other, up to the first that is not wanted or not whole.
fn dense(
    connection: &mut Connection,
    log_id: LogId,
    wanted: &Wanted,
) -> Result<Vec<Arc<StoredEvent>>, StoreError> {
    let mut decoder = EventDecoder::new(log_id);
    let mut select = connection.prepare_cached(TABLE_ROWS).map_err(store_error)?;
    let range = params![sql_number(wanted.from.get()), sql_number(wanted.to.get())];
    let mut rows = select.query(range).map_err(store_error)?;
    let (mut events, mut next) = (Vec::new(), wanted.from.next());
    while let Ok(Some(row)) = rows.next() {
        let Ok(row) = decode::check(&mut decoder, row) else { break };
        if row.position() != next || !wanted.is_of_tree(&row) || !wanted.plans.contain(row.plan_id()) {
            break;
        }
        let Ok(event) = decode::event(&mut decoder, &row) else { break };
        events.push(event);
        next = next.next();
    }
    Ok(events)
}
