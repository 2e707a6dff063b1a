//! Heeds the witness when a database is opened, before anything in it is changed.

use std::io;
use std::path::Path;

use planwire_event::Position;
use rusqlite::Connection;

use crate::sqlite::loss::{self, Loss};
use crate::sqlite::open::{
    OpenError, check_version, check_version_in, connect_read_only, open_error, sync_folder, version,
};
use crate::sqlite::witness::{self, Found, Witness};

/// Compares a database with its witness before anything is changed: what is lost for us may still lie in a WAL that
/// somebody can repair.
pub(crate) fn witness(path: &Path) -> Result<Found, OpenError> {
    look(path)?.whole(path).map(|look| look.found)
}

/// The same for a log that has to be there, in the version that is read here.
pub(crate) fn existing(path: &Path) -> Result<(), OpenError> {
    look(path)?.whole(path)?.check_version(path)
}

/// What lies beside a database as its witness, and what the database lacks of that.
pub(crate) struct Look {
    pub(crate) found: Found,
    pub(crate) loss: Option<Loss>,
    /// The database, where it was opened to be compared.
    connection: Option<Connection>,
}

impl Look {
    fn whole(self, path: &Path) -> Result<Self, OpenError> {
        match self.loss {
            Some(loss) => Err(OpenError::Loss { path: path.to_owned(), loss }),
            None => Ok(self),
        }
    }

    /// Refuses what is no log of the version that is read here.
    pub(crate) fn check_version(&self, path: &Path) -> Result<(), OpenError> {
        match &self.connection {
            Some(connection) => check_version_in(path, connection),
            None => check_version(path),
        }
    }
}

/// Looks at a database and its witness.
pub(crate) fn look(path: &Path) -> Result<Look, OpenError> {
    // Before the database, which grows meanwhile if another process writes it.
    let found = witness::read(path).map_err(|source| witness_error(path, source))?;
    let Some(seen) = &found.testimony else { return Ok(Look { found, loss: None, connection: None }) };
    let (log_id, witnessed) = (seen.log_id, seen.position());
    let gone = (witnessed > Position::ZERO).then_some(Loss::Gone { log_id, witnessed });
    if !path.exists() {
        return Ok(Look { found, loss: gone, connection: None });
    }
    let mut connection = connect_read_only(path).map_err(|error| open_error(path, error))?;
    let loss = match version(path, &connection)? {
        Some(_) => loss::compare(&mut connection, &found)
            .map_err(|source| OpenError::Store { path: path.to_owned(), source })?,
        None => gone,
    };
    Ok(Look { found, loss, connection: Some(connection) })
}

fn witness_error(path: &Path, source: io::Error) -> OpenError {
    OpenError::File { path: witness::path_of(path), source }
}

/// Announces the log that `connection` shows, which is about to be the one at `path`.
pub(crate) fn announce(path: &Path, found: &Found, connection: &Connection) -> Result<(), OpenError> {
    let successor = loss::testimony(connection);
    let successor = successor.map_err(|source| OpenError::Store { path: path.to_owned(), source })?;
    witness::announce(path, found, &successor).map_err(|source| witness_error(path, source))
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
