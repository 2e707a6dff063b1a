//! `planwire import`: publishes the events of a file, in their order, under the ids that they have.
//!
//! A thread reads and checks lines while the batch before them is stored; one batch is on its way at a time, and all of
//! it is stored or none. **Invariant:** when an event is refused, everything that stands before it is stored and nothing
//! that stands behind it is, so that a repeat goes on there.

mod batches;
mod target;

use serde_json::json;

use crate::args::ImportArguments;
use crate::commands::import::batches::{Batches, Item, LineFlaw};
use crate::commands::import::target::{Refusal, Stored, Target};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::place::Place;
use crate::progress::Progress;
use crate::signals::Signals;

/// Imports a file.
///
/// # Errors
///
/// Exit code 2 if the file is none, 1 if a line is no event or may not follow, 74 if the log does not take events.
pub(crate) async fn import(
    arguments: &ImportArguments,
    place: &Place,
    output: Output,
) -> Result<Exit, Failure> {
    let mut signals = Signals::catch()?;
    let mut batches = Batches::start(&arguments.file)?;
    let target = Target::open(place).await?;
    let mut import = Import { target, known: true, stored: Stored::default() };
    let mut progress = Progress::new("importing", output);
    let outcome = loop {
        let next = tokio::select! {
            next = batches.next() => next,
            // What was stored stays; a repeat goes on.
            _ = signals.next() => break Err(End::Cancelled),
        };
        let Some(next) = next else { break Ok(()) };
        if let Err(end) = import.take(next).await {
            break Err(end);
        }
        let (done, all) = batches.progress();
        progress.show(done, all.max(done));
    };
    progress.clear();
    let Import { target, stored, .. } = import;
    target.close().await;
    finish(outcome, &stored, batches.name(), output)
}

/// Why an import ended before the file did.
enum End {
    /// A line is no event, or its event may not follow.
    Line(LineFlaw),
    /// The log takes no events now.
    Failure(Failure),
    /// Somebody asked for it.
    Cancelled,
}

struct Import {
    target: Target,
    /// Whether events of the last batch were stored before: then those of the next one may be, too.
    known: bool,
    stored: Stored,
}

impl Import {
    /// Stores what came from the file. What stands before a line that is none is stored all the same.
    async fn take(&mut self, next: Result<Vec<Item>, (Vec<Item>, LineFlaw)>) -> Result<(), End> {
        let (batch, flaw) = match next {
            Ok(batch) => (batch, None),
            Err((batch, flaw)) => (batch, Some(flaw)),
        };
        self.store(batch).await?;
        flaw.map_or(Ok(()), |flaw| Err(End::Line(flaw)))
    }

    async fn store(&mut self, batch: Vec<Item>) -> Result<(), End> {
        let looked = if self.known { self.target.without_known(batch).await } else { Ok((batch, 0, None)) };
        let (mut batch, before, conflict) = looked.map_err(End::Failure)?;
        self.stored.before += before;
        let mut refused = None;
        while !batch.is_empty() {
            match self.target.publish(&batch).await {
                Ok(stored) => {
                    self.known = before + stored.before > 0;
                    self.stored.add(&stored);
                    break;
                }
                Err(Refusal::Event { index, message }) if index < batch.len() => {
                    // All or nothing: what stands before it is stored by itself.
                    let item = &batch[index];
                    refused =
                        Some(LineFlaw { line: item.line, event_id: Some(item.event.event_id()), message });
                    batch.truncate(index);
                }
                Err(Refusal::Event { message, .. }) => return Err(End::Failure(Failure::failed(message))),
                Err(Refusal::Failure(failure)) => return Err(End::Failure(failure)),
            }
        }
        refused.or(conflict).map_or(Ok(()), |flaw| Err(End::Line(flaw)))
    }
}

fn finish(outcome: Result<(), End>, stored: &Stored, name: &str, output: Output) -> Result<Exit, Failure> {
    let Stored { fresh, before } = stored;
    let so_far = format!("{fresh} events were stored, {before} were there already");
    match outcome {
        Ok(()) | Err(End::Cancelled) => {
            if output.json {
                output.json(&json!({ "stored": fresh, "duplicates": before, "file": name }))?;
            } else {
                output.line(&so_far)?;
            }
            Ok(if outcome.is_ok() { Exit::Completed } else { Exit::Cancelled })
        }
        Err(End::Line(flaw)) => {
            if output.json {
                output.json(&json!({ "stored": fresh, "duplicates": before, "file": name, "problem": {
                    "line": flaw.line, "event_id": flaw.event_id, "message": flaw.message } }))?;
            }
            let event = flaw.event_id.map(|id| format!("event {id}: ")).unwrap_or_default();
            Err(Failure::failed(format!("{name}, line {}: {event}{}", flaw.line, flaw.message)).hint(format!(
                "{so_far}: all that stands before this line. Nothing behind it was stored; a repeat goes on here"
            )))
        }
        Err(End::Failure(failure)) => Err(failure
            .context(format!("failed to import {name}"))
            .hint(format!("{so_far}; the last lines may be stored too. Repeat it: nothing is stored twice"))),
    }
}
