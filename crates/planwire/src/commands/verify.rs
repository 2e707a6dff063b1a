//! `planwire verify`: whether the log is as it was written, from its first event to its head.

use std::path::Path;
use std::sync::Arc;

use planwire_event::Position;
use planwire_store::{
    Auditable, Flaw, LogInfo, Mark, SqliteRepository, Statement, StoreError, Verified, WitnessSays,
    verify as walk,
};
use serde_json::{Value, json};

use crate::args::VerifyArguments;
use crate::commands::verify_export;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Paint, escape};
use crate::place::Place;
use crate::progress::Progress;

/// Bytes of a checkpoint file.
const CHECKPOINT_BYTES_MAX: u64 = 64 * 1024;

/// Verifies the log.
///
/// # Errors
///
/// Exit code 1 if something is wrong with it or with the checkpoint, 74 if it cannot be read at all.
pub(crate) async fn verify(
    arguments: &VerifyArguments,
    place: &Place,
    output: Output,
) -> Result<Exit, Failure> {
    if let Some(export) = &arguments.against {
        return verify_export::verify(export, arguments.key.as_ref(), output);
    }
    if arguments.key.is_some() && arguments.from.is_none() {
        return Err(Failure::usage("--key needs a checkpoint: --from CHECKPOINT, or --against FILE"));
    }
    let statement = match (&arguments.from, &arguments.key) {
        (Some(file), Some(key)) => Some(
            Statement::open(&read(file)?, key)
                .map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?,
        ),
        _ => None,
    };
    let audit = match &arguments.file {
        Some(file) => Audit::open_file(file)?,
        None => Audit::open(place)?,
    };
    let marks = match &statement {
        Some(statement) => vec![mark(statement, &audit.store.log_info().await?)?],
        None => Vec::new(),
    };
    let findings = audit.run(&marks, output).await?;
    findings.tell(statement.as_ref(), output)?;
    Ok(if findings.is_whole() { Exit::Completed } else { Exit::Failed })
}

/// Reads a checkpoint.
///
/// # Errors
///
/// Exit code 2 if there is none.
pub(crate) fn read(file: &Path) -> Result<String, Failure> {
    let unreadable =
        |error: std::io::Error| Failure::usage(error).context(format!("failed to read {}", file.display()));
    if std::fs::metadata(file).map_err(unreadable)?.len() > CHECKPOINT_BYTES_MAX {
        return Err(Failure::usage(format!("{} is too large for a checkpoint", file.display())));
    }
    std::fs::read_to_string(file).map_err(unreadable)
}

/// What the log must have been like when the statement was signed.
fn mark(statement: &Statement, info: &LogInfo) -> Result<Mark, Failure> {
    let Statement { log_id, position, root } = statement;
    let valid_to = match info.lineage.iter().find(|(old, _)| old == log_id) {
        _ if *log_id == info.log_id => *position,
        Some((_, valid_to)) => *valid_to,
        None => {
            return Err(Failure::failed(format!(
                "the checkpoint is of the log {log_id}, this one is {}",
                info.log_id
            )));
        }
    };
    if *position > valid_to {
        return Err(Failure::failed(format!(
            "the checkpoint is of position {position} of the log {log_id}; {} continues that one as far as position \
             {valid_to}, and what came later was lost",
            info.log_id
        )));
    }
    Ok(Mark { size: position.get(), root: *root })
}

/// A log that is about to be verified.
pub(crate) struct Audit {
    pub(crate) store: Arc<dyn Auditable>,
    witness: Option<WitnessSays>,
}

impl Audit {
    /// Opens the log of `place`.
    ///
    /// # Errors
    ///
    /// Exit code 74 if it cannot be opened, 1 if there is none yet.
    pub(crate) fn open(place: &Place) -> Result<Self, Failure> {
        let (store, witness) = place.open_to_verify()?;
        Ok(Self { store, witness })
    }

