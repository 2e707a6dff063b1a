//! `planwire backup`: a copy of the log in one file, made while it is written.

use planwire_store::{CopyError, Existing, OpenError, SqliteStore};
use serde_json::json;

use crate::args::BackupArguments;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::place::Place;
use crate::progress::Stages;

/// Makes a backup.
///
/// # Errors
///
/// Exit code 2 if there is a file already or the log lies in PostgreSQL, 74 if the log cannot be read or is not whole.
pub(crate) fn backup(arguments: &BackupArguments, place: &Place, output: Output) -> Result<Exit, Failure> {
    no_database(place, "pg_dump makes backups of it; or copy it by `planwire move`")?;
    let existing = if arguments.force { Existing::Replace } else { Existing::Keep };
    let mut stages = Stages::new("backing up", output);
    let made = SqliteStore::backup(&place.database(), &arguments.file, existing, &mut |stage, done, all| {
        stages.show(stage, done, all);
    });
    stages.clear();
    let made = made.map_err(|error| copy_failure(error, place))?;
    let file = arguments.file.display();
    if output.json {
        let file = file.to_string();
        output.json(
            &json!({ "log_id": made.log_id, "position": made.head, "bytes": made.bytes, "file": file }),
        )?;
    } else {
        output.line(&format!(
            "log {} up to position {} is in {file}, {} bytes",
            made.log_id, made.head, made.bytes
        ))?;
    }
    Ok(Exit::Completed)
}

/// A log in PostgreSQL is copied by the tools of PostgreSQL.
pub(crate) fn no_database(place: &Place, instead: &str) -> Result<(), Failure> {
    match place.database_url() {
        None => Ok(()),
        Some(database) => {
            Err(Failure::usage(format!("the log lies in {database}, and this is for files")).hint(instead))
        }
    }
}

/// What went wrong with a copy.
pub(crate) fn copy_failure(error: CopyError, place: &Place) -> Failure {
    match error {
        CopyError::Exists { .. } => {
            Failure::new(Exit::Usage, error).hint("name another place, or say --force")
        }
        CopyError::Open(OpenError::Missing { ref path }) if *path == place.database() => place.no_log(),
        CopyError::InUse { .. } | CopyError::Open(OpenError::Missing { .. }) => {
            Failure::new(Exit::Usage, error)
        }
        CopyError::NotWhole { .. } => Failure::new(Exit::Storage, error)
            .hint("`planwire verify` says what else is wrong; its files can be copied by hand"),
        error => Failure::new(Exit::Storage, error),
    }
}
