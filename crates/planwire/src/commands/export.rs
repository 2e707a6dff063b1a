//! `planwire export`: events of the log into a file.
//!
//! Reads a page at a time and writes it, up to the head that the log had at the beginning. Beside a running server too.

mod proofs;

use std::sync::Arc;

use planwire_event::{Cursor, Filter, Position, StoredEvent};
use planwire_store::{EventRepository, Existing, ExportForm, PageLimits};
use serde_json::json;

use crate::args::{ExportArguments, Selection};
use crate::commands::events;
use crate::failure::{Exit, Failure};
use crate::new_file::{Compression, NewFile};
use crate::output::Output;
use crate::place::Place;
use crate::progress::Progress;
use crate::signals::Signals;

/// Writes events into a file.
///
/// # Errors
///
/// Exit code 2 if there is a file already, 74 if the log cannot be read or the file not be written, 1 if the log is not
/// what the checkpoint says.
pub(crate) async fn export(
    arguments: &ExportArguments,
    place: &Place,
    output: Output,
) -> Result<Exit, Failure> {
    let mut signals = Signals::catch()?;
    let exporting = async {
        match arguments.proofs {
            false => plain(arguments, place, output).await,
            true => proofs::proven(arguments, place, output).await,
        }
    };
    let written = tokio::select! {
        written = exporting => written?,
        // What was begun goes with the future.
        _ = signals.next() => return Ok(Exit::Cancelled),
    };
    written.tell(arguments, output)?;
    Ok(Exit::Completed)
}

/// What was written.
pub(crate) struct Written {
    events: u64,
    /// The place up to which the log was read.
    to: Cursor,
}

impl Written {
    fn tell(&self, arguments: &ExportArguments, output: Output) -> Result<(), Failure> {
        let path = &arguments.out;
        if path.as_os_str() == "-" {
            return Ok(());
        }
        if output.json {
            return output
                .json(&json!({ "events": self.events, "to": self.to, "file": path.display().to_string() }));
        }
        output.line(&format!("{} events up to {} are in {}", self.events, self.to, path.display()))
    }
}

/// Begins the file.
fn create(arguments: &ExportArguments) -> Result<NewFile, Failure> {
    let existing = if arguments.force { Existing::Replace } else { Existing::Keep };
    let packed = arguments.zstd || arguments.out.extension().is_some_and(|extension| extension == "zst");
    let compression = if packed { Compression::Zstd } else { Compression::None };
    NewFile::create(&arguments.out, existing, compression)
}

async fn plain(arguments: &ExportArguments, place: &Place, output: Output) -> Result<Written, Failure> {
    let repository = place.require_reader()?;
    let info = repository.log_info().await?;
    let begin = events::begin(&arguments.selection, &*repository, &info).await?;
    let mut file = create(arguments)?;
    let mut pages = Pages::new(&*repository, &arguments.selection, begin, info.head);
    let mut progress = Progress::new("exporting", output);
    let (mut events, mut line) = (0, Vec::new());
    while let Some(page) = pages.next().await? {
        for event in page {
            write(&event, arguments.format.into(), &mut line);
            file.line(&line)?;
            events += 1;
        }
        progress.show(pages.scanned.get().saturating_sub(begin.get()), info.head.get() - begin.get());
    }
    progress.clear();
    file.finish()?;
    let to = Cursor { log_id: info.log_id, position: info.head };
    Ok(Written { events, to })
}

fn write(event: &StoredEvent, form: ExportForm, line: &mut Vec<u8>) {
    line.clear();
    match form {
        ExportForm::JsonLines => event.write_export(line),
        ExportForm::CloudEvents => event.write_cloud_event(line),
    }
}

/// Pages of the events that are wanted, up to a head.
pub(crate) struct Pages<'a> {
    repository: &'a dyn EventRepository,
    filter: Filter,
    scanned: Position,
    head: Position,
}

impl<'a> Pages<'a> {
    fn new(
        repository: &'a dyn EventRepository,
        selection: &Selection,
        begin: Position,
        head: Position,
    ) -> Self {
        Self { repository, filter: selection.filter(), scanned: begin, head }
    }

    /// The events of the next page, which may be none; `None` behind the head.
    async fn next(&mut self) -> Result<Option<Vec<Arc<StoredEvent>>>, Failure> {
        if self.scanned >= self.head {
            return Ok(None);
        }
        let page = self.repository.read_after(self.scanned, &self.filter, PageLimits::default()).await?;
        self.scanned = page.scanned_to;
        let mut events = page.events;
        // What is written while this runs is for the next export.
        events.retain(|event| event.position <= self.head);
        Ok(Some(events))
    }
}
