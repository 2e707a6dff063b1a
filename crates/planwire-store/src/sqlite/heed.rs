//! Heeds the witness when a database is opened, before anything in it is changed.

use std::io;
use std::path::Path;

use planwire_event::Position;
use rusqlite::Connection;

use crate::sqlite::loss::{self, Loss};
use crate::sqlite::open::{OpenError, connect_read_only, open_error, sync_folder, version};
use crate::sqlite::witness::{self, Found, Witness};

/// Compares a database with its witness before anything is changed: what is lost for us may still lie in a WAL that
/// somebody can repair.
pub(crate) fn witness(path: &Path) -> Result<Found, OpenError> {
    let (found, loss) = look(path)?;
    match loss {
        Some(loss) => Err(OpenError::Loss { path: path.to_owned(), loss }),
        None => Ok(found),
    }
}

/// What lies beside a database as its witness, and what the database lacks of that.
pub(crate) fn look(path: &Path) -> Result<(Found, Option<Loss>), OpenError> {
    // Before the database, which grows meanwhile if another process writes it.
    let found = witness::read(path).map_err(|source| witness_error(path, source))?;
    let Some(seen) = &found.testimony else { return Ok((found, None)) };
    let (log_id, witnessed) = (seen.log_id, seen.position());
    let gone = (witnessed > Position::ZERO).then_some(Loss::Gone { log_id, witnessed });
    if !path.exists() {
        return Ok((found, gone));
    }
    let mut connection = connect_read_only(path).map_err(|error| open_error(path, error))?;
    if version(path, &connection)?.is_none() {
        return Ok((found, gone));
    }
    let loss = loss::compare(&mut connection, seen);
    let loss = loss.map_err(|source| OpenError::Store { path: path.to_owned(), source })?;
    Ok((found, loss))
}

fn witness_error(path: &Path, source: io::Error) -> OpenError {
    OpenError::File { path: witness::path_of(path), source }
}

/// Makes the witness say what the database holds now.
pub(crate) fn start(path: &Path, found: &Found, connection: &Connection) -> Result<Witness, OpenError> {
    let testimony = loss::testimony(connection);
    let testimony = testimony.map_err(|source| OpenError::Store { path: path.to_owned(), source })?;
    if found.damaged {
        tracing::warn!(log = %path.display(), "the witness of the log was damaged; it is made anew");
    } else if !found.present && testimony.position() > Position::ZERO {
        let head = testimony.position();
        tracing::warn!(log = %path.display(), %head, "the log had no witness; one is made, which knows nothing of before");
    }
    let witness = Witness::start(path, found, &testimony).map_err(|source| witness_error(path, source))?;
    if !found.present {
        path.parent().into_iter().for_each(sync_folder);
    }
    Ok(witness)
}
