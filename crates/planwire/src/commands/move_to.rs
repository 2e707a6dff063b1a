//! `planwire move`: the log in another place, and closed here.

use std::path::Path;

use planwire_store::{Address, HowMoved, MoveError, Moved, move_log};
use serde_json::json;

use crate::args::MoveArguments;
use crate::config::Database;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::place::Place;
use crate::progress::Stages;

/// Moves the log.
///
/// # Errors
///
/// Exit code 2 if there is a log already, 74 if one of the places cannot be used or somebody has the log open.
pub(crate) fn move_to(arguments: &MoveArguments, place: &Place, output: Output) -> Result<Exit, Failure> {
    let target = target(&arguments.to, place)?;
    let (from, to) = (place.address(), target.address());
    if from.to_string() == to.to_string() {
        return Err(Failure::usage(format!("the log is at {to} already")));
    }
    if target.database_url().is_none() {
        target.create()?;
    }
    let mut stages = Stages::new("moving", output);
    let moved = move_log(&from, &to, &mut |stage, done, all| stages.show(stage, done, all));
    stages.clear();
    say(&moved.map_err(failure)?, &from, &target, output)
}

/// The place that a URL or a folder names.
fn target(text: &str, place: &Place) -> Result<Place, Failure> {
    if text.contains("://") {
        let database = Database::parse(text).map_err(Failure::usage)?;
        return Ok(place.clone().with_database(Some(database)));
    }
    Place::find(Some(Path::new(text).to_owned()))
}

fn failure(error: MoveError) -> Failure {
    match error {
        MoveError::Occupied { .. } | MoveError::Elsewhere { .. } => Failure::new(Exit::Usage, error),
        MoveError::Store(_) => {
            Failure::new(Exit::Storage, error).hint("repeat it: it goes on with what is done, or begins anew")
        }
        error => Failure::new(Exit::Storage, error),
    }
}

fn say(moved: &Moved, from: &Address, target: &Place, output: Output) -> Result<Exit, Failure> {
    let (Moved { log_id, head, how }, to) = (moved, target.address());
    let how = match how {
        HowMoved::Copied => "copied",
        HowMoved::Finished => "finished",
        HowMoved::Before => "before",
    };
    if output.json {
        let (from, to) = (from.to_string(), to.to_string());
        output.json(&json!({ "log_id": log_id, "head": head, "from": from, "to": to, "how": how }))?;
        return Ok(Exit::Completed);
    }
    output.line(&match moved.how {
        HowMoved::Copied => format!("log {log_id} was moved to {to}: {head} events, verified there"),
        HowMoved::Finished => format!("an earlier move was finished: log {log_id} is at {to}, {head} events"),
        HowMoved::Before => format!("log {log_id} was moved to {to} before"),
    })?;
    let instead = match from {
        #[cfg(feature = "postgres")]
        Address::Postgres(_) if target.database_url().is_none() => " instead of --db (PLANWIRE_DB, key `db`)",
        _ => "",
    };
    let flag = target.flag();
    output.line(&format!("{from} takes no events any more; name the new place by{flag}{instead}"))?;
    Ok(Exit::Completed)
}
