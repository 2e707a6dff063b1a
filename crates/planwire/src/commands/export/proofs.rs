//! An export whose lines prove that their events are in the log.
//!
//! The log is read twice: first its leaves, for the tree; then its rows, group by group of the tree, so that a log of
//! any size takes little memory.

use std::collections::VecDeque;
use std::path::Path;

use planwire_event::{Cursor, Position};
use planwire_store::merkle::GROUP_LEAVES;
use planwire_store::{
    Auditable, ExportForm, Frame, InclusionProof, Outline, Proven, Row, Statement, StoreError, WitnessSays,
};

use crate::args::ExportArguments;
use crate::commands::export::{Pages, Written, create};
use crate::commands::{events, verify};
use crate::failure::Failure;
use crate::new_file::NewFile;
use crate::output::Output;
use crate::place::Place;
use crate::progress::Progress;

/// Exports with proofs.
///
/// # Errors
///
/// Exit code 1 if the log is not what the checkpoint says, or empty; 74 if it cannot be read.
pub(crate) async fn proven(
    arguments: &ExportArguments,
    place: &Place,
    output: Output,
) -> Result<Written, Failure> {
    let (store, says) = place.open_to_verify()?;
    if let Some(WitnessSays::Missing(loss)) = says {
        return Err(Failure::storage(format!("the log is not what its witness saw: {loss}")));
    }
    let checkpoint = Checkpoint::choose(arguments.checkpoint.as_deref(), &*store).await?;
    let size = checkpoint.statement.position;
    let info = store.log_info().await?;
    let begin = events::begin(&arguments.selection, &*store, &info).await?;
    let mut progress = Progress::new("exporting", output);
    let outline = outline(&*store, size, &mut progress).await?;
    if outline.root() != Some(checkpoint.statement.root) {
        return Err(Failure::failed(format!(
            "the log up to position {size} is not the one of the checkpoint"
        ))
        .hint("`planwire verify` says what is wrong"));
    }
    let mut file = create(arguments)?;
    let form = arguments.format.into();
    file.line(
        Frame::Begin { checkpoint: checkpoint.note.clone() }.line(form, &checkpoint.statement).as_bytes(),
    )?;
    let wanted =
        Wanted { pages: Pages::new(&*store, &arguments.selection, begin, size), found: VecDeque::new() };
    let mut export = Export { outline, wanted, form, file, line: Vec::new(), events: 0, groups: 0 };
    export.take_all(Rows::new(&*store, size), &mut progress).await?;
    progress.clear();
    let (events, mut file) = (export.events, export.file);
    file.line(Frame::End { events }.line(form, &checkpoint.statement).as_bytes())?;
    file.finish()?;
    Ok(Written { events, to: Cursor { log_id: checkpoint.statement.log_id, position: size } })
}

/// What all proofs lead to.
struct Checkpoint {
    /// As it stands in the export.
    note: String,
    statement: Statement,
}

impl Checkpoint {
    async fn choose(file: Option<&Path>, store: &dyn Auditable) -> Result<Self, Failure> {
        let head = store.head().await?;
        if head.position == Position::ZERO {
            return Err(Failure::failed("the log is empty: there is nothing to prove"));
        }
        let Some(file) = file else {
            let statement =
                Statement { log_id: head.log_id, position: head.position, root: head.frontier.root() };
            return Ok(Self { note: statement.text(), statement });
        };
        let note = verify::read(file)?;
        let wrong = |message: String| Failure::failed(format!("{}: {message}", file.display()));
        let statement = Statement::unsigned(&note).map_err(|error| wrong(error.to_string()))?;
        if statement.log_id != head.log_id {
            let message =
                format!("the checkpoint is of the log {}, this one is {}", statement.log_id, head.log_id);
            return Err(wrong(message).hint("sign a new one by `planwire attest`"));
        }
        if statement.position > head.position || statement.position == Position::ZERO {
            let message = format!(
                "the checkpoint is of position {}, the log ends at {}",
                statement.position, head.position
            );
            return Err(wrong(message));
        }
        Ok(Self { note, statement })
    }
}