    /// Opens a database file, wherever it lies.
    ///
    /// # Errors
    ///
    /// Exit code 74 if it is no log.
    pub(crate) fn open_file(path: &Path) -> Result<Self, Failure> {
        let opened = SqliteRepository::open_to_verify(path);
        let (store, witness) = opened.map_err(|error| Failure::new(Exit::Storage, error))?;
        Ok(Self { store, witness: Some(witness) })
    }

    /// Verifies it, and shows on a terminal how far that is.
    ///
    /// # Errors
    ///
    /// Exit code 74 if it cannot be read.
    pub(crate) async fn run(self, marks: &[Mark], output: Output) -> Result<Findings, Failure> {
        let mut progress = Progress::new("verifying", output);
        let verified = walk(&*self.store, marks, |at, end| progress.show(at.get(), end.get())).await;
        progress.clear();
        let mut flaws = Vec::new();
        let verified = match verified {
            Ok(verified) => {
                flaws.extend(verified.flaws.iter().map(problem));
                Some(verified)
            }
            // Not even the head can be made out.
            Err(StoreError::Damaged { position, message }) => {
                flaws.push(problem(&Flaw::Unreadable { position, message }));
                None
            }
            Err(error) => return Err(error.into()),
        };
        let lost = match &self.witness {
            Some(WitnessSays::Missing(loss)) => Some(loss.to_string()),
            Some(WitnessSays::Unsure(error)) => Some(error.to_string()),
            _ => None,
        };
        let lost = lost.map(|message| (None, format!("the log is not what its witness saw: {message}")));
        flaws.extend(lost);
        Ok(Findings { verified, flaws, witness: self.witness })
    }
}

/// Its place, if it has one, and what is wrong.
type Problem = (Option<Position>, String);

fn problem(flaw: &Flaw) -> Problem {
    (flaw.position(), flaw.to_string())
}

/// What verifying the log found.
pub(crate) struct Findings {
    /// How far it is good; none if not even its head can be read.
    pub(crate) verified: Option<Verified>,
    flaws: Vec<Problem>,
    witness: Option<WitnessSays>,
}

impl Findings {
    /// Whether nothing is wrong.
    pub(crate) fn is_whole(&self) -> bool {
        self.flaws.is_empty()
    }

    fn tell(&self, statement: Option<&Statement>, output: Output) -> Result<(), Failure> {
        if output.json {
            return output.json(&self.object(statement));
        }
        for (_, message) in &self.flaws {
            output.line(&output.style.paint(Paint::Bad, &format!("bad: {}", escape(message))))?;
        }
        if let Some(verified) = &self.verified {
            output.line(&summary(verified, self.is_whole()))?;
        }
        if let (Some(statement), true) = (statement, self.is_whole()) {
            output.line(&format!("it continues what was signed at position {}", statement.position))?;
        }
        match self.witness {
            Some(WitnessSays::Absent) => {
                output.line("note: it has no witness beside it, so a lost end would not be noticed")
            }
            Some(WitnessSays::Damaged) => {
                output.line("note: its witness is damaged; whoever writes the log next makes it anew")
            }
            _ => Ok(()),
        }
    }

    fn object(&self, statement: Option<&Statement>) -> Value {
        let flaws =
            self.flaws.iter().map(|(position, message)| json!({ "position": position, "message": message }));
        let witness = self.witness.as_ref().map(|witness| match witness {
            WitnessSays::Whole => "whole",
            WitnessSays::Absent => "absent",
            WitnessSays::Damaged => "damaged",
            _ => "contradicts",
        });
        let verified = self.verified.as_ref();
        json!({
            "whole": self.is_whole(),
            "log_id": verified.map(|verified| verified.log_id),
            "position": verified.map(|verified| verified.position),
            "root": verified.map(Verified::root_text),
            "signed_position": statement.map(|statement| statement.position),
            "witness": witness,
            "problems": flaws.collect::<Vec<_>>(),
        })
    }
}

fn summary(verified: &Verified, whole: bool) -> String {
    let Verified { log_id, position, .. } = verified;
    let root = verified.root_text();
    if whole {
        format!("log {log_id} is whole: {position} events, root {root}")
    } else {
        format!("log {log_id} is good up to position {position}, root {root}")
    }
}
