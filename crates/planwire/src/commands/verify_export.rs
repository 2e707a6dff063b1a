//! `planwire verify --against FILE`: whether the events of an export are those of a log, without the log.

use std::path::Path;

use planwire_event::Position;
use planwire_store::{ExportForm, Frame, Proven, Statement, VerifierKey};
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::lines::{Line, LineError, Lines};
use crate::output::{Output, Paint, escape};
use crate::progress::Progress;

/// Lines between two looks at how far it is.
const LOOK_LINES: u64 = 1_000;

/// Verifies an export.
///
/// # Errors
///
/// Exit code 2 if the file cannot be opened, 74 if it cannot be read on.
pub(crate) fn verify(path: &Path, key: Option<&VerifierKey>, output: Output) -> Result<Exit, Failure> {
    let mut lines = Lines::open(path)?;
    let mut reading = Reading::default();
    let mut progress = Progress::new("verifying", output);
    let read = loop {
        match reading.next(&mut lines, key) {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(Stop::Flaw(flaw)) => break Err(flaw),
            Err(Stop::Failure(failure)) => return Err(failure),
        }
        if reading.lines.is_multiple_of(LOOK_LINES) {
            let (done, all) = lines.progress();
            progress.show(done, all.max(done));
        }
    };
    progress.clear();
    reading.tell(lines.name(), read.err().as_ref(), key, output)
}

/// What is wrong, and where.
struct Flaw {
    line: Option<u64>,
    position: Option<Position>,
    message: String,
}

/// Why reading ended.
enum Stop {
    Flaw(Flaw),
    Failure(Failure),
}

impl From<LineError> for Stop {
    fn from(error: LineError) -> Self {
        match error {
            // A file that cannot be decompressed to its end was cut off or changed.
            LineError::Read { ref source, .. } if source.raw_os_error().is_some() => {
                Self::Failure(Failure::new(Exit::Storage, error))
            }
            error => {
                let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
                let message = format!("{error}{}", source.unwrap_or_default());
                Self::Flaw(Flaw { line: Some(error.line()), position: None, message })
            }
        }
    }
}

/// An export on the way from its first line to its last.
#[derive(Default)]
struct Reading {
    begun: Option<(ExportForm, Statement)>,
    ended: bool,
    last: Position,
    events: u64,
    lines: u64,
}

impl Reading {
    /// Takes the next line; false at the end of an export that is whole.
    fn next(&mut self, lines: &mut Lines, key: Option<&VerifierKey>) -> Result<bool, Stop> {
        let Some(line) = lines.next()? else {
            let what = if self.begun.is_some() {
                "the file ends before the export does: lines are missing"
            } else {
                "the file is empty"
            };
            let whole = self.ended.then_some(false);
            return whole
                .ok_or_else(|| Stop::Flaw(Flaw { line: None, position: None, message: what.to_owned() }));
        };
        self.lines += 1;
        let number = line.number;
        self.take(&line, key).map(|()| true).map_err(|(position, message)| {
            Stop::Flaw(Flaw { line: Some(number), position, message: format!("line {number}: {message}") })
        })
    }

    fn take(&mut self, line: &Line, key: Option<&VerifierKey>) -> Result<(), (Option<Position>, String)> {
        let nowhere = |message: String| (None, message);
        let Some((form, statement)) = &self.begun else {
            self.begun = Some(begin(line, key).map_err(nowhere)?);
            return Ok(());
        };
        if self.ended {
            return Err(nowhere("something stands behind the end of the export".to_owned()));
        }
        if !line.ended {
            return Err(nowhere("the line has no end: the file was cut off".to_owned()));
        }
        let proven = match Proven::read(*form, &line.text) {
            Ok(proven) => proven,
            Err(error) => {
                self.end(&line.text).map_err(|told| nowhere(told.unwrap_or_else(|| error.to_string())))?;
                self.ended = true;
                return Ok(());
            }
        };
        let position = proven.event.position;
        let wrong = |message: String| (Some(position), format!("position {position}: {message}"));
        proven.check(statement).map_err(|error| wrong(error.to_string()))?;
        if position <= self.last {
            return Err(wrong(format!("it stands behind position {}", self.last)));
        }
        (self.last, self.events) = (position, self.events + 1);
        Ok(())
    }

    /// Takes the last line; an error without a text if it is another one.
    fn end(&self, line: &str) -> Result<(), Option<String>> {
        let Some(((form, statement), (_, Frame::End { events }))) =
            self.begun.as_ref().zip(Frame::read(line))
        else {
            return Err(None);
        };
        if (Frame::End { events }).line(*form, statement) != line {
            return Err(Some("the line is not what was written".to_owned()));
        }
        match events == self.events {
            true => Ok(()),
            false => Err(Some(format!("{} events stand before it, and {events} were written", self.events))),
        }
    }

    fn tell(
        &self,
        name: &str,
        flaw: Option<&Flaw>,
        key: Option<&VerifierKey>,
        output: Output,
    ) -> Result<Exit, Failure> {
        let statement = self.begun.as_ref().map(|(_, statement)| statement);
        let exit = if flaw.is_none() { Exit::Completed } else { Exit::Failed };
        if output.json {
            let problems: Vec<_> = flaw
                .iter()
                .map(|flaw| json!({ "line": flaw.line, "position": flaw.position, "message": flaw.message }))
                .collect();
            output.json(&json!({
                "whole": flaw.is_none(),
                "log_id": statement.map(|statement| statement.log_id),
                "position": statement.map(|statement| statement.position),
                "root": statement.map(Statement::root_text),
                "signed": key.is_some() && statement.is_some(),
                "events": self.events,
                "problems": problems,
            }))?;
            return Ok(exit);
        }
        if let Some(flaw) = flaw {
            let message = format!("bad: {}", escape(&flaw.message));
            output.line(&output.style.paint(Paint::Bad, &message))?;
        }
        if let Some(statement) = statement {
            output.line(&summary(name, self.events, statement, flaw.is_none()))?;
            if key.is_none() {
                output.line("note: nobody's signature was checked; --key says whose it must be")?;
            }
        }
        Ok(exit)
    }
}

fn summary(name: &str, events: u64, statement: &Statement, whole: bool) -> String {
    let Statement { log_id, position, .. } = statement;
    let root = statement.root_text();
    if whole {
        format!("{name} is whole: {events} of the {position} events of log {log_id}, root {root}")
    } else {
        format!(
            "{name} is good for {events} events of log {log_id}; the checkpoint is of {position} events, root {root}"
        )
    }
}

/// Reads the first line.
fn begin(line: &Line, key: Option<&VerifierKey>) -> Result<(ExportForm, Statement), String> {
    let none = "it is no export with proofs: its first line holds no checkpoint";
    let Some((form, Frame::Begin { checkpoint })) = Frame::read(&line.text) else {
        return Err(none.to_owned());
    };
    let statement = match key {
        Some(key) => Statement::open(&checkpoint, key),
        None => Statement::unsigned(&checkpoint),
    };
    let statement = statement.map_err(|error| format!("the checkpoint: {error}"))?;
    let whole = Frame::Begin { checkpoint }.line(form, &statement) == line.text && line.ended;
    if whole { Ok((form, statement)) } else { Err("the line is not what was written".to_owned()) }
}