/// Reads all leaves.
async fn outline(store: &dyn Auditable, size: Position, progress: &mut Progress) -> Result<Outline, Failure> {
    let mut outline = Outline::default();
    let mut rows = Rows::new(store, size);
    while let Some(row) = rows.next().await? {
        outline.push(row.leaf);
        if outline.size().is_multiple_of(GROUP_LEAVES as u64) {
            progress.show(outline.size() / 2, size.get());
        }
    }
    Ok(outline.finish())
}

/// Rows of a log one after the other, without a gap.
struct Rows<'a> {
    store: &'a dyn Auditable,
    page: VecDeque<Row>,
    last: Position,
    size: Position,
}

impl<'a> Rows<'a> {
    const fn new(store: &'a dyn Auditable, size: Position) -> Self {
        Self { store, page: VecDeque::new(), last: Position::ZERO, size }
    }

    async fn next(&mut self) -> Result<Option<Row>, Failure> {
        if self.last == self.size {
            return Ok(None);
        }
        let position = self.last.next();
        if self.page.is_empty() {
            let page = self.store.rows(self.last).await?;
            self.page = page.rows.into();
            if let (true, Some(damage)) = (self.page.is_empty(), page.damage) {
                return Err(StoreError::Damaged { position, message: damage.message }.into());
            }
        }
        let row = self.page.pop_front().filter(|row| row.event.position == position);
        let missing = || StoreError::Damaged { position, message: "the event is missing".to_owned() };
        let row = row.ok_or_else(missing)?;
        self.last = position;
        Ok(Some(row))
    }
}

/// The places of the events that are wanted.
struct Wanted<'a> {
    pages: Pages<'a>,
    found: VecDeque<Position>,
}

impl Wanted<'_> {
    /// Makes sure that all places up to `last` are known.
    async fn look(&mut self, last: Position) -> Result<(), Failure> {
        while self.pages.scanned < last {
            let Some(page) = self.pages.next().await? else { break };
            self.found.extend(page.iter().map(|event| event.position));
        }
        Ok(())
    }

    /// Whether the event at `position` is wanted; asked in rising order.
    fn take(&mut self, position: Position) -> bool {
        self.found.pop_front_if(|found| *found == position).is_some()
    }
}

/// The file on its way.
struct Export<'a> {
    outline: Outline,
    wanted: Wanted<'a>,
    form: ExportForm,
    file: NewFile,
    line: Vec<u8>,
    events: u64,
    groups: u64,
}

impl Export<'_> {
    /// Writes what is wanted of all rows.
    async fn take_all(&mut self, mut rows: Rows<'_>, progress: &mut Progress) -> Result<(), Failure> {
        let mut group = Vec::with_capacity(GROUP_LEAVES);
        while let Some(row) = rows.next().await? {
            let last = row.event.position;
            group.push(row);
            if group.len() == GROUP_LEAVES || last == rows.size {
                self.take(&group).await?;
                group.clear();
                progress.show(rows.size.get().midpoint(last.get()), rows.size.get());
            }
        }
        Ok(())
    }

    /// Writes what is wanted of a group.
    async fn take(&mut self, group: &[Row]) -> Result<(), Failure> {
        let Some(last) = group.last().map(|row| row.event.position) else { return Ok(()) };
        let leaves: Vec<_> = group.iter().map(|row| row.leaf).collect();
        let proofs = self.outline.proofs(self.groups, &leaves);
        let proofs = proofs.ok_or_else(|| Failure::storage("the log changed while it was read"))?;
        self.groups += 1;
        self.wanted.look(last).await?;
        for (row, proof) in group.iter().zip(proofs) {
            self.write(row, proof)?;
        }
        Ok(())
    }

    fn write(&mut self, row: &Row, proof: InclusionProof) -> Result<(), Failure> {
        if !self.wanted.take(row.event.position) {
            return Ok(());
        }
        self.line.clear();
        Proven::new(row, proof).write(self.form, &mut self.line);
        self.events += 1;
        self.file.line(&self.line)
    }
}
