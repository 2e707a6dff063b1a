//! Readers: each is handed what its filter wants, all of it, once, in order, and nothing else.

use planwire_bus::Recorded;
use planwire_event::{Cursor, Filter, Position};

use super::{Finding, Judge};

pub(crate) type ReaderId = usize;

/// A reader as it remembers itself, over all lives of the process.
#[derive(Debug)]
pub(super) struct ReaderLog {
    filter: Filter,
    /// The last event that the open subscription handed out, or where it started.
    place: Position,
    /// Nothing after the place and up to here is wanted: looked at once.
    clear_to: Position,
    ended: bool,
}

impl Judge {
    pub(crate) fn new_reader(&mut self, filter: Filter) -> ReaderId {
        let (place, clear_to) = (Position::ZERO, Position::ZERO);
        self.readers.push(ReaderLog { filter, place, clear_to, ended: false });
        self.readers.len() - 1
    }

    pub(crate) fn filter(&self, reader: ReaderId) -> &Filter {
        &self.readers[reader].filter
    }

    pub(crate) fn has_ended(&self, reader: ReaderId) -> bool {
        self.readers[reader].ended
    }

    /// The first position after its place that the reader wants.
    fn next_wanted(&mut self, reader: ReaderId) -> Option<Position> {
        let log = &mut self.readers[reader];
        let after = usize::try_from(log.clear_to.get()).ok()?;
        for row in self.seen.iter().skip(after) {
            if self.model.wants(&log.filter, &row.event) {
                return Some(row.position);
            }
            log.clear_to = row.position;
        }
        None
    }

    /// A stream was opened at `start`.
    pub(crate) fn opened(&mut self, reader: ReaderId, start: Position, told: Cursor) -> Finding {
        let log = &mut self.readers[reader];
        (log.place, log.clear_to) = (start, start);
        if told.position == start { Ok(()) } else { Err(format!("it starts at {told} instead of {start}")) }
    }

    /// An event was handed out.
    pub(crate) fn delivered(&mut self, reader: ReaderId, event: &Recorded) -> Finding {
        let log = &self.readers[reader];
        let at = event.position;
        let Some(row) = self.row(at.get()) else {
            return Err(format!("phantom: {at} is handed out and is not on the disk"));
        };
        if **row != **event {
            return Err(format!("altered: {at} is handed out otherwise than it is on the disk"));
        }
        if at <= log.place {
            return Err(format!("duplicate or reorder: {at} is handed out after {}", log.place));
        }
        if !self.model.wants(&log.filter, &event.event) {
            return Err(format!("leak: {at} is not of {:?}", log.filter));
        }
        if log.ended {
            return Err(format!("{at} is handed out after the end"));
        }
        match self.next_wanted(reader) {
            Some(next) if next == at => {}
            next => return Err(format!("gap: {at} is handed out, {next:?} was next")),
        }
        let log = &mut self.readers[reader];
        (log.place, log.clear_to) = (at, at);
        Ok(())
    }

    /// What a subscription says of its place.
    pub(crate) fn places(&mut self, reader: ReaderId, scanned: Cursor, delivered: Cursor) -> Finding {
        let place = self.readers[reader].place;
        if delivered.position != place {
            return Err(format!("delivered {delivered} instead of {place}"));
        }
        match self.next_wanted(reader) {
            Some(next) if next <= scanned.position => {
                Err(format!("lost: scanned {scanned} passes over {next}"))
            }
            _ if scanned.position < place => Err(format!("scanned {scanned} before {delivered}")),
            _ => Ok(()),
        }
    }

    /// The end was told.
    pub(crate) fn ended(&mut self, reader: ReaderId, at: Cursor) -> Finding {
        let end = self.model.end_of(&self.readers[reader].filter);
        if end != Some(at.position) {
            return Err(format!("the end is told at {at}, it is {end:?}"));
        }
        if let Some(next) = self.next_wanted(reader).filter(|next| *next <= at.position) {
            return Err(format!("lost: the end is told before {next}"));
        }
        if self.readers[reader].ended {
            return Err("the end is told twice".into());
        }
        self.readers[reader].ended = true;
        Ok(())
    }

    /// Everything up to `tail` was handed out.
    pub(crate) fn has_all(&mut self, reader: ReaderId, tail: Position) -> Finding {
        let next = self.next_wanted(reader).filter(|next| *next <= tail);
        let filter = &self.readers[reader].filter;
        match next {
            Some(next) => Err(format!("lost: reader {reader} of {filter:?} waits and never gets {next}")),
            None => Ok(()),
        }
    }

    /// Whether what a filter wants has an end by now.
    pub(crate) fn is_over(&self, reader: ReaderId) -> bool {
        self.model.end_of(&self.readers[reader].filter).is_some()
    }

    /// The bus ended, or nothing moves any more: everything up to `tail` was handed out, the end too.
    pub(crate) fn complete(&mut self, reader: ReaderId, tail: Position) -> Finding {
        if self.readers[reader].ended {
            return Ok(());
        }
        self.has_all(reader, tail)?;
        let log = &self.readers[reader];
        match self.model.end_of(&log.filter) {
            Some(end) if end <= tail => Err(format!("lost: reader {reader} is not told of the end at {end}")),
            _ => Ok(()),
        }
    }
}
