//! `planwire restore`: a log that goes on from a backup.

use planwire_store::{Existing, OpenOptions, SqliteStore};
use serde_json::json;

use crate::args::RestoreArguments;
use crate::commands::backup::{copy_failure, no_database};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::place::Place;
use crate::progress::Stages;

/// Restores a backup.
///
/// # Errors
///
/// Exit code 2 if a database is there already or the log lies in PostgreSQL, 74 if the log is held or the backup none.
pub(crate) fn restore(arguments: &RestoreArguments, place: &Place, output: Output) -> Result<Exit, Failure> {
    no_database(
        place,
        "pg_restore restores what pg_dump made; or restore into a folder and `planwire move` it",
    )?;
    place.create()?;
    let existing = if arguments.force { Existing::Replace } else { Existing::Keep };
    let (path, options) = (place.database(), OpenOptions::default());
    let mut stages = Stages::new("restoring", output);
    let restored =
        SqliteStore::restore(&arguments.file, &path, &options, existing, &mut |stage, done, all| {
            stages.show(stage, done, all);
        });
    stages.clear();
    let restored = restored.map_err(|error| copy_failure(error, place))?;
    let (old, valid_to) = restored.continues;
    let aside = restored.aside.map(|aside| aside.display().to_string());
    if output.json {
        let continues = json!({ "log_id": old, "valid_to": valid_to });
        output.json(&json!({
            "log_id": restored.log_id, "head": restored.head, "continues": continues, "replaced": aside,
        }))?;
    } else {
        output.line(&format!(
            "the log goes on as {} after position {}; cursors of {old} hold up to position {valid_to}",
            restored.log_id, restored.head
        ))?;
        if let Some(aside) = aside {
            output.line(&format!("what was here before is kept as {aside}"))?;
        }
    }
    Ok(Exit::Completed)
}
