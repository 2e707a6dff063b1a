//! `planwire accept-loss`: goes on with a log that lost its end, or that stands in the place of another one.

use std::io::{BufRead as _, IsTerminal as _};

use planwire_store::{AcceptedLoss, OpenError, OpenOptions, SqliteStore};
use serde_json::json;

use crate::args::AcceptLossArguments;
use crate::failure::{Exit, Failure};
use crate::output::{Output, tell};
use crate::place::Place;

/// Makes what is left a log of its own.
///
/// # Errors
///
/// Exit code 74 if the log cannot be used or is held, 1 if nobody says yes, 2 if nobody can be asked.
pub(crate) fn accept_loss(
    arguments: &AcceptLossArguments,
    place: &Place,
    output: Output,
) -> Result<Exit, Failure> {
    if let Some(database) = place.database_url() {
        return Err(Failure::usage(format!(
            "{database} has no witness beside it, so nothing can be told as lost"
        )));
    }
    let database = place.database();
    let storage = |error: OpenError| Failure::new(Exit::Storage, error);
    let Some(loss) = SqliteStore::loss(&database).map_err(storage)? else {
        return nothing(place, output);
    };
    tell(&format!("planwire: log {}: {loss}", database.display()));
    if !arguments.yes && !agreed(output)? {
        return Err(Failure::failed("nothing was changed"));
    }
    let accepted = SqliteStore::accept_loss(&database, &OpenOptions::default()).map_err(storage)?;
    accepted.map_or_else(|| nothing(place, output), |accepted| say(&accepted, output))
}

fn nothing(place: &Place, output: Output) -> Result<Exit, Failure> {
    if !place.database().exists() {
        return Err(place.no_log());
    }
    if output.json {
        output.json(&json!({ "accepted": false }))?;
    } else {
        output.line("nothing is missing: the log holds all that its witness saw")?;
    }
    Ok(Exit::Completed)
}

fn agreed(output: Output) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("nobody can be asked whether to go on without it").hint("say so by --yes"));
    }
    output.raw("Go on with what is there? Nothing brings the rest back. [y/N] ")?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

fn say(accepted: &AcceptedLoss, output: Output) -> Result<Exit, Failure> {
    let AcceptedLoss { log_id, head, continues: (old, valid_to), .. } = accepted;
    if output.json {
        let continues = json!({ "log_id": old, "valid_to": valid_to });
        output.json(&json!({ "accepted": true, "log_id": log_id, "head": head, "continues": continues }))?;
    } else {
        output.line(&format!(
            "the log goes on as {log_id} after position {head}; cursors of {old} hold up to position {valid_to}"
        ))?;
    }
    Ok(Exit::Completed)
}
